package scenarios

import (
	"slices"
	"testing"

	"rplan/tests/lab"
)

// A node that is to be taken out still serves its users, while the DNS already sends the world to the others.
func TestDraining(t *testing.T) {
	l, ctx := collective(t)
	n2 := l.Node("n2")
	t.Cleanup(func() { restore(t, n2) })
	if err := n2.SetState("draining"); err != nil {
		t.Fatal(err)
	}
	genmaps(t, l, 0)
	bob, proxy := "bob@"+lab.Domain, "proxy2."+lab.Domain // both live on n2
	want := []string{"10 n1." + lab.NodesDomain + ".", "10 n3." + lab.NodesDomain + "."}
	onEach(t, l.Nodes, func(n *lab.Node) error { return send(ctx, l, n, sender, bob, letter("draining, by "+n.Name, bob)) })
	for _, n := range l.Nodes {
		servedBy(t, get(t, ctx, n, "http://"+proxy+"/page"), proxy, "n2", proxy+" at "+n.Name)
		if mx, err := l.Dig(ctx, n, lab.Domain, "MX"); err != nil || !slices.Equal(mx, want) {
			t.Errorf("MX at %s: %q %v, want %q", n.Name, mx, err, want)
		}
		s, err := l.Login(ctx, n, bob, lab.Password(bob))
		if err != nil {
			t.Error(err)
			continue
		}
		s.Close()
	}
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	byNode, err := kept(ctx, l.Nodes, bob, "Subject: draining, by ")
	if got := len(byNode["n2"]); err != nil || got != len(l.Nodes) || len(byNode) != 1 {
		t.Errorf("bob has %v: %v", byNode, err)
	}
}
