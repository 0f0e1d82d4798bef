package unlock

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"rplan/lib/diag"
	"rplan/lib/store"
)

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
	differs, err := c.differences(r)
	if err != nil || c.DryRun {
		return err
	}
	if differs && !c.Yes {
		if err := c.sure(ctx, "enrol node %s as it is now?"); err != nil {
			return err
		}
	}
	_, err = c.store.Commit(ctx, by, store.BaselineChange(c.Node, append(text, '\n')))
	return err
}

// differences prints what is not as it was when the node was enrolled before: whoever enrols it
// says that all of it is well.
func (c *command) differences(r *Reading) (bool, error) {
	if c.store.Baseline(c.Node) == nil {
		return false, nil
	}
	base, err := c.baseline()
	if err != nil {
		return false, err
	}
	_, all := Judge(r, &Known{Baseline: base, Alive: c.env.Now(), MaxOff: c.node.MaxOff(), Self: c.node.Initramfs == nil, Now: c.env.Now()})
	all = slices.DeleteFunc(all, func(o Observation) bool { return o.Weight == Fine })
	if len(all) == 0 {
		return false, nil
	}
	fmt.Fprintf(c.env.Stdout, "since it was enrolled on %s:\n", base.Clock.Local().Format("2 January 2006, 15:04"))
	observations(c.env.Stdout, all)
	return true, nil
}
