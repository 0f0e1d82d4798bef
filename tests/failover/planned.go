package failover

import (
	"context"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// planned takes each node out in turn and brings it back, while 2,000 mails
// (in the long version more) arrive at all MXs, users act and sites are
// fetched. Nobody notices more than a reconnect.
func planned(w *world) {
	if !w.size.every {
		w.size.mails, w.size.rate = 2000, 40
	}
	w.live(1)
	w.meanwhile(0.05)
	for _, n := range w.Nodes {
		w.out(n)
		w.meanwhile(0.05)
		w.in(n)
		w.meanwhile(0.05)
	}
	w.settle()
	w.verdict(moved)
}

// moved are the limits where users are moved to another node. In the moment in
// which some nodes know of it and others not, a login may be told to try again
// ([UNAVAILABLE]), which is what mail programs do by themselves. And what a user
// who acts every second does to a message in that moment may be undone: it is
// back, or lacks a flag. No message is lost or there twice, and both sides are equal.
var moved = judge.Limits{"unavailable": -1, "resurrected": 2, "flags": 2, "folders": 2}

// lost is what rplan is for: a node's cable is cut with no warning, its users
// go on elsewhere, and it comes back as it was. What it alone had when it
// went is away meanwhile, and there again at the end.
func lost(w *world) {
	n := w.Node("n2")
	w.deliverOnce(n)
	w.live(0.5)
	w.meanwhile(0.25)
	w.cut(n)
	w.meanwhile(0.02) // until somebody notices
	w.gone(n)
	w.settle()
	w.onlyOn(n)

	w.live(0.5)
	w.meanwhile(0.25)
	w.ok(n.Mend(w.ctx))
	w.cron.mind(n)
	w.in(n)
	w.settle()
	w.verdict(afterLoss)
}

// afterLoss are the limits where a node was lost: nobody is served by it
// until it is out, and it serves who reaches it until it knows that it was.
var afterLoss = judge.Limits{"unavailable": -1, "pages": -1, "resurrected": 2, "flags": 2, "folders": 2}

// deliverOnce lets half of a node's users have no second copies.
func (w *world) deliverOnce(n *lab.Node) {
	w.Helper()
	for i, user := range w.livingOn(n) {
		if i%2 == 0 {
			w.ok(w.Modify("rplanAddress="+user+",ou=mailboxes,"+lab.BaseDN, "rplanDelivery", "one"))
		}
	}
	w.published()
}

// published waits until every node has the directory and cron had time to make maps of it.
func (w *world) published() {
	w.Helper()
	w.ok(w.WaitReplicated(w.ctx, w.present()...))
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
	defer cancel()
	<-ctx.Done()
}
