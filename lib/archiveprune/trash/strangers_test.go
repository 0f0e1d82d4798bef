package trash

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
)

// between prunes a scene where something happens between the listing and the moving.
func (s *scene) between(happens func()) Moved {
	s.Helper()
	p := plan(s, s.dir)
	happens()
	s.before = s.snapshot()
	var moved Moved
	s.with(func(t *Tree) {
		var err error
		moved, err = prune(s.Context(), t, p, layout.File{})
		s.ok(err)
	})
	return moved
}

func TestUnlistedFileKeepsItsDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(s *scene)
		path    string
		why     string
	}{
		"a newcomer": {func(s *scene) { s.put("dev/2019-May/deep/new.html", "new") }, "dev/2019-May/deep/new.html", "was not listed"},
		"a change":   {func(s *scene) { s.put("dev/2019-May/000003.html", "longer than it was") }, "dev/2019-May/000003.html", "was changed since"},
		"a touch": {func(s *scene) { s.ok(os.Chtimes(s.at("dev/2019-May/000003.html"), time.Time{}, time.Unix(1, 0))) },
			"dev/2019-May/000003.html", "was changed since"},
		"another file": {func(s *scene) {
			old := listed(s, s.dir, "dev/2019-May/000003.html")
			s.put("dev/other", "page 3")
			s.ok(os.Chtimes(s.at("dev/other"), old.ModTime, old.ModTime))
			s.ok(os.Rename(s.at("dev/other"), s.at(old.Path)))
		}, "dev/2019-May/000003.html", "was changed since"},
		"a symbolic link": {func(s *scene) {
			s.ok(errors.Join(os.Remove(s.at("dev/2019-May/000003.html")), os.Symlink("/etc/passwd", s.at("dev/2019-May/000003.html"))))
		}, "dev/2019-May/000003.html", "is a symbolic link"},
		"a linked directory": {func(s *scene) { s.ok(os.Symlink("/etc", s.at("dev/2019-May/etc"))) }, "dev/2019-May/etc", "was not listed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := quickScene(t)
			moved := s.between(func() { c.happens(s) })
			stayed(t, moved.Stayed, map[string]string{"dev/2019-May": "something is in it that was not listed", c.path: c.why})
			for p := range s.before {
				if strings.HasPrefix(p, "dev/2019-May/") && !s.there(p) {
					t.Errorf("%s is gone", p)
				}
			}
			if s.there("dev/2019-May.txt") || s.there("dev/html/msg00000.html") {
				t.Error("the rest did not go")
			}
			s.undo()
			s.is(s.before)
		})
	}
}

func TestVanished(t *testing.T) {
	s := quickScene(t)
	gone := []string{"dev/2019-May/000003.html", "dev/2019-May/deep/down/thread.html", "dev/2019-May.txt", "dev/html/msg00007.html", "dev/html/stays3.html"}
	moved := s.between(func() {
		for _, p := range gone {
			s.ok(os.Remove(s.at(p)))
		}
	})
	stayed(t, moved.Stayed, map[string]string{gone[0]: "is gone", gone[1]: "is gone", gone[2]: "is gone"})
	if moved.Files != few+10-1+5-1 {
		t.Errorf("moved %+v", moved)
	}
	s.undo()
	s.is(s.before)

	s = quickScene(t)
	moved = s.between(func() { s.ok(os.RemoveAll(s.at("dev"))) })
	if moved.Files != 0 || moved.Stayed.Len() != 2+few+10 && moved.Stayed.Len() != 3 {
		t.Errorf("moved %+v", moved)
	}
	s.emptyTrash()
}

// In a sifted directory nothing is lost of what came or changed since it was listed.
func TestSiftedMeanwhile(t *testing.T) {
	s := newScene(t)
	moved := s.between(func() {
		s.put("dev/html/new.html", "new")
		s.put("dev/html/sub/dir/new.html", "new below")
		s.ok(os.Mkdir(s.at("dev/html/empty"), 0o711))
		s.ok(os.Symlink("new.html", s.at("dev/html/link")))
		s.put("dev/html/msg00003.html", "changed")
	})
	stayed(t, moved.Stayed, map[string]string{"dev/html/msg00003.html": "was changed since"})
	for _, p := range []string{"new.html", "sub/dir/new.html", "empty", "link", "msg00003.html", ".mhonarc.lck"} {
		if !s.there("dev/html/" + p) {
			t.Errorf("%s is gone", p)
		}
	}
	if s.there("dev/html/msg00004.html") || moved.Files != few+10-1+7 {
		t.Errorf("moved %+v", moved)
	}
	s.undo()
	s.is(s.before)
}

// A directory that cannot be made anew loses its files one by one.
func TestSiftOneByOne(t *testing.T) {
	s := quickScene(t)
	s.put("dev/html/attached/1.bin", "attached")
	s.before = s.snapshot()
	p := plan(t, s.dir)
	p.Sifts[0].Keep = append(p.Sifts[0].Keep, "attached")
	inode := listed(t, s.dir, "dev/html").Inode
	s.with(func(tree *Tree) {
		moved, err := prune(t.Context(), tree, p, layout.File{})
		s.ok(err)
		if moved.Stayed.Len() > 0 || int(moved.Files) != len(p.Files) {
			t.Errorf("moved %+v", moved)
		}
	})
	if listed(t, s.dir, "dev/html").Inode != inode {
		t.Error("it is another directory")
	}
	s.is(s.prunedButMbox())
	s.undo()
	s.is(s.before)
}

// prunedButMbox is pruned with the mbox as it was.
func (s *scene) prunedButMbox() map[string]string {
	want := s.pruned()
	want[mbox] = s.before[mbox]
	return want
}

// Parts of a directory may be in the plan before it: what is in the trash is joined.
func TestSiftOfWhatIsPartlyInTheTrash(t *testing.T) {
	s := quickScene(t)
	s.put("dev/html/attached/1.bin", "attached")
	s.put("dev/html/attached/2.bin", "attached")
	s.before = s.snapshot()
	p := plan(t, s.dir)
	p.Dirs = append(p.Dirs, "dev/html/attached")
	p.Files = listing(t, s.dir, func(p string) bool { return goes(p) || strings.HasPrefix(p, "dev/html/attached") })
	s.with(func(tree *Tree) {
		moved, err := prune(t.Context(), tree, p, layout.File{})
		s.ok(err)
		if moved.Stayed.Len() > 0 || int(moved.Files) != len(p.Files) {
			t.Errorf("moved %+v", moved)
		}
	})
	s.undo()
	s.is(s.before)
}

// What is at its place by the time of the undo stays, and so does what is in the trash.
func TestUndoOverNothing(t *testing.T) {
	s := newScene(t)
	s.run()
	s.put("dev/2019-May/000003.html", "made again")
	s.put("dev/2019-May/new.html", "new")
	s.put("dev/2019-May.txt/dir", "a directory now")
	s.put("dev/html/msg00001.html", "made again")
	s.put("dev/html/new.html", "new")
	after := s.snapshot()
	blocked := map[string]string{}
	for _, p := range []string{"dev/2019-May/000003.html", "dev/2019-May.txt", "dev/html/msg00001.html"} {
		blocked[p] = "something else is at its place"
	}
	for range 2 {
		s.with(func(tree *Tree) {
			all, err := tree.Undo(t.Context(), each)
			s.ok(err)
			stayed(t, all[0].Stayed, blocked)
			runs, _, err := tree.Runs(0)
			if err != nil || len(runs) != 1 || runs[0].Files != 3 || runs[0].State != Whole {
				t.Errorf("runs are %+v, %v", runs, err)
			}
		})
	}
	now := s.snapshot()
	for p, what := range after {
		if p != mbox && p != "dev/2019-May" && now[p] != what {
			t.Errorf("%s is %s, was %s", p, now[p], what)
		}
	}
	for p, what := range s.before {
		if _, stayed := after[p]; !stayed && blocked[p] == "" && now[p] != what {
			t.Errorf("%s is %q, want %q", p, now[p], what)
		}
	}
	// With the place free again, the rest comes too.
	for p := range blocked {
		s.ok(os.RemoveAll(s.at(p)))
	}
	s.undo()
	s.ok(errors.Join(os.Remove(s.at("dev/2019-May/new.html")), os.Remove(s.at("dev/html/new.html")), os.Chmod(s.at("dev/2019-May"), 0o750)))
	s.is(s.before)
}

func TestUndoWithoutTheDirectories(t *testing.T) {
	s := quickScene(t)
	s.ok(os.Chmod(s.at("dev"), 0o751))
	s.before = s.snapshot()
	s.run()
	s.ok(os.RemoveAll(s.at("dev")))
	s.undo()
	for p, what := range s.before {
		if goes(p) {
			if got := s.snapshot()[p]; got != what {
				t.Errorf("%s is %s, want %s", p, got, what)
			}
		}
	}
	if info, err := os.Stat(s.at("dev")); err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("dev is %v, %v", info, err)
	}
}

// Only what is listed is deleted for good.
func TestEmptyOnlyWhatIsListed(t *testing.T) {
	s := quickScene(t)
	s.run()
	run := ".rplan/trash/20261126T182533Z-" + list + "/"
	s.put("outside/file", "outside")
	s.put(run+"files/dev/2019-May/unlisted", "unlisted")
	s.put(run+"files/dev/html/msg00001.html", "changed in the trash")
	s.put(run+"old/other.mbox", "unlisted")
	s.ok(os.Symlink(s.at("outside"), s.at(run+"files/dev/link")))
	s.ok(errors.Join(os.RemoveAll(s.at(run+"files/dev/2019-May/deep")), os.Symlink(s.at("outside"), s.at(run+"files/dev/2019-May/deep"))))
	want := map[string]string{}
	for _, p := range []string{"dev/2019-May/unlisted", "dev/html/msg00001.html", "other.mbox", "dev/link", "dev/2019-May/deep"} {
		want[p] = "was not listed as it is"
	}
	for range 2 {
		s.with(func(tree *Tree) {
			all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
			s.ok(err)
			stayed(t, all[0].Stayed, want)
			runs, _, err := tree.Runs(0)
			if err != nil || len(runs) != 1 || runs[0].Files != 5 {
				t.Errorf("runs are %+v, %v", runs, err)
			}
		})
	}
	if s.read("outside/file") != "outside" {
		t.Error("a link was followed")
	}
}

// A run never has files put where ours are.
func TestUndoKeepsOutOfOurs(t *testing.T) {
	s := quickScene(t)
	s.run()
	s.put(".rplan/trash/20261126T182533Z-"+list+"/files/.rplan/links.txt", "forged")
	s.with(func(tree *Tree) {
		all, err := tree.Undo(t.Context(), each)
		s.ok(err)
		stayed(t, all[0].Stayed, map[string]string{".rplan": "is no archive's"})
	})
	if s.there(".rplan/links.txt") {
		t.Error("it went there")
	}
	s.is(s.before)
}

// What happens in a directory between the making of its successor and the exchange is not lost, nor undone by it.
func TestSiftedAtThatMoment(t *testing.T) {
	s := newScene(t)
	tree := s.locked()
	p := plan(t, s.dir)
	p.Dirs = nil
	p.Files = listing(t, s.dir, func(p string) bool { return strings.HasPrefix(p, "dev/html/msg") })
	r, err := tree.Begin(t.Context(), began, p)
	s.ok(err)
	r.linked = func() {
		s.put("dev/html/x", "newer")
		s.ok(os.Rename(s.at("dev/html/x"), s.at("dev/html/stays0.html")))
		s.append("dev/html/stays1.html", ", and more")
		s.put("dev/html/new.html", "new")
		s.put("dev/html/msg00001.html", "changed")
		s.ok(os.Remove(s.at("dev/html/msg00002.html")))
	}
	moved, err := r.Move(t.Context(), nil)
	s.ok(err)
	s.ok(r.End())
	tree.Close()
	stayed(t, moved.Stayed, map[string]string{"dev/html/msg00001.html": "was changed since"})
	if moved.Files != few+10-2 {
		t.Errorf("moved %+v", moved)
	}
	for p, want := range map[string]string{"stays0.html": "newer", "stays1.html": "stays 1, and more", "stays2.html": "stays 2", "new.html": "new", "msg00001.html": "changed"} {
		if got := s.read("dev/html/" + p); got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
	s.undo()
	if names, err := os.ReadDir(s.at("dev/html")); err != nil || len(names) != few+10-1+5+1+1 {
		t.Errorf("there are %d files, %v", len(names), err)
	}
}

// A directory that is put in the place of one that was moved keeps what is new in both.
func TestUnlistedFileInADirectoryMadeAgain(t *testing.T) {
	s := newScene(t)
	s.put("dev/2019-May/unlisted.html", "unlisted")
	tree := s.locked()
	p := plan(t, s.dir)
	p.Files = listing(t, s.dir, func(p string) bool { return goes(p) && !strings.HasSuffix(p, "/unlisted.html") })
	r, err := tree.Begin(t.Context(), began, p)
	s.ok(err)
	r.renamed = func() { s.put("dev/2019-May/000003.html", "made again") }
	moved, err := r.Move(t.Context(), nil)
	s.ok(err)
	s.ok(r.End())
	if s.read("dev/2019-May/unlisted.html") != "unlisted" || s.read("dev/2019-May/000003.html") != "made again" || s.there("dev/2019-May/000004.html") {
		t.Errorf("moved %+v", moved)
	}
	if int(moved.Files) != len(p.Files) {
		t.Errorf("moved %+v", moved)
	}
	emptied, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
	if err != nil || emptied[0].Files != moved.Files || emptied[0].Stayed.Len() > 0 {
		t.Errorf("emptied %+v, %v", emptied, err)
	}
	tree.Close()
	s.emptyTrash()
}

// If mhonarc takes its lock when the directory has just been exchanged, ours does not get into it, where it could not be removed.
func TestTwoLocks(t *testing.T) {
	s := newScene(t)
	tree := s.locked()
	defer tree.Close()
	r, err := tree.Begin(t.Context(), began, plan(t, s.dir)) // with a place for that lock
	s.ok(err)
	r.linked = func() { s.put("dev/html/.mhonarc.lck/rplan", "") }
	_, err = r.Move(t.Context(), nil)
	s.ok(err)
	s.ok(r.End())
	if marks, err := os.ReadDir(s.at("dev/html/.mhonarc.lck")); err != nil || len(marks) > 0 {
		t.Errorf("there is %v in mhonarc's lock, %v", marks, err)
	}
}
