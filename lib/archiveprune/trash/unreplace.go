package trash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// unreplace has replaced files change places with their replacements again.
func (t *Tree) unreplace(ctx context.Context, run, journal *os.File, stay *Notes) error {
	var all []record
	restored, grown := map[string]uint64{}, map[string]int64{}
	err := readJournal(run, false, func(r record) error {
		switch r.verb {
		case "replace":
			all = append(all, r)
		case "restored":
			restored[r.path] = r.inode
		case "grown":
			grown[r.path] = r.size
		}
		return nil
	})
	for _, r := range all {
		if err != nil || ctx.Err() != nil {
			break
		}
		one := &unreplacing{t: t, run: run, journal: journal, record: r, restored: restored[r.path], grown: max(r.size, grown[r.path])}
		if err = one.do(); err == errOther {
			stay.add(r.path, err.Error())
			err = nil
		} else if passed(err) {
			stay.add(r.path, why(err))
			err = nil
		}
		one.close()
	}
	if err != nil && diag.KindOf(err) == diag.Failed {
		return diag.CantCreate.Errorf("cannot bring back a replaced file of run %q: %w", run.Name(), cause(err)).WithHint("make room on its file system, and undo again")
	}
	return err
}

var errOther = errors.New("the file at its place was changed since, and not only added to; undo newer runs first, or compare them by hand")

// unreplacing is one replaced file that is to be brought back.
type unreplacing struct {
	t            *Tree
	run, journal *os.File
	record
	restored uint64 // inode of what an undo before this one meant to put there
	grown    int64  // so far the old one's bytes are in the replacement, or in what was added to it

	in, dir  *os.File // where the old one is, and where it belongs
	old, now *os.File
}

func (u *unreplacing) close() {
	for _, f := range []*os.File{u.in, u.dir, u.old, u.now} {
		if f != nil {
			f.Close()
		}
	}
}

func (u *unreplacing) do() error {
	name := path.Base(u.path)
	var err error
	if u.in, _, err = openParent(u.run, path.Join(oldDir, u.path)); err == unix.ENOENT {
		return nil // it is back, or deleted
	} else if err != nil {
		return err
	}
	if u.old, err = openAt(u.in, name, unix.O_RDWR|unix.O_APPEND, 0); err == unix.ENOENT {
		return nil
	} else if err != nil {
		return err
	}
	var old unix.Stat_t
	if err := unix.Fstat(int(u.old.Fd()), &old); err != nil {
		return err
	}
	if !regular(&old) {
		return errIrregular
	}
	if u.dir, _, err = openParent(u.t.root, u.path); err != nil {
		return err
	}
	var st unix.Stat_t
	u.now, st, err = openFile(u.dir, name)
	switch {
	case err == unix.ENOENT:
		return moveTo(u.in, name, u.dir, name)
	case err != nil:
		return err
	case st.Ino == old.Ino && st.Dev == old.Dev, st.Ino == u.restored && begins(u.now, u.old, u.size):
		return unix.Unlinkat(int(u.in.Fd()), name, 0) // it was not replaced, or is back already
	}
	ok, err := u.added(st.Size)
	if err != nil {
		return err
	}
	if !ok {
		return errOther
	}
	if st.Size > u.new.size {
		return u.join(name, &st)
	}
	if err := unix.Renameat(int(u.in.Fd()), name, int(u.dir.Fd()), name); err != nil {
		return err
	}
	_, err = catchUp(u.now, u.new.size, u.old)
	return err
}

// added tells whether the file at the place is the replacement, or that and more.
func (u *unreplacing) added(size int64) (bool, error) {
	h := sha256.New()
	if size < u.new.size {
		return false, nil
	}
	if _, err := io.Copy(h, io.NewSectionReader(u.now, 0, u.new.size)); err != nil {
		return false, cause(err)
	}
	return bytes.Equal(h.Sum(nil), u.new.sum[:]), nil
}

// begins tells whether a file begins with the first n bytes of another one.
func begins(f, with *os.File, n int64) bool {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < n; at += int64(len(a)) {
		want := min(n-at, int64(len(a)))
		if _, err := with.ReadAt(b[:want], at); err != nil {
			return false
		}
		if _, err := f.ReadAt(a[:want], at); err != nil || !bytes.Equal(a[:want], b[:want]) {
			return false
		}
	}
	return true
}

// join makes a file of the old one and what was added to its replacement, and puts it there.
func (u *unreplacing) join(name string, now *unix.Stat_t) error {
	_ = unix.Unlinkat(int(u.run.Fd()), freshOld, 0)
	f, err := openAt(u.run, freshOld, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var done unix.Stat_t
	var more int64
	_, err = io.Copy(f, io.NewSectionReader(u.old, 0, u.size))
	if err == nil {
		more, err = catchUp(u.now, u.new.size, f)
	}
	if err == nil {
		_, err = catchUp(u.old, u.grown, f) // what came to it when it had been replaced
	}
	if err == nil {
		_, err = prepare(f, now)
	}
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &done)
	}
	if err == nil {
		err = note(u.journal, record{verb: "restored", identity: identity{inode: done.Ino}, path: u.path})
	}
	if err == nil {
		err = unix.Renameat(int(u.run.Fd()), freshOld, int(u.dir.Fd()), name)
	}
	if err != nil {
		_ = unix.Unlinkat(int(u.run.Fd()), freshOld, 0)
		return err
	}
	if _, err := catchUp(u.now, u.new.size+more, f); err != nil {
		return err
	}
	if err := u.dir.Sync(); err != nil {
		return err
	}
	return unix.Unlinkat(int(u.in.Fd()), name, 0)
}
