package archiveprune

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune/links"
	"rplan/lib/diag"
	"rplan/tests/archive"
)

// fiveYears is the moment that "5y" means.
var fiveYears = time.Date(2021, 1, 2, 0, 0, 0, 0, time.UTC)

// linksRight fails unless each link leads to the message that it names, or says that it is gone. It returns how many do either.
func (s *shelf) linksRight() (lead, expired int) {
	s.t.Helper()
	root, err := os.OpenRoot(s.top)
	if err != nil {
		s.t.Fatal(err)
	}
	defer root.Close()
	known := map[string]bool{}
	for _, m := range s.mails {
		known[strings.ReplaceAll(m.ID, " ", "")] = true // as RFC 5322 has them without
	}
	texts := map[string][]byte{}
	for l, err := range links.Read(root, links.Path) {
		switch {
		case err != nil:
			s.t.Fatal(err)
		case l.Offset == links.Expired:
			expired++
			if l.ID != "" || l.Mbox != "" {
				s.t.Errorf("%s: of a message that is gone, %q in %q is remembered", l.Page, l.ID, l.Mbox)
			}
		case l.Mbox != "":
			lead++
			if texts[l.Mbox] == nil {
				texts[l.Mbox] = s.read(filepath.Join(s.top, l.Mbox))
			}
			if text := texts[l.Mbox]; !isMessage(text, l.Offset, l.ID, known[l.ID]) {
				s.t.Errorf("%s: %q is not at %d of %s, but %.200q", l.Page, l.ID, l.Offset, l.Mbox, text[min(l.Offset, int64(len(text))):])
			}
		}
	}
	return lead, expired
}

// isMessage says whether at an offset of an mbox a message begins that has this ID; or none, if it is not of a mail.
func isMessage(text []byte, at int64, id string, ofMail bool) bool {
	if at > int64(len(text)) || !bytes.HasPrefix(text[at:], []byte("From ")) || at > 0 && text[at-1] != '\n' {
		return false
	}
	_, message, _ := bytes.Cut(text[at:], []byte("\n"))
	m, err := mail.ReadMessage(io.MultiReader(bytes.NewReader(message), strings.NewReader("\n\n")))
	if err != nil {
		return false
	}
	got := strings.ReplaceAll(m.Header.Get("Message-Id"), " ", "")
	return ofMail && strings.Contains(got, id) || !ofMail && got == ""
}

func isNumbered(name string) bool {
	return strings.HasSuffix(name, ".html") && strings.Trim(strings.TrimSuffix(name, ".html"), "0123456789") == ""
}

func TestRetention(t *testing.T) {
	for name, x := range map[string]struct {
		q     archive.Quoting
		pages string // how long the run before had kept them
		lead  int    // links of that run that lead to messages at the end
	}{"mangled": {archive.Mangled, "2y", 20}, "mboxrd": {archive.Mboxrd, "8y", 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, tenYears(21, 2), archive.PipermailOptions{Quoting: x.q})
			old := s.olderThan(fiveYears)
			if len(old) < 60 || len(old) > len(s.mails)-40 {
				t.Fatalf("%d of %d are too old", len(old), len(s.mails))
			}
			before := s.state()
			if shown := len(s.shown()); shown < len(s.mails)-10 {
				t.Fatalf("only %d IDs are shown", shown)
			}
			s.do(Options{Apply: true, KeepHTML: x.pages}) // so that there are links of an earlier run
			earlier, _ := s.linksRight()
			report := s.do(Options{KeepMbox: "5y"})
			result := s.do(Options{Apply: true, KeepMbox: "5y"})
			s.same("after the cut", s.mbox, s.without(old))
			if report.Expired.Files != len(old) || result.Expired != report.Expired || !result.Done {
				t.Errorf("%+v, then %+v of %d", report.Expired, result.Expired, len(old))
			}
			for _, why := range []string{"it has no date", "it has a date that cannot be read", whyDoubtful} {
				if report.Kept[why] == 0 {
					t.Errorf("none is kept because %s: %v", why, report.Kept)
				}
			}
			lead, expired := s.linksRight()
			t.Logf("%d links of the earlier run; then %d lead to messages, %d of messages that are gone", earlier, lead, expired)
			if lead < x.lead || expired < len(old)-8 {
				t.Errorf("%d links lead to messages, %d are of messages that are gone", lead, expired)
			}
			for shown, i := s.shown(), 0; i < len(s.mails); i++ {
				if id := s.mails[i].ID; id != "" && old[i] && shown[id] {
					t.Errorf("there is a page of %q, %q, which is gone", id, s.mails[i].Wart)
				}
			}
			again := s.state()
			if r := s.do(Options{Apply: true, KeepMbox: "5y"}); r.Expired.Files != 0 || r.Freed != 0 {
				t.Errorf("the second run: %+v", r)
			}
			if now := s.state(); len(now) != len(again) {
				t.Errorf("the second run left %d of %d files", len(now), len(again))
			}
			s.same("after the second run", s.mbox, s.without(old))
			fresh := []byte("From x@example.org  Thu Jan  1 00:00:00 2026\nMessage-ID: <fresh@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\nnew\n\n")
			s.append(fresh)
			s.undo()
			s.same("after the undo", s.mbox, append(bytes.Clone(s.whole), fresh...))
			if again, _ := s.linksRight(); again < lead-4 {
				t.Errorf("after the undo %d of %d links lead to messages", again, lead)
			}
			if now := s.state(); strings.Join(names(now), " ") != strings.Join(names(before), " ") {
				t.Errorf("undo leaves\n%v, not\n%v", names(now), names(before))
			}
		})
	}
}

// shownID is how a page names its message.
var shownID = regexp.MustCompile(`In-Reply-To=%3C([^&"]*)%3E`)

// shown are the IDs of messages of which there are pages.
func (s *shelf) shown() map[string]bool {
	s.t.Helper()
	ids := map[string]bool{}
	for name := range s.state() {
		if isNumbered(filepath.Base(name)) {
			if m := shownID.FindSubmatch(s.read(filepath.Join(s.top, name))); m != nil {
				id, _ := url.PathUnescape(string(m[1]))
				ids[id] = true
			}
		}
	}
	return ids
}

// Files of one message each go to the trash, and come back.
func TestRetentionOfFiles(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, mails []archive.Mail) (top, dir string, file func(i int) string){
		"mlmmj": func(t *testing.T, mails []archive.Mail) (string, string, func(int) string) {
			top := t.TempDir()
			list := archive.Mlmmj(t, top, slices.Values(mails))
			return top, filepath.Join(list, "archive"), func(i int) string { return fmt.Sprint(i + 1) }
		},
		"mailman3": func(t *testing.T, mails []archive.Mail) (string, string, func(int) string) {
			tree := archive.Mailman3(t, t.TempDir(), slices.Values(mails), false)
			return filepath.Dir(tree.Dir), filepath.Join(tree.Dir, "new"), func(i int) string { return tree.Files[i] }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := tenYears(22, 1)
			mails := slices.Collect(m.Mails())
			top, dir, file := make(t, mails)
			s := bareShelf(t, top)
			s.mails = mails
			before := s.state()
			want := maps.Clone(before)
			for i := range mails {
				at, dated := s.dated(i)
				if mails[i].DateField == "" && name == "mailman3" {
					continue // it has the date of the archiving
				}
				if p, _ := filepath.Rel(top, filepath.Join(dir, file(i))); file(i) != "" && dated && at.Before(fiveYears) {
					if want[p] == "" {
						t.Fatalf("there is no %s", p)
					}
					delete(want, p)
				}
			}
			gone := len(before) - len(want)
			if gone < 20 || len(before)-gone < 20 {
				t.Fatalf("%d of %d are too old", gone, len(before))
			}
			report := s.do(Options{KeepMbox: "5y"})
			result := s.do(Options{Apply: true, KeepMbox: "5y"})
			if report.Expired.Files != gone || result.Expired != report.Expired || result.Freed != report.Expired.Bytes {
				t.Errorf("%+v, then %+v, %d bytes freed, of %d", report.Expired, result.Expired, result.Freed, gone)
			}
			if now := s.state(); !maps.Equal(now, want) {
				t.Errorf("there are\n%v, not\n%v", names(now), names(want))
			}
			s.undo()
			if now := s.state(); !maps.Equal(now, before) {
				t.Errorf("undo leaves\n%v, not\n%v", names(now), names(before))
			}
		})
	}
}

// Damage in one file of messages keeps those of all others: their pages stay, as nothing is proven.
func TestDamageKeepsMessages(t *testing.T) {
	t.Parallel()
	s := newShelf(t, archive.Make{Seed: 27, N: 20, Plain: true, Bare: true, Start: time.Date(2015, 1, 3, 0, 0, 0, 0, time.UTC)}, archive.PipermailOptions{})
	month := filepath.Join(filepath.Dir(s.mbox), "2014-01.mbox.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(s.whole)
	z.Close()
	if err := os.WriteFile(month, b.Bytes()[:b.Len()-9], 0o644); err != nil {
		t.Fatal(err)
	}
	before := s.state()
	o := Options{KeepMbox: "5y", KeepHTML: "0", Compress: "gzip", Scrub: true}
	for _, o.Apply = range []bool{false, true} {
		r, err := s.attempt(o)
		if want := map[bool]diag.Kind{true: diag.Refused}[o.Apply]; (err != nil) != o.Apply || err != nil && diag.KindOf(err) != want {
			t.Errorf("apply %v: %v", o.Apply, err)
		}
		if len(r.Damage) != 1 || r.Expired.Files+r.Goes.Files+r.Scrubbed.Addresses+r.Moved.Files != 0 {
			t.Errorf("%+v", r)
		}
	}
	if now := s.state(); !maps.Equal(now, before) {
		t.Errorf("there are\n%v, not\n%v", names(now), names(before))
	}
}

func (s *shelf) append(text []byte) {
	s.t.Helper()
	f, err := os.OpenFile(s.mbox, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(text)
		f.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
