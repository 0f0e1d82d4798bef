package links

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// tree opens an empty one.
func tree(t testing.TB) *os.Root { return treeAt(t, t.TempDir()) }

func treeAt(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func all(t testing.TB, tree *os.Root) (got []Link) {
	t.Helper()
	for l, err := range Read(tree, Path) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	return got
}

func add(t testing.TB, tree *os.Root, links ...Link) {
	t.Helper()
	if err := Add(tree, links); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, tree *os.Root, want ...Link) {
	t.Helper()
	if got := all(t, tree); len(got) != len(want) {
		t.Errorf("%d links are remembered, want %d", len(got), len(want))
	} else if !slices.Equal(got, want) {
		t.Errorf("remembered are\n%+v, want\n%+v", got, want)
	}
}

func content(t testing.TB, tree *os.Root, name string) string {
	t.Helper()
	b, err := tree.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	first  = Link{"dev/2019-March/000001.html", "a@x", "dev", "dev.mbox/dev.mbox", 0}
	second = Link{"dev/2019-March/000002.html", "", "dev", "dev.mbox/dev.mbox", 1234}
	index  = Link{"dev/2019-March/thread.html", "", "dev", "", 0}
	talk   = Link{"talk/2020-May/000009.html", "b/c+d@y", "talk", "talk.mbox/talk.mbox", 1 << 40}
)

func TestAdd(t *testing.T) {
	tree := tree(t)
	check(t, tree) // nothing yet
	add(t, tree, talk, first)
	add(t, tree, index, second, index)
	check(t, tree, first, second, index, talk)
	newer := second
	newer.ID = "now@it.has.one"
	older := second
	older.ID = "old"
	add(t, tree, older, newer)
	check(t, tree, first, newer, index, talk)
	if got, want := content(t, tree, Path), "page\tid\tlist\tmbox\toffset\ndev/2019-March/000001.html\ta@x\tdev\tdev.mbox/dev.mbox\t0\n"; !strings.HasPrefix(got, want) {
		t.Errorf("the memory is\n%s", got)
	}
}

// Whatever is added, in whatever parts, the last of each page stays.
func TestAddIsLikeAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		tree, want := tree(t), map[string]Link{}
		for range 4 {
			var part []Link
			for range random.IntN(6) {
				l := Link{fmt.Sprint("p", random.IntN(9)), fmt.Sprint(random.IntN(100)), "l", "m", random.Int64N(9)}
				part, want[l.Page] = append(part, l), l
			}
			add(t, tree, part...)
		}
		got := all(t, tree)
		if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b Link) int { return strings.Compare(a.Page, b.Page) }) {
			t.Fatalf("%d links for %d pages", len(got), len(want))
		}
		for _, l := range got {
			if want[l.Page] != l {
				t.Fatalf("%+v, want %+v", l, want[l.Page])
			}
		}
	}
}

func TestUpdate(t *testing.T) {
	tree := tree(t)
	add(t, tree, first, second, index, talk)
	seen := 0
	err := Update(tree, "dev", func(l Link) (string, int64, bool) {
		offset := l.Offset
		seen++
		if offset == 0 {
			return "", 0, true
		}
		return "dev.mbox/2019-03.zst", offset - 1000, false
	})
	if err != nil || seen != 2 {
		t.Fatalf("%v, %d messages were asked for", err, seen)
	}
	expired, moved := Link{first.Page, "", "dev", "", Expired}, second
	moved.Mbox, moved.Offset = "dev.mbox/2019-03.zst", 234
	check(t, tree, expired, moved, index, talk)
	if strings.Contains(content(t, tree, Path), first.ID) {
		t.Error("a Message-ID outlived its message")
	}
	add(t, tree, first) // an undone prune makes it known again
	check(t, tree, first, moved, index, talk)
	if err := Update(tree, "dev", func(Link) (string, int64, bool) { return "m", -7, false }); diag.KindOf(err) != diag.BadData {
		t.Errorf("an offset of -7: %v", err)
	}
	check(t, tree, first, moved, index, talk)
}

// What does not change is not written: a copy put aside as a link stays the same file.
func TestUnchanged(t *testing.T) {
	tree := tree(t)
	add(t, tree, first, talk)
	before, err := tree.Stat(Path)
	if err != nil {
		t.Fatal(err)
	}
	add(t, tree, talk)
	if err := Update(tree, "dev", func(l Link) (string, int64, bool) { return l.Mbox, l.Offset, false }); err != nil {
		t.Fatal(err)
	}
	after, err := tree.Stat(Path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it was replaced, %v", err)
	}
	if err := tree.Link(Path, "aside"); err != nil {
		t.Fatal(err)
	}
	add(t, tree, second)
	n := 0
	for _, err := range Read(tree, "aside") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("the copy has %d links", n)
	}
}

func TestOddNames(t *testing.T) {
	tree, odd := tree(t), "a\tb\nc\\x09 \xff\x00\x1b[0m é"
	l := Link{"dev/" + odd, odd, odd, odd, 5}
	add(t, tree, l, Link{"p", strings.Repeat("i", 999), "l", "m", 1})
	check(t, tree, l, Link{"p", "", "l", "m", 1})
	if strings.ContainsAny(content(t, tree, Path), "\x00\x1b\x7f") {
		t.Error("it could steer a terminal")
	}
}

func TestRefused(t *testing.T) {
	tree := tree(t)
	add(t, tree, first)
	for _, page := range []string{"", "/", ".", "./a", "a//b", "/a", "../a", "a/../b", "a/./b", ".rplan", ".rplan/links.txt", ".rplan/", strings.Repeat("x", 4096)} {
		if err := Add(tree, []Link{talk, {Page: page}}); diag.KindOf(err) != diag.BadData {
			t.Errorf("%.20q: %v", page, err)
		}
	}
	if err := Add(tree, []Link{{Page: "a", Offset: -2}}); diag.KindOf(err) != diag.BadData {
		t.Error(err)
	}
	check(t, tree, first)
}

// A memory that is not whole is an error, and stays as it is.
func TestDamage(t *testing.T) {
	for name, damaged := range map[string]string{
		"empty":    "",
		"cut":      columns + "a\ti\tl\tm\t0\nb\ti",
		"cut 2":    columns + "a\ti\tl\tm\t0",
		"header":   "a\ti\tl\tm\t0\n",
		"order":    columns + "b\ti\tl\tm\t0\na\ti\tl\tm\t0\n",
		"twice":    columns + "b\ti\tl\tm\t0\nb\ti\tl\tm\t0\n",
		"offset":   columns + "b\ti\tl\tm\t-2\n",
		"escape":   columns + "b\\x0\ti\tl\tm\t1\n",
		"a prayer": columns + strings.Repeat("x", 1<<20) + "\n",
	} {
		tree := tree(t)
		if err := tree.Mkdir(Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := tree.WriteFile(Path, []byte(damaged), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Add(tree, []Link{talk}); diag.KindOf(err) != diag.BadData || !strings.Contains(err.Error(), Path) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Publish(t.Context(), tree); diag.KindOf(err) != diag.BadData {
			t.Errorf("%s: %v", name, err)
		}
		if got := content(t, tree, Path); got != damaged {
			t.Errorf("%s: it is now %q", name, got)
		}
	}
}

// Nothing is written through a symbolic link.
func TestSymlinks(t *testing.T) {
	for _, where := range []string{Dir, Path} {
		tree := tree(t)
		if err := tree.MkdirAll("other/"+Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put := func(name, text string) {
			if err := tree.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		put("other/links.tsv", columns)
		if where == Path {
			if err := tree.Mkdir(Dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tree.Symlink("../other/links.tsv", Path); err != nil {
				t.Fatal(err)
			}
		} else if err := tree.Symlink("other", Dir); err != nil {
			t.Fatal(err)
		}
		if err := Add(tree, []Link{first}); err == nil {
			t.Errorf("%s as a symlink: no error", where)
		}
		if got := content(t, tree, "other/links.tsv"); got != columns {
			t.Errorf("%s as a symlink: the file is now %q", where, got)
		}
	}
}

// tmpfs mounts a file system of this size that only this thread sees.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	need.Root(t)
	dir := t.TempDir()
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Fatal("making a mount namespace: ", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves room for so many bytes.
func fill(t *testing.T, tree *os.Root, room int) {
	t.Helper()
	tree.Remove("filling")
	var disk syscall.Statfs_t
	if err := syscall.Statfs(tree.Name(), &disk); err != nil {
		t.Fatal(err)
	}
	if err := tree.WriteFile("filling", make([]byte, max(0, int(disk.Bavail)*int(disk.Bsize)-room)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDiskFull(t *testing.T) {
	tree := treeAt(t, tmpfs(t, "size=256k"))
	add(t, tree, first)
	if _, err := Publish(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	var many []Link
	for i := range 2000 {
		many = append(many, Link{fmt.Sprint("dev/x/", i), strings.Repeat("i", 200), "dev", "m", 0})
	}
	if err := Add(tree, many); diag.KindOf(err) != diag.CantCreate {
		t.Errorf("Add: %v", err)
	}
	check(t, tree, first)
	before := content(t, tree, ".rplan/links.db")
	add(t, tree, many[:150]...)
	for room := 64 << 10; room >= 0; room -= 4 << 10 { // for the maps, which need more
		fill(t, tree, room)
		m, err := Publish(t.Context(), tree)
		if diag.KindOf(err) != diag.CantCreate {
			t.Errorf("Publish: %+v, %v", m, err)
		}
		if content(t, tree, ".rplan/links.db") != before {
			t.Fatalf("half a map was published with room for %d bytes", room)
		}
	}
	entries, err := os.ReadDir(filepath.Join(tree.Name(), Dir))
	if err != nil || len(entries) != 3 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

// A million links, of which one changes.
func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	tree := tree(t)
	many := make([]Link, 1_000_000)
	for i := range many {
		many[i] = Link{fmt.Sprintf("dev/%d-March/%06d.html", 2000+i%20, i), fmt.Sprintf("%d.abcdef@mail.example.org", i), "dev@lists.example.org", "dev.mbox/dev.mbox", int64(i) * 5000}
	}
	began := time.Now()
	add(t, tree, many...)
	t.Logf("added in %v", time.Since(began))
	began = time.Now()
	add(t, tree, Link{"dev/2000-March/000000.html", "new", "dev@lists.example.org", "m", 1})
	t.Logf("one more in %v", time.Since(began))
	n := 0
	for _, err := range Read(tree, Path) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(many) {
		t.Errorf("%d links", n)
	}
}
