package directory

import (
	"cmp"
	"fmt"
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
	s.Domains = unique(b, "domain", s.Domains, func(d Domain) (string, string, int64) { return d.Name, d.DN, 0 })
	b.checkMailDomains()
	s.Mailboxes = unique(b, "mailbox", s.Mailboxes, func(m Mailbox) (string, string, int64) { return m.Address, m.DN, m.created })
	s.Forwards = unique(b, "forward", s.Forwards, func(f Forward) (string, string, int64) { return f.Address, f.DN, f.created })
	s.Lists = unique(b, "list", s.Lists, func(l List) (string, string, int64) { return l.Address, l.DN, l.created })
	b.checkClaims()
	b.checkForwards()
	b.checkLists()
	b.checkSites()
	b.checkPlacements()
	return s, b.problems, nil
}

// unique sorts entries by name and keeps, of those with the same name, the one with the best right to it: the one
// that is called so, which can be only one and is what Dovecot logs in by, else the one created first.
// It passes values, since pointers would put two entries on the heap for each comparison.
func unique[T any](b *Builder, kind string, entries []T, of func(T) (name, dn string, created int64)) []T {
	slices.SortFunc(entries, func(x, y T) int {
		nameX, dnX, createdX := of(x)
		nameY, dnY, createdY := of(y)
		if c := strings.Compare(nameX, nameY); c != 0 {
			return c
		}
		if x, y := isCalled(dnX, nameX), isCalled(dnY, nameY); x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		return compareRights(createdX, dnX, createdY, dnY)
	})
	kept := entries[:0]
	for i := range entries {
		name, dn, _ := of(entries[i])
		if len(kept) > 0 {
			if first, firstDN, _ := of(kept[len(kept)-1]); first == name {
				b.conflict("%s %s has two entries: %s keeps it, the other is left out", firstDN, dn, kind, show(name), show(firstDN))
				continue
			}
		}
		kept = append(kept, entries[i])
	}
	clear(entries[len(kept):])
	return kept
}

// isCalled says whether name is the value of a DN's first part, and all of it.
func isCalled(dn, name string) bool {
	rdn, _, _ := strings.Cut(dn, ",")
	_, value, _ := strings.Cut(rdn, "=")
	return strings.EqualFold(value, name)
}

func (b *Builder) conflict(format, keeper, loser string, args ...any) {
	b.problems = append(b.problems, Problem{DNs: []string{loser, keeper}, Text: fmt.Sprintf(format, args...)})
}

func (b *Builder) notice(dns []string, format string, args ...any) {
	b.problems = append(b.problems, Problem{DNs: dns, Text: fmt.Sprintf(format, args...), Notice: true})
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
			p = &Problem{Text: fmt.Sprintf("no domain entry says that mail for %s is taken here; addresses in it are left out", show(domain))}
			if domain == b.network.ContactDomain {
				p.Text = fmt.Sprintf("%s is kept for the contact addresses of sites; other addresses in it are left out", show(domain))
			}
			strangers[domain] = p
		}
		if len(p.DNs) == 0 || p.DNs[len(p.DNs)-1] != dn {
			p.DNs = append(p.DNs, dn)
		}
		return false
	}
	s.Mailboxes = slices.DeleteFunc(s.Mailboxes, func(m Mailbox) bool { return !known(m.Address, m.DN) })
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool { return !known(f.Address, f.DN) })
	s.Lists = slices.DeleteFunc(s.Lists, func(l List) bool { return !known(l.Address, l.DN) })
	for i := range s.Mailboxes {
		m := &s.Mailboxes[i]
		m.Aliases = slices.DeleteFunc(m.Aliases, func(a string) bool { return a == m.Address || !known(a, m.DN) })
	}
	for _, domain := range sortedKeys(strangers) {
		b.problems = append(b.problems, *strangers[domain])
	}
}

// checkClaims gives each address to one entry. An entry that does not get its own address goes first, with
// all else that it claims, so that no alias is lost to it.
func (b *Builder) checkClaims() {
	s := &b.snap
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool {
		m := find(s.Mailboxes, f.Address, func(m *Mailbox) string { return m.Address })
		return m != nil && b.lost(f.Address, m.DN, f.DN)
	})
	s.Lists = slices.DeleteFunc(s.Lists, func(l List) bool {
		m := find(s.Mailboxes, l.Address, func(m *Mailbox) string { return m.Address })
		if m != nil {
			return b.lost(l.Address, m.DN, l.DN)
		}
		f := find(s.Forwards, l.Address, func(f *Forward) string { return f.Address })
		return f != nil && b.lost(l.Address, f.DN, l.DN)
	})
	claims := s.collectClaims()
	s.claims = claims[:0]
	for _, c := range claims {
		if n := len(s.claims); n == 0 || s.claims[n-1].address != c.address {
			s.claims = append(s.claims, c)
			continue
		}
		keeper, _ := s.owner(s.claims[len(s.claims)-1])
		loser, _ := s.owner(c)
		b.lost(c.address, keeper, loser)
		if c.use == UseAlias {
			m := &s.Mailboxes[c.index]
			m.Aliases = slices.DeleteFunc(m.Aliases, func(a string) bool { return a == c.address })
		}
	}
}

// lost reports that keeper's entry has an address that loser's entry claims too.
func (b *Builder) lost(address, keeper, loser string) bool {
	b.conflict("address %s is claimed by both: %s keeps it", keeper, loser, show(address), show(keeper))
	return true
}

// checkSites gives each host name to one site and leaves out contacts that cannot be reached.
func (b *Builder) checkSites() {
	s := &b.snap
	s.Sites = unique(b, "site", s.Sites, func(x Site) (string, string, int64) { return x.Name, x.DN, x.created })
	owner := map[string]int{}
	for i := range s.Sites {
		owner[s.Sites[i].Name] = i
	}
	byAge := make([]int, len(s.Sites))
	for i := range byAge {
		byAge[i] = i
	}
	slices.SortFunc(byAge, func(i, j int) int {
		return compareRights(s.Sites[i].created, s.Sites[i].DN, s.Sites[j].created, s.Sites[j].DN)
	})
	for _, i := range byAge {
		site := &s.Sites[i]
		site.Aliases = slices.DeleteFunc(site.Aliases, func(alias string) bool {
			j, taken := owner[alias]
			if !taken {
				owner[alias] = i
				return false
			}
			b.conflict("host name %s is claimed by both: %s keeps it", s.Sites[j].DN, site.DN, show(alias), show(s.Sites[j].DN))
			return true
		})
		b.checkContact(site)
	}
}

// checkContact leaves a site without a contact address where mail to it would not arrive.
func (b *Builder) checkContact(site *Site) {
	if site.Contact == "" {
		return
	}
	r, ok := b.snap.Resolve(site.Contact)
	switch {
	case ok && r.Mailbox != nil && r.Mailbox.Status == Suspended:
		b.notice([]string{site.DN}, "contact %s is suspended; the site has no contact address for now", show(site.Contact))
	case !b.snap.exists(site.Contact):
		b.report("contact %s does not exist here; the site has no contact address", site.DN, show(site.Contact))
	default:
		return
	}
	site.Contact = ""
}

// checkLists names the lists that cannot work as their entry says; their mail waits.
func (b *Builder) checkLists() {
	for i := range b.snap.Lists {
		l := &b.snap.Lists[i]
		node := b.snap.Node(l.Node)
		switch {
		case l.Node == "":
			b.report("list %s has no active node; its mail waits in the queue", l.DN, show(l.Address))
		case node == nil:
			b.report("list %s is active on %s, which is no node; its mail waits in the queue", l.DN, show(l.Address), show(l.Node))
		case !node.State.Serves():
			b.notice([]string{l.DN}, "list %s is active on %s, which is %s; its mail waits in the queue until the list is moved", show(l.Address), show(l.Node), node.State)
		case len(l.Candidates) > 0 && !slices.Contains(l.Candidates, l.Node):
			b.report("list %s is active on %s, which is not among its candidates %v", l.DN, show(l.Address), show(l.Node), l.Candidates)
		}
	}
}

// checkPlacements collects the placements in use and reports those that lead nowhere, once each.
func (b *Builder) checkPlacements() {
	s := &b.snap
	users := map[*Placement][]string{}
	use := func(p *Placement, dn string) {
		if p == nil {
			return
		}
		// maxNamed+1 names are enough to say "and more" without holding a million.
		if dns := users[p]; len(dns) <= maxNamed {
			users[p] = append(dns, dn)
		}
	}
	for i := range s.Mailboxes {
		use(s.Mailboxes[i].Placement, s.Mailboxes[i].DN)
	}
	for i := range s.Sites {
		use(s.Sites[i].Placement, s.Sites[i].DN)
	}
	for p := range users {
		s.placements = append(s.placements, p)
	}
	slices.SortFunc(s.placements, func(p, q *Placement) int { return strings.Compare(p.Name, q.Name) })
	for _, p := range s.placements {
		for _, name := range p.Nodes {
			if s.Node(name) == nil {
				b.problems = append(b.problems, Problem{DNs: users[p], Text: fmt.Sprintf("placement %s names %s, which is no node; it is passed over", show(p.Name), show(name))})
			}
		}
		if s.ActiveNode(p) == nil {
			b.notice(users[p], "placement %s has no node that serves; mail waits in the queue, logins and visitors are told to come back", show(p.Name))
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
