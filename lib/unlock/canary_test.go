package unlock

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/tests/need"
)

// TestCanary: in a whole run, a passphrase is in the memory of rp-unlock and of the one ssh that it is handed to, and nowhere else.
func TestCanary(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	h := d.canaries("root", "data_1")
	d.enrolled()
	d.hold()
	d.comesUp("root", "data_1")
	c := d.call(nil, built(t), "--config", d.path("rplan.toml"), "n1")
	seen := make(chan map[int]*child, 1)
	go func() { seen <- h.watch(c.Process.Pid, c.done) }()
	d.until("the first is tried", d.sent)
	h.nowhere(t, "while it runs", d.dir)
	if has := h.inMemory(c.Process.Pid); !slices.Contains(has, "data_1") { // so that we know that it would be found
		t.Errorf("rp-unlock itself has %q", has)
	}
	d.release()
	d.until("the first is open", func() bool { return d.opened("root") })
	d.hold()
	d.until("the second is tried", d.sent)
	h.nowhere(t, "while it runs", d.dir)
	d.release()
	said := c.end(t)
	if !c.ProcessState.Success() || !strings.Contains(said, "node n1 is up") {
		t.Errorf("%v: %s", c.ProcessState, said)
	}
	h.nowhere(t, "after it", d.dir)

	handed, programs := []string{}, map[string]int{}
	for _, child := range <-seen {
		if len(child.argv) == 0 {
			continue
		}
		programs[filepath.Base(child.argv[0])]++
		if child.argv[0] == "ssh" && slices.Contains(child.argv, "cryptroot-unlock") {
			handed = append(handed, strings.Join(child.has, " and "))
			continue
		}
		if len(child.has) > 0 {
			t.Errorf("%q has the passphrases of %q", child.argv, child.has)
		}
	}
	slices.Sort(handed)
	t.Logf("seen %v; in the two ssh that were handed something: %q", programs, handed)
	for _, one := range handed {
		if strings.Contains(one, " and ") {
			t.Errorf("one ssh has the passphrases of %s", one)
		}
	}
	if len(handed) != 2 || programs["ssh"] < 3 { // the probe, or the look at the system, may be quick
		t.Errorf("not all that it started was seen: %v", programs)
	}
}

// TestCanaryOfTheKilled: nor is one in anything that is left of a run which is killed, or breaks, while it has them.
func TestCanaryOfTheKilled(t *testing.T) {
	disks := []string{"root", "data_1", "data_2", "data_3"}
	d := newDesk(t, disks...)
	d.listens("boot", d.boot)
	h := d.canaries(disks...)
	d.enrolled()
	program := built(t)

	// What breaks here as rp-unlock must not leaves a core dump, or there are none on this machine.
	broken := d.call(nil, "sh", "-c", "kill -ABRT $$")
	broken.end(t)
	control, files := broken.cores(t)
	for _, path := range control {
		_ = os.Remove(path)
	}
	if files && len(control) == 0 {
		t.Error("a program that breaks leaves no core dump here: that rp-unlock leaves none is not shown")
	}
	if !files {
		t.Log("this kernel hands core dumps to a program: that there is none is not shown")
	}
	crash := []string{"GOTRACEBACK=crash"} // the most that can be told of a crash
	for i, c := range []struct {
		what string
		argv []string
		kill func(pid int)
	}{
		{"SIGQUIT at the terminal", []string{program, "--config", d.path("rplan.toml"), "n1"}, func(pid int) { _ = syscall.Kill(-pid, syscall.SIGQUIT) }},
		{"SIGABRT", []string{program, "--config", d.path("rplan.toml"), "n1"}, func(pid int) { _ = syscall.Kill(pid, syscall.SIGABRT) }},
		{"SIGSEGV", []string{program, "--config", d.path("rplan.toml"), "n1"}, func(pid int) { _ = syscall.Kill(-pid, syscall.SIGSEGV) }},
		{"a panic", []string{"/proc/self/exe", panicking, d.path("rplan.toml"), "disk data_3: open"}, nil},
	} {
		if c.argv[0] == "/proc/self/exe" {
			self, err := os.Executable()
			d.ok(err)
			c.argv[0] = self
		}
		d.hold()
		run := d.call(crash, c.argv...)
		d.until(c.what+": it is tried", d.sent)
		if c.kill != nil {
			if has := h.inMemory(run.Process.Pid); !slices.Contains(has, "data_3") {
				t.Errorf("%s: it has %q", c.what, has)
			}
			c.kill(run.Process.Pid)
		} else {
			d.release()
		}
		said := run.end(t)
		if run.ProcessState.Success() || !strings.Contains(said, "goroutine ") {
			t.Errorf("%s: %v: %s", c.what, run.ProcessState, said)
		}
		if left, _ := run.cores(t); len(left) > 0 {
			t.Errorf("%s: there is %q", c.what, left)
		}
		h.nowhere(t, c.what, d.dir)
		d.release()
		d.until(c.what+": the node has done", func() bool { return d.opened(disks[i]) && len(d.processes("cryptroot-unlock")) == 0 })
	}
}

// panicking, as the first argument of the test program, makes it run rp-unlock's package until it says certain words, and panic there.
const panicking = "rp-unlock-that-panics"

func asPanicking(config, words string) {
	w := &panics{words: []byte(words)}
	env := &app.Env{Stdin: bytes.NewReader(nil), Stdout: os.Stdout, Stderr: w, Now: time.Now}
	fmt.Println(Run(context.Background(), env, Options{Config: config, Node: "n1"}))
}

type panics struct{ words []byte }

func (p *panics) Write(b []byte) (int, error) {
	if bytes.Contains(b, p.words) {
		panic("as the test wants it")
	}
	return os.Stderr.Write(b)
}

// TestNotDumpable: no other process of the same user can look into its memory, or its environment, once it has begun.
func TestNotDumpable(t *testing.T) {
	need.Root(t)
	dir, err := os.MkdirTemp("/tmp", "rplan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	program, config := filepath.Join(dir, "rp-unlock"), filepath.Join(dir, "rplan.toml")
	text, err := os.ReadFile(built(t))
	if err != nil {
		t.Fatal(err)
	}
	put(t, program, string(text))
	for _, err := range []error{os.Chmod(dir, 0o755), syscall.Mkfifo(config, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(pid int) string {
		cmd := exec.Command("cat", fmt.Sprintf("/proc/%d/environ", pid))
		cmd.SysProcAttr, cmd.Dir = nobody, "/"
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	// It waits for its configuration, which never comes.
	for argv, want := range map[*[]string]string{{"sleep", "100"}: "MARK=1", {program, "--config", config, "n1"}: "Permission denied"} {
		cmd := exec.Command((*argv)[0], (*argv)[1:]...)
		cmd.Env, cmd.SysProcAttr, cmd.Dir = []string{"MARK=1", "HOME=/"}, nobody, "/"
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got := ""
		for end := time.Now().Add(10 * time.Second); !strings.Contains(got, want) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			got = look(cmd.Process.Pid)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", *argv, got, want)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
