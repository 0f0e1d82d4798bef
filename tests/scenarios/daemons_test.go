package scenarios

import (
	"testing"

	"rplan/tests/lab"
)

// Servers that are killed without warning serve again once they are started: nothing they left is in their way.
func TestKilledServersStartAgain(t *testing.T) {
	l, ctx := collective(t)
	n := l.Node("n1")
	for _, d := range []lab.Daemon{lab.Slapd, lab.Postfix, lab.Dovecot, lab.Apache, lab.Knot, lab.SSHD} {
		if err := n.Kill(ctx, d); err != nil {
			t.Fatalf("%s: %v", d.Name, err)
		}
		if err := n.Start(ctx, d); err != nil {
			t.Fatalf("%s: %v", d.Name, err)
		}
	}
	if err := l.WaitReplicated(ctx); err != nil {
		t.Fatal(err)
	}
	stillServes(t, ctx, "after kills")
}
