package failover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
	"rplan/lib/ssh"
)

func runOut(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	return runChange(ctx, env, o, c)
}

func runIn(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	return runChange(ctx, env, o, c)
}

func runEvict(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	return runChange(ctx, env, o, c)
}

func runAdmit(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	return runChange(ctx, env, o, c)
}

// runPlan shows what a change would do, and does nothing.
func runPlan(ctx context.Context, env *app.Env, o Options, config *configuration) error {
	o.Verb = o.Args[0]
	c, err := newChange(ctx, env, o, config)
	if err != nil {
		return err
	}
	if done, err := c.already(); done || err != nil {
		return err
	}
	if err := c.weigh(ctx); err != nil {
		return err
	}
	if o.JSON {
		err = env.PrintJSON(c.plan)
	} else {
		fmt.Fprint(env.Stdout, c.plan.text())
	}
	if err == nil {
		err = joinRefusals(o.Verb, o.Node, c.plan.Refusals)
	}
	return err
}

// runChange is out, in, evict and admit.
func runChange(ctx context.Context, env *app.Env, o Options, config *configuration) error {
	if !o.DryRun {
		held, err := locked(ctx, config)
		if err != nil {
			return err
		}
		defer held.Release()
	}
	c, err := newChange(ctx, env, o, config)
	if err != nil {
		return err
	}
	c.outcome = outcome{Silent: map[string]string{}, Left: map[string]int{}, Warnings: []string{}, Steps: []string{}, Checklist: []string{}, Queue: -1}
	err = c.run(ctx)
	if o.JSON && c.plan != nil {
		c.outcome.Merged = c.journal.Merged
		err = errors.Join(err, env.PrintJSON(&c.outcome))
	}
	return err
}

// newChange reads all that is known before the other nodes are asked.
func newChange(ctx context.Context, env *app.Env, o Options, config *configuration) (*change, error) {
	o.Node = strings.ToLower(o.Node)
	o.Lost = o.Lost || o.Verb == "evict"
	if o.Wait <= 0 {
		o.Wait = time.Minute
	}
	if err := checkWords(o.Reason, o.By); err != nil {
		return nil, err
	}
	self, err := selfName(config)
	if err != nil {
		return nil, err
	}
	store, err := newStore(ctx, env, config)
	if err != nil {
		return nil, err
	}
	snapshot, err := readAll(ctx, env, config)
	if err != nil {
		return nil, err
	}
	c := &change{
		Options: o, env: env, config: config, self: self, store: store, snapshot: snapshot, hooks: hookDir(config.failover.Hooks),
		peers: newPeers(env, o, config, self, snapshot), pause: 200 * time.Millisecond,
	}
	return c, nil
}

// readAll reads this node's copy of the whole directory.
func readAll(ctx context.Context, env *app.Env, config *configuration) (*directory.Snapshot, error) {
	src, err := source.New(config.directory)
	if err != nil {
		return nil, err
	}
	progress := env.Progress("entries")
	src.OnProgress = func(done int) { progress.Show(done, 0) }
	result, err := src.Read(ctx, config.network)
	progress.Done()
	if err != nil {
		return nil, err
	}
	return result.Snapshot, nil
}

// newStore is the provider as the admin may write to it.
func newStore(ctx context.Context, env *app.Env, config *configuration) (stateStore, error) {
	s := config.directory
	s.URLs, s.BindDN, s.PasswordFile = config.failover.WriteURLs, config.failover.AdminDN, config.failover.AdminPasswordFile
	s.Timeout = min(s.Timeout, 20*time.Second)
	if s.BindDN != "" && s.PasswordFile == "" {
		password, err := env.Password(ctx, fmt.Sprintf("password of %s: ", s.BindDN))
		if err != nil {
			return nil, err
		}
		s.Password = []byte(password)
	}
	return source.NewWriter(s)
}

// newPeers reaches the nodes at the addresses and by the keys of the directory.
func newPeers(env *app.Env, o Options, config *configuration, self string, snapshot *directory.Snapshot) peers {
	local := newServer(env, o, config, self)
	return &collective{
		local:  local,
		client: config.client(),
		address: func(node string) (netip.Addr, bool) {
			n := snapshot.Node(node)
			if n == nil {
				return netip.Addr{}, false
			}
			return n.VPN, true
		},
	}
}

// checkWords refuses what the directory would not show.
func checkWords(reason, by string) error {
	for flag, text := range map[string]string{"reason": reason, "by": by} {
		if err := directory.CheckWords(text); err != nil {
			return diag.Usage.Errorf("--%s: %w", flag, err)
		}
	}
	return nil
}

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
		return true, nil
	case left != nil:
		fmt.Fprintf(c.env.Stderr, "note: %s of node %q, begun %s by %s, was never finished, and is given up\n", left.Verb, c.Node, stamp(left.Started), left.By)
	}
	if c.journal == nil {
		c.journal = &journal{
			Verb: c.Verb, Node: c.Node, Lost: c.Lost, Reason: c.Reason, By: c.By, Started: c.env.Now().UTC(), path: journalPath(c.config, c.Node),
		}
		if half := now.State; half == directory.Draining && c.Verb == "out" && !c.Lost || half == directory.Returning && c.Verb == "in" {
			c.outcome.Resumed = half.String()
			fmt.Fprintf(c.env.Stderr, "node %q is %s%s: going on from there\n", c.Node, half, remarks(&now.Node))
		}
	}
	return false, nil
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
			return r == nil || r.Directory == "" || !r.Directory.Older(version) || r.Directory.Lag(version, c.env.Now()) > c.config.failover.MaxLag
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

// run is the whole of a change.
func (c *change) run(ctx context.Context) error {
	c.waits = !c.Lost && c.Verb != "admit"
	if done, err := c.already(); done || err != nil {
		return err
	}
	if err := c.weigh(ctx); err != nil {
		return err
	}
	if err := c.confirm(ctx); err != nil {
		return err
	}
	if c.DryRun {
		c.pretend()
	}
	if err := sequences[c.Verb](c, ctx); err != nil {
		return err
	}
	if err := c.journal.end(); err != nil {
		return err
	}
	return c.conclude()
}

// confirm shows the plan, and asks whether to go on.
func (c *change) confirm(ctx context.Context) error {
	if (!c.Yes || c.DryRun) && !c.JSON {
		fmt.Fprint(c.env.Stdout, c.plan.text())
	}
	if err := joinRefusals(c.Verb, c.Node, c.plan.Refusals); err != nil {
		return err
	}
	if c.Yes || c.DryRun {
		return nil
	}
	sure, err := c.env.Confirm(ctx, "type the node's name to go on: ", c.Node)
	if err == nil && !sure {
		err = diag.Refused.Errorf("that is not %q; nothing was changed", c.Node)
	}
	return err
}

// pretend puts what only says so before all that changes something.
func (c *change) pretend() {
	say := func(text string) {
		c.lock.Lock()
		defer c.lock.Unlock()
		c.outcome.Steps = append(c.outcome.Steps, text)
		if !c.JSON {
			fmt.Fprintln(c.env.Stdout, text)
		}
	}
	c.store = &dryStates{c.store, say, map[string]source.Change{}}
	c.peers, c.hooks, c.journal.path, c.pause = &dryPeers{c.peers, say}, &dryHooks{c.hooks, say}, "", 0
}

// client reaches the sshd of other nodes as this one.
func (c *configuration) client() *ssh.Client {
	return &ssh.Client{
		Key: c.failover.SSHKey, KnownHosts: filepath.Join(c.mapsDir(), "ssh", "known_hosts"), Port: c.failover.SSHPort,
		ControlDir: filepath.Join(c.failover.State, "ssh"),
	}
}
