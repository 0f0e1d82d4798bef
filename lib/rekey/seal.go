package rekey

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/luks"
	"rplan/lib/secret"
	"rplan/lib/ssh"
	"rplan/lib/store"
)

// seal seals a disk's passphrase for those who may open it now: the one that is in
// the store, or else a new one. With a device it then makes sure that this opens it,
// adding a keyslot if it does not. It can be broken off anywhere and called again.
func (c *command) seal(ctx context.Context) error {
	if c.Device != "" && c.Remote {
		return diag.Usage.Errorf("--device is a device of this machine, --remote the one on the node: not both")
	}
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	node, name := c.Args[0], c.Args[1]
	d, err := disk(s, node, name)
	if err != nil {
		return err
	}
	passphrase, s, err := c.sealed(ctx, s, node, d)
	if err != nil || passphrase == nil {
		return err
	}
	defer passphrase.Wipe()
	if c.DryRun {
		fmt.Fprintf(c.env.Stdout, "it is sealed for all who may open it: %s\n", strings.Join(d.Admins, ", "))
		return nil
	}
	switch {
	case c.Device != "":
		return c.slot(ctx, &luks.Device{Path: c.Device, PBKDF: c.pbkdf}, passphrase)
	case c.Remote:
		return c.remote(ctx, s.Nodes[node], d, passphrase)
	}
	return nil
}

// sealed makes the store hold the disk's passphrase, for all who may open it, and
// returns it as it was read back from there. nil without an error: in a dry run, there is none.
func (c *command) sealed(ctx context.Context, s *store.Store, node string, d *store.Disk) (*secret.Secret, *store.Store, error) {
	want := recipientsOf(s, d)
	file, have := s.Sealed(node, d.Name)
	var passphrase *secret.Secret
	var err error
	if file != nil {
		if c.Typed {
			fmt.Fprintf(c.env.Stderr, "the store has a passphrase of disk %q of node %q: nothing is asked\n", d.Name, node)
		}
		if passphrase, err = c.wallet(ctx).Open(file, have); err != nil {
			return nil, nil, err
		}
		if slices.Equal(want, have) {
			return passphrase, s, nil
		}
	} else if passphrase, err = c.fresh(ctx, node, d); err != nil {
		return nil, nil, err
	}
	text, err := store.Seal(passphrase, want, c.wallet(ctx).UI)
	if err != nil {
		passphrase.Wipe()
		return nil, nil, err
	}
	what := fmt.Sprintf("sealed disk %q of node %q for %s", d.Name, node, strings.Join(d.Admins, ", "))
	s, err = c.commit(ctx, s, store.SealedChange(what, node, d.Name, text, want))
	if err != nil || c.DryRun {
		passphrase.Wipe()
		return nil, nil, err
	}
	file, have = s.Sealed(node, d.Name)
	mine, err := c.wallet(ctx).Mine(have)
	if err == nil && !mine {
		fmt.Fprintln(c.env.Stderr, "you are none of those who can open it; it was not read back")
		return passphrase, s, nil
	}
	if err != nil {
		passphrase.Wipe()
		return nil, nil, err
	}
	back, err := c.wallet(ctx).Open(file, have)
	if err == nil && !bytes.Equal(back.Bytes(), passphrase.Bytes()) {
		back.Wipe()
		err = diag.Failed.Errorf("what was sealed comes back as another passphrase")
	}
	passphrase.Wipe()
	return back, s, err
}

// fresh is a passphrase that the store does not have: a generated one, or with --typed the one that the disk has.
func (c *command) fresh(ctx context.Context, node string, d *store.Disk) (*secret.Secret, error) {
	if !c.Typed {
		return store.Generate(rand.Reader)
	}
	first, err := c.typed(ctx, fmt.Sprintf("passphrase of disk %q of node %q: ", d.Name, node))
	if err != nil {
		return nil, err
	}
	second, err := c.typed(ctx, "and once more: ")
	if err != nil {
		first.Wipe()
		return nil, err
	}
	defer second.Wipe()
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		first.Wipe()
		return nil, diag.Usage.Errorf("these were two different passphrases")
	}
	return first, nil
}

func (c *command) typed(ctx context.Context, prompt string) (*secret.Secret, error) {
	text, err := c.env.Password(ctx, prompt)
	if err != nil {
		return nil, err
	}
	s, err := secret.New(store.MaxPassphrase)
	if err == nil {
		_, err = s.ReadFrom(strings.NewReader(text))
	}
	return s, err
}

// slot makes sure that a device opens with the passphrase.
func (c *command) slot(ctx context.Context, d *luks.Device, passphrase *secret.Secret) error {
	opens, err := d.Opens(ctx, passphrase)
	if err != nil {
		return err
	}
	if opens {
		fmt.Fprintf(c.env.Stderr, "%q opens with it\n", d.Path)
		return nil
	}
	existing, err := c.typed(ctx, fmt.Sprintf("a passphrase that %q has: ", d.Path))
	if err != nil {
		return err
	}
	defer existing.Wipe()
	if err := d.Add(ctx, existing, passphrase); err != nil {
		return err
	}
	fmt.Fprintf(c.env.Stderr, "%q opens with it now, and still with those that it had\n", d.Path)
	return nil
}

// remote does that on the node, which runs.
func (c *command) remote(ctx context.Context, n *store.Node, d *store.Disk, passphrase *secret.Secret) error {
	path := d.Device
	if path == "" && d.UUID != "" {
		path = "/dev/disk/by-uuid/" + strings.ToLower(d.UUID)
	}
	if path == "" {
		return diag.Config.Errorf("nodes/%s.toml has no device and no UUID of disk %q", n.Name, d.Name)
	}
	t := &n.System
	via, done, err := ssh.Personal{Host: t.Host, Port: t.SSHPort(), User: t.Login(), HostKeys: t.HostKeys}.Via()
	if err != nil {
		return err
	}
	defer done()
	return c.slot(ctx, &luks.Device{Path: path, Via: via, PBKDF: c.pbkdf}, passphrase)
}
