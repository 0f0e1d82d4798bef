package failover

import (
	"context"

	"rplan/lib/app"
	"rplan/lib/published"
	"rplan/lib/source"
)

// A state must not wait until a million users were read. All that is asked of
// them before it is written is how many live on each placement, and that is in
// the outline that rp-genmaps kept. Who they are is asked once they have moved,
// and then its table of mailboxes tells. Both are as of its last run; the nodes
// are as they are now.

// reading is this node's copy of the directory, of which the snapshot may be without users.
type reading struct {
	*source.Result
	env     *app.Env
	config  *configuration
	outline bool // that is what it was made from
}

// readDirectory reads the nodes only, where the outline has the rest.
func readDirectory(ctx context.Context, env *app.Env, c *configuration) (*reading, error) {
	r := &reading{env: env, config: c}
	// Who may not read the outline, or finds it broken, reads everything.
	kept, _ := published.LoadOutline(c.mapsDir())
	if kept != nil {
		var err error
		if r.Result, err = readNodes(ctx, c); err != nil {
			return nil, err
		}
		if s := kept.With(r.Snapshot.Nodes); s != nil && r.fits(kept) {
			r.Snapshot, r.outline = s, true
			return r, nil
		}
	}
	var err error
	r.Result, err = readAll(ctx, env, c)
	return r, err
}

// fits is false where rp-genmaps does not run any more: then nobody knows what the outline lacks.
func (r *reading) fits(kept *published.Outline) bool {
	if r.Version.Same(kept.Version) {
		return true
	}
	at := kept.At
	if checked, err := published.Checked(r.config.mapsDir()); err == nil && checked.After(at) {
		at = checked
	}
	return r.env.Now().Sub(at) <= staleMaps
}

// users are the addresses of the mailboxes on the placements, sorted.
func (r *reading) users(ctx context.Context, placements map[string]bool) (users []string, err error) {
	if len(placements) == 0 {
		return nil, nil
	}
	snapshot := r.Snapshot
	if r.outline {
		if users, ok := r.tabled(placements); ok {
			return users, nil
		}
		all, err := readAll(ctx, r.env, r.config)
		if err != nil {
			return nil, err
		}
		snapshot = all.Snapshot
	}
	for i := range snapshot.Mailboxes {
		if m := &snapshot.Mailboxes[i]; placements[m.Placement.Name] {
			users = append(users, m.Address)
		}
	}
	return users, nil
}

// tabled are users by the table of mailboxes, if that is kept up, as it is on nodes
// with the role imap, and whole.
func (r *reading) tabled(placements map[string]bool) (users []string, ok bool) {
	maps := r.config.mapsDir()
	state, err := published.Load(maps)
	if err != nil || state.Services["dovecot"] == nil {
		return nil, false
	}
	err = eachMailbox(maps, func(address, placement string) error {
		if placements[placement] {
			users = append(users, address)
		}
		return nil
	})
	return users, err == nil
}

// readNodes reads the nodes only.
func readNodes(ctx context.Context, c *configuration) (*source.Result, error) {
	src, err := source.New(c.Directory.OfNodes())
	if err != nil {
		return nil, err
	}
	return src.Read(ctx, c.Network)
}

// readAll reads everything.
func readAll(ctx context.Context, env *app.Env, c *configuration) (*source.Result, error) {
	src, err := source.New(c.Directory)
	if err != nil {
		return nil, err
	}
	progress := env.Progress("entries")
	src.OnProgress = func(done int) { progress.Show(done, 0) }
	result, err := src.Read(ctx, c.Network)
	progress.Done()
	return result, err
}
