// Package directory is rplan's model: which nodes there are, and on which of
// them each mailbox, site and list lives. Everything in it is a value, checked
// when the Snapshot is built and unchanged afterwards. It does no I/O.
package directory

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"
)

// State is what the admins say of a node. It is the only thing that changes in a failover.
type State uint8

const (
	Up        State = iota // serves its users and takes everyone's mail and visitors
	Draining               // still serves its users, is left out of DNS; will be taken out
	Out                    // gone or being worked on: the next node of each placement serves
	Returning              // back, and catching up: serves nobody yet
	Evicted                // taken away by others: not trusted under this name until it is admitted
)

var stateNames = []string{"up", "draining", "out", "returning", "evicted"}

func (s State) String() string { return stateNames[s] }

// Serves says whether users of a node in this state are served by it.
func (s State) Serves() bool { return s == Up || s == Draining }

// Role is one kind of work that a node does.
type Role uint8

const (
	MX     Role = 1 << iota // takes mail from the world
	IMAP                    // keeps mailboxes
	Web                     // serves sites
	Lists                   // runs mailing lists
	DNS                     // answers for the collective's domains
	Mirror                  // serves copies of static sites
)

var roleNames = []string{"mx", "imap", "web", "lists", "dns", "mirror"}

// Roles is a set of Role.
type Roles uint8

// Has says whether any of the given roles is in the set.
func (r Roles) Has(role Role) bool { return uint8(r)&uint8(role) != 0 }

func (r Roles) String() string {
	var names []string
	for i, name := range roleNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// Node is one server. To a user it is a name they never need to know.
type Node struct {
	DN      string
	Name    string       // one DNS label, lower case
	State   State        //
	VPN     netip.Addr   // its address among the nodes; mail and logins are handed over there
	Public  []netip.Addr // its addresses to the world, sorted
	Roles   Roles        //
	Ring    int          // trust: 0 reads the whole directory, outer rings only what their roles need
	Class   string       // what placement looks at: bandwidth, disk, jurisdiction
	VPNKeys []string     // public keys
	SSHKeys []string     // public host keys

	// What an admin said of the state, for people only: no map has it.
	Since  time.Time // in UTC; zero if not known
	Reason string
	By     string
}

// Placement is where a user lives: nodes in order, the first that serves is
// the active one. Its name, the node names joined with "_", is what the big
// tables hold; no host label can contain "_", so the name is unambiguous.
type Placement struct {
	Name  string
	Nodes []string
}

// Active is the one place that decides which node serves a placement: the
// first whose state serves. It is "" when there is none.
func (p *Placement) Active(stateOf func(node string) (State, bool)) string {
	for _, name := range p.Nodes {
		if state, known := stateOf(name); known && state.Serves() {
			return name
		}
	}
	return ""
}

// Standby is the node that keeps the second copy: after the active one, the
// first whose state serves. It is "" when there is none.
func (p *Placement) Standby(stateOf func(node string) (State, bool)) string {
	i := slices.Index(p.Nodes, p.Active(stateOf))
	if i < 0 {
		return ""
	}
	after := Placement{Nodes: p.Nodes[i+1:]}
	return after.Active(stateOf)
}

// Domain is a DNS domain that the collective answers for.
type Domain struct {
	DN   string
	Name string
	Mail bool // mail for addresses in it is accepted
	DNS  bool // its zone is made from the directory
}

// Status says whether a mailbox is in use.
type Status uint8

const (
	Active    Status = iota // receives, sends, logs in
	Suspended               // kept, but refused: no mail in, none out, no login
)

var statusNames = []string{"active", "suspended"}

// Delivery says how many nodes get a copy of each message for a mailbox.
type Delivery uint8

const (
	Both Delivery = iota // active and standby: losing a node loses nothing
	One                  // the active node only; synced later
)

var deliveryNames = []string{"both", "one"}

// Mailbox is a user's mail: the address they log in with, and where it is kept.
type Mailbox struct {
	DN        string
	Address   string
	Aliases   []string // further addresses that lead here, sorted
	Placement *Placement
	Status    Status
	Delivery  Delivery
	created   int64
}

// Forward is an address without a mailbox: what is sent to it goes on to others.
type Forward struct {
	DN      string
	Address string
	Targets []string // sorted; here or elsewhere in the world
	created int64
}

// Mode is how visitors reach a site when they come to a node that does not keep it.
type Mode uint8

const (
	Redirect    Mode = iota // they are sent to the active node, by its name
	Proxy                   // the node they came to fetches the page for them over the VPN
	Everywhere              // each web node keeps the site
	Mirrored                // they are sent to a mirror drawn by lot
	Application             // as Proxy, but a session once begun stays on its node
)

var modeNames = []string{"redirect", "proxy", "everywhere", "mirror", "application"}

func (m Mode) String() string { return modeNames[m] }

// Site is a web site and the host names it is known by.
type Site struct {
	DN        string
	Name      string     // its main host name, which also names its files
	Aliases   []string   // further host names, sorted
	Mode      Mode       //
	Placement *Placement // nil for Everywhere and Mirrored
	Root      string     // document root, relative to the web root of each node
	Contact   string     // its owner's address, which nobody is shown; may be ""
	created   int64
}

// Hosts are all host names of the site, the main one first.
func (s *Site) Hosts() []string { return append([]string{s.Name}, s.Aliases...) }

// Manager is the program that runs a mailing list.
type Manager uint8

const (
	MLMMJ Manager = iota
	Mailman3
)

var managerNames = []string{"mlmmj", "mailman3"}

func (m Manager) String() string { return managerNames[m] }

// Unreadable is a List's KeepHTML or KeepMbox where its entry has a value that
// cannot be read. CheckKeep refuses it, so nobody can take it for a time.
const Unreadable = "unreadable"

// List is a mailing list. Unlike mailboxes it is active on exactly one node,
// which its entry names, and moves only when an admin moves it.
type List struct {
	DN         string
	Address    string
	Manager    Manager
	Candidates []string // nodes it may move to, sorted
	Node       string   // the node it is active on; "" if that is not known
	Owners     []string // addresses, sorted
	Epoch      int64    // rises with each move; the higher one is right
	KeepHTML   string   // how long its pages are kept, as CheckKeep wants it; "" if its entry does not say
	KeepMbox   string   // how long its messages are, likewise
	created    int64
}

// Snapshot is the directory at one moment. Its slices are sorted by name or address.
type Snapshot struct {
	Nodes     []Node
	Domains   []Domain
	Mailboxes []Mailbox
	Forwards  []Forward
	Sites     []Site
	Lists     []List

	placements []*Placement
	counts     map[string]Count // by placement
	claims     []claim
}

// Node is the node of this name, or nil.
func (s *Snapshot) Node(name string) *Node {
	return find(s.Nodes, name, func(n *Node) string { return n.Name })
}

// NodeNames are the names of all nodes, sorted.
func (s *Snapshot) NodeNames() []string {
	names := make([]string, len(s.Nodes))
	for i := range s.Nodes {
		names[i] = s.Nodes[i].Name
	}
	return names
}

// StateOf is the state of a node; known is false for a name that no node has.
func (s *Snapshot) StateOf(name string) (state State, known bool) {
	if n := s.Node(name); n != nil {
		return n.State, true
	}
	return 0, false
}

// ActiveNode is the node that serves a placement now, or nil if none does.
func (s *Snapshot) ActiveNode(p *Placement) *Node { return s.Node(p.Active(s.StateOf)) }

// StandbyNode is the node that keeps the second copy of a placement's mail now, or nil if none does.
func (s *Snapshot) StandbyNode(p *Placement) *Node { return s.Node(p.Standby(s.StateOf)) }

// ListNode is the node that runs a list now, or nil if none does.
func (s *Snapshot) ListNode(l *List) *Node {
	if n := s.Node(l.Node); n != nil && n.Roles.Has(Lists) && n.State.Serves() {
		return n
	}
	return nil
}

// Live are the nodes that a set of addresses for a role names: those that are
// up; if none is, those that still serve; if none does, all that are not
// evicted, since an answer that may fail beats no answer.
func (s *Snapshot) Live(role Role) []*Node {
	for _, want := range []func(State) bool{
		func(st State) bool { return st == Up },
		State.Serves,
		func(st State) bool { return st != Evicted },
	} {
		var live []*Node
		for i := range s.Nodes {
			if n := &s.Nodes[i]; n.Roles.Has(role) && want(n.State) {
				live = append(live, n)
			}
		}
		if live != nil {
			return live
		}
	}
	return nil
}

// Placements are those in use, sorted by name: at most one per ordered choice
// of nodes, however many users there are.
func (s *Snapshot) Placements() []*Placement { return s.placements }

// Count is how many mailboxes there are.
type Count struct {
	All    int
	Single int // with delivery One
}

// Count counts the mailboxes of a placement, which a snapshot without users knows too.
func (s *Snapshot) Count(p *Placement) Count { return s.counts[p.Name] }

// Domain is the domain of this name, or nil.
func (s *Snapshot) Domain(name string) *Domain {
	return find(s.Domains, name, func(d *Domain) string { return d.Name })
}

// ZoneOf is the domain with a zone that host lies in, the longest where several match, or nil.
func (s *Snapshot) ZoneOf(host string) *Domain {
	for name := host; name != ""; _, name, _ = strings.Cut(name, ".") {
		if d := s.Domain(name); d != nil && d.DNS {
			return d
		}
	}
	return nil
}

// SiteOf is the site that has this host name, main or alias, or nil.
func (s *Snapshot) SiteOf(host string) *Site {
	for i := range s.Sites {
		if site := &s.Sites[i]; site.Name == host || slices.Contains(site.Aliases, host) {
			return site
		}
	}
	return nil
}

// find does without copies of T, since it is asked a million times.
func find[T any](sorted []T, key string, keyOf func(*T) string) *T {
	i, ok := sort.Find(len(sorted), func(i int) int { return strings.Compare(key, keyOf(&sorted[i])) })
	if !ok {
		return nil
	}
	return &sorted[i]
}
