package trash

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

func (s *scene) append(p, content string) {
	s.Helper()
	f, err := os.OpenFile(s.at(p), os.O_WRONLY|os.O_APPEND, 0)
	s.ok(err)
	_, err = f.WriteString(content)
	s.ok(err)
	s.ok(f.Close())
}

// What came to an mbox after it was replaced is behind the old bytes when they are back.
func TestUndoOfReplaced(t *testing.T) {
	for _, more := range []string{"", arrived, strings.Repeat(arrived, 10_000)} {
		s := newScene(t)
		s.ok(os.Chmod(s.at(mbox), 0o660))
		s.before = s.snapshot()
		s.run()
		if info, err := os.Stat(s.at(mbox)); err != nil || info.Mode() != 0o660 {
			t.Errorf("the new one is %v, %v", info.Mode(), err)
		}
		s.append(mbox, more)
		s.undo()
		if got := s.read(mbox); got != oldMbox+more {
			t.Errorf("with %d bytes added the mbox is %.200q", len(more), got)
		}
		if info, err := os.Stat(s.at(mbox)); err != nil || info.Mode() != 0o660 {
			t.Errorf("the old one is %v, %v", info.Mode(), err)
		}
		if more == "" {
			s.is(s.before)
		}
	}
}

// One that was changed in any other way stays as it is, and the old one in the trash.
func TestUndoOfReplacedAndChanged(t *testing.T) {
	for _, now := range []string{"", newMbox[:len(newMbox)-1], "f" + newMbox[1:], "f" + newMbox[1:] + arrived} {
		s := quickScene(t)
		s.run()
		s.put(mbox, now)
		s.with(func(tree *Tree) {
			all, err := tree.Undo(t.Context(), each)
			s.ok(err)
			stayed(t, all[0].Stayed, map[string]string{mbox: "was changed since, and not only added to"})
			if runs, _, err := tree.Runs(0); err != nil || len(runs) != 1 || runs[0].Files != 1 || runs[0].Bytes != int64(len(oldMbox)) {
				t.Errorf("runs are %+v, %v", runs, err)
			}
		})
		if got := s.read(mbox); got != now {
			t.Errorf("the mbox is %q, was %q", got, now)
		}
		s.put(mbox, newMbox+arrived) // by hand
		s.undo()
		if got := s.read(mbox); got != oldMbox+arrived {
			t.Errorf("the mbox is %q", got)
		}
	}
}

func TestUndoOfReplacedAndGone(t *testing.T) {
	s := quickScene(t)
	s.run()
	s.ok(os.Remove(s.at(mbox)))
	s.undo()
	s.is(s.before)
}

// Runs that replaced the same mbox one after the other come back in turn.
func TestUndoOfReplacedTwice(t *testing.T) {
	s := quickScene(t)
	s.run()
	s.append(mbox, arrived)
	s.put(byMbox, arrived)
	s.with(func(tree *Tree) {
		_, err := prune(t.Context(), tree, Plan{List: list}, listed(t, s.dir, mbox))
		s.ok(err)
		all, err := tree.Undo(t.Context(), func(i Info) bool { return i.Run == "20261126T182533Z-"+list })
		s.ok(err)
		stayed(t, all[0].Stayed, map[string]string{mbox: "undo newer runs first"})
	})
	if got := s.read(mbox); got != arrived {
		t.Errorf("the mbox is %q", got)
	}
	s.append(mbox, "From d@example.org\n\n")
	s.undo()
	if got := s.read(mbox); got != oldMbox+arrived+"From d@example.org\n\n" {
		t.Errorf("the mbox is %q", got)
	}
}

func TestReplaceRefuses(t *testing.T) {
	s := quickScene(t)
	s.put(byMbox, newMbox)
	s.put("elsewhere", newMbox)
	old := listed(t, s.dir, mbox)
	s.append(mbox, arrived)
	tree := s.locked()
	r, err := tree.Begin(t.Context(), began, Plan{List: list})
	s.ok(err)
	err = r.Replace(old, byMbox, nil)
	if want := fmt.Sprintf("cannot replace %q: it was changed since it was listed", s.at(mbox)); diag.KindOf(err) != diag.TryAgain || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	old = listed(t, s.dir, mbox)
	s.ok(os.Symlink("dev.mbox", s.at("dev.mbox/link")))
	s.ok(os.Link(s.at("elsewhere"), s.at("dev.mbox/second-name")))
	for by, want := range map[string]string{
		"elsewhere": "cannot take the place", mbox: "cannot take the place", "../x": "cannot take the place", "dev.mbox/absent": "dev.mbox/absent is gone",
		"dev.mbox/link": "symbolic link", "dev.mbox/second-name": "is no regular file of its own",
	} {
		if err := r.Replace(old, by, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), old.Path) {
			t.Errorf("by %s: error is %v, want %s", by, err, want)
		}
	}
	if err := r.Replace(layout.File{Path: "dev.mbox/absent"}, byMbox, nil); err == nil || !strings.Contains(err.Error(), "dev.mbox/absent") {
		t.Errorf("error is %v", err)
	}
	s.ok(r.End())
	s.emptyTrash()
	if got := s.read(mbox); got != oldMbox+arrived {
		t.Errorf("the mbox is %q", got)
	}
}

// Somebody writes to the old mbox without its lock, while it is replaced and after.
func TestReplaceWhileWrittenTo(t *testing.T) {
	const late = "From e@example.org\nlater still\n\n"
	s := newScene(t)
	s.put(byMbox, newMbox)
	tree := s.locked()
	r, err := tree.Begin(t.Context(), began, Plan{List: list})
	s.ok(err)
	writer, err := os.OpenFile(s.at(mbox), os.O_WRONLY|os.O_APPEND, 0)
	s.ok(err)
	defer writer.Close()
	r.replaced = func() { // between the rename and the look at what was written
		_, err := writer.WriteString(arrived)
		s.ok(err)
	}
	s.ok(r.Replace(listed(t, s.dir, mbox), byMbox, nil))
	s.ok(r.End())
	if got := s.read(mbox); got != newMbox+arrived {
		t.Errorf("the mbox is %q", got)
	}
	s.append(mbox, "From d@example.org\n\n")
	_, err = writer.WriteString(late)
	s.ok(err)
	all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
	s.ok(err)
	stayed(t, all[0].Stayed, map[string]string{mbox: "was not listed as it is"}) // late is nowhere else
	tree.Close()
	s.undo()
	if got := s.read(mbox); got != oldMbox+arrived+"From d@example.org\n\n"+late {
		t.Errorf("the mbox is %q", got)
	}
}

// At no time has what can be opened at the mbox's path two names, and who had opened it before finds two, or none, when it has the lock.
func TestNamesOfReplaced(t *testing.T) {
	s := newScene(t)
	s.put(byMbox, newMbox)
	before, err := os.Open(s.at(mbox))
	s.ok(err)
	defer before.Close()
	names := func() uint64 {
		info, err := before.Stat()
		s.ok(err)
		return uint64(info.Sys().(*syscall.Stat_t).Nlink)
	}
	asked := 0
	check := func() error {
		asked++
		if got := s.read(mbox); got != oldMbox || names() != 1 || s.there(byMbox) {
			t.Errorf("the mbox is %q, with %d names, by is there: %v", got, names(), s.there(byMbox))
		}
		return nil
	}
	s.with(func(tree *Tree) {
		r, err := tree.Begin(t.Context(), began, Plan{List: list})
		s.ok(err)
		s.ok(r.Replace(listed(t, s.dir, mbox), byMbox, check))
		if asked != 1 || names() != 2 || s.names() != 1 || s.read(mbox) != newMbox {
			t.Errorf("asked %d times; the old one has %d names, the new one %d", asked, names(), s.names())
		}
		s.ok(r.End())
	})
	s.undo()
	if names() != 1 || s.names() != 1 {
		t.Errorf("after the undo there are %d names", names())
	}
}

// What happens at the last moment: the check fails, or somebody changes the mbox without its lock.
func TestReplaceAtTheLastMoment(t *testing.T) {
	lost := diag.TryAgain.Errorf("the lock is lost")
	for name, c := range map[string]struct {
		happens func(s *scene) error
		want    string // of the mbox
		why     string // "" if it is replaced
	}{
		"lost lock": {func(*scene) error { return lost }, oldMbox, "the lock is lost"},
		"addition":  {func(s *scene) error { s.append(mbox, arrived); return nil }, newMbox + arrived, ""},
		"change":    {func(s *scene) error { return os.WriteFile(s.at(mbox), []byte("f"+oldMbox[1:]), 0) }, "f" + oldMbox[1:], "was changed since it was listed"},
		"another": {func(s *scene) error {
			s.put("dev.mbox/x", arrived)
			return os.Rename(s.at("dev.mbox/x"), s.at(mbox))
		}, arrived, "was changed since it was listed"},
		"a link": {func(s *scene) error {
			s.put("dev.mbox/x", arrived)
			return errors.Join(os.Symlink("x", s.at("dev.mbox/link")), os.Rename(s.at("dev.mbox/link"), s.at(mbox)))
		}, arrived, "is a symbolic link"},
	} {
		s := quickScene(t)
		s.put(byMbox, newMbox)
		tree := s.locked()
		r, err := tree.Begin(t.Context(), began, Plan{List: list})
		s.ok(err)
		err = r.Replace(listed(t, s.dir, mbox), byMbox, func() error { return c.happens(s) })
		if (err == nil) != (c.why == "") || err != nil && (diag.KindOf(err) != diag.TryAgain || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: error is %v", name, err)
		}
		if name == "lost lock" && err != error(lost) {
			t.Errorf("error is %v", err)
		}
		if got := s.read(mbox); got != c.want {
			t.Errorf("%s: the mbox is %q", name, got)
		}
		s.ok(r.End())
		tree.Close()
		if c.why == "" {
			s.undo()
			continue
		}
		if s.read(byMbox) != newMbox {
			t.Errorf("%s: what was to take its place is %q", name, s.read(byMbox))
		}
		s.emptyTrash()
	}
}
