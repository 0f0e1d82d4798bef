package mbox

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzScanner holds that the ranges are the file, however it is read, and that messages
// begin where a much simpler reading of the same rule has them begin.
func FuzzScanner(f *testing.F) {
	for _, parts := range divisions {
		if text := strings.Join(parts, ""); len(text) < 2000 {
			f.Add([]byte(strings.ReplaceAll(text, "?", "")))
			f.Add([]byte(strings.ReplaceAll(strings.ReplaceAll(text, "?", ""), "\n", "\r\n")))
		}
	}
	f.Add([]byte(from + "Message-ID: <a@b>\nDate: Thu,\n 1 Jan 2009 15:04:05 +0100\nFrom: a\nSubject: b\n c\n\ntext\n\n\x00From "))
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := all(t, fields(bytes.NewReader(data)))
		if line, _, _ := strings.Cut(string(data), "\n"); len(data) > 0 && !isFrom(line) {
			if err == nil || len(messages) > 0 {
				t.Fatalf("%d messages and %v in what is no mbox", len(messages), err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		slow, err := all(t, fields(iotest.OneByteReader(bytes.NewReader(data))))
		if err != nil || !slices.Equal(slow, messages) {
			t.Errorf("byte by byte %+v, %v\nand at once %+v", slow, err, messages)
		}
		afterOthers(t, data, messages)
		var starts []int64
		for _, m := range messages {
			starts = append(starts, m.Start)
			checkMessage(t, m, data)
		}
		if want := beginnings(string(data)); !slices.Equal(starts, want) {
			t.Errorf("messages begin at %d, want %d", starts, want)
		}
		if n := len(messages); n > 0 && messages[n-1].End != int64(len(data)) {
			t.Errorf("the last message ends at %d of %d", messages[n-1].End, len(data))
		}
	})
}

// afterOthers reads data again, with the end of a block somewhere in it.
func afterOthers(t *testing.T, data []byte, want []Message) {
	if len(data) == 0 {
		return
	}
	before := from + header + "\n" + strings.Repeat(strings.Repeat("x", 79)+"\n", smallest/80)
	before = before[:smallest-2-len(data)*7%len(before)%len(data)] + "\n\n"
	s := fields(io.MultiReader(strings.NewReader(before), bytes.NewReader(data)))
	s.buf = make([]byte, smallest)
	got, err := all(t, s)
	if err != nil || len(got) != len(want)+1 {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	for i, m := range got[1:] {
		w := want[i]
		if m.End-w.End != int64(len(before)) || m.Body-w.Body != int64(len(before)) || i > 0 && (m.Doubt == "") != (w.Doubt == "") || m.ID != w.ID || m.Subject != w.Subject || m.Date != w.Date {
			t.Errorf("%+v, want, %d bytes further on, %+v", m, len(before), w)
		}
	}
}

func fields(r io.Reader) *Scanner {
	s := NewScanner(r, today)
	s.Fields = true
	return s
}

func checkMessage(t *testing.T, m Message, data []byte) {
	header := data[m.Start:m.Body]
	if end := bytes.HasSuffix(header, []byte("\n\n")) || bytes.HasSuffix(header, []byte("\n\r\n")); !end && (m.Body != m.End || m.Doubt == "") {
		t.Errorf("a header without end: %+v", m)
	}
	if i := bytes.Index(header, []byte("\n\n")); i >= 0 && i+2 < len(header) {
		t.Errorf("an empty line within the header: %+v", m)
	}
	if (m.Dating == Dated) == m.Date.IsZero() || m.Date.After(today.Add(24*time.Hour)) {
		t.Errorf("a date: %+v", m)
	}
	if len(m.ID) > len(header) || strings.ContainsAny(m.ID, " \t\r\n") || strings.ContainsAny(m.Author+m.Subject+m.DateField, "\n") {
		t.Errorf("fields: %+v", m)
	}
}

func isFrom(line string) bool {
	if !strings.HasPrefix(line, fromWord) || len(line) >= maxFrom {
		return false
	}
	_, ok := fromLine([]byte(line))
	return ok
}

// beginnings goes by whole lines.
func beginnings(text string) (starts []int64) {
	empty, at := true, 0
	for at < len(text) {
		line, rest, newline := strings.Cut(text[at:], "\n")
		if isFrom(line) && (empty || newline && startsField([]byte(rest))) {
			starts = append(starts, int64(at))
		}
		empty = line == "" || line == "\r"
		at += len(line) + 1
	}
	return starts
}
