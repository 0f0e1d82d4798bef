package machine

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/unlock"
	"rplan/tests/namespaces"
)

// TestMain runs the tests in namespaces: what is mounted is gone with them, and every machine ends with them.
func TestMain(m *testing.M) {
	namespaces.Main(func() int {
		if namespaces.Own() {
			for _, argv := range [][]string{{"mount", "--make-rprivate", "/"}, {"mount", "-t", "proc", "proc", "/proc"}} {
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
					fmt.Fprintf(os.Stderr, "%q: %v: %s", argv, err, out)
					return 1
				}
			}
		}
		return m.Run()
	})
}

const (
	initramfs = "initramfs"
	system    = "system"
)

// passphrases are those of the disks, as long as real ones.
var passphrases = map[string]string{
	RootDisk: "tXk4mWq7vRj2hNc9pLz6bGf3dSy8aKe5uHw4tQm7",
	DataDisk: "gJr5nBv8cYx3kPd6wTs9fMh2zLq7aRe4uVk5jXn8",
	MailDisk: "bQz7kRt2wMv5hXc8nJp4dFs6gLy3aUe9tKm2jWq5",
}

// scene is a machine and the desk of its admin.
type scene struct {
	*desk
	m *Machine
}

// TestMachine installs a machine and enrols it. Then all that may come of that is tried, each with disks
// and a store of its own: the power was cut after the enrolment.
func TestMachine(t *testing.T) {
	Need(t)
	if !namespaces.Own() {
		t.Fatal("namespaces can be made, but the tests do not run in them")
	}
	dir := scratch(t)
	start := time.Now()
	d := newDesk(t, dir, passphrases)
	t.Logf("a desk: %.1f s", time.Since(start).Seconds())
	start = time.Now()
	disks := Build(t, dir, d.keys, passphrases)
	t.Logf("a machine: %.1f s", time.Since(start).Seconds())
	s := &scene{d, New(t, disks)}
	s.enrol()
	if t.Failed() {
		return
	}
	t.Run("then", func(t *testing.T) {
		for _, c := range []struct { // the longest first
			name     string
			scenario func(*scene)
		}{
			{"clean", (*scene).clean},
			{"wrong passphrase", (*scene).wrongPassphrase},
			{"initramfs", (*scene).initramfs},
			{"off", (*scene).off},
			{"last try", (*scene).lastTry},
			{"header", (*scene).header},
			{"power cycle", (*scene).powerCycle},
			{"host key", (*scene).hostKey},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				dir := scratch(t)
				c.scenario(&scene{d.copy(t, dir), New(t, disks.Copy(t, dir))})
			})
		}
	})
}

// scratch is a directory in memory.
func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", "mode=755", "none", dir)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

// waits switches the machine on, and waits until it asks for a passphrase.
func (s *scene) waits() {
	s.Helper()
	s.starts("initramfs")
}

// starts does so where the initramfs has that host key.
func (s *scene) starts(key string) {
	s.Helper()
	start := time.Now()
	s.m.On()
	s.m.Shows("Please unlock disk " + RootDisk)
	s.m.Answers(s.public(key))
	s.Logf("it waits: %.1f s", time.Since(start).Seconds())
}

// untouched wants that no passphrase came to the machine, not even an empty one.
func (s *scene) untouched() {
	s.Helper()
	if console := s.m.Console(); strings.Contains(console, "cryptsetup:") || strings.Count(console, "Please unlock disk") != 1 {
		s.Error("a passphrase was sent")
	}
}

// enrol: nobody knows the machine, so it is unlocked by hand this once.
func (s *scene) enrol() {
	s.calls(s.m, 2, []string{"was never enrolled"}, "n1")
	s.waits()
	for _, disk := range []string{RootDisk, DataDisk} {
		s.m.Shows("Please unlock disk " + disk)
		if said, err := s.m.Says(s.key("admin"), s.public("initramfs"), passphrases[disk], ""); err != nil {
			s.Fatalf("disk %s: %v: %s", disk, err, said)
		}
	}
	s.m.Answers(s.public("system"))
	s.hook()
	s.calls(s.m, 0, []string{"3 files of /boot, 3 LUKS headers, 4 drives"}, "--enrol", "n1")
	s.m.Off()
}

// hook: on the machine itself the hook finds what it was told when the image was made.
func (s *scene) hook() {
	s.Helper()
	const conf = "cat /etc/rplan-probe.conf"
	ask := func(command string) []string {
		said, err := s.m.Says(s.key("admin"), s.public("system"), "", command)
		if err != nil {
			s.Fatalf("%q: %v: %s", command, err, said)
		}
		words := strings.FieldsFunc(said, func(r rune) bool { return strings.ContainsRune(" \n'", r) })
		slices.Sort(words) // the order of the devices is any
		return words
	}
	told := ask(conf)
	// What it would copy is there already: the machine has no ldd(1).
	found := ask("mkdir -p /tmp/x && ln -s /bin /sbin /tmp/x && chmod -x /sbin/smartctl && rm /etc/rplan-probe.conf && " +
		"DESTDIR=/tmp/x verbose=n sh /etc/initramfs-tools/hooks/rplan && chmod +x /sbin/smartctl && sync && " + conf)
	if !slices.Equal(told, found) || !slices.Contains(found, "UUID="+bootUUID) || !slices.Contains(found, "/dev/disk/by-uuid/"+dataUUID) {
		s.Errorf("the hook finds %q on the machine, %q was put into the image", found, told)
	}
}

// clean: all is as it was, before it is unlocked, when it runs, and when the power fails once more.
func (s *scene) clean() {
	s.waits()
	s.judges(s.m, initramfs, unlock.Clean, nil, "--check", "n1")
	s.untouched()
	s.calls(s.m, 0, []string{"disk cryptroot: open", "disk data: open", "disk mail: open", "node n1 is up"}, "n1")
	if said, err := s.m.Says(s.key("admin"), s.public("system"), "", "findmnt -rn /srv"); err != nil || !strings.HasPrefix(said, "/srv /dev/mapper/mail ext4 rw,nosuid") {
		s.Errorf("mounted is %q, %v", said, err)
	}
	if e := s.last(); e.Verdict != "clean" || e.Result != "open" || e.Rotate {
		s.Errorf("%+v", e)
	}
	s.calls(s.m, 0, []string{"there is nothing to unlock"}, "n1")
	s.judges(s.m, system, unlock.Clean, nil, "--check", "n1")
	s.m.Off()
	s.waits()
	s.judges(s.m, initramfs, unlock.Clean, nil, "--check", "n1")
}

// wrongPassphrase is that of the second disk: the first one is open then, and stays so.
func (s *scene) wrongPassphrase() {
	s.seal(DataDisk, "not "+passphrases[DataDisk])
	s.waits()
	s.calls(s.m, 3, []string{"disk cryptroot: open", "disk data: wrong passphrase", "not one of this disk's"}, "n1")
	s.seal(DataDisk, passphrases[DataDisk])
	said := s.calls(s.m, 0, []string{"disk data: open", "node n1 is up"}, "n1")
	if strings.Contains(said.errs, "disk "+RootDisk) {
		s.Errorf("the root disk is opened twice: %s", said.errs)
	}
}

// initramfs: it has one file more. The admin insists.
func (s *scene) initramfs() {
	s.m.AddToInitramfs(s.m, "scripts/init-bottom/spy", []byte("#!/bin/sh\n"))
	s.waits()
	s.calls(s.m, 4, []string{"SUSPICIOUS", "grave  /boot/initrd.img-" + kernel(s.m), "No passphrase was sent"}, "--yes", "n1")
	s.untouched()
	s.calls(s.m, 0, []string{"node n1 is up", "have to be replaced"}, "--override", "I have updated it and did not enrol it", "n1")
	if e := s.last(); e.Verdict != "suspicious" || !e.Rotate || !strings.Contains(e.Why, "I have updated it") {
		s.Errorf("%+v", e)
	}
}

// lastTry: two of three are spent by somebody else.
func (s *scene) lastTry() {
	s.waits()
	for tried := 1; tried <= 2; tried++ {
		if said, err := s.m.Says(s.key("admin"), s.public("initramfs"), "wrong", ""); err == nil {
			s.Errorf("try %d: %s", tried, said)
		}
		s.m.ShowsAgain("Please unlock disk "+RootDisk, tried+1)
	}
	s.calls(s.m, 2, []string{"has one try left of 3", "Nothing was sent"}, "n1")
	if n := strings.Count(s.m.Console(), "bad password"); n != 2 {
		s.Errorf("%d tries are spent", n)
	}
}

// header: an old passphrase of the root disk is valid again.
func (s *scene) header() {
	s.m.PutOldHeaderBack(s.m)
	s.waits()
	s.judges(s.m, initramfs, unlock.Suspicious, []string{"LUKS header " + rootUUID}, "n1")
	s.untouched()
}

// hostKey: the initramfs has another one.
func (s *scene) hostKey() {
	converted := s.m.path("other")
	run(s, "dropbearconvert", "openssh", "dropbear", s.key("other"), converted)
	key, err := os.ReadFile(converted)
	must(s, err)
	s.m.AddToInitramfs(s.m, "etc/dropbear/dropbear_ed25519_host_key", key)
	s.starts("other")
	s.calls(s.m, 2, []string{"another host key", "nothing sent"}, "n1")
	s.calls(s.m, 2, []string{"another host key"}, "--check", "n1")
	s.untouched()
}

// off for longer than the policy has it, until somebody says that it was planned.
func (s *scene) off() {
	s.maxOff("1s")
	s.waits()
	s.judges(s.m, initramfs, unlock.Suspicious, []string{"off for"}, "n1")
	s.untouched()
	s.calls(s.m, 0, nil, "--planned", "n1", "new memory")
	s.calls(s.m, 0, []string{"EXPLAINED", "new memory (ada)", "node n1 is up"}, "--yes", "n1")
	if e := s.last(); e.Verdict != "explained" || e.Rotate {
		s.Errorf("%+v", e)
	}
}

// powerCycle: the root disk was powered up once more, elsewhere.
func (s *scene) powerCycle() {
	s.m.PowerUp(s.m, "ROOT1")
	s.waits()
	s.judges(s.m, initramfs, unlock.Suspicious, []string{"drive ROOT1: power cycles"}, "n1")
	s.untouched()
}
