package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
)

// endings are the ways in which the program that holds a lab may end, tried in a process of its own.
var endings = map[string]func(*Lab){
	"down":  func(l *Lab) { l.Down() },
	"exit":  func(*Lab) { os.Exit(1) },
	"panic": func(*Lab) { panic("as a test may") },
	"kill":  func(*Lab) { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) },
}

const endingVariable = "RPLAN_LAB_ENDING"

func TestMain(m *testing.M) {
	end := endings[os.Getenv(endingVariable)]
	if end == nil {
		os.Exit(m.Run())
	}
	l, err := Up(context.Background(), Config{DirectoryOnly: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(network(l.hub.pid), network(l.Visitor.pid))
	for _, n := range l.Nodes {
		fmt.Println(network(n.pid))
	}
	end(l)
}

// However the program ends, no process, namespace, link, mount or file of its lab stays.
func TestNothingIsLeft(t *testing.T) {
	need.Root(t)
	need.Netns(t)
	need.Program(t, "nsenter", "slapd", "ssh-keygen")
	for ending := range endings {
		temp := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), endingVariable+"="+ending, "TMPDIR="+temp)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if failed := err != nil; failed != (ending != "down") {
			t.Errorf("%s: %v: %s", ending, err, said.String())
		}
		networks := strings.Fields(string(out))
		if len(networks) != 5 {
			t.Errorf("%s: networks are %q, want those of 5 machines", ending, networks)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := poll(ctx, func() error { return nobodyIn(networks) }); err != nil { // the kernel takes its time
			t.Errorf("%s: %v", ending, err)
		}
		cancel()
		if files, _ := filepath.Glob(temp + "/*"); len(files) > 0 {
			t.Errorf("%s: files left: %q", ending, files)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Name == vpn || link.Name == public || strings.HasSuffix(link.Name, "-"+vpn) {
			t.Errorf("link %q is on this machine", link.Name)
		}
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), "\nlab ") {
		t.Errorf("mounts left:\n%s", mounts)
	}
}

// network is the name of the network namespace of a process, such as net:[4026532281].
func network(pid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	return name
}

func nobodyIn(networks []string) error {
	paths, err := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if slices.Contains(networks, network(pid)) {
			words, _ := os.ReadFile(path + "/cmdline")
			return fmt.Errorf("process %d still runs: %q", pid, words)
		}
	}
	return err
}

// What is written on the provider is on all nodes; a node that was cut off catches up.
func TestDirectory(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := Start(t, Config{DirectoryOnly: true})
	n2, n3 := l.Node("n2"), l.Node("n3")
	if err := n3.SetState("out"); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes {
		if state := stateAt(t, n, "n3"); state != "out" {
			t.Errorf("on %s the state of n3 is %q", n.Name, state)
		}
	}
	if err := n2.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n3.SetState("up"); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx, n3); err != nil {
		t.Error(err)
	}
	if state := stateAt(t, n2, "n3"); state != "out" {
		t.Errorf("n2 is cut off, and saw that n3 is %q", state)
	}
	if err := n2.Mend(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx); err != nil {
		t.Error(err)
	}
	if state := stateAt(t, n2, "n3"); state != "up" {
		t.Errorf("on n2 the state of n3 is %q", state)
	}
}

func stateAt(t *testing.T, n *Node, of string) string {
	t.Helper()
	conn, err := n.LDAP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest(NodeDN(of), ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		1, 0, false, "(objectClass=*)", []string{"rplanState"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return result.Entries[0].GetAttributeValue("rplanState")
}

// The VPN is for nodes, the public network for all.
func TestNetworks(t *testing.T) {
	l := Start(t, Config{Nodes: 2, DirectoryOnly: true})
	n2 := l.Node("n2")
	for _, c := range []struct {
		from  *Machine
		to    string
		reach bool
	}{
		{l.Nodes[0].Machine, n2.VPN.String(), true},
		{l.Visitor, n2.VPN.String(), false},
		{l.Visitor, n2.Public[0].String(), true},
		{l.Visitor, n2.Public[1].String(), true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		conn, err := c.from.Dial(ctx, "tcp", net.JoinHostPort(c.to, "389"))
		cancel()
		if err == nil {
			conn.Close()
		}
		// slapd listens on the VPN only: elsewhere a refusal shows that the node was reached.
		reached := err == nil || errors.Is(err, syscall.ECONNREFUSED)
		if reached != c.reach {
			t.Errorf("from %s to %s: %v", c.from.Name, c.to, err)
		}
	}
}

// A paused server is not dead: it answers what it was asked meanwhile.
func TestPause(t *testing.T) {
	l := Start(t, Config{Nodes: 2, DirectoryOnly: true})
	n := l.Provider()
	if err := n.Pause(t.Context(), Slapd); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := n.contextCSN()
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused slapd answers: %v", err)
		return
	case <-time.After(300 * time.Millisecond):
	}
	if err := n.Resume(t.Context(), Slapd); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
