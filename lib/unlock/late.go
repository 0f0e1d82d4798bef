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
	"rplan/lib/ssh"
	"rplan/lib/store"
)

// A disk of data may be opened when the node's system runs already, with
// cryptsetup(8) and mount(8). By then the system has shown a host key that is the
// store's; of a node without an encrypted system that is worth as much as that of an initramfs.

// state is how far a disk is that the running system opens.
type state string

const (
	locked  state = "locked"
	opened  state = "open"      // and not mounted where it is to be
	ready   state = "ready"     // nothing is left to do
	absent  state = "absent"    // there is no LUKS device at that path
	another state = "different" // it has another UUID than the store says
)

// asking is the script that says how far each disk is, a line "NAME STATE" each. No word in it
// needs quotes: store.Disk sees to that.
func asking(disks []*store.Disk) string {
	var b strings.Builder
	b.WriteString(`state() {
	if [ -b "/dev/mapper/$1" ]; then
		s=open
		if [ "$4" = - ] || findmnt -rn -S "/dev/mapper/$1" -M "$4" >/dev/null; then s=ready; fi
	elif uuid=$(cryptsetup luksUUID "$2" 2>/dev/null); then
		s=locked
		[ "$3" = - ] || [ "$3" = "$uuid" ] || s=different
	else
		s=absent
	fi
	echo "$1 $s"
}
`)
	for _, d := range disks {
		fmt.Fprintf(&b, "state %s %s %s %s\n", d.Name, d.Device, cmp.Or(strings.ToLower(d.UUID), "-"), cmp.Or(d.Mount, "-"))
	}
	return b.String()
}

// parseStates reads what that script said of these disks, and of no other, strictly.
func parseStates(out []byte, disks []*store.Disk) (map[string]state, error) {
	all := map[string]state{}
	for line := range strings.Lines(string(out)) {
		name, s, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		asked := slices.ContainsFunc(disks, func(d *store.Disk) bool { return d.Name == name })
		if !asked || all[name] != "" || !slices.Contains([]state{locked, opened, ready, absent, another}, state(s)) {
			return nil, fmt.Errorf("it said %.80q", harmless([]byte(line)))
		}
		all[name] = state(s)
	}
	if len(all) != len(disks) {
		return nil, fmt.Errorf("it spoke of %d disks of %d", len(all), len(disks))
	}
	return all, nil
}

const (
	maxStates = 64 << 10        // bytes
	forStates = 1 * time.Minute // to say them
)

// states asks the running system how far these disks are.
func (c *command) states(ctx context.Context, disks []*store.Disk) (map[string]state, error) {
	result, err := c.inSystem(ctx, run.Cmd{Timeout: forStates, MaxOutput: maxStates, Data: true}, asking(disks))
	switch {
	case err != nil && isOtherKey(harmless(result.Stderr)):
		return nil, c.otherKey(&c.node.System, "Nothing was decrypted and nothing sent")
	case err != nil:
		return nil, diag.TryAgain.Errorf("node %q at %s: %w", c.Node, c.node.System.Address(), err)
	}
	all, err := parseStates(result.Stdout, disks)
	if err != nil {
		return nil, diag.Refused.Errorf("asked for its disks, node %q gave no answer that can be used: %w", c.Node, err).
			WithHint("it needs cryptsetup and findmnt, and a login of %s that runs commands", c.node.System.Login())
	}
	return all, nil
}

// inSystem runs a script on the node's running system.
func (c *command) inSystem(ctx context.Context, cmd run.Cmd, script string) (run.Result, error) {
	via, done, err := c.via(&c.node.System, "")
	if err != nil {
		return run.Result{}, err
	}
	defer done()
	cmd.Argv, cmd.Terminal = append(via, "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; "+script), true
	return run.Run(ctx, cmd)
}

// openLate opens and mounts those of these disks that are locked or not mounted. The error says what stopped it.
func (c *command) openLate(ctx context.Context, disks []*store.Disk, held passphrases) (results []Result, err error) {
	states, err := c.appeared(ctx, disks)
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		out, said := Opened, ""
		switch states[d.Name] {
		case ready:
			continue
		case absent:
			out = Absent
		case another:
			out = Different
		case locked:
			out, said = c.give(ctx, d, held[d.Name])
		}
		if out == Opened && d.Mount != "" {
			out, said = c.mount(ctx, d)
		}
		results = append(results, Result{d.Name, out})
		c.say("disk %s: %s", d.Name, out)
		if out != Opened {
			err = errors.Join(err, c.failed(d.Name, out, said))
		}
	}
	return results, err
}

// appeared waits a little for devices that a system has not found yet which has just come up.
func (c *command) appeared(ctx context.Context, disks []*store.Disk) (map[string]state, error) {
	for end := c.env.Now().Add(forPrompt); ; {
		states, err := c.states(ctx, disks)
		if err != nil || !slices.Contains(slices.Collect(maps.Values(states)), absent) || c.env.Now().After(end) {
			return states, err
		}
		if err := rest(ctx); err != nil {
			return nil, err
		}
	}
}

// Exit codes of cryptsetup(8).
const (
	exitWrong = 2
	exitBusy  = 5 // the name is in use
)

// give opens a disk with its passphrase, which cryptsetup takes from its standard input to its
// end. A disk has as many tries as anybody wants.
func (c *command) give(ctx context.Context, d *store.Disk, passphrase *secret.Secret) (Outcome, string) {
	// Looked at once more: what was asked is a moment ago, and another admin may be at it.
	script := fmt.Sprintf("cryptsetup open --type luks --key-file=- %s %s", d.Device, d.Name)
	if d.UUID != "" {
		script = fmt.Sprintf(`[ "$(cryptsetup luksUUID %s)" = %s ] && exec %s`, d.Device, strings.ToLower(d.UUID), script)
	}
	result, err := c.inSystem(ctx, run.Cmd{Stdin: passphrase.Bytes(), Timeout: forAnswer}, script)
	said := harmless(result.Stderr)
	switch {
	case err == nil:
		return Opened, ""
	case result.ExitCode == exitWrong:
		return Wrong, said
	case result.ExitCode != exitBusy && result.ExitCode > 0 && result.ExitCode != ssh.ExitFailed:
		return Refused, said
	}
	// Another admin was faster, or the session was lost: only a fresh look tells.
	states, err := c.states(ctx, []*store.Disk{d})
	switch s := states[d.Name]; {
	case err != nil:
		return LostAfter, said
	case s == opened, s == ready:
		return Opened, ""
	case result.ExitCode == exitBusy:
		return Busy, said
	}
	return LostDuring, said
}

// mount mounts an open disk where the store says: as fstab(5) has it, if it has.
func (c *command) mount(ctx context.Context, d *store.Disk) (Outcome, string) {
	result, err := c.inSystem(ctx, run.Cmd{Timeout: forAnswer}, fmt.Sprintf(
		`findmnt -rn -S /dev/mapper/%[1]s -M %[2]s >/dev/null && exit; if findmnt -rns -M %[2]s >/dev/null; then exec mount %[2]s; fi; exec mount /dev/mapper/%[1]s %[2]s`, d.Name, d.Mount))
	if err != nil {
		return Unmounted, harmless(result.Stderr)
	}
	return Opened, ""
}
