package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// replaceAndLate replaces the mbox. Somebody who had opened it before adds something to it when that is done.
func replaceAndLate(ctx context.Context, tree *Tree, old layout.File, more string) error {
	r, err := tree.Begin(ctx, began, Plan{List: list})
	if err != nil {
		return err
	}
	err = r.replaceAndLate(old, more)
	return errors.Join(err, r.End())
}

func (r *Run) replaceAndLate(old layout.File, more string) error {
	f, err := os.OpenFile(r.t.name(mbox), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.Replace(old, byMbox, nil); err != nil {
		return err
	}
	if _, err := f.WriteString(more); err != nil {
		return err
	}
	live, err := os.OpenFile(r.t.name(mbox), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer live.Close()
	_, err = r.Late(mbox, live, f, old.Size)
	return err
}

// An mbox is replaced, and somebody who had opened it before adds a message, at every step of which this may end:
// it is in the mbox once after an undo.
func TestKilledWhileReplacing(t *testing.T) {
	const noExchange = "inject=renameat2:error=EINVAL"
	for _, also := range []string{"", noExchange} {
		var args []string
		if also != "" {
			args = []string{"-e", also}
		}
		steps, seen := killScene(t, "mbox").steps("mbox", args...), map[string]int{}
		for _, step := range steps {
			for _, what := range []string{"signal=KILL", "error=EIO"} {
				if also != "" && step.call == "renameat2" {
					continue
				}
				s := killScene(t, "mbox")
				s.trace("mbox", append(args, "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:%s:when=%d", step.call, what, step.n))...)
				seen[s.replaced(step, also == "", what == "signal=KILL")]++
				if t.Failed() {
					t.Fatalf("at %s, %s %s", step.line, what, also)
				}
			}
		}
		t.Logf("%d steps, after which the mbox was %v", len(steps), seen)
		if seen["as it was"] == 0 || seen["new"] == 0 || seen["new, and all of it"] == 0 {
			t.Errorf("the kills missed something: %v", seen)
		}
	}
}

// replaced checks what is left of a Replace that was killed, and undoes it.
func (s *scene) replaced(step step, exchanged, killed bool) (state string) {
	s.Helper()
	kept := ".rplan/trash/20261126T182533Z-" + list + "/old/" + mbox
	came := s.read(mbox) == newMbox+arrived
	if s.there(kept) && strings.HasSuffix(s.read(kept), arrived) {
		came = true
	}
	tree, _ := s.recover(step.line)
	defer tree.Close()
	if n := s.names(); n != 1 {
		s.Errorf("the mbox has %d names", n)
	}
	switch got := s.read(mbox); got {
	case oldMbox:
		state = "as it was"
		if s.there(kept) {
			s.Error("and something is in the trash")
		}
	case newMbox, newMbox + arrived:
		state = map[bool]string{false: "new", true: "new, and all of it"}[got != newMbox]
		if came && killed && got == newMbox {
			s.Error("what came late is not in it")
		}
		info, err := os.Stat(s.at(kept))
		s.ok(err)
		if n, want := info.Sys().(*syscall.Stat_t).Nlink, map[bool]uint64{false: 1, true: 2}[exchanged]; uint64(n) != want {
			s.Errorf("the old one has %d names", n)
		}
	default:
		s.Errorf("the mbox is %q", got)
	}
	all, err := tree.Undo(s.Context(), anyRun)
	if err != nil || len(all) > 1 || len(all) == 1 && all[0].Stayed.Len() > 0 {
		s.Errorf("undone %+v, %v", all, err)
	}
	want := oldMbox
	if came {
		want += arrived
	}
	if got := s.read(mbox); got != want || s.names() != 1 {
		s.Errorf("the mbox is %q, of %d names, want %q", got, s.names(), want)
	}
	s.emptyTrash()
	return state
}

// Where the trash gets a copy, and there is no room for it, the mbox stays as it is.
func TestNoRoomForACopy(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=2m")
	s := &scene{TB: t, dir: filepath.Join(dir, "tree")}
	long := strings.Repeat(oldMbox, 64<<10/len(oldMbox))
	s.put(mbox, long)
	s.put(byMbox, newMbox)
	s.with(func(*Tree) {})                // as after another run
	for _, room := range []int{40, 120} { // KiB
		ballast := filepath.Join(dir, "ballast")
		fill(t, ballast, room)
		state, stderr := s.trace("mbox", "-o", "/dev/null", "-e", "inject=renameat2:error=EINVAL")
		s.ok(os.Remove(ballast))
		switch full := room < 64; {
		case full && (state.ExitCode() != int(diag.CantCreate) || !strings.Contains(stderr, s.at(mbox)) || !strings.Contains(stderr, "no space left") || s.read(mbox) != long || s.read(byMbox) != newMbox):
			t.Errorf("with %d KiB: %v: %s; the mbox has %d bytes", room, state, stderr, len(s.read(mbox)))
		case full:
			s.emptyTrash()
		case !state.Success() || s.read(mbox) != newMbox+arrived:
			t.Errorf("with %d KiB: %v: %s; the mbox is %.99q", room, state, stderr, s.read(mbox))
		}
	}
	s.undo()
	if got := s.read(mbox); got != long+arrived {
		t.Errorf("the mbox has %d bytes", len(got))
	}
}

// An undo that is killed neither loses nor doubles what came late.
func TestKilledBringingBackLate(t *testing.T) {
	scene := func() *scene {
		s := killScene(t, "mbox")
		s.with(func(tree *Tree) { s.ok(replaceAndLate(t.Context(), tree, listed(t, s.dir, mbox), arrived)) })
		return s
	}
	for _, step := range scene().steps("undo") {
		s := scene()
		s.trace("undo", "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", step.call, step.n))
		if n := s.names(); n != 1 {
			t.Errorf("after %s the mbox has %d names", step.line, n)
		}
		tree, _ := s.recover(step.line)
		_, err := tree.Undo(t.Context(), anyRun)
		s.ok(err)
		tree.Close()
		if got := s.read(mbox); got != oldMbox+arrived {
			t.Fatalf("after %s the mbox is %q", step.line, got)
		}
		s.emptyTrash()
	}
}
