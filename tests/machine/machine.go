// Package machine is a node that really boots: Debian's kernel for User-mode Linux, an initramfs that Debian's
// mkinitramfs makes, with dropbear and contrib/initramfs, an encrypted root, a second encrypted disk, and one that the running system opens.
//
// It needs root, /dev/net/tun and packages, and neither a virtual machine nor loop devices nor a device-mapper.
package machine

import (
	"bytes"
	"context"
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

	"rplan/tests/need"
)

// Address is where every machine is, each in a network of its own.
const Address = "10.0.2.15"

// Patience is how long is waited for what takes a second where there is nothing else to do.
const Patience = 3 * time.Minute

// Need skips t unless machines can be built and started.
func Need(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Program(t, "linux.uml", "mkinitramfs", "mkfs.ext4", "debugfs", "e2fsck", "cryptsetup", "dropbear", "dropbearconvert",
		"busybox", "cpio", "findmnt", "blkid", "unshare", "nsenter", "ip", "ssh", "ssh-keyscan", "ssh-agent", "age-keygen")
	need.File(t, "/dev/net/tun", "/usr/share/initramfs-tools/hooks/dropbear", "/usr/share/initramfs-tools/hooks/cryptroot")
	need.Netns(t)
}

// Machine is one that can be switched on.
type Machine struct {
	testing.TB
	Disks
	network *exec.Cmd // holds it
	power   *exec.Cmd // nil: off
}

// New is a machine with these disks, which is off.
func New(t testing.TB, d Disks) *Machine {
	t.Helper()
	m := &Machine{TB: t, Disks: d}
	m.network = exec.Command("unshare", "-n", "sh", "-ec", `
ip link set lo up
ip tuntap add dev tap0 mode tap
ip address add 10.0.2.2/24 dev tap0
ip link set tap0 up
echo ready
exec sleep infinity`)
	said, err := m.network.StdoutPipe()
	must(t, err)
	var errs bytes.Buffer
	m.network.Stderr = &errs
	must(t, m.network.Start())
	t.Cleanup(func() {
		m.Off()
		_ = m.network.Process.Kill()
		_ = m.network.Wait()
		if t.Failed() {
			t.Logf("the end of the console:\n%s", tail(m.Console()))
		}
	})
	if _, err := io.ReadAtLeast(said, make([]byte, 6), 6); err != nil {
		t.Fatalf("a network with a TAP: %v: %s", err, &errs)
	}
	return m
}

// Command is a program that runs on another machine of the same network.
func (m *Machine) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(m.network.Process.Pid), "-n", "--"}, argv...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

// On switches it on. It starts the kernel and the initramfs that are in its /boot.
func (m *Machine) On() {
	m.Helper()
	for _, one := range m.drives(m) {
		m.PowerUp(m, one.serial)
	}
	name := kernel(m)
	m.dump(m, "vmlinuz-"+name, m.path("vmlinuz"))
	m.dump(m, "initrd.img-"+name, m.path("initrd"))
	must(m, os.Chmod(m.path("vmlinuz"), 0o700))
	console, err := os.Create(m.path("console"))
	must(m, err)
	defer console.Close()
	// Nobody types anything; without a keyboard the prompt would end.
	keyboard, typed, err := os.Pipe()
	must(m, err)
	defer keyboard.Close()
	m.power = m.Command(context.Background(), "./vmlinuz", "mem=160M",
		"ubd0="+bootImage, "ubd1="+rootImage, "ubd2="+dataImage, "ubd3="+smartFile, "ubd4="+mailImage, "initrd=initrd",
		"eth0=tuntap,tap0", "ip="+Address+"::10.0.2.2:255.255.255.0:n1:eth0:off",
		"root=/dev/mapper/"+RootDisk, "panic=1", "pty.legacy_count=0", "con=null", "con0=fd:0,fd:1")
	m.power.Dir = m.dir
	m.power.Env = append(os.Environ(), "TMPDIR="+m.dir, "HOME="+m.dir)
	m.power.Stdin, m.power.Stdout, m.power.Stderr = keyboard, console, console
	m.power.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(m, m.power.Start())
	m.Cleanup(func() { typed.Close() })
}

// Off cuts the power.
func (m *Machine) Off() {
	if m.power == nil {
		return
	}
	_ = syscall.Kill(-m.power.Process.Pid, syscall.SIGKILL) // it has processes for its own
	_ = m.power.Wait()
	m.power = nil
}

// Console is what it has shown there since it was switched on.
func (m *Machine) Console() string {
	text, _ := os.ReadFile(m.path("console"))
	return string(text)
}

// Shows waits for words on the console.
func (m *Machine) Shows(words string) {
	m.Helper()
	m.ShowsAgain(words, 1)
}

// ShowsAgain waits until they were there n times.
func (m *Machine) ShowsAgain(words string, n int) {
	m.Helper()
	m.await(fmt.Sprintf("not %d times %q on the console", n, words), func() bool { return strings.Count(m.Console(), words) >= n })
}

// Answers waits until its sshd shows this public key.
func (m *Machine) Answers(key string) {
	m.Helper()
	fields := strings.Fields(key)
	m.await("no answer with the host key "+key, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		out, _ := m.Command(ctx, "ssh-keyscan", "-T", "10", "-t", "ed25519", Address).Output()
		return strings.Contains(string(out), fields[1])
	})
}

func (m *Machine) await(missing string, there func() bool) {
	m.Helper()
	for end := time.Now().Add(Patience); !there(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("%s in %s", missing, Patience)
		}
	}
}

// Says runs a command on it by SSH, with a private key, where its host key is this, and returns what that said.
func (m *Machine) Says(key, hostKey, stdin string, command string) (string, error) {
	m.Helper()
	known := filepath.Join(m.TempDir(), "known")
	must(m, os.WriteFile(known, []byte(Address+" "+hostKey), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := m.Command(ctx, "ssh", "-F", "/dev/null", "-T", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, "-o", "GlobalKnownHostsFile=/dev/null", "root@"+Address, command)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
