package unlock

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/secret"
	"rplan/tests/crypt"
	"rplan/tests/need"
)

// scripted is a conversation about these disks with a node whose systemd asks, run by this shell there.
func (w *machine) scripted(shell string, passphrases map[string]string, disks ...string) *hand {
	h := &hand{asks: systemd, prompt: 8 * time.Second, answer: 20 * time.Second, open: func(name string) *secret.Secret {
		text, ok := passphrases[name]
		if !ok {
			return nil
		}
		return crypt.Secret(w, text)
	}}
	h.argv = append(w.inside(strings.Fields(shell)...), "-c", systemdCommand(disks, h.prompt, h.answer))
	return h
}

// right is that with each disk's passphrase, which dracut's shell runs.
func (w *machine) right(disks ...string) *hand {
	all := map[string]string{}
	for _, name := range disks {
		all[name] = "secret of " + name
	}
	return w.scripted("/bin/sh", all, disks...)
}

// asked waits until the probe says that this is asked for, and nothing else.
func (w *machine) asked(want map[string]Prompt) {
	w.Helper()
	until(w.T, fmt.Sprintf("prompt as in %v", want), func() bool { return maps.Equal(w.prompts(), want) })
}

// TestSystemd: each shell that an initramfs may have hands over what it was given, whatever is in it.
func TestSystemd(t *testing.T) {
	for _, shell := range []string{"/bin/bash", "/bin/dash", "/bin/busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			w := waitSystemd(t, "discard,timeout=300", "root")
			w.asked(map[string]Prompt{"root": {0, 3}})
			w.gives(w.scripted(shell, map[string]string{"root": odd}, "root"), "root", Opened)
			if !w.opened("root") {
				t.Error("it is not open")
			}
			w.gives(w.right("root"), "", Nothing)
			w.asked(map[string]Prompt{})
		})
	}
}

// TestSystemdTwo: the disks are asked for at once, and get their own passphrases in the order in which we have them. That
// systemd tries the first one on the second disk too spends a try there.
func TestSystemdTwo(t *testing.T) {
	for _, disks := range [][]string{{"root", "data-1"}, {"data-1", "root"}} {
		w := waitSystemd(t, "", "root", "data-1")
		w.asked(map[string]Prompt{"root": {0, 3}, "data-1": {0, 3}})
		w.gives(w.right(disks...), disks[0], Opened)
		if !w.opened(disks[0]) || w.opened(disks[1]) {
			t.Error("not that disk is open, or not it alone")
		}
		w.asked(map[string]Prompt{disks[1]: {1, 3}})
		w.gives(w.right(disks...), disks[1], Opened)
		w.gives(w.right(disks...), "", Nothing)
	}
}

// TestSystemdWrong: what was wrong is asked for again, and the last try is not spent.
func TestSystemdWrong(t *testing.T) {
	w := waitSystemd(t, "tries=4,discard", "root")
	wrong := w.scripted("/bin/sh", map[string]string{"root": "wrong"}, "root")
	for tried := range 3 {
		w.asked(map[string]Prompt{"root": {tried, 4}})
		w.gives(wrong, "root", Wrong)
	}
	w.asked(map[string]Prompt{"root": {3, 4}})
	w.gives(w.right("root"), "", Busy)
	w.asked(map[string]Prompt{"root": {3, 4}})
	if w.opened("root") {
		t.Error("it is open")
	}

	// Where there is no journal, nobody knows after the first one.
	w = waitSystemd(t, "", "root")
	w.gives(w.scripted("/bin/sh", map[string]string{"root": "wrong"}, "root"), "root", Wrong)
	w.asked(map[string]Prompt{"root": {1, 3}})
	w.ok(os.RemoveAll(fmt.Sprintf("/proc/%d/root/run/log/journal", w.pid)))
	w.asked(map[string]Prompt{"root": {-1, 3}})
	w.gives(w.right("root"), "", Busy)

	// For ever.
	w = waitSystemd(t, "tries=0", "root")
	for range 4 {
		w.gives(w.scripted("/bin/sh", map[string]string{"root": "wrong"}, "root"), "root", Wrong)
	}
	w.gives(w.right("root"), "root", Opened)
}

// TestSystemdGivesUp: the mapping cannot be made, and nobody asks any more.
func TestSystemdGivesUp(t *testing.T) {
	w := waitSystemd(t, "", "root")
	w.asked(map[string]Prompt{"root": {0, 3}})
	w.ok(os.WriteFile(fmt.Sprintf("/proc/%d/root/run/no-mapping", w.pid), nil, 0o600))
	disk, out, said, err := w.right("root").give(context.Background())
	if disk != "root" || out != GaveUp || err != nil || !strings.Contains(said, "Device or resource busy") {
		t.Errorf("%q, %s, %q, %v", disk, out, said, err)
	}
	disk, out, said, err = w.right("root").give(context.Background())
	if disk != "" || out != Early || err != nil || said != "nobody asks for the passphrase of root" {
		t.Errorf("%q, %s, %q, %v", disk, out, said, err)
	}
}

// TestSystemdOthers: nothing is sent for a disk that nobody knows, and none to a request that is not by systemd-cryptsetup.
func TestSystemdOthers(t *testing.T) {
	w := waitSystemd(t, "", "root")
	first := map[string]Prompt{"root": {0, 3}}
	w.asked(first)
	w.gives(w.scripted("/bin/sh", nil, "other"), "root", Unknown)
	w.asked(first) // no try is spent
	w.stranger("--id=tls:key")
	w.stranger("--id=cryptsetup:/disk-root")
	w.asked(first)

	// What an initramfs may lack.
	reply := filepath.Join(w.root, "usr/lib/systemd/systemd-reply-password")
	w.ok(os.Rename(reply, reply+".away"))
	disk, out, said, err := w.right("root").give(context.Background())
	if disk != "" || out != LostBefore || err != nil || !strings.HasPrefix(said, "there is no ") {
		t.Errorf("%q, %s, %q, %v", disk, out, said, err)
	}
	w.ok(os.Rename(reply+".away", reply))
	w.gives(w.right("root"), "root", Opened)
	w.gives(w.right("root"), "", Nothing)
	if left := w.requests(); len(left) != 2 {
		t.Errorf("the others were answered: %q", left)
	}
}

// TestSystemdVerify: what systemd-cryptsetup wants to hear once more, as for a disk that it makes, is no question for a
// passphrase.
func TestSystemdVerify(t *testing.T) {
	w := waitSystemd(t, "verify", "root")
	w.asked(map[string]Prompt{"root": {-1, 3}})
	w.answer("secret of root")
	until(t, "second request", func() bool { return len(w.requests()) == 1 })
	w.asked(map[string]Prompt{})
	disk, out, said, err := w.right("root").give(context.Background())
	if disk != "" || out != Busy || err != nil || !strings.HasPrefix(said, "the passphrase of root is not asked for") {
		t.Errorf("%q, %s, %q, %v", disk, out, said, err)
	}
}

// TestSystemdExpired: the process hangs, and its request is there after its time.
func TestSystemdExpired(t *testing.T) {
	w := waitSystemd(t, "timeout=4", "root")
	until(t, "request", func() bool { return len(w.requests()) == 1 })
	pid := w.attached()
	w.ok(syscall.Kill(pid, syscall.SIGSTOP))
	w.asked(map[string]Prompt{})
	if left := w.requests(); len(left) != 1 {
		t.Errorf("it is not there: %q", left)
	}
	w.gives(w.right("root"), "", Busy)
	w.ok(syscall.Kill(pid, syscall.SIGCONT))
	until(t, "end of it", func() bool { return len(w.requests()) == 0 })
	if w.opened("root") {
		t.Error("it is open")
	}
}

// until waits for what is so a moment later.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there is no %s", what)
		}
	}
}

// stranger asks for something else, until the node ends.
func (w *machine) stranger(option string) {
	w.Helper()
	before := len(w.requests())
	argv := w.inside("/bin/systemd-ask-password", "--no-tty", "--timeout=0", option, "Please unlock disk root:")
	w.ok(exec.Command(argv[0], argv[1:]...).Start()) // ends with its namespace
	until(w.T, "request", func() bool { return len(w.requests()) > before })
}

// requests are the files of those that are open.
func (w *machine) requests() []string {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/systemd/ask-password/ask.*", w.pid))
	return files
}

// attached is the process of the node's only systemd-cryptsetup.
func (w *machine) attached() int {
	w.Helper()
	out, err := exec.Command("pgrep", "--ns", fmt.Sprint(w.pid), "--nslist", "pid", "-f", "systemd-cryptsetup attach").Output()
	w.ok(err)
	var pid int
	_, err = fmt.Sscan(string(out), &pid)
	w.ok(err)
	return pid
}

// TestSystemdCut: of a passphrase that does not come whole nothing is used.
func TestSystemdCut(t *testing.T) {
	w := waitSystemd(t, "", "root")
	w.asked(map[string]Prompt{"root": {0, 3}})
	h := w.right("root")
	h.write = func(out io.Writer, b []byte) (int, error) {
		n, _ := out.Write(b[:len(b)/2])
		return n, errBroken
	}
	w.gives(h, "root", LostDuring)
	w.asked(map[string]Prompt{"root": {0, 3}})
	w.gives(w.right("root"), "root", Opened)
}

// answer is somebody else's, to the only request.
func (w *machine) answer(text string) {
	w.Helper()
	argv := w.inside("/bin/sh", "-c", `for file in /run/systemd/ask-password/ask.*; do
	/lib/systemd/systemd-reply-password 1 "$(sed -n s/^Socket=//p "$file")"
	while [ -e "$file" ]; do sleep 0.1; done
done`)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(text + "\n")
	w.ok(cmd.Run())
}

// TestSystemdTogether: somebody else answers after our prompt. What we send reaches nobody.
func TestSystemdTogether(t *testing.T) {
	w := waitSystemd(t, "", "root")
	other := func(text string) *hand {
		h := w.right("root")
		open := h.open
		h.open = func(name string) *secret.Secret {
			w.answer(text)
			return open(name)
		}
		return h
	}
	w.gives(other("wrong"), "root", Busy)
	w.asked(map[string]Prompt{"root": {1, 3}})
	w.gives(other("secret of root"), "root", Busy)
	w.gives(w.right("root"), "", Nothing)
}

// TestSystemdTraces: no program is started with the passphrase, no file is made, and it is written once.
func TestSystemdTraces(t *testing.T) {
	strace := need.Program(t, "strace")
	for _, shell := range []string{"/bin/bash", "/bin/dash", "/bin/busybox sh"} {
		w := waitSystemd(t, "", "root")
		w.asked(map[string]Prompt{"root": {0, 3}})
		h := w.scripted(shell, map[string]string{"root": "secret of root"}, "root")
		trace := filepath.Join(t.TempDir(), "trace")
		h.argv = append([]string{strace, "-f", "-v", "-s", "9999", "-e", "trace=%process,%file,write", "-o", trace}, h.argv...)
		w.gives(h, "root", Opened)
		text, err := os.ReadFile(trace)
		w.ok(err)
		written := 0
		for line := range strings.Lines(string(text)) {
			switch {
			case strings.Contains(line, "secret of root") && strings.Contains(line, "write("):
				written++ // by the shell, to systemd-reply-password
			case strings.Contains(line, "secret of root"), strings.Contains(line, "O_CREAT") && !strings.Contains(line, `"/dev/null"`):
				t.Errorf("%s: %s", shell, line)
			}
		}
		if written != 1 {
			t.Errorf("%s: it was written %d times", shell, written)
		}
	}
}

// TestSystemdText: the script and the probe find requests by the same text.
func TestSystemdText(t *testing.T) {
	probe, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	_, text, begins := strings.Cut(systemdScript, "requests() {\n")
	text, _, ends := strings.Cut(text, "# So far.\n")
	if !begins || !ends || !strings.Contains(string(probe), "\nrequests() {\n"+text+"# So far.\n") {
		t.Errorf("this is not in %s:\n%s", script, text)
	}
}
