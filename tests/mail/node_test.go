package mail

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/directory"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/tests/slapd"
)

const (
	mapsDir  = "/var/lib/rplan/maps"
	client   = "203.0.113.77" // where users come from
	public   = "192.0.2.1"    // where they go
	vpn      = "10.77.0.1"    // of n1, the node
	otherVPN = "10.77.0.2"    // of n2, the second Dovecot
	patience = 60 * time.Second
)

//go:embed isolate.sh
var isolateScript string

// Node is n1, with a second Dovecot beside it that is n2.
type Node struct {
	slapd *slapd.Server
	kept  string // what is bound over files of /etc
}

func start() (*Node, error) {
	kept, err := os.MkdirTemp("", "mail")
	if err != nil {
		return nil, err
	}
	n := &Node{kept: kept}
	for _, step := range []func() error{n.isolate, n.startDirectory, n.publishAll, n.startPostfix, n.startDovecots} {
		if err := step(); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

func (n *Node) isolate() error { return command("sh", "-c", isolateScript, "sh", n.kept) }

// close removes what lies outside the namespaces; every other process ends with them.
func (n *Node) close() error {
	var err error
	if n.slapd != nil {
		err = n.slapd.Close()
	}
	_ = syscall.Unmount(n.kept, syscall.MNT_DETACH)
	return errors.Join(err, os.RemoveAll(n.kept))
}

func (n *Node) startDirectory() error {
	ldif := filepath.Join(n.kept, "tree.ldif")
	if err := os.WriteFile(ldif, []byte(tree()), 0o600); err != nil {
		return err
	}
	s, err := slapd.New(slapd.Options{LDIF: []string{ldif, slapd.Contrib("groups.ldif")}, ACL: true, NoSync: true, MaxSize: 1 << 24})
	if err != nil {
		return err
	}
	n.slapd = s
	if err := os.Chmod(s.Dir, 0o711); err != nil { // for Dovecot, which is not root
		return err
	}
	return os.Symlink(filepath.Join(s.Dir, "ldapi"), "/run/slapd/ldapi")
}

// publishAll writes the maps of n1, and those of Dovecot on n2, with all nodes as nodes says.
func (n *Node) publishAll() error {
	s := snapshot(nodes)
	return errors.Join(publish(s, "n1", mapsDir), publish(s, "n2", mapsDir+"2"))
}

// publish writes the maps of the node called self to dir, as rp-genmaps does.
func publish(s *directory.Snapshot, self, dir string) error {
	in := &render.Input{Snapshot: s, Self: s.Node(self), Network: network, Settings: render.Defaults()}
	for _, f := range append(render.Postfix(in), render.Dovecot(in)...) {
		if err := write(f, filepath.Join(dir, f.Service)); err != nil {
			return err
		}
	}
	return nil
}

func write(f render.File, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, mapfile.Names(f.Name, f.Format)[0])
	tmp, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer tmp.Close()
	if f.Format == render.Document {
		_, err = tmp.Write(f.Text)
	} else {
		_, err = mapfile.Write(tmp, f.Format, f.Rows)
	}
	if err != nil {
		return err
	}
	// Dovecot compares whole seconds, and the tests publish faster than that.
	later := time.Now()
	if old, err := os.Stat(path); err == nil {
		later = old.ModTime().Add(time.Second)
	}
	return errors.Join(os.Chtimes(tmp.Name(), later, later), os.Rename(tmp.Name(), path))
}

func contrib(name string) string {
	dir, _ := os.Getwd() // the package's own
	return filepath.Join(dir, "..", "..", "contrib", name)
}

func (n *Node) startPostfix() error {
	for _, name := range []string{"main.cf", "master.cf"} {
		text, err := os.ReadFile(contrib("postfix/" + name)) // not cp: so go test knows when it changes
		if err == nil {
			err = os.WriteFile("/etc/postfix/"+name, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return command("postfix", "start")
}

// startDovecots starts Dovecot with the shipped files, and once more as n2, in other directories and
// without the ports for users.
func (n *Node) startDovecots() error {
	text, err := os.ReadFile(contrib("dovecot/dovecot.conf"))
	if err != nil {
		return err
	}
	text = append(text, "\nauth_failure_delay = 0\n"...) // two seconds for each login that is to fail
	secret, err := os.ReadFile(contrib("dovecot/rplan-ldap.conf.ext"))
	if err != nil {
		return err
	}
	other := strings.NewReplacer(mapsDir, mapsDir+"2", "/var/vmail/", "/var/vmail2/", "private/auth", "private/auth2").Replace(string(text)) + `
base_dir = /run/dovecot2
state_dir = /var/lib/dovecot2
instance_name = n2
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = 0
  }
}
`
	err = errors.Join(
		os.WriteFile("/etc/dovecot/rplan-ldap.conf.ext", []byte(strings.Replace(string(secret), "REPLACE-ME", nodePassword, 1)), 0o600),
		os.WriteFile("/etc/dovecot/dovecot.conf", text, 0o644),
		os.WriteFile("/etc/dovecot/n2.conf", []byte(other), 0o644))
	for _, conf := range []string{"dovecot.conf", "n2.conf"} {
		if err != nil {
			return err
		}
		err = command("dovecot", "-c", "/etc/dovecot/"+conf)
	}
	for _, address := range []string{public + ":25", public + ":143", vpn + ":24", vpn + ":10143", otherVPN + ":24", otherVPN + ":10143"} {
		if err == nil {
			err = await(address)
		}
	}
	return err
}

// await returns when something listens on address.
func await(address string) error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
	}
	return err
}

// eventually waits for what Postfix does in its own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			queue, _ := output("postqueue", "-p")
			t.Fatalf("not within %s: %s; the queue:\n%s", patience, what, queue)
		}
	}
}

func command(argv ...string) error {
	_, err := output(argv...)
	return err
}

// output runs a program, which may leave daemons that must not keep a pipe open.
func output(argv ...string) (string, error) {
	file, err := os.CreateTemp("", "out")
	if err != nil {
		return "", err
	}
	defer file.Close()
	defer os.Remove(file.Name())
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	text, _ := os.ReadFile(file.Name())
	if err != nil {
		err = fmt.Errorf("%q: %w: %s", argv, err, text)
	}
	return string(text), err
}
