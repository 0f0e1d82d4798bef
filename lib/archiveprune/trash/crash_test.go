package trash

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// TestMain is also the victim of the tests that kill: it does one thing to a scene, and ends.
func TestMain(m *testing.M) {
	dir := os.Getenv("TRASH_VICTIM")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := victim(dir, os.Getenv("TRASH_DO")); err != nil {
		fmt.Fprint(os.Stderr, err)
		os.Exit(diag.ExitCode(err))
	}
	os.Exit(0)
}

// The tracer below follows the main thread, so the victim must stay on it.
func init() {
	if os.Getenv("TRASH_VICTIM") != "" {
		runtime.LockOSThread()
	}
}

func victim(dir, do string) error {
	ctx := context.Background()
	tree, err := Open(dir)
	if err != nil {
		return err
	}
	defer tree.Close()
	if _, err := tree.Lock(ctx); err != nil {
		return err
	}
	var t testing.T
	switch do {
	case "lock":
	case "mbox":
		err = replaceAndLate(ctx, tree, listed(&t, dir, mbox), arrived)
	case "undo":
		_, err = tree.Undo(ctx, anyRun)
	case "empty":
		_, err = tree.Empty(ctx, began.Add(1), anyRun, nil)
	default:
		_, err = prune(ctx, tree, plan(&t, dir), listed(&t, dir, mbox))
	}
	return err
}

// A step is one system call of the victim that changes something: the nth of its name, as strace(1) counts.
type step struct {
	call string
	n    int
	line string
}

// trace runs the victim under strace and returns how it ended.
func (s *scene) trace(do string, args ...string) (*os.ProcessState, string) {
	s.Helper()
	const calls = "trace=write,fsync,ftruncate,mkdirat,linkat,renameat,renameat2,unlinkat,fchmod,fchown,utimensat,openat2"
	cmd := exec.Command(need.Program(s, "strace"), append([]string{"-qq", "-s", "300", "-e", calls}, append(args, os.Args[0])...)...)
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "TRASH_VICTIM="+s.dir, "TRASH_DO="+do)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.Fatal(err)
	}
	return cmd.ProcessState, stderr.String()
}

// steps are those of an undisturbed victim. Of many in a row that do the same to
// other files, the first ones and the last stand for all.
func (s *scene) steps(do string, args ...string) (list []step) {
	s.Helper()
	log := filepath.Join(s.TempDir(), "log")
	if state, stderr := s.trace(do, append(args, "-o", log)...); !state.Success() {
		s.Fatalf("%v: %s", state, stderr)
	}
	b, err := os.ReadFile(log)
	s.ok(err)
	count := map[string]int{}
	for line := range strings.Lines(string(b)) {
		call, args, _ := strings.Cut(line, "(")
		count[call]++
		if call == "openat2" && !strings.Contains(args, "O_CREAT") {
			continue
		}
		list = append(list, step{call, count[call], strings.TrimSpace(line)})
	}
	same := func(i, j int) bool { return j >= 0 && j < len(list) && list[i].call == list[j].call }
	var some []step
	for i := range list {
		if !same(i, i-1) || !same(i, i-2) || !same(i, i+1) {
			some = append(some, list[i])
		}
	}
	return some
}

// killScene is a scene before one of the three things is done to it.
func killScene(t *testing.T, do string) *scene {
	s := quickScene(t)
	if do == "run" || do == "lock" || do == "mbox" {
		s.put(byMbox, newMbox)
		if do == "lock" { // what is in between is put right, by who may be killed at that too
			s.trace("run", "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", halfway.call, halfway.n))
		}
		return s
	}
	s.run()
	if do == "undo" {
		s.append(mbox, arrived)
	}
	return s
}

// names is how many names the mbox has.
func (s *scene) names() uint64 {
	s.Helper()
	var st syscall.Stat_t
	s.ok(syscall.Lstat(s.at(mbox), &st))
	return uint64(st.Nlink)
}

// halfway is the step of a run after a directory changed places with its successor.
var halfway step

// inodes are those of all files that a scene began with and that are still somewhere in the tree.
func (s *scene) inodes() (all []uint64) {
	s.Helper()
	s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			info, err := e.Info()
			if err != nil {
				return err
			}
			all = append(all, info.Sys().(*syscall.Stat_t).Ino)
		}
		return err
	}))
	return all
}

// recover has another process come after the killed one.
func (s *scene) recover(at string) (*Tree, string) {
	s.Helper()
	tree := s.open()
	mended, err := tree.Lock(s.Context())
	if err != nil {
		s.Fatalf("after %s: %v", at, err)
	}
	said := ""
	for _, m := range mended {
		said += m.Did
		if m.Stayed.Len() > 0 {
			s.Errorf("after %s: %+v", at, m)
		}
	}
	return tree, said
}

func TestKilledAtEveryStep(t *testing.T) {
	steps := killScene(t, "run").steps("run")
	halfway = steps[1+slices.IndexFunc(steps, func(s step) bool {
		return strings.Contains(s.line, siftDir) && strings.Contains(s.line, "RENAME_EXCHANGE")
	})]
	for _, do := range []string{"run", "lock", "undo", "empty"} {
		for _, what := range []string{"signal=KILL", "error=EIO"} {
			t.Run(do+" "+what, func(t *testing.T) {
				t.Parallel()
				killAll(t, do, what)
			})
		}
	}
}

func killAll(t *testing.T, do, what string) {
	steps := killScene(t, do).steps(do)
	if len(steps) < 9 {
		t.Errorf("there are only %d steps", len(steps))
	}
	seen := map[string]int{}
	for _, step := range steps {
		s := killScene(t, do)
		before := s.inodes()
		state, stderr := s.trace(do, "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:%s:when=%d", step.call, what, step.n))
		if n := s.names(); n != 1 {
			t.Errorf("after %s the mbox has %d names", step.line, n)
		}
		switch {
		case what == "signal=KILL" && !state.Sys().(syscall.WaitStatus).Signaled():
			t.Fatalf("not killed at %s: %v: %s", step.line, state, stderr)
		case what != "signal=KILL" && !state.Success() && (!strings.Contains(stderr, s.dir) || !strings.Contains(stderr, "input/output error")):
			t.Errorf("with an error at %s: %v: %s", step.line, state, stderr)
		}
		if do == "run" || do == "lock" {
			after := s.inodes()
			for _, i := range before {
				if !slices.Contains(after, i) {
					t.Fatalf("after %s a file is nowhere", step.line)
				}
			}
		}
		tree, said := s.recover(step.line)
		seen[said]++
		switch do {
		case "run", "lock", "undo":
			all, err := tree.Undo(t.Context(), anyRun)
			if err != nil || len(all) > 1 || len(all) == 1 && all[0].Stayed.Len() > 0 {
				t.Errorf("after %s: undone %+v, %v", step.line, all, err)
			}
			want := oldMbox
			if do == "undo" {
				want += arrived
				s.before[mbox], _ = s.snapshot()[mbox]
			}
			if got := s.read(mbox); got != want {
				t.Errorf("after %s the mbox is %q", step.line, got)
			}
			s.is(s.before)
		case "empty":
			all, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
			if err != nil || len(all) > 1 || len(all) == 1 && all[0].Stayed.Len() > 0 {
				t.Errorf("after %s: emptied %+v, %v", step.line, all, err)
			}
			want := s.pruned()
			want[mbox] = s.snapshot()[mbox]
			s.is(want)
		}
		s.emptyTrash()
		tree.Close()
		if t.Failed() {
			t.Fatalf("at %s; it was said: %s", step.line, said)
		}
	}
	if what == "signal=KILL" && len(seen) < 2 {
		t.Errorf("the kills missed something: %v", seen)
	}
	t.Logf("%d steps, after which was said: %v", len(steps), seen)
}

// A killed run's files can be deleted for good as well, and nothing else is.
func TestKilledAndEmptied(t *testing.T) {
	for i, step := range killScene(t, "run").steps("run") {
		if i%3 > 0 {
			continue // the others are in the test above
		}
		s := killScene(t, "run")
		s.trace("run", "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", step.call, step.n))
		tree, _ := s.recover(step.line)
		after := s.snapshot()
		_, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
		s.ok(err)
		s.emptyTrash()
		s.is(after)
		for p, what := range s.before {
			if after[p] == "" && !goes(p) {
				t.Errorf("after %s %s is missing: %s", step.line, p, what)
			}
		}
		if got := s.read(mbox); got != oldMbox && got != newMbox {
			t.Errorf("after %s the mbox is %q", step.line, got)
		}
	}
}

// Where the file system knows neither exchange nor a rename that replaces nothing, files go one by one.
func TestPlainRenamesOnly(t *testing.T) {
	for _, do := range []string{"run", "undo", "empty"} {
		s := killScene(t, do)
		if state, stderr := s.trace(do, "-o", "/dev/null", "-e", "inject=renameat2:error=EINVAL"); !state.Success() {
			t.Fatalf("%s: %v: %s", do, state, stderr)
		}
		want := s.pruned()
		if do == "undo" {
			want = s.before
			if got := s.read(mbox); got != oldMbox+arrived {
				t.Errorf("the mbox is %q", got)
			}
		}
		want[mbox] = s.snapshot()[mbox]
		s.is(want)
		if do == "run" {
			s.undo()
			s.is(s.before)
		} else {
			s.emptyTrash()
		}
	}
}
