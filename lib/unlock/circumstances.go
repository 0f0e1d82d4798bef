package unlock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rplan/lib/run"
)

// foreign tells of programs that could be something else than they seem. They are used all
// the same: who chose them may have reasons, and who did not has been told.
func (c *command) foreign() error {
	for _, program := range [][2]string{
		{"ssh", "ssh is %q, which others than root can replace: it gets the passphrases in clear"},
		{"ssh-keygen", "ssh-keygen is %q, which others than root can replace: it says who signed the store"},
	} {
		path, err := run.Foreign(program[0])
		if err != nil {
			return err
		}
		if path != "" {
			c.say(program[1], path)
		}
	}
	return nil
}

// whose says of a name that is none of the node's locked disks what the store knows of it.
func (c *command) whose(disk string) string {
	if c.node.Disk(disk) != nil {
		return "which was not expected to be locked"
	}
	for _, node := range slices.Sorted(maps.Keys(c.store.Nodes)) {
		if c.store.Nodes[node].Disk(disk) != nil {
			return fmt.Sprintf("which is one of node %q: you are not where you believe to be", node)
		}
	}
	return "which the store does not know"
}

// waits says for which disks the node asks now, "" where that cannot be seen.
func (c *command) waits(ctx context.Context) string {
	r, err := c.probe(ctx, c.node.Initramfs)
	if err != nil {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Prompts)) {
		all = append(all, fmt.Sprintf("disk %q, with %d of %d tries spent", name, r.Prompts[name].Tried, r.Prompts[name].Tries))
	}
	return strings.Join(all, " and of ")
}
