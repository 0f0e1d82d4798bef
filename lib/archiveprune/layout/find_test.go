package layout

import (
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// found is what Find says of a tree, a line for each archive.
func found(t *testing.T, dir string, want Layout) (string, []Left, error) {
	t.Helper()
	archives, left, err := Find(openRoot(t, dir), want)
	var lines []string
	for _, a := range archives {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", a.Layout, a.List, a.Dir, kinds(a)))
	}
	return strings.Join(lines, "\n"), left, err
}

func expect(t *testing.T, dir string, want Layout, lines ...string) {
	t.Helper()
	got, left, err := found(t, dir, want)
	if err != nil || got != strings.Join(lines, "\n") {
		t.Errorf("found\n%s\n(%v, left %v)\nnot\n%s", got, err, left, strings.Join(lines, "\n"))
	}
}

const message = "From: joe@example.org\nMessage-ID: <x@example.org>\nMessage-ID-Hash: ABCDEFGH\nSubject: x\n\nHello.\n"

func TestFindPipermail(t *testing.T) {
	dir := t.TempDir()
	volumes := []string{"2019-March", "2019-März", "2019-3月", "2019q1", "2019", "20190304", "Week-of-Mon-20190304", "märzens"}
	writePipermail(t, dir, "dev", volumes...)
	write(t, filepath.Join(dir, "dev.mbox", "2018-02.mbox.gz"), gzipped(t, "From joe@example.org"))
	write(t, filepath.Join(dir, "dev.mbox", "2018-03.mbox.gz"), gzipped(t, "no mbox"))
	write(t, filepath.Join(dir, "dev", "2019-March", "notes.txt"), "somebody's")
	write(t, filepath.Join(dir, "dev", "pictures", "000001.html"), "<html>somebody's")
	write(t, filepath.Join(dir, "dev", "2020-May.txt"), "From joe\n")
	write(t, filepath.Join(dir, "dev", "readme.txt"), "somebody's")
	write(t, filepath.Join(dir, ".rplan", "trash", "1", "dev", "2019-March", "000009.html"), "gone")
	const all = "attachment 1, database 9, index 41, mbox 2, other 4, page 16, text 9"
	expect(t, dir, "", "pipermail dev dev: "+all)
	expect(t, dir, Pipermail, "pipermail dev dev: "+all)
	expect(t, filepath.Join(dir, "dev"), "", "pipermail dev .: "+strings.NewReplacer("mbox 2, ", "", "other 4", "other 3").Replace(all))

	archives, _, _ := Find(openRoot(t, dir), "")
	again, _, _ := Find(openRoot(t, dir), "")
	if !reflect.DeepEqual(archives, again) {
		t.Error("another order, or another answer, the second time")
	}
	of := map[string]string{}
	for _, f := range archives[0].Files {
		of[f.Path] = f.Of
	}
	for path, want := range map[string]string{
		"dev/index.html": "dev", "dev/pipermail.pck": "dev", "dev/database/2019-March-article": "dev/2019-March", "dev/2019q1.txt.gz": "dev/2019q1",
		"dev/2019/thread.html": "dev/2019", "dev/2020-May.txt": "dev/2020-May", "dev/2019/000008.html": "",
	} {
		if got, ok := of[path]; !ok || got != want {
			t.Errorf("%q is of %q, not of %q", path, got, want)
		}
	}
	if l := archives[0].Left; len(l) != 0 {
		t.Errorf("left %q", l)
	}
}

// A list stays a list when its pages are gone, and when they are made again.
func TestFindPrunedPipermail(t *testing.T) {
	dir := t.TempDir()
	writePipermail(t, dir, "dev", "2019-March")
	for _, gone := range []string{"dev/2019-March", "dev/database", "dev/pipermail.pck", "dev/2019-March.txt.gz", "dev/index.html"} {
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, dir, "", "pipermail dev dev: attachment 1, mbox 1")
	makePages(t, filepath.Join(dir, "dev", "2019-March"), oddMails()[:3])
	expect(t, dir, "", "pipermail dev dev: attachment 1, database 1, index 2, mbox 1, page 3")
	if err := os.RemoveAll(filepath.Join(dir, "dev")); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "", "pipermail dev dev: mbox 1")
}

// MHonArc's pages may lie in several ways beside their mbox.
func TestFindMHonArc(t *testing.T) {
	dir := t.TempDir()
	mails := oddMails()[:2]
	const mbox = "From joe@example.org Tue Mar  5 10:00:00 2019\nSubject: x\n\nx\n"
	pages := func(at string) { makePages(t, filepath.Join(dir, at), mails) }
	pages("inside")
	write(t, filepath.Join(dir, "inside", "inside.mbox"), mbox)
	write(t, filepath.Join(dir, "inside", "strange.mbox"), "no mbox")
	pages("beside")
	write(t, filepath.Join(dir, "beside.mbox"), mbox)
	write(t, filepath.Join(dir, "beside-2019-03.mbox.zst"), zstdMagic)
	pages("below")
	write(t, filepath.Join(dir, "below.mbox", "below.mbox"), mbox)
	pages("list/html")
	write(t, filepath.Join(dir, "list", "list.mbox"), mbox)
	pages("months/2019-03")
	pages("months/2019-04")
	write(t, filepath.Join(dir, "months.mbox"), mbox)
	pages("years/2019/03")
	pages("alone")
	pages("conferences/2019-berlin")
	pages("conferences/talk")
	const two = "database 1, index 2, "
	expect(t, dir, "",
		"mhonarc alone alone: "+two+"page 2",
		"mhonarc below below: "+two+"mbox 1, page 2",
		"mhonarc beside beside: "+two+"mbox 2, page 2",
		"mhonarc 2019-berlin conferences/2019-berlin: "+two+"page 2",
		"mhonarc talk conferences/talk: "+two+"page 2",
		"mhonarc inside inside: "+two+"mbox 1, other 1, page 2",
		"mhonarc list list/html: "+two+"mbox 1, page 2",
		"mhonarc months months: database 2, index 4, mbox 1, page 4",
		"mhonarc years years: "+two+"page 2")
	expect(t, filepath.Join(dir, "inside"), "", "mhonarc inside .: "+two+"mbox 1, other 1, page 2")
}

func TestFindMlmmj(t *testing.T) {
	make := need.Program(t, "mlmmj-make-ml")
	dir := t.TempDir()
	for _, list := range []string{"dev", "ops"} {
		c := exec.Command(make, "-L", list, "-s", dir)
		c.Stdin = strings.NewReader("example.org\nowner@example.org\nen\nn\n")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for i := range 12 {
		write(t, filepath.Join(dir, "dev", "archive", fmt.Sprint(i)), message)
	}
	archives, left, err := Find(openRoot(t, dir), "")
	if err != nil || len(archives) != 2 || len(left) > 0 {
		t.Fatalf("%v, left %v, %v", archives, left, err)
	}
	a := archives[0]
	if a.List != "dev@example.org" || a.Dir != "dev" || !strings.Contains(kinds(a), "message 11") || strings.Contains(kinds(archives[1]), "message") {
		t.Errorf("%s %s: %s", a.List, a.Dir, kinds(a))
	}
	if got, _, err := found(t, filepath.Join(dir, "dev"), Mlmmj); err != nil || !strings.HasPrefix(got, "mlmmj dev@example.org .: ") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestFindMailman3(t *testing.T) {
	dir := t.TempDir()
	// The archiver writes with this class.
	const add = "import mailbox, sys\nb = mailbox.Maildir(sys.argv[1], create=True, factory=None)\nfor i in range(3): b.add(sys.argv[2])"
	for _, list := range []string{"archives/prototype/dev@lists.example.org", "moved/ops@lists.example.org", "moved/user@example.org"} {
		text := message
		if strings.Contains(list, "user") {
			text = strings.Replace(message, "Message-ID-Hash", "X-Spam", 1)
		}
		at := filepath.Join(dir, list)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(need.Program(t, "python3"), "-c", add, at, text).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	write(t, filepath.Join(dir, "exports", "dev@lists.example.org-2019-03.mbox.gz"), gzipped(t, "From joe@example.org Tue"))
	write(t, filepath.Join(dir, "exports", "dev@lists.example.org-2019-04.mbox"), "From joe@example.org Tue")
	write(t, filepath.Join(dir, "exports", "ops.mbox"), "From joe@example.org Tue")
	write(t, filepath.Join(dir, "mixed", "ops.mbox"), "From joe@example.org Tue")
	write(t, filepath.Join(dir, "mixed", "letter.txt"), "Dear Joe")
	expect(t, dir, "",
		"mailman3 dev@lists.example.org archives/prototype/dev@lists.example.org: message 3",
		"mailman3 dev@lists.example.org exports: mbox 2",
		"mailman3 ops exports: mbox 1",
		"mailman3 ops@lists.example.org moved/ops@lists.example.org: message 3")
	_, left, _ := found(t, dir, "")
	if len(left) != 2 || left[0].Path != "mixed" || left[1].Path != "moved/user@example.org/new" {
		t.Errorf("left %q", left)
	}
	expect(t, filepath.Join(dir, "archives/prototype/dev@lists.example.org"), "", "mailman3 dev@lists.example.org .: message 3")
}

// What is no archive, or may be two, is refused with a reason.
func TestFindRefuses(t *testing.T) {
	dir := t.TempDir()
	writePipermail(t, filepath.Join(dir, "both"), "dev", "2019-March")
	makePages(t, filepath.Join(dir, "both", "dev"), oddMails()[:2])
	writePipermail(t, filepath.Join(dir, "both"), "ops", "2019-March")
	got, left, err := found(t, filepath.Join(dir, "both"), "")
	if diag.KindOf(err) != diag.Partial || !strings.Contains(err.Error(), `"dev"`) || !strings.Contains(err.Error(), "pipermail") || diag.HintOf(err) == "" {
		t.Errorf("dev: %v", err)
	}
	if !strings.HasPrefix(got, "pipermail ops ops: ") || strings.Contains(got, "\n") || len(left) != 2 || left[0].Path != "dev" {
		t.Errorf("%s, left %q", got, left)
	}
	if got, _, err := found(t, filepath.Join(dir, "both"), Pipermail); err != nil || !strings.HasPrefix(got, "pipermail dev dev: ") {
		t.Errorf("named: %s, %v", got, err)
	}

	// The mbox of what is refused is no archive of its own either.
	makePages(t, filepath.Join(dir, "web", "dev"), oddMails()[:2])
	writePipermail(t, filepath.Join(dir, "web"), "dev", "2019-March")
	write(t, filepath.Join(dir, "web", "dev-2019-03.mbox"), "From joe@example.org Tue")
	if got, _, err := found(t, filepath.Join(dir, "web"), ""); got != "" || diag.KindOf(err) != diag.Partial {
		t.Errorf("%s, %v", got, err)
	}

	// Names alone make no archive.
	write(t, filepath.Join(dir, "names", "pipermail.pck"), "x")
	write(t, filepath.Join(dir, "names", "2019-March", "thread.html"), "<html>")
	write(t, filepath.Join(dir, "names", "2019-March", "000001.html"), "<html>")
	write(t, filepath.Join(dir, "names", "msg00001.html"), "<html>")
	write(t, filepath.Join(dir, "names", ".mhonarc.db"), "x")
	write(t, filepath.Join(dir, "names", "archive", "1"), message)
	write(t, filepath.Join(dir, "names", "index"), "1")
	write(t, filepath.Join(dir, "dev.mbox", "dev.mbox"), "From joe")
	write(t, filepath.Join(dir, "empty", "dev", ".keep"), "")
	if err := os.Symlink("dev", filepath.Join(dir, "empty", "link")); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []string{"names", "empty", "dev.mbox"} {
		got, left, err := found(t, filepath.Join(dir, tree), "")
		if diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), tree) || diag.HintOf(err) == "" || got != "" || len(left) == 0 {
			t.Errorf("%s: found %q, left %q, %v", tree, got, left, err)
		}
	}
	// Named, but another by the facts.
	_, left, err = found(t, filepath.Join(dir, "both", "ops"), MHonArc)
	if diag.KindOf(err) != diag.Refused || len(left) == 0 || !strings.Contains(left[0].Why, "a pipermail archive, not a mhonarc one") {
		t.Errorf("ops as mhonarc: left %q, %v", left, err)
	}
}

func gzipped(t *testing.T, text string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
