package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

const base = "dc=example,dc=net"

// Each kind of entry draws from random numbers of its own, so that more mailboxes do not change the sites.
const (
	forMailboxes = iota << 32
	forForwards
	forSites
	forLists
)

// random depends on the seed and the entry only: any entry can be made without those before it.
func (c *collective) random(kind, i int) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, uint64(kind+i)))
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// chance is true in percent of the cases.
func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// domains grow with the sites, of which there are about three in each; the mailboxes are spread over them.
func (c *collective) domains() int { return 3 + min(c.sites/3, 2000) }

func (c *collective) forwards() int { return c.mailboxes / 25 }

func (c *collective) node(w io.Writer, i int) {
	n := i + 1
	fmt.Fprintf(w, "dn: rplanNodeName=n%d,ou=nodes,%s\nobjectClass: rplanNode\nrplanNodeName: n%d\nrplanState: up\n", n, base, n)
	fmt.Fprintf(w, "rplanVpnAddress: 10.77.0.%d\nrplanPublicAddress: 192.0.2.%d\nrplanPublicAddress: 2001:db8::%x\n", n, n, n)
	fmt.Fprintf(w, "rplanRole: imap\nrplanRole: web\nrplanRole: lists\n")
	if n <= 3 {
		fmt.Fprintf(w, "rplanRole: mx\nrplanRole: dns\n")
	}
	if n > 3 || n == c.nodes {
		fmt.Fprintf(w, "rplanRole: mirror\n")
	}
	fmt.Fprintf(w, "rplanRing: %d\nrplanClass: %s\n\n", min(i, 1), []string{"large", "small"}[i%2])
}

// domainName is the name of the domain with this number; most mail is in the last of the fixed ones.
func domainName(i int) string {
	fixed := []string{"example.net", "contact.example.net", "example.org"}
	if i < len(fixed) {
		return fixed[i]
	}
	return places[i%len(places)] + "-" + groups[i/len(places)%len(groups)] + strconv.Itoa(i) + ".example"
}

// home is a domain for addresses.
func (c *collective) home(r *rand.Rand) string {
	if chance(r, 40) {
		return domainName(2)
	}
	return domainName(2 + r.IntN(c.domains()-2))
}

func (c *collective) domain(w io.Writer, i int) {
	name := domainName(i)
	fmt.Fprintf(w, "dn: rplanDomainName=%s,ou=domains,%s\nobjectClass: rplanDomain\nrplanDomainName: %s\nrplanDomainService: mail\n", name, base, name)
	if i != 1 {
		fmt.Fprintf(w, "rplanDomainService: dns\n")
	}
	fmt.Fprintf(w, "\n")
}

// placement takes all ordered pairs of nodes in turn, so that each is in use however few entries there are.
func (c *collective) placement(i int) string {
	if c.nodes == 1 {
		return "n1"
	}
	first := i % c.nodes
	second := (first + 1 + i/c.nodes%(c.nodes-1)) % c.nodes
	return fmt.Sprintf("n%d_n%d", first+1, second+1)
}

// person is who has the mailbox with this number. The number in the address keeps it unique.
func (c *collective) person(i int) (given, family, domain string, r *rand.Rand) {
	r = c.random(forMailboxes, i)
	return pick(r, givenNames), pick(r, familyNames), c.home(r), r
}

func suspended(i int) bool { return i%200 == 199 }

// someone is the address of a mailbox that takes mail.
func (c *collective) someone(r *rand.Rand) string {
	i := r.IntN(c.mailboxes)
	if suspended(i) {
		i--
	}
	given, family, domain, _ := c.person(i)
	return fmt.Sprintf("%s.%s%d@%s", given, family, i, domain)
}

func (c *collective) mailbox(w io.Writer, i int) {
	given, family, domain, r := c.person(i)
	address := fmt.Sprintf("%s.%s%d@%s", given, family, i, domain)
	fmt.Fprintf(w, "dn: rplanAddress=%s,ou=mailboxes,%s\nobjectClass: rplanMailbox\nrplanAddress: %s\ncn: %s %s\nrplanPlacement: %s\n",
		address, base, address, given, family, c.placement(i))
	if chance(r, 30) {
		fmt.Fprintf(w, "rplanAlias: %s%d@%s\n", given, i, domain)
	}
	if chance(r, 10) {
		fmt.Fprintf(w, "rplanAlias: %c%s%d@%s\n", given[0], family, i, domainName(2))
	}
	status, delivery := "active", "both"
	if suspended(i) {
		status = "suspended"
	}
	if chance(r, 5) {
		delivery = "one"
	}
	fmt.Fprintf(w, "rplanStatus: %s\nrplanDelivery: %s\n\n", status, delivery)
}

func (c *collective) forward(w io.Writer, i int) {
	r := c.random(forForwards, i)
	address := fmt.Sprintf("%s.%d@%s", pick(r, topics), i, c.home(r))
	fmt.Fprintf(w, "dn: rplanAddress=%s,ou=forwards,%s\nobjectClass: rplanForward\nrplanAddress: %s\n", address, base, address)
	if chance(r, 60) {
		fmt.Fprintf(w, "rplanTarget: %s\n", c.someone(r))
	} else {
		fmt.Fprintf(w, "rplanTarget: %s%d@university.example\n", pick(r, givenNames), i)
	}
	if chance(r, 30) {
		fmt.Fprintf(w, "rplanTarget: %s%d@elsewhere.example\n", pick(r, givenNames), i)
	}
	fmt.Fprintf(w, "\n")
}

// modes in the proportions of a collective whose members mostly have pages that never change.
var modes = []string{"redirect", "redirect", "redirect", "proxy", "proxy", "proxy", "application", "application", "everywhere", "mirror"}

func (c *collective) site(w io.Writer, i int) {
	r := c.random(forSites, i)
	domains := c.domains() - 2
	domain, name := domainName(2+i%domains), "www"
	if i >= domains {
		name = topics[i%len(topics)] + strconv.Itoa(i)
	}
	fmt.Fprintf(w, "dn: rplanSiteName=%s.%s,ou=sites,%s\nobjectClass: rplanSite\nrplanSiteName: %s.%s\n", name, domain, base, name, domain)
	if name == "www" {
		fmt.Fprintf(w, "rplanSiteAlias: %s\n", domain)
	} else if chance(r, 10) {
		fmt.Fprintf(w, "rplanSiteAlias: my-%s.%s\n", name, domain)
	}
	mode := modes[i%len(modes)]
	fmt.Fprintf(w, "rplanSiteMode: %s\n", mode)
	if mode != "everywhere" && mode != "mirror" {
		fmt.Fprintf(w, "rplanPlacement: %s\n", c.placement(i/len(modes)))
	}
	if chance(r, 20) {
		fmt.Fprintf(w, "rplanDocumentRoot: %s/%s\n", domain, name)
	}
	if c.mailboxes > 0 && chance(r, 90) {
		fmt.Fprintf(w, "rplanContact: %s\n", c.someone(r))
	}
	fmt.Fprintf(w, "\n")
}

func (c *collective) list(w io.Writer, i int) {
	r := c.random(forLists, i)
	address := fmt.Sprintf("%s-%d@%s", pick(r, topics), i, c.home(r))
	fmt.Fprintf(w, "dn: rplanAddress=%s,ou=lists,%s\nobjectClass: rplanList\nrplanAddress: %s\nrplanListManager: %s\n",
		address, base, address, []string{"mlmmj", "mailman3"}[i%2])
	active := r.IntN(c.nodes)
	for n := range min(c.nodes, 2+r.IntN(2)) {
		fmt.Fprintf(w, "rplanListCandidate: n%d\n", (active+n)%c.nodes+1)
	}
	fmt.Fprintf(w, "rplanActiveNode: n%d\n", active+1)
	if c.mailboxes > 0 {
		fmt.Fprintf(w, "rplanListOwner: %s\n", c.someone(r))
	}
	fmt.Fprintf(w, "rplanEpoch: %d\n\n", 1+r.IntN(4))
}
