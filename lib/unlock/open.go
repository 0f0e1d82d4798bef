package unlock

import (
	"cmp"
	"context"
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

// open unlocks a node: the disks that its initramfs waits for, then those that its running system opens.
func (c *command) open(ctx context.Context) error {
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	early, late, err := c.openable()
	if err != nil {
		return err
	}
	if c.shared == nil {
		if err := c.foreign(); err != nil {
			return err
		}
	}
	k, err := c.known(ctx)
	if err != nil {
		return err
	}
	r, left, err := c.find(ctx, early, late)
	if r == nil || err != nil {
		return err
	}
	verdict, all := Judge(r, k)
	if err := c.mayOpen(ctx, r, verdict, all); err != nil {
		return err
	}
	if err := c.prompts(r, early); err != nil {
		return err
	}
	if c.DryRun {
		c.say("would hand over the passphrases of %s", strings.Join(left, ", "))
		return nil
	}
	held, err := c.decrypt(left)
	if err != nil {
		return err
	}
	defer held.wipe()
	var results []Result
	up := r.Where == inSystem
	if !up {
		results, err = c.handOver(ctx, early, held)
		switch {
		case err == nil:
			c.say("waiting for the system of node %s", c.Node)
			if up = c.awaited(ctx); up {
				settle(results)
			}
		case len(results) == 0 && c.up(ctx):
			c.say("node %s runs: somebody else unlocked it meanwhile", c.Node)
			up, err = true, nil
		}
	}
	if err == nil && up && len(late) > 0 {
		var more []Result
		more, err = c.openLate(ctx, late, held)
		results = append(results, more...)
	}
	return c.conclude(ctx, by, r, verdict, all, results, up, err)
}

// openable are the disks to open, those that the initramfs waits for and those that the running
// system opens, each of which this admin can open: that is known before the network is touched.
func (c *command) openable() (early []string, late []*store.Disk, err error) {
	for i := range c.node.Disks {
		d := &c.node.Disks[i]
		file, to := c.store.Sealed(c.Node, d.Name)
		if file == nil {
			return nil, nil, diag.Refused.Errorf("the store has no passphrase of disk %q of node %q", d.Name, c.Node).WithHint("rp-rekey seal %s %s", c.Node, d.Name)
		}
		if _, err := c.wallet.Openers(to); err != nil {
			return nil, nil, fmt.Errorf("disk %q of node %q: %w", d.Name, c.Node, err)
		}
		if d.Late() {
			late = append(late, d)
		} else { // none without an initramfs, see rplan-store(5)
			early = append(early, d.Name)
		}
	}
	if len(early)+len(late) == 0 {
		return nil, nil, diag.Usage.Errorf("node %q has no disks in the store", c.Node).WithHint("they are listed in nodes/%s.toml, see rplan-store(5)", c.Node)
	}
	return early, late, nil
}

// find asks the node what it looks like, in the system in which it is, and says which disks
// are left to open there and later. The reading is nil if there are none.
func (c *command) find(ctx context.Context, early []string, late []*store.Disk) (r *Reading, left []string, err error) {
	if len(early) > 0 {
		r, err = c.atPrompt(ctx)
		switch {
		case err == nil && r.Where != inInitramfs:
			return nil, nil, diag.Refused.Errorf("what answers at %s says that it is no initramfs but a %s. Nothing was sent", c.node.Initramfs.Address(), r.Where)
		case err == nil:
			return r, append(slices.Clone(early), names(late)...), nil
		case errors.Is(err, errOdd) || !c.up(ctx):
			return nil, nil, err
		}
	}
	if len(late) > 0 {
		states, err := c.states(ctx, late)
		if err != nil {
			return nil, nil, err
		}
		left = slices.DeleteFunc(names(late), func(name string) bool { return states[name] == ready })
	}
	if len(left) == 0 {
		c.say("node %s runs: there is nothing to unlock", c.Node)
		return nil, nil, nil
	}
	if r, err = c.probe(ctx, &c.node.System); err == nil && r.Where != inSystem {
		err = diag.Refused.Errorf("what answers at %s says that it is no running system but an %s. Nothing was sent", c.node.System.Address(), r.Where)
	}
	return r, left, err
}

// looks is how often a node is asked until it waits for a passphrase.
const looks = 3

// atPrompt asks a node in its initramfs what it looks like, and again where it waits for no
// passphrase: between two tries it does so for a second, and then does not say how many are left.
func (c *command) atPrompt(ctx context.Context) (r *Reading, err error) {
	for look := range looks {
		if look > 0 {
			if err := rest(ctx); err != nil {
				return nil, err
			}
		}
		if r, err = c.probe(ctx, c.node.Initramfs); err != nil || len(r.Prompts) > 0 || r.Where != inInitramfs {
			break
		}
	}
	return r, err
}

func names(disks []*store.Disk) (all []string) {
	for _, d := range disks {
		all = append(all, d.Name)
	}
	return all
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
	return c.sure(ctx, "unlock node %s?")
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
		if p.Tries > 0 && p.Tried < 0 {
			return diag.Refused.Errorf("disk %q: nobody knows how many of its %d tries are left. Nothing was sent", name, p.Tries).
				WithHint("there is no journal there to count them. The node asks anew when it has been restarted")
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
		h := c.hand(via, left)
		h.open = func(disk string) *secret.Secret {
			if !slices.Contains(left, disk) {
				return nil
			}
			return held[disk]
		}
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
			if err := rest(ctx); err != nil {
				return results, err
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

// hand is a conversation about these disks with what asks for passphrases in the node's initramfs.
func (c *command) hand(via, disks []string) *hand {
	h := &hand{argv: append(via, "cryptroot-unlock"), asks: cryptroot, prompt: forPrompt, answer: forAnswer}
	if c.node.Initramfs.Unlock == store.Systemd {
		h.argv, h.asks = append(via, systemdCommand(disks, h.prompt, h.answer)), systemd
	}
	return h
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
		if rest(ctx) != nil || c.env.Now().After(end) {
			return false
		}
	}
}

// rest is the pause between two looks at a node. The error is why ctx ended.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}
