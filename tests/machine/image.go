package machine

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/tests/crypt"
)

// The UUIDs of a machine's file system of /boot and of its LUKS devices.
const (
	bootUUID = "11111111-1111-4111-8111-111111111111"
	rootUUID = "22222222-2222-4222-8222-222222222222"
	dataUUID = "33333333-3333-4333-8333-333333333333"
	mailUUID = "44444444-4444-4444-8444-444444444444"
)

// The names of its disks: two in crypttab(5), in the order in which they are asked for, and one that the
// running system opens.
const (
	RootDisk = "cryptroot"
	DataDisk = "data"
	MailDisk = "mail"
)

// Disks is a machine that is off: a directory with what does not need power.
type Disks struct{ dir string }

// The images in it, /dev/ubda to /dev/ubde of the machine.
const (
	bootImage = "boot.img" // the file system of /boot
	rootImage = "root.img" // LUKS2
	dataImage = "data.img" // likewise
	smartFile = "smart.img"
	mailImage = "mail.img" // LUKS2, with a file system
	oldHeader = "header"   // of rootImage, as it was before its passphrase was changed
)

// images are copied with the machine.
var images = []string{bootImage, rootImage, dataImage, smartFile, mailImage, oldHeader}

// Build installs a machine in dir, which is on a tmpfs. keys is a directory with the public keys admin.pub
// and probe.pub, and with the host keys of its initramfs and its system. The passphrases are those of the disks.
func Build(t testing.TB, dir, keys string, passphrases map[string]string) Disks {
	t.Helper()
	d := Disks{dir}
	must(t, os.MkdirAll(d.path("keys"), 0o700))
	for _, name := range []string{"initramfs", "system"} { // dropbear has a format of its own for private keys
		run(t, "dropbearconvert", "openssh", "dropbear", filepath.Join(keys, name), d.path("keys/"+name+".dropbear"))
	}
	for _, name := range []string{"admin.pub", "probe.pub"} {
		run(t, "cp", filepath.Join(keys, name), d.path("keys"))
	}
	here, err := filepath.Abs(".")
	must(t, err)
	script := exec.Command("unshare", "-m", "sh", "image.sh", dir, filepath.Join(here, "../../contrib/initramfs"), here)
	script.Env = append(os.Environ(), "TMPDIR="+dir, "BOOT="+bootUUID, "ROOT="+rootUUID, "DATA="+dataUUID, "MAIL="+mailUUID)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("image.sh: %v: %s", err, tail(string(out)))
	}

	now := []string{"-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"} // nothing is left to do in the background
	run(t, "mkfs.ext4", append(now, "-U", bootUUID, "-d", d.path("boot"), d.path(bootImage), "40M")...)
	run(t, "mkfs.ext4", append(now, "-d", d.path("system"), d.path(rootImage), "24M")...)
	must(t, os.Truncate(d.path(rootImage), 56<<20))
	run(t, "mkfs.ext4", append(now, d.path(mailImage), "4M")...)
	must(t, os.Truncate(d.path(mailImage), 36<<20))
	must(t, os.WriteFile(d.path(dataImage), nil, 0o600))
	must(t, os.Truncate(d.path(dataImage), 18<<20))
	// Without a device-mapper a file can be encrypted, but not opened.
	encrypt := func(image, uuid, passphrase string) {
		crypt.Cryptsetup(t, passphrase, append([]string{"reencrypt", "-q", "--encrypt", "--uuid", uuid, "--resilience", "none",
			"--reduce-device-size", "32M", "--key-file=-", d.path(image)}, crypt.Cheap...)...)
	}
	encrypt(rootImage, rootUUID, "before")
	encrypt(mailImage, mailUUID, passphrases[MailDisk])
	crypt.Cryptsetup(t, "", "luksHeaderBackup", "--header-backup-file", d.path(oldHeader), d.path(rootImage))
	crypt.Cryptsetup(t, "before\n"+passphrases[RootDisk]+"\n", append([]string{"luksChangeKey", "-q", d.path(rootImage)}, crypt.Cheap...)...)
	crypt.Cryptsetup(t, passphrases[DataDisk], append([]string{"luksFormat", "-q", "--uuid", dataUUID, "--key-file=-", d.path(dataImage)}, crypt.Cheap...)...)
	d.setDrives(t, []drive{{"ubda", "BOOT1", 100, 7}, {"ubdb", "ROOT1", 100, 7}, {"ubdc", "DATA1", 100, 7}, {"ubde", "MAIL1", 100, 7}})
	return d
}

func (d Disks) path(name string) string { return filepath.Join(d.dir, name) }

// Copy is a machine with the same disks.
func (d Disks) Copy(t testing.TB, dir string) Disks {
	t.Helper()
	for _, name := range images {
		run(t, "cp", "--sparse=always", d.path(name), dir)
	}
	return Disks{dir}
}

// kernel is the only one that is installed.
func kernel(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/uml/modules/*")
	if err != nil || len(found) != 1 {
		t.Fatalf("/usr/lib/uml/modules has %q", found)
	}
	return filepath.Base(found[0])
}

// dump reads a file of /boot, as a boot loader does.
func (d Disks) dump(t testing.TB, name, to string) {
	t.Helper()
	must(t, os.RemoveAll(to))
	run(t, "debugfs", "-R", fmt.Sprintf("dump /%s %s", name, to), d.path(bootImage))
	if info, err := os.Stat(to); err != nil || info.Size() == 0 {
		t.Fatalf("there is no %s in /boot: %v", name, err)
	}
}

// AddToInitramfs puts a file into the initramfs, as somebody may who has the disk in their hands.
func (d Disks) AddToInitramfs(t testing.TB, path string, text []byte) {
	t.Helper()
	tree := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(tree, filepath.Dir(path)), 0o755))
	must(t, os.WriteFile(filepath.Join(tree, path), text, 0o600))
	// The kernel unpacks an archive behind another one over that.
	pack := exec.Command("cpio", "--quiet", "-o", "-H", "newc")
	pack.Dir, pack.Stdin = tree, strings.NewReader(path+"\n")
	archive, err := pack.Output()
	must(t, err)
	name, file := "initrd.img-"+kernel(t), filepath.Join(tree, "initrd")
	d.dump(t, name, file)
	initrd, err := os.ReadFile(file)
	must(t, err)
	buffer := bytes.NewBuffer(initrd)
	z := gzip.NewWriter(buffer)
	_, err = z.Write(archive)
	must(t, err)
	must(t, z.Close())
	must(t, os.WriteFile(file, buffer.Bytes(), 0o600))
	_ = exec.Command("e2fsck", "-p", d.path(bootImage)).Run() // what its journal has; 1 is "corrected"
	run(t, "debugfs", "-w", "-R", "rm /"+name, d.path(bootImage))
	run(t, "debugfs", "-w", "-R", "write "+file+" "+name, d.path(bootImage))
}

// PutOldHeaderBack makes the passphrase valid again that the root disk had before.
func (d Disks) PutOldHeaderBack(t testing.TB) {
	t.Helper()
	crypt.Cryptsetup(t, "", "luksHeaderRestore", "-q", "--header-backup-file", d.path(oldHeader), d.path(rootImage))
}

// drive is what one drive remembers of its life, see smartctl.sh.
type drive struct {
	name, serial  string
	hours, cycles int
}

func (d Disks) drives(t testing.TB) (all []drive) {
	t.Helper()
	text, err := os.ReadFile(d.path(smartFile))
	must(t, err)
	for line := range strings.Lines(strings.TrimRight(string(text), "\x00")) {
		var one drive
		if _, err := fmt.Sscan(line, &one.name, &one.serial, &one.hours, &one.cycles); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

func (d Disks) setDrives(t testing.TB, all []drive) {
	t.Helper()
	text := make([]byte, 0, 4096)
	for _, one := range all {
		text = fmt.Appendf(text, "%s %s %d %d\n", one.name, one.serial, one.hours, one.cycles)
	}
	must(t, os.WriteFile(d.path(smartFile), text[:4096], 0o600)) // as long as a device
}

// PowerUp is what a drive counts that is powered up, in the machine or anywhere else.
func (d Disks) PowerUp(t testing.TB, serials ...string) {
	t.Helper()
	all := d.drives(t)
	for i := range all {
		for _, serial := range serials {
			if all[i].serial == serial {
				all[i].cycles++
			}
		}
	}
	d.setDrives(t, all)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
}

// tail is the end of what somebody said.
func tail(text string) string {
	const most = 4000
	return text[max(0, len(text)-most):]
}
