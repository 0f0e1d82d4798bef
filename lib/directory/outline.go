package directory

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Outline is what a Snapshot has beside mailboxes and forwards, and how many
// mailboxes there are. What follows the states of the nodes follows from it and
// them, and it is as small with a million users as with none.
type Outline struct {
	Nodes      []Node
	Domains    []Domain
	Sites      []Site
	Lists      []List
	Placements []*Placement     // all that are in use, by mailboxes too
	Mailboxes  map[string]Count // by placement
}

// Outline is that of the snapshot.
func (s *Snapshot) Outline() *Outline {
	return &Outline{s.Nodes, s.Domains, s.Sites, s.Lists, s.placements, s.counts}
}

// With is a snapshot without users in which the nodes are in other states. It is
// nil where the nodes differ in more than that: other entries may then mean something else.
func (o *Outline) With(nodes []Node) *Snapshot {
	if !bytes.Equal(stateless(o.Nodes), stateless(nodes)) {
		return nil
	}
	return &Snapshot{Nodes: nodes, Domains: o.Domains, Sites: o.Sites, Lists: o.Lists, placements: o.Placements, counts: o.Mailboxes}
}

// stateless is all that is known of nodes but for their states.
func stateless(nodes []Node) []byte {
	plain := slices.Clone(nodes)
	for i := range plain {
		n := &plain[i]
		n.State, n.Since, n.Reason, n.By = 0, Node{}.Since, "", ""
	}
	text, err := json.Marshal(plain)
	if err != nil {
		panic(err) // a Node holds nothing that could not be written so
	}
	return text
}
