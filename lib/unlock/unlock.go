// Package unlock is rp-unlock(8): before a node that waits in its initramfs gets
// the passphrases of its disks, it is looked at for signs that somebody was at the
// machine; then each disk gets its own, and the running system is waited for.
package unlock

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/run"
	"rplan/lib/secret"
	"rplan/lib/ssh"
	"rplan/lib/store"
)

// Options are what the command line says.
type Options struct {
	Node       string
	All        bool   // instead of Node: all of the store
	Why        string // of Planned
	Config     string
	Store      string
	As         string
	Key        string
	Identities []string
	Check      bool
	Enrol      bool
	Planned    bool
	Override   string        // why a suspicious node is unlocked all the same
	For        time.Duration // how long Planned holds
	Yes        bool
	DryRun     bool
	JSON       bool

	patience struct{ probe, boot time.Duration } // for tests; 0 is ours
}

// Settings are the section [unlock] of rplan.toml.
type Settings struct {
	ProbeKey string `toml:"probe-key"` // private SSH key that the node answers with its probe, and with nothing else
}

// command is one run.
type command struct {
	Options
	env      *app.Env
	settings *store.Settings
	unlock   Settings
	wallet   *store.Wallet
	store    *store.Store
	node     *store.Node
	result   Report
	shared   *together // with the runs for other nodes; nil for one alone
}

// complete refuses what no call can mean.
func (o *Options) complete() error {
	ways := 0
	for _, way := range []bool{o.Check, o.Enrol, o.Planned, o.Override != ""} {
		if way {
			ways++
		}
	}
	switch {
	case o.All && (o.Node != "" || o.Why != ""):
		return diag.Usage.Errorf("--all is for all nodes, and %.80q names one", cmp.Or(o.Node, o.Why))
	case o.All && (o.Enrol || o.Planned || o.Override != ""):
		return diag.Usage.Errorf("--enrol, --planned and --override are for one node at a time, and not for --all")
	case !o.All && o.Node == "":
		return diag.Usage.Errorf("no node is named").WithHint("rp-unlock NODE, or rp-unlock --all; rp-rekey status lists them")
	case ways > 1:
		return diag.Usage.Errorf("--check, --enrol, --planned and --override are different things: one at a time")
	case o.Planned && strings.TrimSpace(o.Why) == "":
		return diag.Usage.Errorf("--planned needs a reason, which the other admins read").WithHint("rp-unlock --planned %s \"new memory\"", o.Node)
	case o.Planned && o.For <= 0:
		return diag.Usage.Errorf("--for %s is no time", o.For)
	case !o.Planned && o.Why != "":
		return diag.Usage.Errorf("%.80q: one node at a time", o.Why)
	}
	return nil
}

// Run does what the options say.
func Run(ctx context.Context, env *app.Env, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if err := secret.Harden(); err != nil {
		return err
	}
	c := &command{Options: o, env: env}
	var err error
	if c.settings, err = store.LoadSettings(o.Config, map[string]any{"unlock": &c.unlock}); err != nil {
		return err
	}
	if err := c.settings.Complete(o.Store, o.As, o.Key, o.Identities); err != nil {
		return err
	}
	c.wallet = c.settings.Wallet(func(prompt string) ([]byte, error) {
		said, err := env.Password(ctx, prompt)
		return []byte(said), err
	}, c.say)
	if c.store, err = c.settings.Place(env.Now).Open(ctx); err != nil {
		return err
	}
	for _, news := range c.store.News {
		c.say("%s", news)
	}
	if o.All {
		return c.many(ctx)
	}
	if c.node = c.store.Nodes[o.Node]; c.node == nil {
		return diag.Usage.Errorf("there is no node %.80q in the store", o.Node).WithHint("rp-rekey status lists them")
	}
	return c.one(ctx)
}

// one does what the options say to one node.
func (c *command) one(ctx context.Context) error {
	switch {
	case c.Planned:
		return c.announce(ctx)
	case c.Enrol:
		return c.enrol(ctx)
	case c.Check:
		return c.check(ctx)
	}
	return c.open(ctx)
}

func (c *command) say(format string, v ...any) { fmt.Fprintf(c.env.Stderr, format+"\n", v...) }

// announce notes that the node will be off, signed, for all admins.
func (c *command) announce(ctx context.Context) error {
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	until := c.env.Now().Add(c.For)
	if !c.DryRun {
		if err := c.note(ctx, by, store.Entry{What: store.Planned, Node: c.Node, Why: c.Why, Until: until}); err != nil {
			return err
		}
	}
	c.say("node %s may be off until %s: %s", c.Node, until.Local().Format("2 January 15:04"), c.Why)
	return nil
}

// note adds an entry to the journal. ssh-keygen may ask for a passphrase.
func (c *command) note(ctx context.Context, by *store.Keyring, e store.Entry) error {
	if c.shared != nil {
		c.shared.turn.Lock()
		defer c.shared.turn.Unlock()
	}
	return c.store.Note(ctx, by, e)
}

const (
	probing      = 2 * time.Minute
	probeCommand = "/usr/lib/rplan/rplan-probe" // where a key has no forced command
)

// probe asks one of the node's two systems what it looks like.
func (c *command) probe(ctx context.Context, t *store.Target) (*Reading, error) {
	if c.unlock.ProbeKey == "" { // any other key may be one that asks for a passphrase at once, and takes the end of our input for one
		return nil, diag.Config.Errorf("there is no key for the probe").WithHint("probe-key in [unlock]: an SSH key that contrib/initramfs has put into the initramfs")
	}
	via, done, err := c.via(t, c.unlock.ProbeKey)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := run.Run(ctx, run.Cmd{Argv: append(via, probeCommand), Terminal: true, Timeout: cmp.Or(c.patience.probe, probing), MaxOutput: maxProbe, Data: true})
	if err != nil {
		return nil, c.noReading(t, result, err)
	}
	r, err := parseReading(result.Stdout)
	if err != nil {
		return nil, c.oddProbe(err)
	}
	return r, nil
}

// oddProbe is about a node that answers, and not with a whole reading.
func (c *command) oddProbe(err error) error {
	return diag.Refused.Errorf("the probe of node %q: %w%w. No passphrase was sent", c.Node, err, errOdd).
		WithHint("is contrib/initramfs installed there, and its key the one of [unlock] probe-key? If it was, look at the machine")
}

// via reaches one of the node's two systems, with the admin's own ssh.
func (c *command) via(t *store.Target, key string) ([]string, func(), error) {
	p := ssh.Personal{Host: t.Host, Port: t.SSHPort(), User: t.Login(), HostKeys: t.HostKeys, Only: key}
	p.Batch = c.shared != nil // several that ask at a time would mix their questions
	return p.Via()
}

// errOdd has no words of its own.
var errOdd = errors.New("")

// noReading says what it means that ssh(1) failed, or ended with no whole reading.
func (c *command) noReading(t *store.Target, r run.Result, err error) error {
	switch {
	case isOtherKey(harmless(r.Stderr)):
		return c.otherKey(t, "Nothing was decrypted and nothing sent")
	case len(r.Stdout) >= maxProbe:
		return c.oddProbe(fmt.Errorf("it said more than %d bytes", maxProbe))
	case errors.Is(err, run.ErrTimeout) && len(r.Stdout) > 0:
		return c.oddProbe(fmt.Errorf("it began, and did not end in %s", span(cmp.Or(c.patience.probe, probing))))
	case r.ExitCode > 0 && r.ExitCode != ssh.ExitFailed:
		return c.oddProbe(fmt.Errorf("exit status %d: %.200s", r.ExitCode, cmp.Or(harmless(r.Stderr), "it said nothing")))
	}
	return diag.TryAgain.Errorf("node %q at %s: %w", c.Node, t.Address(), err).WithHint("no passphrase was sent")
}

// isOtherKey says whether ssh(1) complains about the host key.
func isOtherKey(said string) bool {
	return strings.Contains(said, "IDENTIFICATION HAS CHANGED") || strings.Contains(said, "Host key verification failed")
}

func (c *command) otherKey(t *store.Target, sent string) error {
	return diag.Refused.Errorf("at %s answers another host key than the one in the store. %s", t.Address(), sent).
		WithHint("the node may have been installed anew, may be in its other system, or somebody else answers for it: ask who was at the machine; a new key goes into nodes/%s.toml, then rp-rekey sign", c.Node)
}

// known is what a reading is held against, with the newest that admins noted.
func (c *command) known(ctx context.Context) (*Known, error) {
	base, err := c.baseline()
	if err != nil {
		return nil, err
	}
	k := &Known{Baseline: base, Alive: base.Clock, MaxOff: c.node.MaxOff(), Self: c.node.Initramfs == nil, Now: c.env.Now()}
	entries, wrong, err := c.store.Journal(ctx, c.Node)
	if err != nil {
		return nil, err
	}
	for _, w := range wrong {
		c.say("not believed: %s", w)
	}
	for _, e := range entries {
		if e.Date.Before(base.Clock) {
			continue
		}
		switch e.What {
		case store.Planned:
			k.Ticket = ""
			if e.Until.After(k.Now) {
				k.Ticket = e.Why + " (" + e.By + ")"
			}
		case store.Unlocked:
			last := &Reading{}
			if json.Unmarshal(e.Seen, last) == nil {
				k.Last, k.Unlocked = last, last.Where == inInitramfs && mayHaveBooted(e.Result)
			}
			if seenRunning(e.Result) {
				k.Ticket = "" // an announcement is for one time
				if e.Date.After(k.Alive) {
					k.Alive = e.Date
				}
			}
		}
	}
	return k, nil
}

// findable warns where this admin could not unlock the node, as far as that is seen with nobody there to ask.
func (c *command) findable() {
	looking, locked := *c, false
	looking.wallet = c.settings.Wallet(func(string) ([]byte, error) {
		locked = true
		return nil, errors.New("nobody is asked")
	}, func(string, ...any) {})
	if _, _, err := looking.openable(); err != nil && !locked {
		c.say("it cannot be unlocked from here: %v", err)
	}
}

// check looks at the node, in whichever system it is, and changes nothing.
func (c *command) check(ctx context.Context) error {
	if c.shared == nil { // of several, some are others' to unlock
		c.findable()
	}
	k, err := c.known(ctx)
	if err != nil {
		return err
	}
	r, err := c.probe(ctx, &c.node.System)
	if err != nil && c.node.Initramfs != nil {
		if waits, failed := c.probe(ctx, c.node.Initramfs); failed == nil {
			r, err = waits, nil
		}
	}
	if err != nil {
		return err
	}
	verdict, all := Judge(r, k)
	return c.report(r, verdict, all)
}
