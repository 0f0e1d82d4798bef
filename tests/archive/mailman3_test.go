package archive

import (
	"bytes"
	"net/mail"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMailman3(t *testing.T) {
	t.Parallel()
	mails := collect(t, Make{Seed: 30, N: all})
	tree := Mailman3(t, t.TempDir(), slices.Values(mails), false)
	files, err := filepath.Glob(filepath.Join(tree.Dir, "new", "*"))
	if err != nil || len(files) != len(tree.Files) {
		t.Errorf("%d files, %d told of, %v", len(files), len(tree.Files), err)
	}
	for i, m := range mails {
		name := tree.Files[i]
		if name == "" || m.ID == "" {
			if name != "" || m.ID != "" {
				t.Errorf("mail %d, %q, is in %q", i, m.Wart, name)
			}
			continue
		}
		b := read(t, tree.Dir, "new", name)
		if bytes.Contains(b, []byte("\r")) {
			t.Errorf("mail %d, %q, has CR", i, m.Wart)
		}
		got, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Errorf("mail %d, %q: %v", i, m.Wart, err)
			continue
		}
		if id := got.Header.Get("Message-Id"); !strings.Contains(id, m.ID) {
			t.Errorf("mail %d, %q: its ID is %q", i, m.Wart, id)
		}
		if date := got.Header.Get("Date"); date != m.DateField && m.DateField != "" {
			t.Errorf("mail %d, %q: its date is %q, not %q", i, m.Wart, date, m.DateField)
		}
		body := func(raw []byte) []byte {
			_, after, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
			return after
		}
		if !bytes.Equal(body(b), body(m.Raw)) {
			t.Errorf("mail %d, %q: its body is\n%.500q, not\n%.500q", i, m.Wart, body(b), body(m.Raw))
		}
	}
	nobodyRuns(t, tree.Var)
}

// Mailman's default replaces dates that are not of these days.
func TestMailman3Clobbers(t *testing.T) {
	t.Parallel()
	mails := collect(t, Make{Seed: 31, N: 2, Plain: true})
	tree := Mailman3(t, t.TempDir(), slices.Values(mails), true)
	for i, m := range mails {
		got, err := mail.ReadMessage(bytes.NewReader(read(t, tree.Dir, "new", tree.Files[i])))
		if err != nil || got.Header.Get("Date") == m.DateField || got.Header.Get("X-Original-Date") != m.DateField {
			t.Errorf("mail %d of %q: %v, %v", i, m.DateField, got.Header, err)
		}
	}
}
