package directory

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// What an address is to the entry that claims it. Where two entries claim one
// address, the smaller constant wins, then the entry with the better right (see
// compareRights): nobody can take an address from its owner by adding it to an
// entry of their own. A list goes before a forward, so that which lists stand
// does not hang on which forwards do.
type Use uint8

const (
	UseMailbox Use = iota // a mailbox's own address
	UseList
	UseForward
	UseService // an address that a list manager answers on, such as news-request@
	UseAlias   // a mailbox's further address
)

// claim says that an entry answers for an address.
type claim struct {
	address string
	index   uint32 // into the slice of the kind that Use tells
	use     Use
}

// mailmanServices are the addresses of a Mailman 3 list beside its own, by
// suffix of the local part (Mailman core documentation, "LMTP server").
// mlmmj's have the form list+word@ and need no rows of their own.
var mailmanServices = []string{"bounces", "confirm", "join", "leave", "owner", "request", "subscribe", "unsubscribe"}

// roleParts are the local parts that speak for a whole domain (RFC 2142), or by
// which a certificate for it can be had (CA/Browser Forum Baseline
// Requirements, section 3.2.2.4.4).
var roleParts = []string{
	"abuse", "admin", "administrator", "hostmaster", "mailer-daemon", "noc", "postmaster", "root", "security", "ssladmin", "webmaster",
}

// parseAlias refuses role addresses, which would be anybody's who can write to one mailbox.
func parseAlias(v []byte) (string, error) {
	address, err := parseAddress(v)
	if local, _, _ := strings.Cut(address, "@"); err == nil && slices.Contains(roleParts, local) {
		return "", fmt.Errorf("addresses of the role %s are kept for entries of their own", local)
	}
	return address, err
}

// ServiceAddresses are the addresses beside its own that reach the list's manager, sorted.
func (l *List) ServiceAddresses() []string {
	if l.Manager != Mailman3 {
		return nil
	}
	local, domain, _ := strings.Cut(l.Address, "@")
	all := make([]string, len(mailmanServices))
	for i, word := range mailmanServices {
		all[i] = local + "-" + word + "@" + domain
	}
	return all
}

// Recipient is one address that mail can be sent to, with the entry that
// answers for it: one of the pointers is set.
type Recipient struct {
	Address string
	Use     Use
	Mailbox *Mailbox
	Forward *Forward
	List    *List
}

// Recipients yields all addresses of the snapshot, sorted, none twice.
func (s *Snapshot) Recipients() iter.Seq[Recipient] {
	return func(yield func(Recipient) bool) {
		for i := range s.claims {
			if !yield(s.recipient(&s.claims[i])) {
				return
			}
		}
	}
}

// Recipient is who answers for an address; ok is false if nobody does.
func (s *Snapshot) Recipient(address string) (r Recipient, ok bool) {
	i, _ := slices.BinarySearchFunc(s.claims, address, func(c claim, address string) int { return strings.Compare(c.address, address) })
	for ; i < len(s.claims) && s.claims[i].address == address; i++ {
		if c := &s.claims[i]; s.answers(c) {
			return s.recipient(c), true
		}
	}
	return r, false
}

// answers is false for the claim of a forward that has no target left.
func (s *Snapshot) answers(c *claim) bool {
	return c.use != UseForward || len(s.Forwards[c.index].Targets) > 0
}

func (s *Snapshot) recipient(c *claim) Recipient {
	r := Recipient{Address: c.address, Use: c.use}
	switch c.use {
	case UseMailbox, UseAlias:
		r.Mailbox = &s.Mailboxes[c.index]
	case UseForward:
		r.Forward = &s.Forwards[c.index]
	case UseList, UseService:
		r.List = &s.Lists[c.index]
	}
	return r
}

// owner is the right of the entry behind a claim.
func (s *Snapshot) owner(c claim) right {
	switch r := s.recipient(&c); {
	case r.Mailbox != nil:
		return r.Mailbox.right()
	case r.Forward != nil:
		return r.Forward.right()
	default:
		return r.List.right()
	}
}

// collectClaims lists every claim, sorted by address and then by right to it.
func (s *Snapshot) collectClaims() []claim {
	var others []claim
	for i := range s.Mailboxes {
		for _, alias := range s.Mailboxes[i].Aliases {
			others = append(others, claim{alias, uint32(i), UseAlias})
		}
	}
	for i := range s.Forwards {
		others = append(others, claim{s.Forwards[i].Address, uint32(i), UseForward})
	}
	for i := range s.Lists {
		others = append(others, claim{s.Lists[i].Address, uint32(i), UseList})
		for _, service := range s.Lists[i].ServiceAddresses() {
			others = append(others, claim{service, uint32(i), UseService})
		}
	}
	slices.SortFunc(others, s.compareClaims)
	// The mailboxes' own addresses are most of all, and in order already.
	all := make([]claim, 0, len(s.Mailboxes)+len(others))
	for i := range s.Mailboxes {
		address := s.Mailboxes[i].Address
		for len(others) > 0 && others[0].address < address {
			all, others = append(all, others[0]), others[1:]
		}
		all = append(all, claim{address, uint32(i), UseMailbox})
	}
	return append(all, others...)
}

func (s *Snapshot) compareClaims(a, b claim) int {
	if c := strings.Compare(a.address, b.address); c != 0 {
		return c
	}
	if a.use != b.use {
		return cmp.Compare(a.use, b.use)
	}
	return compareRights(s.owner(a), s.owner(b))
}

// right is what the claim of an entry to a name rests on.
type right struct {
	dn      string
	created int64 // seconds since 1970; 0 if not known
}

func (m *Mailbox) right() right { return right{m.DN, m.created} }
func (f *Forward) right() right { return right{f.DN, f.created} }
func (l *List) right() right    { return right{l.DN, l.created} }
func (s *Site) right() right    { return right{s.DN, s.created} }

// compareRights is negative if the first of two entries has the better right to
// a name that both claim: it was created earlier, or that is not known of the other.
func compareRights(a, b right) int {
	if a.created != b.created {
		// 0 is not known, and becomes the largest.
		return cmp.Compare(uint64(a.created)-1, uint64(b.created)-1)
	}
	return strings.Compare(a.dn, b.dn)
}

// checkClaims gives each address to one entry. Lists and forwards that lose
// their own address go first, then forwards without a target, with all else
// that they claim, so that no alias is lost to them.
func (b *Builder) checkClaims() {
	s := &b.snap
	s.Lists = slices.DeleteFunc(s.Lists, func(l List) bool {
		return b.reportTaken(l.Address, s.mailboxDN(l.Address), l.DN)
	})
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool {
		return b.reportTaken(f.Address, cmp.Or(s.mailboxDN(f.Address), s.listDN(f.Address)), f.DN)
	})
	s.claims = s.collectClaims()
	b.checkForwards()
	kept := s.claims[:0]
	for _, c := range s.claims {
		if n := len(kept); n == 0 || kept[n-1].address != c.address {
			kept = append(kept, c)
			continue
		}
		b.reportTaken(c.address, s.owner(kept[len(kept)-1]).dn, s.owner(c).dn)
		if c.use == UseAlias {
			m := &s.Mailboxes[c.index]
			m.Aliases = slices.DeleteFunc(m.Aliases, func(a string) bool { return a == c.address })
		}
	}
	s.claims = kept
}

// mailboxDN is the DN of the mailbox with this address of its own, or "".
func (s *Snapshot) mailboxDN(address string) string {
	if m := find(s.Mailboxes, address, func(m *Mailbox) string { return m.Address }); m != nil {
		return m.DN
	}
	return ""
}

// listDN is mailboxDN for lists.
func (s *Snapshot) listDN(address string) string {
	if l := find(s.Lists, address, func(l *List) string { return l.Address }); l != nil {
		return l.DN
	}
	return ""
}

// reportTaken reports that keeper has an address which loser claims too, and
// is false where no entry keeps it.
func (b *Builder) reportTaken(address, keeper, loser string) bool {
	if keeper != "" {
		b.conflict(address, keeper, loser, "address %s is claimed by both: %s keeps it", show(address), show(keeper))
	}
	return keeper != ""
}
