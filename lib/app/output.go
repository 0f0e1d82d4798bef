package app

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// output is standard output, whose failure is no concern of who writes to it:
// after the first error it takes everything and drops it.
type output struct {
	w    io.Writer
	gone bool  // nobody reads on, or err is set
	err  error // the first, but for a reader that went away (EPIPE)
}

func (o *output) Write(b []byte) (int, error) {
	if o.gone {
		return len(b), nil
	}
	if _, err := o.w.Write(b); err != nil {
		o.gone = true
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // the path is that of /dev/stdout
		}
		if !errors.Is(err, syscall.EPIPE) {
			o.err = err
		}
	}
	return len(b), nil
}
