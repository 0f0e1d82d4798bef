package failover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/ssh"
)

// passes is how often a merge is begun anew while mail keeps coming in, and
// retries how often for mailboxes that failed.
const (
	passes  = 10
	retries = 2
)

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
	var all sync.WaitGroup
	for _, wave := range c.waves(nodes) {
		done := make(chan struct{})
		all.Go(func() {
			defer close(done)
			each(wave, func(node string) { c.heard(node, c.current1(ctx, node, deadline)) })
		})
		select {
		case <-done:
		case <-time.After(waveTime):
		}
	}
	all.Wait()
	cancel()
	if maybe != "" {
		err := <-tried
		if c.reached = err == nil; !c.reached {
			c.detail("node %q has not published: %s", maybe, brief(err))
		}
	}
	return ctx.Err()
}

// waveTime is how long the nodes of a later wave wait for those of an earlier one.
const waveTime = 2 * time.Second

// waves is the order in which nodes publish: who is to serve users from now on
// first, who served them last, so that nobody is sent where nobody serves.
func (c *change) waves(nodes []string) [][]string {
	takers, givers := c.plan.carriers(), []string{c.Node}
	if c.plan.to.Serves() {
		takers, givers = givers, takers
	}
	var waves [3][]string
	for _, node := range nodes {
		switch {
		case slices.Contains(takers, node):
			waves[0] = append(waves[0], node)
		case slices.Contains(givers, node):
			waves[2] = append(waves[2], node)
		default:
			waves[1] = append(waves[1], node)
		}
	}
	return waves[:]
}

// heard notes whether a node has published.
func (c *change) heard(node string, err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if err != nil {
		c.outcome.Silent[node] = brief(err)
	}
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

// kick ends the sessions of all who move, wherever they are: they connect again
// by the new maps. Whom it misses notices at the next error of the connection.
// What hangs with a node that is lost ends also where nobody knows who moves.
func (c *change) kick(ctx context.Context, nodes []string) error {
	users, err := c.users(ctx, c.plan.affected)
	if err != nil && ctx.Err() == nil {
		c.warn("the sessions of who moves have not ended: %s", brief(err))
	}
	if len(users) == 0 && (err == nil || !c.Lost) {
		return ctx.Err()
	}
	who := plural(len(users), "user")
	if len(users) == 0 {
		who = fmt.Sprintf("whoever hangs with node %q", c.Node)
	}
	if err := c.step("ending the sessions of %s", who); err != nil {
		return err
	}
	kick := c.peers.kick
	if c.Lost {
		kick = c.peers.drop
	}
	each(c.answering(nodes), func(node string) {
		n, err := kick(ctx, node, c.Node, users)
		if err != nil && ctx.Err() == nil {
			c.warn("the sessions at node %q have not ended: %s", node, brief(err))
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		c.outcome.Kicked += n
	})
	return ctx.Err()
}

// answering are those of the nodes that have published what the states make of their maps.
func (c *change) answering(nodes []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return c.outcome.Silent[n] != "" })
}

// flush has the mail tried that waits at the nodes for who has moved. Where that
// fails it is tried at its time.
func (c *change) flush(ctx context.Context, nodes []string) error {
	if len(c.plan.affected) == 0 {
		return ctx.Err()
	}
	if err := c.step("having the mail tried that waits"); err != nil {
		return err
	}
	each(c.answering(nodes), func(node string) {
		if err := c.peers.flush(ctx, node); err != nil && ctx.Err() == nil {
			c.detail("mail that waits at node %q is tried later: %s", node, brief(err))
		}
	})
	return ctx.Err()
}

// pair is a node that is active, and one whose mailboxes are merged with its.
type pair struct{ active, other string }

// merge merges until all mailboxes of all pairs are equal, or another pass
// does not bring them nearer. What is left is counted by node.
func (c *change) merge(ctx context.Context, pairs []pair) (total merge.Report, left map[string]int, err error) {
	for pass := range passes {
		if err := c.step("%s, pass %d", c.mergeWords(), pass+1); err != nil {
			return total, left, err
		}
		var one merge.Report
		one, left, err = c.mergeOnce(ctx, pairs)
		if c.Verb == "in" && c.current().State == directory.Up {
			one.Recovered = 0 // what came to the node that served meanwhile, until all knew that it does no more
		}
		total.Again(&one)
		c.journal.Merged.Again(&one)
		hopeless := 0
		if pass >= retries {
			hopeless = one.Failed + one.Skipped
		} else if c.away() {
			hopeless = one.Skipped
		}
		if err != nil || one.Left <= hopeless {
			return total, left, err
		}
		c.detail("%s left", plural(one.Left, "mailbox"))
		if sleep(ctx, min(time.Duration(pass)*c.pause, 3*time.Second)); ctx.Err() != nil {
			return total, left, ctx.Err()
		}
	}
	return total, left, nil
}

// away says that the node of the change is lost, and was not reached.
func (c *change) away() bool { return c.Lost && !c.reached }

func (c *change) mergeWords() string {
	if c.away() {
		return "making messages of second copies"
	}
	return "merging mailboxes"
}

// mergeOnce is one pass over all pairs at once.
func (c *change) mergeOnce(ctx context.Context, pairs []pair) (total merge.Report, left map[string]int, failed error) {
	left = map[string]int{}
	how := c.peers.sync
	if c.away() {
		how = c.peers.adopt
	}
	var all sync.WaitGroup
	for _, p := range pairs {
		all.Go(func() {
			r, err := how(ctx, p.active, p.other)
			c.lock.Lock()
			defer c.lock.Unlock()
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("merging the mailboxes of node %q with those of node %q: %w", p.active, p.other, err))
				return
			}
			for i, why := range r.Why {
				r.Why[i] = fmt.Sprintf("on node %q: %s", p.active, why)
			}
			total.Add(r)
			left[p.other] += r.Left
		})
	}
	all.Wait()
	return total, left, failed
}

// equal merges before users move, and does not let them move to less than they have.
func (c *change) equal(ctx context.Context, pairs []pair) error {
	r, _, err := c.merge(ctx, pairs)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && r.Left > 0 {
		err = diag.Failed.Errorf("%s could not be merged\n%s", plural(r.Left, "mailbox"), strings.Join(r.Why, "\n"))
	}
	if err != nil && !c.insisted("standby") {
		return diag.TryAgain.Errorf("node %q stays %s: %w", c.Node, c.outcome.State, err).
			WithHint("run the same command again: it goes on from here; --insist standby moves the users all the same; %s", c.back())
	}
	c.warnLines(err)
	if r.Busy > 0 {
		c.detail("%s changed while being merged; the merge after the move has the rest", plural(r.Busy, "mailbox"))
	}
	return nil
}

// afterwards merges what came to the other side until all nodes knew of the
// change. The users have moved: what goes wrong is said, and left to sync.
func (c *change) afterwards(ctx context.Context, pairs []pair) error {
	r, left, err := c.merge(ctx, pairs)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, why := range r.Why {
		c.warn("%s", why)
	}
	if c.away() { // where that was the standby, the node that is active has it all
		left[c.Node] = min(left[c.Node], c.plan.moved().Mailboxes)
	}
	c.outcome.Left = left
	maps.DeleteFunc(left, func(_ string, n int) bool { return n == 0 })
	c.warnLines(err)
	return nil
}

// warnLines warns of each error that is joined in one.
func (c *change) warnLines(err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		c.warn("%s", strings.TrimSpace(line))
	}
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
