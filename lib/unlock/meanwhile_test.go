package unlock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What happens in the node, and at the desk, while a test runs.

// processes are those in the node whose program, or a word of whose command line, is this.
func (d *desk) processes(name string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || !strings.HasPrefix(exe, d.root+"/") {
			continue
		}
		line, _ := os.ReadFile(dir + "/cmdline")
		words := strings.Split(string(line), "\x00")
		for _, word := range append(words, exe) {
			if filepath.Base(word) == name {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// cut ends every SSH session with the node, as a line that breaks, and the server too.
func (d *desk) cut() {
	for _, pid := range d.processes("dropbear") {
		p, _ := os.FindProcess(pid)
		_ = p.Kill()
	}
}

// until waits for something in the node.
func (d *desk) until(what string, is func() bool) {
	d.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.Errorf("not yet: %s", what)
			return
		}
	}
}

// asks says whether the node waits for a passphrase.
func (d *desk) asks() bool { return len(d.processes("askpass")) > 0 }

// sent says whether one was given and is being tried.
func (d *desk) sent() bool { return !d.asks() && len(d.processes("cryptsetup")) > 0 }

// asked runs it so that it asks the admin, and does something before the answer: what was
// seen of the node is old by then.
func (d *desk) asked(o Options, meanwhile func()) error {
	d.Helper()
	put(d.T, filepath.Join(d.root, "boot/rplan-alive"), "1")
	d.now = func() time.Time { return time.Now().Add(8 * time.Minute) }
	d.ok(d.do(Options{Planned: true, Why: "new memory", For: time.Hour}))
	d.env.Interactive, d.env.Stdin = true, &answer{strings.NewReader("n1\n"), meanwhile}
	return d.do(o)
}

type answer struct {
	io.Reader
	before func()
}

func (a *answer) Read(b []byte) (int, error) {
	if a.before != nil {
		a.before()
		a.before = nil
	}
	return a.Reader.Read(b)
}

// unlocked are the entries of the journal about that.
func (d *desk) unlocked(want ...string) {
	d.Helper()
	var got []string
	for _, e := range d.entries() {
		if e.What == "unlock" {
			got = append(got, e.Result)
		}
	}
	slices.Sort(got) // two of the same second have no order
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.Errorf("the journal has %q, not %q", got, want)
	}
}

// atPrompt is how many sessions are about to give a passphrase.
func (d *desk) atPrompt() (n int) {
	for _, pid := range d.processes("cryptroot-unlock") {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/1", pid))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasSuffix(to, "/passfifo") {
				n++
			}
		}
	}
	return n
}

// hold makes the node take its time with each passphrase that it is given, until it is released.
func (d *desk) hold() { d.Helper(); d.put(held, "") }

func (d *desk) release() { _ = os.Remove(filepath.Join(d.root, held)) }

// other is another admin's session with the node, by hand, at its prompt.
func (d *desk) other() (give func(passphrase string)) {
	d.Helper()
	argv := d.inside("/bin/cryptroot-unlock")
	cmd := exec.Command(argv[0], argv[1:]...)
	stdin, err := cmd.StdinPipe()
	d.ok(err)
	stdout, err := cmd.StdoutPipe()
	d.ok(err)
	d.ok(cmd.Start())
	d.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, promptWords) {
		d.Fatalf("%q, %v", line, err)
	}
	return func(passphrase string) { fmt.Fprint(stdin, passphrase); stdin.Close() }
}

func (d *desk) says(words ...string) {
	d.Helper()
	for _, word := range words {
		if said := d.out.String() + d.errs.String(); !strings.Contains(said, word) {
			d.Errorf("%q is not in\n%s", word, said)
		}
	}
}
