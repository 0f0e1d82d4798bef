package store

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzManifest: what is taken for a manifest is written back as it was, and names
// nothing outside the store.
func FuzzManifest(f *testing.F) {
	m := &manifest{ID: storeID, Epoch: 3, Previous: noManifest, Date: time.Unix(1_800_000_000, 0), By: "ada", What: "sealed \"root\"",
		Files:   map[string]string{settingsFile: sum(nil), SealedPath("n1", "root"): sum([]byte("x"))},
		Signers: []Signer{{"ada", someKey}}, Sealed: map[string][]string{SealedPath("n1", "root"): {someRecipient, someKey}}}
	f.Add(m.text())
	m.Sealed = nil
	f.Add(m.text())
	f.Add([]byte("rplan-store 1\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest("fuzz", text)
		if err != nil {
			return
		}
		if !bytes.Equal(m.text(), text) {
			t.Errorf("%q is written as %q", text, m.text())
		}
		for name := range m.Files {
			if strings.Contains(name, "..") && !strings.HasPrefix(name, sealedDir) || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\x00\\ ") {
				t.Errorf("it lists %q", name)
			}
		}
	})
}

const (
	someKey       = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5hDqLxTmEY8aJQJ8cPq7kEpTVLq6mUqEjlJD9rKxkE"
	someRecipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
)

func TestManifestOfTheCorpus(t *testing.T) {
	if _, err := plainKey(someKey); err != nil {
		t.Error(err)
	}
	if r, err := plainRecipient(someRecipient + "\n"); err != nil || r != someRecipient {
		t.Error(r, err)
	}
}

// FuzzNode: a node's file that is taken has nothing that ssh, a shell or a terminal would take for more than a name.
func FuzzNode(f *testing.F) {
	n := &Node{Initramfs: &Target{Host: "192.0.2.1", Port: 2222, HostKeys: []string{someKey}, Unlock: Systemd}, System: Target{Host: "n1.example.net", User: "root", HostKeys: []string{someKey}},
		Policy: Policy{MaxOff: Duration(time.Hour)}, Disks: []Disk{{Name: "root", Admins: []string{"ada"}}, {Name: "data_1", Where: "system", Device: "/dev/disk/by-uuid/x", Mount: "/srv", Admins: []string{"ada"}}}}
	f.Add(encode(n))
	f.Add([]byte("[system]\nhost = \"-oProxyCommand=x\"\n"))
	admins := map[string]*Admin{"ada": {}}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := &Node{Name: "n1"}
		if decode("fuzz", text, n) != nil || n.check(admins) != nil {
			return
		}
		targets := []*Target{&n.System}
		if n.Initramfs != nil {
			targets = append(targets, n.Initramfs)
		}
		for _, x := range targets {
			if strings.HasPrefix(x.Host, "-") || strings.ContainsAny(x.Host+x.User+x.Unlock, " \t\n\"'`$;&|<>\\\x1b") || x.Port < 0 || x.Port > maxPort {
				t.Errorf("%+v", x)
			}
		}
		for _, d := range n.Disks {
			if strings.ContainsAny(d.Name+d.Device+d.Mount+d.UUID, " \t\n\"'`$;&|<>\\\x1b") || strings.HasPrefix(d.Name, "-") {
				t.Errorf("%+v", d)
			}
		}
		again := &Node{Name: "n1"}
		if err := decode("fuzz", encode(n), again); err != nil {
			t.Errorf("%v: %s", err, encode(n))
		} else if err := again.check(admins); err != nil {
			t.Error(err)
		}
	})
}
