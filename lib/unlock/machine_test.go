package unlock

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/crypt"
	"rplan/tests/need"
	"rplan/tests/terminal"
)

// In the initramfs that the tests make, the test binary stands in for cryptsetup where
// a mapping would be made, which needs a device-mapper: it tests the passphrase and
// leaves a mark. All else is Debian's.
func TestMain(m *testing.M) {
	if os.Args[0] == "/sbin/cryptsetup" {
		os.Exit(asCryptsetup(os.Args[1:]))
	}
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

func asCryptsetup(args []string) int {
	open := -1
	for i, a := range args {
		if a == "open" {
			open = i
		}
	}
	if open < 0 {
		return exitOf(syscall.Exec("/sbin/cryptsetup.real", append([]string{"cryptsetup"}, args...), os.Environ()))
	}
	if slow := os.Getenv("SLOW"); slow != "" {
		d, _ := time.ParseDuration(slow)
		time.Sleep(d)
	}
	source, name := args[open+2], args[open+3]
	cmd := exec.Command("/sbin/cryptsetup.real", "open", "--test-passphrase", "--key-file=-", source)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if err == nil {
		err = os.WriteFile("/run/opened-"+name, nil, 0o600)
	}
	return exitOf(err)
}

// machine is a node in its initramfs, in namespaces of its own, with disks that are locked.
type machine struct {
	*testing.T
	root string
	mark string // begins the name of a file that is there when a disk is open
	pid  int    // of its first process
	tty  *terminal.Terminal
}

// wait starts one whose disks of these names open with "secret of NAME". env is for its cryptsetup.
func wait(t *testing.T, env []string, disks ...string) *machine {
	t.Helper()
	root := initramfs(t)
	w := &machine{T: t, root: root, mark: "run/opened-", tty: terminal.New(t)}
	for from, to := range map[string]string{
		"/lib/cryptsetup/askpass":                                "lib/cryptsetup/askpass",
		"/lib/cryptsetup/functions":                              "lib/cryptsetup/functions",
		"/usr/share/cryptsetup/initramfs/bin/cryptroot-unlock":   "bin/cryptroot-unlock",
		"/usr/share/initramfs-tools/scripts/functions":           "scripts/functions",
		"/usr/share/initramfs-tools/scripts/local-top/cryptroot": "scripts/local-top/cryptroot",
		need.Program(t, "cryptsetup"):                            "sbin/cryptsetup.real",
		need.Program(t, "dropbear"):                              "sbin/dropbear",
		"/proc/self/exe":                                         "sbin/cryptsetup",
	} {
		need.File(t, from)
		w.copy(from, to)
	}
	for _, dir := range []string{"cryptroot", "tmp", "root/.ssh"} {
		w.ok(os.MkdirAll(filepath.Join(root, dir), 0o700))
	}
	w.put("sbin/dmsetup", "#!/bin/sh\nfor name; do :; done\n[ -e \"/run/opened-$name\" ] && echo opened\n")
	w.put("sbin/modprobe", "#!/bin/sh\n")
	table := ""
	for _, name := range disks {
		path := filepath.Join(root, "disk-"+name)
		crypt.LUKS(t, path, "luks2")
		addKey(t, path, "secret of "+name)
		table += fmt.Sprintf("%s /disk-%s none luks\n", name, name)
	}
	w.put("cryptroot/crypttab", table)
	w.start(env, `mknod /dev/opened b 7 99; sh /scripts/local-top/cryptroot; echo "local-top: $?"; exec sleep 1000`)
	return w
}

func (w *machine) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *machine) put(name, text string) {
	w.Helper()
	w.ok(os.MkdirAll(filepath.Dir(filepath.Join(w.root, name)), 0o755))
	put(w.T, filepath.Join(w.root, name), text)
}

// copy copies a program with the libraries that it needs, or any file.
func (w *machine) copy(from, to string) {
	w.Helper()
	text, err := os.ReadFile(from)
	w.ok(err)
	w.put(to, string(text))
	libraries, _ := exec.Command("ldd", from).Output() // fails for what is no dynamic program
	for _, word := range strings.Fields(string(libraries)) {
		if !filepath.IsAbs(word) || !strings.Contains(word, ".so") {
			continue
		}
		library, err := os.ReadFile(word)
		w.ok(err)
		w.put(word, string(library))
	}
}

// start lets its first process run this script.
func (w *machine) start(env []string, init string) {
	w.Helper()
	console := w.tty.Open(w)
	cmd := exec.Command("unshare", "-m", "-p", "-f", "--kill-child", "sh", "-ec", `
mount --make-rprivate /
mount -t proc proc "$1/proc"
exec 9<"$1/proc/1" # which is as old as its first use
mount -t tmpfs none "$1/dev"
mount -t tmpfs none "$1/run"
for name in null zero random urandom tty; do touch "$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
mkdir "$1/dev/pts"; mount --bind /dev/pts "$1/dev/pts"
exec chroot "$1" /bin/sh -c "$2"`, "sh", w.root, init)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = console, console, console
	cmd.Env = append([]string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin", "quiet=n", "ROOTDELAY=2"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	w.ok(cmd.Start())
	w.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); console.Close() })
	var shown strings.Builder
	go func() {
		for b := range w.tty.Seen {
			shown.WriteByte(b)
		}
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
		if err == nil {
			if root, _ := os.Readlink(fmt.Sprintf("/proc/%d/root", pid)); root == w.root {
				w.pid = pid
				return
			}
		}
		if time.Now().After(end) {
			w.Fatalf("it did not start: %s", &shown)
		}
	}
}

// inside is the command line that runs a program there.
func (w *machine) inside(argv ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(w.pid), "-m", "-p", "-r", "-w", "--"}, argv...)
}

// opened says whether a disk is open.
func (w *machine) opened(name string) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/root/%s%s", w.pid, w.mark, name))
	return err == nil
}

var _ io.Writer
