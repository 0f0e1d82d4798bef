package source

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"rplan/lib/diag"
)

// ldif reads the entries of an LDIF file (RFC 2849), such as slapcat and
// ldapsearch write and admins edit.
//
// A file that was cut off is noticed if it ends inside a line, in or right
// behind a DN, or inside base64. If it ends between two attributes of an entry
// or between two entries, it cannot be told from a whole one.
type ldif struct {
	name string // of the file, for messages
	plan *plan
	in   *bufio.Reader

	line    int    // number of the last line read
	first   int    // number of the line at which the logical line began
	folded  []byte // scratch: a logical line that is not in one piece in the buffer
	tooLong bool   // the logical line has more than maxEntry bytes, of which the first are there
	arena   []byte // the bytes of the entry
	begun   bool   // an entry, or the version, was read
}

func newLDIF(name string, r io.Reader, p *plan) *ldif {
	return &ldif{name: name, plan: p, in: bufio.NewReaderSize(r, 1<<16)}
}

// errorf is an error at the line being read. It never shows the line: that may be a password.
func (l *ldif) errorf(format string, args ...any) *diag.Error {
	return diag.BadData.Errorf("%s:%d: "+format, append([]any{l.name, l.first}, args...)...)
}

// next reads one entry into e. The error is io.EOF after the last entry.
func (l *ldif) next(e *entry) error {
	e.reset()
	l.arena = l.arena[:0]
	line, err := l.logical()
	for err == nil && (len(line) == 0 || !l.begun && hasName(line, "version")) {
		l.begun = l.begun || len(line) > 0
		line, err = l.logical()
	}
	if err != nil {
		return err
	}
	l.begun = true
	if !hasName(line, "dn") {
		return l.errorf("an entry begins with \"dn:\"")
	}
	if e.dn, err = l.value(line[len("dn"):], true); err != nil {
		return err
	}
	e.tooLarge = l.tooLong
	for attributes := 0; ; attributes++ {
		switch line, err = l.logical(); {
		case err == io.EOF || err == nil && len(line) == 0:
			if attributes == 0 {
				return l.errorf("entry %s has no attributes", quote(e.dn))
			}
			return nil
		case err != nil:
			return err
		}
		if err := l.attribute(line, e); err != nil {
			return err
		}
	}
}

// attribute adds a line to e if the plan wants it.
func (l *ldif) attribute(line []byte, e *entry) error {
	colon := bytes.IndexByte(line, ':')
	name := line[:max(colon, 0)]
	bare, _, _ := bytes.Cut(name, []byte(";"))
	switch {
	case !isAttribute(bare):
		return l.errorf("this is no line of LDIF")
	case hasName(line, "changetype"), hasName(line, "control"):
		return l.errorf("this is a change; only entries can be read").WithHint("a file of entries is what slapcat and ldapsearch -LLL write")
	case hasName(line, "dn"):
		return l.errorf("a second \"dn:\" in an entry").WithHint("put an empty line between entries")
	}
	i := l.plan.lookup(name)
	value, err := l.value(line[colon:], i >= 0)
	if err != nil || i < 0 {
		return err
	}
	e.tooLarge = e.tooLarge || l.tooLong || len(l.arena) > maxEntry
	if e.tooLarge {
		l.arena = l.arena[:len(l.arena)-len(value)]
		return nil
	}
	e.values[i] = append(e.values[i], value)
	return nil
}

// hasName says whether a line is one of the attribute of this name, in lower case.
func hasName(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name)
}

// value reads what begins with the ":" of a line. What is wanted is kept in the arena.
func (l *ldif) value(b []byte, wanted bool) ([]byte, error) {
	start := len(l.arena)
	switch b = b[1:]; {
	case len(b) > 0 && b[0] == '<':
		return nil, l.errorf("values are not fetched from URLs (\":<\")")
	case len(b) > 0 && b[0] == ':' && !l.tooLong:
		var err error
		if l.arena, err = base64.StdEncoding.AppendDecode(l.arena, bytes.Trim(b[1:], " ")); err != nil {
			return nil, l.errorf("this is not base64: %w", err)
		}
	case wanted && !l.tooLong:
		l.arena = append(l.arena, bytes.TrimLeft(b, " ")...)
	}
	if !wanted {
		l.arena = l.arena[:start]
	}
	return l.arena[start:], nil
}

// logical returns the next line with its continuations and without its end,
// passing over comments. It is valid until the next call. The error is io.EOF
// at the end.
func (l *ldif) logical() ([]byte, error) {
	for {
		line, err := l.unfold()
		if err != nil {
			return nil, err
		}
		if len(line) > 0 && line[0] == '#' {
			continue
		}
		if bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0 {
			return nil, l.errorf("a NUL or a carriage return inside a line")
		}
		return line, nil
	}
}

func (l *ldif) unfold() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, io.EOF
	}
	l.line++
	l.first, l.folded, l.tooLong = l.line, l.folded[:0], false
	// Peek may move the buffer, and line with it, unless a byte is there already.
	if err == nil && l.in.Buffered() > 0 && !l.continues() {
		return trimEnd(line), nil
	}
	for {
		l.keep(line)
		switch {
		case err == io.EOF:
			l.first = l.line
			return nil, l.errorf("the file ends in the middle of a line").
				WithHint("it is cut off; if nothing is missing, put a line break at its end")
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, diag.TryAgain.Errorf("%s: %w", l.name, err)
		case err == nil:
			l.folded = l.folded[:len(trimEnd(l.folded))]
			if !l.continues() {
				return l.folded, nil
			}
			if l.line++; len(l.folded) == 0 {
				l.first = l.line
				return nil, l.errorf("this line continues an empty one")
			}
			_, _ = l.in.Discard(1)
		}
		line, err = l.in.ReadSlice('\n')
	}
}

// keep adds to the folded line what an entry may hold, and drops the rest.
func (l *ldif) keep(b []byte) {
	l.tooLong = l.tooLong || len(l.folded)+len(b) > maxEntry
	if !l.tooLong {
		l.folded = append(l.folded, b...)
	}
}

// continues says whether the next line continues this one.
func (l *ldif) continues() bool {
	b, err := l.in.Peek(1)
	return err == nil && b[0] == ' '
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
