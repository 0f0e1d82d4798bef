package trash

import (
	"context"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// Emptied is a run whose files were deleted for good.
type Emptied struct {
	Info
	Files, Bytes int64 // deleted
	Stayed       Notes // what is in the trash and was not listed as it is: somebody has to look
}

// Empty deletes for good what those of the wanted runs have in the trash that began before a time.
// Progress, which may be nil, hears how much is deleted. When ctx ends it stops, and
// the next Empty goes on. It needs no more memory for a million files than for one.
func (t *Tree) Empty(ctx context.Context, before time.Time, want func(Info) bool, progress func(files, bytes int64)) ([]Emptied, error) {
	if err := t.locked(); err != nil {
		return nil, err
	}
	runs, _, err := t.Runs(0)
	if err != nil {
		return nil, err
	}
	var all []Emptied
	for _, i := range runs {
		if !i.When.Before(before) || !want(i) || i.State == Moving { // one that cannot be mended
			continue
		}
		if err := ctx.Err(); err != nil {
			return all, context.Cause(ctx)
		}
		e := &emptying{Emptied: Emptied{Info: i}, t: t, progress: progress}
		err := e.run(ctx)
		all = append(all, e.Emptied)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// emptying is a run that is being deleted.
type emptying struct {
	Emptied
	t        *Tree
	progress func(files, bytes int64)
	files    near
}

func (e *emptying) run(ctx context.Context) error {
	run, err := openDir(e.t.trash, e.Run)
	if err != nil {
		return diag.Failed.Errorf("cannot open run %q in %q: %w", e.Run, e.t.trash.Name(), err)
	}
	defer run.Close()
	j, err := openJournal(run)
	if err != nil {
		return e.t.cannotWrite(e.Run, err)
	}
	defer j.Close()
	if err := note(j, record{verb: "empty"}); err != nil {
		return err
	}
	err = e.listed(ctx, run)
	if diag.KindOf(err) == diag.BadData {
		e.Stayed.add(".", err.Error()) // and goes on to say what is there
	} else if err != nil {
		return err
	}
	for _, name := range []string{filesDir, oldDir, siftDir, againDir} {
		if d, err := openDir(run, name); err == nil {
			e.rest(d, "")
			d.Close()
		}
	}
	if e.t.forget(e.Run) {
		return nil
	}
	left := remaining(run)
	return note(j, record{verb: "ended", files: left.files, bytes: left.bytes})
}

// listed deletes what the journal lists.
func (e *emptying) listed(ctx context.Context, run *os.File) error {
	files, err := openDir(run, filesDir)
	if err == nil {
		defer files.Close()
		e.files.root = files
		defer e.files.close()
	}
	old := map[string]identity{}
	n := 0
	err = readJournal(run, true, func(r record) error {
		switch r.verb {
		case "file", "link":
			if files != nil {
				if d, err := e.files.open(path.Dir(r.path)); err == nil {
					e.delete(d, path.Base(r.path), r.identity)
				}
			}
		case "replace", "copy", "grown":
			old[r.path] = r.identity
		}
		if n++; n%every == 0 {
			if e.progress != nil {
				e.progress(e.Files, e.Bytes)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for p, id := range old {
		if onlyOnce(run, p) != nil {
			continue
		}
		if d, name, err := openParent(run, path.Join(oldDir, p)); err == nil {
			e.delete(d, name, id)
			d.Close()
		}
	}
	if e.progress != nil {
		e.progress(e.Files, e.Bytes)
	}
	return nil
}

// delete deletes a file for good, if it is this one. If it is not, or cannot be, rest names it.
func (e *emptying) delete(dir *os.File, name string, id identity) {
	st, err := lstat(dir, name)
	if err != nil || id.differs(&st) != "" {
		return
	}
	if unix.Unlinkat(int(dir.Fd()), name, 0) == nil {
		e.Files++
		e.Bytes += st.Size
	}
}

// rest removes the empty directories in d, which stands for p, and names all else.
func (e *emptying) rest(d *os.File, p string) {
	names, err := d.Readdirnames(-1)
	if err != nil {
		e.Stayed.add(p, why(err))
	}
	for _, name := range names {
		at := path.Join(p, name)
		if unix.Unlinkat(int(d.Fd()), name, unix.AT_REMOVEDIR) == nil {
			continue
		}
		sub, err := openDir(d, name)
		switch err {
		case nil:
			e.rest(sub, at)
			sub.Close()
			_ = unix.Unlinkat(int(d.Fd()), name, unix.AT_REMOVEDIR)
		case unix.ENOENT:
		case unix.ENOTDIR, unix.ELOOP:
			e.Stayed.add(at, "is in the trash, and was not listed as it is")
		default:
			e.Stayed.add(at, why(err))
		}
	}
}
