package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/links"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/atomicfile"
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

// old is an mbox that another file took the place of. Who had opened it before may still add to it.
type old struct {
	file *os.File
	path string
	from int64 // bytes of it that the other file goes back to
}

// settling is how long who had opened an mbox gets to write to it once the locks are free. Tests have less.
var settling = time.Second

// all cuts messages that are too old out of mboxes, takes addresses out of headers, and
// has closed months compressed; then it says where the messages of old links are now.
func (w *rewriting) all(ctx context.Context) error {
	changed := false
	for s := range w.plan.evidence.sources {
		did, err := w.source(ctx, s)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if err := w.late(ctx); err != nil {
		return err
	}
	if !changed {
		return nil
	}
	return w.follow(ctx)
}

// source rewrites one mbox, if there is anything to do.
func (w *rewriting) source(ctx context.Context, s int) (changed bool, err error) {
	source := &w.plan.evidence.sources[s]
	if source.file.Kind != layout.Mbox || w.plan.allExpired(s) {
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

// packMbox has closed months compressed, if there are any.
func (w *rewriting) packMbox(ctx context.Context, s int) (changed bool, err error) {
	if len(w.plan.closed[s]) == 0 {
		return false, nil
	}
	return w.with(ctx, w.plan.evidence.sources[s].file, func(file *os.File, p *plan) (bool, error) {
		return w.pack(file, p)
	})
}

// cutMbox has what is too old cut out, and addresses taken out.
func (w *rewriting) cutMbox(ctx context.Context, f *layout.File) (changed bool, err error) {
	return w.with(ctx, w.listedNow(f), func(file *os.File, p *plan) (bool, error) {
		return w.cut(file, p)
	})
}

// with calls f for an mbox that was locked, and read again: other programs may have added to it since.
func (w *rewriting) with(ctx context.Context, f *layout.File, do func(*os.File, *plan) (bool, error)) (changed bool, err error) {
	if w.held, err = w.lockMbox(ctx, f.Path); err != nil {
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

// ranges are those of some messages.
func (s *source) ranges(numbers []int) []mbox.Range {
	all := make([]mbox.Range, len(numbers))
	for i, n := range numbers {
		all[i] = s.messages[n].Range
	}
	return all
}

// size is that of all messages of a source, decompressed.
func (s *source) size() int64 {
	if len(s.messages) == 0 {
		return 0
	}
	return s.messages[len(s.messages)-1].End
}

// pack moves closed months out of an mbox, each into its own file beside it. First they are there, and then
// they are taken out: who is killed in between finds them there already.
func (w *rewriting) pack(file *os.File, p *plan) (changed bool, err error) {
	months, s := p.closed[0], &p.evidence.sources[0]
	if len(months) == 0 {
		return false, nil
	}
	format := mbox.Format(w.c.Compress)
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	files, all := map[string][]mbox.Range{}, []int{}
	for month, numbers := range months {
		files[month+".mbox"+format.Ext()] = s.ranges(numbers)
		all = append(all, numbers...)
	}
	slices.Sort(all)
	dir, err := w.tree.root.OpenRoot(path.Dir(s.file.Path))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	done, err := mbox.PackAll(dir, files, info.Mode().Perm(), format, file)
	if err != nil {
		return false, err
	}
	for _, d := range done {
		w.result.Freed += d.Bytes - (d.After - d.Before)
	}
	out, err := atomicfile.CreateIn(dir, path.Base(s.file.Path), info.Mode().Perm())
	if err != nil {
		return false, err
	}
	defer out.Abort()
	if err := mbox.Cut(out, file, s.size(), s.ranges(all)); err != nil {
		return false, err
	}
	if err := w.check(); err != nil {
		return false, err
	}
	if err := out.Commit(); err != nil {
		return false, err
	}
	return true, w.replaced(file, s.file.Path, s.file.Size)
}

// replaced remembers that an mbox has another inode now.
func (w *rewriting) replaced(file *os.File, path string, from int64) error {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	w.olds = append(w.olds, old{os.NewFile(uintptr(fd), file.Name()), path, from})
	return nil
}

// late brings over what was added to mboxes that are none any more, by who waited for their locks.
func (w *rewriting) late(ctx context.Context) error {
	if len(w.olds) == 0 {
		return nil
	}
	select {
	case <-time.After(settling):
	case <-ctx.Done(): // it is all the more important then
	}
	var errs []error
	for _, o := range w.olds {
		errs = append(errs, w.lateFor(context.WithoutCancel(ctx), o))
		o.file.Close()
	}
	return errors.Join(errs...)
}

func (w *rewriting) lateFor(ctx context.Context, o old) error {
	locks, err := w.lockMbox(ctx, o.path)
	if err != nil {
		return err
	}
	defer release(locks)
	live, err := w.tree.root.OpenFile(o.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer live.Close()
	lock, err := maillock.FcntlReplaced(ctx, o.file, lockWait)
	if err != nil {
		return err
	}
	defer lock.Release()
	_, err = mbox.Late(live, lock.File(), o.from)
	return err
}

// fresh is the name of a file that is to take another's place.
func fresh(p string) string { return path.Join(path.Dir(p), ".rplan-new-"+path.Base(p)) }

// cut takes messages out of an mbox, and addresses out of its headers if that is asked for. The old file goes to the trash.
func (w *rewriting) cut(file *os.File, p *plan) (changed bool, err error) {
	expired, s := p.expired[0], &p.evidence.sources[0]
	if len(expired) == 0 && !w.c.ScrubAddresses {
		return false, nil
	}
	src, err := unpacked(w.tree, file, s)
	if err != nil {
		return false, err
	}
	defer src.Close()
	if len(expired) == 0 { // is there anything to scrub?
		found, err := mbox.ScrubFile(io.Discard, src, s.size(), nil, s.headers())
		if err != nil || found.Addresses == 0 {
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
	if err := w.write(out, src, s, expired); err != nil {
		return false, err
	}
	if err := w.check(); err != nil {
		return false, err
	}
	if err := w.run.Replace(*s.file, by); err != nil {
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
	if !s.plain {
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
		w.result.Scrubbed.Addresses += int(done.Addresses)
		w.result.Scrubbed.Messages += int(done.Messages)
	} else {
		err = mbox.Cut(to, src, s.size(), s.ranges(expired))
	}
	if !s.plain {
		err = errors.Join(err, to.Close())
	}
	if errors.Is(err, syscall.ENOSPC) {
		return diag.CantCreate.Errorf("cannot write beside %q: %w", s.file.Path, err).WithHint("make room on its file system; the old file is as it was")
	}
	return err
}

// format is how a source that is not plain is compressed.
func (s *source) format() mbox.Format {
	if path.Ext(s.file.Path) == ".gz" {
		return mbox.Gzip
	}
	return mbox.Zstd
}

// headers are the messages, each with the offset of its body.
func (s *source) headers() iter.Seq2[mbox.Range, int64] {
	return func(yield func(mbox.Range, int64) bool) {
		for _, m := range s.messages {
			if !yield(m.Range, m.body) {
				return
			}
		}
	}
}

// unpacked is a source that can be read at any place: what is compressed is unpacked into a file without a
// name. It takes over the file.
func unpacked(t *tree, file *os.File, s *source) (*os.File, error) {
	if s.plain {
		return file, nil
	}
	r, err := mbox.Open(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	temp, err := t.root.OpenFile(path.Dir(s.file.Path), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot unpack %q: %w", s.file.Path, errors.Unwrap(err))
	}
	if _, err := io.Copy(temp, r); err != nil {
		temp.Close()
		return nil, diag.CantCreate.Errorf("cannot unpack %q: %w", s.file.Path, err)
	}
	return temp, nil
}

// lockMbox takes the locks of an mbox that other programs may write to.
func (w *rewriting) lockMbox(ctx context.Context, p string) ([]*maillock.Lock, error) {
	full := filepath.Join(w.tree.path, p)
	dot, err := maillock.Dotlock(ctx, full, lockWait)
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
