package unlock

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/store"
)

// failed says what an outcome means, and what to do.
func (c *command) failed(disk string, out Outcome, said string) error {
	if said != "" {
		said = ": " + said
	}
	switch out {
	case Wrong, LastTry:
		if d := c.node.Disk(disk); d != nil && d.Late() { // of which a system counts no tries
			return diag.Failed.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).WithHint("the passphrase in the store is not one of this disk's; rp-rekey seal %s %s gives it a new one", c.Node, disk)
		}
		return diag.Failed.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).
			WithHint("the passphrase in the store is not one of this disk's. It is not tried again: each try is one of three. Or somebody else gave one at the same time: then the node took both for one")
	case Unknown:
		return diag.Refused.Errorf("node %q asks for the passphrase of a disk %.64q, %s. Its passphrase was not sent, and a try may be spent", c.Node, disk, c.whose(disk)).
			WithHint("its name in the store, nodes/%s.toml, has to be that of crypttab", c.Node)
	case Absent, Different:
		return diag.Failed.Errorf("node %q, disk %q: %s: %s", c.Node, disk, c.node.Disk(disk).Device, out).
			WithHint("device and uuid in nodes/%s.toml of the store; nothing was sent", c.Node)
	case Unmounted, Refused:
		return diag.Failed.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).WithHint("look at the node; the same command goes on from there")
	case GaveUp:
		return diag.Failed.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).
			WithHint("systemctl restart 'systemd-cryptsetup@%s' makes it ask again, in its initramfs", strings.ReplaceAll(disk, "-", `\x2d`))
	case LostBefore:
		if isOtherKey(said) {
			return c.otherKey(c.node.Initramfs, "It answered otherwise a moment before. No passphrase was sent")
		}
	case LostDuring, LostAfter, Slow:
		return diag.TryAgain.Errorf("node %q, disk %q: %s%s", c.Node, disk, out, said).WithHint("a try may be spent; the next run says how many are left")
	}
	return diag.TryAgain.Errorf("node %q: %s%s", c.Node, out, said).WithHint("no passphrase was sent; run it again")
}

// conclude notes in the journal what was done, and says how it ended.
func (c *command) conclude(ctx context.Context, by *store.Keyring, r *Reading, verdict Verdict, all []Observation, results []Result, up bool, stopped error) error {
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
		if err := c.note(context.WithoutCancel(ctx), by, e); err != nil { // also of what somebody interrupts
			c.say("the journal has no word of this: %v", err)
		}
	}
	c.result = Report{Node: c.Node, Where: r.Where, Verdict: verdict, Observations: all, Disks: results}
	if c.JSON {
		if err := c.env.PrintJSON(c.result); err != nil {
			return err
		}
	}
	isOpen := func(r Result) bool { return r.Outcome == Opened }
	switch some := slices.ContainsFunc(results, isOpen); {
	case stopped != nil && some:
		return diag.Partial.Errorf("some disks are open, and not all: %w", stopped)
	case stopped != nil:
		return stopped
	case !up && ctx.Err() != nil:
		return diag.Failed.Errorf("interrupted before the system of node %q was seen", c.Node).WithHint("what was sent is in the journal; rp-unlock --check %s says when it is there", c.Node)
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

// settle says of disks of which a node that came up told nothing what its system shows.
func settle(results []Result) {
	for i := range results {
		switch results[i].Outcome {
		case LostAfter:
			results[i].Outcome = Opened
		case Slow:
			results[i].Outcome = Late
		}
	}
}

// runs is what begins the result of a node that was seen to run with disks that are not open.
const runs = "it runs; "

// resultOf is one line for the journal.
func resultOf(results []Result, up bool) string {
	var all []string
	well, is := true, Opened
	for _, r := range results {
		if r.Outcome == Late {
			is = Late
		}
		well = well && (r.Outcome == Opened || r.Outcome == Late)
		all = append(all, r.Disk+": "+string(r.Outcome))
	}
	switch line := strings.Join(all, ", "); {
	case up && well:
		return string(is)
	case up:
		return runs + line
	default:
		return line
	}
}

// seenRunning says whether an entry's result says that somebody saw the node run.
func seenRunning(result string) bool {
	return result == string(Opened) || result == string(Late) || strings.HasPrefix(result, runs)
}

// mayHaveBooted says whether a node can have come up after what an entry says came of its disks.
func mayHaveBooted(result string) bool {
	for _, sent := range []string{string(Opened), runs, string(LostAfter), string(Slow)} {
		if strings.Contains(result, sent) {
			return true
		}
	}
	return false
}
