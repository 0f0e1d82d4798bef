package directory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Snapshot checks the records against each other and returns what stands,
// with all that was left out or looks wrong. Its error wraps ErrNode. The
// Builder must not be used afterwards.
func (b *Builder) Snapshot() (*Snapshot, []Problem, error) {
	s := &b.snap
	b.checkNodes()
	if b.nodeErr != nil {
		return nil, b.problems, fmt.Errorf("%w: %w", ErrNode, b.nodeErr)
	}
	s.Domains = unique(b, "domain", s.Domains, func(d Domain) (string, right) { return d.Name, right{d.DN, 0} }, byAge)
	b.checkMailDomains()
	s.Mailboxes = unique(b, "mailbox", s.Mailboxes, func(m Mailbox) (string, right) { return m.Address, m.right() }, byNameAndAge)
	s.Forwards = unique(b, "forward", s.Forwards, func(f Forward) (string, right) { return f.Address, f.right() }, byAge)
	s.Lists = unique(b, "list", s.Lists, func(l List) (string, right) { return l.Address, l.right() }, byAge)
	b.checkClaims()
	b.checkLists()
	b.checkSites()
	b.checkPlacements()
	return s, b.problems, nil
}

// unique sorts entries by name and keeps, of those with the same name, the one with the best right to it.
// It passes values, since pointers would put two entries on the heap for each comparison.
func unique[T any](b *Builder, kind string, entries []T, of func(T) (string, right), compare func(name string, x, y right) int) []T {
	slices.SortFunc(entries, func(x, y T) int {
		nameX, rightX := of(x)
		nameY, rightY := of(y)
		if c := strings.Compare(nameX, nameY); c != 0 {
			return c
		}
		return compare(nameX, rightX, rightY)
	})
	kept := entries[:0]
	for i := range entries {
		name, r := of(entries[i])
		if len(kept) > 0 {
			if first, keeper := of(kept[len(kept)-1]); first == name {
				b.conflict(name, keeper.dn, r.dn, "%s %s has two entries: %s keeps it, the other is left out", kind, show(name), show(keeper.dn))
				continue
			}
		}
		kept = append(kept, entries[i])
	}
	clear(entries[len(kept):])
	return kept
}

// byAge is compareRights, whatever the name.
func byAge(_ string, x, y right) int { return compareRights(x, y) }

// byNameAndAge puts the entry that is called so before all others: there can be
// only one, and it is the one by which Dovecot logs in.
func byNameAndAge(name string, x, y right) int {
	calledX, calledY := isCalled(x.dn, name), isCalled(y.dn, name)
	switch {
	case calledX && !calledY:
		return -1
	case calledY && !calledX:
		return 1
	}
	return compareRights(x, y)
}

// isCalled says whether name is the value of a DN's first part, and all of it.
// Where the DN spells a character as an escape (RFC 4514 section 2.4), or has
// space around the value, it does not match: the entry is then like any other.
func isCalled(dn, name string) bool {
	rdn, _, _ := strings.Cut(dn, ",")
	_, value, _ := strings.Cut(rdn, "=")
	return strings.EqualFold(value, name)
}

// checkNodes refuses two nodes of one name or one VPN address: mail and logins would go to the wrong one.
func (b *Builder) checkNodes() {
	nodes := b.snap.Nodes
	slices.SortFunc(nodes, func(x, y Node) int { return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.DN, y.DN)) })
	for i := range nodes {
		for j := range nodes[:i] {
			if nodes[i].Name == nodes[j].Name || nodes[i].VPN == nodes[j].VPN {
				b.nodeErr = fmt.Errorf("%s and %s have the same name or VPN address", show(nodes[j].DN), show(nodes[i].DN))
			}
		}
	}
}

// checkMailDomains leaves out addresses in domains that take no mail here, with one Problem for each domain.
func (b *Builder) checkMailDomains() {
	s := &b.snap
	strangers := map[string]*Problem{}
	taken := map[string]bool{}
	for i := range s.Domains {
		taken[s.Domains[i].Name] = s.Domains[i].Mail
	}
	delete(taken, b.network.ContactDomain)
	known := func(address, dn string) bool {
		domain := address[strings.IndexByte(address, '@')+1:]
		if taken[domain] {
			return true
		}
		p := strangers[domain]
		if p == nil {
			p = &Problem{Keys: []string{domain}, Text: fmt.Sprintf("no domain entry says that mail for %s is taken here; addresses in it are left out", show(domain))}
			if domain == b.network.ContactDomain {
				p.Text = fmt.Sprintf("%s is kept for the contact addresses of sites; other addresses in it are left out", show(domain))
			}
			strangers[domain] = p
		}
		if len(p.DNs) == 0 || p.DNs[len(p.DNs)-1] != dn {
			p.DNs = append(p.DNs, dn)
		}
		p.Keys = append(p.Keys, address)
		return false
	}
	s.Mailboxes = slices.DeleteFunc(s.Mailboxes, func(m Mailbox) bool { return !known(m.Address, m.DN) })
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool { return !known(f.Address, f.DN) })
	s.Lists = slices.DeleteFunc(s.Lists, func(l List) bool { return !known(l.Address, l.DN) })
	for i := range s.Mailboxes {
		m := &s.Mailboxes[i]
		m.Aliases = slices.DeleteFunc(m.Aliases, func(a string) bool { return a == m.Address || !known(a, m.DN) })
	}
	for _, domain := range slices.Sorted(maps.Keys(strangers)) {
		b.problems = append(b.problems, *strangers[domain])
	}
}

// checkLists names the lists that cannot work as their entry says; nothing is left out, their mail waits.
func (b *Builder) checkLists() {
	for i := range b.snap.Lists {
		l := &b.snap.Lists[i]
		node := b.snap.Node(l.Node)
		const waits = "its mail waits in the queue"
		var text string
		switch {
		case l.Node == "":
			text = "has no active node; " + waits
		case node == nil:
			text = fmt.Sprintf("is active on %s, which is no node; %s", show(l.Node), waits)
		case !node.Roles.Has(Lists):
			text = fmt.Sprintf("is active on %s, which has not the role lists; %s", show(l.Node), waits)
		case b.snap.ListNode(l) == nil:
			text = fmt.Sprintf("is active on %s, which is %s; %s until the list is moved", show(l.Node), node.State, waits)
		case len(l.Candidates) > 0 && !slices.Contains(l.Candidates, l.Node):
			text = fmt.Sprintf("is active on %s, which is not among its candidates %v", show(l.Node), l.Candidates)
		default:
			continue
		}
		b.notice([]string{l.DN}, []string{l.Address}, "list %s %s", show(l.Address), text)
	}
}

// lodgers are the entries that have one placement.
type lodgers struct {
	mailboxes, sites []string
	count            Count
}

// checkPlacements collects the placements in use and reports those that lead nowhere, once each.
func (b *Builder) checkPlacements() {
	s := &b.snap
	users := map[*Placement]*lodgers{}
	of := func(p *Placement) *lodgers {
		if users[p] == nil {
			users[p] = &lodgers{}
		}
		return users[p]
	}
	// maxNamed+1 names are enough to say "and more" without holding a million.
	use := func(dns *[]string, dn string) {
		if len(*dns) <= maxNamed {
			*dns = append(*dns, dn)
		}
	}
	for i := range s.Mailboxes {
		lodgers := of(s.Mailboxes[i].Placement)
		use(&lodgers.mailboxes, s.Mailboxes[i].DN)
		lodgers.count.All++
		if s.Mailboxes[i].Delivery == One {
			lodgers.count.Single++
		}
	}
	for i := range s.Sites {
		if p := s.Sites[i].Placement; p != nil {
			use(&of(p).sites, s.Sites[i].DN)
		}
	}
	s.placements = slices.SortedFunc(maps.Keys(users), func(p, q *Placement) int { return strings.Compare(p.Name, q.Name) })
	s.counts = map[string]Count{}
	for _, p := range s.placements {
		if c := users[p].count; c.All > 0 {
			s.counts[p.Name] = c
		}
		b.checkPlacement(p, users[p])
	}
}

// checkPlacement reports what is wrong with one placement. Roles do not decide
// which node is active: there is one order for a user's mail and sites alike.
func (b *Builder) checkPlacement(p *Placement, users *lodgers) {
	all := slices.Concat(users.mailboxes, users.sites)
	for _, name := range p.Nodes {
		node, keys := b.snap.Node(name), []string{p.Name, name}
		if node == nil {
			b.problems = append(b.problems, Problem{DNs: all, Keys: keys, Text: fmt.Sprintf("placement %s names %s, which is no node; it is passed over", show(p.Name), show(name))})
			continue
		}
		if len(users.mailboxes) > 0 && !node.Roles.Has(IMAP) {
			b.notice(users.mailboxes, keys, "placement %s of mailboxes names %s, which has not the role imap; mail waits and logins fail while it is the active node", show(p.Name), show(name))
		}
		if len(users.sites) > 0 && !node.Roles.Has(Web) {
			b.notice(users.sites, keys, "placement %s of sites names %s, which has not the role web; visitors get an error while it is the active node", show(p.Name), show(name))
		}
	}
	if b.snap.ActiveNode(p) == nil {
		b.notice(all, []string{p.Name}, "placement %s has no node that serves; mail waits in the queue, logins and visitors are told to come back", show(p.Name))
	}
}
