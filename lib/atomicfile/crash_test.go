package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

const (
	oldText = "the old bytes, all of them"
	newText = "the new bytes, every one"
)

// TestMain is also the victim of the tests that kill: it replaces one file and ends.
func TestMain(m *testing.M) {
	path := os.Getenv("ATOMICFILE_VICTIM")
	if path == "" {
		os.Exit(m.Run())
	}
	var err error
	if staged := os.Getenv("ATOMICFILE_STAGED"); staged != "" {
		err = swapIn(staged, path)
	} else {
		_, err = WriteFile(path, []byte(newText), 0o644)
	}
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		os.Exit(diag.ExitCode(err))
	}
	os.Exit(0)
}

// The tracer below follows the main thread, so the victim must stay on it.
func init() {
	if os.Getenv("ATOMICFILE_VICTIM") != "" {
		runtime.LockOSThread()
	}
}

// A step is one system call of the victim: the nth of its name, as strace(1) counts.
type step struct {
	call string
	n    int
	line string // as strace shows it
}

// trace runs the victim under strace and returns how it ended.
func trace(t *testing.T, env []string, args ...string) (*os.ProcessState, string) {
	t.Helper()
	const calls = "trace=openat,flock,write,fchown,fchmod,utimensat,fsync,rename,renameat,renameat2,unlinkat"
	cmd := exec.Command(need.Program(t, "strace"), append([]string{"-qq", "-e", calls}, append(args, os.Args[0])...)...)
	// Without the signals by which Go preempts itself, which strace would show among the calls.
	cmd.Env = append(append(os.Environ(), "GODEBUG=asyncpreemptoff=1"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState, stderr.String()
}

// steps are the system calls with which a file is replaced, in a run that nothing disturbs.
func steps(t *testing.T, swap bool) (list []step) {
	t.Helper()
	s := newScene(t, swap)
	log := filepath.Join(t.TempDir(), "log")
	if state, stderr := trace(t, s.env, "-o", log); !state.Success() {
		t.Fatalf("%v: %s", state, stderr)
	}
	count := map[string]int{}
	for line := range strings.Lines(content(t, log)) {
		call, args, _ := strings.Cut(line, "(")
		count[call]++
		if list != nil || strings.Contains(args, filepath.Dir(s.dir)) {
			list = append(list, step{call, count[call], strings.TrimSpace(line)})
		}
	}
	return list
}

// disturb runs the victim and has something happen at a step.
func (s step) disturb(t *testing.T, what string, env []string) (*os.ProcessState, string) {
	t.Helper()
	return trace(t, env, "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:%s:when=%d", s.call, what, s.n))
}

// scene is a directory with a file in it that is to be replaced.
type scene struct {
	dir, path, staged string
	env               []string
}

func newScene(t *testing.T, swap bool) scene {
	dir := t.TempDir()
	s := scene{dir: dir, path: filepath.Join(dir, "map")}
	put(t, s.path, oldText, 0o640)
	if os.Geteuid() == 0 { // so that there is an owner to keep
		if err := os.Chown(s.path, 1234, 2345); err != nil {
			t.Fatal(err)
		}
	}
	s.env = []string{"ATOMICFILE_VICTIM=" + s.path}
	if swap {
		s.staged = filepath.Join(t.TempDir(), "staged")
		put(t, s.staged, newText, 0o600)
		s.env = append(s.env, "ATOMICFILE_STAGED="+s.staged)
	}
	return s
}

// state is what a reader finds: "old" or "new", and nothing between them.
func (s scene) state(t *testing.T) string {
	t.Helper()
	if got := stat(t, s.path).Mode(); got != 0o640 {
		t.Errorf("mode is %v", got)
	}
	switch got := content(t, s.path); got {
	case oldText:
		if s.staged != "" && content(t, s.staged) != newText {
			t.Error("the staged file is gone, and the old one still there")
		}
		return "old"
	case newText:
		return "new"
	default:
		t.Fatalf("the path holds %q", got)
		return ""
	}
}

// A power cut cannot be tried, but the order that outlives one can be seen.
func TestOrderOfSteps(t *testing.T) {
	for swap, want := range map[bool]string{
		false: `^openat flock write (fchown )?fchmod (utimensat )?fsync rename\w* openat fsync $`,
		true:  `^openat (fchown )?fchmod (utimensat )?fsync rename\w* openat fsync openat fsync $`,
	} {
		var calls string
		for _, step := range steps(t, swap) {
			calls += step.call + " "
		}
		if !regexp.MustCompile(want).MatchString(calls) {
			t.Errorf("the order is %s", calls)
		}
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	for _, swap := range []bool{false, true} {
		seen := map[string]int{}
		for _, step := range steps(t, swap) {
			s := newScene(t, swap)
			if state, stderr := step.disturb(t, "signal=KILL", s.env); state.Success() {
				t.Fatalf("not killed at %s: %v: %s", step.line, state, stderr)
			}
			found := s.state(t)
			if _, err := os.Stat(tempName(s.path)); err == nil {
				found = "half"
			}
			seen[found]++
			if _, err := WriteFile(s.path, []byte("healed"), 0o644); err != nil {
				t.Errorf("after a kill at %s: %v", step.line, err)
			}
			holdsOnly(t, s.dir, "map")
		}
		if seen["old"] == 0 || seen["new"] == 0 || !swap && seen["half"] < 3 {
			t.Errorf("the kills missed something: %v", seen)
		}
	}
}

func TestErrorAtEveryStep(t *testing.T) {
	for _, swap := range []bool{false, true} {
		seen := map[string]int{}
		for _, step := range steps(t, swap) {
			s := newScene(t, swap)
			state, stderr := step.disturb(t, "error=EIO", s.env)
			found := s.state(t)
			seen[found]++
			holdsOnly(t, s.dir, "map")
			if found == "old" || !state.Success() {
				want := fmt.Sprintf("cannot write %q: ", s.path)
				if state.ExitCode() != int(diag.CantCreate) || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, ": input/output error") {
					t.Errorf("with an error at %s: %v: %s", step.line, state, stderr)
				}
			}
		}
		if seen["old"] == 0 || seen["new"] == 0 {
			t.Errorf("the errors missed something: %v", seen)
		}
	}
}

// inTmpfs runs test on a file system of 64 KiB that only this thread sees.
func inTmpfs(t *testing.T, test func(dir string)) {
	need.Root(t)
	dir := t.TempDir()
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Fatal("making a mount namespace: ", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	test(dir)
}

func TestDiskFull(t *testing.T) {
	inTmpfs(t, func(dir string) {
		path := filepath.Join(dir, "map")
		put(t, path, oldText, 0o644)
		_, err := WriteFile(path, make([]byte, 100_000), 0o644)
		fails(t, err, diag.CantCreate, path, "cannot write PATH: write: no space left on device")

		f, err := Create(path, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(make([]byte, 100_000)) // whose error the caller forgot
		fails(t, f.Commit(), diag.CantCreate, path, "cannot write PATH: write: no space left on device")

		if got := content(t, path); got != oldText {
			t.Errorf("the path holds %q", got)
		}
		holdsOnly(t, dir, "map")
		if _, err := WriteFile(path, []byte(newText), 0o644); err != nil {
			t.Errorf("what fits: %v", err)
		}
	})
}

func TestReadOnly(t *testing.T) {
	inTmpfs(t, func(dir string) {
		path := filepath.Join(dir, "map")
		put(t, path, oldText, 0o644)
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		_, err := WriteFile(path, []byte(newText), 0o644)
		fails(t, err, diag.CantCreate, path, "cannot write PATH: open: read-only file system")
		if !errors.Is(err, syscall.EROFS) {
			t.Error("the cause is lost")
		}
		if changed, err := WriteFile(path, []byte(oldText), 0o644); changed || err != nil {
			t.Errorf("with nothing to change: %v, %v", changed, err)
		}
	})
}

func TestOtherFileSystem(t *testing.T) {
	inTmpfs(t, func(dir string) {
		staged, path := filepath.Join(t.TempDir(), "staged"), filepath.Join(dir, "map")
		put(t, staged, newText, 0o644)
		put(t, path, oldText, 0o644)
		fails(t, swapIn(staged, path), diag.CantCreate, path, "cannot write PATH: rename: invalid cross-device link")
		if content(t, staged) != newText || content(t, path) != oldText {
			t.Error("something moved")
		}
	})
}
