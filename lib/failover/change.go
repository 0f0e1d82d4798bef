package failover

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/lock"
	"rplan/lib/source"
)

// stateStore is the provider, as far as states go.
type stateStore interface {
	States(ctx context.Context) ([]source.NodeState, source.Version, error)
	Write(ctx context.Context, was source.NodeState, to source.Change) (source.Version, error)
}

// change is one change of a node's state, from the question to the last merge.
type change struct {
	Options
	env      *app.Env
	config   *configuration
	self     string
	store    stateStore
	peers    peers
	hooks    hooks
	journal  *journal
	snapshot *directory.Snapshot // maybe without users
	users    func(ctx context.Context, placements map[string]bool) ([]string, error)
	states   []source.NodeState // as they were read last
	plan     *plan
	outcome  outcome
	lock     sync.Mutex // of outcome
	pause    time.Duration
	waits    bool // for directories that are behind
	reached  bool // the node that is said to be lost
}

// outcome is what a change did, as --json prints it.
type outcome struct {
	Plan      *plan             `json:"plan"`
	State     string            `json:"state"`    // of the node at the end
	Version   source.Version    `json:"version"`  // of the provider after the last write
	Resumed   string            `json:"resumed"`  // what an interrupted run had begun last
	Silent    map[string]string `json:"silent"`   // nodes that have not published, and why
	Kicked    int               `json:"kicked"`   // users, counted at each node
	Merged    merge.Report      `json:"merged"`   // all that was merged
	Left      map[string]int    `json:"left"`     // mailboxes that still differ, by node that has them
	Queue     int               `json:"queue"`    // messages in the node's queue, -1 if not known
	Warnings  []string          `json:"warnings"` //
	Steps     []string          `json:"steps"`    // of a dry run: what it would do
	Checklist []string          `json:"checklist"`
}

// current is the node as it was read last.
func (c *change) current() *source.NodeState {
	for i := range c.states {
		if c.states[i].Name == c.Node {
			return &c.states[i]
		}
	}
	return nil
}

// step notes what comes next, and says it to who sits and waits.
func (c *change) step(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	c.tell(c.Verbose || c.env.Terminal, text)
	return c.journal.begin(text)
}

// detail says something that only --verbose wants to know.
func (c *change) detail(format string, args ...any) { c.tell(c.Verbose, fmt.Sprintf(format, args...)) }

func (c *change) tell(wanted bool, text string) {
	if wanted && !c.DryRun {
		c.lock.Lock()
		defer c.lock.Unlock()
		fmt.Fprintln(c.env.Stderr, text)
	}
}

// warn says what went wrong without ending the change; it is no success then.
func (c *change) warn(format string, args ...any) {
	c.lock.Lock()
	defer c.lock.Unlock()
	text := fmt.Sprintf(format, args...)
	c.outcome.Warnings = append(c.outcome.Warnings, text)
	fmt.Fprintf(c.env.Stderr, "warning: %s\n", text)
}

// insisted says whether a guard is overruled.
func (c *change) insisted(guard string) bool { return slices.Contains(c.Insist, guard) }

// write makes one change of the state, with the hooks around it, and looks
// whether another admin's, made at the same time, allows it to stay.
func (c *change) write(ctx context.Context, to directory.State) error {
	was := *c.current()
	if err := c.step("writing that node %q is %s", c.Node, to); err != nil {
		return err
	}
	moved := c.plan.moved()
	f := hookFacts{
		Verb: c.Verb, Node: c.Node, From: was.State.String(), To: to.String(), Lost: c.Lost, Reason: c.Reason, By: c.By,
		Time: c.env.Now().UTC(), Mailboxes: moved.Mailboxes, Sites: moved.Sites,
	}
	if err := c.hooks.run(ctx, "before", f); err != nil {
		hint := "the hooks are in " + c.config.failover.Hooks
		if c.halfway() {
			hint += "; run the same command again to go on, or " + c.back()
		}
		return diag.Refused.Errorf("a hook is against it, node %q stays %s: %w", c.Node, was.State, err).WithHint("%s", hint)
	}
	version, err := c.store.Write(ctx, was, source.Change{State: to, Since: f.Time.Truncate(time.Second), Reason: c.Reason, By: c.By})
	if err != nil {
		return err
	}
	c.outcome.State, c.outcome.Version = to.String(), version
	if err := c.hooks.run(ctx, "after", f); err != nil {
		c.warn("a hook failed after the change: %v", err)
	}
	return c.lookAgain(ctx, was)
}

// back is the command that goes back from halfway.
func (c *change) back() string {
	verb := "in"
	if c.Verb == "in" {
		verb = "out"
	}
	return fmt.Sprintf("to go back: rp-failover %s %s", verb, c.Node)
}

// lookAgain reads what others wrote meanwhile. Of two admins who took away two
// nodes at the same time, the one whose write came later goes back: the
// provider's order decides, so that it is one of them and not both.
func (c *change) lookAgain(ctx context.Context, was source.NodeState) error {
	before := c.states
	states, _, err := c.store.States(ctx)
	if err != nil {
		return diag.TryAgain.Errorf("node %q is %s, but the provider cannot be asked what others did meanwhile: %w", c.Node, c.outcome.State, err).
			WithHint("run the same command again: it goes on from here")
	}
	c.states = states
	mine := c.current()
	if mine == nil || mine.State.String() != c.outcome.State {
		return c.overtaken(mine)
	}
	if c.Verb == "evict" || c.plan.to.Serves() {
		return nil // a node that others have must go in any case
	}
	for i := range states {
		other := &states[i]
		if other.Name == c.Node || other.State == directory.Up || known(before, other) || !mine.Later(other) {
			continue
		}
		against := c.refusals(states, "last-node", "second-out")
		if len(against) == 0 {
			return nil
		}
		return c.undo(ctx, was, other)
	}
	return nil
}

// overtaken is the error of who finds that somebody else wrote another state.
func (c *change) overtaken(now *source.NodeState) error {
	if now == nil {
		return diag.Refused.Errorf("there is no node %q any more", c.Node)
	}
	return diag.Refused.Errorf("node %q was changed meanwhile: it is %s%s", c.Node, now.State, remarks(&now.Node)).
		WithHint("talk to each other; rp-failover status shows how things are")
}

// known says whether a node was away already when the guards were asked.
func known(before []source.NodeState, n *source.NodeState) bool {
	return slices.ContainsFunc(before, func(b source.NodeState) bool {
		return b.Name == n.Name && b.State == n.State
	})
}

// refusals are what some guards have against the change, in other states.
func (c *change) refusals(states []source.NodeState, names ...string) (against []refusal) {
	f := &facts{
		plan: newPlan(c.Verb, c.Node, c.Lost, c.snapshot, stateOf(states)), snapshot: c.snapshot, states: states,
		of: stateOf(states), now: c.env.Now(), settings: &c.config.failover, self: c.self,
	}
	for _, r := range f.askSome(names, c.Insist) {
		if !r.Insisted {
			against = append(against, r)
		}
	}
	return against
}

func (c *change) undo(ctx context.Context, was source.NodeState, other *source.NodeState) error {
	back := source.Change{State: was.State, Since: was.Since, Reason: was.Reason, By: was.By}
	version, err := c.store.Write(ctx, *c.current(), back)
	if err != nil {
		return diag.Failed.Errorf("node %q was taken away at the same time%s, and node %q could not be put back to %s: %w",
			other.Name, remarks(&other.Node), c.Node, was.State, err).WithHint("look at rp-failover status at once: too many nodes may be away")
	}
	c.outcome.State, c.outcome.Version = was.State.String(), version
	return errors.Join(diag.Refused.Errorf("node %q is %s again: node %q became %s at the same time%s",
		c.Node, was.State, other.Name, other.State, remarks(&other.Node)).
		WithHint("talk to each other; --insist second-out takes out a second node all the same"), c.journal.end())
}

// everybody are the nodes that are not evicted, but for some.
func (c *change) everybody(but ...string) []string {
	var names []string
	for _, n := range c.states {
		if n.State != directory.Evicted && !slices.Contains(but, n.Name) {
			names = append(names, n.Name)
		}
	}
	return names
}

// locked takes the lock that lets one change at a time be made from this machine.
func locked(ctx context.Context, c *configuration) (*lock.Lock, error) {
	if err := c.makeState(); err != nil {
		return nil, err
	}
	held, err := lock.Acquire(ctx, filepath.Join(c.failover.State, ".change.lock"), 0)
	if diag.KindOf(err) == diag.TryAgain {
		return nil, diag.TryAgain.Errorf("another change of a state is made from this machine: %w", err)
	}
	return held, err
}

// joinRefusals is the error of guards that are not overruled, before anything was changed.
func joinRefusals(verb, node string, refusals []refusal) error {
	if err := refused(fmt.Sprintf("%s %s: refused, and nothing was changed", verb, node), refusals); err != nil {
		return err
	}
	return nil
}

// refused is what happens, and the guards behind it that are not overruled; nil if there is none.
func refused(what string, refusals []refusal) *diag.Error {
	var names []string
	for _, r := range refusals {
		if r.Insisted {
			continue
		}
		what += fmt.Sprintf("\n%s: %s", r.Guard, r.Text)
		if insist := "--insist " + r.Guard; !slices.Contains(names, insist) {
			names = append(names, insist)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return diag.Refused.Errorf("%s", what).WithHint("%s goes on all the same", strings.Join(names, " "))
}
