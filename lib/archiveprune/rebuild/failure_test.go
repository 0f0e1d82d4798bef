package rebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
	"rplan/tests/need"
)

// TestMain is also the victim of the test that kills: it rebuilds, over and over.
func TestMain(m *testing.M) {
	dir := os.Getenv("REBUILD_VICTIM")
	if dir == "" {
		os.Exit(m.Run())
	}
	tree, err := os.OpenRoot(dir)
	for err == nil {
		_, err = Rebuild(context.Background(), Options{Tree: tree, Dest: dest, Replace: true, Messages: mails(series(60)...)})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// series are n mails with an attachment each.
func series(n int) (texts []string) {
	for i := range n {
		texts = append(texts, mixed(fmt.Sprintf("%d@x", i), fmt.Sprint("no. ", i), "\r\ntext\r\n", part("application/pdf", "attachment", bytes.Repeat([]byte{byte(i)}, 2000))))
	}
	return texts
}

// instead has another program do mhonarc's work: a script.
func instead(t *testing.T, script string) {
	t.Helper()
	theirs, name := mhonarc, filepath.Join(t.TempDir(), "mhonarc")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	mhonarc = name
	t.Cleanup(func() { mhonarc = theirs })
}

// Whenever it is killed, the pages are all there or none is, and the next one clears up.
func TestKilled(t *testing.T) {
	need.Program(t, "mhonarc")
	tree, random := tree(t), rand.New(rand.NewPCG(5, 6))
	left := 0
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "REBUILD_VICTIM="+tree.Name())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		children := childrenOf(cmd.Process.Pid)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("%v: %s", err, &stderr)
		}
		if _, err := tree.Lstat(dest); err == nil {
			whole(t, tree, 60)
		}
		if entries, err := fs.ReadDir(tree.FS(), hidden); err == nil {
			left += len(entries)
		}
		if random.IntN(2) == 0 { // or it is still at work while the next one is
			for _, pid := range children {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		rebuilt(t, tree, Options{Replace: true}, series(60)...)
		whole(t, tree, 60)
		if entries, err := fs.ReadDir(tree.FS(), hidden); err != nil || len(entries) > 0 {
			t.Errorf("%v is left, %v", entries, err)
		}
		for _, pid := range children {
			gone(t, pid)
		}
	}
	if left == 0 {
		t.Error("none was killed at work")
	}
}

// whole fails unless there are the pages of a series.
func whole(t *testing.T, tree *os.Root, n int) {
	t.Helper()
	got := read(t, tree)
	if len(got) != n {
		t.Fatalf("%d pages, want %d", len(got), n)
	}
	for i, p := range got {
		if p.id != fmt.Sprintf("%d@x", i) || len(p.files) != 1 || p.files[0] != strings.Repeat(string([]byte{byte(i)}), 2000) {
			t.Fatalf("page %d is of %q", i, p.id)
		}
	}
}

func childrenOf(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		if f := strings.Fields(string(rest)); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(strings.Split(name, "/")[2])
			pids = append(pids, child)
		}
	}
	return pids
}

// gone waits for the end of a process whose directory was taken from it.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(cmdline, []byte("mhonarc")) {
			return
		}
	}
	t.Errorf("process %d still runs", pid)
	syscall.Kill(pid, syscall.SIGKILL)
}

func TestWithoutMHonArc(t *testing.T) {
	theirs := mhonarc
	t.Cleanup(func() { mhonarc = theirs })
	mhonarc = "rplan-none"
	tree := tree(t)
	_, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: mails(plain)})
	if diag.KindOf(err) != diag.Unavailable || diag.HintOf(err) != "install Debian's mhonarc" {
		t.Errorf("%v, %s", err, diag.HintOf(err))
	}
	nothing(t, tree)
}

func TestMHonArcFails(t *testing.T) {
	const write = `>db; while [ "$1" != -outdir ]; do shift; done; cd "$2"; `
	for script, want := range map[string]string{
		"echo what is wrong >&2; exit 3":         "exit status 3: what is wrong",
		"kill -9 $$":                             "signal: killed",
		"exit 0":                                 "stopped before its end",
		">db":                                    "no page of 1 messages",
		write + "printf '<html>' >msg00000.html": `only a part of "msg00000.html"`,
		write + ": >msg00000.html":               `only a part of "msg00000.html"`,
		write + "ln -s /etc/passwd msg00000.html":                      "no regular file",
		write + "printf '</html>\\n' >index.html":                      "no page of 1 messages",
		write + "printf '</html>\\n' >msg00000.html; mkfifo x; exit 0": "no regular file",
	} {
		instead(t, script)
		tree := tree(t)
		_, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: mails(plain)})
		if err == nil || !strings.Contains(err.Error(), want) || diag.KindOf(err) != diag.Failed {
			t.Errorf("%s: %v", script, err)
		}
		nothing(t, tree)
	}
}

func TestEnded(t *testing.T) {
	instead(t, "exec sleep 1000")
	tree := tree(t)
	_, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: mails(plain), Timeout: 100 * time.Millisecond})
	if !errors.Is(err, run.ErrTimeout) {
		t.Error(err)
	}
	nothing(t, tree)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Rebuild(ctx, Options{Tree: tree, Dest: dest, Messages: mails(plain)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	nothing(t, tree)
}

// A mbox that cannot be read is no shorter mbox.
func TestReadingFails(t *testing.T) {
	tree, bad := tree(t), errors.New("bad sector")
	need.Program(t, "mhonarc")
	for _, messages := range []func(func(io.Reader, error) bool){
		func(yield func(io.Reader, error) bool) { _ = yield(strings.NewReader(plain), nil) && yield(nil, bad) },
		func(yield func(io.Reader, error) bool) {
			yield(io.MultiReader(strings.NewReader(plain), failure{bad}), nil)
		},
		func(yield func(io.Reader, error) bool) {
			yield(io.MultiReader(strings.NewReader("From x"), failure{bad}), nil)
		},
		func(yield func(io.Reader, error) bool) { yield(failure{bad}, nil) },
	} {
		if _, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: messages}); !errors.Is(err, bad) {
			t.Error(err)
		}
		nothing(t, tree)
	}
}

type failure struct{ err error }

func (f failure) Read([]byte) (int, error) { return 0, f.err }

// Nobody else has a workshop: another's is left alone while it is at work.
func TestOthersWorkshop(t *testing.T) {
	tree := tree(t)
	w, err := newWorkshop(tree)
	if err != nil {
		t.Fatal(err)
	}
	rebuilt(t, tree, Options{}, plain)
	if _, err := w.root.Stat("."); err != nil {
		t.Error(err)
	}
	if _, err := tree.Stat(hidden + "/" + w.name); err != nil {
		t.Error(err)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

func TestDiskFull(t *testing.T) {
	need.Root(t)
	need.Program(t, "mhonarc")
	dir := t.TempDir()
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Fatal("making a mount namespace: ", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	tree := treeAt(t, dir)
	refused, done := 0, 0
	for size := 100; size <= 1000; size += 60 {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", size)); err != nil {
			t.Fatal(err)
		}
		_, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: mails(series(40)...)})
		if err == nil {
			done++
			whole(t, tree, 40)
			if err := tree.RemoveAll(dest); err != nil {
				t.Fatal(err)
			}
			continue
		}
		refused++
		if diag.KindOf(err) != diag.CantCreate {
			t.Errorf("%d KiB: %v", size, err)
		}
		nothing(t, tree)
	}
	if refused < 5 || done < 2 {
		t.Errorf("%d were refused, %d done", refused, done)
	}
}

// What mhonarc could not write to its end, without a word or an exit status, is noticed, also when the disk has room again.
func TestCutShort(t *testing.T) {
	theirs := need.Program(t, "mhonarc", "strace")
	file, long := mixed("1@x", "file", "\r\ntext\r\n", part("application/pdf", "attachment", make([]byte, 100_000))), plain+strings.Repeat("text\n", 20_000)
	const full = "strace -qq -o /dev/null -e trace=write -e inject=write:error=ENOSPC:when=1 "
	for _, c := range []struct{ mail, how, want string }{
		{file, full, "has not all of its 100000 bytes"},
		{file, "ulimit -f 40; ", "signal caught: SIGXFSZ"},
		{long, "ulimit -f 40; ", `only a part of "msg00000.html"`},
	} {
		instead(t, c.how+theirs+` "$@"`)
		tree := tree(t)
		_, err := Rebuild(t.Context(), Options{Tree: tree, Dest: dest, Messages: mails(c.mail)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
		nothing(t, tree)
	}
}

// No program but perl is started, and nothing is asked of the network.
func TestKeepsToItself(t *testing.T) {
	need.Program(t, "strace", "mhonarc")
	log := filepath.Join(t.TempDir(), "log")
	instead(t, fmt.Sprintf(`exec strace -f -qq -e trace=%%network,execve -e signal=none -o %s mhonarc "$@"`, log))
	tree := tree(t)
	rebuilt(t, tree, Options{}, append(series(3), plain,
		"From: a@example.org\nMessage-ID: <x@x>\nContent-Type: message/external-body; access-type=anon-ftp; site=example.net; name=x\n\nhttp://example.net/\n",
		"From: a@example.org\nMessage-ID: <y@x>\nContent-Type: text/html\n\n<img src=http://example.net/x.gif>\n")...)
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(said)) {
		if !strings.Contains(line, `"/usr/bin/mhonarc"`) && !strings.Contains(line, "/mhonarc\", [") {
			t.Errorf("mhonarc did: %s", line)
		}
	}
	if !bytes.Contains(said, []byte("execve(")) {
		t.Errorf("strace saw %q", said)
	}
}
