package mbox

import (
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gombox "github.com/emersion/go-mbox"

	"rplan/tests/need"
)

// python has Python's mailbox module count the messages of each file below dir.
func python(t *testing.T, dir string) map[string]int {
	t.Helper()
	const script = `
import mailbox, os, sys
for name in sorted(os.listdir(sys.argv[1])):
    print(len(mailbox.mbox(os.path.join(sys.argv[1], name), create=False)), name)
`
	out, err := exec.Command(need.Program(t, "python3"), "-c", script, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(out)) {
		var n int
		count, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := fmt.Sscan(count, &n); err != nil {
			t.Fatal(err)
		}
		counts[name] = n
	}
	return counts
}

// goMbox counts the messages, and gives what is wrong with the file.
func goMbox(text string) (n int, err error) {
	for r := gombox.NewReader(strings.NewReader(text)); ; n++ {
		m, err := r.NextMessage()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if _, err := io.Copy(io.Discard, m); err != nil {
			return n, err
		}
	}
}

// Both Python's mailbox and go-mbox begin a message at every line that begins with "From ",
// whatever follows it, and whether a line comes before it or not. Where that is not what
// we see, they are wrong, or, in a damaged file, guess.
var others = map[string]struct {
	python, goMbox int // more messages than we see
	why            string
}{
	"From in the text":            {1, 1, "a line of text"},
	"From in a paragraph":         {1, 1, "a line of text"},
	"From before a header":        {1, 1, "a line of text; we are in doubt"},
	"bad From_ line":              {1, 1, "perhaps rightly: we are in doubt"},
	"only From":                   {1, 1, "perhaps rightly: we are in doubt"},
	"From_ line quoted in a text": {1, 1, "a line of text; we are in doubt"},
	"cut in the From_ line":       {1, 1, "the rest of a message is none; we are in doubt"},
	"cut within its year":         {1, 1, "the rest of a message is none; we are in doubt"},
	"From_ line of more":          {1, 1, "nobody has an address of 4 KiB"},
}

func TestOthersCount(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{}
	for name, parts := range divisions {
		texts[name] = strings.ReplaceAll(strings.Join(parts, ""), "?", "")
	}
	texts["ordinary"] = ordinary(100_000)
	texts["warts"] = warts()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	counts := python(t, dir)
	for name, text := range texts {
		ours := len(scan(t, text))
		theirs, err := goMbox(text)
		if other := others[name]; counts[name] != ours+other.python || theirs != ours+other.goMbox || err != nil {
			t.Errorf("%s: we see %d messages, Python's mailbox %d, go-mbox %d, %v, different by %+v", name, ours, counts[name], theirs, err, other)
		}
	}
	if len(counts) != len(texts) {
		t.Errorf("Python's mailbox counted in %d files of %d", len(counts), len(texts))
	}
}

// warts is an mbox of what lists had through the years, on whose division all agree.
func warts() string {
	messages := []string{
		"Date: Fri, 31 Dec 1999 23:59:59 +0000\nMessage-ID: <a@b>\n\n>From me,\n>>From you,\n> From them.\n",
		"Date: Tue, 19 Jan 2038 03:14:08 +0000\nMessage-ID: <a@b>\n\nthe same Message-ID\n",
		"Date: 30 Feb 2009 12:00:00 +0000\nMessage-ID: <c@b>\nMessage-ID: <d@b>\n\ntwo Message-IDs\n",
		"Date: 1 Mai 2009 12:00:00 +0000\n\nno Message-ID\n",
		"Subject: \xfc\xe4\nFrom: \xd6zg\xfcr\n\n8 bits: \xff\n",
		"Subject: \x00\n\n\x00\x00\x00\n",
		"Content-Length: 100000\n\n",
		"Subject: empty\n\n",
		"Subject: CRLF\r\n\r\ntext\r\n",
		"Subject: long\n\n" + strings.Repeat("x", 100_000) + "\n",
	}
	var b strings.Builder
	for range 100 {
		for _, m := range messages {
			b.WriteString(from + m + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n\n")
}

// A file that is no mbox is one to nobody but Python, which looks for a "From " further down.
func TestOthersRefuse(t *testing.T) {
	text := "Subject: s\n\ntext\n\n" + from + header + "\ntext\n"
	if _, err := goMbox(text); !errors.Is(err, gombox.ErrInvalidFormat) {
		t.Errorf("go-mbox: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := python(t, dir)["x"]; got != 1 {
		t.Errorf("Python's mailbox sees %d messages", got)
	}
}

// Of ordinary mails, go-mbox and net/mail say what we say.
func TestFactsOfOthers(t *testing.T) {
	text := ordinary(1000)
	s := NewScanner(strings.NewReader(text), today)
	s.Fields = true
	r := gombox.NewReader(strings.NewReader(text))
	for i := range 1000 {
		ours, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := r.NextMessage()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := mail.ReadMessage(raw)
		if err != nil {
			t.Fatal(err)
		}
		date, err := theirs.Header.Date()
		h := theirs.Header
		if err != nil || !date.Equal(ours.Date) || h.Get("Message-ID") != "<"+ours.ID+">" || h.Get("From") != ours.Author || h.Get("Subject") != ours.Subject || h.Get("Date") != ours.DateField {
			t.Fatalf("message %d: %+v, net/mail: %+v, %v", i, ours, h, err)
		}
	}
}
