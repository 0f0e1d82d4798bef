package sshd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/tests/need"
)

// contrib is the sshd of the node n1, with contrib/ssh's snippet and the files
// that rp-genmaps makes for it. The VPN is a part of the loopback network.
type contrib struct {
	*testing.T
	*Server
	genmaps string
	keys    map[string]string // public, by node
}

const here = "127.77.0.1"

func snippet(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../contrib/ssh/rplan.conf")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("10.77.0.0/24", "127.77.0.0/24", "/var/lib/rplan/", Seen+"/").Replace(string(text))
}

func newContrib(t *testing.T) *contrib {
	need.Root(t)
	c := &contrib{T: t, Server: Start(t, snippet(t), here, "127.0.0.1"), genmaps: filepath.Join(t.TempDir(), "rp-genmaps")}
	c.keys = map[string]string{"n1": c.HostKey}
	for _, node := range []string{"n2", "n3"} {
		c.keys[node] = NewKey(t, filepath.Join(c.Dir, node), "ed25519")
	}
	c.Write("rplan.toml", fmt.Sprintf(`node = "n1"
[network]
nodes-domain = "nodes.example.net"
[directory]
urls = ["ldif:directory.ldif"]
base = "dc=example"
[genmaps]
output = "%s/maps"
[genmaps.ssh]
command = "%s/stand-in"
port = %d
`, c.Dir, Seen, c.Port))
	c.Write("stand-in", "#!/bin/sh\necho \"$@: $SSH_ORIGINAL_COMMAND\"\n")
	err := os.Chmod(filepath.Join(c.Dir, "stand-in"), 0o755)
	if err == nil {
		var out []byte
		if out, err = exec.Command("go", "build", "-o", c.genmaps, "rplan/cmd/rp-genmaps").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publish makes n1's maps with these states, "up" for a node that is not named.
func (c *contrib) publish(states map[string]string) {
	c.Helper()
	ldif := "dn: a=a,ou=forwards,dc=example\nobjectClass: rplanForward\nrplanAddress: a@example.org\nrplanTarget: b@far.example\n\n" +
		"dn: d=d,ou=domains,dc=example\nobjectClass: rplanDomain\nrplanDomainName: example.org\n\n"
	for i, node := range []string{"n1", "n2", "n3"} {
		state := "up"
		if states[node] != "" {
			state = states[node]
		}
		ldif += fmt.Sprintf("dn: n=%[1]s,ou=nodes,dc=example\nobjectClass: rplanNode\nrplanNodeName: %[1]s\nrplanState: %[2]s\nrplanRole: dns\n"+
			"rplanVpnAddress: 127.77.0.%[3]d\nrplanSshKey: %[4]s a comment\n\n", node, state, i+1, c.keys[node])
	}
	c.Server.Write("directory.ldif", ldif)
	if out, err := exec.Command(c.genmaps, "--config", filepath.Join(c.Dir, "rplan.toml"), "--only", "ssh").CombinedOutput(); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
}

// login is what a node gets that comes from an address with the key in a file of Dir.
func (c *contrib) login(from, key string, options ...string) string {
	c.Helper()
	argv := append([]string{"-F", "/dev/null", "-i", filepath.Join(c.Dir, key), "-b", from, "-l", "root", "-p", fmt.Sprint(c.Port), "-o", "BatchMode=yes",
		"-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-o", "UserKnownHostsFile=" + filepath.Join(c.Dir, "maps/ssh/known_hosts"), "-o", "StrictHostKeyChecking=yes"}, options...)
	out, _ := exec.Command("ssh", append(argv, "--", here, "status x")...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

const denied = "Permission denied (publickey"

// A node gets in from its own address, for its one command, until it is evicted.
func TestNodesAreLetIn(t *testing.T) {
	c := newContrib(t)
	c.publish(nil)
	for _, try := range []struct{ what, from, key, want string }{
		{"itself", "127.77.0.2", "n2", "serve n2: status x"},
		{"another", "127.77.0.3", "n3", "serve n3: status x"},
		{"from another node's address", "127.77.0.3", "n2", denied},
		{"from outside of the VPN", "127.88.0.2", "n2", denied},
		{"the node itself", here, "host_key", denied},
	} {
		if got := c.login(try.from, try.key); !strings.Contains(got, try.want) {
			t.Errorf("%s: %q, want %q", try.what, got, try.want)
		}
	}
	if got := c.login("127.77.0.2", "n2", "-tt"); !strings.Contains(got, "PTY allocation request failed") {
		t.Errorf("with a terminal: %q", got)
	}
	if got := c.login("127.77.0.2", "n2", "-W", "127.0.0.1:1"); !strings.Contains(got, "stdio forwarding failed") {
		t.Errorf("forwarding: %q", got)
	}
	if got := c.login("127.77.0.2", "n2", "-s"); !strings.Contains(got, "subsystem request failed") {
		t.Errorf("a subsystem: %q", got)
	}
	for _, state := range []string{"draining", "out", "returning"} {
		c.publish(map[string]string{"n2": state})
		if got := c.login("127.77.0.2", "n2"); got != "serve n2: status x" {
			t.Errorf("%s: %q", state, got)
		}
	}
	c.publish(map[string]string{"n2": "evicted"})
	if got := c.login("127.77.0.2", "n2"); !strings.Contains(got, denied) {
		t.Errorf("evicted: %q", got)
	}
	if got := c.login("127.77.0.3", "n3"); got != "serve n3: status x" {
		t.Errorf("after that, another: %q", got)
	}
}

// Root's own keys are as they were, from everywhere; the snippet is for root and the VPN, and for nobody after it.
func TestOthersAreAsBefore(t *testing.T) {
	c := newContrib(t)
	c.publish(nil)
	NewKey(t, filepath.Join(c.Dir, "admin"), "ed25519")
	c.Server.Run("/bin/sh", "-ec", "install -d -m 700 /root/.ssh; install -m 600 "+Seen+"/admin.pub /root/.ssh/authorized_keys; install -m 600 "+Seen+"/admin.pub "+Seen+"/authorized_keys")
	for _, from := range []string{"127.77.0.2", "127.88.0.2"} {
		if got := c.login(from, "admin"); !strings.Contains(got, "status: ") || strings.Contains(got, "serve") {
			t.Errorf("an admin from %s: %q", from, got)
		}
	}
	c.Server.Write("snippet.conf", snippet(t))
	c.Server.Write("whole", "Include "+Seen+"/snippet.conf\nMaxAuthTries 7\nHostKey "+Seen+"/host_key\n")
	for _, who := range []struct {
		user, from string
		maps       bool
	}{{"root", "127.77.0.2", true}, {"root", "192.0.2.1", false}, {"nobody", "127.77.0.2", false}} {
		settings := c.Server.Run("/usr/sbin/sshd", "-T", "-f", Seen+"/whole", "-C", "host=x,user="+who.user+",addr="+who.from)
		if !strings.Contains(settings, "\nmaxauthtries 7\n") || strings.Contains(settings, "/maps/ssh/authorized_keys") != who.maps ||
			!strings.Contains(settings, "\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2") {
			t.Errorf("%+v:\n%s", who, settings)
		}
	}
}

// sshd does not believe a file that others could have written.
func TestModesMatter(t *testing.T) {
	c := newContrib(t)
	c.publish(nil)
	dir := filepath.Join(c.Dir, "maps/ssh")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Debian's sshd puts up with a group that has no other member than the user.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := c.login("127.77.0.2", "n2"); !strings.Contains(got, denied) {
		t.Errorf("a directory that all may write: %q", got)
	}
}
