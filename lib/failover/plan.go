package failover

import (
	"slices"
	"strings"

	"rplan/lib/directory"
)

// plan is what a change of one node's state does, found before it is done.
type plan struct {
	Verb     string    `json:"verb"` // out, in, evict or admit
	Node     string    `json:"node"`
	Lost     bool      `json:"lost"`
	From     string    `json:"from"` // states
	To       string    `json:"to"`
	Moves    []move    `json:"moves"`
	Unserved []move    `json:"unserved"` // whom no node serves then
	Single   int       `json:"single"`   // mailboxes that move and have no second copy of new mail
	Lists    []string  `json:"lists"`    // active on the node: somebody has to move them
	Roles    []string  `json:"roles"`    // that no other node has, of those that somebody needs
	Carriers []carrier `json:"carriers"` // other nodes that the move is about
	Refusals []refusal `json:"refusals"`
	to       directory.State
	affected map[string]bool // placements
	partners []string        // whose mailboxes are merged with the node's
}

// move is what one placement has, and which node serves it before and after.
type move struct {
	Placement string `json:"placement"`
	From      string `json:"from"`
	To        string `json:"to"`
	Mailboxes int    `json:"mailboxes"`
	Sites     int    `json:"sites"`
}

// carrier is a node that users go to, or come from.
type carrier struct {
	Node      string  `json:"node"`
	Mailboxes int     `json:"mailboxes"` // that it is active for now
	Then      int     `json:"then"`
	Answers   bool    `json:"answers"`
	Free      float64 `json:"free"` // of the fullest disk, in percent; -1 if not known
}

// targets are the states that the verbs lead to.
var targets = map[string]directory.State{"out": directory.Out, "in": directory.Up, "evict": directory.Evicted, "admit": directory.Out}

// emptyPlan is one by which nobody moves.
func emptyPlan(verb, node string, lost bool, now directory.State) *plan {
	return &plan{
		Verb: verb, Node: node, Lost: lost, From: now.String(), to: targets[verb], To: targets[verb].String(),
		Moves: []move{}, Unserved: []move{}, Lists: []string{}, Roles: []string{}, Carriers: []carrier{}, Refusals: []refusal{},
		affected: map[string]bool{},
	}
}

// newPlan compares what is served now with what is served then. Where the
// state is already the one that the verb leads to, a run that was interrupted
// is gone on with, and now is what it was before.
func newPlan(verb, node string, lost bool, s *directory.Snapshot, of states) *plan {
	now, _ := of(node)
	p := emptyPlan(verb, node, lost, now)
	if verb == "admit" {
		return p
	}
	u := newUsage(s)
	present, absent := of.with(node, directory.Up), of.with(node, directory.Out)
	before, after := present, absent
	if p.to.Serves() {
		before, after = absent, present
	}
	if now != p.to && now.Serves() == p.to.Serves() {
		before = after // nobody moves
	}
	p.addMoves(u, before, after)
	p.addCarriers(u, before, after)
	p.partners = p.carriers()
	if p.to.Serves() && !before.serves(node) {
		p.addPartners(u, before)
	}
	if !p.to.Serves() {
		for i := range u.lists {
			if u.lists[i].Node == node {
				p.Lists = append(p.Lists, u.lists[i].Address)
			}
		}
		p.Roles = lonely(s, node, absent)
	}
	return p
}

// addMoves finds whose active node changes.
func (p *plan) addMoves(u *usage, before, after states) {
	for _, placement := range u.placements {
		from, to := placement.Active(before), placement.Active(after)
		if from == to || u.on[placement].none() {
			continue
		}
		p.affected[placement.Name] = true
		m := move{placement.Name, from, to, u.on[placement].Mailboxes, u.on[placement].Sites}
		if to == "" {
			p.Unserved = append(p.Unserved, m)
		} else {
			p.Moves = append(p.Moves, m)
			p.Single += u.single[placement]
		}
	}
}

// addCarriers names the nodes at the other end of the moves.
func (p *plan) addCarriers(u *usage, before, after states) {
	was, then := u.burdens(before), u.burdens(after)
	for _, m := range p.Moves {
		name := m.To
		if p.to.Serves() {
			name = m.From
		}
		if name == "" || slices.ContainsFunc(p.Carriers, func(c carrier) bool { return c.Node == name }) {
			continue
		}
		c := carrier{Node: name, Free: -1}
		if b := was[name]; b != nil {
			c.Mailboxes = b.Active.Mailboxes
		}
		if b := then[name]; b != nil {
			c.Then = b.Active.Mailboxes
		}
		p.Carriers = append(p.Carriers, c)
	}
	slices.SortFunc(p.Carriers, func(a, b carrier) int { return strings.Compare(a.Node, b.Node) })
}

// addPartners adds, for a node that comes in, who serves what it keeps the second copy of.
func (p *plan) addPartners(u *usage, of states) {
	for _, placement := range u.placements {
		active := placement.Active(of)
		if u.on[placement].Mailboxes > 0 && active != "" && slices.Contains(placement.Nodes, p.Node) && !slices.Contains(p.partners, active) {
			p.partners = append(p.partners, active)
		}
	}
	slices.Sort(p.partners)
}

// lonely are the roles of a node that no node that serves has without it. For
// mailboxes and most sites the placements say that; lists are moved by hand.
func lonely(s *directory.Snapshot, node string, of states) []string {
	self := s.Node(node)
	var roles []string
	for _, r := range []struct {
		role   directory.Role
		needed bool
	}{
		{directory.MX, true}, {directory.DNS, true},
		{directory.Web, slices.ContainsFunc(s.Sites, func(site directory.Site) bool { return site.Mode == directory.Everywhere })},
		{directory.Mirror, slices.ContainsFunc(s.Sites, func(site directory.Site) bool { return site.Mode == directory.Mirrored })},
	} {
		others := slices.ContainsFunc(s.Nodes, func(n directory.Node) bool {
			state, known := of(n.Name)
			return n.Name != node && known && state.Serves() && n.Roles.Has(r.role)
		})
		if r.needed && self != nil && self.Roles.Has(r.role) && !others {
			roles = append(roles, directory.Roles(r.role).String())
		}
	}
	return append([]string{}, roles...)
}

// moved is how much goes to, or comes from, another node.
func (p *plan) moved() (c counts) {
	for _, m := range p.Moves {
		c.Mailboxes += m.Mailboxes
		c.Sites += m.Sites
	}
	return c
}

// unserved is how much nobody serves then.
func (p *plan) unserved() (c counts) {
	for _, m := range p.Unserved {
		c.Mailboxes += m.Mailboxes
		c.Sites += m.Sites
	}
	return c
}

// carriers are the names of the nodes at the other end.
func (p *plan) carriers() []string {
	var names []string
	for _, c := range p.Carriers {
		names = append(names, c.Node)
	}
	return names
}

// weigh adds what the carriers say of themselves.
func (p *plan) weigh(answers map[string]answer) {
	for i := range p.Carriers {
		c := &p.Carriers[i]
		if r := answers[c.Node].report; r != nil {
			c.Answers = true
			c.Free = r.fullest()
		}
	}
}

// fullest is the free share of the disk that has the least, -1 if none is known.
func (r *NodeReport) fullest() float64 {
	least := -1.0
	for _, d := range r.Disks {
		if f := d.free(); least < 0 || f < least {
			least = f
		}
	}
	return least
}
