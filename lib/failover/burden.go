package failover

import (
	"rplan/lib/directory"
)

// counts is how much of each kind there is.
type counts struct {
	Mailboxes int `json:"mailboxes"`
	Sites     int `json:"sites"`
	Lists     int `json:"lists"`
}

func (c counts) none() bool { return c == counts{} }

func (c *counts) add(more counts) {
	c.Mailboxes += more.Mailboxes
	c.Sites += more.Sites
	c.Lists += more.Lists
}

// burden is what a node carries: what it would if all were up, what it does
// now, and what it keeps the second copy of.
type burden struct {
	Primary counts `json:"primary"`
	Active  counts `json:"active"`
	Standby counts `json:"standby"`
}

// states says which state a node is in.
type states func(node string) (directory.State, bool)

// serves says whether a node serves its users.
func (s states) serves(node string) bool {
	state, known := s(node)
	return known && state.Serves()
}

// with is states in which one node has another.
func (s states) with(node string, state directory.State) states {
	return func(name string) (directory.State, bool) {
		if name == node {
			return state, true
		}
		return s(name)
	}
}

// usage is how many live on each placement, and with how much on one node only.
type usage struct {
	placements []*directory.Placement // sorted by name
	on         map[*directory.Placement]counts
	single     map[*directory.Placement]int // mailboxes with delivery "one"
	lists      []directory.List
}

// newUsage counts once what everything else asks for by placement. The
// snapshot may be without users, and knows then how many there are.
func newUsage(s *directory.Snapshot) *usage {
	u := &usage{placements: s.Placements(), on: map[*directory.Placement]counts{}, single: map[*directory.Placement]int{}, lists: s.Lists}
	sites := map[string]int{}
	for i := range s.Sites {
		if p := s.Sites[i].Placement; p != nil {
			sites[p.Name]++
		}
	}
	for _, p := range u.placements {
		mailboxes := s.Count(p)
		u.on[p] = counts{Mailboxes: mailboxes.All, Sites: sites[p.Name]}
		u.single[p] = mailboxes.Single
	}
	return u
}

// burdens are what all nodes carry in these states; under "", what nobody does.
func (u *usage) burdens(of states) map[string]*burden {
	all := map[string]*burden{}
	at := func(node string) *burden {
		if all[node] == nil {
			all[node] = &burden{}
		}
		return all[node]
	}
	for _, p := range u.placements {
		at(p.Nodes[0]).Primary.add(u.on[p])
		at(p.Active(of)).Active.add(u.on[p])
		at(p.Standby(of)).Standby.add(u.on[p])
	}
	for i := range u.lists {
		l := &u.lists[i]
		at(l.Node).Primary.Lists++
		active := ""
		if of.serves(l.Node) {
			active = l.Node
		}
		at(active).Active.Lists++
		for _, name := range l.Candidates {
			if of.serves(name) && name != l.Node {
				at(name).Standby.Lists++
			}
		}
	}
	return all
}
