package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
)

// read asks the provider for the states, and finds what was interrupted.
func (c *change) read(ctx context.Context) (source.Version, error) {
	states, version, err := c.store.States(ctx)
	if err != nil {
		return "", err
	}
	c.states = states
	now := c.current()
	if now == nil || c.snapshot.Node(c.Node) == nil {
		var names []string
		for _, n := range states {
			names = append(names, n.Name)
		}
		return "", diag.Usage.Errorf("there is no node %q", c.Node).WithHint("the nodes are %s", strings.Join(names, ", "))
	}
	c.outcome.State, c.outcome.Version = now.State.String(), version
	return version, nil
}

// already says that there is nothing to do, or why nothing can be done.
func (c *change) already() (bool, error) {
	ctx := context.Background()
	if _, err := c.read(ctx); err != nil {
		return false, err
	}
	now := c.current()
	left := loadJournal(c.config, c.Node)
	switch {
	case now.State == directory.Evicted && (c.Verb == "in" || c.Verb == "out"):
		return false, diag.Refused.Errorf("node %q is evicted%s", c.Node, remarks(&now.Node)).
			WithHint("once it is a new machine with new keys: rp-failover admit %s", c.Node)
	case now.State != directory.Evicted && c.Verb == "admit":
		return false, diag.Refused.Errorf("node %q is %s, not evicted%s", c.Node, now.State, remarks(&now.Node))
	case left != nil && left.Verb == c.Verb && left.Lost == c.Lost:
		c.resume(left)
	case now.State == targets[c.Verb]:
		fmt.Fprintf(c.env.Stderr, "node %q is %s already%s\n", c.Node, now.State, remarks(&now.Node))
		c.plan, c.journal = emptyPlan(c.Verb, c.Node, c.Lost, now.State), &journal{}
		c.outcome.Plan = c.plan
		return true, nil
	case left != nil:
		fmt.Fprintf(c.env.Stderr, "note: %s of node %q, begun %s by %s, was never finished, and is given up\n", left.Verb, c.Node, stamp(left.Started), left.By)
	}
	if c.journal == nil {
		c.journal = &journal{
			Verb: c.Verb, Node: c.Node, Lost: c.Lost, Reason: c.Reason, By: c.By, Started: c.env.Now().UTC(), path: journalPath(c.config, c.Node),
		}
		if c.halfway() {
			c.outcome.Resumed = now.State.String()
			fmt.Fprintf(c.env.Stderr, "node %q is %s%s: going on from there\n", c.Node, now.State, remarks(&now.Node))
		}
	}
	return false, nil
}

// halfway says whether the first of two writes is done.
func (c *change) halfway() bool {
	state := c.current().State
	return c.Verb == "out" && !c.Lost && state == directory.Draining || c.Verb == "in" && state == directory.Returning
}

// resume takes over what an interrupted run noted.
func (c *change) resume(left *journal) {
	c.journal, c.outcome.Resumed = left, left.Step
	if c.Reason == "" {
		c.Reason = left.Reason
	}
	fmt.Fprintf(c.env.Stderr, "going on with %s of node %q, begun %s by %s; the last step was %q\n", left.Verb, c.Node, stamp(left.Started), left.By, left.Step)
}

// weigh makes the plan, asks all nodes, and then the guards.
func (c *change) weigh(ctx context.Context) error {
	before := c.outcome.Version
	c.plan = newPlan(c.Verb, c.Node, c.Lost, c.snapshot, stateOf(c.states))
	c.outcome.Plan = c.plan
	var gone []string
	if c.Lost || c.Verb == "admit" {
		gone = append(gone, c.Node) // to ask it is to wait for nothing
	}
	answers := askAll(ctx, c.peers, c.everybody(gone...), c.env.Now)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if c.waits {
		c.catchUp(ctx, answers, before)
	}
	states, after, err := c.store.States(ctx)
	if err != nil {
		return err
	}
	if now := c.current(); !slices.ContainsFunc(states, func(n source.NodeState) bool {
		return n.Name == c.Node && n.State == now.State && n.Since.Equal(now.Since)
	}) {
		c.states = states
		return c.overtaken(c.current())
	}
	c.states = states
	c.plan.weigh(answers)
	f := &facts{
		plan: c.plan, snapshot: c.snapshot, states: states, of: stateOf(states), version: before, after: after,
		answers: answers, self: c.self, now: c.env.Now(), settings: &c.config.failover,
	}
	if c.current().State != c.plan.to { // else the users have moved, and only the rest is to be done
		c.plan.Refusals = f.ask(c.Insist)
	}
	return nil
}

// catchUp waits for the directories of who has to follow the change. A lag
// can be measured in no other way: it is what was there when one asked, and
// has not arrived since.
func (c *change) catchUp(ctx context.Context, answers map[string]answer, version source.Version) {
	names := c.plan.carriers()
	if c.plan.to.Serves() {
		names = append(names, c.Node)
	}
	until := time.Now().Add(c.config.failover.MaxLag)
	for pause := c.pause; ; pause = min(2*pause, 2*time.Second) {
		late := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			r := answers[name].report
			hopeless := name != c.Node && r != nil && r.Directory.Lag(version, c.env.Now()) > c.config.failover.MaxLag // a node that comes back lags by as long as it was away
			return r == nil || r.Directory == "" || !r.Directory.Older(version) || hopeless
		})
		if len(late) == 0 {
			return
		}
		if time.Now().After(until) || ctx.Err() != nil {
			for _, name := range late {
				a := answers[name]
				a.behind = true
				answers[name] = a
			}
			return
		}
		c.detail("the directory of %s is behind; waiting for it", some(late))
		sleep(ctx, pause)
		for name, a := range askAll(ctx, c.peers, late, c.env.Now) {
			answers[name] = a
		}
	}
}
