package archiveprune

import (
	"context"
	"strings"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/links"
	"rplan/lib/diag"
)

// follow reads all messages that a tree has of a list once more, and has old links lead to where they are now. A link
// that names a message leads to that one. Of others only the place is known, and before has the keys
// of messages by their places before they moved. Where nobody knows that, as after a kill, such a
// link stays if there is a message at its place that it can be of.
func (r *runner) follow(ctx context.Context, t *tree, list string, before map[address]digest) error {
	archives, _, err := layout.Find(t.root, r.c.Layout)
	if err != nil && diag.KindOf(err) != diag.Partial && diag.KindOf(err) != diag.Refused {
		return err
	}
	g := r.gatherer(t, &Policy{}, func(int64) {})
	for i := range archives {
		if archives[i].List != list {
			continue
		}
		if err := g.read(ctx, &archives[i]); err != nil {
			return err
		}
	}
	if len(g.damage) > 0 {
		return diag.BadData.Errorf("list %q: old links lead to where messages were before: %s", list, strings.Join(g.damage, "; "))
	}
	if len(g.sources) == 0 {
		return nil // they may come back
	}
	places := g.places()
	return links.Update(t.root, list, func(l links.Link) (string, int64, bool) {
		at := address{l.Mbox, l.Offset}
		key, known := before[at]
		if shown := (layout.Shown{ID: l.ID}); l.ID != "" && !shown.MadeUp() {
			key = named(l.ID)
		} else if !known {
			key = places[at]
			if _, unnamed := g.unnamed[key]; !unnamed {
				return "", 0, true
			}
		}
		now, ok := g.ids[key]
		if !ok {
			now, ok = g.unnamed[key]
		}
		if !ok {
			return "", 0, true
		}
		return g.sources[now.place.source].file.Path, now.place.offset, false
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
