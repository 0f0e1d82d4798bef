package layout

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/tests/need"
)

// letter is a message of which MHonArc makes a page. Its subject is unique.
type letter struct {
	idField string // the line or lines of Message-ID; "" for none
	id      string // what a page should name
	from    string
	date    string
	subject string
	body    string // with its own header fields, if any, and the empty line
}

func (m letter) text() string {
	return "From x@example.org Thu Jan  1 00:00:00 2015\nFrom: " + m.from + "\nDate: " + m.date + "\nSubject: " + m.subject + "\n" + m.idField + m.body + "\n"
}

// makePages has MHonArc make pages of mails in dir, and returns what it left there.
func makePages(t *testing.T, dir string, mails []letter, options ...string) {
	t.Helper()
	mhonarc := need.Program(t, "mhonarc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var mbox strings.Builder
	for _, m := range mails {
		mbox.WriteString(m.text() + "\n")
	}
	file := filepath.Join(t.TempDir(), "mbox")
	if err := os.WriteFile(file, []byte(mbox.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mhonarc, append(options, "-quiet", "-outdir", dir, file)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mhonarc: %v\n%s", err, out)
	}
}

// readPages reads the pages of the archives in dir, by their subject.
func readPages(t *testing.T, dir string) map[string]Shown {
	t.Helper()
	root := openRoot(t, dir)
	archives, _, err := Find(root, "")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]Shown{}
	for _, a := range archives {
		for _, f := range a.Files {
			if f.Kind != Page {
				continue
			}
			file, err := Open(root, f)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ReadPage(file, a.Layout, filepath.Dir(f.Path))
			file.Close()
			if err != nil {
				t.Errorf("%s: %v", f.Path, err)
			}
			if _, ok := pages[s.Subject]; ok {
				t.Errorf("%s: a second page with subject %q", f.Path, s.Subject)
			}
			pages[s.Subject] = s
		}
	}
	return pages
}

// oddMails are what the writers of mail programs have come up with, and what they have not.
func oddMails() []letter {
	odd := []letter{
		{idField: "Message-ID: <plain@example.org>\n", id: "plain@example.org"},
		{idField: "Message-Id: <--a--b->---@example.org>\n", id: "--a--b-"},
		{idField: "Message-ID: <a&amp;b&#45;c&d#;&#x2d;&#300;@example.org>\n", id: "a&amp;b&#45;c&d#;&#x2d;&#300;@example.org"},
		{idField: "Message-ID: <with space and \"quotes\" and\ttab@example.org> (and a comment)\n", id: "withspaceand\"quotes\"andtab@example.org"},
		{idField: "Message-ID:\n <folded@example.org>\n", id: "folded@example.org"},
		{idField: "Message-ID: <folded\n\twithin@example.org>\n", id: "foldedwithin@example.org"},
		{idField: "MESSAGE-ID:<no-space@example.org>\n", id: "no-space@example.org"},
		{idField: "Message-ID: no-brackets@example.org  \n", id: "no-brackets@example.org"},
		{idField: "Message-ID: <8bit-\xe4\xf6\xfc@example.org>\n", id: "8bit-\xe4\xf6\xfc@example.org"},
		{idField: "Message-ID: <utf8-äöü-語@example.org>\n", id: "utf8-äöü-語@example.org"},
		{idField: "Message-ID: <" + strings.Repeat("long-", 1000) + "@example.org>\n", id: strings.Repeat("long-", 1000) + "@example.org"},
		{idField: "Message-ID: <two@example.org> <ids@example.org>\n", id: "two@example.org"},
		{idField: "Message-ID: <open<@example.org>\n", id: "open<@example.org"},
		{idField: "Message-ID: <!--X-Message-Id: x --@example.org>\n", id: "!--X-Message-Id:x--@example.org"},
		{idField: "Message-ID: <100%25@example.org>\n", id: "100%25@example.org"},
		{idField: "", id: ""},
		{idField: "Received: from a.example.org by b.example.org; Fri, 2 Jan 2015 09:00:00 +0000 (UTC)\n", id: ""},
	}
	random := rand.New(rand.NewPCG(1, 2))
	const letters = `--&&#;<!"'%@ABZ[]az019.$/\=?_ ` + "\xff"
	for n := range 200 {
		id := make([]byte, 1+random.IntN(40))
		for i := range id {
			id[i] = letters[random.IntN(len(letters))]
		}
		s := fmt.Sprintf("x%sx%d@example.org", id, n)
		odd = append(odd, letter{idField: "Message-ID: <" + s + ">\n", id: strings.ReplaceAll(s, " ", "")})
	}
	froms := []string{
		"joe@example.org", "Joe Doe <joe@example.org>", `"Doe, [JOE] @ home" <joe@example.org>`, "joe@example.org (Joe Doe)", "=?utf-8?q?J=C3=B6rg?= <j@example.org>",
		"Jörg <j@example.org>", "J\xf6rg <j@example.org>", "=?iso-8859-1?q?J=F6rg_M=FCller?=\n <j@example.org>", "-- & <!-- --> <j@example.org>", "<j@example.org>", "=?koi8-r?b?8NLJ18XU?= <j@example.org>",
	}
	subjects := []string{
		"mail %d", "=?utf-8?q?Gr=C3=BC=C3=9Fe?= %d", "a -- b --> <!--X-Message-Id: evil@example.org --> &amp; %d", "Re: %d", "folded\n\tsubject   %d", "Gr\xfc\xdfe %d", "=?utf-8?q?half", "%d @ home",
	}
	for i := range odd {
		m := &odd[i]
		m.from = froms[i%len(froms)]
		m.subject = subjects[i%len(subjects)]
		if strings.Contains(m.subject, "%d") {
			m.subject = fmt.Sprintf(m.subject, i)
		} else {
			m.subject += fmt.Sprint(i)
		}
		m.date = fmt.Sprintf("Thu, %d Jan 2015 10:%02d:%02d +0100", 1+i%28, i%60, i/60)
		m.body = "\nThis is message " + fmt.Sprint(i) + ".\n<!--X-Message-Id: evil@example.org -->\n<!--X-Head-End-->\n"
	}
	return odd
}

// Every ID that MHonArc shows is read as it stood in the mail, and the digest of the mail's fields is the page's.
func TestMHonArcPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "list")
	mails := oddMails()
	makePages(t, dir, mails)
	pages := readPages(t, dir)
	if len(pages) != len(mails) {
		t.Errorf("%d pages of %d mails", len(pages), len(mails))
	}
	for _, m := range mails {
		s, ok := pages[decoded(m.subject)]
		if !ok {
			t.Errorf("no page of %q", m.subject)
			continue
		}
		if s.ID != m.id {
			t.Errorf("%q: the page's ID is %q, not %q", m.subject, s.ID, m.id)
		}
		if k := Key(m.from, m.date, m.subject); k == "" || k != s.Key() {
			t.Errorf("%q of %q: the page's key is %q, not %q: %q", m.subject, m.from, s.Key(), k, s)
		}
	}
}

// A mail in which a line begins with "From " is two mails to MHonArc: the second has neither ID nor date of its own.
func TestMHonArcSplitsAtFrom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "list")
	makePages(t, dir, []letter{{idField: "Message-ID: <one@example.org>\n", from: "a@example.org", date: "Thu, 1 Jan 2015 10:00:00 +0000", subject: "one", body: "\nHello.\n\nFrom here on it is another.\n\nBye.\n"}})
	pages := readPages(t, dir)
	if len(pages) != 2 || pages["one"].ID != "one@example.org" || pages[""].ID != "" {
		t.Errorf("pages %q", pages)
	}
}

// The attachments that pages have are told from files that only lie beside them.
func TestMHonArcAttachments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "list")
	attached := `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/html

<p>Hello <img src="cid:p"> <a href="strange.bin">this</a>
--x
Content-Type: image/jpeg; name="p.jpg"
Content-ID: <p>
Content-Transfer-Encoding: base64

AAECAwQ=
--x
Content-Type: application/pdf; name="../a b.pdf"
Content-Disposition: attachment; filename="../a b.pdf"
Content-Transfer-Encoding: base64

AAECAwQ=
--x--
`
	one := letter{idField: "Message-ID: <att@example.org>\n", from: "a@example.org", date: "Thu, 1 Jan 2015 10:00:00 +0000", subject: "att", body: attached}
	rc := filepath.Join(t.TempDir(), "rc")
	write(t, rc, "<MIMEArgs>\nm2h_external::filter; subdir usename\n</MIMEArgs>\n<MsgPrefix>\npost\n</MsgPrefix>\n<IdxFName>\nall.html\n</IdxFName>\n")
	for name, options := range map[string][]string{"flat": nil, "directories": {"-rcfile", rc}} {
		at := filepath.Join(dir, name)
		makePages(t, at, []letter{one}, options...)
		write(t, filepath.Join(at, "strange.bin"), "x")
		write(t, filepath.Join(at, "strange", "strange.pdf"), "x")
		write(t, filepath.Join(at, "strange.html"), "<html>not by the archiver")
		write(t, filepath.Join(at, "notes00000.html"), "<html>not by the archiver")
	}
	archives, left, err := Find(openRoot(t, dir), MHonArc)
	if err != nil || len(left) > 0 || len(archives) != 2 {
		t.Fatalf("%d archives, left %v, %v", len(archives), left, err)
	}
	for _, a := range archives {
		if got, want := kinds(a), "attachment 2, database 1, index 2, other 4, page 1"; got != want {
			t.Errorf("%s: %s; not %s", a.Dir, got, want)
		}
		for _, f := range a.Files {
			if f.Kind == Attachment && strings.Contains(f.Path, "strange") || f.Kind == Index && f.Of != a.Dir {
				t.Errorf("%q is %s of %q", f.Path, f.Kind, f.Of)
			}
		}
	}
	s := readPages(t, filepath.Join(dir, "directories"))["att"]
	if len(s.Attachments) != 2 || s.Attachments[1] != "post00000" {
		t.Errorf("attachments %q", s.Attachments)
	}
}
