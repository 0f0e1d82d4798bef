package unlock

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/store"
	"rplan/tests/crypt"
	"rplan/tests/need"
)

// What stops it before a passphrase is sent. What comes after is in lines_test.go.

// untouched: the disk is locked, and its prompt was answered wrongly so often.
func (d *desk) untouched(disk string, tried int) {
	d.Helper()
	if d.opened(disk) {
		d.Errorf("disk %s is open", disk)
	}
	var got Prompt
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = d.prompts()[disk]; got == (Prompt{tried, 3}) {
			return
		}
	}
	d.Errorf("disk %s: %+v, not %d tried", disk, got, tried)
}

// entries are those of the journal about a node.
func (d *desk) entries() []store.Entry { return d.entriesOf("n1") }

func (d *desk) entriesOf(node string) []store.Entry {
	d.Helper()
	s, err := d.place().Open(context.Background())
	d.ok(err)
	all, wrong, err := s.Journal(context.Background(), node)
	if err != nil || len(wrong) > 0 {
		d.Fatalf("%v, %q", err, wrong)
	}
	return all
}

func (d *desk) commit(change store.Change) {
	d.Helper()
	s, err := d.place().Open(context.Background())
	d.ok(err)
	_, err = s.Commit(context.Background(), d.by(), change)
	d.ok(err)
}

// seal puts the passphrase of a disk into the store.
func (d *desk) seal(node, disk, passphrase string) {
	d.Helper()
	sealed, to := d.sealed(passphrase)
	d.commit(store.SealedChange("sealed "+disk, node, disk, sealed, to))
}

func (d *desk) sealed(passphrase string) ([]byte, []string) {
	d.Helper()
	to := []string{strings.TrimSpace(d.run("age-keygen", "-y", d.path("identity")))}
	sealed, err := store.Seal(crypt.Secret(d, passphrase), to, nil)
	d.ok(err)
	return sealed, to
}

// lists puts a node's file into the store, with disks of these names.
func (d *desk) lists(node string, disks ...string) {
	d.Helper()
	text, err := os.ReadFile(d.path("store/nodes/n1.toml"))
	d.ok(err)
	head, _, _ := strings.Cut(string(text), "[[disk]]")
	for _, name := range disks {
		head += fmt.Sprintf("[[disk]]\nname = %q\nadmins = [\"ada\"]\n", name)
	}
	d.add(node, head)
}

// write replaces a file of the store, signed by nobody.
func (d *desk) write(name string, text []byte) (undo func()) {
	d.Helper()
	path := d.path("store/" + name)
	was, absent := os.ReadFile(path)
	d.ok(os.MkdirAll(filepath.Dir(path), 0o700))
	d.ok(os.WriteFile(path, text, 0o600))
	return func() {
		d.Helper()
		if absent != nil {
			d.ok(os.Remove(path))
			return
		}
		d.ok(os.WriteFile(path, was, 0o600))
	}
}

// forge makes the next epoch with a file of the store as it is now, signed by who is no admin.
func (d *desk) forge(name string) (undo func()) {
	d.Helper()
	all, _ := filepath.Glob(d.path("store/manifests/??????"))
	newest := all[len(all)-1]
	text, err := os.ReadFile(newest)
	d.ok(err)
	var lines []string
	epoch := 0
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "epoch "):
			_, _ = fmt.Sscanf(line, "epoch %d", &epoch)
			epoch++
			line = fmt.Sprintf("epoch %d\n", epoch)
		case strings.HasPrefix(line, "previous "):
			line = "previous " + sha256(d.T, newest) + "\n"
		case strings.HasSuffix(line, "  "+name+"\n"):
			line = sha256(d.T, d.path("store/"+name)) + "  " + name + "\n"
		}
		lines = append(lines, line)
	}
	manifest := d.path(fmt.Sprintf("store/manifests/%06d", epoch))
	d.ok(os.WriteFile(manifest, []byte(strings.Join(lines, "")), 0o600))
	d.run("ssh-keygen", "-q", "-Y", "sign", "-n", store.ForManifest, "-f", d.path("other"), manifest)
	d.ok(os.Rename(manifest+".sig", manifest+".ada.sig"))
	return func() { d.Helper(); d.ok(os.Remove(manifest)); d.ok(os.Remove(manifest + ".ada.sig")) }
}

// TestForged: a baseline or a passphrase that no admin signed stops it before the network is touched:
// nobody listens here, which would be another error.
func TestForged(t *testing.T) {
	d := newDesk(t, "root")
	undo := d.write("baselines/n1.json", []byte("{}\n"))
	d.refused(d.do(Options{}), diag.Refused, `added: "baselines/n1.json"`, "somebody tampers with it")
	undo()
	d.enrolled()
	older := filepath.Join(t.TempDir(), "older")
	d.ok(os.CopyFS(older, os.DirFS(d.path("store"))))
	first, err := os.ReadFile(d.path("store/baselines/n1.json"))
	d.ok(err)
	put(t, filepath.Join(d.root, "boot/vmlinuz-6.1"), "a newer kernel")
	d.enrolled()
	d.refused(d.do(Options{}), diag.TryAgain, "Connection refused") // as it is, it would go on

	forged, _ := d.sealed("secret of mine")
	for name, text := range map[string][]byte{
		"baselines/n1.json":       first,  // an older one
		"passphrases/n1/root.age": forged, // whoever has the recipients can make it
	} {
		undo := d.write(name, text)
		d.refused(d.do(Options{}), diag.Refused, fmt.Sprintf("changed: %q", name), "rp-rekey sign shows what differs")
		undoEpoch := d.forge(name)
		d.refused(d.do(Options{}), diag.Refused, `no valid signature by "ada"`)
		undoEpoch()
		undo()
	}
	d.refused(d.do(Options{}), diag.TryAgain, "Connection refused")
	d.ok(os.RemoveAll(d.path("store")))
	d.ok(os.CopyFS(d.path("store"), os.DirFS(older)))
	d.refused(d.do(Options{}), diag.Refused, "an older state was put back", "fetch the newest state from another admin")
	d.untouched("root", 0)
}

// TestSealedByHand: an empty passphrase or one with no end of its line is refused, and the end of the line is never sent.
func TestSealedByHand(t *testing.T) {
	need.Program(t, "age")
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	seal := func(text string) {
		t.Helper()
		_, to := d.sealed("x")
		cmd := exec.Command("age", "-a", "-r", to[0])
		cmd.Stdin = strings.NewReader(text)
		sealed, err := cmd.Output()
		d.ok(err)
		d.commit(store.SealedChange("by hand", "n1", "root", sealed, to))
	}
	for text, word := range map[string]string{
		"":                     "what was sealed has no line",
		"\n":                   "a passphrase is empty",
		"secret of root":       "what was sealed has no line",
		"secret of root\r\n":   "perhaps the end of a line",
		"secret of root\nmore": "more than one line",
	} {
		seal(text)
		d.refused(d.do(Options{}), diag.BadData, `disk "root" of node "n1"`, word, "rp-rekey seal")
	}
	d.untouched("root", 0)
	seal("secret of root\n")
	d.comesUp("root")
	d.ok(d.do(Options{}))
}

// TestProbeFaults: what answers with no whole reading gets nothing.
func TestProbeFaults(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	probe := filepath.Join(d.root, "usr/lib/rplan/rplan-probe")
	whole, err := os.ReadFile(probe)
	d.ok(err)
	head := "#!/bin/sh\nprintf 'rplan-probe 1\\nwhere initramfs\\n'\n"
	for _, c := range []struct {
		what, text string
		kind       diag.Kind
		words      string
		patience   time.Duration
	}{
		{"says nothing", "#!/bin/sh\nexit 0\n", diag.Refused, "said nothing", 0},
		{"is something else", "#!/bin/sh\necho hello\n", diag.Refused, "its first line", 0},
		{"fails", "#!/bin/sh\necho no such thing >&2\nexit 1\n", diag.Refused, "exit status 1: no such thing", 0},
		{"is cut short", head, diag.Refused, "was cut off after 2 lines", 0},
		{"is killed", head + "kill -9 $$\n", diag.TryAgain, "exit status 255", 0}, // as where the line is cut
		{"10 MB", "#!/bin/sh\nyes rplan-probe | head -c 10000000\n", diag.Refused, "more than 1048576 bytes", 0},
		{"without end, in a line", "#!/bin/sh\nexec cat /dev/zero\n", diag.Refused, "more than 1048576 bytes", 0},
		{"escape codes", "#!/bin/sh\nprintf 'rplan-probe 1\\nwhere \\033[2J\\n'\n", diag.Refused, "no printable ASCII", 0},
		{"complains in escape codes", "#!/bin/sh\nprintf '\\033]0;x\\007\\033[2J' >&2\nexit 3\n", diag.Refused, "exit status 3", 0},
		{"hangs", "#!/bin/sh\nexec sleep 100\n", diag.TryAgain, "timed out after 4s", 4 * time.Second},
		{"begins and hangs", head + "exec sleep 100\n", diag.Refused, "began, and did not end in 4 s", 4 * time.Second},
		{"drips", head + "while :; do echo; sleep 1; done\n", diag.Refused, "began, and did not end in 4 s", 4 * time.Second},
	} {
		put(t, probe, c.text)
		var o Options
		o.patience.probe = c.patience
		began := time.Now()
		err := d.do(o)
		d.refused(err, c.kind, c.words)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s: it took %s", c.what, took)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\a") {
			t.Errorf("%s: the error steers a terminal: %q", c.what, err)
		}
		if c.kind == diag.Refused {
			d.refused(err, c.kind, `the probe of node "n1"`, "No passphrase was sent", "contrib/initramfs")
		}
	}
	d.ok(os.Remove(probe))
	d.refused(d.do(Options{}), diag.Refused, "exit status 127", "rplan-probe: not found", "contrib/initramfs")
	put(t, probe, string(whole))
	d.untouched("root", 0)
}

// TestTraces: what somebody leaves who was at the machine, told by the probe as it is.
func TestTraces(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.put("sys/block/sda/device/serial", "S1\n")
	d.put("sys/block/sda/device/model", "Disk\n")
	d.put("usr/sbin/smartctl", "#!/bin/sh\ncat /etc/smart\n") // no drive here counts
	counts := func(cycles, boots int) {
		d.put("etc/smart", fmt.Sprintf(" 12 Power_Cycle_Count 0x0032 100 100 000 Old_age Always - %d\n", cycles))
		d.put("boot/rplan-boots", fmt.Sprint(boots))
	}
	counts(20, 7)
	d.put("boot/initrd.img-6.1", "initramfs")
	d.enrolled()
	d.put("boot/initrd.img-6.1", "initramfs of somebody's")
	d.refused(d.do(Options{}), diag.Suspicious, "/boot/initrd.img-6.1", "No passphrase was sent", "find out what the grave lines mean")
	d.put("boot/initrd.img-6.1", "initramfs")
	disk := filepath.Join(d.root, "disk-root")
	old := filepath.Join(t.TempDir(), "header")
	crypt.Cryptsetup(t, "", "luksHeaderBackup", "--header-backup-file", old, disk)
	addKey(t, disk, "one more")
	d.refused(d.do(Options{}), diag.Suspicious, "LUKS header", ": a keyslot was changed", "No passphrase was sent")
	d.enrolled()
	crypt.Cryptsetup(t, "", "luksHeaderRestore", "-q", "--header-backup-file", old, disk)
	d.refused(d.do(Options{}), diag.Suspicious, "LUKS header", ", an older header", "No passphrase was sent")
	d.enrolled()
	d.untouched("root", 0)

	counts(21, 7)
	d.comesUp("root")
	d.ok(d.do(Options{}))
	counts(22, 8) // it came up, and the power failed once more
	d.ok(os.Remove(filepath.Join(fmt.Sprintf("/proc/%d/root", d.pid), "run/opened-root")))
	d.ok(d.do(Options{DryRun: true}))
	counts(23, 8)
	d.refused(d.do(Options{}), diag.Suspicious, "power cycles", "23: it was powered up more often than the node was unlocked", "expected: 21 or 22")
	counts(22, 9)
	d.refused(d.do(Options{}), diag.Suspicious, "boots", "9: it came up without us", "expected: 8")
	if all := d.entries(); len(all) != 1 {
		t.Errorf("the journal has %+v", all)
	}
}

// TestCheckFindsIdentity: who looks at a node hears whether they could unlock it. Nobody is asked for anything.
func TestCheckFindsIdentity(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	d.runs()
	d.ok(d.do(Options{Check: true}))
	if d.errs.Len() > 0 {
		t.Error(d.errs.String())
	}
	d.run("age-keygen", "-o", d.path("stranger"))
	d.ok(d.do(Options{Check: true, Identities: []string{d.path("stranger")}}))
	d.says("it cannot be unlocked from here", `disk "root" of node "n1"`, "none of your identities opens it")
	locked := d.run("age-keygen") // as age -p makes one: what matters is that it would ask
	d.ok(os.WriteFile(d.path("locked"), []byte("age-encryption.org/v1\n-> scrypt x 18\n"+locked), 0o600))
	d.ok(d.do(Options{Check: true, Identities: []string{d.path("locked")}}))
	if d.errs.Len() > 0 {
		t.Error(d.errs.String())
	}
}

// TestBetweenTwoTries: how many are left is known also in the moment in which nobody asks.
func TestBetweenTwoTries(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	wrong := map[string]string{"root": "wrong"}
	d.gives(d.machine.hand(wrong), "root", Wrong)
	d.gives(d.machine.hand(wrong), "root", Wrong)
	d.refused(d.do(Options{}), diag.Refused, "one try left of 3")
	d.untouched("root", 2)
}
