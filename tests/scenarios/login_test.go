package scenarios

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"rplan/tests/imap"
	"rplan/tests/lab"
)

// Whichever node a user asks, they are in their own mailbox on the active node.
func TestLoginEndsOnTheActiveNode(t *testing.T) {
	l, ctx := collective(t)
	onEach(t, l.Nodes, func(n *lab.Node) error {
		for _, u := range activeUsers() {
			s, err := l.Login(ctx, n, u.Address, lab.Password(u.Address))
			if err != nil {
				return err
			}
			err = s.Append("INBOX", "Subject: stored by "+n.Name+"\r\n\r\n")
			s.Close()
			if err != nil {
				return fmt.Errorf("%s at %s: %w", u.Address, n.Name, err)
			}
		}
		return nil
	})
	for _, u := range activeUsers() {
		byNode, err := kept(ctx, l.Nodes, u.Address, "Subject: stored by ")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(byNode[u.Active()]); got != len(l.Nodes) || len(byNode) != 1 {
			t.Errorf("%s lives on %s, and stored %v", u.Address, u.Active(), byNode)
		}
	}
}

// A wrong password, a suspended and an unknown user are refused by every node, in the same words.
func TestLoginRefused(t *testing.T) {
	l, ctx := collective(t)
	refused := []struct{ user, password string }{
		{"alice@" + lab.Domain, "wrong"},
		{"alice@" + lab.Domain, lab.Password("bob@" + lab.Domain)},
		{"sid@" + lab.Domain, lab.Password("sid@" + lab.Domain)},
		{"nobody@" + lab.Domain, lab.Password("nobody@" + lab.Domain)},
		{"*@" + lab.Domain, lab.Password("alice@" + lab.Domain)},
	}
	stranger := l.From(lab.OtherAddress)
	said := make([]error, len(refused)*len(l.Nodes))
	var all sync.WaitGroup
	for i, r := range refused { // all at once, since servers make who fails wait longer each time
		for j, n := range l.Nodes {
			all.Go(func() {
				s, err := stranger.Login(ctx, n, r.user, r.password)
				if err == nil {
					s.Close()
				}
				said[i*len(l.Nodes)+j] = err
			})
		}
	}
	all.Wait()
	for i, err := range said {
		if !errors.Is(err, imap.ErrRefused) || errors.Unwrap(err).Error() != errors.Unwrap(said[0]).Error() {
			t.Errorf("%+v at %s: %v", refused[i/len(l.Nodes)], l.Nodes[i%len(l.Nodes)].Name, err)
		}
	}
}
