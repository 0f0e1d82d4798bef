package unlock

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
	"rplan/lib/secret"
	"rplan/lib/store"
)

// How long to wait for what a node does.
const (
	forPrompt = 30 * time.Second
	forAnswer = 2 * time.Minute // of an Argon2 on a small machine
	forSystem = 5 * time.Minute // to boot
	pause     = 2 * time.Second
)

// open unlocks a node that waits in its initramfs.
func (c *command) open(ctx context.Context) error {
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	disks, err := c.openable()
	if err != nil {
		return err
	}
	if err := c.foreign(); err != nil {
		return err
	}
	k, err := c.known(ctx)
	if err != nil {
		return err
	}
	r, err := c.probe(ctx, c.node.Initramfs)
	if err != nil {
		if !errors.Is(err, errOdd) && c.up(ctx) {
			c.say("node %s runs: there is nothing to unlock", c.Node)
			return nil
		}
		return err
	}
	if r.Where != inInitramfs {
		return diag.Refused.Errorf("what answers at %s says that it is no initramfs but a %s. Nothing was sent", c.node.Initramfs.Address(), r.Where)
	}
	verdict, all := Judge(r, k)
	if err := c.mayOpen(ctx, r, verdict, all); err != nil {
		return err
	}
	if err := c.prompts(r, disks); err != nil {
		return err
	}
	if c.DryRun {
		c.say("would hand over the passphrases of %s", strings.Join(disks, ", "))
		return nil
	}
	held, err := c.decrypt(disks)
	if err != nil {
		return err
	}
	defer held.wipe()
	results, stopped := c.handOver(ctx, disks, held)
	if stopped != nil && len(results) == 0 && c.up(ctx) {
		c.say("node %s runs: somebody else unlocked it meanwhile", c.Node)
		return nil
	}
	up := false
	if stopped == nil {
		c.say("waiting for the system of node %s", c.Node)
		up = c.awaited(ctx)
	}
	return c.conclude(ctx, by, r, verdict, results, up, stopped)
}

// openable are the disks to open, by name, each of which this admin can open: that is known
// before the network is touched.
func (c *command) openable() ([]string, error) {
	if boot := c.node.Initramfs; boot != nil && boot.Unlock != store.Cryptroot {
		return nil, diag.Config.Errorf("node %q asks by %q, which this rp-unlock does not know yet", c.Node, boot.Unlock).WithHint("it knows %q", store.Cryptroot)
	}
	var names []string // none without an initramfs, see rplan-store(5)
	for i := range c.node.Disks {
		d := &c.node.Disks[i]
		if d.Late() {
			continue
		}
		file, to := c.store.Sealed(c.Node, d.Name)
		if file == nil {
			return nil, diag.Refused.Errorf("the store has no passphrase of disk %q of node %q", d.Name, c.Node).WithHint("rp-rekey seal %s %s", c.Node, d.Name)
		}
		if _, err := c.wallet.Openers(to); err != nil {
			return nil, fmt.Errorf("disk %q of node %q: %w", d.Name, c.Node, err)
		}
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return nil, diag.Usage.Errorf("node %q has no disk that is opened before its system runs", c.Node)
	}
	return names, nil
}

// mayOpen says whether to go on, after what was seen.
func (c *command) mayOpen(ctx context.Context, r *Reading, verdict Verdict, all []Observation) error {
	switch {
	case verdict == Clean:
		return nil
	case verdict == Suspicious && c.Override == "":
		return c.report(r, verdict, all)
	}
	c.table(c.env.Stderr, r, verdict, all)
	if verdict == Suspicious {
		c.say("going on all the same: %s", c.Override)
		return nil
	}
	if c.Yes {
		return nil
	}
	sure, err := c.env.Confirm(ctx, fmt.Sprintf("unlock it? type %q: ", c.Node), c.Node)
	if err == nil && !sure {
		err = diag.Refused.Errorf("nothing was sent")
	}
	return err
}

// prompts refuses what a passphrase must not be spent on, by the node's word.
func (c *command) prompts(r *Reading, disks []string) error {
	if r.Busy {
		return diag.TryAgain.Errorf("node %q: somebody else is at it, or a session that was lost still waits there. Nothing was sent", c.Node).
			WithHint("ask the other admins; a session that belongs to nobody ends with the process cryptroot-unlock there, or when the node is restarted: see SETTING UP A NODE in rp-unlock(8)")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Prompts)) {
		p := r.Prompts[name]
		if !slices.Contains(disks, name) {
			return diag.Refused.Errorf("node %q waits for the passphrase of a disk %.64q, %s. Nothing was sent", c.Node, name, c.whose(name)).
				WithHint("its name in the store, nodes/%s.toml, has to be that of crypttab", c.Node)
		}
		if p.Tries > 0 && p.Tried+1 >= p.Tries {
			return diag.Refused.Errorf("disk %q has one try left of %d: it is not spent. Nothing was sent", name, p.Tries).
				WithHint("somebody else may be at it. The node asks anew when it has been restarted")
		}
	}
	return nil
}

// passphrases are those of disks, by name.
type passphrases map[string]*secret.Secret

func (p passphrases) wipe() {
	for _, s := range p {
		s.Wipe()
	}
}

// decrypt unseals the passphrases, after the verdict and before a prompt that would not wait: here a
// passphrase of an identity may be asked for, or a key be touched.
func (c *command) decrypt(disks []string) (passphrases, error) {
	all := passphrases{}
	for _, name := range disks {
		file, to := c.store.Sealed(c.Node, name)
		s, err := c.wallet.Open(file, to)
		if err != nil {
			all.wipe()
			return nil, fmt.Errorf("disk %q of node %q: %w", name, c.Node, err)
		}
		all[name] = s
	}
	return all, nil
}

// handOver gives each disk its passphrase, as the node asks for them. The error is nil
// where the system may come up by now.
func (c *command) handOver(ctx context.Context, disks []string, held passphrases) (results []Result, err error) {
	left, tries := slices.Clone(disks), 0
	for len(left) > 0 {
		via, done, err := c.via(c.node.Initramfs, "")
		if err != nil {
			return results, err
		}
		h := &hand{argv: append(via, "cryptroot-unlock"), prompt: forPrompt, answer: forAnswer, open: func(disk string) *secret.Secret {
			if !slices.Contains(left, disk) {
				return nil
			}
			return held[disk]
		}}
		disk, out, said, err := h.give(ctx)
		done()
		if disk != "" {
			results = append(results, Result{disk, out})
			c.say("disk %s: %s", disk, out)
		}
		if err != nil {
			return results, err
		}
		left = slices.DeleteFunc(left, func(name string) bool { return name == disk })
		switch out {
		case Opened:
		case Early:
			if tries++; tries > int(forPrompt/pause) {
				return results, c.failed(disk, out, said)
			}
			select {
			case <-ctx.Done():
				return results, context.Cause(ctx)
			case <-time.After(pause):
			}
		case Nothing:
			return results, nil
		case LostAfter, Slow:
			if len(left) > 0 { // it cannot have gone on without these
				return results, c.failed(disk, out, said)
			}
			return results, nil // the boot tells
		default:
			return results, c.failed(disk, out, said)
		}
	}
	return results, nil
}

// failed says what an outcome means, and what to do.
func (c *command) failed(disk string, out Outcome, said string) error {
	if said != "" {
		said = ": " + said
	}
	switch out {
	case Wrong, LastTry:
		return diag.Failed.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).
			WithHint("the passphrase in the store is not one of this disk's. It is not tried again: each try is one of three. Or somebody else gave one at the same time: then the node took both for one")
	case Unknown:
		return diag.Refused.Errorf("node %q asks for the passphrase of a disk %.64q, %s. Its passphrase was not sent, and a try may be spent", c.Node, disk, c.whose(disk)).
			WithHint("its name in the store, nodes/%s.toml, has to be that of crypttab", c.Node)
	case LostBefore:
		if isOtherKey(said) {
			return c.otherKey(c.node.Initramfs, "It answered otherwise a moment before. No passphrase was sent")
		}
	case LostDuring, LostAfter, Slow:
		return diag.TryAgain.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).WithHint("a try may be spent; the next run says how many are left")
	}
	return diag.TryAgain.Errorf("node %q: %s%s", c.Node, out, said).WithHint("no passphrase was sent; run it again")
}

// up says whether the running system answers, with its own host key.
func (c *command) up(ctx context.Context) bool {
	via, done, err := c.via(&c.node.System, "")
	if err != nil {
		return false
	}
	defer done()
	_, err = run.Run(ctx, run.Cmd{Argv: append(via, "true"), Terminal: true, Timeout: 15 * time.Second})
	return err == nil
}

// awaited waits for it. Until then the initramfs' sshd may answer at the same place.
func (c *command) awaited(ctx context.Context) bool {
	for end := c.env.Now().Add(cmp.Or(c.patience.boot, forSystem)); ; {
		if c.up(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		if c.env.Now().After(end) {
			return false
		}
	}
}

// conclude notes in the journal what was done, and says how it ended.
func (c *command) conclude(ctx context.Context, by *store.Keyring, r *Reading, verdict Verdict, results []Result, up bool, stopped error) error {
	settle(results, up)
	e := store.Entry{What: store.Unlocked, Node: c.Node, Verdict: string(verdict), Rotate: verdict == Suspicious, Result: resultOf(results, up)}
	if verdict == Suspicious {
		e.Why = c.Override
	}
	if len(results) > 0 {
		seen, err := json.Marshal(r)
		if err != nil {
			return err
		}
		e.Seen = seen
		if err := c.store.Note(ctx, by, e); err != nil {
			c.say("the journal has no word of this: %v", err)
		}
	}
	if c.JSON {
		if err := c.env.PrintJSON(Report{c.Node, r.Where, verdict, []Observation{}, results}); err != nil {
			return err
		}
	}
	isOpen := func(r Result) bool { return r.Outcome == Opened }
	switch some := slices.ContainsFunc(results, isOpen); {
	case stopped != nil && some:
		return diag.Partial.Errorf("some disks are open, and not all: %w", stopped)
	case stopped != nil:
		return stopped
	case !up:
		err := diag.TryAgain.Errorf("all that node %q asked for was sent, and its system did not answer at %s in %s", c.Node, c.node.System.Address(), span(cmp.Or(c.patience.boot, forSystem))).
			WithHint("look at its console if you can; rp-unlock --check %s says when it is there", c.Node)
		if waits := c.waits(ctx); waits != "" {
			err.WithHint("its initramfs is there yet, and waits for the passphrase of %s", waits)
		}
		return err
	}
	if e.Result == string(Late) {
		c.say("it took longer than the node waits for: the passphrase was right")
	}
	fmt.Fprintf(c.env.Stdout, "node %s is up\n", c.Node)
	if e.Rotate {
		c.say("the passphrases of its disks have to be replaced, and what was on them counts as read")
	}
	return nil
}

// resultOf is one line for the journal.
func resultOf(results []Result, up bool) string {
	if up && slices.ContainsFunc(results, func(r Result) bool { return r.Outcome == Late }) {
		return string(Late)
	}
	if up {
		return string(Opened)
	}
	var all []string
	for _, r := range results {
		all = append(all, r.Disk+": "+string(r.Outcome))
	}
	return strings.Join(all, ", ")
}
