package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
)

// lockWait is how long another program may hold a list's lock before the list is passed over. A test has less.
var lockWait = time.Minute

// looks is how often an archive is looked at to which a program writes meanwhile.
const looks = 5

// writes is how long a program may take from one part of a mail to the next. A test has more.
var writes = 100 * time.Millisecond

// archive looks at one archive, and with --apply removes what can go. The result is there as far as it got. What a
// program is writing just then may be read cut off, or grow on in the midst of a message: it is looked at again.
func (r *runner) archive(ctx context.Context, t *tree, a *layout.Archive, policy *Policy, refused error) (result *Result, err error) {
	for n := 1; ; n++ {
		result, err = r.attempt(ctx, t, a, policy, refused, n == looks)
		if n == looks || !errors.Is(err, errChanged) {
			return result, err
		}
		if err := sleep(ctx, writes); err != nil {
			return result, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// attempt is one look. The last one takes what it finds for damaged, whoever may be writing.
func (r *runner) attempt(ctx context.Context, t *tree, a *layout.Archive, policy *Policy, refused error, last bool) (*Result, error) {
	p, err := r.look(ctx, t, a, policy)
	if err == nil && !last && len(p.evidence.damage) > 0 {
		if err = sleep(ctx, writes); err == nil && p.evidence.changed(t.root) {
			err = errChanged
		}
	}
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
		if err := r.weighScrubbing(ctx, t, p, result); err != nil {
			return result, fmt.Errorf("list %q: %w", a.List, err)
		}
	}
	switch {
	case !r.o.Apply || refused != nil:
	case len(p.evidence.damage) > 0:
		err = diag.Refused.Errorf("nothing is changed, as what it has of messages is damaged: %s", p.evidence.damage[0]).
			WithHint("mend it, or take it from a backup; rp-archive-prune without --apply says all that is wrong")
	default:
		err = r.apply(ctx, t, p, policy, result)
	}
	if err != nil {
		return result, fmt.Errorf("list %q: %w", a.List, err)
	}
	return result, nil
}

// look reads an archive and makes its plan.
func (r *runner) look(ctx context.Context, t *tree, a *layout.Archive, policy *Policy) (*plan, error) {
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
		return nil, err
	}
	progress.Done()
	pages := r.env.Progress("pages")
	defer pages.Done()
	p := planner{root: t.root, gatherer: g, bounds: r.bounds(policy), progress: func(n int) { pages.Show(n, len(a.Files)) }}
	return p.decide(ctx, a, g.evidence)
}

func (r *runner) gatherer(t *tree, policy *Policy, progress func(int64)) *gatherer {
	return &gatherer{evidence: newEvidence(), root: t.root, now: r.now, received: policy.Undated == UndatedReceived, progress: progress, env: r.env}
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
	if held, err = r.lockMailman(ctx, ofMailman(a)); err != nil {
		return nil, err
	}
	if a.Layout == layout.MHonArc {
		dir, err := t.openToLock(a.Dir)
		var l *maillock.Lock
		if err == nil {
			l, err = maillock.MHonArcIn(ctx, dir, filepath.Join(t.path, a.Dir), lockWait)
		}
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
		if list := mailmansMbox(a.Files[i].Path); list != "" && a.Files[i].Kind == layout.Mbox {
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
	return source.packed() && len(p.expired[s]) == len(source.messages)
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

// lockMailman takes the lock of a list of Mailman 2, if it is one, and Mailman is here.
func (r *runner) lockMailman(ctx context.Context, list string) ([]*maillock.Lock, error) {
	if list == "" {
		return nil, nil
	}
	if here, err := r.mailmanIsHere(); !here {
		return nil, err
	}
	l, err := maillock.Mailman(ctx, r.c.MailmanLocks, list, lockWait)
	if err != nil {
		return nil, err
	}
	return []*maillock.Lock{l}, nil
}

// mailmanIsHere says whether Mailman 2 can be at work: not so if the directory of its locks is not there, unless rplan.toml names
// another than the usual one. That is then wrong.
func (r *runner) mailmanIsHere() (bool, error) {
	info, err := os.Stat(r.c.MailmanLocks)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if errors.Is(err, fs.ErrNotExist) && r.c.MailmanLocks == Defaults().MailmanLocks {
		return false, nil
	}
	if err != nil {
		return false, diag.Config.Errorf("archive.mailman-locks %q: %w", r.c.MailmanLocks, err).
			WithHint("name the directory of Mailman's locks, or leave it out where Mailman 2 does not run")
	}
	return true, nil
}
