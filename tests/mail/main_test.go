// Package mail proves contrib/postfix, contrib/dovecot and contrib/mailman3
// line by line, with one real node: Postfix, two Dovecots (the second stands
// for another node), slapd, mlmmj and Mailman, with the files where a node has
// them.
package mail

import (
	"fmt"
	"os"
	"testing"

	"rplan/tests/namespaces"
	"rplan/tests/need"
)

// TestMain runs the tests a second time, in namespaces: the network has only
// the addresses of the test, /etc/postfix and /var are empty and private, and
// with the process that is number 1 there every daemon ends.
func TestMain(m *testing.M) {
	namespaces.Main(func() int {
		code := m.Run()
		if node != nil {
			if err := node.close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		return code
	})
}

// run is the node, started for the first test that asks.
func run(t *testing.T) *Node {
	t.Helper()
	need.Root(t)
	need.Program(t, "postfix", "dovecot", "slapd", "mlmmj-make-ml", "ip", "mount", "pgrep", "runuser")
	if !namespaces.Own() {
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
