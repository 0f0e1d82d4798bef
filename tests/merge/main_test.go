// Package merge tries rp-failover's merge of two mailboxes on two real
// Dovecots, n1 and n2, with mail, users, outages and kills drawn by lot, and
// holds what comes of it against a model that knows only what was delivered and
// what users did.
package merge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/failover/merge"
	"rplan/tests/namespaces"
	"rplan/tests/need"
)

// TestMain runs the tests a second time, in namespaces: with the process that
// is number 1 there every daemon ends. The same program is also what the nodes
// run: "serve NODE PEER", and "pass KILL NODE PEER USERS..." for a
// pass that is killed at its step number KILL.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "serve" {
		os.Exit(serve(os.Args[2], os.Args[3]))
	}
	if len(os.Args) > 4 && os.Args[1] == "pass" {
		os.Exit(killed(os.Args[2], os.Args[3], os.Args[4], os.Args[5:]))
	}
	namespaces.Main(m.Run)
}

// collective needs what the tests need, and starts the Dovecots for the first that asks.
func collective(t *testing.T) {
	t.Helper()
	need.Root(t)
	need.Program(t, "dovecot", "doveadm", "ip", "mount")
	if !namespaces.Own() {
		need.Netns(t)
		t.Fatal("namespaces can be made, but the tests do not run in them")
	}
	if started {
		return
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	started = true
}

var started bool

// become makes this process one that runs on a node: its doveadm is the node's.
func become(node string) {
	os.Setenv("PATH", programs(node)+":/usr/sbin:/usr/bin:/sbin:/bin")
}

func serve(node, peer string) int {
	become(node)
	s := &merge.Server{
		Store: store(node), State: state(node), Peer: peer,
		Has: func(address string) error {
			if _, format, _ := strings.Cut(address, "@"); !slices.Contains(formats, format) {
				return diag.Refused.Errorf("%q is not on both nodes", address)
			}
			return nil
		},
		All: func(use func(string) error) error {
			homes, err := filepath.Glob("/var/vmail/" + node + "/*/*")
			for _, home := range homes {
				if err := use(filepath.Base(home) + "@" + filepath.Base(filepath.Dir(home))); err != nil {
					return err
				}
			}
			return err
		},
	}
	if err := s.Mail(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// dial leads to the other node, which is this program. A node whose file "cut" exists cannot be reached.
func dial(node string) merge.Dial {
	return func(peer string) ([]string, error) {
		if _, err := os.Stat(state(peer) + ".cut"); err == nil {
			return nil, diag.TryAgain.Errorf("node %q cannot be reached", peer)
		}
		self, err := os.Executable()
		return []string{self, "serve", peer, node}, err
	}
}

// pass is one on a node, for its users, all of whom are active there.
func pass(node, peer string) *merge.Pass {
	return &merge.Pass{
		Store: store(node), State: state(node), Dial: dial(node), Jobs: 4, Now: time.Now,
		Note: func(string, string) {},
	}
}

func tasks(peer string, addresses []string) []merge.Task {
	var all []merge.Task
	for _, address := range addresses {
		all = append(all, merge.Task{Address: address, Peer: peer, Others: []string{peer}})
	}
	return all
}

// killed is a pass that kills itself, and its children, at a step.
func killed(kill, node, peer string, addresses []string) int {
	at, err := strconv.Atoi(kill)
	if err != nil {
		return 64
	}
	become(node)
	p := pass(node, peer)
	p.Jobs, p.Steps = 1, true
	steps := 0
	p.Note = func(address, text string) {
		fmt.Printf("%s: %s\n", address, text)
		if steps++; steps == at {
			_ = syscall.Kill(0, syscall.SIGKILL) // this process's group
		}
	}
	p.All = true
	if _, err := p.Run(context.Background(), tasks(peer, addresses)); err != nil {
		return 1
	}
	return 0
}
