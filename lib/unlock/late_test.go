package unlock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/store"
	"rplan/tests/crypt"
	"rplan/tests/need"
)

// data gives the node a disk of data that its running system opens and mounts.
func (d *desk) data(name, uuid string) {
	d.Helper()
	path := filepath.Join(d.root, "data")
	crypt.LUKS(d.T, path, "luks2")
	addKey(d.T, path, "secret of "+name)
	d.copy(need.Program(d, "findmnt"), "bin/findmnt")
	// A mapping that the stand-in for cryptsetup makes has no file system in it.
	d.put("bin/mount", "#!/bin/sh\nexec /bin/busybox mount -t tmpfs \"$1\" \"$2\"\n")
	d.ok(os.MkdirAll(filepath.Join(d.root, "srv"), 0o755))
	text := d.read("store/nodes/n1.toml") + fmt.Sprintf("[[disk]]\nname = %q\nwhere = \"system\"\ndevice = \"/data\"\nmount = \"/srv\"\nuuid = %q\nadmins = [\"ada\"]\n", name, uuid)
	d.add("n1", text)
	d.seal("n1", name, "secret of "+name)
}

// runs makes it a node whose system runs.
func (d *desk) runs() {
	d.Helper()
	d.ok(os.Remove(filepath.Join(d.root, "conf/initramfs.conf")))
	d.listens("sys", d.sys)
}

// inside1 runs a command in the node.
func (d *desk) inside1(argv ...string) string {
	d.Helper()
	return d.run(d.inside(argv...)...)
}

func (d *desk) uuid() string {
	d.Helper()
	return strings.TrimSpace(crypt.Cryptsetup(d.T, "", "luksUUID", filepath.Join(d.root, "data")))
}

// TestDataDisk: first what the initramfs asks for, then the disk of data.
func TestDataDisk(t *testing.T) {
	d := newDesk(t, "root")
	d.data("mail", "")
	d.enrolled()
	stop := d.listens("boot", d.boot)
	go func() {
		for !d.opened("root") {
			time.Sleep(50 * time.Millisecond)
		}
		d.runs()
	}()
	d.ok(d.do(Options{}))
	if mounts := d.inside1("/bin/findmnt", "-rn", "/srv"); !strings.Contains(mounts, "/dev/mapper/mail") {
		t.Errorf("mounted is %q\n%s", mounts, &d.errs)
	}
	if !strings.Contains(d.errs.String(), "disk mail: open") || !strings.Contains(d.out.String(), "node n1 is up") {
		t.Errorf("%s%s", &d.out, &d.errs)
	}
	stop()
	d.ok(d.do(Options{}))
	if !strings.Contains(d.errs.String(), "nothing to unlock") {
		t.Error(d.errs.String())
	}
	// Closed by hand since: the node runs, and it alone is asked for.
	d.inside1("/bin/umount", "/srv")
	d.inside1("/bin/rm", "/dev/mapper/mail")
	d.ok(d.do(Options{}))
	d.inside1("/bin/umount", "/srv") // open, and not mounted: no passphrase is needed for that
	d.ok(d.do(Options{}))
	if mounts := d.inside1("/bin/findmnt", "-rn", "/srv"); !strings.Contains(mounts, "/dev/mapper/mail") {
		t.Errorf("mounted is %q\n%s", mounts, &d.errs)
	}
	if entries := d.entries(); len(entries) != 3 || entries[0].Result != "open" || entries[2].Result != "open" {
		t.Errorf("%d entries", len(entries))
	}
}

// alone makes the node one whose system is not encrypted: it comes up by itself.
func (d *desk) alone(uuid string) {
	d.Helper()
	d.add("n1", fmt.Sprintf("[system]\nhost = \"127.0.0.1\"\nport = %d\nhost-keys = [%q]\n", d.sys, strings.TrimSpace(d.read("sys.pub"))))
	d.data("mail", uuid)
	d.ok(os.Remove(filepath.Join(d.root, "boot/rplan-alive")))
	d.put("boot/rplan-before", fmt.Sprint(time.Now().Unix()))
	d.runs()
	d.enrolled()
}

// TestDataDiskFaults: what stops it, and what was sent.
func TestDataDiskFaults(t *testing.T) {
	d := newDesk(t)
	d.alone("")
	text := d.read("store/nodes/n1.toml")

	d.add("n1", strings.Replace(text, `uuid = ""`, `uuid = "12345678-1234-1234-1234-123456789012"`, 1))
	d.refused(d.do(Options{}), diag.Failed, `disk "mail"`, "another LUKS device", "nothing was sent")
	d.add("n1", strings.Replace(text, `"/data"`, `"/absent"`, 1))
	d.now = stepped(16 * time.Second)
	d.refused(d.do(Options{}), diag.Failed, `disk "mail"`, "no LUKS device", "/absent")
	d.now = time.Now
	d.add("n1", strings.Replace(text, `uuid = ""`, fmt.Sprintf("uuid = %q", d.uuid()), 1))
	d.seal("n1", "mail", "wrong")
	d.refused(d.do(Options{}), diag.Failed, `disk "mail"`, "wrong passphrase", "rp-rekey seal n1 mail")
	if d.opened("mail") {
		t.Fatal("it is open")
	}
	d.seal("n1", "mail", "secret of mail")
	d.ok(os.Remove(filepath.Join(d.root, "srv")))
	d.refused(d.do(Options{}), diag.Failed, `disk "mail"`, "not mounted", "/srv")
	d.ok(os.Mkdir(filepath.Join(d.root, "srv"), 0o755))
	d.ok(d.do(Options{}))

	results := map[string]bool{}
	for _, e := range d.entries() {
		results[e.Result] = true
	}
	if len(results) != 5 || !results["it runs; mail: wrong passphrase"] || !results["open"] {
		t.Errorf("%v", results)
	}
}

// stepped is a clock that goes on with each look, for what waits until a time.
func stepped(by time.Duration) func() time.Time {
	steps := 0
	return func() time.Time { steps++; return time.Now().Add(time.Duration(steps-1) * by) }
}

// TestFaster: two admins at the same disk at the same time.
func TestFaster(t *testing.T) {
	d := newDesk(t)
	d.alone("")
	c := &command{Options: Options{Node: "n1"}, env: &d.env}
	s, err := d.place().Open(context.Background())
	d.ok(err)
	c.store, c.node = s, s.Nodes["n1"]
	disk := c.node.Disk("mail")
	for range 2 {
		if out, said := c.give(context.Background(), disk, crypt.Secret(t, "secret of mail")); out != Opened {
			t.Errorf("%s: %s", out, said)
		}
	}
}

// TestSelf: a node that comes up by itself is judged by how long it was off before.
func TestSelf(t *testing.T) {
	d := newDesk(t)
	d.alone("")
	d.put("boot/rplan-before", fmt.Sprint(time.Now().Add(-48*time.Hour).Unix()))
	d.now = func() time.Time { return time.Now().Add(9 * time.Minute) }
	d.put("boot/rplan-boots", "8")
	text, err := os.ReadFile(script)
	d.ok(err)
	d.put("usr/lib/rplan/rplan-probe", strings.Replace(string(text), `echo "up $(cut -d. -f1 /proc/uptime)"`, "echo up 60", 1))
	d.refused(d.do(Options{}), diag.Suspicious, "off for", "at most 8 min", "boots")
	d.put("boot/rplan-before", fmt.Sprint(d.now().Add(-2*time.Minute).Unix()))
	d.ok(d.do(Options{}))
}

func TestParseStates(t *testing.T) {
	disks := []*store.Disk{{Name: "a"}, {Name: "b"}}
	if got, err := parseStates([]byte("b locked\na ready\n"), disks); err != nil || got["a"] != ready || got["b"] != locked {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "a locked\n", "a locked\nb locked\nc locked\n", "a locked\na locked\n", "a locked\nb burnt\n", "a locked\nb\n", "\x1b[2Ja locked\nb open\n"} {
		if got, err := parseStates([]byte(text), disks); err == nil {
			t.Errorf("%q: %v", text, got)
		} else if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestEnrol: what is different from the last time is shown, and has to be said to be well.
func TestEnrol(t *testing.T) {
	d := newDesk(t, "root")
	d.refused(d.do(Options{Enrol: true}), diag.TryAgain, "Connection refused")
	d.runs()
	for range 2 {
		d.ok(d.do(Options{Enrol: true}))
		if strings.Contains(d.out.String(), "since it was enrolled") {
			t.Error(d.out.String())
		}
	}
	d.put("boot/vmlinuz-6.1", "another kernel")
	d.refused(d.do(Options{Enrol: true}), diag.Usage, "no terminal", "since it was enrolled on", "/boot/vmlinuz-6.1")
	d.refused(d.do(Options{Check: true}), diag.Suspicious, "/boot/vmlinuz-6.1")
	d.ok(d.do(Options{Enrol: true, Yes: true}))
	d.ok(d.do(Options{Check: true}))
}

func FuzzStates(f *testing.F) {
	f.Add([]byte("b locked\na ready\n"))
	f.Add([]byte("a locked\nb locked\nc locked\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		disks := []*store.Disk{{Name: "a"}, {Name: "b"}}
		got, err := parseStates(text, disks)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("%q steers a terminal", err)
			}
		} else if len(got) != 2 || got["a"] == "" || got["b"] == "" {
			t.Errorf("%v", got)
		}
	})
}
