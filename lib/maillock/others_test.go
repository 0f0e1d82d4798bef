package maillock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// says runs a program to its end and checks what it prints.
func says(t *testing.T, want string, cmd *exec.Cmd) {
	t.Helper()
	out, _ := cmd.CombinedOutput()
	if !strings.HasPrefix(string(out), want) {
		t.Errorf("%q says %q, want %q", cmd.Args, out, want)
	}
}

func TestPythonMailbox(t *testing.T) {
	dir := scene(t)
	mbox := filepath.Join(dir, "mbox")
	for kind, want := range map[string]string{"dotlock": "dot lock unavailable: ", "fcntl": "lockf: lock unavailable: "} {
		l := must(t, kind, dir, 0)
		says(t, want, python(t, "mbox.py", "try", mbox))
		l.Release()
		says(t, "held", python(t, "mbox.py", "try", mbox))
	}
	o := start(t, "held", python(t, "mbox.py", "hold", mbox))
	refused(t, "fcntl", dir, 0, fmt.Sprintf("process %d", o.pid()))
	refused(t, "dotlock", dir, 0, "a process that does not say which it is, for ")
	o.end()
	must(t, "fcntl", dir, 0).Release()
	must(t, "dotlock", dir, 0).Release()
}

// A POSIX lock would be lost when any descriptor of the file is closed; this one is not.
func TestFcntlOutlivesOtherDescriptors(t *testing.T) {
	dir := scene(t)
	l := must(t, "fcntl", dir, 0)
	if f, err := os.Open(l.File().Name()); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	says(t, "lockf: lock unavailable: ", python(t, "mbox.py", "try", l.File().Name()))
	l.Release()
}

func TestFcntlOfReplacedFile(t *testing.T) {
	dir := scene(t)
	mbox := filepath.Join(dir, "mbox")
	first := must(t, "fcntl", dir, 0)
	if err := errors.Join(os.WriteFile(mbox+".new", nil, 0o640), os.Rename(mbox+".new", mbox)); err != nil {
		t.Fatal(err)
	}
	if first.Check() == nil {
		t.Error("that the file was replaced is not seen")
	}
	second := must(t, "fcntl", dir, 0)
	refused(t, "fcntl", dir, 0, "another process")
	first.Release()
	refused(t, "fcntl", dir, 0, "another process")
	second.Release()
	for _, path := range []string{"link", "dir"} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.RemoveAll(path), os.Symlink("mbox", filepath.Join(dir, "link"))); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		os.Mkdir(filepath.Join(dir, "dir"), 0o755)
		if _, err := Fcntl(t.Context(), path, 0); diag.KindOf(err) != diag.CantCreate {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDotlockfile(t *testing.T) {
	dir := scene(t)
	path := filepath.Join(dir, "mbox.lock")
	program := need.Program(t, "dotlockfile")
	lock := func(args ...string) error {
		return exec.Command(program, append(append([]string{"-l", "-q", "-r", "0"}, args...), path)...).Run()
	}
	l := must(t, "dotlock", dir, 0)
	if lock() == nil || lock("-p") == nil {
		t.Fatal("dotlockfile takes it away")
	}
	l.Release()
	if err := lock("-p"); err != nil {
		t.Fatal(err)
	}
	refused(t, "dotlock", dir, 0, fmt.Sprintf("process %d, for ", os.Getpid())) // dotlockfile writes its parent's
	if err := exec.Command(program, "-u", path).Run(); err != nil {
		t.Fatal(err)
	}
	must(t, "dotlock", dir, 0).Release()
	// Those that are stale for us are for it.
	o := startOurs(t, "dotlock", dir)
	o.kill()
	if err := lock("-p"); err != nil {
		t.Errorf("a dead process's lock: %v", err)
	}
}

func TestStaleDotlocks(t *testing.T) {
	dead := exec.Command(need.Program(t, "true"))
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	gone := fmt.Sprint(dead.Process.Pid)
	for _, c := range []struct {
		content string
		age     time.Duration
		holder  string // "" if it is broken
	}{
		{gone + "\n", time.Hour, ""},
		{gone, 6 * time.Minute, ""},
		{gone + "\n", 4 * time.Minute, "process " + gone + ", which is gone, or on another host"},
		{fmt.Sprintln(os.Getpid()), time.Hour, fmt.Sprintf("process %d, for 60 min", os.Getpid())},
		{"1\n", 72 * time.Hour, "process 1, for 3 days"},
		{"", time.Hour, "a process that does not say which it is, for 60 min"},
		{"0", time.Hour, "a process that does not say which it is, for 60 min"},
		{"-1\n", time.Hour, "a process that does not say which it is, for 60 min"},
		{"no number\n", 3 * time.Hour, "a process that does not say which it is, for 3 h"},
		{"99999999999999999999\n", time.Hour, "a process that does not say which it is, for 60 min"},
	} {
		dir := scene(t)
		path := filepath.Join(dir, "mbox.lock")
		then := time.Now().Add(-c.age)
		if err := errors.Join(os.WriteFile(path, []byte(c.content), 0o644), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
		if c.holder == "" {
			must(t, "dotlock", dir, 0).Release()
			continue
		}
		refused(t, "dotlock", dir, 0, c.holder)
		if b, err := os.ReadFile(path); string(b) != c.content {
			t.Errorf("%q became %q, %v", c.content, b, err)
		}
	}
}

func TestMailmansLockFile(t *testing.T) {
	dir := scene(t)
	lock := filepath.Join(dir, "dev.lock")
	host, _ := os.Hostname()
	l := must(t, "mailman", dir, 0)
	says(t, "timed out", python(t, "mailman.py", "hold", lock, "15", "0.2"))
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	l.Release()
	o := start(t, "held", python(t, "mailman.py", "hold", lock, "15"))
	refused(t, "mailman", dir, 0, fmt.Sprintf("process %d on %q", o.pid(), host))
	time.AfterFunc(poll, func() { o.stdin.Close() })
	must(t, "mailman", dir, long).Release()

	// Theirs, when it has ended: ten seconds are granted, and all the time to a process that is there.
	end := func(ago time.Duration) {
		then := time.Now().Add(-ago)
		if err := os.Chtimes(lock, then, then); err != nil {
			t.Fatal(err)
		}
	}
	o = start(t, "held", python(t, "mailman.py", "hold", lock, "15"))
	end(time.Minute)
	refused(t, "mailman", dir, 0, fmt.Sprintf("process %d on %q, which should have given it up 60 s ago", o.pid(), host))
	o.kill()
	end(5 * time.Second)
	refused(t, "mailman", dir, 0, fmt.Sprintf("process %d on %q", o.pid(), host))
	end(11 * time.Second)
	must(t, "mailman", dir, 0).Release()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("of a broken lock there is left %q", left)
	}

	// Ours, when it has: Mailman breaks it, and what we do next is not under the lock.
	l = must(t, "mailman", dir, 0)
	end(11 * time.Second)
	o = start(t, "held", python(t, "mailman.py", "hold", lock, "15"))
	if l.Check() == nil {
		t.Error("that Mailman broke it is not seen")
	}
	l.Release()
	o.end()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
}

// What a lock says of its claim is not to be trusted.
func TestMailmanForeignLocks(t *testing.T) {
	then := time.Now().Add(-time.Hour)
	for _, claim := range []string{"", "mbox", "DIR/mbox", "DIR/dev.lock.x/../../mbox", "DIR/dev.lock.elsewhere.1.0", "DIR/other.lock.h.1.1"} {
		dir := scene(t)
		lock := filepath.Join(dir, "dev.lock")
		if err := errors.Join(os.WriteFile(lock, []byte(strings.ReplaceAll(claim, "DIR", dir)), 0o664), os.Chtimes(lock, then, then)); err != nil {
			t.Fatal(err)
		}
		must(t, "mailman", dir, 0).Release()
		if _, err := os.Stat(filepath.Join(dir, "mbox")); err != nil {
			t.Errorf("a lock that says %q: %v", claim, err)
		}
	}
	for _, list := range []string{"", "a/b", "../dev"} {
		if _, err := Mailman(t.Context(), t.TempDir(), list, 0); diag.KindOf(err) != diag.CantCreate {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestClaimant(t *testing.T) {
	for claim, want := range map[string]string{
		"/l/dev.lock.node1.example.org.4711.0": "node1.example.org 4711",
		"/l/dev.lock.node1.4711":               "node1 4711",
		"/l/dev.lock.node1":                    " 0",
		"/l/dev.lock.4711":                     " 0",
		"/l/other.lock.node1.4711.0":           " 0",
		"":                                     " 0",
	} {
		if host, pid := claimant("/l/dev.lock", claim); fmt.Sprint(host, " ", pid) != want {
			t.Errorf("%q is of %q %d", claim, host, pid)
		}
	}
}

func TestRealMHonArc(t *testing.T) {
	dir := scene(t)
	program := need.Program(t, "mhonarc")
	run := func() (string, error) {
		out, err := exec.Command(program, "-quiet", "-add", "-outdir", dir, "-locktries", "1", "-lockdelay", "0", filepath.Join(dir, "mbox")).CombinedOutput()
		return string(out), err
	}
	l := must(t, "mhonarc", dir, 0)
	if out, err := run(); err == nil || !strings.Contains(out, "Unable to lock") {
		t.Errorf("mhonarc runs under our lock: %v: %s", err, out)
	}
	l.Release()
	if out, err := run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "maillist.html")); err != nil {
		t.Error(err)
	}

	// One that a killed mhonarc left stays.
	lock := filepath.Join(dir, ".mhonarc.lck")
	if err := os.Mkdir(lock, 0o777); err != nil {
		t.Fatal(err)
	}
	refused(t, "mhonarc", dir, 0, "mhonarc, for 0 s")
	then := time.Now().Add(-3 * time.Hour)
	os.Chtimes(lock, then, then)
	refused(t, "mhonarc", dir, 0, "mhonarc, for 3 h")
	_, err := MHonArc(t.Context(), dir, 0)
	if want := fmt.Sprintf("if no mhonarc is running, remove the directory %q", lock); diag.HintOf(err) != want {
		t.Errorf("the hint is %q, want %q", diag.HintOf(err), want)
	}
	os.Remove(lock)
	// And one of its flock method is none for us.
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := MHonArc(t.Context(), dir, 0); diag.KindOf(err) != diag.CantCreate {
		t.Errorf("a file: %v", err)
	}
}
