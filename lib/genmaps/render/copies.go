package render

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"rplan/lib/directory"
)

// The blind copy that the standby gets. Its address is the mailbox's own with the placement and copyDomain
// behind it, as alice@example.org.n1_n2.copy.invalid: no mailbox can have it (RFC 2606), and the node it leads to
// is found by the placement alone. Postfix wants one blind copy for an address, so an address that leads to several has
// the copy address of a group, as team@example.org.group.copy.invalid, which a row of its own expands. A placement of
// two nodes has a "_" in it, so none is called "group".
const (
	copyDomain  = ".copy.invalid"
	groupDomain = ".group" + copyDomain
	// noCopy keeps Postfix from looking further: by user+tag@ it would find the row of another's user@.
	noCopy = "nobody@none" + copyDomain
)

// Copy addresses are host names to Postfix (RFC 1035 section 2.3.4).
const (
	maxLabel = 63
	maxHost  = 255
)

const textNoCopy = "4.3.2 No way for copies of this placement is known yet; the copy waits"

// Copied says whether mail for a mailbox is to be stored on two nodes, and if not, why.
func Copied(m *directory.Mailbox) (copied bool, why string) {
	_, domain, _ := strings.Cut(m.Address, "@")
	switch {
	case m.Status == directory.Suspended:
		return false, "suspended"
	case m.Delivery == directory.One:
		return false, "delivery one"
	case len(m.Placement.Nodes) < 2:
		return false, "one node only"
	case len(m.Placement.Name) > maxLabel || len(domain)+1+len(m.Placement.Name)+len(copyDomain) > maxHost:
		return false, "the name of the placement is too long"
	}
	return true, ""
}

// copies finds the copy address of an address, each forward's once: they may lead to each other in many ways.
type copies struct {
	s       *directory.Snapshot
	targets map[*directory.Forward][]string
}

// of is the one copy address of a recipient, or "".
func (c *copies) of(r directory.Recipient) string {
	switch {
	case r.Mailbox != nil:
		if copied, _ := Copied(r.Mailbox); copied {
			return r.Mailbox.Address + "." + r.Mailbox.Placement.Name + copyDomain
		}
	case r.Forward != nil:
		return single(r.Forward.Address, c.forward(r.Forward))
	}
	return ""
}

// forward are the copy addresses of a forward's targets. Those of other forwards may be groups again, which
// Postfix expands further, so that all of it is no longer than the forwards are.
func (c *copies) forward(f *directory.Forward) []string {
	if targets, known := c.targets[f]; known {
		return targets
	}
	var targets []string
	for _, target := range f.Targets {
		if r, ok := c.s.Resolve(target); ok {
			if to := c.of(r); to != "" && !slices.Contains(targets, to) {
				targets = append(targets, to)
			}
		}
	}
	c.targets[f] = targets
	return targets
}

// single is one address for all of an address's copies.
func single(address string, targets []string) string {
	switch len(targets) {
	case 0:
		return ""
	case 1:
		return targets[0]
	}
	_, domain, _ := strings.Cut(address, "@")
	if len(domain)+len(groupDomain) > maxHost {
		return ""
	}
	return address + groupDomain
}

// copyRows are both the blind copies and what their groups expand to: in one file none of the two is ever without the other.
func copyRows(in *Input) iter.Seq2[string, string] {
	c := &copies{in.Snapshot, map[*directory.Forward][]string{}}
	direct := recipientRows(in.Snapshot, func(r directory.Recipient) string {
		to := c.of(r)
		if to == "" && tagged(r.Address) {
			return noCopy
		}
		return to
	})
	return merged(direct, sortedRows(c.groups(in)))
}

// groups are the rows of the groups, and those of the contacts: a site's owner is reached by blind copy only, so the
// copy of the blind copy has to go with it.
func (c *copies) groups(in *Input) map[string]string {
	rows := map[string]string{}
	group := func(address string, targets []string) {
		if to := single(address, targets); to == address+groupDomain {
			rows[to] = strings.Join(targets, ",")
		}
	}
	for i := range c.s.Forwards {
		f := &c.s.Forwards[i]
		group(f.Address, c.forward(f))
	}
	for contact, owner := range contactRows(in) {
		r, ok := c.s.Resolve(owner)
		to := ""
		if ok {
			to = c.of(r)
		}
		if to == "" {
			continue // the row of contacts does
		}
		if targets := []string{owner, to}; single(contact, targets) != "" {
			rows[contact] = contact + groupDomain
			group(contact, targets)
		}
	}
	return rows
}

// copyRoutes lead from a copy's domain to its row in placements. They hold no node's state; what has no row waits.
func copyRoutes(in *Input) map[string]string {
	rows := map[string]string{copyDomain: "copy.unknown", "none" + copyDomain: "copy.none"}
	for _, p := range in.Snapshot.Placements() {
		if len(p.Nodes) > 1 && len(p.Name) <= maxLabel {
			rows["."+p.Name+copyDomain] = copyKey(p)
		}
	}
	return rows
}

// copyKey is a key of placements that neither a placement nor a list has.
func copyKey(p *directory.Placement) string { return "copy." + p.Name }

// copyTargets say where the copies of each placement go now. They are in the table of placements,
// so that the ways of a message and of its copy change at once: with two tables, there would be an order of states in which
// for a moment both led to one node, or one nowhere.
func copyTargets(in *Input, rows map[string]string) {
	rows["copy.unknown"] = "noroute:" + textNoCopy
	rows["copy.none"] = "discard:"
	for _, p := range in.Snapshot.Placements() {
		if len(p.Nodes) < 2 {
			continue
		}
		active, standby := in.Snapshot.ActiveNode(p), in.Snapshot.StandbyNode(p)
		switch {
		case active == nil: // as the message itself does
			rows[copyKey(p)] = "noroute:" + textNoNode
		case standby == nil:
			rows[copyKey(p)] = "discard:"
		default:
			rows[copyKey(p)] = "copy:inet:" + hostPort(standby.VPN, in.Settings.Dovecot.CopiesPort)
		}
	}
}

// merged yields the rows of two sorted tables in order, which have no key in common.
func merged(a, b iter.Seq2[string, string]) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		key, value, more := next()
		for k, v := range a {
			for more && cmp.Less(key, k) {
				if !yield(key, value) {
					return
				}
				key, value, more = next()
			}
			if !yield(k, v) {
				return
			}
		}
		for more && yield(key, value) {
			key, value, more = next()
		}
	}
}
