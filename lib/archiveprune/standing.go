package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/directory"
	origin "rplan/lib/source"
)

// Standing is what the directory says of lists, as this node sees it. A nil
// *Standing is for who has no directory: nobody else can have a list active.
type Standing struct {
	Passed []error // why the servers before the one that was read could not be

	node     string
	snapshot *directory.Snapshot
	problems []directory.Problem
}

// ErrUnlisted is the cause of a refusal of a list that the directory does not
// have: nothing of it is changed, and a report has it all the same.
var ErrUnlisted = errors.New("the directory has no such list")

// ReadStanding reads the directory, if rplan.toml has one: it is nil without a
// section [directory]. While none can be read nobody knows where a list is active, and
// the error, mostly of kind diag.TryAgain, is for all lists.
func (c *Configuration) ReadStanding(ctx context.Context) (*Standing, error) {
	if c.from == nil {
		return nil, nil
	}
	src, err := origin.New(c.from.Directory.OfLists())
	if err != nil {
		return nil, diag.Config.Errorf("%s: %w", c.path, err)
	}
	r, err := src.Read(ctx, c.from.Network)
	if err != nil {
		return nil, err
	}
	if r.Snapshot.Node(c.from.Node) == nil {
		// Also what a user sees who may read nothing, to whom no list would be active anywhere.
		return nil, diag.Config.Errorf("the directory has no node %q, or does not show it to this user", c.from.Node).
			WithHint("set node in rplan.toml, and in [directory] bind-dn and password-file, or run this as a user who may read the directory")
	}
	return &Standing{r.Passed, c.from.Node, r.Snapshot, r.Problems}, nil
}

// Of is the entry of the list that a tree calls name, by its address or the
// local part of it, in lower case; nil without a directory. The error, of kind
// diag.Refused, says why nothing of it may be changed; the entry is then there if
// it is known which it is.
func (s *Standing) Of(name string) (*directory.List, error) {
	if s == nil {
		return nil, nil
	}
	var found []*directory.List
	for i := range s.snapshot.Lists {
		if l := &s.snapshot.Lists[i]; called(l.Address, name) {
			found = append(found, l)
		}
	}
	// An entry that was left out may be the one that is meant.
	for _, p := range s.problems {
		if !p.Notice && slices.ContainsFunc(p.Keys, func(key string) bool { return called(key, name) }) {
			return nil, diag.Refused.Errorf("list %q: the directory may have it, in an entry that cannot be used: %s", name, p)
		}
	}
	switch {
	case len(found) == 0:
		return nil, diag.Refused.Errorf("list %q: %w", name, ErrUnlisted).
			WithHint("an archive that is nobody's any more can have a section [archive.lists.%q] in rplan.toml", name)
	case len(found) > 1:
		return nil, diag.Refused.Errorf("list %q: the directory has %s and %s", name, found[0].Address, found[1].Address).
			WithHint("set address in [archive.lists.%q] of rplan.toml to the one that this archive is of", name)
	}
	if why := s.elsewhere(found[0]); why != "" {
		return found[0], diag.Refused.Errorf("list %q %s", name, why).WithHint("its archive is pruned on the node that it is active on, while that serves")
	}
	return found[0], nil
}

// several says whether the directory has more than one list of this local part.
func (s *Standing) several(name string) bool {
	n := 0
	for i := 0; s != nil && i < len(s.snapshot.Lists); i++ {
		if called(s.snapshot.Lists[i].Address, name) {
			n++
		}
	}
	return n > 1
}

// called says whether a list with this address can be the one of this name.
func called(address, name string) bool {
	if address == name {
		return true
	}
	local, _, at := strings.Cut(address, "@")
	return at && local == name
}

// elsewhere says in what way a list is not active on this node, if it is not.
func (s *Standing) elsewhere(l *directory.List) string {
	switch {
	case l.Node == "":
		return "is active on no node"
	case l.Node != s.node:
		return fmt.Sprintf("is active on node %q", l.Node)
	case s.snapshot.ListNode(l) == nil:
		node := s.snapshot.Node(l.Node)
		if node.State.Serves() {
			return fmt.Sprintf("is active on node %q, which has not the role lists", node.Name)
		}
		return fmt.Sprintf("is active on node %q, which is %s", node.Name, node.State)
	}
	return ""
}
