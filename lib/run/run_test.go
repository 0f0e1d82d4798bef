package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

const (
	// short is a timeout that runs out; long is one that no test sits through.
	short = 100 * time.Millisecond
	long  = time.Hour
)

// sh is a command of the shell's. That is for tests: they can say in a line
// what a program does.
func sh(script string, args ...string) Cmd {
	return Cmd{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...), Timeout: long}
}

func succeed(t *testing.T, c Cmd) Result {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fail checks that c fails with exactly this text.
func fail(t *testing.T, c Cmd, want string) (Result, error) {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	return r, err
}

func TestRun(t *testing.T) {
	c := sh(`cat; echo "$1" >&2`, "a  b; $HOME *")
	c.Stdin = []byte("in\x00put")
	r := succeed(t, c)
	if string(r.Stdout) != "in\x00put" || string(r.Stderr) != "a  b; $HOME *\n" || r.ExitCode != 0 {
		t.Errorf("result is %+v", r)
	}
}

func TestStdinIsEmpty(t *testing.T) {
	if r := succeed(t, sh("wc -c")); strings.TrimSpace(string(r.Stdout)) != "0" {
		t.Errorf("stdin has %s bytes", r.Stdout)
	}
}

func TestStdinNeedNotBeRead(t *testing.T) {
	c := sh("exec true")
	c.Stdin = make([]byte, 1<<20)
	succeed(t, c)
}

func TestDir(t *testing.T) {
	c := sh("pwd -P")
	c.Dir = "/usr"
	if r := succeed(t, c); string(r.Stdout) != "/usr\n" {
		t.Errorf("the directory is %q", r.Stdout)
	}
	c.Dir = "/absent"
	fail(t, c, `"/bin/sh": stat /absent: no such file or directory`)
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	t.Setenv("SECRET", "s3cret")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("HOME", "/home/x")
	t.Setenv("PATH", "/bin")
	c := Cmd{Argv: []string{"env"}, Env: []string{"ADDED=a b"}}
	want := "PATH=/bin:" + sbin + "\nHOME=/home/x\nLANG=C.UTF-8\nADDED=a b\n"
	if r := succeed(t, c); string(r.Stdout) != want {
		t.Errorf("the environment is\n%swant\n%s", r.Stdout, want)
	}
}

// Cron and systemd do not set them all; an empty part of PATH would be the
// current directory.
func TestEnvironmentOfNothing(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("PATH", "")
	want := "PATH=/usr/local/bin:/usr/bin:/bin:" + sbin + "\nHOME=/\nLANG=C.UTF-8\n"
	if r := succeed(t, Cmd{Argv: []string{"env"}}); string(r.Stdout) != want {
		t.Errorf("the environment is\n%swant\n%s", r.Stdout, want)
	}
}

func TestNotFound(t *testing.T) {
	for _, name := range []string{"rplan-no-such-program", "/no/such/program", "/etc/passwd", "/usr"} {
		r, err := fail(t, Cmd{Argv: []string{name}}, strconv.Quote(name)+": executable file not found in $PATH")
		if !errors.Is(err, exec.ErrNotFound) || diag.KindOf(err) != diag.Unavailable || r.ExitCode != -1 {
			t.Errorf("kind %d, exit code %d", diag.KindOf(err), r.ExitCode)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", ".::"+dir)
	for _, name := range []string{"tool", "./tool", tool} {
		if path, err := LookPath(name); path != tool || err != nil {
			t.Errorf("LookPath(%q) = %q, %v", name, path, err)
		}
	}
	t.Setenv("PATH", ".:")
	if path, err := LookPath("tool"); err == nil {
		t.Errorf("found %q in the current directory", path)
	}
	if path, err := LookPath("chroot"); path != "/usr/sbin/chroot" {
		t.Errorf("LookPath of a program in sbin = %q, %v", path, err)
	}
}

// A program is foreign where its file, a directory above it or what it is a link to is not only root's.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	if path, err := Foreign("true"); path != "" || err != nil {
		t.Errorf("%q, %v", path, err)
	}
	mine := filepath.Join(dir, "true")
	for _, put := range []func() error{
		func() error { return os.Symlink("/usr/bin/true", mine) },
		func() error { return os.WriteFile(mine, []byte("#!/bin/sh\n"), 0o755) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if path, err := Foreign("true"); path != mine || err != nil {
			t.Errorf("%q, %v", path, err)
		}
		os.Remove(mine)
	}
	if _, err := Foreign("rplan-none"); diag.KindOf(err) != diag.Unavailable {
		t.Error(err)
	}
}

func TestExitStatus(t *testing.T) {
	r, err := fail(t, sh("echo out; echo what went wrong >&2; exit 3"), "\"/bin/sh\": exit status 3: out\nwhat went wrong")
	if string(r.Stdout) != "out\n" || r.ExitCode != 3 {
		t.Errorf("result is %+v", r)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Error("the exit status cannot be had from the error")
	}
	fail(t, sh("exit 1"), `"/bin/sh": exit status 1`)
	r, _ = fail(t, sh("kill -9 $$"), `"/bin/sh": signal: killed`)
	if r.ExitCode != -1 {
		t.Errorf("exit code is %d", r.ExitCode)
	}
}

func TestStderrCannotSteerTheTerminal(t *testing.T) {
	fail(t, sh(`printf 'one\n\033]0;x\a\ttwo \377\r\n' >&2; exit 1`), "\"/bin/sh\": exit status 1: one\n?]0;x?\ttwo ?")
}

func TestStdoutCannotSteerTheTerminal(t *testing.T) {
	fail(t, sh(`printf ' zone:2: \033[1mbad\302\233\377\n\n'; exit 1`), `"/bin/sh": exit status 1: zone:2: ?[1mbad??`)
}

func TestStdoutTail(t *testing.T) {
	r, err := Run(t.Context(), sh("seq 100000; echo the end >&2; exit 1"))
	if n := len(err.Error()); n > maxSaid+100 || n < maxSaid || !strings.HasSuffix(err.Error(), "\n100000\nthe end") {
		t.Errorf("the error has %d bytes", n)
	}
	if !bytes.HasPrefix(r.Stdout, []byte("1\n2\n")) {
		t.Errorf("stdout begins with %q", r.Stdout[:8])
	}
}

// The checkers of zones say what is wrong, and where, on standard output.
func TestCheckersWords(t *testing.T) {
	zone := filepath.Join(t.TempDir(), "bad.zone")
	text := "example.org. 60 IN SOA ns.example.org. h.example.org. 1 60 60 60 60\nexample.org. 60 IN NS ns.example.org.\nns 60 IN A 10.0.0\n"
	if err := os.WriteFile(zone, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for words, argv := range map[string][]string{
		"line 3 (invalid IPv4 address": {"kzonecheck", "-v", "-o", "example.org", zone},
		"bad.zone:3: ":                 {"named-checkzone", "-i", "local", "example.org", zone},
	} {
		need.Program(t, argv[0])
		if _, err := Run(t.Context(), Cmd{Argv: argv}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error is %v, want %q in it", err, words)
		}
	}
}

func TestEmptyCommand(t *testing.T) {
	r, err := fail(t, Cmd{}, "there is no program to run: the command is empty")
	if r.ExitCode != -1 || diag.KindOf(err) != diag.Failed {
		t.Errorf("result is %+v", r)
	}
}

func TestStderrTail(t *testing.T) {
	r, err := Run(t.Context(), sh("seq 100000 >&2; echo the end >&2; exit 1"))
	if len(r.Stderr) != maxSaid || !strings.HasSuffix(err.Error(), "\n100000\nthe end") {
		t.Errorf("%d bytes are kept; the error ends with %q", len(r.Stderr), r.Stderr[len(r.Stderr)-20:])
	}
}

func TestTail(t *testing.T) {
	for _, writes := range []string{"", "a", "abc", "a bc", "abcd", "ab cd", "abc defgh", "a b c d e f"} {
		w := &tail{max: 3}
		for b := range strings.SplitSeq(writes, " ") {
			if n, err := w.Write([]byte(b)); n != len(b) || err != nil {
				t.Errorf("Write(%q) = %d, %v", b, n, err)
			}
		}
		all := strings.ReplaceAll(writes, " ", "")
		if want := all[max(0, len(all)-3):]; string(w.kept) != want {
			t.Errorf("of %q it keeps %q, want %q", writes, w.kept, want)
		}
	}
}

func TestMaxOutput(t *testing.T) {
	c := sh("printf 12345678")
	c.MaxOutput = 8
	if r := succeed(t, c); string(r.Stdout) != "12345678" {
		t.Errorf("stdout is %q", r.Stdout)
	}
	c.MaxOutput = 7
	if r, _ := fail(t, c, `"/bin/sh": more than 7 bytes of output`); string(r.Stdout) != "1234567" {
		t.Errorf("stdout is %q", r.Stdout)
	}
	c = sh("exec yes") // which never ends by itself
	c.MaxOutput = 1000
	if r, _ := fail(t, c, `"/bin/sh": more than 1000 bytes of output`); !bytes.Equal(r.Stdout, bytes.Repeat([]byte("y\n"), 500)) {
		t.Errorf("stdout has %d bytes", len(r.Stdout))
	}
	c = sh("trap '' PIPE; while :; do echo y; done 2>/dev/null") // which does not care that nobody reads
	c.MaxOutput = 1000
	fail(t, c, `"/bin/sh": more than 1000 bytes of output`)
}

func TestTimeout(t *testing.T) {
	c := sh("exec sleep 1000")
	c.Timeout = short
	r, err := fail(t, c, `"/bin/sh": timed out after 100ms`)
	if !errors.Is(err, ErrTimeout) || r.ExitCode != -1 {
		t.Errorf("result is %+v", r)
	}
}

func TestCancel(t *testing.T) {
	why := errors.New("interrupted by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(short, func() { cancel(why) })
	_, err := Run(ctx, sh("exec sleep 1000"))
	if !errors.Is(err, why) || err.Error() != `"/bin/sh": interrupted by the test` {
		t.Errorf("error is %v", err)
	}
	r, err := Run(ctx, sh("echo ran"))
	if !errors.Is(err, context.Canceled) || len(r.Stdout) != 0 {
		t.Errorf("after the end of the context: %+v, %v", r, err)
	}
}

// interrupt runs a script that makes the file $1 when it is ready, and then is
// told to end.
func interrupt(t *testing.T, script string) Result {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ready); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r, err := Run(ctx, sh(script, ready))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	return r
}

// ended waits until a process is no more.
func ended(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("process %d still runs", pid)
}

func printedPid(t *testing.T, r Result) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(string(r.Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Neither a program that ignores SIGTERM nor its children outlive us.
func TestWholeGroupIsEnded(t *testing.T) {
	for name, script := range map[string]string{
		"meek":                 "sleep 1000 & echo $!; >$1; wait",
		"stubborn":             "trap '' TERM; sleep 1000 & echo $!; >$1; wait",
		"stubborn child":       "(trap '' TERM; >$1.child; exec sleep 1000) & echo $!; until [ -e $1.child ]; do sleep 0.01; done; >$1; wait",
		"quiet stubborn child": "(trap '' TERM; >$1.child; exec sleep 1000) >/dev/null 2>&1 & echo $!; until [ -e $1.child ]; do sleep 0.01; done; >$1; wait",
	} {
		t.Run(name, func(t *testing.T) { ended(t, printedPid(t, interrupt(t, script))) })
	}
}

// A program may end in its own way when it is told to.
func TestProgramMayCleanUp(t *testing.T) {
	r := interrupt(t, "trap 'echo cleaned; exit 0' TERM; >$1; while :; do sleep 0.01; done")
	if string(r.Stdout) != "cleaned\n" {
		t.Errorf("stdout is %q", r.Stdout)
	}
}

// What a program starts to stay, like a daemon, neither holds us up nor is ended.
func TestLeftBehindWithOutputOpen(t *testing.T) {
	for _, script := range []string{"sleep 1000 & echo $!", "sleep 1000 >/dev/null 2>&1 & echo $!"} {
		pid := printedPid(t, succeed(t, sh(script)))
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
		ended(t, pid)
	}
	r, err := Run(t.Context(), sh("sleep 1000 & echo $!; exit 4"))
	pid := printedPid(t, r)
	syscall.Kill(pid, syscall.SIGKILL)
	if want := fmt.Sprintf(`"/bin/sh": exit status 4: %d`, pid); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// TestTooMuchOutput: who goes on for long after it is ended, also if it says no more.
func TestTooMuchOutput(t *testing.T) {
	began := time.Now()
	result, err := Run(context.Background(), Cmd{Argv: []string{"sh", "-c", "trap '' PIPE; echo 123456789; exec sleep 60"}, MaxOutput: 5})
	if err == nil || !strings.Contains(err.Error(), "more than 5 bytes") || string(result.Stdout) != "12345" {
		t.Errorf("%q, %v", result.Stdout, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it was waited for: %s", took)
	}
}
