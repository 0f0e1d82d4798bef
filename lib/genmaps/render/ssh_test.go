package render

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"rplan/lib/directory"
)

// sshKey is a key that is made of text.
func sshKey(text string) string {
	const kind = "ssh-ed25519"
	blob := append(binary.BigEndian.AppendUint32(nil, uint32(len(kind))), kind...)
	blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(text))), text...)
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}

// sshInput is nodes of this name and state, each with the given keys, seen by n1.
func sshInput(t *testing.T, nodes ...[]string) *Input {
	t.Helper()
	b := directory.NewBuilder(directory.Network{NodesDomain: "nodes.example.net"})
	for _, n := range nodes {
		b.Add(dnsRecord(directory.KindNode, n[0], n[1], n[2], "", "dns", "", "", "", strings.Join(n[3:], ",")))
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return &Input{Snapshot: s, Self: s.Node("n1"), Settings: Defaults()}
}

const sshHead = "# Made by rp-genmaps from the directory. What is changed here is lost.\n"

func sshFiles(t *testing.T, in *Input) (authorized, known string) {
	t.Helper()
	files := SSH(in)
	if len(files) != 2 || files[0].Name != "authorized_keys" || files[1].Name != "known_hosts" {
		t.Fatalf("files are %+v", files)
	}
	for _, f := range files {
		if f.Service != "ssh" || !f.Urgent || f.Reload || f.Guarded || f.Format != Document || !strings.HasPrefix(string(f.Text), sshHead) {
			t.Errorf("%+v", f)
		}
	}
	return strings.TrimPrefix(string(files[0].Text), sshHead), strings.TrimPrefix(string(files[1].Text), sshHead)
}

// Each state but one may come in and is known; this node is known to itself only.
func TestSSH(t *testing.T) {
	in := sshInput(t, []string{"n1", "up", "10.77.0.1", sshKey("1")}, []string{"n6", "draining", "fd77::6", sshKey("6")},
		[]string{"n3", "out", "10.77.0.3", sshKey("3b"), sshKey("3a") + " root@n3"}, []string{"n2", "returning", "10.77.0.2", sshKey("2")},
		[]string{"n4", "evicted", "10.77.0.4", sshKey("4")}, []string{"n5", "up", "10.77.0.5"})
	authorized, known := sshFiles(t, in)
	line := `restrict,from="%s",command="/usr/sbin/rp-failover serve %s" %s %[2]s` + "\n"
	equal(t, "authorized_keys", authorized, fmt.Sprintf(line, "10.77.0.2", "n2", sshKey("2"))+fmt.Sprintf(line, "10.77.0.3", "n3", sshKey("3a"))+
		fmt.Sprintf(line, "10.77.0.3", "n3", sshKey("3b"))+fmt.Sprintf(line, "fd77::6", "n6", sshKey("6")))
	equal(t, "known_hosts", known, "10.77.0.1 "+sshKey("1")+" n1\n10.77.0.2 "+sshKey("2")+" n2\n10.77.0.3 "+sshKey("3a")+" n3\n10.77.0.3 "+
		sshKey("3b")+" n3\nfd77::6 "+sshKey("6")+" n6\n")

	in.Settings.SSH = SSHSettings{Command: "/usr/local/bin/rp-failover", Port: 2222}
	authorized, known = sshFiles(t, in)
	if !strings.Contains(authorized, `command="/usr/local/bin/rp-failover serve n2"`) || !strings.Contains(known, "\n[10.77.0.2]:2222 ssh") || !strings.Contains(known, "\n[fd77::6]:2222 ssh") {
		t.Errorf("by other settings:\n%s%s", authorized, known)
	}
}

// An evicted node does not come back under another name with the key that it had.
func TestSSHKeyOfAnEvictedNode(t *testing.T) {
	in := sshInput(t, []string{"n1", "up", "10.77.0.1", sshKey("1")}, []string{"n2", "evicted", "10.77.0.2", sshKey("2") + " old"},
		[]string{"n3", "up", "10.77.0.3", sshKey("2"), sshKey("3")})
	authorized, known := sshFiles(t, in)
	if text := authorized + known; strings.Contains(text, sshKey("2")) || strings.Contains(text, "10.77.0.2") || strings.Count(text, sshKey("3")) != 2 {
		t.Errorf("got\n%s", text)
	}
}

// Whatever an entry has for a key, each line lets in one node from its address to one command, or nobody.
func TestHostileSSHKeys(t *testing.T) {
	key := sshKey("2")
	in := sshInput(t, []string{"n1", "up", "10.77.0.1", sshKey("1")}, []string{"n2", "up", "10.77.0.2",
		key + "\n" + sshKey("x"), "no-pty " + key, `command="id" ` + sshKey("y"), key + ` ",command="`, "\n" + sshKey("z"), "@revoked * " + sshKey("r"),
		"* " + key, "ssh-ed25519", sshKey("1") + " same as n1"})
	line := regexp.MustCompile(`^(restrict,from="10\.77\.0\.2",command="/usr/sbin/rp-failover serve n2"|10\.77\.0\.[12]) ssh-ed25519 [A-Za-z0-9+/]+=* n[12]$`)
	authorized, known := sshFiles(t, in)
	if strings.Count(authorized, "\n") != 2 {
		t.Errorf("got\n%s", authorized)
	}
	for l := range strings.Lines(authorized + known) {
		if !line.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("the line %q", l)
		}
	}
}
