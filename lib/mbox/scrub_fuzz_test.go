package mbox

import (
	"bytes"
	"testing"
)

// aligns tells whether out is in with pieces made of an address's or a host name's
// characters, with a digit or a colon in each, given way to the word, and with whole fields of
// such pieces and punctuation left out.
func aligns(in, out []byte) bool {
	type place struct{ in, out int }
	seen := map[place]bool{}
	todo := []place{{0, 0}}
	visit := func(p place) {
		if !seen[p] {
			seen[p] = true
			todo = append(todo, p)
		}
	}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p == (place{len(in), len(out)}) {
			return true
		}
		if bytes.HasPrefix(out[p.out:], []byte(Scrubbed)) {
			said := false
			for end := p.in; end < len(in) && (inName(in[end]) || in[end] == ':' || in[end] == '%'); {
				said = said || isDigit(in[end]) || in[end] == ':'
				if end++; said {
					visit(place{end, p.out + len(Scrubbed)})
				}
			}
		}
		if p.in == len(in) {
			continue
		}
		if p.in == 0 || in[p.in-1] == '\n' {
			end := fieldEnd(in, p.in)
			if _, value, ok := splitField(in[p.in:end]); ok && said(in[p.in+value:end]) {
				visit(place{end, p.out})
			}
		}
		if p.out < len(out) && in[p.in] == out[p.out] {
			visit(place{p.in + 1, p.out + 1})
		}
	}
	return false
}

// said tells whether a value is nothing but addresses, names and punctuation.
func said(value []byte) bool {
	for _, c := range value {
		if !inName(c) && bytes.IndexByte([]byte(" \t\r\n[](){}<>\"',;:%"), c) < 0 {
			return false
		}
	}
	return bytes.ContainsAny(value, "0123456789:")
}

// afterHeader is what follows the first empty line.
func afterHeader(b []byte) []byte {
	for at := 0; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return nil
		}
		if len(bytes.TrimRight(b[at:at+n], "\r")) == 0 {
			return b[at:]
		}
		at += n + 1
	}
	return nil
}

func FuzzScrub(f *testing.F) {
	for _, c := range scrubs {
		f.Add([]byte(c.field))
		f.Add([]byte("From a\nA: b\n" + c.field + "B: c\n\nReceived: from 192.0.2.1\n"))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4000 {
			return
		}
		was := bytes.Clone(in)
		out, n := Scrub(in)
		if !bytes.Equal(in, was) {
			t.Fatal("the input was changed")
		}
		if n == 0 != bytes.Equal(in, out) {
			t.Fatalf("%d removed from %q, which became %q", n, in, out)
		}
		if !aligns(in, out) {
			t.Fatalf("more than addresses is gone from %q: %q", in, out)
		}
		if !bytes.Equal(afterHeader(in), afterHeader(out)) {
			t.Fatalf("the body of %q changed: %q", in, out)
		}
		if again, n := Scrub(out); n > 0 || !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, and then %q", in, out, again)
		}
	})
}
