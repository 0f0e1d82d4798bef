package failover

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"rplan/tests/lab"
)

// watch is a second session of every user, in which nothing is done but to see whether it goes on, each two seconds:
// of what users of life meet, there is no telling how long it lasted, as they rest between two acts, and more so
// where all is slow.
type watch struct {
	stop context.CancelFunc
	all  sync.WaitGroup
}

// A user who only watches looks that often, and as often as glances says before they log in anew; hasty is how
// long they wait for an answer before they try another node.
const (
	interval = 2 * time.Second
	glances  = 5
	hasty    = 5 * time.Second
)

func (w *world) startWatch() *watch {
	ctx, stop := context.WithCancel(w.ctx)
	all := &watch{stop: stop}
	for _, u := range w.users {
		if u.Suspended {
			continue
		}
		at := rand.IntN(len(w.Nodes))
		all.all.Go(func() {
			pause(ctx, rand.N(glances*interval)) // not all at once
			// Who is out tries on until they are in again: no outage is left open.
			for failed := false; w.ctx.Err() == nil && (failed || ctx.Err() == nil); at++ {
				failed = !w.watch(ctx, u, w.Nodes[at%len(w.Nodes)])
			}
		})
	}
	return all
}

// watch logs a user in, looks at the session for some seconds, and says whether it was there until the end.
func (w *world) watch(ctx context.Context, u lab.User, at *lab.Node) bool {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), hasty+glances*interval)
	defer cancel()
	began := time.Now()
	tried := func(err error) bool {
		w.ledger.Tried(u.Address, began, time.Now(), err == nil)
		return err == nil
	}
	s, err := w.Login(whole, at, u.Address, lab.Password(u.Address))
	if !tried(err) {
		pause(w.ctx, 300*time.Millisecond)
		return false
	}
	defer s.Close()
	for range glances {
		if pause(ctx, interval); ctx.Err() != nil {
			break
		}
		began = time.Now()
		if _, err := s.Command("NOOP"); !tried(err) {
			return false
		}
	}
	return true
}

func (a *watch) end() {
	a.stop()
	a.all.Wait()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
