package genmaps

import (
	"fmt"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// checkNotEmpty refuses a directory that has nothing to serve: a tree that was
// emptied, a wrong base or a lost right looks like that.
func checkNotEmpty(s *directory.Snapshot) error {
	if len(s.Nodes) > 0 && len(s.Mailboxes)+len(s.Forwards)+len(s.Sites)+len(s.Lists) > 0 {
		return nil
	}
	return diag.Refused.Errorf("the directory has %d nodes, %d mailboxes, %d forwards, %d sites, %d lists: nothing to make maps from; nothing was changed",
		len(s.Nodes), len(s.Mailboxes), len(s.Forwards), len(s.Sites), len(s.Lists)).
		WithHint("is directory.base right, and may this node read what lies below it?")
}

// checkLosses refuses a plan that removes more rows of a guarded map than the
// settings allow. A node's state removes no row of such a map.
func checkLosses(p *plan, s *Settings) error {
	var refused []string
	for _, c := range p.changes {
		before := c.Total - c.Added + c.Removed
		if !c.Guarded || c.Removed < s.MaxLossRows || float64(c.Removed) <= float64(s.MaxLoss)/100*float64(before) {
			continue
		}
		more := ""
		if n := c.Removed - len(c.lost); n > 0 {
			more = fmt.Sprintf("\n  and %d more", n)
		}
		refused = append(refused, fmt.Sprintf("%s would lose %d of its %d rows:\n  %s%s",
			paths(c.File)[0], c.Removed, before, strings.Join(c.lost, "\n  "), more))
	}
	if refused == nil {
		return nil
	}
	return diag.Refused.Errorf("%s\nnothing was changed", strings.Join(refused, "\n")).
		WithHint("if they are meant to go, run once with --allow-loss; --dry-run --diff shows all of it")
}
