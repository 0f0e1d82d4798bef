package mail

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written are all places to which a program of the node can have written: in its namespace everything else
// belongs to the system that the tests came from.
func (n *Node) written() []string {
	return []string{"/var", "/run", n.kept, n.slapd.Dir}
}

// holding lists the regular files below the roots that have the text in them.
func holding(t *testing.T, text string, roots ...string) (found []string) {
	t.Helper()
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // gone meanwhile, or a socket
			}
			if data, _ := os.ReadFile(path); bytes.Contains(data, []byte(text)) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestNoClientAddressIsKept(t *testing.T) {
	n := run(t)
	makeList(t)
	// Each kind of traffic, refused too: all tests of this package use this address for users.
	c := smtpTo(t, client, public+":25")
	_ = c.Mail(outsider)
	_ = c.Rcpt("unknown@example.org")
	_ = c.Quit()
	post := strings.Replace(letter("seen-by-all"), outsider, "alice@example.org", 1)
	post = strings.Replace(post, "someone@elsewhere.example", "news@example.org", 1)
	deliver(t, smtpTo(t, client, public+":25"), "alice@example.org", post, "news@example.org", "office@example.org")
	arrives(t, "/var/vmail2", "carol@example.org", "seen-by-all")
	for _, user := range []string{"alice", "carol"} {
		imapTo(t, client, imaps).login(t, user+"@example.org", "pw-"+user)
	}
	imapTo(t, client, imaps).login(t, "alice@example.org", "wrong")

	send(t, letter("queued"), "dora@example.org")
	queued(t, "dora@example.org")
	if holding(t, client, "/var/spool/postfix") == nil {
		t.Error("the queue does not hold the address: this test looks in the wrong places")
	}
	if err := command("postsuper", "-d", "ALL"); err != nil {
		t.Fatal(err)
	}
	if found := holding(t, client, n.written()...); found != nil {
		t.Errorf("the client's address is in %q", found)
	}
	if found := holding(t, "127.9.8.", n.written()...); found != nil {
		t.Errorf("the address of who failed to log in is in %q", found)
	}
}

func TestNoSecretIsInAMap(t *testing.T) {
	run(t)
	if holding(t, "n1_n2", mapsDir) == nil {
		t.Fatal("the maps are not there")
	}
	for _, secret := range []string{nodePassword, "pw-"} {
		if found := holding(t, secret, mapsDir, mapsDir+"2"); found != nil {
			t.Errorf("%q is in %q", secret, found)
		}
	}
}
