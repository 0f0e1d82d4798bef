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
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
	if c.node = c.store.Nodes[o.Node]; c.node == nil {
		return diag.Usage.Errorf("there is no node %.80q in the store", o.Node).WithHint("rp-rekey status lists them")
	}
	switch {
	case o.Planned:
		return c.announce(ctx)
	case o.Enrol:
		return c.enrol(ctx)
	case o.Check:
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
		if err := c.store.Note(ctx, by, store.Entry{What: store.Planned, Node: c.Node, Why: c.Why, Until: until}); err != nil {
			return err
		}
	}
	c.say("node %s may be off until %s: %s", c.Node, until.Local().Format("2 January 15:04"), c.Why)
	return nil
}

// baseline is what the node looked like when it was enrolled.
func (c *command) baseline() (*Reading, error) {
	text := c.store.Baseline(c.Node)
	if text == nil {
		return nil, diag.Refused.Errorf("node %q was never enrolled: nobody knows what it looks like when it is well", c.Node).
			WithHint("while it runs and you trust it: rp-unlock --enrol %s", c.Node)
	}
	r := &Reading{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, diag.BadData.Errorf("the baseline of node %q: %w", c.Node, err)
	}
	return r, nil
}

// enrol asks the running node what it looks like, and puts that into the store.
func (c *command) enrol(ctx context.Context) error {
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	r, err := c.probe(ctx, &c.node.System)
	if err != nil {
		return err
	}
	switch {
	case r.Where != inSystem:
		return diag.Refused.Errorf("node %q is in its %s: only a node that runs, and that you trust, is enrolled", c.Node, r.Where)
	case r.Clock.Sub(c.env.Now()).Abs() > maxClock:
		return diag.Refused.Errorf("the clock of node %q is wrong by %s: set it right first", c.Node, span(r.Clock.Sub(c.env.Now()).Abs()))
	case len(r.Headers) == 0 || len(r.Files) == 0:
		return diag.Refused.Errorf("the probe of node %q sees %d LUKS headers and %d files of /boot", c.Node, len(r.Headers), len(r.Files)).
			WithHint("contrib/initramfs has to be installed there, with /etc/rplan-probe.conf")
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.env.Stdout, "node %s: %d files of /boot, %d LUKS headers, %d drives\n", c.Node, len(r.Files), len(r.Headers), len(r.Drives))
	if c.DryRun {
		return nil
	}
	_, err = c.store.Commit(ctx, by, store.BaselineChange(c.Node, append(text, '\n')))
	return err
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
	p := ssh.Personal{Host: t.Host, Port: t.SSHPort(), User: t.Login(), HostKeys: t.HostKeys}
	if key != "" {
		p.Options = []string{"IdentitiesOnly=yes", "IdentityAgent=none", "IdentityFile=" + key}
	}
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
	case r.ExitCode > 0 && r.ExitCode != sshFailed:
		return c.oddProbe(fmt.Errorf("exit status %d: %.200s", r.ExitCode, cmp.Or(harmless(r.Stderr), "it said nothing")))
	}
	return diag.TryAgain.Errorf("node %q at %s: %w", c.Node, t.Address(), err).WithHint("no passphrase was sent")
}

// sshFailed is the exit code of ssh(1) that says that it failed itself.
const sshFailed = 255

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
	k := &Known{Baseline: base, Alive: base.Clock, MaxOff: c.node.MaxOff(), Now: c.env.Now()}
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
				k.Last, k.Unlocked = last, mayHaveBooted(e.Result)
			}
			if e.Result == string(Opened) || e.Result == string(Late) { // else nobody has seen it run
				k.Ticket = "" // an announcement is for one time
				if e.Date.After(k.Alive) {
					k.Alive = e.Date
				}
			}
		}
	}
	return k, nil
}

// mayHaveBooted says whether a node can have come up after what an entry says came of its disks.
func mayHaveBooted(result string) bool {
	for _, sent := range []Outcome{Opened, LostAfter, Slow} {
		if strings.Contains(result, string(sent)) {
			return true
		}
	}
	return false
}

// check looks at the node, in whichever system it is, and changes nothing.
func (c *command) check(ctx context.Context) error {
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

// Report is what is printed for machines.
type Report struct {
	Node         string        `json:"node"`
	Where        string        `json:"where"`
	Verdict      Verdict       `json:"verdict"`
	Observations []Observation `json:"observations"`
	Disks        []Result      `json:"disks,omitempty"`
}

// Result is what became of one disk.
type Result struct {
	Disk    string  `json:"disk"`
	Outcome Outcome `json:"outcome"`
}

// report prints the table, and is an error for a node that is suspicious.
func (c *command) report(r *Reading, verdict Verdict, all []Observation) error {
	switch {
	case c.JSON:
		if err := c.env.PrintJSON(Report{c.Node, r.Where, verdict, all, nil}); err != nil {
			return err
		}
	case verdict != Clean || c.env.Terminal: // cron mails what is printed
		c.table(c.env.Stdout, r, verdict, all)
	}
	if verdict == Suspicious {
		return diag.Suspicious.Errorf("node %q is suspicious. No passphrase was sent", c.Node).
			WithHint("find out what the grave lines mean before anything else; --override WHY unlocks it all the same, and notes that its passphrases have to be replaced")
	}
	return nil
}

func (c *command) table(to io.Writer, r *Reading, verdict Verdict, all []Observation) {
	fmt.Fprintf(to, "node %s, in its %s: %s\n", c.Node, r.Where, strings.ToUpper(string(verdict)))
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Observation) int { return rank(b.Weight) - rank(a.Weight) })
	for _, o := range sorted {
		fmt.Fprintf(w, "%s\t%s\t%s\texpected: %s\n", o.Weight, o.What, o.Seen, o.Expected)
	}
	_ = w.Flush()
}

func rank(w Weight) int { return slices.Index([]Weight{Fine, Announced, Grave}, w) }
