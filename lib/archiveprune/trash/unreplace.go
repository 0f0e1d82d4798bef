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
	var all replacements
	err := readJournal(run, false, func(r record) error {
		all.add(r)
		return nil
	})
	for _, u := range all.list {
		if err != nil || ctx.Err() != nil {
			break
		}
		u.t, u.run, u.journal = t, run, journal
		if err = u.do(ctx); err == errOther {
			stay.add(u.path, err.Error())
			err = nil
		} else if passed(err) {
			stay.add(u.path, why(err))
			err = nil
		}
		u.close()
	}
	if err != nil && diag.KindOf(err) == diag.Failed {
		return diag.CantCreate.Errorf("cannot bring back a replaced file of run %q: %w", run.Name(), cause(err)).WithHint("make room on its file system, and undo again")
	}
	return err
}

var errOther = errors.New("the file at its place was changed since, and not only added to; undo newer runs first, or compare them by hand")

// replacements are the files that a journal says are replaced.
type replacements struct {
	list []*unreplacing
	of   map[string]*unreplacing // by path
}

func (a *replacements) add(r record) {
	if r.verb == "replace" {
		u := &unreplacing{record: r, grown: r.size}
		if a.of == nil {
			a.of = map[string]*unreplacing{}
		}
		if before := a.of[r.path]; before != nil {
			*before = *u // that came to nothing
		} else {
			a.of[r.path] = u
			a.list = append(a.list, u)
		}
	}
	u := a.of[r.path]
	switch {
	case u == nil:
	case r.verb == "restored":
		u.restored = r.inode
	case r.verb == "late":
		u.late = append(u.late, r)
	case r.verb == "grown":
		u.grown = max(u.grown, r.size)
	}
}

// unreplacing is one replaced file that is to be brought back.
type unreplacing struct {
	t            *Tree
	run, journal *os.File
	record
	restored uint64   // inode of what an undo before this one meant to put there
	grown    int64    // so far the old one's bytes are in the replacement, or in what was added to it
	late     []record // what may be there besides

	in, dir  *os.File // where the old one is, and where it belongs
	old, now *os.File // nil if there is none
	was, is  unix.Stat_t
	release  func() // of the locks
}

func (u *unreplacing) close() {
	if u.release != nil {
		u.release()
	}
	for _, f := range []*os.File{u.in, u.dir, u.old, u.now} {
		if f != nil {
			f.Close()
		}
	}
}

// open opens the old file, calls for the locks by hold, which may be nil, and opens what is at its place. It tells
// whether there is an old one: else it is back, or deleted.
func (u *unreplacing) open(hold func() error) (there bool, err error) {
	name := path.Base(u.path)
	if u.in, _, err = openParent(u.run, path.Join(oldDir, u.path)); err == nil {
		u.old, err = openAt(u.in, name, unix.O_RDWR|unix.O_APPEND, 0)
	}
	if err == unix.ENOENT {
		return false, nil
	} else if err != nil {
		return true, err
	}
	if err = unix.Fstat(int(u.old.Fd()), &u.was); err == nil && !regular(&u.was) {
		err = errIrregular
	}
	if err == nil && hold != nil {
		err = hold()
	}
	if err == nil {
		err = unix.Fstat(int(u.old.Fd()), &u.was) // to which somebody may have added until it was locked
	}
	if err != nil {
		return true, err
	}
	if u.dir, _, err = openParent(u.t.root, u.path); err != nil {
		return true, err
	}
	if u.now, u.is, err = openFile(u.dir, name); err == unix.ENOENT {
		err = nil
	}
	return true, err
}

// needless tells whether what is in the trash is the replacement, which did not get to its place, or all of what gave
// way is at its place: as the same file, or because it was copied and did not give way.
func (u *unreplacing) needless() bool {
	if u.was.Ino == u.new.inode && u.was.Size == u.new.size && sumOf(u.old, u.new.size) == u.new.sum {
		return true
	}
	if u.now == nil {
		return false
	}
	return u.is.Ino == u.was.Ino && u.is.Dev == u.was.Dev || u.is.Ino == u.restored && equal(u.now, 0, u.old, 0, u.size) ||
		u.was.Ino != u.inode && equal(u.now, 0, u.old, 0, u.was.Size)
}

// drop removes the file in the trash.
func (u *unreplacing) drop() error {
	if err := onlyOnce(u.run, u.path); err != nil {
		return err
	}
	return unix.Unlinkat(int(u.in.Fd()), path.Base(u.path), 0)
}

// twice gives the old file its second name, if it has none; a copy, which nobody writes to, needs none.
func (u *unreplacing) twice() {
	if u.was.Ino != u.inode {
		return
	}
	top, err := openDir(u.run, againDir)
	if err != nil {
		return
	}
	defer top.Close()
	if d, err := twin(u.t.root, top, path.Dir(u.path)); err == nil {
		_ = unix.Linkat(int(u.in.Fd()), path.Base(u.path), int(d.Fd()), path.Base(u.path), 0)
		d.Close()
	}
}

// onlyOnce takes the second name of a replaced file away.
func onlyOnce(run *os.File, p string) error {
	d, name, err := openParent(run, path.Join(againDir, p))
	if err == unix.ENOENT {
		return nil
	} else if err != nil {
		return err
	}
	defer d.Close()
	st, err := lstat(d, name)
	if err == nil && st.Nlink > 1 {
		err = unix.Unlinkat(int(d.Fd()), name, 0)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func (u *unreplacing) do(ctx context.Context) error {
	there, err := u.open(func() error { return u.hold(ctx) })
	if err == nil && !there {
		return onlyOnce(u.run, u.path)
	} else if err != nil {
		return err
	}
	if u.needless() {
		return u.drop()
	}
	name := path.Base(u.path)
	if u.now == nil {
		if err := onlyOnce(u.run, u.path); err != nil { // with two names it would be no mbox for Postfix
			return err
		}
		return moveTo(u.in, name, u.dir, name)
	}
	if u.is.Size < u.new.size || sumOf(u.now, u.new.size) != u.new.sum {
		return errOther // it is not the replacement, nor that and more
	}
	u.look()
	if u.is.Size > u.new.size {
		return u.join(name, &u.is)
	}
	if err := onlyOnce(u.run, u.path); err != nil {
		return err
	}
	if err := unix.Renameat(int(u.in.Fd()), name, int(u.dir.Fd()), name); err != nil {
		return err
	}
	n, err := catchUp(u.now, u.new.size, u.old)
	u.goes(u.new.size + n)
	return err
}

func (u *unreplacing) hold(ctx context.Context) (err error) {
	u.release, err = u.t.hold(ctx, u.path, u.old)
	return err
}

// goes remembers the file that was at the place, and until where its bytes are in what is there now.
func (u *unreplacing) goes(from int64) {
	u.t.gone = append(u.t.gone, gone{u.path, u.now, from})
	u.now = nil
}

// look finds out what a process that was killed in Late had brought over.
func (u *unreplacing) look() {
	for _, l := range u.late {
		if l.size > u.grown && brings(u.now, l.new.size, u.old, u.grown, l.size) {
			u.grown = l.size
		}
	}
}

// sumOf is that of the first n bytes of a file; of one that cannot be read, none's.
func sumOf(f *os.File, n int64) (sum [sha256.Size]byte) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, n)); err == nil {
		h.Sum(sum[:0])
	}
	return sum
}

// equal tells whether two files have the same n bytes, each from an offset on.
func equal(f *os.File, at int64, with *os.File, from, n int64) bool {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for done := int64(0); done < n; done += int64(len(a)) {
		want := min(n-done, int64(len(a)))
		if _, err := with.ReadAt(b[:want], from+done); err != nil {
			return false
		}
		if _, err := f.ReadAt(a[:want], at+done); err != nil || !bytes.Equal(a[:want], b[:want]) {
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
	n, err := catchUp(u.now, u.new.size+more, f)
	u.goes(u.new.size + more + n)
	if err != nil {
		return err
	}
	if err := u.dir.Sync(); err != nil {
		return err
	}
	return u.drop()
}
