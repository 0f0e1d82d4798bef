package unlock

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/store"
)

// hunt looks for passphrases where none may be, by the disk that each opens.
type hunt map[string]string

const piece = 12 // letters of a passphrase that nobody has by chance

// in are the disks of whose passphrases a part is in a text.
func (h hunt) in(text []byte) (disks []string) {
	for disk, passphrase := range h {
		for at := 0; at+piece <= len(passphrase); at += piece {
			if bytes.Contains(text, []byte(passphrase[at:at+piece])) {
				disks = append(disks, disk)
				break
			}
		}
	}
	slices.Sort(disks)
	return disks
}

// inMemory are those in the memory that a process can write; none of one that has ended.
func (h hunt) inMemory(pid int) (disks []string) {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); n != 3 || mode[:2] != "rw" {
			continue
		}
		for chunk := make([]byte, 1<<20); from < to; from += 1<<20 - 64 { // a passphrase may lie across
			n, _ := mem.ReadAt(chunk[:min(to-from, 1<<20)], int64(from))
			disks = append(disks, h.in(chunk[:n])...)
		}
	}
	slices.Sort(disks)
	return slices.Compact(disks)
}

// nowhere: not in the command lines and environments of this machine, nor in files below these directories.
func (h hunt) nowhere(t *testing.T, when string, dirs ...string) {
	t.Helper()
	looked := 0
	look := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			return // it has ended
		}
		looked++
		if disks := h.in(text); len(disks) > 0 {
			t.Errorf("%s: the passphrase of %q is in %s", when, disks, path)
		}
	}
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		all, _ := filepath.Glob(pattern)
		for _, path := range all {
			look(path)
		}
	}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				look(path)
			}
			return nil
		})
	}
	if looked < 10 {
		t.Errorf("%s: only %d texts were looked at", when, looked)
	}
}

// below are the processes that a process started, and those that these did.
func below(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, word := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(word)
			all = append(append(all, child), below(child)...)
		}
	}
	return all
}

// child is what was seen of one.
type child struct {
	argv []string
	has  []string // in its memory, at any time
}

// watch looks at the memory of all that a process starts until it ends.
func (h hunt) watch(pid int, done <-chan struct{}) map[int]*child {
	all := map[int]*child{}
	for {
		self, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // a shell, at first
		for _, pid := range below(pid) {
			if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe == self {
				continue // it has been made, and is no program of its own yet: all its memory is its parent's
			}
			c := all[pid]
			if c == nil {
				c = &child{}
				all[pid] = c
			}
			c.has = append(c.has, h.inMemory(pid)...)
			slices.Sort(c.has)
			c.has = slices.Compact(c.has)
			// Last, as it is of another program a moment after it was started.
			if argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(argv) > 0 {
				c.argv = strings.Split(strings.TrimRight(string(argv), "\x00"), "\x00")
			}
		}
		select {
		case <-done:
			return all
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// canaries gives each disk a passphrase that is nowhere else, in the store too.
func (d *desk) canaries(disks ...string) hunt {
	d.Helper()
	h := hunt{}
	for _, disk := range disks {
		p, err := store.Generate(rand.Reader)
		d.ok(err)
		h[disk] = string(p.Bytes())
		addKey(d.T, filepath.Join(d.root, "disk-"+disk), h[disk])
		d.seal("n1", disk, h[disk])
	}
	return h
}

// called is a run of a program from a directory of its own, in which it may leave core dumps of any size.
type called struct {
	*exec.Cmd
	dir, said string
	done      chan struct{}
}

func (d *desk) call(env []string, argv ...string) *called {
	d.Helper()
	c := &called{dir: filepath.Join(d.dir, "cwd"), said: filepath.Join(d.dir, "said"), done: make(chan struct{})}
	for _, name := range []string{"cwd", "home", "tmp"} {
		d.ok(os.MkdirAll(d.path(name), 0o700))
	}
	out, err := os.Create(c.said)
	d.ok(err)
	c.Cmd = exec.Command("sh", append([]string{"-c", `ulimit -c unlimited; exec "$@"`, "sh"}, argv...)...)
	c.Dir, c.Stdout, c.Stderr = c.dir, out, out
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.path("home"), "TMPDIR=" + d.path("tmp"), "SSH_AUTH_SOCK=" + os.Getenv("SSH_AUTH_SOCK")}, env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.ok(c.Start())
	go func() { _ = c.Wait(); out.Close(); close(c.done) }()
	d.Cleanup(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL); <-c.done })
	return c
}

// end waits for it, and returns what it printed.
func (c *called) end(t *testing.T) string {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		t.Error("it does not end")
	}
	said, _ := os.ReadFile(c.said)
	return string(said)
}

// cores are the core dumps that are where this kernel puts them, core(5); and whether it makes files of them.
func (c *called) cores(t *testing.T) (all []string, files bool) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.HasPrefix(string(text), "|") {
		return nil, false
	}
	pattern, _, _ := strings.Cut(strings.TrimSpace(string(text)), "%")
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(c.dir, pattern)
	}
	all, _ = filepath.Glob(pattern + "*")
	return all, true
}
