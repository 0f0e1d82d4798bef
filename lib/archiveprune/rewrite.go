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
	"syscall"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/diag"
	"rplan/lib/maillock"
	"rplan/lib/mbox"
)

// rewriting is what happens to one archive's mboxes.
type rewriting struct {
	*runner
	tree    *tree
	run     *trash.Run
	plan    *plan
	policy  *Policy
	bounds  bounds
	result  *Result
	archive []*maillock.Lock // that are held on all of it
	held    []*maillock.Lock // and on the mbox at hand
	olds    []old
}

// all cuts messages that are too old out of mboxes, takes addresses out of headers, and
// has closed months compressed; then it says where the messages of old links are now.
func (w *rewriting) all(ctx context.Context) error {
	changed := false
	for _, plain := range []bool{false, true} { // months first: an interrupted run may have left in one what still is in the mbox
		for s := range w.plan.evidence.sources {
			if w.plan.evidence.sources[s].plain != plain {
				continue
			}
			did, err := w.source(ctx, s)
			if err != nil {
				return errors.Join(err, w.late(ctx))
			}
			changed = changed || did
		}
	}
	if err := w.late(ctx); err != nil {
		return err
	}
	if !changed {
		return nil
	}
	return w.follow(ctx, w.tree, w.plan.archive.List, w.plan.evidence.places())
}

// source rewrites one mbox, if there is anything to do.
func (w *rewriting) source(ctx context.Context, s int) (changed bool, err error) {
	source := &w.plan.evidence.sources[s]
	switch {
	case source.file.Kind == layout.Message && len(w.plan.expired[s]) == 0 && w.c.ScrubAddresses:
		return w.scrubMessage(ctx, source)
	case source.file.Kind == layout.Message, w.plan.allExpired(s):
		return len(w.plan.expired[s]) > 0, nil
	}
	months := w.plan.closed[s]
	if len(w.plan.expired[s]) == 0 && len(months) == 0 && !w.c.ScrubAddresses {
		return false, nil
	}
	if changed, err = w.packMbox(ctx, s); err != nil {
		return changed, err
	}
	cut, err := w.cutMbox(ctx, source.file)
	return changed || cut, err
}

// cutMbox has what is too old cut out, and addresses taken out.
func (w *rewriting) cutMbox(ctx context.Context, f *layout.File) (changed bool, err error) {
	return w.with(ctx, w.listedNow(f), func(file *os.File, p *plan) (bool, error) {
		return w.cut(file, p)
	})
}

// with calls f for an mbox that was locked, and read again: other programs may have added to it since.
func (w *rewriting) with(ctx context.Context, f *layout.File, do func(*os.File, *plan) (bool, error)) (changed bool, err error) {
	if w.held, err = w.tree.lockMbox(ctx, f.Path); err != nil {
		return false, err
	}
	defer func() { release(w.held) }()
	file, e, err := w.again(ctx, f)
	if err != nil {
		return false, err
	}
	defer file.Close()
	p := &plan{archive: w.plan.archive, evidence: e, kept: map[string]int{}}
	p.age(w.bounds)
	return do(file, p)
}

// again lists and reads an mbox anew, now that nobody writes to it.
func (w *rewriting) again(ctx context.Context, f *layout.File) (*os.File, *evidence, error) {
	file, err := layout.Open(w.tree.root, *f)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	now := *f
	now.Size, now.ModTime = info.Size(), info.ModTime()
	g := w.gatherer(w.tree, w.policy, func(int64) {})
	if err := g.source(ctx, &now); err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("%q: %w", f.Path, err)
	}
	return file, g.evidence, nil
}

// listedNow is a file as it is at its path now.
func (w *rewriting) listedNow(f *layout.File) *layout.File {
	now := *f
	if info, err := w.tree.root.Lstat(f.Path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			now.Size, now.ModTime, now.Inode = info.Size(), info.ModTime(), st.Ino
		}
	}
	return &now
}

// fresh is the name of a file that is to take another's place.
func fresh(p string) string { return path.Join(path.Dir(p), newPrefix+path.Base(p)) }

const newPrefix = ".rplan-new-"

// cut takes messages out of an mbox, and addresses out of its headers if that is asked for. The old file goes to the trash.
func (w *rewriting) cut(file *os.File, p *plan) (changed bool, err error) {
	expired, s := p.expired[0], &p.evidence.sources[0]
	if len(expired) == 0 && !w.c.ScrubAddresses {
		return false, nil
	}
	if len(expired) == 0 { // is there anything to scrub?
		found, err := addresses(w.tree, s, nil)
		if err != nil || found.Addresses == 0 {
			w.result.scrubs(s, found)
			return false, err
		}
	}
	by := fresh(s.file.Path)
	_ = w.tree.root.Remove(by) // of a run that was killed
	out, err := w.tree.root.OpenFile(by, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, diag.CantCreate.Errorf("cannot write beside %q: %w", s.file.Path, errors.Unwrap(err))
	}
	defer w.tree.root.Remove(by)
	defer out.Close()
	if err := reading(w.tree, s, func(src io.ReaderAt) error { return w.write(out, src, s, expired) }); err != nil {
		return false, err
	}
	if err := w.run.Replace(*s.file, by, w.check); err != nil {
		return false, err
	}
	if info, err := out.Stat(); err == nil {
		w.result.Freed += s.file.Size - info.Size()
	}
	if info, err := file.Stat(); s.plain && err == nil { // Replace has brought over what came until now
		return true, w.replaced(file, s.file.Path, info.Size())
	}
	return true, nil
}

// write writes what stays of a source, in the form that it has.
func (w *rewriting) write(out *os.File, src io.ReaderAt, s *source, expired []int) error {
	to := io.WriteCloser(out)
	if s.packed() {
		packed, err := mbox.Compress(out, s.format())
		if err != nil {
			return err
		}
		to = packed
	}
	err := error(nil)
	if w.c.ScrubAddresses {
		var done mbox.Scrubbing
		done, err = mbox.ScrubFile(to, src, s.size(), s.ranges(expired), s.headers())
		if err == nil {
			w.result.scrubs(s, done)
		}
	} else {
		err = mbox.Cut(to, src, s.size(), s.ranges(expired))
	}
	if s.packed() {
		err = errors.Join(err, to.Close())
	}
	return noRoom(s, err)
}

// noRoom says what to do about a full disk.
func noRoom(s *source, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return diag.CantCreate.Errorf("cannot write beside %q: %w", s.file.Path, err).WithHint("make room on its file system; the old file is as it was")
	}
	return err
}

// openToLock opens a directory that a lock is to be in, which no symlink leads out of the tree.
func (t *tree) openToLock(p string) (*os.File, error) {
	dir, err := t.root.Open(p)
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot take the lock in %q: %w", filepath.Join(t.path, p), err)
	}
	return dir, nil
}

// lockMbox takes the locks of an mbox that other programs may write to.
func (t *tree) lockMbox(ctx context.Context, p string) ([]*maillock.Lock, error) {
	full := filepath.Join(t.path, p)
	dir, err := t.openToLock(filepath.Dir(p))
	if err != nil {
		return nil, err
	}
	dot, err := maillock.DotlockIn(ctx, dir, full, lockWait)
	if err != nil {
		return nil, err
	}
	record, err := maillock.Fcntl(ctx, full, lockWait)
	if err != nil {
		dot.Release()
		return nil, err
	}
	return []*maillock.Lock{dot, record}, nil
}

// check makes sure that all locks are still held, those of the archive included: who was stopped for long may have lost them.
func (w *rewriting) check() error {
	for _, l := range slices.Concat(w.archive, w.held) {
		if err := l.Check(); err != nil {
			return err
		}
	}
	return nil
}

func release(locks []*maillock.Lock) {
	for _, l := range slices.Backward(locks) {
		l.Release()
	}
}
