package mbox

import (
	"bytes"
	"io"
	"iter"
	"strings"
	"testing"

	"rplan/lib/diag"
)

// part is a message as a test writes it.
type part struct{ header, body string }

func joined(parts []part) (text string, messages iter.Seq2[Range, int64]) {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.header + p.body)
	}
	return b.String(), func(yield func(Range, int64) bool) {
		at := int64(0)
		for _, p := range parts {
			r := Range{at, at + int64(len(p.header)+len(p.body))}
			if !yield(r, at+int64(len(p.header))) {
				return
			}
			at = r.End
		}
	}
}

var scrubParts = []part{
	{"From a\nX-IP: 192.0.2.1\nReceived: from [192.0.2.2]\n\n", "Received: from [192.0.2.3]\n\n"},
	{"From b\nSubject: b\n\n", "\x00\r\n\xff>From x\n\n"},
	{"From c\nReceived: from [192.0.2.4]\n", ""},
}

func TestScrubFile(t *testing.T) {
	text, messages := joined(scrubParts)
	first, last := int64(len(scrubParts[0].header+scrubParts[0].body)), int64(len(text)-len(scrubParts[2].header))
	const a = "From a\nReceived: from [scrubbed]\n\nReceived: from [192.0.2.3]\n\n"
	const c = "From c\nReceived: from [scrubbed]\n"
	b := scrubParts[1].header + scrubParts[1].body
	for _, x := range []struct {
		cut                 []Range
		want                string
		addresses, messages int64
	}{
		{nil, a + b + c, 3, 2},
		{[]Range{{0, first}}, b + c, 1, 1},
		{[]Range{{first, last}}, a + c, 3, 2},
		{[]Range{{0, first}, {first, last}}, c, 1, 1},
		{[]Range{{0, int64(len(text))}}, "", 0, 0},
	} {
		var out bytes.Buffer
		done, err := ScrubFile(&out, strings.NewReader(text), int64(len(text)), x.cut, messages)
		if err != nil || out.String() != x.want || done.Addresses != x.addresses || done.Messages != x.messages || done.TooLong != nil {
			t.Errorf("without %v: %q, %+v, %v", x.cut, &out, done, err)
		}
	}
}

func TestScrubFileRefuses(t *testing.T) {
	text, messages := joined(scrubParts)
	size := int64(len(text))
	list := func(ranges ...Range) iter.Seq2[Range, int64] {
		return func(yield func(Range, int64) bool) {
			for _, r := range ranges {
				if !yield(r, r.End) {
					return
				}
			}
		}
	}
	for name, try := range map[string]struct {
		cut      []Range
		messages iter.Seq2[Range, int64]
	}{
		"a cut into a message":       {[]Range{{1, 5}}, messages},
		"a cut over a message's end": {[]Range{{0, size - 1}}, messages},
		"a wrong cut":                {[]Range{{5, 1}}, messages},
		"a gap":                      {nil, list(Range{0, 5}, Range{6, size})},
		"an overlap":                 {nil, list(Range{0, 5}, Range{4, size})},
		"too few messages":           {nil, list(Range{0, 5})},
		"no messages":                {nil, list()},
		"a message too long":         {nil, list(Range{0, size + 1})},
	} {
		if _, err := ScrubFile(io.Discard, strings.NewReader(text), size, try.cut, try.messages); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	_, err := ScrubFile(io.Discard, strings.NewReader(text[:5]), size, nil, messages)
	if diag.KindOf(err) != diag.TryAgain {
		t.Errorf("a file that got shorter: %v", err)
	}
	if _, err := ScrubFile(full{}, strings.NewReader(text), size, nil, messages); err == nil {
		t.Error("a full disk is not seen")
	}
}

// A header without end is not held in memory, and one of some megabytes is.
func TestScrubFileLongHeader(t *testing.T) {
	const field = "X-IP: 192.0.2.1\n"
	for _, c := range []struct{ fill, tooLong int }{{longestHeader - len(field), 0}, {longestHeader, 1}, {copyBlock, 0}} {
		parts := []part{{field + strings.Repeat("x", c.fill), "body"}}
		text, messages := joined(parts)
		var out bytes.Buffer
		done, err := ScrubFile(&out, strings.NewReader(text), int64(len(text)), nil, messages)
		if err != nil || len(done.TooLong) != c.tooLong || done.Messages != int64(1-c.tooLong) {
			t.Errorf("%d bytes: %+v, %v", c.fill, done, err)
		}
		if want := text[len(field)*(1-c.tooLong):]; out.String() != want {
			t.Errorf("%d bytes: something else is written", c.fill)
		}
	}
}
