package failover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
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
	c, err := newPlanned(ctx, env, o, config)
	if err != nil {
		return err
	}
	done, err := c.already()
	if err == nil && !done {
		err = c.weigh(ctx)
	}
	if err != nil || done && !o.JSON {
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
	store, err := newStore(ctx, env, config)
	if err != nil {
		return err
	}
	read, err := readDirectory(ctx, env, config)
	if err != nil {
		return err
	}
	c, err := newChange(env, o, config, store, read)
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

// newPlanned is a change that is only planned: where the provider does not let
// itself be asked, this node's copy says how things are.
func newPlanned(ctx context.Context, env *app.Env, o Options, config *configuration) (*change, error) {
	read, err := readDirectory(ctx, env, config)
	if err != nil {
		return nil, err
	}
	var store stateStore = copied{read.Result}
	if f := &config.failover; f.AdminDN == "" || f.AdminPasswordFile != "" { // else somebody would have to type it
		provider, err := newStore(ctx, env, config)
		if err == nil {
			_, _, err = provider.States(ctx)
		}
		if store = provider; err != nil {
			store = copied{read.Result}
			fmt.Fprintf(env.Stderr, "note: by this node's copy of the directory, as %v\n", err)
		}
	}
	return newChange(env, o, config, store, read)
}

// newChange puts together what a change needs before the other nodes are asked.
func newChange(env *app.Env, o Options, config *configuration, store stateStore, read *reading) (*change, error) {
	o.Node = strings.ToLower(o.Node)
	o.Lost = o.Lost || o.Verb == "evict"
	if o.Wait <= 0 {
		o.Wait = time.Minute
	}
	if err := checkWords(o.Reason, o.By); err != nil {
		return nil, err
	}
	return &change{
		Options: o, env: env, config: config, self: config.Node, store: store, snapshot: read.Snapshot, users: read.users, hooks: hookDir(config.failover.Hooks),
		peers: newPeers(env, o, config, read.Snapshot), pause: 200 * time.Millisecond,
	}, nil
}

// copied are the states as this node's copy of the directory has them.
type copied struct{ *source.Result }

func (c copied) States(context.Context) ([]source.NodeState, source.Version, error) {
	var states []source.NodeState
	for _, n := range c.Snapshot.Nodes {
		states = append(states, source.NodeState{Node: n})
	}
	return states, c.Version, nil
}

func (copied) Write(context.Context, source.NodeState, source.Change) (source.Version, error) {
	return "", diag.Failed.Errorf("a copy of the directory takes no writes")
}

// newStore is the provider as the admin may write to it.
func newStore(ctx context.Context, env *app.Env, config *configuration) (stateStore, error) {
	s := config.Directory
	s.URLs, s.BindDN, s.PasswordFile = config.failover.WriteURLs, config.failover.AdminDN, config.failover.AdminPasswordFile
	s.Timeout = min(s.Timeout, 20*time.Second)
	if s.BindDN != "" && s.PasswordFile == "" {
		password, err := env.Password(ctx, fmt.Sprintf("password of %s: ", s.BindDN))
		if err != nil {
			return nil, err
		}
		return source.NewWriter(s, []byte(password))
	}
	return source.NewWriter(s, nil)
}

// newPeers reaches the nodes at the addresses and by the keys of the directory.
func newPeers(env *app.Env, o Options, config *configuration, snapshot *directory.Snapshot) peers {
	local := newServer(env, o, config)
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
		if ctx.Err() != nil && errors.Is(err, context.Canceled) && !c.DryRun {
			return diag.Failed.Errorf("interrupted; the last step was %q", c.journal.Step).WithHint("run the same command again: it goes on from there")
		}
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
