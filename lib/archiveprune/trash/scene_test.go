package trash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
)

const (
	list    = "dev@lists.example.org"
	oldMbox = "From a@example.org\nold, and to be cut\n\nFrom b@example.org\nkept\n\n"
	newMbox = "From b@example.org\nkept\n\n"
	arrived = "From c@example.org\narrived since\n\n"
	mbox    = "dev.mbox/dev.mbox"
	byMbox  = "dev.mbox/.dev.mbox.rplan-new"
)

var began = time.Date(2026, 11, 26, 18, 25, 33, 0, time.UTC)

// scene is a tree with archives, some of which is to go.
type scene struct {
	testing.TB
	dir    string
	before map[string]string // what was in the tree, to compare with
}

func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) at(p string) string { return filepath.Join(s.dir, p) }

func (s *scene) put(p, content string) {
	s.Helper()
	s.ok(os.MkdirAll(filepath.Dir(s.at(p)), 0o755))
	s.ok(os.WriteFile(s.at(p), []byte(content), 0o644))
}

func (s *scene) read(p string) string {
	s.Helper()
	b, err := os.ReadFile(s.at(p))
	s.ok(err)
	return string(b)
}

func (s *scene) there(p string) bool {
	_, err := os.Lstat(s.at(p))
	return err == nil
}

// newScene has a directory that goes as a whole, a flat one in which five files and a
// lock stay, a single file, and an mbox to replace.
func newScene(t testing.TB) *scene {
	s := &scene{TB: t, dir: t.TempDir()}
	fillScene(s)
	return s
}

// quickScene is one without a disk, for many rounds: what a killed process leaves does not depend on what is synced.
func quickScene(t testing.TB) *scene {
	dir, err := os.MkdirTemp("/dev/shm", "rplan-trash")
	if err != nil {
		return newScene(t)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &scene{TB: t, dir: dir}
	fillScene(s)
	return s
}

func fillScene(s *scene) {
	s.Helper()
	for i := range 5 {
		s.put(fmt.Sprintf("dev/2019-May/%06d.html", i), fmt.Sprint("page ", i))
	}
	s.put("dev/2019-May/deep/down/thread.html", "thread")
	s.ok(os.Chmod(s.at("dev/2019-May"), 0o750))
	for i := range few + 10 {
		s.put(fmt.Sprintf("dev/html/msg%05d.html", i), fmt.Sprint("message ", i))
	}
	for i := range 5 {
		s.put(fmt.Sprintf("dev/html/stays%d.html", i), fmt.Sprint("stays ", i))
	}
	s.ok(os.Mkdir(s.at("dev/html/.mhonarc.lck"), 0o700))
	s.ok(os.Chmod(s.at("dev/html"), 0o775|fs.ModeSetgid))
	s.put("dev/2019-May.txt", "text")
	s.put("dev/index.html", "index") // is not listed
	s.put(mbox, oldMbox)
	for _, p := range []string{"dev/html", "dev/2019-May", mbox} {
		s.ok(os.Chtimes(s.at(p), time.Unix(1_500_000_000, 1), time.Unix(1_500_000_000, 123_456_789)))
	}
	s.before = s.snapshot()
}

// goes tells which files of a scene are to go.
func goes(p string) bool {
	return strings.HasPrefix(p, "dev/2019-May") || strings.HasPrefix(p, "dev/html/msg")
}

// plan lists them.
func plan(t testing.TB, dir string) Plan {
	p := Plan{List: list, Dirs: []string{"dev/2019-May"}, Sifts: []Sift{{Dir: "dev/html", Keep: []string{".mhonarc.lck"}}}}
	for i := range 5 {
		p.Sifts[0].Keep = append(p.Sifts[0].Keep, fmt.Sprintf("stays%d.html", i))
	}
	p.Files = listing(t, dir, goes)
	return p
}

func listing(t testing.TB, dir string, wanted func(p string) bool) (files []layout.File) {
	t.Helper()
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		p, _ := filepath.Rel(dir, at)
		if err != nil || !e.Type().IsRegular() || !wanted(p) {
			return err
		}
		files = append(files, listed(t, dir, p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b layout.File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

func listed(t testing.TB, dir, p string) layout.File {
	t.Helper()
	info, err := os.Lstat(filepath.Join(dir, p))
	if err != nil {
		t.Fatal(err)
	}
	return layout.File{Path: p, Size: info.Size(), ModTime: info.ModTime(), Inode: info.Sys().(*syscall.Stat_t).Ino}
}

// snapshot is all that is in the tree but what is ours; of files, all that is to stay as it was.
func (s *scene) snapshot() map[string]string {
	s.Helper()
	all := map[string]string{}
	s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p, _ := filepath.Rel(s.dir, at)
		if p == ours {
			return fs.SkipDir
		}
		if p == byMbox || p == "." {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		all[p] = fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			all[p] += fmt.Sprintf(" %d %v %q", st.Nlink, info.ModTime().UnixNano(), b)
		}
		return nil
	}))
	return all
}

// is compares the tree with what should be in it.
func (s *scene) is(want map[string]string) {
	s.Helper()
	got := s.snapshot()
	for p, w := range want {
		if g, ok := got[p]; !ok {
			s.Errorf("%s is missing", p)
		} else if g != w {
			s.Errorf("%s is %s, want %s", p, g, w)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			s.Errorf("%s is there", p)
		}
	}
}

// pruned is what should be in the tree after the run of a scene.
func (s *scene) pruned() map[string]string {
	want := map[string]string{}
	for p, what := range s.before {
		if !goes(p) {
			want[p] = what
		}
	}
	delete(want, mbox) // it has another time now
	return want
}

func (s *scene) open() *Tree {
	s.Helper()
	t, err := Open(s.dir)
	s.ok(err)
	s.Cleanup(t.Close)
	return t
}

// locked is the tree, of which nobody was killed.
func (s *scene) locked() *Tree {
	s.Helper()
	t := s.open()
	mended, err := t.Lock(s.Context())
	s.ok(err)
	if len(mended) > 0 {
		s.Fatalf("mended %+v", mended)
	}
	return t
}

// with lets another one lock the tree.
func (s *scene) with(do func(t *Tree)) {
	s.Helper()
	t := s.locked()
	do(t)
	t.Close()
}

// prune is a whole run.
func prune(ctx context.Context, tree *Tree, p Plan, old layout.File) (moved Moved, err error) {
	r, err := tree.Begin(ctx, began, p)
	if err != nil {
		return moved, err
	}
	moved, err = r.Move(ctx, nil)
	if err == nil && old.Path != "" {
		err = r.Replace(old, byMbox, nil)
	}
	return moved, errors.Join(err, r.End())
}

// run prunes a scene, and wants all to go that is planned.
func (s *scene) run() {
	s.Helper()
	s.put(byMbox, newMbox)
	s.with(func(t *Tree) {
		p := plan(s, s.dir)
		moved, err := prune(s.Context(), t, p, listed(s, s.dir, mbox))
		s.ok(err)
		if moved.Stayed.Len() > 0 || int(moved.Files) != len(p.Files) {
			s.Fatalf("moved %+v of %d files", moved, len(p.Files))
		}
	})
}

// each is every run, for Undo.
func each(Info) bool { return true }

// undo wants all of a scene back.
func (s *scene) undo() {
	s.Helper()
	s.with(func(t *Tree) {
		all, err := t.Undo(s.Context(), each)
		s.ok(err)
		for _, u := range all {
			if u.Stayed.Len() > 0 {
				s.Errorf("undone %+v", u)
			}
		}
	})
	s.emptyTrash()
}

func (s *scene) emptyTrash() {
	s.Helper()
	if names, err := os.ReadDir(s.at(path.Join(ours, trashDir))); err != nil || len(names) > 0 {
		s.Errorf("in the trash is %v, %v", names, err)
	}
}

// stayed checks what is named, and why.
func stayed(t testing.TB, n Notes, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, l := range n.Named {
		got[l.Path] = l.Why
	}
	for p, why := range want {
		if !strings.Contains(got[p], why) {
			t.Errorf("%q stayed, as %q, want %q", p, got[p], why)
		}
	}
	if len(got) != len(want) {
		t.Errorf("stayed %v, want %v", got, want)
	}
}

func anyRun(Info) bool { return true }
