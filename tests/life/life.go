// Package life is what goes on around a collective: mail arrives at all
// nodes, users read, mark, move, delete and write at whichever node they meet,
// visitors fetch sites. All that was confirmed is written into a judge's
// ledger. What is done is drawn from a seed; what it meets is not, so a
// replay does the same things to a collective that may be faster or slower.
package life

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// Config says how lively it is.
type Config struct {
	Seed  uint64
	Users []lab.User
	// Mails is how many are sent, to users drawn at random; Rate is how many a second, 0 as many as are taken.
	Mails int
	Rate  float64
	// Pause is how long a user waits between two acts, on average, and Logins how many times as long as their login took, at
	// least: where that takes long, so does a merge, and nobody does a dozen things while one is under way.
	Pause  time.Duration
	Logins int
	// Refused, if it is not nil, hears of each login that was answered NO.
	Refused func(error)
}

// Life goes on until it is ended.
type Life struct {
	Ledger *judge.Ledger

	lab    *lab.Lab
	config Config
	end    context.CancelFunc
	mails  sync.WaitGroup // senders
	rest   sync.WaitGroup // users and visitors
}

// Start begins it. It ends with ctx, at the latest.
func Start(ctx context.Context, l *lab.Lab, ledger *judge.Ledger, config Config) *Life {
	ctx, end := context.WithCancel(ctx)
	life := &Life{Ledger: ledger, lab: l, config: config, end: end}
	life.send(ctx)
	for i, u := range config.Users {
		if u.Suspended {
			continue
		}
		life.rest.Go(func() { life.user(ctx, u, life.random(userStream, i)) })
	}
	life.rest.Go(func() { life.visit(ctx, life.random(visitorStream, 0)) })
	return life
}

// Each actor draws from random numbers of its own, so that what one does is no matter of the others' speed.
const (
	userStream = iota << 16
	senderStream
	visitorStream
)

func (l *Life) random(stream, i int) *rand.Rand {
	return rand.New(rand.NewPCG(l.config.Seed, uint64(stream+i)))
}

// Sent waits until all mails are taken, or given up at the end of the context that Start was given.
func (l *Life) Sent() { l.mails.Wait() }

// End stops all and returns when nobody does anything any more.
func (l *Life) End() {
	l.end()
	l.mails.Wait()
	l.rest.Wait()
}

// sleep waits for about a time, or for the end. It draws from no actor's
// random numbers: how often one waits depends on what they meet.
func sleep(ctx context.Context, about time.Duration) {
	wait := time.Duration(0)
	if about > 0 {
		wait = about/2 + rand.N(about)
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// pick draws one.
func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
