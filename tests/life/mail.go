package life

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// senders is how many mails are under way at once, as from so many servers elsewhere.
const senders = 8

// reach is how long one tries to connect.
const reach = 500 * time.Millisecond

// answer is how long a server may take for all of a conversation.
const answer = 15 * time.Second

// send sends all mails, each as a server elsewhere would.
func (l *Life) send(ctx context.Context) {
	var next atomic.Int64
	began := time.Now()
	for range senders {
		l.mails.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(l.config.Mails) || ctx.Err() != nil {
					return
				}
				if l.config.Rate > 0 {
					due := began.Add(time.Duration(float64(i) / l.config.Rate * float64(time.Second)))
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Until(due)):
					}
				}
				l.deliver(ctx, l.random(senderStream, int(i)))
			}
		})
	}
}

// recipients draws where a mail goes, and who gets it there.
func (l *Life) recipients(r *rand.Rand) (addresses, users []string) {
	one := func() {
		u := pick(r, l.config.Users)
		for u.Suspended {
			u = pick(r, l.config.Users)
		}
		address := u.Address
		switch r.IntN(10) {
		case 0:
			address = u.Alias
		case 1:
			address = strings.Replace(address, "@", "+tag@", 1)
		case 2:
			address = strings.ToUpper(address)
		}
		addresses, users = append(addresses, address), append(users, u.Address)
	}
	one()
	if r.IntN(8) == 0 {
		if one(); users[0] == users[1] {
			addresses, users = addresses[:1], users[:1]
		}
	}
	return addresses, users
}

// deliver hands one mail to any of the nodes, again and again until one has taken it for all its recipients.
func (l *Life) deliver(ctx context.Context, r *rand.Rand) {
	addresses, users := l.recipients(r)
	from := "writer" + string(rune('a'+r.IntN(26))) + "@" + lab.Elsewhere
	letter := judge.NewLetter(r, from, addresses[0])
	l.Ledger.Count(func(c *judge.Counts) { c.Sent++ })
	for ctx.Err() == nil && len(addresses) > 0 {
		for _, i := range r.Perm(len(l.lab.Nodes)) {
			if addresses, users = l.offer(ctx, l.lab.Nodes[i], letter, addresses, users); len(addresses) == 0 {
				return
			}
		}
		sleep(ctx, time.Second)
	}
}

// offer returns the recipients that the node did not take the mail for.
func (l *Life) offer(ctx context.Context, to *lab.Node, letter judge.Letter, addresses, users []string) (again, whose []string) {
	// An offer that began is brought to its end, or the ledger would be full of doubt.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answer)
	defer cancel()
	if !reachable(ctx, l.lab, to, "25") {
		return addresses, users
	}
	replies, err := l.lab.SendMail(ctx, to, letter.From, addresses, letter.Text)
	last := lab.Reply{} // to the message; none if no recipient was taken
	if len(replies) > len(addresses) {
		last = replies[len(addresses)]
	}
	unsure := errors.Is(err, lab.ErrUnanswered)
	for i, address := range addresses {
		reply := lab.Reply{}
		if i < len(replies) {
			reply = replies[i]
		}
		if reply.Accepted() && (last.Accepted() || unsure) {
			l.Ledger.Write(judge.Event{User: users[i], Act: judge.Accepted, Token: letter.Token, Sum: judge.Sum(letter.Text), Maybe: unsure})
		}
		switch {
		case reply.Code/100 == 5, reply.Accepted() && last.Code/100 == 5:
			l.Ledger.Count(func(c *judge.Counts) { c.Rejected++ })
		case !reply.Accepted() || !last.Accepted():
			again, whose = append(again, address), append(whose, users[i])
		}
	}
	return again, whose
}

// reachable says whether anything listens there: a node without a cable must not hold up everybody.
func reachable(ctx context.Context, l *lab.Lab, n *lab.Node, port string) bool {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	conn, err := l.Visitor.Dial(ctx, "tcp", n.Public[0].String()+":"+port)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
