package mbox

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

var today = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// all scans to the end, and sees to it that the messages are the whole of what was read.
func all(t testing.TB, s *Scanner) (messages []Message, err error) {
	t.Helper()
	var at int64
	for {
		m, err := s.Next()
		if err != nil {
			if _, again := s.Next(); again != err {
				t.Errorf("after %v comes %v", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			if c := s.Census(); c.Messages != len(messages) || c.Size != at {
				t.Errorf("a census of %+v, of %d messages with %d bytes", c, len(messages), at)
			}
			return messages, err
		}
		if m.Start != at || m.Body <= m.Start || m.Body > m.End {
			t.Fatalf("message %d is %+v, and begins not at %d", len(messages), m, at)
		}
		at = m.End
		messages = append(messages, m)
	}
}

func scan(t testing.TB, text string) []Message {
	t.Helper()
	messages, err := all(t, NewScanner(strings.NewReader(text), today))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if n := len(messages); n > 0 && messages[n-1].End != int64(len(text)) {
		t.Fatalf("%q: the last message ends at %d", text, messages[n-1].End)
	}
	return messages
}

const (
	from   = "From alice@example.org Thu Jan  1 15:04:05 2009\n"
	header = "Subject: s\n"
)

// Each part of a mbox is a message; one that begins with "?" is in Doubt.
var divisions = map[string][]string{
	"empty file":                     {},
	"one":                            {from + header + "\ntext\n"},
	"two":                            {from + header + "\ntext\n\n", from + header + "\ntext\n\n"},
	"no final newline":               {from + header + "\ntext\n\n", from + header + "\ntext"},
	"no body":                        {from + header + "\n", from + header + "\n"},
	"more empty lines":               {from + header + "\n\n\n\n\n", from + header + "\n\n\n"},
	"escaped":                        {from + header + "\ntext\n\n>" + from + header + "\n>>" + from + header + "\n\n", from + header + "\n"},
	"From in the text":               {from + header + "\ntext\nFrom here on, no more.\nFrom: me\n\nand From there\n\n", from + header + "\n"},
	"From in a paragraph":            {from + header + "\ntext\n\nFrom here on, no more.\nNot even this: nothing.\n\n", from + header + "\n"},
	"From before a header":           {"?" + from + header + "\ntext\n\nFrom here on\nNote: no more.\n\n", from + header + "\n"},
	"bad From_ line":                 {"?" + from + header + "\n\nFrom bob Jan 1 2009\n" + header + "\n\n", from + header + "\n"},
	"only From":                      {"?" + from + header + "\n\nFrom \n" + header + "\n\n", from + header + "\n"},
	"Mailman without empty line":     {"?" + from + header + "\n--b--\n", "?" + from + header + "\n\n", from + header + "\n"},
	"blank line":                     {"?" + from + header + "\ntext\n \n", "?" + from + header + "\n\n", from + header + "\n"},
	"From_ line quoted in a text":    {"?" + from + header + "\ntext\n" + from + "\ntext\n\n", from + header + "\n"},
	"From_ line quoted by itself":    {"?" + from + header + "\n\n", "?" + from + "he wrote\n\n", from + header + "\n"},
	"an empty header":                {"?" + from + header + "\n\n", "?" + from + "\ntext\n\n", from + header + "\n"},
	"older From_ line in the header": {from + ">" + from + header + "\ntext\n\n", from + header + "\n"},
	"From_ line twice":               {"?" + from, "?" + from + header + "\n\n", from + header + "\n"},
	"header into header":             {"?" + from + header, "?" + from + header + "\n\n", from + header + "\n"},
	"cut in a text":                  {"?" + from + header + "\nsome te" + from + header + "\n\n", from + header + "\n"},
	"cut in HTML":                    {"?" + from + header + "\n<p></p>" + from + header + "\n\n", from + header + "\n"},
	"cut in a signature":             {"?" + from + header + "\n-- " + from + header + "\n\n", from + header + "\n"},
	"cut in a header":                {"?" + from + "Subject: wh" + from + header + "\n\n", from + header + "\n"},
	"NUL bytes before":               {"?" + from + header + "\ntext\x00\x00\x00" + from + header + "\n\n", from + header + "\n"},
	"quoted with a blank":            {from + header + "\n> " + from + "> " + header + "\n| > " + from + header + "\n\n", from + header + "\n"},
	"Received by From":               {from + "Received: From a by b; Thu Jan  1 15:04:05 2009\n" + header + "\n\n", from + header + "\n"},
	"cut in the From_ line":          {from + header + "\n\n", "?" + from + header + "\n\nFrom alice@exam"},
	"cut after the From_ line":       {"?" + from + header + "\n\n", "?" + from},
	"cut within its year":            {"?" + from + header + "\n\nFrom alice@example.org Thu Jan  1 15:04:05 20"},
	"cut in the last header":         {from + header + "\n\n", "?" + from + header + "Date: Th"},
	"cut after the last header":      {from + header + "\n\n", "?" + from + header},
	"header with a line of the text": {from + header + "text\nmore text\n\n", from + header + "\n"},
	"first line is long":             {from + "Subject: " + strings.Repeat("x", 3*maxLine) + "\n\n" + strings.Repeat("y", 3*blockSize) + "\n\n", from + header + "\n"},
	"From_ line of 4 KiB":            {"From " + strings.Repeat("a", maxFrom-100) + from[4:] + header + "\n\n", from + header + "\n"},
	"From_ line of more":             {from + header + "\n\nFrom " + strings.Repeat("a", maxFrom) + from[4:] + header + "\n\n", from + header + "\n"},
	"header of 256 KiB":              {from + strings.Repeat("X: "+strings.Repeat("x", 76)+"\n", 3200) + "\n\n", from + header + "\n"},
	"header of more":                 {"?" + from + strings.Repeat("X: "+strings.Repeat("x", 76)+"\n", 3400) + "\n\n", from + header + "\n"},
	"From twice in a line":           {"?" + from + header + "\nxFrom " + from + "text: \n\n", from + header + "\n"},
}

func TestDivision(t *testing.T) {
	for name, parts := range divisions {
		t.Run(name, func(t *testing.T) {
			for _, eol := range []string{"\n", "\r\n"} {
				checkParts(t, parts, eol)
			}
		})
	}
}

func checkParts(t *testing.T, parts []string, eol string) {
	t.Helper()
	var text string
	var want []string
	for _, part := range parts {
		doubt := strings.HasPrefix(part, "?")
		part = strings.ReplaceAll(strings.TrimPrefix(part, "?"), "\n", eol)
		want = append(want, fmt.Sprintf("%d to %d, doubt %v", len(text), len(text)+len(part), doubt))
		text += part
	}
	var got []string
	messages := scan(t, text)
	for _, m := range messages {
		got = append(got, fmt.Sprintf("%d to %d, doubt %v", m.Start, m.End, m.Doubt != ""))
		empty := eol + eol
		if i := strings.Index(text[m.Start:m.End], empty); i < 0 && m.Body != m.End || i >= 0 && m.Body != m.Start+int64(i+len(empty)) {
			t.Errorf("eol %q: the body of the message at %d is at %d", eol, m.Start, m.Body)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("eol %q: got %q\nwant %q\nof %+v", eol, got, want, messages)
	}
}

// smallest is the least that a Scanner's buffer can be.
const smallest = behind + maxLine + reach

// Neither block ends nor short reads make a difference.
func TestBlocks(t *testing.T) {
	filler := from + header + "\n" + strings.Repeat(strings.Repeat("x", 79)+"\n", smallest/80) + "\n"
	for name, parts := range divisions {
		text := strings.ReplaceAll(strings.Join(parts, ""), "?", "")
		if text == "" || len(text) > smallest {
			continue
		}
		want := scan(t, filler[:len(from+header)+1]+"\n"+text)
		for shift := range len(text) + 200 {
			before := filler[:len(filler)-1-shift] + "\n\n"
			var r io.Reader = strings.NewReader(before + text)
			if shift%2 == 1 {
				r = iotest.DataErrReader(&chunks{text: before + text, size: 1 + shift%97})
			}
			s := NewScanner(r, today)
			s.buf = make([]byte, smallest)
			got, err := all(t, s)
			if err != nil || !slices.EqualFunc(got, want, func(a, b Message) bool {
				return (a.Doubt == "") == (b.Doubt == "") && a.ID == b.ID && a.End-int64(len(before)) == b.End-int64(len(from+header)+2)
			}) {
				t.Fatalf("%s, %d bytes before it:\n%+v, %v\nwant, but for the offsets,\n%+v", name, len(before), got, err, want)
			}
		}
	}
}

// chunks gives some bytes at a time, and sometimes none.
type chunks struct {
	text string
	size int
	calm bool
}

func (c *chunks) Read(b []byte) (int, error) {
	if c.calm = !c.calm; c.calm && c.text != "" {
		return 0, nil
	}
	if c.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.size)], c.text)
	c.text = c.text[n:]
	return n, nil
}

func TestRefused(t *testing.T) {
	for _, text := range []string{"x", "\n", "\n" + from + header + "\n", "From \n", "From here on\n", ">" + from, "\ufeff" + from, " " + from,
		strings.ReplaceAll(from+header+"\ntext\n", "\n", "\r"), "From " + strings.Repeat("x", 10000) + from[4:], "\x1f\x8b\x08", "\x00\x00\x00\x00"} {
		m, err := NewScanner(strings.NewReader(text), today).Next()
		if diag.KindOf(err) != diag.BadData || m != (Message{}) || !strings.Contains(err.Error(), "offset 0") {
			t.Errorf("%.60q: %+v, %v", text, m, err)
		}
	}
	_, err := NewScanner(strings.NewReader("Return-Path: <alice@example.org>\nReceived: by mx"), today).Next()
	if want := `at offset 0: no From_ line, but "Return-Path: <alice@example.org>\nReceive"`; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("input/output error")
	text := from + header + "\ntext\n\n" + from + header + "\n" + strings.Repeat("x", 3*blockSize)
	for _, at := range []int{0, 3, len(from) + 3, len(text)} {
		s := NewScanner(io.MultiReader(strings.NewReader(text[:at]), iotest.ErrReader(broken)), today)
		messages, err := all(t, s)
		if want := fmt.Sprintf("at offset %d: input/output error", at); !errors.Is(err, broken) || err.Error() != want {
			t.Errorf("%d messages and %v, want %s", len(messages), err, want)
		}
		if len(messages) > 1 {
			t.Errorf("%d messages, of which the last has no end that anyone knows", len(messages))
		}
	}
	if _, err := all(t, NewScanner(stuck{}, today)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that reads nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestCensus(t *testing.T) {
	text := from + "Date: Thu, 1 Jan 2009 15:04:05 +0000\n\n\x00te\x00xt\n\n" + from + header + "\nFrom here\nand: there\n\n" + from + "Date: soon\n" + "\n" + from[:30]
	s := NewScanner(iotest.HalfReader(strings.NewReader(text)), today)
	if _, err := all(t, s); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Census(), (Census{Messages: 3, Undated: 2, Doubtful: 2, Size: int64(len(text)), NULs: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A message's end is not where its Content-Length says.
func TestContentLengthIsNotTrusted(t *testing.T) {
	first := from + "Content-Length: 2000\n\ntext\n\n"
	if got := scan(t, first+from+header+"\n"); len(got) != 2 || got[0].End != int64(len(first)) {
		t.Errorf("%+v", got)
	}
}

// Lines of many "From "s must not take time by the square of their length.
func TestManyFroms(t *testing.T) {
	for _, piece := range []string{"From ", "From\nFrom ", "xFrom a\nb: c\n", "\n\nFrom x\n", "From a Thu Jan 1 1:02 2009 ", "FFFF"} {
		for _, before := range []string{from, from + header + "\n"} {
			text := before + strings.Repeat(piece, 16<<20/len(piece))
			start := spent(t)
			scan(t, text)
			if took := spent(t) - start; took > 8*time.Second {
				t.Errorf("%d bytes of %q took %v", len(text), piece, took)
			}
		}
	}
}

// spent is the time that this process has had a processor.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
