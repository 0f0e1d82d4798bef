package layout

import (
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReadPage reads whatever it is given. What it says of a page is text, no attachment is outside of
// the archive, and two pages in one file never pass for one.
func FuzzReadPage(f *testing.F) {
	f.Add(article{id: "<one@example.org>", author: "J\xf6rg", date: "Tue Mar  5 10:00:00 UTC 2019", subject: "x &amp; y", charset: "iso-8859-1", body: manyLinks(2)}.page())
	f.Add(mhonarcPage)
	f.Add("<h1><b>" + `<a href="mailto:?In-Reply-To=%` + ">" + beginArticle)
	f.Fuzz(func(t *testing.T, page string) {
		s, err := ReadPage(strings.NewReader(page), Pipermail, "dev/2019-March")
		if err != nil {
			return
		}
		if !utf8.ValidString(s.Author + s.Date + s.Subject) {
			t.Errorf("no text: %q", s)
		}
		for _, p := range s.Attachments {
			if !fs.ValidPath(p) || !strings.HasPrefix(p, "dev/attachments/") && !strings.HasPrefix(p, "dev/2019-March/") {
				t.Errorf("attachment %q", p)
			}
		}
		if k := s.Key(); k != "" && len(k) != 64 {
			t.Errorf("key %q", k)
		}
		if two, err := ReadPage(strings.NewReader(page+page), Pipermail, "dev/2019-March"); err == nil {
			t.Errorf("two pages pass for one: %q", two)
		}
	})
}

// FuzzIDs writes an ID and a subject as the archivers do, and reads them back.
func FuzzIDs(f *testing.F) {
	f.Add("a--b&c%41-@example.org", "a --> b")
	f.Add("&#45;\xff;", "=?utf-8?q?=C3?=")
	comment := strings.NewReplacer("-", "&#45;", "&", "&#38;", "<", "&#60;")
	f.Fuzz(func(t *testing.T, id, subject string) {
		if strings.ContainsAny(id+subject, "\n") {
			return
		}
		page := mhonarcSign + "2.6.19 -->\n<!--X-Subject: " + comment.Replace(subject) + " -->\n<!--X-From-R13: " + comment.Replace(rot13(subject)) + " -->\n" +
			"<!--X-Date: Thu, 1 Jan 2015 10:00:00 +0000 -->\n<!--X-Message-Id: " + comment.Replace(id) + " -->\n" + mhonarcHead + "\n"
		want := unblanked.Replace(id)
		if strings.HasSuffix(id, noID) {
			want = ""
		}
		s, err := ReadPage(strings.NewReader(page), MHonArc, "dev")
		if err != nil || s.ID != want {
			t.Errorf("MHonArc: %q becomes %q, %v", id, s.ID, err)
		}
		if k := Key(subject, "Thu, 1 Jan 2015 10:00:00 +0000", subject); k != s.Key() {
			t.Errorf("%q has key %q, and its page %q", subject, k, s.Key())
		}
		s, err = ReadPage(strings.NewReader(article{id: "<" + id + ">"}.page()), Pipermail, "dev/2019-March")
		if err != nil || s.ID != bare("<"+id+">") {
			t.Errorf("pipermail: %q becomes %q, %v", id, s.ID, err)
		}
	})
}
