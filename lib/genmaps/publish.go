package genmaps

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/lib/published"
	"rplan/lib/source"
)

// publisher carries a plan out; a dry run's only shows it.
type publisher interface {
	publish(context.Context, *plan) error
}

// live publishes for real, one service after the other: its files are staged
// and checked first, then swapped in one by one. At the end the services are
// told. Whatever stops it, the maps in use are old or new, each file whole, and
// the next run finishes: the state on disk says which services were begun
// (unsettled) or not yet told (reload).
type live struct {
	settings *Settings
	state    *published.State
	version  source.Version // what the maps are made from, for the state
	inputs   string
	preview  bool // into a directory that no service reads
	quiet    bool // tell no service
	warn     func(string)
	step     func(string) // called before each step; a test stops there
}

// staged is where files wait for their check, on the file system of the maps.
func staged(maps string) string { return filepath.Join(maps, ".staged") }

func (l *live) publish(ctx context.Context, p *plan) error {
	defer os.RemoveAll(staged(p.maps))
	if err := l.stage(ctx, p); err != nil {
		return err
	}
	if err := l.check(ctx, p); err != nil {
		return err
	}
	swaps := p.swaps()
	if err := atomicfile.Prepare(swaps); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on an interrupt waits: half a swap helps nobody.
	ctx = context.WithoutCancel(ctx)
	if err := l.announce(p); err != nil {
		return err
	}
	if err := l.swap(ctx, p, swaps); err != nil {
		return err
	}
	// Before the services are settled, else a run that is killed while it tells them leaves it for good.
	if err := os.RemoveAll(staged(p.maps)); err != nil {
		return diag.CantCreate.Errorf("removing the staging directory: %w", err)
	}
	return l.settle(p)
}

// stage writes what changes and links what stays, so that a checker finds all of a service's files in one place.
func (l *live) stage(ctx context.Context, p *plan) error {
	dir := staged(p.maps)
	if err := os.RemoveAll(dir); err != nil {
		return diag.CantCreate.Errorf("removing what a killed run left: %w", err)
	}
	if err := l.makeDirectory(filepath.Join(p.maps, p.service), p.service); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, p.service), 0o700); err != nil {
		return diag.CantCreate.Errorf("making room for new maps: %w", err)
	}
	changed := map[string]bool{}
	for _, c := range p.changes {
		l.step("stage " + paths(c.File)[0])
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.write(ctx, c, dir); err != nil {
			return err
		}
		for _, path := range paths(c.File) {
			changed[path] = true
		}
	}
	for _, f := range p.files {
		for _, path := range paths(f) {
			if !changed[path] {
				if err := os.Symlink(filepath.Join(p.maps, path), filepath.Join(dir, path)); err != nil {
					return diag.CantCreate.Errorf("staging a map that stays: %w", err)
				}
			}
		}
	}
	return nil
}

// write makes one changed file below dir, and the table that the service's tool builds from it.
func (l *live) write(ctx context.Context, c *change, dir string) error {
	path := filepath.Join(dir, paths(c.File)[0])
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return diag.CantCreate.Errorf("writing a new map: %w", err)
	}
	// The services read it, whatever the umask of who runs this. Who may is the directory's matter.
	err = f.Chmod(0o644)
	switch {
	case err != nil:
	case c.Rows != nil:
		_, err = mapfile.Write(f, c.Format, c.Rows)
	default:
		_, err = f.Write(c.Text)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return diag.CantCreate.Errorf("writing a new map: %w", err)
	}
	return l.buildTable(ctx, filepath.Dir(dir), path, c.Format)
}

// announce says on disk that the service is about to change, before it does.
func (l *live) announce(p *plan) error {
	if len(p.changes) == 0 {
		return nil
	}
	s := l.state.Services[p.service]
	if s == nil {
		s = &published.ServiceState{Files: map[string]string{}}
		l.state.Services[p.service] = s
	}
	s.Unsettled = true
	for _, c := range p.changes {
		s.Reload = s.Reload || c.Reload && !l.quiet
		// A run that is killed after this knows all files that may be there.
		for _, path := range paths(c.File) {
			s.Files[path] = ""
		}
	}
	l.step("note that " + p.service + " changes")
	return l.state.Save(p.maps)
}

// swaps are the moves that put the files in place, in the order of the renderers.
func (p *plan) swaps() []atomicfile.Swap {
	var swaps []atomicfile.Swap
	for _, c := range p.changes {
		all := paths(c.File)
		if c.Format == render.LMDB {
			all = all[:1] // the table is changed in place, see swap
		}
		// A table goes before the text that it was built from: the text is what
		// the next run compares with.
		slices.Reverse(all)
		for _, path := range all {
			swaps = append(swaps, atomicfile.Swap{Staged: filepath.Join(staged(p.maps), path), Path: filepath.Join(p.maps, path)})
		}
	}
	return swaps
}

func (l *live) swap(ctx context.Context, p *plan, swaps []atomicfile.Swap) error {
	const hint = "some maps are new and some are old; the next run goes on from here"
	inPlace := p.inPlace()
	for _, s := range swaps {
		l.step("swap " + s.Path)
		err := s.Move()
		if err == nil && inPlace[s.Path] {
			// postmap replaces an LMDB's rows in one transaction, which Postfix sees at once.
			l.step("rebuild " + s.Path)
			err = l.buildTable(ctx, p.maps, s.Path, render.LMDB)
		}
		if err != nil {
			return diag.CantCreate.Errorf("publishing: %w", err).WithHint(hint)
		}
	}
	for _, path := range p.removed {
		l.step("remove " + path)
		if err := os.Remove(filepath.Join(p.maps, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diag.CantCreate.Errorf("removing a map that is no longer made: %w", err).WithHint(hint)
		}
	}
	if err := atomicfile.SyncDirs(swaps); err != nil {
		return diag.CantCreate.Errorf("publishing: %w", err).WithHint(hint)
	}
	return nil
}

// inPlace are the published texts whose table is changed in place.
func (p *plan) inPlace() map[string]bool {
	texts := map[string]bool{}
	for _, c := range p.changes {
		if c.Format == render.LMDB {
			texts[filepath.Join(p.maps, paths(c.File)[0])] = true
		}
	}
	return texts
}

// settle records what the published files were made from.
func (l *live) settle(p *plan) error {
	s := &published.ServiceState{States: l.version, Files: map[string]string{}}
	if before := l.state.Services[p.service]; before != nil {
		s.Reload, s.Version = before.Reload, before.Version
		if p.part {
			s.Inputs, s.Files = before.Inputs, before.Files
		}
	}
	switch {
	case p.held: // the next run looks again, and still knows how far the replica was
		s.Inputs = ""
	case !p.part:
		s.Version, s.Inputs = l.version, l.inputs
	}
	for _, f := range p.made() {
		for _, path := range paths(f) {
			st, err := published.Stamp(filepath.Join(p.maps, path))
			if errors.Is(err, fs.ErrNotExist) && p.held {
				continue
			}
			if err != nil {
				return diag.CantCreate.Errorf("looking at what was published: %w", err)
			}
			s.Files[path] = st
		}
	}
	l.state.Services[p.service] = s
	l.step("note what was published for " + p.service)
	return l.state.Save(p.maps)
}

// made are the files whose state on disk is to be noted: of a part, what it
// changed, as the others may have been touched since they were looked at.
func (p *plan) made() []render.File {
	if !p.part {
		return p.files
	}
	var made []render.File
	for _, c := range p.changes {
		made = append(made, c.File)
	}
	return made
}

// follows notes that what a service has follows the nodes' states already.
func (l *live) follows(service string) {
	if s := l.state.Services[service]; s != nil {
		s.States = l.version
	}
}

// reload tells the services that have to be told, those of an earlier run too.
// One that fails keeps its mark, so that the next run tells it again.
func (l *live) reload(ctx context.Context, dir string) error {
	if l.quiet {
		return nil
	}
	var failed error
	asked := false
	for _, service := range slices.Sorted(maps.Keys(l.state.Services)) {
		s := l.state.Services[service]
		if !s.Reload {
			continue
		}
		asked = true
		l.step("reload " + service)
		if err := l.commands(ctx, l.settings.Reload[service]); err != nil {
			failed = errors.Join(failed, diag.Failed.Errorf("the new maps are in place, but %s was not told: %w", service, err).
				WithHint("the next run tries again; to do without, set genmaps.reload.%s = []", service))
			continue
		}
		s.Reload = false
	}
	if !asked {
		return nil
	}
	l.step("note what was told")
	return errors.Join(failed, l.state.Save(dir))
}
