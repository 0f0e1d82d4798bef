package ssh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"rplan/tests/sshd"
)

// home gives what this test runs from now on another home directory, in which an admin has this configuration of ssh.
func home(t *testing.T, config string) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_FS); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".ssh/config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mount", "--make-rprivate", "/"}, {"mount", "--bind", dir, "/root"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
}

// reach runs a command, and returns what was said.
func reach(t *testing.T, p Personal, words ...string) (string, error) {
	t.Helper()
	argv, done, err := p.Via()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	out, err := exec.Command(argv[0], append(argv[1:], words...)...).CombinedOutput()
	return string(out), err
}

// TestOnly: one key, and none of those that the configuration has for all hosts; but the host is
// reached the way that the configuration says.
func TestOnly(t *testing.T) {
	server := sshd.Start(t, "")
	dir := t.TempDir()
	own, probe := filepath.Join(dir, "own"), filepath.Join(dir, "probe")
	ownKey, probeKey := sshd.NewKey(t, own, "ed25519"), sshd.NewKey(t, probe, "ed25519")
	server.Write("authorized_keys", `command="echo own" `+ownKey+"\n")
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", server.Port, server.HostKey), 0o600); err != nil {
		t.Fatal(err)
	}
	home(t, fmt.Sprintf(`Host node
	HostName 127.0.0.1
Host behind
	HostName 127.0.0.1
	ProxyJump root@jump
Host jump
	HostName 127.0.0.1
	Port %d
	UserKnownHostsFile %s
Host *
	IdentityFile %s
`, server.Port, known, own))
	p := Personal{Host: "node", Port: server.Port, User: "root", HostKeys: []string{server.HostKey}}
	if out, err := reach(t, p, "true"); err != nil || out != "own\n" {
		t.Errorf("the configured key: %q, %v", out, err)
	}
	p.Only = probe
	if out, err := reach(t, p, "true"); err == nil || !strings.Contains(out, "Permission denied") || strings.Contains(out, "own") {
		t.Errorf("a key that the host does not know: %q, %v", out, err)
	}
	server.Write("authorized_keys", "restrict,port-forwarding "+ownKey+"\nrestrict,command=\"echo probe\" "+probeKey+"\n")
	for _, host := range []string{"node", "behind"} {
		p.Host = host
		if out, err := reach(t, p, "true"); err != nil || out != "probe\n" {
			t.Errorf("%s: %q, %v", host, out, err)
		}
	}
	if !strings.Contains(server.Read("log"), "direct-tcpip") {
		t.Error("nobody went through the jump host")
	}
}

func TestJump(t *testing.T) {
	for hops, want := range map[string]string{
		"jump":                     "ssh -W '[%h]:%p' -- ssh://jump",
		"a@b:2222":                 "ssh -W '[%h]:%p' -- ssh://a@b:2222",
		"ssh://a@[2001:db8::1%25]": "ssh -W '[%h]:%p' -- ssh://a@[2001:db8::1%%25]",
		"one,u@two:22,three":       "ssh -W '[%h]:%p' -J one,u@two:22 -- ssh://three",
	} {
		if got, err := jump(hops); err != nil || got != want {
			t.Errorf("%s: %q, %v", hops, got, err)
		}
	}
	if got, err := jump("a; reboot"); err == nil {
		t.Error(got)
	}
}
