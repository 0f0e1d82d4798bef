package archive

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pipermailOf makes the archive of mails in a new directory.
func pipermailOf(t testing.TB, mails []Mail, o PipermailOptions) (dir string, tree *PipermailTree) {
	t.Helper()
	dir = t.TempDir()
	tree, err := Pipermail(dir, "dev", slices.Values(mails), o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, tree
}

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	numbered = regexp.MustCompile(`/\d{6}\.html$`)
	replyTo  = regexp.MustCompile(`HREF="mailto:dev%40lists\.example\.org\?Subject=[^"&]*&In-Reply-To=([^"]*)"`)
	listed   = regexp.MustCompile(`<LI><A HREF="(\d{6}\.html)">`)
)

func TestEachMailHasItsPage(t *testing.T) {
	mails := collect(t, Make{Seed: 10, N: all})
	for _, o := range []PipermailOptions{
		{}, {German: true}, {GermanDirs: true, Charset: "utf-8"}, {Period: "quarter"}, {Period: "year"}, {Period: "week"}, {Period: "day"}, {OldDates: true},
		{Private: true, Plain: true, OnlyGzip: true, Quoting: Unmangled},
	} {
		dir, tree := pipermailOf(t, mails, o)
		found := 0
		filepath.WalkDir(filepath.Join(dir, tree.HTML), func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && numbered.MatchString(name) {
				found++
			}
			return err
		})
		if found != len(mails) || len(tree.Pages) != len(mails) || tree.InMbox != len(mails) {
			t.Errorf("%+v: %d mails, %d in the mbox, %d pages told of, %d found", o, len(mails), tree.InMbox, len(tree.Pages), found)
		}
		for _, page := range tree.Pages {
			m, b := mails[page.Mail], read(t, dir, page.Path)
			shown := replyTo.FindSubmatch(b)
			if shown == nil {
				t.Fatalf("%s names no Message-ID:\n%s", page.Path, b)
			}
			id, err := url.QueryUnescape(strings.ReplaceAll(string(shown[1]), "+", "%2B"))
			if id, _, _ = strings.Cut(strings.TrimLeft(id, "\n <"), ">"); err != nil || id != page.ID && m.Wart != "odd id" {
				t.Errorf("%s, %q: shows %q, not %q", page.Path, m.Wart, id, page.ID)
			}
			if m.ID == "" != strings.HasPrefix(page.ID, "mailman.") || m.ID != "" && m.ID != page.ID && m.Wart != "odd id" {
				t.Errorf("%s: %q for the mail %q", page.Path, page.ID, m.ID)
			}
			whole := bytes.Count(b, []byte("<!--beginarticle-->\n<PRE>")) == 1 && bytes.Count(b, []byte("</PRE>\n<!--endarticle-->")) == 1
			if whole == (m.Text == "" && m.Attachments == nil) || bytes.Contains(b, []byte("%!")) || bytes.IndexByte(b, 0) >= 0 {
				t.Errorf("%s, %q: not a page:\n%s", page.Path, m.Wart, b)
			}
		}
		checkIndexes(t, dir, tree)
	}
}

// checkIndexes follows the links of all indexes of a tree.
func checkIndexes(t *testing.T, dir string, tree *PipermailTree) {
	t.Helper()
	toc := string(read(t, dir, tree.HTML, "index.html"))
	for _, volume := range tree.Volumes {
		of := map[string]int{} // pages by Message-ID, the last one
		for _, page := range tree.Pages {
			if path.Dir(page.Path) == path.Join(tree.HTML, volume) {
				of[page.ID] = page.Mail
			}
		}
		for _, kind := range []string{"thread", "subject", "author", "date", "index"} {
			linked := map[string]bool{}
			for _, m := range listed.FindAllSubmatch(read(t, dir, tree.HTML, volume, kind+".html"), -1) {
				linked[string(m[1])] = true
				read(t, dir, tree.HTML, volume, string(m[1]))
			}
			if len(linked) != len(of) {
				t.Errorf("%s/%s.html: %d pages linked, of %d that have a Message-ID of their own", volume, kind, len(linked), len(of))
			}
			if kind != "index" && !strings.Contains(toc, `"`+volume+"/"+kind+`.html"`) {
				t.Errorf("index.html has no link to %s/%s.html", volume, kind)
			}
		}
	}
}

// Nothing is in a tree that it does not tell of.
func TestTreeTellsOfAll(t *testing.T) {
	mails := collect(t, Make{Seed: 11, N: all})
	dir, tree := pipermailOf(t, mails, PipermailOptions{Foreign: true, Symlinks: true})
	known := map[string]bool{tree.Mbox: true, tree.HTML + "/index.html": true, tree.HTML + "/pipermail.pck": true}
	for _, v := range tree.Volumes {
		for _, name := range []string{v + ".txt", v + ".txt.gz", v + "/thread.html", v + "/subject.html", v + "/author.html", v + "/date.html", v + "/index.html",
			"database/" + v + "-date", "database/" + v + "-author", "database/" + v + "-subject", "database/" + v + "-thread", "database/" + v + "-article"} {
			known[path.Join(tree.HTML, name)] = true
		}
	}
	for _, p := range tree.Pages {
		known[p.Path] = true
	}
	for _, f := range tree.Files {
		known[f.Path] = true
	}
	for _, name := range slices.Concat(tree.Foreign, tree.Symlinks) {
		known[name] = true
	}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		name, _ = filepath.Rel(dir, name)
		if err == nil && !e.IsDir() && !known[name] {
			t.Errorf("there is %s", name)
		}
		delete(known, name)
		return err
	})
	if err != nil || len(known) != 0 {
		t.Errorf("there is none of %v, %v", known, err)
	}
}

func TestAttachmentsAreTheParts(t *testing.T) {
	mails := collect(t, Make{Seed: 12, N: 3 * all})
	for _, scrubbed := range []bool{false, true} {
		dir, tree := pipermailOf(t, mails, PipermailOptions{Scrubbed: scrubbed})
		exact, other := 0, 0
		for _, f := range tree.Files {
			b := read(t, dir, f.Path)
			same := slices.ContainsFunc(mails[f.Mail].Attachments, func(a Attachment) bool { return bytes.Equal(a.Data, b) })
			if same != f.Exact || f.InMbox == scrubbed {
				t.Errorf("%s: exact %v, in the mbox %v", f.Path, same, f.InMbox)
			}
			if same {
				exact++
			} else {
				other++
			}
			if page := read(t, dir, tree.Pages[f.Mail].Path); !bytes.Contains(page, []byte(`<A HREF="http://lists.example.org/pipermail/dev/attachments/`)) {
				t.Errorf("%s has no link to its attachment:\n%s", tree.Pages[f.Mail].Path, page)
			}
		}
		if exact < 10 || other < 2 {
			t.Errorf("%d attachments as they were, %d changed", exact, other)
		}
		box := read(t, dir, tree.Mbox)
		if in := bytes.Contains(box, []byte("\nContent-Transfer-Encoding: base64")); in == scrubbed {
			t.Errorf("scrubbed: %v, base64 in the mbox: %v", scrubbed, in)
		}
		if n := goMbox(t, bytes.NewReader(box)); n != len(mails) {
			t.Errorf("go-mbox counts %d", n)
		}
	}
}

func TestMissingAndEdited(t *testing.T) {
	mails := collect(t, Make{Seed: 13, N: 40, Plain: true})
	dir, tree := pipermailOf(t, mails, PipermailOptions{
		Missing: func(i int, _ Mail) bool { return i%10 == 3 }, Edit: func(i int, _ Mail) bool { return i == 7 },
	})
	if n := goMbox(t, bytes.NewReader(read(t, dir, tree.Mbox))); n != 36 || tree.InMbox != 36 || len(tree.Pages) != 40 {
		t.Errorf("%d in the mbox, %d told of, %d pages", n, tree.InMbox, len(tree.Pages))
	}
	for i, p := range tree.Pages {
		if p.InMbox == (i%10 == 3) || p.Edited != (i == 7) || bytes.Contains(read(t, dir, p.Path), []byte("[removed]")) != p.Edited {
			t.Errorf("%+v", p)
		}
	}
}

// The months as text are what is packed, and the database is what Python reads.
func TestTextAndDatabase(t *testing.T) {
	mails := collect(t, Make{Seed: 14, N: all})
	dir, tree := pipermailOf(t, mails, PipermailOptions{})
	n := 0
	for _, v := range tree.Volumes {
		text := read(t, dir, tree.HTML, v+".txt")
		z, err := gzip.NewReader(bytes.NewReader(read(t, dir, tree.HTML, v+".txt.gz")))
		if err != nil {
			t.Fatal(err)
		}
		if packed, err := io.ReadAll(z); err != nil || !bytes.Equal(packed, text) {
			t.Errorf("%s.txt.gz is no %s.txt, %v", v, v, err)
		}
		n += bytes.Count(text, []byte("\nMessage-ID: "))
	}
	if n != len(mails) {
		t.Errorf("%d messages in the texts", n)
	}
	var got struct{ Sequence, Articles, Threads int }
	python(t, &got, `
import json, sys, os, marshal, pickle, pickletools
d = sys.argv[1]
articles = threads = 0
for name in os.listdir(d + "/database"):
	with open(d + "/database/" + name, "rb") as f:
		content = marshal.load(f)
	if name.endswith("-article"):
		articles += len(content)
		for value in content.values():
			list(pickletools.genops(value))
	if name.endswith("-thread"):
		threads += len(content)
with open(d + "/pipermail.pck", "rb") as f:
	sequence = pickle.load(f)["sequence"]
print(json.dumps({"Sequence": sequence, "Articles": articles, "Threads": threads}))`, filepath.Join(dir, tree.HTML))
	if got.Sequence != len(mails) || got.Articles < len(mails)-8 || got.Articles > len(mails)-1 || got.Threads < got.Articles {
		t.Errorf("%+v of %d mails", got, len(mails))
	}
}

func TestNamesOfVolumes(t *testing.T) {
	mails := collect(t, Make{Seed: 15, N: 60, Plain: true})
	for _, x := range []struct {
		o     PipermailOptions
		names string
	}{
		{PipermailOptions{}, "2003-April 2003-February 2003-January 2003-March"},
		{PipermailOptions{GermanDirs: true}, "2003-April 2003-Februar 2003-Januar 2003-März"},
		{PipermailOptions{Period: "quarter"}, "2003q1 2003q2"},
		{PipermailOptions{Period: "year"}, "2003"},
	} {
		dir, tree := pipermailOf(t, mails, x.o)
		if got := strings.Join(tree.Volumes, " "); got != x.names {
			t.Errorf("%+v: %s", x.o, got)
		}
		if x.o.Private {
			continue
		}
		if to, err := os.Readlink(filepath.Join(dir, "archives/public/dev")); err != nil || to != "../private/dev" {
			t.Errorf("the symlink leads to %q, %v", to, err)
		}
	}
	dir, _ := pipermailOf(t, mails, PipermailOptions{German: true})
	page := read(t, dir, "archives/private/dev/2003-March/date.html")
	if !bytes.Contains(page, []byte("M\xe4rz 2003")) || !bytes.Contains(page, []byte("Betreff ]")) {
		t.Errorf("no German in Latin-1:\n%.900s", page)
	}
}

// The newest Mailmans distrust dates to come; the older ones had volumes for them.
func TestDatesToCome(t *testing.T) {
	mails := collect(t, Make{Seed: 16, N: all})
	for _, old := range []bool{false, true} {
		_, tree := pipermailOf(t, mails, PipermailOptions{OldDates: old})
		for _, name := range []string{"2038-January", "2999-June"} {
			if slices.Contains(tree.Volumes, name) != old {
				t.Errorf("as of old: %v, the volumes are %v", old, tree.Volumes)
			}
		}
		for _, name := range []string{"1970-January", "1999-December", "2004-March"} {
			if !slices.Contains(tree.Volumes, name) {
				t.Errorf("there is no %s", name)
			}
		}
	}
}

func TestEmptyList(t *testing.T) {
	dir, tree := pipermailOf(t, nil, PipermailOptions{Foreign: true})
	if len(tree.Pages) != 0 || !bytes.Contains(read(t, dir, tree.HTML, "index.html"), []byte("No messages have been posted")) || len(read(t, dir, tree.Mbox)) != 0 {
		t.Errorf("%+v", tree)
	}
}
