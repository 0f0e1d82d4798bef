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

// Replace puts the file at by, a path in the same directory, in the place of old,
// which is as it was listed, and keeps old in the trash. By takes over owner and
// mode. Whoever writes to old meanwhile without the list's lock is not lost: what
// comes after old's size is added to the new file. It calls for the list's lock.
func (r *Run) Replace(old layout.File, by string) error {
	if !local(old.Path) || !local(by) || path.Dir(by) != path.Dir(old.Path) || by == old.Path {
		return diag.Refused.Errorf("%q cannot take the place of %q", by, old.Path)
	}
	dir, name, err := openParent(r.t.root, old.Path)
	if err != nil {
		return r.cannotReplace(old.Path, err)
	}
	defer dir.Close()
	fresh, err := openAt(dir, path.Base(by), unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		return r.cannotReplace(old.Path, errors.New(by+" "+why(err)))
	}
	defer fresh.Close()
	st, err := lstat(dir, name)
	if err != nil {
		return r.cannotReplace(old.Path, err)
	}
	if diff := listedAs(&old).differs(&st); diff != "" {
		return diag.TryAgain.Errorf("cannot replace %q: it %s", r.t.name(old.Path), diff).WithHint("run the command again")
	}
	become, err := prepare(fresh, &st)
	if err != nil {
		return r.cannotReplace(old.Path, err)
	}
	if err := note(r.journal, record{verb: "replace", identity: listedAs(&old), new: become, path: old.Path}); err != nil {
		return err
	}
	kept, err := r.keep(dir, name, old)
	if err != nil {
		return r.cannotReplace(old.Path, err)
	}
	defer kept.Close()
	if err := unix.Renameat(int(dir.Fd()), path.Base(by), int(dir.Fd()), name); err != nil {
		r.t.single(r.dir, old.Path)
		return r.cannotReplace(old.Path, err)
	}
	r.moved.add(old.Size)
	called(r.replaced)
	if err := r.overtaken(kept, fresh, old); err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		return r.cannotReplace(old.Path, err)
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

// keep gives a file a second name in the trash.
func (r *Run) keep(dir *os.File, name string, old layout.File) (*os.File, error) {
	if err := unix.Mkdirat(int(r.dir.Fd()), oldDir, 0o700); err != nil && err != unix.EEXIST {
		return nil, err
	}
	olds, err := openDir(r.dir, oldDir)
	if err != nil {
		return nil, err
	}
	defer olds.Close()
	to, err := twin(r.t.root, olds, path.Dir(old.Path))
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if err := unix.Linkat(int(dir.Fd()), name, int(to.Fd()), name, 0); err != nil {
		return nil, err
	}
	f, st, err := openFile(to, name)
	if err == nil && listedAs(&old).differs(&st) != "" {
		f.Close()
		err = errors.New(listedAs(&old).differs(&st))
	}
	if err != nil {
		_ = unix.Unlinkat(int(to.Fd()), name, 0)
		return nil, err
	}
	return f, errors.Join(cause(to.Sync()), cause(r.dir.Sync()))
}

// overtaken adds to fresh what was written to old while it was replaced.
func (r *Run) overtaken(old, fresh *os.File, listed layout.File) error {
	n, err := catchUp(old, listed.Size, fresh)
	if err == nil && n > 0 {
		var st unix.Stat_t
		if err = unix.Fstat(int(old.Fd()), &st); err == nil {
			err = note(r.journal, record{verb: "grown", identity: identityOf(&st), path: listed.Path})
		}
	}
	if err != nil {
		return diag.Failed.Errorf("cannot add to %q what was written to it while it was replaced: %w", r.t.name(listed.Path), cause(err)).
			WithHint("undo run %q: that brings back all of it", r.id)
	}
	return nil
}

// catchUp copies what comes after offset in one file to the end of another.
func catchUp(from *os.File, offset int64, to *os.File) (int64, error) {
	info, err := from.Stat()
	if err != nil || info.Size() <= offset {
		return 0, err
	}
	n, err := io.Copy(to, io.NewSectionReader(from, offset, info.Size()-offset))
	if err == nil && n > 0 {
		err = to.Sync()
	}
	return n, err
}

func (r *Run) cannotReplace(p string, err error) error {
	return diag.CantCreate.Errorf("cannot replace %q: %w", r.t.name(p), cause(err))
}
