package archive

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
)

// exported are the messages of an export, by Message-ID.
func exported(t *testing.T, box []byte) map[string]*mail.Message {
	t.Helper()
	all := map[string]*mail.Message{}
	for i, raw := range bytes.Split(append([]byte("\n\n\n"), box...), []byte("\n\n\nFrom ")) {
		if i == 0 {
			continue
		}
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%v\n%.300s", err, raw)
		}
		all[strings.Trim(m.Header.Get("Message-Id"), "<>")] = m
	}
	return all
}

// decoded are the parts of a message.
func decoded(t *testing.T, m *mail.Message) (parts [][]byte) {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return parts
		} else if err != nil {
			t.Fatal(err)
		}
		var from io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "base64" {
			from = base64.NewDecoder(base64.StdEncoding, part)
		}
		b, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b)
	}
}

// What the doc comment of HyperKitty says of its export.
func TestHyperKitty(t *testing.T) {
	t.Parallel()
	mails := collect(t, Make{Seed: 40, N: all})
	path, _ := write(t, mails, Mangled)
	z, err := gzip.NewReader(bytes.NewReader(read(t, HyperKitty(t, t.TempDir(), path))))
	if err != nil {
		t.Fatal(err)
	}
	box, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	got := exported(t, box)
	if n := goMbox(t, bytes.NewReader(box)); n != len(got) {
		t.Errorf("go-mbox counts %d, this test %d", n, len(got))
	}
	generated, seen := 0, map[string]bool{"": true}
	for i, m := range mails {
		if m.ID == "" {
			generated++
			continue
		}
		id, _, _ := strings.Cut(m.ID, " ")
		if seen[id] { // of mails with one Message-ID it has the first
			continue
		}
		seen[id] = true
		g := got[id]
		if g == nil {
			t.Errorf("mail %d, %q, is not exported", i, m.Wart)
			continue
		}
		if len(g.Header["Received"]) != 0 || g.Header.Get("To") != List {
			t.Errorf("mail %d, %q: its header is %v", i, m.Wart, g.Header)
		}
		date, err := g.Header.Date()
		if want := m.Date; err != nil || !date.Equal(want) && (!want.IsZero() || !date.Equal(m.Arrived)) {
			t.Errorf("mail %d, %q: its date is %v, %v, not %v", i, m.Wart, date, err, want)
		}
		parts := decoded(t, g)
		text := string(Quote([]byte(strings.NewReplacer("@", "(a)", "\x00", "").Replace(m.Text)), Mangled))
		if got := strings.TrimRight(string(parts[0]), "\n"); got != strings.TrimRight(text, "\n") {
			t.Errorf("mail %d, %q: its text is\n%q, not\n%q", i, m.Wart, got, text)
		}
		for k, a := range m.Attachments {
			if len(a.Data) == 0 {
				if len(parts) != 1 {
					t.Errorf("mail %d: an empty attachment is there", i)
				}
				continue
			}
			if a.noCharset {
				a.Data = bytes.ReplaceAll(a.Data, []byte("üß"), bytes.Repeat([]byte("\uFFFD"), 4))
			}
			if k+1 >= len(parts) || !bytes.Equal(parts[k+1], a.Data) {
				t.Errorf("mail %d, %q: %s %q is in %q", i, m.Wart, a.Type, a.Data, parts[1:])
			}
		}
		delete(got, id)
	}
	for id := range got {
		if !strings.HasSuffix(id, ".generated@localhost") {
			t.Errorf("there is %q", id)
		}
		generated--
	}
	if generated != 0 {
		t.Errorf("%d mails without Message-ID more than such that HyperKitty made up", generated)
	}
}
