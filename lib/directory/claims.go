package directory

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// What an address is to the entry that claims it. Where two entries claim one
// address, the smaller constant wins, then the entry that was created first,
// then the smaller DN: nobody can take an address from its owner by adding it
// to an entry of their own.
type Use uint8

const (
	UseMailbox Use = iota // a mailbox's own address
	UseForward
	UseList
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
	c := find(s.claims, address, func(c *claim) string { return c.address })
	if c == nil {
		return r, false
	}
	return s.recipient(c), true
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

// owner is the DN of the entry behind a claim and when it was created.
func (s *Snapshot) owner(c claim) (dn string, created int64) {
	switch r := s.recipient(&c); {
	case r.Mailbox != nil:
		return r.Mailbox.DN, r.Mailbox.created
	case r.Forward != nil:
		return r.Forward.DN, r.Forward.created
	default:
		return r.List.DN, r.List.created
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
	dnA, createdA := s.owner(a)
	dnB, createdB := s.owner(b)
	return compareRights(createdA, dnA, createdB, dnB)
}

// compareRights is negative if the first of two entries has the better right to
// a name that both claim: it was created earlier, or that is not known of the other.
func compareRights(createdA int64, dnA string, createdB int64, dnB string) int {
	if createdA != createdB {
		// 0 is not known, and becomes the largest.
		return cmp.Compare(uint64(createdA)-1, uint64(createdB)-1)
	}
	return strings.Compare(dnA, dnB)
}
