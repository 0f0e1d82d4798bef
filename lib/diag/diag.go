// Package diag holds the kinds of errors that rplan's commands tell apart,
// and the exit code of each. The numbers are those of sysexits(3) where it
// has one; the table is published in rplan(7).
package diag

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is, by the exit code that reports it.
type Kind int

const (
	Failed      Kind = 1  // something else went wrong
	Refused     Kind = 2  // a guard said no; what it guards was not changed
	Partial     Kind = 3  // some items were skipped, all others are done
	Suspicious  Kind = 4  // somebody may have been at a machine; nothing was sent to it
	Usage       Kind = 64 // the command line is wrong
	BadData     Kind = 65 // input that cannot be read as what it should be
	Unavailable Kind = 69 // a program or service that is needed is missing
	CantCreate  Kind = 73 // an output file cannot be written
	TryAgain    Kind = 75 // directory unreachable, lock held: the same call may work later
	Config      Kind = 78 // the configuration is wrong
)

// Error is a failure with its kind and, where one helps, the next step.
type Error struct {
	Kind Kind
	Hint string // one line for the reader, without a full stop; may be empty
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error of this kind; the format is that of fmt.Errorf.
func (k Kind) Errorf(format string, args ...any) *Error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// WithHint adds the line that tells the reader what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf is the kind of the outermost *Error in err's chain, and Failed where there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Failed
}

// HintOf is the hint of the outermost *Error that has one, or "".
func HintOf(err error) string {
	for e, ok := errors.AsType[*Error](err); ok; e, ok = errors.AsType[*Error](e.Err) {
		if e.Hint != "" {
			return e.Hint
		}
	}
	return ""
}

// ExitCode is what a command that ends with err exits with; 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return int(KindOf(err))
}
