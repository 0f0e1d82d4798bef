package trash

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"rplan/lib/diag"
)

// What Late brought over is there once after an undo, whatever came before and after it; and what it did not, too.
func TestUndoOfLate(t *testing.T) {
	const last = "From z@example.org\nlast\n\n"
	for _, late := range []string{"", "From e@example.org\nlate\n\n", "\nFrom e@example.org\nlate\n\n"} {
		for _, never := range []string{"", "From f@example.org\nlater than late\n\n"} {
			s := quickScene(t)
			s.put(byMbox, newMbox)
			tree := s.locked()
			before, err := os.OpenFile(s.at(mbox), os.O_WRONLY|os.O_APPEND, 0)
			s.ok(err)
			defer before.Close()
			r, err := tree.Begin(t.Context(), began, Plan{List: list})
			s.ok(err)
			r.replaced = func() { s.append(mbox, arrived) } // with the next lock
			s.ok(r.replaceAndLate(listed(t, s.dir, mbox), late))
			s.append(mbox, last)
			s.ok(r.End())
			_, err = before.WriteString(never)
			s.ok(err)
			if got := s.read(mbox); got != newMbox+arrived+late+last {
				t.Errorf("the mbox is %q", got)
			}
			tree.Close()
			s.undo()
			if got := s.read(mbox); got != oldMbox+arrived+late+last+never {
				t.Errorf("the mbox is %q", got)
			}
		}
	}
}

// What Late brought over can be deleted for good with the rest.
func TestEmptyOfLate(t *testing.T) {
	s := quickScene(t)
	s.put(byMbox, newMbox)
	s.with(func(tree *Tree) {
		s.ok(replaceAndLate(t.Context(), tree, listed(t, s.dir, mbox), arrived))
		all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
		if err != nil || len(all) != 1 || all[0].Files != 1 || all[0].Stayed.Len() > 0 {
			t.Errorf("emptied %+v, %v", all, err)
		}
	})
	s.emptyTrash()
	if got := s.read(mbox); got != newMbox+arrived {
		t.Errorf("the mbox is %q", got)
	}
}

// What a killed run had no time to bring over is brought over with the locks of who writes to it, when they can be had.
func TestLateOfKilled(t *testing.T) {
	s := quickScene(t)
	s.put(byMbox, newMbox)
	before, err := os.OpenFile(s.at(mbox), os.O_WRONLY|os.O_APPEND, 0)
	s.ok(err)
	defer before.Close()
	tree := s.locked()
	r, err := tree.Begin(t.Context(), began, Plan{List: list})
	s.ok(err)
	s.ok(r.Replace(listed(t, s.dir, mbox), byMbox, nil))
	_, err = before.WriteString(arrived)
	s.ok(err)
	r.close() // as if it were killed
	tree.Close()
	busy, held := diag.TryAgain.Errorf("the lock is held"), 0
	hold := func(_ context.Context, p string, old *os.File) (func(), error) {
		if got, err := os.ReadFile(old.Name()); p != mbox || err != nil || string(got) != oldMbox+arrived {
			t.Errorf("locks %s and %s: %q, %v", p, old.Name(), got, err)
		}
		if busy != nil {
			return nil, busy
		}
		held++
		return func() { held-- }, nil
	}
	for _, want := range []string{newMbox, newMbox + arrived, newMbox + arrived} {
		tree := s.open()
		tree.Hold = hold
		mended, err := tree.Lock(t.Context())
		s.ok(err)
		switch got := s.read(mbox); {
		case got != want || held != 0:
			t.Errorf("the mbox is %q, want %q; %d locks are held", got, want, held)
		case got == newMbox:
			if len(mended) != 1 || !strings.Contains(mended[0].Did, "has to wait for the next run: the lock is held") {
				t.Errorf("mended %+v", mended)
			}
			if all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil); len(all) > 0 || err != nil {
				t.Errorf("emptied %+v, %v", all, err)
			}
			if _, err := tree.Undo(t.Context(), anyRun); err == nil || !strings.Contains(err.Error(), "the lock is held") || diag.KindOf(err) != diag.TryAgain {
				t.Errorf("undone without locks: %v", err)
			}
			s.cut(".rplan/trash/"+r.ID()+"/journal", "undo\n") // as if that had not been
			busy = nil
		}
		tree.Close()
	}
	s.undo()
	if got := s.read(mbox); got != oldMbox+arrived {
		t.Errorf("the mbox is %q", got)
	}
}

// cut takes a file's end away.
func (s *scene) cut(p, end string) {
	s.Helper()
	content, ok := strings.CutSuffix(s.read(p), end)
	if !ok {
		s.Fatalf("%s does not end with %q", p, end)
	}
	s.ok(os.WriteFile(s.at(p), []byte(content), 0))
}

// Who had opened the mbox before an undo, and has its lock afterwards, adds to a file that is none any more.
func TestLateAtUndo(t *testing.T) {
	for _, more := range []string{"", arrived} { // with which the old file comes back, or another
		s := quickScene(t)
		s.run()
		s.append(mbox, more)
		before, err := os.OpenFile(s.at(mbox), os.O_WRONLY|os.O_APPEND, 0)
		s.ok(err)
		defer before.Close()
		const late = "From l@example.org\nlate\n\n"
		asked, held := 0, 0
		s.with(func(tree *Tree) {
			tree.Hold = func(_ context.Context, p string, _ *os.File) (func(), error) {
				if asked++; asked == 2 {
					_, err := before.WriteString(late)
					s.ok(err)
				}
				held++
				return func() { held-- }, nil
			}
			_, err := tree.Undo(t.Context(), anyRun)
			s.ok(err)
		})
		if got := s.read(mbox); got != oldMbox+more+late || asked != 2 || held != 0 {
			t.Errorf("the mbox is %q; locks were asked for %d times, and %d are held", got, asked, held)
		}
		s.emptyTrash()
	}
}

// Nor is it lost if Late is not called: the run counts as killed.
func TestEndWithoutLate(t *testing.T) {
	s := quickScene(t)
	s.put(byMbox, newMbox)
	before, err := os.OpenFile(s.at(mbox), os.O_WRONLY|os.O_APPEND, 0)
	s.ok(err)
	defer before.Close()
	tree := s.locked()
	r, err := tree.Begin(t.Context(), began, Plan{List: list})
	s.ok(err)
	s.ok(r.Replace(listed(t, s.dir, mbox), byMbox, nil))
	_, err = before.WriteString(arrived)
	s.ok(errors.Join(err, r.End()))
	tree.Close()
	tree = s.open()
	mended, err := tree.Lock(t.Context())
	if got := s.read(mbox); err != nil || len(mended) != 1 || got != newMbox+arrived {
		t.Errorf("mended %+v, %v; the mbox is %q", mended, err, got)
	}
	tree.Close()
	s.undo()
	if got := s.read(mbox); got != oldMbox+arrived {
		t.Errorf("the mbox is %q", got)
	}
}
