package unlock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/tests/crypt"
	"rplan/tests/need"
)

const script = "../../contrib/initramfs/rplan-probe"

// addKey gives a LUKS file another passphrase.
func addKey(t *testing.T, path, passphrase string) {
	t.Helper()
	crypt.Cryptsetup(t, "first\n"+passphrase+"\n", append([]string{"luksAddKey", "-q", path}, crypt.Cheap...)...)
}

// probe runs the script, by busybox in a root of its own, as an initramfs has it.
func probe(t *testing.T, root string) *Reading {
	t.Helper()
	cmd := exec.Command("unshare", "-m", "sh", "-ec", `mount --rbind /proc "$1/proc"; mount --rbind /sys "$1/sys"; mount --rbind /dev "$1/dev"; exec chroot "$1" /bin/sh /usr/lib/rplan/rplan-probe`, "sh", root)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%v: %s%s", err, out, &errs)
	}
	r, err := parseReading(out)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return r
}

// initramfs is a root with busybox and the probe, and files in /boot.
func initramfs(t *testing.T) string {
	t.Helper()
	need.Root(t)
	busybox := need.Program(t, "busybox")
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "dev", "etc", "conf", "run", "usr/lib/rplan", "boot/grub"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "usr/lib/rplan/rplan-probe"), string(text))
	put(t, filepath.Join(root, "bin/busybox"), string(binary))
	libraries, _ := exec.Command("ldd", busybox).Output() // fails for a static one
	for _, word := range strings.Fields(string(libraries)) {
		if library, err := os.ReadFile(word); err == nil && filepath.IsAbs(word) {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, word)), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(root, word), string(library))
		}
	}
	if out, err := exec.Command("chroot", root, "/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	put(t, filepath.Join(root, "conf/initramfs.conf"), "")
	put(t, filepath.Join(root, "boot/vmlinuz-6.1"), "kernel")
	put(t, filepath.Join(root, "boot/grub/grub.cfg"), "menu")
	put(t, filepath.Join(root, "boot/grub/grubenv"), "changes at each boot")
	put(t, filepath.Join(root, "boot/rplan-boots"), "7\n")
	put(t, filepath.Join(root, "boot/rplan-alive"), "1764158300\n")
	return root
}

func put(t *testing.T, path, text string) {
	t.Helper()
	_ = os.Remove(path) // what busybox installs are links to its place on this very machine
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestProbe(t *testing.T) {
	root := initramfs(t)
	two, one := filepath.Join(root, "luks2"), filepath.Join(root, "luks1")
	crypt.LUKS(t, two, "luks2")
	crypt.LUKS(t, one, "luks1")
	put(t, filepath.Join(root, "plain"), "no LUKS")
	put(t, filepath.Join(root, "etc/rplan-probe.conf"), "DEVICES='/luks2 /luks1 /plain /absent'\n")
	r := probe(t, root)
	if r.Where != inInitramfs || time.Since(r.Clock).Abs() > time.Minute || r.Boots != 7 || r.Alive.Unix() != 1764158300 || r.Cmdline != cmdline(t) {
		t.Errorf("%+v", r)
	}
	if len(r.Files) != 2 || r.Files["vmlinuz-6.1"] != sha256(t, filepath.Join(root, "boot/vmlinuz-6.1")) || r.Files["grub/grub.cfg"] == "" {
		t.Errorf("%v", r.Files)
	}
	id := func(path string) string {
		return strings.TrimSpace(crypt.Cryptsetup(t, "", "luksUUID", path))
	}
	epoch := func() (n int) {
		for line := range strings.Lines(crypt.Cryptsetup(t, "", "luksDump", two)) {
			_, _ = fmt.Sscanf(line, "Epoch: %d", &n)
		}
		return n
	}
	if len(r.Headers) != 2 || r.Headers[id(two)].Epoch != epoch() || epoch() == 0 || r.Headers[id(one)].Epoch != 0 {
		t.Errorf("%v, epoch %d", r.Headers, epoch())
	}

	// A keyslot more, and the old header put back.
	header := filepath.Join(t.TempDir(), "header")
	crypt.Cryptsetup(t, "", "luksHeaderBackup", "--header-backup-file", header, two)
	addKey(t, two, "second")
	addKey(t, one, "second")
	after := probe(t, root)
	if after.Headers[id(two)].Epoch <= r.Headers[id(two)].Epoch || after.Headers[id(one)].Digest == r.Headers[id(one)].Digest {
		t.Errorf("%v, then %v", r.Headers, after.Headers)
	}
	crypt.Cryptsetup(t, "", "luksHeaderRestore", "-q", "--header-backup-file", header, two)
	if back := probe(t, root); back.Headers[id(two)] == after.Headers[id(two)] {
		t.Error("an older header looks as the newer one")
	}

	put(t, filepath.Join(root, "boot/vmlinuz-6.1"), "another kernel")
	put(t, filepath.Join(root, "boot/evil \x1b[2J\n file"), "x")
	odd := probe(t, root)
	if odd.Files["vmlinuz-6.1"] == r.Files["vmlinuz-6.1"] {
		t.Error("another kernel is not seen")
	}
	if len(odd.Files) != 3 || odd.Files["(names that cannot be printed)"] == "" {
		t.Errorf("a file whose name cannot be printed is not seen: %v", odd.Files)
	}
}

// cmdline is this machine's, as the probe is to say it.
func cmdline(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func sha256(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("sha256sum", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out[:64])
}

// TestHook runs the hook as mkinitramfs(8) does, with its functions: the probe is in the
// initramfs, with its configuration, and the probe's key may ask for it alone.
func TestHook(t *testing.T) {
	need.Root(t)
	need.File(t, "/usr/share/initramfs-tools/hook-functions")
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	for _, d := range []string{"initrd/root-x1/.ssh", "initrd/bin", "etc", "lib"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(initrd, "root-x1/.ssh/authorized_keys"), "ssh-ed25519 AAAA admin\n")
	probe, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(filepath.Dir(probe), "hooks", "rplan")
	cmd := exec.Command("unshare", "-m", "sh", "-ec", `
cp -a /etc/. "$1/etc"; mount --bind "$1/etc" /etc
mkdir -p /etc/rplan; echo "$4" >/etc/rplan/probe_authorized_keys
mount -t tmpfs none "$1/lib"; mkdir "$1/lib/upper" "$1/lib/work"
mount -t overlay -o "lowerdir=/usr/lib,upperdir=$1/lib/upper,workdir=$1/lib/work" none /usr/lib
mkdir -p /usr/lib/rplan; cp "$2" /usr/lib/rplan/rplan-probe
DESTDIR="$1/initrd" verbose=n sh "$3"; sh "$3" prereqs
cmp /etc/rplan-probe.conf "$1/initrd/etc/rplan-probe.conf"`, "sh", dir, probe, hook, probeKey)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "dropbear\n" {
		t.Fatalf("%v: %s", err, out)
	}
	hooked(t, initrd, "root-x1")
	if info, err := os.Stat(filepath.Join(initrd, "usr/lib/rplan/rplan-probe")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	for _, program := range []string{"sha256sum", "od", "awk"} {
		if _, err := os.Stat(filepath.Join(initrd, "usr/bin", program)); err != nil {
			t.Errorf("%s is missing: %v", program, err)
		}
	}
}

// hooked wants in an initramfs what the hook leaves there: the probe, and a key for it beside the admin's.
func hooked(t *testing.T, root, home string) {
	t.Helper()
	for name, want := range map[string]string{
		home + "/.ssh/authorized_keys": "ssh-ed25519 AAAA admin\n" + `command="/usr/lib/rplan/rplan-probe",no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-pty ` + probeKey + "\n",
		"etc/rplan-probe.conf":         "BOOT='",
		"usr/lib/rplan/rplan-probe":    "#!/bin/sh",
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
}

// TestAlive: what cron is to run leaves what the probe reads.
func TestAlive(t *testing.T) {
	root := initramfs(t)
	for _, name := range []string{"rplan-boots", "rplan-alive"} {
		if err := os.Remove(filepath.Join(root, "boot", name)); err != nil {
			t.Fatal(err)
		}
	}
	table, err := os.ReadFile("../../contrib/initramfs/cron")
	if err != nil {
		t.Fatal(err)
	}
	run := func(when string) {
		t.Helper()
		for line := range strings.Lines(string(table)) {
			if command, ok := strings.CutPrefix(line, when+" root "); ok {
				command = strings.ReplaceAll(strings.ReplaceAll(command, `\%`, "%"), "/boot", filepath.Join(root, "boot"))
				if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%s: %v: %s", command, err, out)
				}
				return
			}
		}
		t.Fatalf("there is nothing for %s", when)
	}
	run("@reboot")
	run("* * * * *")
	first := probe(t, root)
	if first.Boots != 1 || time.Since(first.Alive).Abs() > time.Minute || !first.Before.IsZero() {
		t.Errorf("%+v", first)
	}
	run("@reboot")
	run("* * * * *")
	if r := probe(t, root); r.Boots != 2 || !r.Before.Equal(first.Alive) || r.Up <= 0 || len(r.Files) != 2 {
		t.Errorf("%+v", r)
	}
}
