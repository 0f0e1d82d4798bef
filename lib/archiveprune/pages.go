package archiveprune

import (
	"context"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/rebuild"
)

// pages reads and judges all pages.
func (p *planner) pages(ctx context.Context) error {
	var pages []*verdict
	err := p.each(ctx, layout.Page, func(_ int, v *verdict) {
		if v.why = p.unusable(); v.why == "" {
			pages = append(pages, v)
		}
	})
	if err != nil {
		return err
	}
	done := 0
	for batch := range slices.Chunk(pages, 16*readers) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i, r := range p.read(batch) {
			p.page(batch[i], r)
		}
		done += len(batch)
		p.progress(done)
	}
	for key, pages := range p.shows {
		if len(pages) > int(p.evidence.ids[key].count+p.evidence.unnamed[key].count) {
			for _, v := range pages {
				v.why = whyRepeated
			}
		}
	}
	return p.each(ctx, layout.Page, func(_ int, v *verdict) {
		if v.goes() {
			return
		}
		for dir := path.Dir(v.file.Path); ; dir = path.Dir(dir) {
			p.staying[dir]++
			if dir == "." || dir == "/" {
				return
			}
		}
	})
}

// readers is how many pages are read at a time: on some disks to open a file takes long.
const readers = 8

// reading is what came of reading a page.
type reading struct {
	shown layout.Shown
	err   error
}

// read reads some pages.
func (p *planner) read(pages []*verdict) []reading {
	all := make([]reading, len(pages))
	var next atomic.Int64
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(pages); i = int(next.Add(1)) - 1 {
				all[i].shown, all[i].err = p.readOne(pages[i].file)
			}
		})
	}
	group.Wait()
	return all
}

func (p *planner) readOne(f *layout.File) (layout.Shown, error) {
	file, err := layout.Open(p.root, *f)
	if err != nil {
		return layout.Shown{}, err
	}
	defer file.Close()
	return layout.ReadPage(file, p.archive.Layout, path.Dir(f.Path))
}

// page judges one page by itself.
func (p *planner) page(v *verdict, r reading) {
	shown := r.shown
	for _, attachment := range shown.Attachments {
		if pages, is := p.attached[attachment]; is {
			p.attached[attachment] = append(pages, v.file.Path)
		}
	}
	if r.err != nil {
		v.why, v.detail = whyUnread, r.err.Error()
		return
	}
	key, t := p.evidence.prove(shown.ID, shown.MadeUp(), shown.Key)
	if t.count == 0 {
		v.why = whyUnproven
		if p.evidence.torn[key] {
			v.why = whyTorn
		}
		return
	}
	if t.late(v.file.ModTime) {
		v.why = whyLate
		return
	}
	p.shows[key] = append(p.shows[key], v)
	v.id, v.at = shown.ID, t.place
	v.why = young(t, p.bounds.pages())
	if v.why == "" && young(t, p.bounds.mbox) != "" && p.madeAgain(path.Dir(v.file.Path)) {
		v.why = whyRebuilt
	}
}

// madeAgain says whether the pages of a directory were made again by --rebuild, so short a while ago that
// whoever did that may still want them. A mark that cannot be read counts.
func (p *planner) madeAgain(dir string) bool {
	again, known := p.again[dir]
	if !known {
		at, err := rebuild.At(p.root, dir)
		again = err != nil || !at.IsZero() && at.Unix() >= p.bounds.pages()
		p.again[dir] = again
	}
	return again
}

// unusable says why the sources prove nothing at all, or "".
func (p *planner) unusable() string {
	switch {
	case len(p.evidence.damage) > 0:
		return whyDamage
	case len(p.evidence.sources) == 0:
		return whyNoSource
	}
	return ""
}

// prove finds the messages that a page may show, by its Message-ID or, if there is none, by its key.
func (e *evidence) prove(id string, madeUp bool, key func() string) (digest, tally) {
	name := named(id)
	if t, ok := e.ids[name]; id != "" && (ok || !madeUp) {
		return name, t
	}
	text := key()
	if text == "" {
		return name, tally{}
	}
	return keyed(text), e.unnamed[keyed(text)]
}
