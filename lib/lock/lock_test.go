package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// long is a wait that no test sits through.
const long = time.Hour

// TestMain is also the other process: it takes the lock, says so, and holds it
// until its standard input ends.
func TestMain(m *testing.M) {
	path := os.Getenv("LOCK_HOLDER")
	if path == "" {
		os.Exit(m.Run())
	}
	l, err := Acquire(context.Background(), path, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(diag.ExitCode(err))
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	l.Release()
	os.Exit(0)
}

// other is another process that holds the lock.
type other struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func startOther(t *testing.T, path string) *other {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOCK_HOLDER="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	if said, err := bufio.NewReader(stdout).ReadString('\n'); said != "held\n" {
		t.Fatalf("the other process says %q, %v", said, err)
	}
	return &other{cmd, stdin}
}

func (o *other) pid() int { return o.cmd.Process.Pid }

func mustAcquire(t *testing.T, path string, wait time.Duration) *Lock {
	t.Helper()
	l, err := Acquire(t.Context(), path, wait)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// refused checks that the lock is busy, and what is said of its holder.
func refused(t *testing.T, path string, wait time.Duration, holder string) {
	t.Helper()
	l, err := Acquire(t.Context(), path, wait)
	if err == nil {
		l.Release()
	}
	want := fmt.Sprintf("%q is locked by %s", path, holder)
	if err == nil || err.Error() != want || diag.KindOf(err) != diag.TryAgain {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	o := startOther(t, path)
	refused(t, path, 0, fmt.Sprintf("process %d", o.pid()))
	refused(t, path, 2*poll, fmt.Sprintf("process %d", o.pid()))
}

func TestBusyWithinOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := mustAcquire(t, path, 0)
	refused(t, path, 0, fmt.Sprintf("process %d", os.Getpid()))
	l.Release()
	l.Release()
	mustAcquire(t, path, 0).Release()
}

func TestHolderUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	defer mustAcquire(t, path, 0).Release()
	for _, text := range []string{"", "no number\n", "999999999999999999999999999\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, path, 0, "another process")
	}
}

func TestWaitUntilReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	o := startOther(t, path)
	time.AfterFunc(poll, func() { o.stdin.Close() })
	mustAcquire(t, path, long).Release()
}

func TestKilledHolderReleases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	o := startOther(t, path)
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o.cmd.Wait()
	l := mustAcquire(t, path, 0)
	defer l.Release()
	refused(t, path, 0, fmt.Sprintf("process %d", os.Getpid())) // not the dead one
}

func TestCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	o := startOther(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(poll, cancel)
	_, err := Acquire(ctx, path, long)
	want := fmt.Sprintf("waiting for lock %q, held by process %d: context canceled", path, o.pid())
	if !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// A child that is only being started has the file too, for a moment.
func TestReleasedWhileChildrenStart(t *testing.T) {
	path, program := filepath.Join(t.TempDir(), "lock"), need.Program(t, "true")
	for range 2 {
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					if err := exec.Command(program).Run(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
		defer func() { close(stop); <-stopped }()
	}
	for range 3000 {
		mustAcquire(t, path, 0).Release()
	}
}

// A child that outlives us must not keep the lock.
func TestChildrenDoNotInherit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := mustAcquire(t, path, 0)
	child := exec.Command(need.Program(t, "sleep"), "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	l.file.Close() // as if we had died
	mustAcquire(t, path, 0).Release()
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		l := mustAcquire(t, path, 0)
		if b, _ := os.ReadFile(path); string(b) != fmt.Sprintln(os.Getpid()) {
			t.Errorf("the file holds %q", b)
		}
		l.Release()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != 0 || info.Mode() != 0o600 {
			t.Errorf("released, the file has %d bytes and mode %v", info.Size(), info.Mode())
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("elsewhere", link); err != nil {
		t.Fatal(err)
	}
	for path, cause := range map[string]string{
		filepath.Join(dir, "absent", "lock"): "no such file or directory",
		dir:                                  "is a directory",
		link:                                 "too many levels of symbolic links",
	} {
		_, err := Acquire(t.Context(), path, long)
		if want := fmt.Sprintf("cannot open lock %q: %s", path, cause); err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
		if diag.KindOf(err) != diag.CantCreate {
			t.Errorf("kind is %d", diag.KindOf(err))
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the link was followed")
	}
}
