package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rplan/lib/diag"
	"rplan/lib/ssh"
)

// passes is how often a merge is begun anew while mail keeps coming in.
const passes = 10

// publish has nodes make their maps until they are at least those of the last
// write, and notes who has not. The maybe is asked too, and not waited for: a
// lost node may be lost only for its users.
func (c *change) publish(ctx context.Context, nodes []string, maybe string) error {
	if err := c.step("waiting for the maps of %s", some(nodes)); err != nil {
		return err
	}
	deadline := time.Now().Add(c.Wait)
	tried := make(chan error, 1)
	without, cancel := context.WithCancel(ctx)
	if maybe != "" {
		go func() { tried <- c.current1(without, maybe, deadline) }()
	}
	c.outcome.Silent = map[string]string{}
	each(nodes, func(node string) {
		err := c.current1(ctx, node, deadline)
		c.lock.Lock()
		defer c.lock.Unlock()
		if err != nil {
			c.outcome.Silent[node] = firstLine(err)
		}
	})
	cancel()
	if maybe != "" {
		if err := <-tried; err != nil {
			c.detail("node %q has not published: %s", maybe, firstLine(err))
		}
	}
	return ctx.Err()
}

// current1 waits until one node's maps are current.
func (c *change) current1(ctx context.Context, node string, deadline time.Time) error {
	const slowest = 3 * time.Second
	unreachable := 0
	for pause := c.pause; ; pause = min(2*pause, slowest) {
		r, err := c.peers.maps(ctx, node)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && !r.Maps.States.Older(c.outcome.Version):
			c.detail("node %q has published", node)
			return nil
		case err == nil && r.Maps.Error != "":
			err = errors.New(r.Maps.Error)
		case err == nil:
			err = errors.New("its maps are of an earlier state of the directory")
		case errors.Is(err, ssh.ErrUnreachable):
			if unreachable++; unreachable > 1 {
				return err
			}
		case errors.Is(err, ssh.ErrHostKey), errors.Is(err, ssh.ErrDenied):
			return err
		}
		if !time.Now().Add(pause).Before(deadline) {
			return err
		}
		if sleep(ctx, pause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// kick ends the sessions of all who move, on all nodes: they connect again
// by the new maps. Whom it misses notices at the next error of the connection.
func (c *change) kick(ctx context.Context, nodes []string) error {
	users := c.plan.users(c.snapshot)
	if len(users) == 0 {
		return nil
	}
	if err := c.step("ending the sessions of %s", plural(len(users), "user")); err != nil {
		return err
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return c.outcome.Silent[n] != "" })
	each(nodes, func(node string) {
		n, err := c.peers.kick(ctx, node, users)
		if err != nil && ctx.Err() == nil {
			c.warn("the sessions at node %q have not ended: %s", node, firstLine(err))
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		c.outcome.Kicked += n
	})
	return ctx.Err()
}

// pair is a node that is active, and one whose mailboxes are merged with its.
type pair struct{ active, other string }

// merge merges until all mailboxes of all pairs are equal, or another pass
// does not bring them nearer.
func (c *change) merge(ctx context.Context, pairs []pair) (SyncReport, error) {
	var total SyncReport
	for pass := range passes {
		if err := c.step("merging mailboxes, pass %d", pass+1); err != nil {
			return total, err
		}
		one, err := c.mergeOnce(ctx, pairs)
		total.add(one)
		c.journal.Merged.add(one)
		if err != nil || one.Left == 0 || one.Failed > 0 && one.Failed == one.Left {
			return total, err
		}
		c.detail("%s left", plural(one.Left, "mailbox"))
		if sleep(ctx, min(time.Duration(pass)*c.pause, 3*time.Second)); ctx.Err() != nil {
			return total, ctx.Err()
		}
	}
	return total, nil
}

// mergeOnce is one pass over all pairs at once.
func (c *change) mergeOnce(ctx context.Context, pairs []pair) (SyncReport, error) {
	var total SyncReport
	var failed error
	var names []string
	for _, p := range pairs {
		names = append(names, p.active+" "+p.other)
	}
	each(names, func(name string) {
		var p pair
		fmt.Sscan(name, &p.active, &p.other)
		r, err := c.peers.sync(ctx, p.active, p.other)
		c.lock.Lock()
		defer c.lock.Unlock()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("merging the mailboxes of node %q with those of node %q: %w", p.active, p.other, err))
			return
		}
		total.Mailboxes += r.Mailboxes
		total.Merged += r.Merged
		total.Repaired += r.Repaired
		total.Adopted += r.Adopted
		total.Failed += r.Failed
		total.Busy += r.Busy
		total.Skipped += r.Skipped
		total.Left += r.Left
	})
	return total, failed
}

// equal merges before users move, and does not let them move to less than they have.
func (c *change) equal(ctx context.Context, pairs []pair) error {
	r, err := c.merge(ctx, pairs)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && r.Failed > 0 {
		err = diag.Failed.Errorf("%s could not be merged", plural(r.Failed, "mailbox"))
	}
	if err != nil && !c.insisted("standby") {
		return diag.TryAgain.Errorf("node %q stays %s: %w", c.Node, c.outcome.State, err).
			WithHint("run the same command again: it goes on from here; --insist standby moves the users all the same")
	}
	if err != nil {
		c.warn("%v", err)
	}
	if r.Left > 0 {
		c.detail("%s changed while being merged; the merge after the move has them", plural(r.Left, "mailbox"))
	}
	return nil
}

// afterwards merges what came to the other side until all nodes knew of the
// change. The users have moved: what goes wrong is said, and left to sync.
func (c *change) afterwards(ctx context.Context, pairs []pair) error {
	if c.outcome.Left == nil {
		c.outcome.Left = map[string]int{}
	}
	for _, p := range pairs {
		r, err := c.merge(ctx, []pair{p})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.outcome.Merged.add(r)
		switch {
		case err != nil:
			c.warn("%s", firstLine(err))
		case r.Left > 0:
			c.outcome.Left[p.other] += r.Left
		}
	}
	return nil
}

// between pairs active nodes with others.
func between(active, others []string) (pairs []pair) {
	for _, a := range active {
		for _, o := range others {
			if a != o {
				pairs = append(pairs, pair{a, o})
			}
		}
	}
	return pairs
}
