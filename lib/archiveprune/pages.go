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
	p.lost()
	p.keepLast()
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

// seen is what came of reading a page.
type seen struct {
	shown layout.Shown
	err   error
}

// read reads some pages.
func (p *planner) read(pages []*verdict) []seen {
	all := make([]seen, len(pages))
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
func (p *planner) page(v *verdict, r seen) {
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
	again := p.madeAgain(path.Dir(v.file.Path))
	if !again.any { // else it was made from that message, perhaps beside a page that was still there
		p.shows[key] = append(p.shows[key], v)
	}
	v.id, v.at = shown.ID, t.place
	v.why = young(t, p.bounds.pages())
	v.expired = v.why == "" && young(t, p.bounds.mbox) == ""
	if v.why != "" || v.expired { // with its message it goes whatever else is true
		return
	}
	if t.ends {
		p.ends = append(p.ends, v)
	}
	switch {
	case t.cut:
		v.why = whyCut
	case again.lately:
		v.why = whyRebuilt
	}
}

// lost keeps the pages of messages with which an mbox ends, if there are pages without messages: it may have
// been cut off, and where that is after an empty line nothing else shows it.
func (p *planner) lost() {
	if slices.ContainsFunc(p.verdicts, func(v verdict) bool { return v.why == whyUnproven || v.why == whyRepeated }) {
		for _, v := range p.ends {
			if v.goes() {
				v.why = whyCut
			}
		}
	}
}

// again says of the pages in a directory whether they were made again by --rebuild, and so short a while ago that
// whoever did that may still want them.
type again struct{ any, lately bool }

// madeAgain looks at the mark that --rebuild leaves. Pages with one that cannot be read stay.
func (p *planner) madeAgain(dir string) again {
	known, looked := p.again[dir]
	if !looked {
		at, err := rebuild.At(p.root, dir)
		known.any = err == nil && !at.IsZero()
		known.lately = err != nil || known.any && at.Unix() >= p.bounds.pages()
		p.again[dir] = known
	}
	return known
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
