package run

import (
	"errors"
	"strings"
	"unicode"
)

// maxSaid is how much of the end of what a program said is in an error, in bytes.
const maxSaid = 4 << 10

// head keeps the first max bytes written to it, and fails when there are more.
type head struct {
	max  int
	end  func() // the program: not all of them end by themselves where nobody reads, ssh(1) reads on
	kept []byte
	full bool
}

func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), h.max-len(h.kept))
	h.kept = append(h.kept, b[:n]...)
	if n < len(b) {
		h.full = true
		h.end()
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

// complaint is what a program said as the end of an error text: the last of its
// standard output, where kzonecheck and named-checkzone say what is wrong, and
// then of its standard error. A program may repeat what it was given there, so
// nothing in it may steer a terminal.
func complaint(stdout, stderr []byte) string {
	text := ""
	for _, said := range [][]byte{stdout[max(0, len(stdout)-maxSaid):], stderr} {
		if s := strings.TrimSpace(strings.ToValidUTF8(string(said), "?")); s != "" {
			text += "\n" + s
		}
	}
	if text == "" {
		return ""
	}
	return ": " + strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text[1:])
}
