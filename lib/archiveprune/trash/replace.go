package trash

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// Replace puts the file at by, a path in the same directory, in the place of old, which is as it was listed, and keeps
// old in the trash. By takes over owner and mode. It calls for the locks of who else writes to old; check, which may be
// nil, is asked at the last moment whether they are still held. Whoever writes to old meanwhile without them is not lost
// either: what comes after old's size is added to the new file.
//
// Who waits for these locks may have opened old before. Postfix 3.7 sends a message back for good if the file has two
// names when it opens it, and when it has the lock, adds to it if it has one name, and tries again later if it has none
// or two. So old has one name as long as it can be opened, goes into the trash by changing places with its successor
// (renameat2(2), RENAME_EXCHANGE), and there gets a second name before Replace returns, for the time until it is undone
// or emptied. What others add to it still, Late brings over.
//
// Where files cannot change places, as on NFS, the trash gets a copy, which takes time and room, and old has no name
// any more. What is added to it then is lost if this process ends before it called Late.
//
// After an error old is at its place as it was, and by too or gone, unless the error says otherwise.
func (r *Run) Replace(old layout.File, by string, check func() error) error {
	if !local(old.Path) || !local(by) || path.Dir(by) != path.Dir(old.Path) || by == old.Path {
		return diag.Refused.Errorf("%q cannot take the place of %q", by, old.Path)
	}
	dir, name, err := openParent(r.t.root, old.Path)
	if err != nil {
		return r.cannotReplace(old.Path, err)
	}
	x := &replacing{Run: r, listed: old, check: check, dir: dir, name: name, by: path.Base(by)}
	defer x.close()
	if x.fresh, err = openAt(dir, x.by, unix.O_RDWR|unix.O_APPEND, 0); err != nil {
		return r.cannotReplace(old.Path, errors.New(by+" "+why(err)))
	}
	st, err := x.unchanged()
	if err != nil {
		return err
	}
	if x.become, err = prepare(x.fresh, &st); err != nil {
		return r.cannotReplace(old.Path, err)
	}
	if err := note(r.journal, record{verb: "replace", identity: listedAs(&old), new: x.become, path: old.Path}); err != nil {
		return err
	}
	if err = x.places(); err == nil {
		err = x.exchange()
	}
	if err == errNoExchange {
		err = x.copy()
	}
	if err != nil && diag.KindOf(err) == diag.Failed {
		return r.cannotReplace(old.Path, err)
	} else if err != nil {
		return err
	}
	r.moved.add(old.Size)
	called(r.replaced)
	return x.finish()
}

// replacing is a Replace under way.
type replacing struct {
	*Run
	listed layout.File
	check  func() error
	become content

	dir        *os.File // where both are
	name, by   string
	olds       *os.File // where the old one goes
	again      *os.File // and has its second name
	fresh, old *os.File
}

func (x *replacing) close() {
	for _, f := range []*os.File{x.dir, x.olds, x.again, x.fresh, x.old} {
		if f != nil {
			f.Close()
		}
	}
}

// unchanged looks whether the old one is still as it was listed.
func (x *replacing) unchanged() (unix.Stat_t, error) {
	st, err := lstat(x.dir, x.name)
	if err != nil {
		return st, x.cannotReplace(x.listed.Path, err)
	}
	if diff := listedAs(&x.listed).differs(&st); diff != "" {
		return st, x.changed(diff)
	}
	return st, nil
}

func (x *replacing) changed(diff string) error {
	return diag.TryAgain.Errorf("cannot replace %q: it %s", x.t.name(x.listed.Path), diff).WithHint("run the command again")
}

// places makes the directories in which the old one is to have its names.
func (x *replacing) places() (err error) {
	for name, d := range map[string]**os.File{oldDir: &x.olds, againDir: &x.again} {
		if err := unix.Mkdirat(int(x.Run.dir.Fd()), name, 0o700); err != nil && err != unix.EEXIST {
			return err
		}
		top, err := openDir(x.Run.dir, name)
		if err != nil {
			return err
		}
		*d, err = twin(x.t.root, top, path.Dir(x.listed.Path))
		if err = errors.Join(err, cause(top.Sync()), top.Close()); err != nil {
			return err
		}
	}
	return cause(x.Run.dir.Sync())
}

var errNoExchange = errors.New("files cannot change places here")

// exchange moves the new one to where the old one is to go, and has them change places.
func (x *replacing) exchange() error {
	err := moveTo(x.dir, x.by, x.olds, x.name)
	if err == nil {
		err = x.ready()
	}
	if err == nil {
		err = x.swap()
	}
	if err == nil {
		if err = x.second(); err == nil {
			return nil
		}
		if failed := x.swapBack(); failed != nil {
			x.moved.add(x.listed.Size)
			return diag.CantCreate.Errorf("%w; %q was replaced all the same, and is in run %q: %w", err, x.t.name(x.listed.Path), x.id, failed)
		}
	}
	if same(x.fresh, x.olds, x.name) && moveTo(x.olds, x.name, x.dir, x.by) != nil {
		_ = unix.Unlinkat(int(x.olds.Fd()), x.name, 0) // or an undo would take it for the old one
	}
	return err
}

// ready is asked immediately before another file is at the place.
func (x *replacing) ready() error {
	if _, err := x.unchanged(); err != nil || x.check == nil {
		return err
	}
	return x.check()
}

func (x *replacing) swap() error {
	err := unix.Renameat2(int(x.olds.Fd()), x.name, int(x.dir.Fd()), x.name, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP {
		return errNoExchange
	}
	return err
}

// second makes sure that what is in the trash now is the old one, and gives it its second name.
func (x *replacing) second() error {
	old, st, err := openFile(x.olds, x.name)
	if err != nil {
		return x.changed(why(err))
	}
	x.old = old
	if diff := listedAs(&x.listed).differs(&st); diff != "" && (st.Ino != x.listed.Inode || st.Size <= x.listed.Size) {
		return x.changed(diff)
	}
	return unix.Linkat(int(x.olds.Fd()), x.name, int(x.again.Fd()), x.name, 0)
}

// swapBack has the old one at its place again, with what was added to the new one at that moment.
func (x *replacing) swapBack() error {
	if err := x.swap(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(x.fresh.Fd()), &st); err != nil || st.Size <= x.become.size {
		return err
	}
	old, err := openAt(x.dir, x.name, unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	_, err = catchUp(x.fresh, x.become.size, old)
	return err
}

// copy puts a copy of the old one into the trash, and the new one over the old one.
func (x *replacing) copy() (err error) {
	if x.old, _, err = openFile(x.dir, x.name); err != nil {
		return err
	}
	out, err := openAt(x.olds, x.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	var st unix.Stat_t
	if err = copyOf(out, x.old); err == nil {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(x.listed.ModTime.UnixNano())}
		err = unix.UtimesNanoAt(int(x.olds.Fd()), x.name, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Fstat(int(out.Fd()), &st)
	}
	if err == nil {
		err = note(x.journal, record{verb: "copy", identity: identityOf(&st), path: x.listed.Path})
	}
	if err == nil {
		err = cause(x.olds.Sync())
	}
	if err == nil {
		err = x.ready()
	}
	if err == nil {
		err = unix.Renameat(int(x.dir.Fd()), x.by, int(x.dir.Fd()), x.name)
	}
	if err != nil {
		_ = unix.Unlinkat(int(x.olds.Fd()), x.name, 0)
	}
	return err
}

// finish brings over what was added to the old one while it was replaced, and has all on the disk.
func (x *replacing) finish() error {
	x.brought[x.listed.Path] = x.listed.Size
	_, err := x.bring(x.listed.Path, x.fresh, x.old, func(from int64) (int64, error) {
		n, err := catchUp(x.old, from, x.fresh)
		return from + n, err
	})
	if err != nil {
		return diag.CantCreate.Errorf("cannot add to %q what was written to it while it was replaced: %w", x.t.name(x.listed.Path), cause(err)).
			WithHint("undo run %q: that brings back all of it", x.id)
	}
	for _, d := range []*os.File{x.olds, x.again, x.dir} {
		if err := d.Sync(); err != nil {
			x.missing = true // for the next Lock to look at
			return diag.CantCreate.Errorf("%q was replaced, which may not be on the disk: %w", x.t.name(x.listed.Path), cause(err))
		}
	}
	return nil
}

// prepare gives a file that is to take another's place owner and mode of that, has
// it on the disk, and says what is in it.
func prepare(fresh *os.File, old *unix.Stat_t) (content, error) {
	var c content
	var st unix.Stat_t
	if err := unix.Fstat(int(fresh.Fd()), &st); err != nil {
		return c, err
	}
	if !regular(&st) || st.Nlink != 1 {
		return c, errors.New("what is to take its place is no regular file of its own")
	}
	if st.Uid != old.Uid || st.Gid != old.Gid {
		if err := unix.Fchown(int(fresh.Fd()), int(old.Uid), int(old.Gid)); err != nil {
			return c, err
		}
	}
	if err := unix.Fchmod(int(fresh.Fd()), old.Mode&0o777); err != nil {
		return c, err
	}
	if err := fresh.Sync(); err != nil {
		return c, cause(err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(fresh, 0, st.Size))
	if err == nil && n != st.Size {
		err = io.ErrUnexpectedEOF
	}
	c.size, c.inode = st.Size, st.Ino
	h.Sum(c.sum[:0])
	return c, cause(err)
}

func (r *Run) cannotReplace(p string, err error) error {
	return diag.CantCreate.Errorf("cannot replace %q: %w", r.t.name(p), cause(err))
}
