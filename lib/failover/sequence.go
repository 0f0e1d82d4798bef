package failover

import (
	"context"
	"fmt"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
)

// Each sequence begins at the state that it finds, so that a run that was
// killed is gone on with by the next: every step may be done twice.

// sequences are what the verbs do once nobody is against it.
var sequences = map[string]func(*change, context.Context) error{
	"out": (*change).out, "in": (*change).in, "evict": (*change).lose, "admit": (*change).admit,
}

// out is the planned way out, on which nobody loses anything even for a
// moment, or the way of a node that is gone.
func (c *change) out(ctx context.Context) error {
	if c.Lost {
		return c.lose(ctx)
	}
	self, takers := []string{c.Node}, c.plan.carriers()
	if c.current().State == directory.Up {
		if err := c.write(ctx, directory.Draining); err != nil {
			return err
		}
	}
	if c.current().State == directory.Draining {
		if err := c.publish(ctx, c.everybody(), ""); err != nil {
			return err
		}
		if err := c.equal(ctx, between(self, takers)); err != nil {
			return err
		}
	}
	if c.current().State != directory.Out {
		if err := c.writeNext(ctx, directory.Out); err != nil {
			return err
		}
	}
	return c.settle(ctx, c.everybody(), "", between(takers, self))
}

// lose is the way of a node that does not answer any more, or must not be
// asked: one write at once. What is on its disk only is merged when it comes back.
func (c *change) lose(ctx context.Context) error {
	if c.current().State != c.plan.to {
		if err := c.write(ctx, c.plan.to); err != nil {
			return err
		}
	}
	maybe := c.Node
	if c.plan.to == directory.Evicted {
		maybe = ""
	}
	return c.settle(ctx, c.everybody(c.Node), maybe, between(c.plan.carriers(), []string{c.Node}))
}

// in lets a node catch up before it serves.
func (c *change) in(ctx context.Context) error {
	self, partners := []string{c.Node}, c.plan.partners
	if s := c.current().State; s == directory.Out {
		if err := c.write(ctx, directory.Returning); err != nil {
			return err
		}
	}
	if c.current().State == directory.Returning {
		if err := c.publish(ctx, c.everybody(), ""); err != nil {
			return err
		}
		if why := c.outcome.Silent[c.Node]; why != "" && !c.insisted("checks") {
			return diag.TryAgain.Errorf("node %q stays returning, as it has no current maps: %s", c.Node, why).
				WithHint("run the same command again: it goes on from here; --insist checks lets it serve all the same")
		}
		// A node that was cut off went on serving who could reach it.
		if err := c.kick(ctx, self); err != nil {
			return err
		}
		if err := c.equal(ctx, between(partners, self)); err != nil {
			return err
		}
	}
	if c.current().State != directory.Up {
		if err := c.writeNext(ctx, directory.Up); err != nil {
			return err
		}
	}
	return c.settle(ctx, c.everybody(), "", between(self, c.plan.carriers()))
}

// admit lets a name be used again; the node under it is out.
func (c *change) admit(ctx context.Context) error {
	if c.current().State == directory.Evicted {
		if err := c.write(ctx, directory.Out); err != nil {
			return err
		}
	}
	return c.publish(ctx, c.everybody(c.Node), "")
}

// settle is what comes after the write that moves the users.
func (c *change) settle(ctx context.Context, nodes []string, maybe string, pairs []pair) error {
	if err := c.publish(ctx, nodes, maybe); err != nil {
		return err
	}
	if c.reached {
		nodes = append(nodes, maybe)
	}
	if err := c.flush(ctx, nodes); err != nil {
		return err
	}
	if err := c.kick(ctx, nodes); err != nil {
		return err
	}
	if err := c.afterwards(ctx, pairs); err != nil {
		return err
	}
	c.outcome.Queue = -1
	if c.plan.to == directory.Out && !c.Lost && !c.DryRun {
		if r, err := c.peers.status(ctx, c.Node); err == nil {
			c.outcome.Queue = r.Queue
		}
	}
	return nil
}

// writeNext is write for a sequence that was at work since it read the
// states: what others did meanwhile counts before the users move.
func (c *change) writeNext(ctx context.Context, to directory.State) error {
	was, before := c.current().State, c.states
	const looks = 10
	for look := 1; ; look++ {
		states, _, err := c.store.States(ctx)
		if err != nil {
			return err
		}
		c.states = states
		now := c.current()
		if now == nil || now.State != was {
			return c.overtaken(now)
		}
		other := c.intruder(before)
		if other == nil {
			return c.write(ctx, to)
		}
		if other.Later(now) && look < looks {
			sleep(ctx, c.pause) // who came later goes back
			continue
		}
		if err := refused(fmt.Sprintf("node %q stays %s, as others changed states meanwhile", c.Node, was), c.refusals(states, "last-node", "second-out")); err != nil {
			return err.WithHint("%s; %s", err.Hint, c.back())
		}
		return c.write(ctx, to)
	}
}

// intruder is a node that another admin takes away since the guards were
// asked, or nil.
func (c *change) intruder(before []source.NodeState) *source.NodeState {
	if c.plan.to.Serves() {
		return nil
	}
	for i := range c.states {
		if n := &c.states[i]; n.Name != c.Node && n.State != directory.Up && !known(before, n) {
			return n
		}
	}
	return nil
}
