package failover

import (
	"fmt"
	"slices"
	"strings"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// emptyDisk brings a node back that has lost everything: all its mailboxes
// are filled again, and no empty one wins.
func emptyDisk(w *world) {
	n := w.Node("n2")
	w.awayWhole(n)
	for _, d := range []lab.Daemon{lab.Postfix, lab.Dovecot} {
		w.ok(n.Kill(w.ctx, d))
	}
	w.ok(n.Empty(w.ctx, "/var/vmail", "/var/lib/rplan"))
	w.ok(n.Mend(w.ctx))
	w.ok(w.WaitReplicated(w.ctx))
	w.ok(n.FirstMaps(w.ctx))
	w.ok(n.Start(w.ctx, lab.Dovecot))
	w.ok(n.Start(w.ctx, lab.Postfix))
	w.returns(n)
}

// awayWhole takes a node away that has nothing which the others lack, and
// lets life go on without it.
func (w *world) awayWhole(n *lab.Node) {
	w.Helper()
	w.live(0.3)
	w.settle()
	w.cut(n)
	w.gone(n)
	w.live(0.7)
	w.meanwhile(0.3)
}

// returns brings it in, in the middle of what goes on, and asks the judge.
func (w *world) returns(n *lab.Node) {
	w.Helper()
	w.cron.mind(n)
	w.in(n)
	w.settle()
	w.verdict(afterLoss)
}

// staleReplica brings a node back with its directory of long ago. It must not
// come in before it has caught up.
func staleReplica(w *world) {
	n := w.Node("n2")
	w.ok(n.SaveDirectory(w.ctx))
	w.awayWhole(n)
	w.ok(n.Kill(w.ctx, lab.Slapd))
	w.ok(n.RestoreDirectory(w.ctx))
	w.ok(n.Mend(w.ctx))
	w.refused(n, "while its directory does not answer")
	w.ok(n.Start(w.ctx, lab.Slapd))
	w.ok(w.WaitReplicated(w.ctx))
	w.returns(n)
}

// refused is an in that must not happen yet, and change nothing.
func (w *world) refused(n *lab.Node, why string) string {
	w.Helper()
	out, code := w.failover(w.Provider(), "in", "--yes", "--wait", "5s", n.Name)
	if code == 0 {
		w.Fatalf("%s came in %s", n.Name, why)
	}
	if state := w.state(n); state != "out" {
		w.Errorf("%s was refused %s, and is %s", n.Name, why, state)
	}
	return out
}

// state is that of a node in the provider's directory.
func (w *world) state(n *lab.Node) string {
	w.Helper()
	out, err := w.Provider().Run(w.ctx, "ldapsearch", "-QLLLY", "EXTERNAL", "-H", "ldapi:///", "-b", lab.NodeDN(n.Name), "-s", "base", "rplanState")
	w.ok(err)
	_, state, _ := strings.Cut(out, "rplanState: ")
	state, _, _ = strings.Cut(state, "\n")
	return state
}

// wrongClock brings a node back whose clock is an hour ahead. It must not come
// in before that is set right: "newer" means nothing on it.
func wrongClock(w *world) {
	n := w.Node("n2")
	w.awayWhole(n)
	w.ok(n.Mend(w.ctx))
	w.ok(n.WrongClock(w.ctx, "+1 hour"))
	w.ok(w.WaitReplicated(w.ctx))
	w.refused(n, "with a clock that is an hour ahead")
	w.ok(n.RightClock(w.ctx))
	w.returns(n)
}

// staleMaps brings a node back that believes all is as it was, and has a
// queue full of mail for everybody.
func staleMaps(w *world) {
	n := w.Node("n2")
	w.awayWhole(n)
	w.fillQueue(n)
	w.ok(n.Mend(w.ctx))
	w.ok(w.WaitReplicated(w.ctx))
	w.in(n) // cron there has done nothing yet
	w.cron.mind(n)
	w.settle()
	w.verdict(afterLoss)
}

// fillQueue hands a node without a network ten mails for each user, on the node itself.
func (w *world) fillQueue(n *lab.Node) {
	w.Helper()
	for _, u := range w.users {
		if u.Suspended {
			continue
		}
		for range 10 {
			letter := judge.NewLetter(w.r, "writer@"+lab.Elsewhere, u.Address)
			_, err := n.RunInput(w.ctx, letter.Text, "sendmail", "-i", "-f", letter.From, u.Address)
			w.ok(err)
			w.ledger.Count(func(c *judge.Counts) { c.Sent++ })
			w.ledger.Write(judge.Event{User: u.Address, Act: judge.Accepted, Token: letter.Token, Sum: judge.Sum(letter.Text)})
		}
	}
	w.eventually(func() error {
		queue, err := n.Queue(w.ctx)
		if err == nil && !slices.ContainsFunc(queue, func(q lab.Queued) bool { return q.Queue == "deferred" }) {
			err = fmt.Errorf("%d mails on %s, none tried yet", len(queue), n.Name)
		}
		return err
	})
}
