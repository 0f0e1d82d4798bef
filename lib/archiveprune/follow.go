package archiveprune

import (
	"context"
	"slices"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/links"
	"rplan/lib/diag"
)

// follow reads the messages of the archive once more, and has old links lead to where they are now.
func (w *rewriting) follow(ctx context.Context) error {
	archives, _, err := layout.Find(w.tree.root, w.c.Layout)
	if err != nil && diag.KindOf(err) != diag.Partial {
		return err
	}
	i := slices.IndexFunc(archives, func(a layout.Archive) bool { return a.Dir == w.plan.archive.Dir && a.List == w.plan.archive.List })
	if i < 0 {
		return nil
	}
	g := w.gatherer(w.tree, w.policy, func(int64) {})
	if err := g.read(ctx, &archives[i]); err != nil {
		return err
	}
	before := w.plan.evidence.places()
	return links.Update(w.tree.root, w.plan.archive.List, func(file string, offset int64) (string, int64, bool) {
		key, known := before[address{file, offset}]
		if !known {
			return file, offset, false
		}
		t, ok := g.ids[key]
		if !ok {
			t, ok = g.unnamed[key]
		}
		if !ok {
			return "", 0, true
		}
		return g.sources[t.place.source].file.Path, t.place.offset, false
	})
}

// address is where a link has a message.
type address struct {
	file   string
	offset int64
}

// places are the keys of messages by where the first of each is.
func (e *evidence) places() map[address]digest {
	all := make(map[address]digest, len(e.ids)+len(e.unnamed))
	for _, of := range []map[digest]tally{e.ids, e.unnamed} {
		for key, t := range of {
			all[address{e.sources[t.place.source].file.Path, t.place.offset}] = key
		}
	}
	return all
}
