package rekey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/store"
)

// addAdmin lets somebody into the store. What is sealed already is not sealed for them by that.
func (c *command) addAdmin(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	name := c.Args[0]
	switch {
	case !store.IsName(name):
		return diag.Usage.Errorf("%.80q is no name of an admin", name).WithHint("small letters, digits and -")
	case s.Admins[name] != nil:
		return diag.Refused.Errorf("there is an admin %q already", name).WithHint("edit admins/%s.toml, then rp-rekey sign", name)
	case len(c.Recipients) == 0:
		return diag.Usage.Errorf("add-admin needs a --recipient, the public half of the identity with which they will open passphrases")
	}
	a := &store.Admin{Name: name}
	if a.Recipients, err = texts(c.Recipients); err != nil {
		return err
	}
	if c.Signer != "" {
		if a.Signer, err = text(c.Signer); err != nil {
			return err
		}
	}
	change, err := store.AdminChange(a)
	if err != nil {
		return err
	}
	if _, err := c.commit(ctx, s, change); err != nil {
		return err
	}
	if a.Signer == "" {
		fmt.Fprintf(c.env.Stderr, "%s can open passphrases that are sealed for them, and sign nothing: no --signer was given\n", name)
	}
	fmt.Fprintf(c.env.Stderr, "nothing is sealed for %s yet: name them as an admin of disks in nodes/*.toml, rp-rekey sign, then rp-rekey seal NODE DISK\n", name)
	return nil
}

// addNode lets a node into the store.
func (c *command) addNode(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	name := c.Args[0]
	switch {
	case !store.IsName(name):
		return diag.Usage.Errorf("%.80q is no name of a node", name)
	case s.Nodes[name] != nil:
		return diag.Refused.Errorf("there is a node %q already", name).WithHint("edit nodes/%s.toml, then rp-rekey sign", name)
	case c.File == "":
		return diag.Usage.Errorf("add-node needs --file: what rplan-store(5) has as an example of a node")
	}
	text, err := c.input(c.File)
	if err != nil {
		return err
	}
	change, n, err := s.NodeChange(name, text)
	if err != nil {
		return err
	}
	if _, err := c.commit(ctx, s, change); err != nil {
		return err
	}
	for _, d := range n.Disks {
		fmt.Fprintf(c.env.Stderr, "next: rp-rekey seal %s %s\n", name, d.Name)
	}
	return nil
}

// recipientsOf are all recipients of those who may open a disk.
func recipientsOf(s *store.Store, d *store.Disk) []string {
	var all []string
	for _, admin := range d.Admins {
		all = append(all, s.Admins[admin].Recipients...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// disk is what NODE DISK names.
func disk(s *store.Store, node, name string) (*store.Disk, error) {
	n := s.Nodes[node]
	if n == nil {
		return nil, diag.Usage.Errorf("there is no node %.80q in the store", node).WithHint("rp-rekey status lists them")
	}
	d := n.Disk(name)
	if d == nil {
		var names []string
		for _, d := range n.Disks {
			names = append(names, d.Name)
		}
		return nil, diag.Usage.Errorf("node %q has no disk %.80q", node, name).WithHint("its disks are %s", strings.Join(names, ", "))
	}
	return d, nil
}
