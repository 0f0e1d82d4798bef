package maillock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// long is a wait that no test sits through.
const long = time.Hour

// kinds are the four locks, each on something in a directory.
var kinds = map[string]struct {
	path string
	take func(ctx context.Context, dir string, wait time.Duration) (*Lock, error)
}{
	"dotlock": {"mbox.lock", func(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
		return Dotlock(ctx, filepath.Join(dir, "mbox"), wait)
	}},
	"fcntl": {"mbox", func(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
		return Fcntl(ctx, filepath.Join(dir, "mbox"), wait)
	}},
	"mailman": {"dev.lock", func(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
		return Mailman(ctx, dir, "dev", wait)
	}},
	"mhonarc": {".mhonarc.lck", MHonArc},
}

// TestMain is also the other process: it takes a lock, says so, and holds it until its standard input ends.
func TestMain(m *testing.M) {
	kind, dir, _ := strings.Cut(os.Getenv("MAILLOCK_HOLDER"), ":")
	k, ok := kinds[kind]
	if !ok {
		os.Exit(m.Run())
	}
	l, err := k.take(context.Background(), dir, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(diag.ExitCode(err))
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	l.Release()
	os.Exit(0)
}

// other is another process that holds a lock.
type other struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// start runs a program that says what has become of its lock.
func start(t *testing.T, want string, cmd *exec.Cmd) *other {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &other{cmd, stdin}
	t.Cleanup(o.end)
	if said, err := bufio.NewReader(stdout).ReadString('\n'); !strings.HasPrefix(said, want) {
		t.Fatalf("the other process says %q, %v, want %q", said, err, want)
	}
	return o
}

func (o *other) end()     { o.stdin.Close(); o.cmd.Wait() }
func (o *other) kill()    { o.cmd.Process.Kill(); o.cmd.Wait() }
func (o *other) pid() int { return o.cmd.Process.Pid }

func startOurs(t *testing.T, kind, dir string) *other {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAILLOCK_HOLDER="+kind+":"+dir)
	return start(t, "held", cmd)
}

func python(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(need.Program(t, "python3"), append([]string{filepath.Join("testdata", script)}, args...)...)
}

// scene is a directory with an mbox.
func scene(t *testing.T) string {
	t.Helper()
	return sceneIn(t, t.TempDir())
}

func sceneIn(t *testing.T, dir string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "mbox"), []byte("From a@b Thu Nov 26 10:11:12 2026\n\na\n\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// names are what is in a directory, beside the mbox.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "mbox" {
			list = append(list, e.Name())
		}
	}
	return list
}

func must(t *testing.T, kind, dir string, wait time.Duration) *Lock {
	t.Helper()
	l, err := kinds[kind].take(t.Context(), dir, wait)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	return l
}

// refused checks that a lock is busy and what is said of it.
func refused(t *testing.T, kind, dir string, wait time.Duration, holder string) {
	t.Helper()
	l, err := kinds[kind].take(t.Context(), dir, wait)
	if err == nil {
		l.Release()
	}
	want := fmt.Sprintf("the lock %q is held by %s", filepath.Join(dir, kinds[kind].path), holder)
	if err == nil || !strings.HasPrefix(err.Error(), want) || diag.KindOf(err) != diag.TryAgain || diag.HintOf(err) == "" {
		t.Errorf("error is %v (hint: %s), want %s", err, diag.HintOf(err), want)
	}
}

// holderOf is what each lock tells of a process of ours that has it.
func holderOf(kind string, pid int) string {
	host, _ := os.Hostname()
	return map[string]string{
		"dotlock": fmt.Sprintf("process %d, for ", pid),
		"fcntl":   "another process", // the kernel does not say whose an open file description is
		"mailman": fmt.Sprintf("process %d on %q", pid, host),
		"mhonarc": "another process of rplan",
	}[kind]
}

func TestBusy(t *testing.T) {
	for kind := range kinds {
		dir := scene(t)
		o := startOurs(t, kind, dir)
		refused(t, kind, dir, 0, holderOf(kind, o.pid()))
		refused(t, kind, dir, 2*poll, holderOf(kind, o.pid()))
		time.AfterFunc(poll, func() { o.stdin.Close() })
		must(t, kind, dir, long).Release()
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s leaves %q", kind, left)
		}
	}
}

func TestWithinOneProcess(t *testing.T) {
	for kind := range kinds {
		dir := scene(t)
		l := must(t, kind, dir, 0)
		refused(t, kind, dir, 0, holderOf(kind, os.Getpid()))
		if err := l.Check(); err != nil {
			t.Errorf("%s: after another tried: %v", kind, err)
		}
		l.Release()
		l.Release()
		must(t, kind, dir, 0).Release()
	}
}

func TestCancelled(t *testing.T) {
	for kind := range kinds {
		dir := scene(t)
		defer must(t, kind, dir, 0).Release()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(poll, cancel)
		_, err := kinds[kind].take(ctx, dir, long)
		want := fmt.Sprintf("waiting for the lock %q, held by %s", filepath.Join(dir, kinds[kind].path), holderOf(kind, os.Getpid()))
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error is %v, want %s", kind, err, want)
		}
	}
}

func TestNowhere(t *testing.T) {
	for kind := range kinds {
		dir := filepath.Join(t.TempDir(), "absent")
		if _, err := kinds[kind].take(t.Context(), dir, long); diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Who takes a lock away is found out, and what he has there stays.
func TestLost(t *testing.T) {
	for kind, k := range kinds {
		dir := scene(t)
		l := must(t, kind, dir, 0)
		path := filepath.Join(dir, k.path)
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("another's"), 0o644)); err != nil {
			t.Fatal(err)
		}
		if err := l.Check(); diag.KindOf(err) != diag.TryAgain || err == nil {
			t.Errorf("%s: the loss is not seen: %v", kind, err)
		}
		l.Release()
		if b, err := os.ReadFile(path); string(b) != "another's" {
			t.Errorf("%s: another's lock is gone: %q, %v", kind, b, err)
		}
	}
}

func TestKilled(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	for kind, k := range kinds {
		dir := scene(t)
		o := startOurs(t, kind, dir)
		o.kill()
		if kind == "dotlock" || kind == "mailman" { // which outlive their holder for a while
			refused(t, kind, dir, 0, strings.TrimSuffix(holderOf(kind, o.pid()), ", for "))
			if err := os.Chtimes(filepath.Join(dir, k.path), old, old); err != nil {
				t.Fatal(err)
			}
		}
		must(t, kind, dir, 0).Release()
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s leaves %q", kind, left)
		}
	}
}

// Of many that find a lock stale one gets it, and then the next.
func TestManyBreakStale(t *testing.T) {
	for kind, k := range kinds {
		for range 5 {
			dir := scene(t)
			o := startOurs(t, kind, dir)
			o.kill()
			old := time.Now().Add(-time.Hour)
			if kind != "fcntl" {
				os.Chtimes(filepath.Join(dir, k.path), old, old)
			}
			held := make(chan struct{}, 1)
			errs := make(chan error)
			for range 4 {
				go func() {
					l, err := k.take(context.Background(), dir, long)
					if err == nil {
						select {
						case held <- struct{}{}:
							time.Sleep(time.Millisecond)
							err = l.Check()
							<-held
						default:
							err = errors.New("two hold it")
						}
						l.Release()
					}
					errs <- err
				}()
			}
			for range 4 {
				if err := <-errs; err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
		}
	}
}

// A lock that is held for long does not look like a dead one's.
func TestKeep(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(f.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	l := &Lock{file: f, free: func() {}}
	l.keep(time.Millisecond, time.Minute)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := os.Stat(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if ahead := time.Until(info.ModTime()); ahead > 50*time.Second {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the time is still %v", info.ModTime())
		}
	}
	l.Release()
}

// Who swaps the directory of a lock for a symlink leads it nowhere else, and it is removed from where it is.
func TestLockStays(t *testing.T) {
	for name, take := range map[string]func(dir *os.File, path string) (*Lock, error){
		"mbox.lock": func(dir *os.File, path string) (*Lock, error) {
			return DotlockIn(t.Context(), dir, filepath.Join(path, "mbox"), 0)
		},
		".mhonarc.lck": func(dir *os.File, path string) (*Lock, error) { return MHonArcIn(t.Context(), dir, path, 0) },
	} {
		top := t.TempDir()
		in, aside, outside := filepath.Join(top, "in"), filepath.Join(top, "aside"), filepath.Join(top, "outside")
		ok := func(errs ...error) {
			t.Helper()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}
		ok(os.Mkdir(in, 0o755), os.Mkdir(outside, 0o755))
		locked := func() (all []string) {
			for _, dir := range []string{in, aside, outside} {
				if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
					all = append(all, filepath.Base(dir))
				}
			}
			return all
		}
		swap := func() { ok(os.Rename(in, aside), os.Symlink(outside, in)) }
		for _, when := range []string{"before", "while"} {
			dir, err := os.Open(in)
			ok(err)
			if when == "before" {
				swap()
			}
			l, err := take(dir, in)
			ok(err)
			if when == "while" {
				swap()
			}
			if got := locked(); !slices.Equal(got, []string{"aside"}) {
				t.Errorf("%s %s: it is in %q", name, when, got)
			}
			if err := l.Check(); diag.KindOf(err) != diag.TryAgain {
				t.Errorf("%s %s: %v, and no other program knows of the lock", name, when, err)
			}
			l.Release()
			if got := locked(); len(got) > 0 {
				t.Errorf("%s %s: left in %q", name, when, got)
			}
			ok(os.Remove(in), os.Rename(aside, in))
		}
	}
}

// A lock of MHonArc that is moved while it is held, as a prune moves it with what stays of a directory, is removed all the same.
func TestMovedLock(t *testing.T) {
	top := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(top, "old"), 0o755), os.Mkdir(filepath.Join(top, "new"), 0o755)); err != nil {
		t.Fatal(err)
	}
	l, err := MHonArc(t.Context(), filepath.Join(top, "old"), 0)
	if err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(top, "new", ".mhonarc.lck")
	if err := os.Rename(filepath.Join(top, "old", ".mhonarc.lck"), moved); err != nil {
		t.Fatal(err)
	}
	l.Release()
	if _, err := os.Lstat(moved); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left where it was moved to: %v", err)
	}
}
