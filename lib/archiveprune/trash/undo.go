package trash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
	mail "rplan/lib/mbox"
)

// Undone is a run of which what was in the trash went back.
type Undone struct {
	Info
	Files, Bytes int64 // brought back
	Stayed       Notes // what is still in the trash, or could be brought back in part only
}

// Undo brings back what the wanted runs have in the trash, the newest run first. It
// never puts anything over what is there now: that stays in the trash, and is named.
// A replaced file comes back with what was added to its replacement since; it is
// refused if that was changed otherwise. Hold is called for each.
func (t *Tree) Undo(ctx context.Context, want func(Info) bool) ([]Undone, error) {
	if err := t.locked(); err != nil {
		return nil, err
	}
	runs, _, err := t.Runs(0)
	if err != nil {
		return nil, err
	}
	slices.Reverse(runs)
	all, err := t.undoAll(ctx, runs, want)
	if late := t.late(context.WithoutCancel(ctx)); late != nil {
		err = errors.Join(err, late)
	}
	return all, err
}

func (t *Tree) undoAll(ctx context.Context, runs []Info, want func(Info) bool) (all []Undone, err error) {
	for _, i := range runs {
		if !want(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return all, context.Cause(ctx)
		}
		u, err := t.undo(ctx, i)
		all = append(all, u)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// gone is a file whose place an undo gave to another. If this process is killed, what is added to it late is lost.
type gone struct {
	path string
	file *os.File
	from int64 // until where its bytes are in the other
}

// late brings over what was added to files that are none any more.
func (t *Tree) late(ctx context.Context) (err error) {
	if len(t.gone) > 0 && t.Hold != nil { // else nobody waits
		time.Sleep(t.Settle)
	}
	for _, g := range t.gone {
		if failed := t.lateFor(ctx, g); failed != nil {
			err = errors.Join(err, fmt.Errorf("what was added to %q while it was undone: %w", t.name(g.path), failed))
		}
		g.file.Close()
	}
	t.gone = nil
	return err
}

func (t *Tree) lateFor(ctx context.Context, g gone) error {
	release, err := t.hold(ctx, g.path, g.file)
	if err != nil {
		return err
	}
	defer release()
	live, err := openAt(t.root, g.path, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer live.Close()
	_, err = mail.Late(live, g.file, g.from)
	return err
}

func (t *Tree) undo(ctx context.Context, i Info) (u Undone, err error) {
	u.Info = i
	run, err := openDir(t.trash, i.Run)
	if err != nil {
		return u, diag.Failed.Errorf("cannot open run %q in %q: %w", i.Run, t.trash.Name(), err)
	}
	defer run.Close()
	j, err := openJournal(run)
	if err != nil {
		return u, t.cannotWrite(i.Run, err)
	}
	defer j.Close()
	if err := note(j, record{verb: "undo"}); err != nil {
		return u, err
	}
	if i.State == Emptying {
		u.Stayed.add(".", "some of run "+i.Run+" may be deleted for good: it was being emptied")
	}
	if err := t.unreplace(ctx, run, j, &u.Stayed); err != nil {
		return u, err
	}
	if files, err := openDir(run, filesDir); err == nil {
		merge(ctx, pair{files, t.root}, ".", &u.Stayed)
		files.Close()
	}
	if ctx.Err() != nil {
		return u, context.Cause(ctx)
	}
	left := remaining(run)
	u.Files, u.Bytes = i.Files-left.files, i.Bytes-left.bytes
	if t.forget(i.Run) {
		return u, nil
	}
	return u, note(j, record{verb: "ended", files: left.files, bytes: left.bytes})
}

// remaining counts what a run still has.
func remaining(run *os.File) (all count) {
	for _, name := range []string{filesDir, oldDir, siftDir} { // and second names are no files
		all.tally(run, name)
	}
	return all
}

// tally adds what is in a directory and below.
func (c *count) tally(in *os.File, name string) {
	d, err := openDir(in, name)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		st, err := lstat(d, n)
		switch {
		case err != nil:
		case isDirectory(&st):
			c.tally(d, n)
		default:
			c.add(st.Size)
		}
	}
}
