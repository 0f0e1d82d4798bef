// Package lab starts a whole collective on one machine: N nodes, each a
// machine of its own as far as its programs can tell (see Machine), with
// Debian's slapd, Postfix, Dovecot, Apache, Knot and sshd, the files that contrib
// ships at the places where they belong, and rp-genmaps' maps. A further
// machine, the visitor, stands for the rest of the world.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/tests/need"
)

// Config says what lab to start.
type Config struct {
	// Nodes is how many there are, at least 2; 0 is 3.
	Nodes int
	// LDIF are further entries of the directory.
	LDIF string
	// Programs is a directory with rp-genmaps and its like, for each node's /usr/local/bin.
	Programs string
	// DirectoryOnly starts no server but slapd.
	DirectoryOnly bool
}

// Lab is a running collective.
type Lab struct {
	// Nodes are n1, n2 and so on; the first has the directory's provider.
	Nodes []*Node
	// Visitor has no server, and sees only the public addresses.
	Visitor *Machine

	config Config
	hub    *Machine
}

// Node is one machine of the collective.
type Node struct {
	*Machine
	VPN    netip.Addr
	Public []netip.Addr // IPv4 first

	lab *Lab
}

// Node is the node of this name, or nil.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// host is the node's public name.
func (n *Node) host() string { return n.Name + "." + NodesDomain }

// From is the lab as a client meets it who comes from another address of the visitor.
func (l *Lab) From(address netip.Addr) *Lab {
	visitor, seen := *l.Visitor, *l
	visitor.source = address
	seen.Visitor = &visitor
	return &seen
}

// Provider is the node whose directory takes writes.
func (l *Lab) Provider() *Node { return l.Nodes[0] }

// Need skips a test where a lab cannot be.
func Need(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Netns(t)
	need.Program(t, "nsenter", "slapd", "postfix", "dovecot", "apache2", "knotd", "mlmmj-receive", "dig", "sshd", "ssh", "ssh-keygen")
}

// Start is Up for a test: it skips where a lab cannot be, and ends the lab with the test.
func Start(t testing.TB, config Config) *Lab {
	t.Helper()
	Need(t)
	l, err := Up(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Down)
	return l
}

// Up starts a lab and returns when every server of every node answers. The
// caller ends it with Down; it also ends with the program, however that ends.
func Up(ctx context.Context, config Config) (*Lab, error) {
	if config.Nodes == 0 {
		config.Nodes = 3
	}
	l := &Lab{config: config}
	err := l.build(ctx)
	if err == nil {
		err = l.start(ctx)
	}
	if err != nil {
		l.Down()
		return nil, err
	}
	return l, nil
}

// Down ends all that runs in the lab. Nothing of it is left, as all it wrote was in memory.
func (l *Lab) Down() {
	for _, m := range append(l.machines(), l.hub) {
		if m != nil {
			m.Close()
		}
	}
}

// machines are all that have programs: the nodes and the visitor, if it is there yet.
func (l *Lab) machines() []*Machine {
	machines := []*Machine{l.Visitor}
	for _, n := range l.Nodes {
		machines = append(machines, n.Machine)
	}
	return machines
}

// build makes the machines and joins them.
func (l *Lab) build(ctx context.Context) error {
	id := fmt.Sprint(os.Getpid())
	var err error
	if l.hub, err = newHub(ctx, id); err != nil {
		return err
	}
	if l.Visitor, err = newMachine(id, "visitor"); err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s visitor\n", ElsewhereAddress)
	for i := range l.config.Nodes {
		m, err := newMachine(id, nodeName(i))
		if err != nil {
			return err
		}
		l.Nodes = append(l.Nodes, &Node{m, nodeVPN(i), nodePublic(i), l})
		hosts += fmt.Sprintf("%s %s.%s %[2]s\n", nodeVPN(i), m.Name, NodesDomain)
	}
	if err := l.certify(); err != nil {
		return err
	}
	for _, m := range l.machines() {
		err := errors.Join(m.Write("/etc/hosts", hosts), m.Write("/etc/resolv.conf", fmt.Sprintf("nameserver %s\noptions timeout:1 attempts:1\n", ElsewhereAddress)))
		if err != nil {
			return err
		}
	}
	err = l.Visitor.plug(ctx, l.hub, public, VisitorAddress, OtherAddress, ElsewhereAddress, netip.MustParseAddr("2001:db8:ffff::7"))
	return errors.Join(err, l.each(func(n *Node) error {
		return errors.Join(n.plug(ctx, l.hub, vpn, n.VPN), n.plug(ctx, l.hub, public, n.Public...))
	}))
}

// start puts all servers in place and starts them.
func (l *Lab) start(ctx context.Context) error {
	if err := l.startWorld(ctx); err != nil {
		return err
	}
	if err := l.take(ctx, (*Node).makeHostKey); err != nil { // all of them: the directory has them
		return err
	}
	steps := []step{(*Node).installSlapd, (*Node).loadDirectory, (*Node).startSlapd}
	if !l.config.DirectoryOnly {
		steps = append(steps, (*Node).installMail, (*Node).installLists, (*Node).installWeb, (*Node).installDNS, (*Node).installSSH, (*Node).installPrograms)
	}
	if err := l.take(ctx, steps...); err != nil {
		return err
	}
	if err := l.WaitReplicated(ctx); err != nil || l.config.DirectoryOnly {
		return err
	}
	return l.take(ctx, (*Node).firstMaps, (*Node).startDovecot, (*Node).startPostfix, (*Node).startApache, (*Node).startKnot, (*Node).startSSHD)
}

// step is a part of the way to a running node.
type step func(*Node, context.Context) error

// take takes steps in order, on all nodes at once.
func (l *Lab) take(ctx context.Context, steps ...step) error {
	return l.each(func(n *Node) error {
		for _, step := range steps {
			if err := step(n, ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// each calls f for all nodes at once.
func (l *Lab) each(f func(*Node) error) error {
	errs := make([]error, len(l.Nodes))
	var all sync.WaitGroup
	for i, n := range l.Nodes {
		all.Go(func() { errs[i] = f(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// install copies a file of contrib to a node, edited as its comments ask for.
func (n *Node) install(name, to string, edit *strings.Replacer) error {
	_, source, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(source), "..", "..", "contrib", name))
	if err != nil {
		return err
	}
	if edit == nil {
		edit = strings.NewReplacer()
	}
	if err := n.Write(to, edit.Replace(string(text))); err != nil {
		return err
	}
	// Postfix reads a main.cf of the last two seconds again and again until it is sure that it is whole.
	return os.Chtimes(n.Path(to), past, past)
}

var past = time.Now().Add(-time.Hour)
