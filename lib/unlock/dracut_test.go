package unlock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	kernel "golang.org/x/sys/unix"

	"rplan/lib/diag"
	"rplan/lib/store"
	"rplan/tests/crypt"
	"rplan/tests/need"
	"rplan/tests/terminal"
)

// dracutRoot is what is made once for all tests, in a directory of its own: an initramfs by
// dracut(8), and what is preloaded into its systemd-cryptsetup.
var dracutRoot string

const probeKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5hDqLxTmEY8aJQJ8cPq7kEpTVLq6mUqEjlJD9rKxkE probe"

// dracut is a new copy of an initramfs with systemd, the probe, and authorized_keys as an sshd would have them.
func dracut(t *testing.T) (root string) {
	t.Helper()
	need.Root(t)
	need.Program(t, "dracut", "cpio", "gcc")
	if dracutRoot == "" {
		dracutRoot = build(t)
	}
	root = t.TempDir()
	cmd := exec.Command("cpio", "-id", "--quiet", "-F", filepath.Join(dracutRoot, "initrd"))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return root
}

func build(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rplan-dracut-")
	if err != nil {
		t.Fatal(err)
	}
	contrib, err := filepath.Abs(filepath.Dir(script))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-m", "sh", "-ec", `
mkdir "$1/etc" "$1/lib" "$1/tmp"
gcc -shared -fPIC -nostdlib -o "$1/dm.so" testdata/dm.c
cp -a /etc/. "$1/etc"; mount --bind "$1/etc" /etc
mkdir -p /etc/rplan; echo "$3" >/etc/rplan/probe_authorized_keys
mount -t tmpfs none "$1/lib"; mkdir "$1/lib/upper" "$1/lib/work"
mount -t overlay -o "lowerdir=/usr/lib,upperdir=$1/lib/upper,workdir=$1/lib/work" none /usr/lib
modules=/usr/lib/dracut/modules.d
mkdir -p /usr/lib/rplan $modules/99rplan $modules/46sshd
cp "$2/rplan-probe" /usr/lib/rplan
cp "$2/dracut/module-setup.sh" "$2/hooks/rplan" $modules/99rplan
echo 'install() { mkdir -p "$initdir/root/.ssh"; echo "ssh-ed25519 AAAA admin" >"$initdir/root/.ssh/authorized_keys"; }' >$modules/46sshd/module-setup.sh
dracut --quiet --tmpdir "$1/tmp" --no-kernel --no-hostonly --no-hostonly-cmdline --no-compress --no-early-microcode --nostrip \
	--modules 'base bash systemd systemd-initrd dracut-systemd crypt sshd rplan' "$1/initrd" 0
rm -r "$1/etc" "$1/tmp"`, "sh", dir, contrib, probeKey).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// odd is a passphrase with what a shell may trip over.
var odd = ` \n two  words "%s" $HOME ` + "`id` \u0401\u00fc\u201a-" + strings.Repeat("x", 400) + `\ `

// waitSystemd starts a node in such an initramfs, whose disks of these names open with "secret of NAME" and with odd.
// options are those of crypttab(5) for all of them.
func waitSystemd(t *testing.T, options string, disks ...string) *machine {
	t.Helper()
	w := &machine{T: t, root: dracut(t), tty: terminal.New(t), mark: "dev/mapper/"}
	w.copy(need.Program(t, "dropbear"), "sbin/dropbear")
	w.copy(need.Program(t, "busybox"), "bin/busybox")
	w.copy(need.Program(t, "dash"), "bin/dash")
	w.copy(filepath.Join(dracutRoot, "dm.so"), "usr/lib/dm.so")
	w.put("etc/machine-id", strings.Repeat("ab", 16)+"\n")
	w.put("boot/vmlinuz-6.1", "kernel")
	table := ""
	for _, name := range disks {
		path := filepath.Join(w.root, "disk-"+name)
		crypt.LUKS(t, path, "luks2")
		addKey(t, path, "secret of "+name)
		addKey(t, path, odd)
		table += fmt.Sprintf("%s /disk-%s %s\n", name, name, options)
	}
	w.put("crypttab", table)
	forgetCached()
	w.start(nil, `
mkdir -p /dev/mapper /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup # systemd-journald looks who writes to it
/lib/systemd/systemd-journald &
until [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
while read -r name source options; do
	LD_PRELOAD=/usr/lib/dm.so SYSTEMD_LOG_TARGET=journal /lib/systemd/systemd-cryptsetup attach "$name" "$source" "" "$options" </dev/null &
done </crypttab
exec sleep 1000`)
	return w
}

// forgetCached takes away what systemd-cryptsetup keeps for 2.5 minutes in a keyring of root's, which is that of all
// machines that the tests make.
func forgetCached() {
	if id, err := kernel.KeyctlSearch(kernel.KEY_SPEC_USER_KEYRING, "user", "cryptsetup", 0); err == nil {
		_, _ = kernel.KeyctlInt(kernel.KEYCTL_UNLINK, id, kernel.KEY_SPEC_USER_KEYRING, 0, 0)
	}
}

// TestDracut: the probe is in the initramfs that dracut makes, with all that it needs, and the probe's key may ask
// for it alone.
func TestDracut(t *testing.T) {
	root := dracut(t)
	hooked(t, root, "root")
	path := filepath.Join(root, "disk")
	crypt.LUKS(t, path, "luks2")
	put(t, filepath.Join(root, "etc/rplan-probe.conf"), "DEVICES=/disk\n")
	if err := os.Mkdir(filepath.Join(root, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "boot/vmlinuz-6.1"), "kernel")
	put(t, filepath.Join(root, "boot/rplan-boots"), "7\n")
	r := probe(t, root)
	uuid := strings.TrimSpace(crypt.Cryptsetup(t, "", "luksUUID", path))
	if r.Where != inInitramfs || r.Cmdline != cmdline(t) || r.Boots != 7 || r.Files["vmlinuz-6.1"] != sha256(t, filepath.Join(root, "boot/vmlinuz-6.1")) || r.Headers[uuid].Epoch == 0 {
		t.Errorf("%+v", r)
	}
}

// TestUnlockSystemd: all of it, over Debian's dropbear, with the admin's own ssh.
func TestUnlockSystemd(t *testing.T) {
	d := deskOf(t, waitSystemd(t, "", "root", "data-1"), store.Systemd, "root", "data-1")
	d.listens("boot", d.boot)
	d.enrolled()
	d.comesUp("root", "data-1")
	if err := d.do(Options{}); err != nil {
		t.Fatalf("%v\n%s%s", err, &d.out, &d.errs)
	}
	if !d.opened("root") || !d.opened("data-1") || d.out.String() != "node n1 is up\n" || !strings.Contains(d.errs.String(), "disk root: open\ndisk data-1: open\n") {
		t.Errorf("%s%s", &d.out, &d.errs)
	}
}

// TestRefusalsSystemd: what is refused by the probe's word.
func TestRefusalsSystemd(t *testing.T) {
	d := deskOf(t, waitSystemd(t, "", "root", "data-1"), store.Systemd, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	d.refused(d.do(Options{}), diag.Refused, `the passphrase of a disk "data-1", which the store does not know`)

	d = deskOf(t, waitSystemd(t, "tries=2", "root"), store.Systemd, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	d.gives(d.scripted("/bin/sh", map[string]string{"root": "wrong"}, "root"), "root", Wrong)
	d.refused(d.do(Options{}), diag.Refused, `disk "root" has one try left of 2`)
	d.ok(os.RemoveAll(fmt.Sprintf("/proc/%d/root/run/log/journal", d.pid)))
	d.refused(d.do(Options{}), diag.Refused, `nobody knows how many of its 2 tries are left`)
	if d.opened("root") {
		t.Error("it is open")
	}
}
