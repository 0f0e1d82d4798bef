package scenarios

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"rplan/tests/lab"
)

// ids are the delivery ids of the messages with this subject.
func ids(t *testing.T, messages []string, subject string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, message := range messages {
		message = strings.ReplaceAll(message, "\r\n", "\n")
		if !strings.Contains(message, "\nSubject: "+subject) {
			continue
		}
		_, after, _ := strings.Cut(message, "\nX-RPlan-ID: ")
		id, _, _ := strings.Cut(after, "\n")
		if id == "" || found[id] {
			t.Errorf("%q is the id of more than one message, or none", id)
		}
		found[id] = true
	}
	return found
}

// storedTwice fails the test unless a user has this many messages with the subject on the active node, the same ones as
// second copies on the standby, and nothing of them elsewhere.
func storedTwice(t *testing.T, ctx context.Context, u lab.User, subject string, count int) {
	t.Helper()
	var first, second map[string]bool
	for _, n := range shared.lab.Nodes {
		messages, err := n.Mailbox(ctx, u.Address)
		if err != nil {
			t.Fatal(err)
		}
		copies, err := n.Copies(ctx, u.Address)
		if err != nil {
			t.Fatal(err)
		}
		here, kept := ids(t, messages, subject), ids(t, copies, subject)
		if n.Name == u.Active() {
			first = here
		} else if len(here) > 0 {
			t.Errorf("%s sees %d messages on %s", u.Address, len(here), n.Name)
		}
		if n.Name == u.Standby() {
			second = kept
		} else if len(kept) > 0 {
			t.Errorf("%d copies for %s are on %s", len(kept), u.Address, n.Name)
		}
	}
	if len(first) != count || !maps.Equal(first, second) {
		t.Errorf("%s has\n%v and copies of\n%v, want %d of each", u.Address, first, second, count)
	}
}

// Mail for each user, by whatever address and node it comes, is on two nodes: either may be lost.
func TestMailIsStoredTwice(t *testing.T) {
	l, ctx := collective(t)
	team := map[string]bool{"alice@" + lab.Domain: true, "bob@" + lab.Domain: true}
	onEach(t, l.Nodes, func(n *lab.Node) error {
		for _, u := range activeUsers() {
			for _, address := range []string{u.Address, u.Alias} {
				if err := send(ctx, l, n, sender, address, letter("twice, by "+n.Name+" to "+address, address)); err != nil {
					return err
				}
			}
		}
		if err := send(ctx, l, n, sender, "team@"+lab.Domain, letter("twice, to the team, by "+n.Name, "team@"+lab.Domain)); err != nil {
			return err
		}
		return send(ctx, l, n, sender, contact, letter("twice, to a contact, by "+n.Name, contact))
	})
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	for _, u := range activeUsers() {
		want := 2 * len(l.Nodes)
		if team[u.Address] {
			want += len(l.Nodes)
		}
		if u.Address == "alice@"+lab.Domain {
			want += len(l.Nodes)
		}
		storedTwice(t, ctx, u, "twice, ", want)
	}
}

// A standby that is gone delays no mail for its users. Copies wait for it until it is said to be out, and then there are none.
func TestAStandbyIsLost(t *testing.T) {
	l, ctx := collective(t)
	gone, others := l.Node("n3"), []*lab.Node{l.Node("n1"), l.Node("n2")}
	t.Cleanup(func() { restore(t, gone) })
	var users []lab.User
	for _, u := range activeUsers() {
		if u.Standby() == gone.Name {
			users = append(users, u)
		}
	}
	if err := gone.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	sendToAll(t, ctx, others, users, "no standby at")
	eventually(t, ctx, func() error { return waiting(ctx, others, len(users)) })
	for _, n := range others {
		queue, err := n.Queue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queue {
			if text := fmt.Sprint(q); !strings.Contains(text, ".copy.invalid") {
				t.Errorf("%s holds %s", n.Name, text)
			}
		}
	}
	switchTo(t, ctx, gone, "out", others)
	sendToAll(t, ctx, others, users, "no standby after")
	for _, n := range others {
		if _, err := n.Run(ctx, "postqueue", "-f"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, ctx, func() error { return emptyQueues(ctx, others) })
	for _, u := range users {
		for _, when := range []string{"at", "after"} {
			byNode, err := kept(ctx, others, u.Address, "Subject: no standby "+when)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(byNode[u.Active()]); got != len(others) || len(byNode) != 1 {
				t.Errorf("%s, who lives on %s, has %v", u.Address, u.Active(), byNode)
			}
		}
	}
}
