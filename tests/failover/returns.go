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
// come in before that runs and has caught up.
func staleReplica(w *world) {
	n := w.Node("n2")
	w.ok(n.SaveDirectory(w.ctx))
	w.awayWhole(n)
	w.ok(n.Kill(w.ctx, lab.Slapd))
	w.ok(n.RestoreDirectory(w.ctx))
	w.ok(n.Mend(w.ctx))
	w.says(w.refused("replica", n, "in"), `the directory of node "n2" does not say what it has`)

	w.ok(n.Deafen(w.ctx))
	w.ok(n.Start(w.ctx, lab.Slapd))
	w.set("max-lag", "3s") // for which in waits
	w.says(w.refused("replica", n, "in"), `the directory of node "n2" was waited for for 3 s, and still lacks what was written`)
	w.set("max-lag", "1m")
	w.ok(n.Undeafen(w.ctx))
	w.ok(w.WaitReplicated(w.ctx))
	w.returns(n)
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
	w.says(w.refused("checks", n, "in"), `the clock of node "n2" is 60 min ahead`)
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
			w.handIn(n, judge.NewLetter(w.r, "writer@"+lab.Elsewhere, u.Address), u.Address)
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

// handIn hands a node a mail on the node itself.
func (w *world) handIn(n *lab.Node, letter judge.Letter, user string) {
	w.Helper()
	_, err := n.RunInput(w.ctx, letter.Text, "sendmail", "-i", "-f", letter.From, user)
	w.ok(err)
	w.ledger.Count(func(c *judge.Counts) { c.Sent++ })
	w.ledger.Write(judge.Event{User: user, Act: judge.Accepted, Token: letter.Token, Sum: judge.Sum(letter.Text)})
}
