package run

import (
	"errors"
	"strings"
	"unicode"
)

// maxStderr is how much of the end of standard error is kept, in bytes.
const maxStderr = 4 << 10

// head keeps the first max bytes written to it, and fails when there are more.
type head struct {
	max  int
	kept []byte
	full bool
}

func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), h.max-len(h.kept))
	h.kept = append(h.kept, b[:n]...)
	if n < len(b) {
		h.full = true
		return n, errors.New("too much output")
	}
	return n, nil
}

// tail keeps the last max bytes written to it.
type tail struct {
	max  int
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.max; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// complaint is standard error as the end of an error text. A program may repeat
// what it was given there, so nothing in it may steer a terminal.
func complaint(stderr []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(stderr), "?"))
	if text == "" {
		return ""
	}
	return ": " + strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
}
