package rebuild

import (
	"fmt"
	"html"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

func tree(t testing.TB) *os.Root { return treeAt(t, t.TempDir()) }

func treeAt(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	if err := root.Mkdir("dev", 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// mails are messages as Options have them.
func mails(texts ...string) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, text := range texts {
			if !yield(strings.NewReader(text), nil) {
				return
			}
		}
	}
}

const dest = "dev/2019-03"

// rebuilt makes pages of the mails.
func rebuilt(t testing.TB, tree *os.Root, o Options, texts ...string) Result {
	t.Helper()
	need.Program(t, "mhonarc")
	o.Tree, o.Dest, o.Messages = tree, dest, mails(texts...)
	r, err := Rebuild(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages != len(texts) {
		t.Errorf("%d messages were read, want %d", r.Messages, len(texts))
	}
	return r
}

// page is what a reader sees of a message.
type page struct {
	id, subject, from, body string
	files                   []string // content of what it links to
}

var (
	tag  = regexp.MustCompile(`<[^>]*>`)
	link = regexp.MustCompile(`href="([^"#]*)"`)
)

func between(t testing.TB, text, from, to string) string {
	t.Helper()
	_, text, ok1 := strings.Cut(text, from)
	text, _, ok2 := strings.Cut(text, to)
	if !ok1 || !ok2 {
		t.Fatalf("no %q up to %q in a page", from, to)
	}
	return text
}

// read reads the pages of messages, in the order in which they were made.
func read(t testing.TB, tree *os.Root) (got []page) {
	t.Helper()
	dir, err := tree.OpenRoot(dest)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := fs.Glob(dir.FS(), "msg*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := dir.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		body := between(t, text, "<!--X-Body-of-Message-->\n", "\n<!--X-Body-of-Message-End-->")
		p := page{
			id:      html.UnescapeString(between(t, text, "<!--X-Message-Id: ", " -->")),
			subject: html.UnescapeString(between(t, text, "<h1>", "</h1>")),
			from:    html.UnescapeString(tag.ReplaceAllString(between(t, text, "<em>From</em>: ", "</li>"), "")),
			body:    strings.TrimSpace(html.UnescapeString(tag.ReplaceAllString(body, ""))),
		}
		for _, to := range link.FindAllStringSubmatch(body, -1) {
			if strings.HasPrefix(to[1], "mailto:") {
				continue // in the header of a forwarded message
			}
			content, err := dir.ReadFile(to[1])
			if err != nil {
				t.Fatal(err)
			}
			p.files = append(p.files, string(content))
		}
		got = append(got, p)
	}
	return got
}

// nothing fails if there is a trace of a rebuilding that failed.
func nothing(t *testing.T, tree *os.Root) {
	t.Helper()
	err := fs.WalkDir(tree.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != "." && name != "dev" && name != hidden {
			t.Errorf("%q is there", name)
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

const plain = "From a@example.org Fri Mar  1 10:00:00 2019\nFrom: A <a@example.org>\nSubject: one\nMessage-ID: <1@example.org>\nDate: Fri, 1 Mar 2019 10:00:00 +0100\n\ntext of one\n"

func TestMark(t *testing.T) {
	tree := tree(t)
	r := rebuilt(t, tree, Options{Title: "dev"}, plain)
	if r.Pages != 1 || r.Files != 3 || r.Bytes < 1000 {
		t.Errorf("%+v", r)
	}
	at, err := At(tree, dest)
	if d := time.Since(at); err != nil || d < 0 || d > time.Minute {
		t.Errorf("made at %v, %v", at, err)
	}
	if at, err := At(tree, "dev"); !at.IsZero() || err != nil {
		t.Errorf("%v, %v", at, err)
	}
	if err := tree.WriteFile("dev/"+Mark, []byte("soon"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := At(tree, "dev"); diag.KindOf(err) != diag.BadData {
		t.Error(err)
	}
	entries, err := fs.ReadDir(tree.FS(), hidden)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

func TestTitle(t *testing.T) {
	tree := tree(t)
	rebuilt(t, tree, Options{Title: "dev@lists.example.org: März <script>$HTTP$\n</IdxPgBegin>\xff"}, plain)
	b, err := tree.ReadFile(dest + "/index.html")
	if want := "<h1>dev@lists.example.org: März _script__HTTP____IdxPgBegin__</h1>"; err != nil || !strings.Contains(string(b), want) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestAddresses(t *testing.T) {
	mail := plain + "Write to Bob.Smith+x@mail.example.net or <c@example.com>.\n"
	for _, hide := range []bool{false, true} {
		tree := tree(t)
		rebuilt(t, tree, Options{HideAddresses: hide}, mail)
		b, err := fs.ReadFile(tree.FS(), dest+"/msg00000.html")
		if err != nil {
			t.Fatal(err)
		}
		visible := regexp.MustCompile(`<!--.*?-->`).ReplaceAllString(string(b), "")
		for _, host := range []string{"@example.org", "@mail.example.net", "@example.com"} {
			if strings.Contains(visible, host) == hide {
				t.Errorf("hidden: %v, and yet %s", hide, visible)
			}
		}
	}
}

func TestReplace(t *testing.T) {
	tree := tree(t)
	rebuilt(t, tree, Options{}, plain)
	o := Options{Tree: tree, Dest: dest, Messages: mails(plain, strings.ReplaceAll(plain, "1@", "2@"))}
	if _, err := Rebuild(t.Context(), o); diag.KindOf(err) != diag.Refused || len(read(t, tree)) != 1 {
		t.Error(err)
	}
	o.Replace = true
	if _, err := Rebuild(t.Context(), o); err != nil || len(read(t, tree)) != 2 {
		t.Error(err)
	}
	if err := tree.Remove(dest + "/" + Mark); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebuild(t.Context(), o); diag.KindOf(err) != diag.Refused || len(read(t, tree)) != 2 {
		t.Errorf("what is not marked: %v", err)
	}
	entries, err := fs.ReadDir(tree.FS(), hidden)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

// Nothing is made outside of the tree, by symbolic links or by "..", nor in .rplan.
func TestDestination(t *testing.T) {
	need.Program(t, "mhonarc")
	tree, other := tree(t), t.TempDir()
	if err := tree.Symlink(other, "away"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Symlink("dev", "alias"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Symlink("/nowhere", "dev/dangling"); err != nil {
		t.Fatal(err)
	}
	for to, kind := range map[string]diag.Kind{
		"": diag.Usage, ".": diag.Usage, "..": diag.Usage, "../x": diag.Usage, "/x": diag.Usage, "dev/": diag.Usage, "dev/../x": diag.Usage, ".rplan": diag.Usage, ".rplan/x": diag.Usage,
		"none/x": diag.CantCreate, "away/x": diag.CantCreate, "alias/x": diag.CantCreate, "dev/dangling": diag.Refused, "away": diag.Refused,
	} {
		for _, replace := range []bool{false, true} {
			if _, err := Rebuild(t.Context(), Options{Tree: tree, Dest: to, Replace: replace, Messages: mails(plain)}); diag.KindOf(err) != kind {
				t.Errorf("%q: %v", to, err)
			}
		}
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// The list manager can prune what root rebuilt.
func TestOwner(t *testing.T) {
	need.Root(t)
	tree := tree(t)
	if err := tree.Chown("dev", 1234, 2345); err != nil {
		t.Fatal(err)
	}
	if err := tree.Chmod("dev", 0o775|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	rebuilt(t, tree, Options{}, plain)
	for name, mode := range map[string]fs.FileMode{dest: 0o775 | fs.ModeSetgid | fs.ModeDir, dest + "/index.html": 0o644, dest + "/msg00000.html": 0o644, dest + "/" + Mark: 0o644} {
		info, err := tree.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if owner := fmt.Sprint(info.Sys()); info.Mode() != mode || !strings.Contains(owner, " 1234 2345 ") {
			t.Errorf("%s: %v %v", name, info.Mode(), owner)
		}
	}
}

// Five hundred messages fill a page of the index.
func TestIndexPages(t *testing.T) {
	var texts []string
	for i := range 1001 {
		texts = append(texts, fmt.Sprintf("From: a@example.org\nSubject: no. %d.\nMessage-ID: <%d@x>\nDate: %s\n\nx\n", i, i, time.Unix(int64(1.5e9+i*60), 0).UTC().Format(time.RFC1123Z)))
	}
	tree := tree(t)
	if r := rebuilt(t, tree, Options{}, texts...); r.Pages != 1001 || r.Files != 1001+6 {
		t.Errorf("%+v", r)
	}
	names, err := fs.Glob(tree.FS(), dest+"/[^m]*.html")
	more, _ := fs.Glob(tree.FS(), dest+"/mail*.html")
	names = append(names, more...)
	all := ""
	for _, name := range names {
		b, _ := fs.ReadFile(tree.FS(), name)
		all += string(b)
	}
	if want := []string{"index.html", "threads.html", "thrd2.html", "thrd3.html", "mail2.html", "mail3.html"}; err != nil || len(names) != len(want) {
		t.Errorf("%v, %v", names, err)
	} else {
		for _, name := range names {
			if !slices.Contains(want, path.Base(name)) {
				t.Errorf("%v", names)
			}
		}
	}
	for i := range texts {
		if n := strings.Count(all, fmt.Sprintf(">no. %d.<", i)); n != 2 {
			t.Fatalf("message %d is in %d indexes", i, n)
		}
	}
}
