package archive

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// all is a number of mails that has each wart at least once.
var all = 2*len(warts) + 1

func collect(t testing.TB, m Make) []Mail {
	t.Helper()
	mails := slices.Collect(m.Mails())
	if len(mails) != m.N {
		t.Fatalf("%d mails of %d", len(mails), m.N)
	}
	return mails
}

func TestSameSeedSameBytes(t *testing.T) {
	same := func(a, b Mail) bool { return bytes.Equal(a.Raw, b.Raw) && a.FromLine() == b.FromLine() }
	a, b := collect(t, Make{Seed: 7, N: all}), collect(t, Make{Seed: 7, N: all})
	if !slices.EqualFunc(a, b, same) {
		t.Error("the second time they are others")
	}
	if slices.EqualFunc(a, collect(t, Make{Seed: 8, N: all}), same) {
		t.Error("another seed gives the same")
	}
}

// What each mail says of itself is what Go's own readers find in it, but for the warts that are about just that.
func TestMailsAreWhatTheySay(t *testing.T) {
	seen := map[string]bool{}
	for i, m := range collect(t, Make{Seed: 1, N: all}) {
		seen[m.Wart] = true
		raw := m.Raw
		if m.Wart == "header only" {
			raw = append(bytes.Clone(raw), '\n')
		}
		msg, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Errorf("mail %d, %q: %v", i, m.Wart, err)
			continue
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(msg.Header.Get("Message-Id")), "<"), ">")
		if id != m.ID {
			t.Errorf("mail %d, %q: its ID is %q, not %q", i, m.Wart, id, m.ID)
		}
		date, err := msg.Header.Date()
		if err != nil && !m.Date.IsZero() || err == nil && !date.Equal(m.Date) && m.Wart != "named zone" { // Go does not know EST
			t.Errorf("mail %d, %q: its date is %v (%v), not %v", i, m.Wart, date, err, m.Date)
		}
		words := mime.WordDecoder{}
		if subject, err := words.DecodeHeader(msg.Header.Get("Subject")); (err != nil || subject != m.Subject) && m.Wart != "raw latin-1 header" {
			t.Errorf("mail %d, %q: its subject is %q, %v, not %q", i, m.Wart, subject, err, m.Subject)
		}
		from, err := msg.Header.AddressList("From")
		if raw := strings.HasPrefix(m.Wart, "raw "); !raw && (err != nil || from[0].Name != m.Author || from[0].Address != m.Address) {
			t.Errorf("mail %d, %q: it is from %v, %v, not %q %q", i, m.Wart, from, err, m.Author, m.Address)
		}
		checkParts(t, i, m, msg)
		head, _, _ := strings.Cut(string(m.Raw), "\n\n")
		for _, c := range m.Clients {
			if !strings.Contains(head, "["+c+"]") {
				t.Errorf("mail %d: %s is not in its header", i, c)
			}
		}
		if found := len(regexp.MustCompile(`203\.0\.113\.\d+|198\.51\.100\.\d+|2001:db8::\w+:\w+`).FindAllString(head, -1)); found != len(m.Clients) {
			t.Errorf("mail %d: %d clients in its header, and it tells of %d", i, found, len(m.Clients))
		}
	}
	for _, w := range append(Warts(), "") {
		if !seen[w] {
			t.Errorf("no mail has the wart %q", w)
		}
	}
}

// checkParts reads text and attachments by Go's own readers.
func checkParts(t *testing.T, i int, m Mail, msg *mail.Message) {
	t.Helper()
	decode := func(encoding string, r io.Reader) []byte {
		switch encoding {
		case "base64":
			r = base64.NewDecoder(base64.StdEncoding, r)
		case "quoted-printable":
			r = quotedprintable.NewReader(r)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("mail %d: %v", i, err)
		}
		return b
	}
	var parts [][]byte
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		parts = [][]byte{decode(msg.Header.Get("Content-Transfer-Encoding"), msg.Body)}
		if params["charset"] == "iso-8859-1" {
			parts[0] = []byte((&pipermail{}).misread(string(parts[0])))
		}
	} else {
		for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
			part, err := r.NextRawPart()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("mail %d, %q: %v", i, m.Wart, err)
			}
			parts = append(parts, decode(part.Header.Get("Content-Transfer-Encoding"), part))
		}
	}
	if text := bytes.ReplaceAll(parts[0], []byte("\r\n"), []byte("\n")); string(text) != m.Text {
		t.Errorf("mail %d, %q: its text is\n%q, not\n%q", i, m.Wart, text, m.Text)
	}
	if !slices.EqualFunc(parts[1:], m.Attachments, func(b []byte, a Attachment) bool { return bytes.Equal(b, a.Data) }) {
		t.Errorf("mail %d, %q: its attachments are others", i, m.Wart)
	}
}

func TestWartsAreOdd(t *testing.T) {
	for wart, holds := range map[string]func(m, before Mail) bool{
		"no id":            func(m, _ Mail) bool { return m.ID == "" && !bytes.Contains(m.Raw, []byte("\nMessage-ID")) },
		"repeated id":      func(m, before Mail) bool { return m.ID == before.ID && !bytes.Equal(m.Raw, before.Raw) },
		"repeated mail":    func(m, before Mail) bool { return bytes.Equal(m.Raw, before.Raw) },
		"crlf":             func(m, _ Mail) bool { return bytes.Count(m.Raw, []byte("\r\n")) == bytes.Count(m.Raw, []byte("\n")) },
		"no final newline": func(m, _ Mail) bool { return !bytes.HasSuffix(m.Raw, []byte("\n")) },
		"header only":      func(m, _ Mail) bool { return !bytes.Contains(m.Raw, []byte("\n\n")) },
		"date in 1999":     func(m, _ Mail) bool { return m.Date.Year() == 1999 },
		"far future date":  func(m, _ Mail) bool { return m.Date.Year() == 2999 },
		"30 Feb":           func(m, _ Mail) bool { return m.Date.IsZero() && strings.Contains(m.DateField, "30 Feb") },
		"no date":          func(m, _ Mail) bool { return m.Date.IsZero() && !bytes.Contains(m.Raw, []byte("\nDate:")) },
		"German month":     func(m, _ Mail) bool { return m.Date.IsZero() && strings.Contains(m.DateField, " Okt ") },
		"from line like a real one": func(m, _ Mail) bool {
			return bytes.Contains(m.Raw, []byte("\n\n"+FakeFrom+"\n"))
		},
	} {
		i := 2*slices.Index(Warts(), wart) + 1
		mails := collect(t, Make{Seed: 2, N: i + 1})
		if m := mails[i]; m.Wart != wart || !holds(m, mails[i-1]) {
			t.Errorf("%q: it is %q:\n%s", wart, m.Wart, m.Raw)
		}
	}
	for _, m := range collect(t, Make{Seed: 3, N: 500, Plain: true}) {
		if m.Wart != "" || m.ID == "" || m.Date.IsZero() || bytes.Contains(m.Raw, []byte("\nFrom ")) || m.Arrived.Sub(m.Date).Abs() > time.Hour {
			t.Errorf("not an ordinary mail:\n%s%s", m.FromLine(), m.Raw)
		}
	}
}
