// Package mail proves contrib/postfix, contrib/dovecot and contrib/mailman3
// line by line, with one real node: Postfix, two Dovecots (the second stands
// for another node), slapd, mlmmj and Mailman, with the files where a node has
// them.
package mail

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"rplan/tests/need"
)

// inside is set in the process that has namespaces of its own.
const inside = "RPLAN_MAIL_NAMESPACE"

// TestMain runs the tests a second time, in namespaces: the network has only
// the addresses of the test, /etc/postfix and /var are empty and private, and
// with the process that is number 1 there every daemon ends.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		code := m.Run()
		if node != nil {
			if err := node.close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		os.Exit(code)
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // every test skips
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		os.Exit(m.Run()) // likewise
	}
	if err := cmd.Wait(); err != nil {
		if cmd.ProcessState.ExitCode() < 0 {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// run is the node, started for the first test that asks.
func run(t *testing.T) *Node {
	t.Helper()
	need.Root(t)
	need.Program(t, "postfix", "dovecot", "slapd", "mlmmj-make-ml", "ip", "mount", "pgrep", "runuser")
	if os.Getenv(inside) == "" {
		need.Netns(t)
		t.Fatal("namespaces can be made, but the tests do not run in them")
	}
	if node == nil {
		n, err := start()
		if err != nil {
			t.Fatal(err)
		}
		node = n
	}
	return node
}

var node *Node
