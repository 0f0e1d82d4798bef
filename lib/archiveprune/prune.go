package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/links"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/diag"
	"rplan/lib/maillock"
	"rplan/lib/mbox"
)

// lockWait is how long another program may hold a list's lock before the list is passed over.
const lockWait = time.Minute

// archive looks at one archive, and with --apply removes what can go. The result is there as far as it got.
func (r *runner) archive(ctx context.Context, t *tree, a *layout.Archive, policy *Policy, refused error) (*Result, error) {
	e, p, err := r.look(ctx, t, a, policy)
	if err != nil {
		return newResult(t.path, a), fmt.Errorf("list %q: %w", a.List, err)
	}
	result := p.result(t.path)
	doubt := r.clock(t, p)
	switch {
	case refused == nil && doubt != nil && r.o.Apply:
		t.doubt = true
		return result, doubt
	case refused == nil && doubt != nil:
		result.Notes = append(result.Notes, "--apply would refuse: "+doubt.Error())
	}
	switch {
	case refused != nil && (r.o.Apply || !errors.Is(refused, ErrUnlisted)):
		return result, refused
	case refused != nil:
		result.Notes = append(result.Notes, "the directory has no such list: --apply changes nothing of it")
	case r.c.ScrubAddresses && !r.o.Apply:
		if err := r.weighScrubbing(ctx, t, e, result); err != nil {
			return result, fmt.Errorf("list %q: %w", a.List, err)
		}
	}
	if r.o.Apply && refused == nil {
		err = r.apply(ctx, t, p, policy, result)
	}
	if err != nil {
		return result, fmt.Errorf("list %q: %w", a.List, err)
	}
	return result, nil
}

// look reads an archive and makes its plan.
func (r *runner) look(ctx context.Context, t *tree, a *layout.Archive, policy *Policy) (*evidence, *plan, error) {
	progress := r.env.Progress("MB of messages")
	defer progress.Done()
	total := int64(0)
	for i := range a.Files {
		if isSource(&a.Files[i]) {
			total += a.Files[i].Size
		}
	}
	g := r.gatherer(t, policy, func(at int64) { progress.Show(int(at>>20), int(total>>20)) })
	if err := g.read(ctx, a); err != nil {
		return nil, nil, err
	}
	progress.Done()
	pages := r.env.Progress("pages")
	defer pages.Done()
	p := planner{root: t.root, gatherer: g, bounds: r.bounds(policy), progress: func(n int) { pages.Show(n, len(a.Files)) }}
	plan, err := p.decide(ctx, a, g.evidence)
	return g.evidence, plan, err
}

func (r *runner) gatherer(t *tree, policy *Policy, progress func(int64)) *gatherer {
	return &gatherer{evidence: newEvidence(), root: t.root, now: r.now, received: policy.Undated == UndatedReceived, progress: progress}
}

// bounds are the moments that a policy means today.
func (r *runner) bounds(policy *Policy) bounds {
	b := bounds{html: r.moment(policy.KeepHTML), mbox: r.moment(policy.KeepMbox), closed: noDate}
	if r.c.Compress != NoCompression {
		b.closed = r.moment(r.c.CompressAfter)
	}
	return b
}

func (r *runner) moment(k Keep) int64 {
	if before, any := k.Before(r.now); any {
		return before.Unix()
	}
	return noDate
}

func isSource(f *layout.File) bool { return f.Kind == layout.Mbox || f.Kind == layout.Message }

// apply does what the plan says: links first, so that no page is gone before its link is known, then
// pages, and then messages, under the lock of who else writes to the archive.
func (r *runner) apply(ctx context.Context, t *tree, p *plan, policy *Policy, result *Result) error {
	locks, err := r.lockArchive(ctx, t, p.archive)
	if err != nil {
		return err
	}
	defer release(locks)
	what := p.trashPlan()
	if slices.ContainsFunc(p.verdicts, func(v verdict) bool { return v.goes() }) {
		if err := p.evidence.stillThere(t.root); err != nil {
			return err
		}
	}
	if err := links.Add(t.root, p.links(public(t.root, p.archive.Dir))); err != nil {
		return err
	}
	run, err := t.trash.Begin(ctx, r.now, what)
	if err != nil {
		return err
	}
	progress := r.env.Progress("files")
	moved, err := run.Move(ctx, func(files, _ int64) { progress.Show(int(files), len(what.Files)) })
	progress.Done()
	result.Freed = moved.Bytes
	r.stayed(moved.Stayed)
	n := moved.Stayed.Len()
	if err == nil && n == 0 { // no message goes before its page
		w := &rewriting{runner: r, tree: t, run: run, plan: p, policy: policy, bounds: r.bounds(policy), result: result, archive: locks}
		err = w.all(ctx)
	}
	if failed := run.End(); err == nil {
		err = failed
	}
	if err == nil && n > 0 {
		err = diag.Partial.Errorf("%s stayed that should have gone", count(n, "file or directory", "files or directories")).
			WithHint("it changed meanwhile: the next run looks at it anew")
	}
	result.Done = err == nil
	return err
}

// lockArchive takes the locks of the programs that add to the archive, where they have one for all of it.
func (r *runner) lockArchive(ctx context.Context, t *tree, a *layout.Archive) (held []*maillock.Lock, err error) {
	if list := ofMailman(a); list != "" && isDir(r.c.MailmanLocks) { // else Mailman 2 is not here, and cannot be at work
		l, err := maillock.Mailman(ctx, r.c.MailmanLocks, list, lockWait)
		if err != nil {
			return nil, err
		}
		held = append(held, l)
	}
	if a.Layout == layout.MHonArc {
		l, err := maillock.MHonArc(ctx, filepath.Join(t.path, a.Dir), lockWait)
		if err != nil {
			release(held)
			return nil, err
		}
		held = append(held, l)
	}
	return held, nil
}

// ofMailman is the list of Mailman 2 that an archive is of, or "": it adds to LIST.mbox/LIST.mbox, whatever made the pages.
func ofMailman(a *layout.Archive) string {
	for i := range a.Files {
		dir, name := path.Split(a.Files[i].Path)
		if list, ok := strings.CutSuffix(name, ".mbox"); ok && a.Files[i].Kind == layout.Mbox && path.Base(dir) == name {
			return list
		}
	}
	if a.Layout == layout.Pipermail {
		return a.List
	}
	return ""
}

// trashPlan is what goes: pages and what is about them, and files of one message that is too old.
func (p *plan) trashPlan() trash.Plan {
	goes := map[*layout.File]bool{}
	for i := range p.verdicts {
		if p.verdicts[i].goes() {
			goes[p.verdicts[i].file] = true
		}
	}
	for s, numbers := range p.expired {
		if source := &p.evidence.sources[s]; len(numbers) > 0 && (source.file.Kind == layout.Message || p.allExpired(s)) {
			goes[source.file] = true
		}
	}
	return units(p.archive, func(f *layout.File) bool { return goes[f] })
}

// allExpired says of a compressed mbox whether it can go as a whole. The one that is written to stays, if empty.
func (p *plan) allExpired(s int) bool {
	source := &p.evidence.sources[s]
	return !source.plain && len(p.expired[s]) == len(source.messages)
}

// links are those of the pages that go, and of what leads to them. Where not everybody may read the pages
// they name no Message-ID: the map that is made of them can be read by all of this machine.
func (p *plan) links(public bool) []links.Link {
	var all []links.Link
	for i := range p.verdicts {
		v := &p.verdicts[i]
		if !v.goes() || v.file.Kind == layout.Attachment || v.file.Kind == layout.Database {
			continue
		}
		l := links.Link{Page: v.file.Path, List: p.archive.List}
		if v.file.Kind == layout.Page {
			l.Mbox, l.Offset = p.evidence.sources[v.at.source].file.Path, v.at.offset
			if public {
				l.ID = v.id
			}
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b links.Link) int { return strings.Compare(a.Page, b.Page) })
	return all
}

// public says whether everybody may enter a directory of the tree, its top aside.
func public(root *os.Root, dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if info, err := root.Lstat(dir); err != nil || info.Mode()&0o001 == 0 {
			return false
		}
	}
	return true
}

// weighScrubbing counts the addresses that --scrub-addresses would take out.
func (r *runner) weighScrubbing(ctx context.Context, t *tree, e *evidence, result *Result) error {
	for s := range e.sources {
		source := &e.sources[s]
		if source.file.Kind != layout.Mbox || ctx.Err() != nil {
			continue
		}
		file, err := layout.Open(t.root, *source.file)
		if err != nil {
			return err
		}
		in, err := unpacked(t, file, source)
		if err != nil {
			return err
		}
		found, err := mbox.ScrubFile(io.Discard, in, source.size(), nil, source.headers())
		in.Close()
		if err != nil {
			return err
		}
		result.Scrubbed.Addresses += int(found.Addresses)
		result.Scrubbed.Messages += int(found.Messages)
	}
	return ctx.Err()
}

// isDir says whether there is a directory at an absolute path.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
