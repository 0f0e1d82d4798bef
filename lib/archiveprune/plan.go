package archiveprune

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/mbox"
)

// Why something stays.
const (
	whyYoung    = "it is not old enough"
	whyForever  = "it is kept for good"
	whyUnproven = "its message is not in the mbox"
	whyTorn     = "its message in the mbox may have lost its end"
	whyLate     = "it is older than its message in the mbox, which may be another of the same Message-ID"
	whyRepeated = "more pages show its Message-ID than the mbox has messages of it"
	whyUnread   = "it cannot be read"
	whyDamage   = "the mbox is damaged"
	whyNoSource = "there is no mbox"
	whyPages    = "pages that it is about stay"
	whyText     = "a message in it is not in the mbox"
	whyNotFound = "it is in no message of the mbox"
	whyLinked   = "a page that stays leads to it"
	whyCut      = "its message is the last of the mbox, and may be cut off"
	whyRebuilt  = "it was made again a short while ago"
	whyDoubtful = "where it begins or ends is not sure"
	whyNumbers  = "without it new pages would get the addresses of old ones"
	whyOther    = "it is none of an archive's files"
	whyPassed   = "it is no regular file, or cannot be looked at"
)

// verdict is what becomes of one file that is no source.
type verdict struct {
	file    *layout.File
	why     string // why it stays; "" if it goes
	detail  string // more of that, for this file alone
	id      string // of a page: the Message-ID that it shows
	at      place  // of a page: where its message is
	expired bool   // of a page: its message goes too
}

func (v *verdict) goes() bool { return v.why == "" }

// bounds are the moments before which things go, in seconds since 1970; noDate if never.
type bounds struct {
	html, mbox int64
	closed     int64 // months that ended before are compressed
}

// pages is the moment before which pages go: with their messages at the latest.
func (b bounds) pages() int64 { return max(b.html, b.mbox) }

// young says why what has this date is not old enough to go, or "".
func young(t tally, before int64) string {
	switch {
	case before == noDate:
		return whyForever
	case t.newest == noDate:
		return "its message has " + t.dating.String()
	case t.newest >= before:
		return whyYoung
	}
	return ""
}

// plan is what becomes of an archive.
type plan struct {
	archive  *layout.Archive
	evidence *evidence
	verdicts []verdict          // of all files but the sources, sorted by path
	expired  [][]int            // for each source, the numbers of its messages that are too old
	closed   []map[string][]int // and of those of closed months, by month
	kept     map[string]int     // messages that would be too old, and why they stay
}

// planner makes the plan of one archive.
type planner struct {
	root     *os.Root
	gatherer *gatherer
	bounds   bounds
	progress func(pages int)

	*plan
	shows    map[digest][]*verdict // pages, by what they show
	attached map[string][]string   // for each attachment, and each directory of them, which pages lead there
	ends     []*verdict            // pages of messages with which an mbox ends
	staying  map[string]int        // how many pages stay, by directory, and all above it
	again    map[string]again      // what is known of directories of pages
}

// decide says of each file whether it goes. What a page shows is read once.
func (p *planner) decide(ctx context.Context, a *layout.Archive, e *evidence) (*plan, error) {
	p.plan = &plan{archive: a, evidence: e, kept: map[string]int{}}
	p.shows, p.attached = map[digest][]*verdict{}, map[string][]string{}
	p.staying, p.again = map[string]int{}, map[string]again{}
	for i := range a.Files {
		if f := &a.Files[i]; f.Kind != layout.Mbox && f.Kind != layout.Message {
			p.verdicts = append(p.verdicts, verdict{file: f, why: whyOther})
			if f.Kind == layout.Attachment {
				p.attached[f.Path], p.attached[path.Dir(f.Path)] = nil, nil
			}
		}
	}
	if err := p.pages(ctx); err != nil {
		return nil, err
	}
	if err := p.attachments(ctx); err != nil {
		return nil, err
	}
	if err := p.madeFromPages(ctx); err != nil {
		return nil, err
	}
	p.age(p.bounds)
	return p.plan, nil
}

// each calls f for the verdict on each file of a kind, until ctx ends.
func (p *planner) each(ctx context.Context, kind layout.Kind, f func(i int, v *verdict)) error {
	for i := range p.verdicts {
		if v := &p.verdicts[i]; v.file.Kind == kind {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			f(i, v)
		}
	}
	return nil
}

// attachments judges the files that are parts of messages.
func (p *planner) attachments(ctx context.Context) error {
	sizes := map[int64]bool{}
	err := p.each(ctx, layout.Attachment, func(_ int, v *verdict) {
		if v.why = p.unusable(); v.why == "" {
			sizes[v.file.Size] = true
		}
	})
	if err != nil || len(sizes) == 0 {
		return err
	}
	if err := p.gatherer.find(ctx, sizes); err != nil {
		return err
	}
	stays := map[string]bool{}
	for i := range p.verdicts {
		stays[p.verdicts[i].file.Path] = !p.verdicts[i].goes()
	}
	return p.each(ctx, layout.Attachment, func(_ int, v *verdict) {
		p.attachment(v, func(page string) bool { return stays[page] })
	})
}

func (p *planner) attachment(v *verdict, stays func(page string) bool) {
	if v.why != "" {
		return
	}
	content, err := contentOf(p.root, v.file)
	if err != nil {
		v.why, v.detail = whyNotFound, err.Error()
		return
	}
	t := p.evidence.parts[content]
	linked := p.pagesOf(v.file.Path)
	switch i := slices.IndexFunc(linked, stays); {
	case t.count == 0:
		v.why = whyNotFound
	case i >= 0:
		v.why, v.detail = whyLinked, linked[i]
	default:
		v.why = young(t, p.bounds.pages())
	}
}

// pagesOf are those that lead to an attachment. Where MHonArc gave each page a directory for them, the page names that.
func (p *planner) pagesOf(attachment string) (pages []string) {
	for at := attachment; at != "." && at != p.archive.Dir; at = path.Dir(at) {
		pages = append(pages, p.attached[at]...)
	}
	return pages
}

// madeFromPages judges what leads to pages, or repeats what is on them.
func (p *planner) madeFromPages(ctx context.Context) error {
	for _, kind := range []layout.Kind{layout.Index, layout.Text, layout.Database} {
		err := p.each(ctx, kind, func(_ int, v *verdict) {
			switch v.why = p.unusable(); {
			case v.why != "":
			case kind == layout.Database && v.file.Of == p.archive.Dir:
				v.why = whyNumbers
			default:
				v.why = p.about(v.file)
			}
			if v.why == "" && kind == layout.Text {
				v.why, v.detail = p.text(ctx, v.file)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// about says why a file about pages stays, for the sake of these pages, or "". Where
// there are none any more, the file's own age counts, and what is about the whole archive stays:
// the archive of a new list looks like that.
func (p *planner) about(f *layout.File) string {
	switch {
	case p.staying[f.Of] > 0:
		return whyPages
	case p.anyPage(f.Of):
		return ""
	case f.Of == p.archive.Dir:
		return whyPages
	}
	return young(tally{newest: f.ModTime.Unix()}, p.bounds.pages())
}

// anyPage says whether there was a page in dir, or below it.
func (p *planner) anyPage(dir string) bool {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	i, _ := slices.BinarySearchFunc(p.verdicts, prefix, func(v verdict, s string) int { return strings.Compare(v.file.Path, s) })
	for ; i < len(p.verdicts) && strings.HasPrefix(p.verdicts[i].file.Path, prefix); i++ {
		if p.verdicts[i].file.Kind == layout.Page {
			return true
		}
	}
	return false
}

// text says why a month as text stays, or "": each message in it must be in the sources, as often, and old enough.
func (p *planner) text(ctx context.Context, f *layout.File) (why, detail string) {
	file, err := layout.Open(p.root, *f)
	if err != nil {
		return whyUnread, err.Error()
	}
	defer file.Close()
	r, err := mbox.Open(file)
	if err != nil {
		return whyUnread, err.Error()
	}
	defer r.Close()
	scanner := mbox.NewScanner(r, p.gatherer.now)
	scanner.Fields = true
	seen := map[digest]int32{}
	for ctx.Err() == nil {
		m, err := scanner.Next()
		if err == io.EOF {
			return "", ""
		}
		if err != nil {
			return whyUnread, err.Error()
		}
		made := layout.Shown{ID: m.ID}
		key, t := p.evidence.prove(m.ID, made.MadeUp(), func() string { return layout.Key(m.Author, m.DateField, m.Subject) })
		if seen[key]++; seen[key] > t.count || m.Torn || t.late(f.ModTime) { // in a line of what is torn another may begin
			return whyText, fmt.Sprintf("the one at byte %d", m.Start)
		}
		if why := young(t, p.bounds.pages()); why != "" {
			return why, ""
		}
		if t.cut && young(t, p.bounds.mbox) != "" {
			return whyCut, ""
		}
	}
	return whyYoung, ""
}

// age finds the messages that are too old to be kept, and those of closed months.
func (p *plan) age(b bounds) {
	p.expired = make([][]int, len(p.evidence.sources))
	p.closed = make([]map[string][]int, len(p.evidence.sources))
	if len(p.evidence.damage) > 0 {
		return
	}
	for s := range p.evidence.sources {
		source := &p.evidence.sources[s]
		_, packs := monthsBeside(source.file.Path)
		packs = packs && source.plain && p.archive.Layout != layout.Mailman3 // an export is made anew as a whole
		for i := range source.messages {
			switch m := &source.messages[i]; {
			case p.expires(m, b.mbox):
				p.expired[s] = append(p.expired[s], i)
			case packs && m.date != noDate && !m.doubtful && m.date < monthOf(b.closed):
				p.close(s, i)
			}
		}
	}
}

// expires says whether a message is too old, and notes why one stays that would be.
func (p *plan) expires(m *message, before int64) bool {
	switch {
	case before == noDate:
		return false
	case m.date == noDate:
		p.kept["it has "+m.dating.String()]++
		return false
	case m.date >= before:
		return false
	case m.doubtful:
		p.kept[whyDoubtful]++
		return false
	}
	return true
}

// monthOf is when the month began that a moment is in: what is before is of months that had ended then.
func monthOf(moment int64) int64 {
	if moment == noDate {
		return noDate
	}
	year, month, _ := time.Unix(moment, 0).UTC().Date()
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Unix()
}

func (p *plan) close(s, i int) {
	if p.closed[s] == nil {
		p.closed[s] = map[string][]int{}
	}
	month := p.evidence.sources[s].messages[i].month()
	p.closed[s][month] = append(p.closed[s][month], i)
}
