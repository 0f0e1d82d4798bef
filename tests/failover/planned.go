package failover

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// planned takes each node out in turn and brings it back, while 2,000 mails
// (in the long version more) arrive at all MXs, users act and sites are
// fetched. Nobody notices more than a reconnect.
func planned(w *world) {
	w.size.mails = max(w.size.mails, 2000)
	for _, n := range w.Nodes {
		w.amid("out of "+n.Name, func() { w.out(n) })
		w.amid("in of "+n.Name, func() { w.in(n) })
	}
	w.settle()
	w.verdict(moved)
}

// moved are the limits where users are moved to another node. In the moment in
// which some nodes know of it and others not, a login may be told to try again
// ([UNAVAILABLE]), which is what mail programs do by themselves. And what a user
// who acts every second does to a message in that moment may be undone: it is
// back, or lacks a flag. No message is lost or there twice, and both sides are equal.
var moved = judge.Limits{"unavailable": 30, "resurrected": 2, "flags": 2, "folders": 2}

// lost is what rplan is for: a node's cable is cut with no warning, its users
// go on elsewhere, and it comes back as it was. What it alone had when it
// went is away meanwhile, and there again at the end.
func lost(w *world) {
	n := w.Node("n2")
	once := w.deliverOnce(n)
	w.live(0.5)
	w.meanwhile(0.25)
	w.cut(n)
	alone := w.lastWords(n, once[0])
	w.meanwhile(0.02) // until somebody notices
	w.says(w.gone(n), fmt.Sprintf("%d mailboxes keep one copy of new mail only (delivery one): what was not merged before is on the disk of node n2", len(once)))
	w.settle()
	w.onlyOn(n, alone...)

	w.live(0.5)
	w.meanwhile(0.25)
	w.ok(n.Mend(w.ctx))
	w.cron.mind(n)
	recovered := regexp.MustCompile(`[1-9][0-9]* messages were recovered that only node n2 had`)
	if out := w.in(n); !recovered.MatchString(out) {
		w.Errorf("nothing says %q: %s", recovered, out)
	}
	w.settle()
	w.verdict(afterLoss)
}

// lastWords are what a user's node is given when its cable is cut already, and no other node has: a mail of
// which there is no copy, and a copy of one that the user sent. It returns their tokens.
func (w *world) lastWords(n *lab.Node, user string) []string {
	w.Helper()
	mail := judge.NewLetter(w.r, "writer@"+lab.Elsewhere, user)
	w.handIn(n, mail, user)
	sent := judge.NewLetter(w.r, user, "friend@"+lab.Elsewhere)
	s, err := n.IMAP(w.ctx, user)
	w.ok(err)
	defer s.Close()
	if _, err := s.Command("CREATE Sent"); err == nil {
		w.ledger.Write(judge.Event{User: user, Act: judge.Created, Folder: "Sent"})
	}
	w.ok(s.Append("Sent", strings.ReplaceAll(sent.Text, "\n", "\r\n")))
	w.ledger.Write(judge.Event{User: user, Act: judge.Appended, Folder: "Sent", Token: sent.Token, Sum: judge.Sum(sent.Text)})
	w.eventually(func() error {
		inbox, err := s.Messages("INBOX")
		if err == nil && !strings.Contains(strings.Join(inbox, ""), mail.Token) {
			err = fmt.Errorf("%s is not in the mailbox of %s yet", mail.Token, user)
		}
		return err
	})
	return []string{mail.Token, sent.Token}
}

// afterLoss are the limits where a node was lost: nobody is served by it
// until it is out, and it serves who reaches it until it knows that it was. Users who act every second may
// file a mail that is delivered again before the next pass makes one of the two.
var afterLoss = judge.Limits{"unavailable": -1, "pages": -1, "filed": 2, "resurrected": 2, "flags": 2, "folders": 2}

// deliverOnce lets half of a node's users have no second copies, and returns them.
func (w *world) deliverOnce(n *lab.Node) (users []string) {
	w.Helper()
	for i, user := range w.livingOn(n) {
		if i%2 == 0 {
			w.ok(w.Modify("rplanAddress="+user+",ou=mailboxes,"+lab.BaseDN, "rplanDelivery", "one"))
			users = append(users, user)
		}
	}
	w.published()
	return users
}

// published waits until every node has the directory and cron had time to make maps of it.
func (w *world) published() {
	w.Helper()
	w.ok(w.WaitReplicated(w.ctx, w.present()...))
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
	defer cancel()
	<-ctx.Done()
}
