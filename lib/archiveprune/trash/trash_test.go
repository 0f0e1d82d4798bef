package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

func TestMoveAndUndo(t *testing.T) {
	s := newScene(t)
	if runs, left, err := s.open().Runs(0); len(runs)+len(left) > 0 || err != nil || s.there(ours) {
		t.Fatalf("before all: %v, %v, %v, and .rplan is there: %v", runs, left, err, s.there(ours))
	}
	s.run()
	want := s.pruned()
	want[mbox] = s.snapshot()[mbox]
	s.is(want)
	if got := s.read(mbox); got != newMbox {
		t.Errorf("the mbox is %q", got)
	}
	if info, err := os.Stat(s.at("dev/html")); err != nil || info.ModTime().UnixNano() != 1_500_000_000_123_456_789 {
		t.Errorf("the sifted directory is of %v, %v", info.ModTime(), err)
	}
	for dir, mode := range map[string]os.FileMode{ours: 0o755, path.Join(ours, trashDir): 0o700} {
		if info, err := os.Stat(s.at(dir)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s is %v, %v", dir, info.Mode(), err)
		}
	}
	runs, left, err := s.open().Runs(24 * time.Hour)
	size := int64(len(oldMbox))
	for _, f := range listing(t, s.at(ours+"/trash/20261126T182533Z-"+list+"/files"), func(string) bool { return true }) {
		size += f.Size
	}
	if err != nil || len(left) > 0 || len(runs) != 1 || runs[0] != (Info{"20261126T182533Z-" + list, list, began, few + 10 + 7 + 1, size, began.Add(24 * time.Hour), Whole}) {
		t.Errorf("runs are %+v, %v, %v", runs, left, err)
	}
	s.undo()
	s.is(s.before)
}

func TestEmpty(t *testing.T) {
	s := newScene(t)
	s.run()
	after := s.snapshot()
	s.with(func(tree *Tree) {
		if all, err := tree.Empty(t.Context(), began, anyRun, nil); err != nil || len(all) > 0 {
			t.Errorf("before its time: %+v, %v", all, err)
		}
		var told int64
		all, err := tree.Empty(t.Context(), began.Add(1), anyRun, func(files, _ int64) { told = files })
		s.ok(err)
		if len(all) != 1 || all[0].Files != all[0].Info.Files || all[0].Bytes != all[0].Info.Bytes || all[0].Stayed.Len() > 0 || told != all[0].Files {
			t.Errorf("emptied %+v, told %d", all, told)
		}
	})
	s.emptyTrash()
	s.is(after)
}

// An emptying can be interrupted, and what it left can be emptied or undone.
func TestEmptyInterrupted(t *testing.T) {
	for _, then := range []string{"empty", "undo"} {
		s := quickScene(t)
		for i := range 3 * every {
			s.put(fmt.Sprintf("dev/2019-May/x%06d.html", i), "x")
		}
		s.run()
		after := s.snapshot()
		tree := s.locked()
		ctx, cancel := context.WithCancel(t.Context())
		all, err := tree.Empty(ctx, began.Add(1), anyRun, func(files, _ int64) { cancel() })
		if !errors.Is(err, context.Canceled) || len(all) != 1 || all[0].Files == 0 || all[0].Files > 2*every {
			t.Fatalf("emptied %+v, %v", all, err)
		}
		tree.Close()
		tree = s.open()
		mended, err := tree.Lock(t.Context())
		if err != nil || len(mended) != 1 || !strings.Contains(mended[0].Did, "being emptied") {
			t.Errorf("mended %+v, %v", mended, err)
		}
		if then == "empty" {
			all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
			if err != nil || len(all) != 1 || all[0].Stayed.Len() > 0 {
				t.Errorf("emptied %+v, %v", all, err)
			}
			s.is(after)
		} else {
			all, err := tree.Undo(t.Context(), each)
			s.ok(err)
			stayed(t, all[0].Stayed, map[string]string{".": "may be deleted for good"})
			if got := s.read(mbox); got != oldMbox {
				t.Errorf("the mbox is %q", got)
			}
		}
		s.emptyTrash()
	}
}

func TestMoveInterrupted(t *testing.T) {
	s := quickScene(t)
	tree := s.locked()
	r, err := tree.Begin(t.Context(), began, plan(t, s.dir))
	s.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	moved, err := r.Move(ctx, func(files, _ int64) { cancel() })
	if !errors.Is(err, context.Canceled) || moved.Files != 6 {
		t.Errorf("moved %+v, %v", moved, err)
	}
	s.ok(r.End())
	tree.Close()
	s.undo()
	s.is(s.before)
}

func TestNothingMoved(t *testing.T) {
	s := quickScene(t)
	s.with(func(tree *Tree) {
		_, err := prune(t.Context(), tree, Plan{List: list}, layout.File{})
		s.ok(err)
	})
	s.emptyTrash()
	s.is(s.before)
}

func TestManyRuns(t *testing.T) {
	s := quickScene(t)
	s.with(func(tree *Tree) {
		for i := range 12 { // all in one second
			_, err := prune(t.Context(), tree, Plan{List: "dev/../\n", Files: listing(t, s.dir, func(p string) bool { return p == fmt.Sprintf("dev/html/msg%05d.html", i) })}, layout.File{})
			s.ok(err)
		}
		runs, left, err := tree.Runs(0)
		if err != nil || len(runs) != 12 || len(left) > 0 || runs[0].Run != "20261126T182533Z-dev_..__" || runs[11].Run != runs[0].Run+".12" || runs[0].List != "dev/../\n" {
			t.Errorf("runs are %+v, %v, %v", runs, left, err)
		}
		undone, err := tree.Undo(t.Context(), func(i Info) bool { return i.Run == runs[3].Run })
		if err != nil || len(undone) != 1 || !s.there("dev/html/msg00003.html") || s.there("dev/html/msg00004.html") {
			t.Errorf("undone %+v, %v", undone, err)
		}
	})
	s.undo()
	s.is(s.before)
}

// What a file's name may hold does not matter.
func TestNames(t *testing.T) {
	s := newScene(t)
	for _, name := range []string{"new\nline", "quo\"te", "back\\slash", "latin-\xe4\xff", "ümlaut", " ", "...", "\x1b[31m", strings.Repeat("\x01", 255)} {
		s.put("odd/"+name, name)
		s.put("odd-"+name[:min(len(name), 200)]+"/file", name)
	}
	s.before = s.snapshot()
	p := Plan{List: list, Files: listing(t, s.dir, func(p string) bool { return strings.HasPrefix(p, "odd") })}
	s.with(func(tree *Tree) {
		moved, err := prune(t.Context(), tree, p, layout.File{})
		s.ok(err)
		if int(moved.Files) != len(p.Files) || len(p.Files) != 18 {
			t.Errorf("moved %+v of %d", moved, len(p.Files))
		}
	})
	s.undo()
	s.is(s.before)
	s.with(func(tree *Tree) {
		_, err := prune(t.Context(), tree, p, layout.File{})
		s.ok(err)
		all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
		if err != nil || all[0].Files != 18 || all[0].Stayed.Len() > 0 {
			t.Errorf("emptied %+v, %v", all, err)
		}
	})
	s.emptyTrash()
}

func TestBadPlans(t *testing.T) {
	s := quickScene(t)
	one := plan(t, s.dir).Files[0]
	named := func(p ...string) (files []layout.File) {
		for _, p := range p {
			f := one
			f.Path = p
			files = append(files, f)
		}
		return
	}
	tree := s.locked()
	for want, p := range map[string]Plan{
		"no file of the tree":   {Files: named("../outside")},
		`"/etc/passwd"`:         {Files: named("/etc/passwd")},
		`"a/../../b"`:           {Files: named("a/../../b")},
		`".rplan/lock"`:         {Files: named(".rplan/lock")},
		`"a\x00b"`:              {Files: named("a\x00b")},
		"not sorted":            {Files: named("b", "a")},
		`"b" comes after "b"`:   {Files: named("b", "b")},
		`"." is no directory`:   {Dirs: []string{"."}},
		`".." is no directory`:  {Sifts: []Sift{{Dir: ".."}}},
		`twice: "a/b"`:          {Dirs: []string{"a", "a/b"}},
		`twice: "c"`:            {Dirs: []string{"c"}, Sifts: []Sift{{Dir: "c"}}},
		`twice: "d"`:            {Sifts: []Sift{{Dir: "d"}, {Dir: "d"}}},
		`"../x" is no name of`:  {Sifts: []Sift{{Dir: "e", Keep: []string{"../x"}}}},
		`"sub/x" is no name of`: {Sifts: []Sift{{Dir: "e", Keep: []string{"sub/x"}}}},
	} {
		r, err := tree.Begin(t.Context(), began, p)
		if err == nil {
			r.End()
		}
		if diag.KindOf(err) != diag.Refused || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	s.emptyTrash()
	if _, err := s.open().Begin(t.Context(), began, Plan{}); err == nil {
		t.Error("begun without the lock")
	}
}

func TestOnlyOneLocks(t *testing.T) {
	s := quickScene(t)
	tree := s.locked()
	other := s.open()
	_, err := other.Lock(t.Context())
	if want := fmt.Sprintf("%q is locked by process %d", s.at(".rplan/lock"), os.Getpid()); diag.KindOf(err) != diag.TryAgain || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if _, _, err := other.Runs(0); err != nil {
		t.Errorf("Runs of a locked tree: %v", err)
	}
	tree.Close()
	_, err = s.open().Lock(t.Context())
	s.ok(err)
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make func(s *scene) error
		want string
	}{
		"a symbolic link": {func(s *scene) error {
			return errors.Join(os.Mkdir(s.at("elsewhere"), 0o755), os.Symlink("elsewhere", s.at(ours)))
		}, `"TREE/.rplan" is a symbolic link, or behind one`},
		"a file":              {func(s *scene) error { return os.WriteFile(s.at(ours), nil, 0o644) }, `"TREE/.rplan" is no directory, or behind something that is none`},
		"writable for others": {func(s *scene) error { return errors.Join(os.Mkdir(s.at(ours), 0o755), os.Chmod(s.at(ours), 0o777)) }, `"TREE/.rplan" can be written by others than its owner`},
		"a linked trash": {func(s *scene) error {
			return errors.Join(os.Mkdir(s.at(ours), 0o755), os.Symlink("/tmp", s.at(".rplan/trash")))
		}, `"TREE/.rplan/trash" is a symbolic link, or behind one`},
	} {
		s := quickScene(t)
		s.ok(c.make(s))
		tree, err := Open(s.dir)
		if err == nil {
			tree.Close()
		}
		if want := strings.ReplaceAll(c.want, "TREE", s.dir); diag.KindOf(err) != diag.Refused || err.Error() != want || diag.HintOf(err) == "" {
			t.Errorf("%s: error is %v, want %s", name, err, want)
		}
	}
	for _, name := range []string{"absent", "dev/index.html"} {
		s := quickScene(t)
		if tree, err := Open(s.at(name)); err == nil || !strings.Contains(err.Error(), s.at(name)) {
			t.Errorf("opened %v, %v", tree, err)
		}
	}
}

// The lock is a file of its own: it is written to.
func TestLockIsNobodyElsesFile(t *testing.T) {
	for _, link := range []func(old, new string) error{os.Link, os.Symlink} {
		s := quickScene(t)
		s.ok(os.Mkdir(s.at(ours), 0o755))
		s.ok(link(s.at("dev/index.html"), s.at(".rplan/lock")))
		tree := s.open()
		if _, err := tree.Lock(t.Context()); err == nil || !strings.Contains(err.Error(), s.at(".rplan/lock")) {
			t.Errorf("error is %v", err)
		}
		if s.read("dev/index.html") != "index" {
			t.Error("it was written to")
		}
	}
}

// What lies in the trash and is no run is named, and left.
func TestStrangeThingsInTheTrash(t *testing.T) {
	s := quickScene(t)
	s.run()
	for p, content := range map[string]string{"file": "x", "no-journal/files/a": "x", "bad-journal/journal": "rplan-trash 1 x\n", "bad-line/journal": "rplan-trash 1 2026-11-26T18:25:33Z \"l\"\nfile 1 2 3 \"../../x\"\n",
		"no-journal/journal.new": ""} {
		s.put(path.Join(ours, trashDir, p), content)
	}
	s.ok(errors.Join(os.MkdirAll(s.at(".rplan/trash/fifo"), 0o700), syscall.Mkfifo(s.at(".rplan/trash/fifo/journal"), 0o600)))
	s.ok(os.Symlink("/tmp", s.at(".rplan/trash/link")))
	func() {
		tree := s.open()
		mended, err := tree.Lock(t.Context())
		if err != nil || len(mended) != 1 || mended[0].Run != "bad-line" || !strings.Contains(mended[0].Did, "line 2 of journal") {
			t.Errorf("mended %+v, %v", mended, err)
		}
		runs, left, err := tree.Runs(0)
		named := map[string]string{}
		for _, l := range left {
			named[filepath.Base(l.Path)] = l.Why
		}
		if err != nil || len(runs) != 2 || len(left) != 5 || !strings.Contains(named["bad-journal"], "line 1 of journal") || !strings.Contains(named["no-journal"], "is gone") {
			t.Errorf("runs are %+v, left is %+v, %v", runs, named, err)
		}
		_, err = tree.Empty(t.Context(), began, anyRun, nil)
		s.ok(err)
		_, err = tree.Undo(t.Context(), func(i Info) bool { return i.List == list })
		s.ok(err)
		_, err = tree.Empty(t.Context(), time.Now().AddDate(10, 0, 0), anyRun, nil)
		s.ok(err)
	}()
	s.is(s.before)
	for _, p := range []string{"file", "no-journal/files/a", "bad-journal/journal", "bad-line/journal", "link", "fifo/journal"} {
		if !s.there(path.Join(ours, trashDir, p)) {
			t.Errorf("%s is gone", p)
		}
	}
}

// A million files need no more memory than one.
func TestEmptyInLittleMemory(t *testing.T) {
	const files, most = 1_000_000, 8 << 20
	s := newScene(t)
	s.run()
	var journal strings.Builder
	journal.Write(record{verb: magic, at: began, path: list}.append(nil))
	for i := range files {
		fmt.Fprintf(&journal, "file 1 2 3 \"dev/2019-May/%09d.html\"\n", i)
	}
	journal.WriteString("ended 0 0\n")
	s.put(".rplan/trash/big/journal", journal.String())
	s.ok(os.MkdirAll(s.at(".rplan/trash/big/files/dev/2019-May"), 0o700))
	journal.Reset()
	tree := s.locked()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, peak := 0, uint64(0)
	_, err := tree.Empty(t.Context(), began.Add(1), anyRun, func(_, _ int64) {
		if n++; n%100 == 0 {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	})
	s.ok(err)
	if n < files/every || peak > before.HeapAlloc+most {
		t.Errorf("told %d times; the heap had %d bytes, and up to %d", n, before.HeapAlloc, peak)
	}
	s.emptyTrash()
}
