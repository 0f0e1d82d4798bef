package trash

import (
	"context"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// few files are renamed one by one rather than all others linked anew: it takes no
// longer to look at than a page does to load.
const few = 100

var errOneByOne = errors.New("the directory cannot be made anew")

// sift moves the listed files of a directory by having it change places with a new one.
func (m *mover) sift(ctx context.Context, s Sift) error {
	going := 0
	for _, f := range below(m.plan.Files, s.Dir) {
		if path.Dir(f.Path) == s.Dir {
			if going++; going > few {
				break
			}
		}
	}
	if going <= few {
		return m.onebyone(ctx, s.Dir)
	}
	from, name, err := openParent(m.t.root, s.Dir)
	if err != nil {
		return m.stays(s.Dir, err)
	}
	defer from.Close()
	dir, err := openDir(from, name)
	if err != nil {
		return m.stays(s.Dir, err)
	}
	defer dir.Close()
	if err := note(m.journal, record{verb: "exchange", path: s.Dir}); err != nil {
		return err
	}
	linked, err := m.successor(dir, s.Keep)
	called(m.linked)
	if err == nil {
		err = m.exchange(dir, from, name)
	}
	// Whether it came to that or not, and however far: what is in "sift" is put where it belongs.
	settled, stay, unsettled := m.t.settle(m.dir, s.Dir, m.plan.Files, linked)
	m.out.Stayed.join(stay)
	m.moved.files += settled.files
	m.moved.bytes += settled.bytes
	if unsettled != nil {
		return unsettled
	}
	if err == errOneByOne || passed(err) {
		return m.onebyone(ctx, s.Dir)
	}
	if err != nil {
		return diag.CantCreate.Errorf("cannot sift %q: %w", m.t.name(s.Dir), cause(err)).WithHint("what is moved is in run %q, and can be undone", m.id)
	}
	return nil
}

// exchange has a directory and its successor change places.
func (m *mover) exchange(dir, from *os.File, name string) error {
	swap := func() error {
		err := unix.Renameat2(int(m.dir.Fd()), siftDir, int(from.Fd()), name, unix.RENAME_EXCHANGE)
		if err == unix.EINVAL || err == unix.ENOSYS { // not with this file system
			return errOneByOne
		}
		return err
	}
	if err := swap(); err != nil {
		return err
	}
	if !same(dir, m.dir, siftDir) { // another was put there meanwhile
		return errors.Join(swap(), unix.ENOENT)
	}
	return nil
}

// successor makes a directory like dir, in which only those names are. It returns
// their inodes. Where that cannot be done in full, the error is errOneByOne.
func (m *mover) successor(dir *os.File, keep []string) (linked map[string]uint64, err error) {
	if err := unix.Mkdirat(int(m.dir.Fd()), siftDir, 0o700); err != nil {
		return nil, err
	}
	d, err := openDir(m.dir, siftDir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	linked = map[string]uint64{}
	for _, name := range keep {
		if linked[name], err = linkInto(dir, d, name); err != nil {
			return linked, err
		}
	}
	var was unix.Stat_t
	if takeAfter(d, dir) != nil || copyAttributes(d, dir) != nil || unix.Fstat(int(dir.Fd()), &was) != nil {
		return linked, errOneByOne
	}
	if err := unix.UtimesNanoAt(int(m.dir.Fd()), siftDir, []unix.Timespec{was.Atim, was.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return linked, errOneByOne
	}
	return linked, cause(d.Sync())
}

// linkInto gives what has this name in dir the same name in to as well.
func linkInto(dir, to *os.File, name string) (inode uint64, err error) {
	st, err := lstat(dir, name)
	if err == unix.ENOENT {
		return 0, nil
	}
	if err != nil {
		return 0, errOneByOne
	}
	if !isDirectory(&st) {
		err := unix.Linkat(int(dir.Fd()), name, int(to.Fd()), name, 0)
		if err != nil && err != unix.ENOENT && err != unix.ENOSPC && err != unix.EDQUOT {
			err = errOneByOne // no links here, or not to another's file
		}
		return st.Ino, err
	}
	// A directory has one name only. An empty one, such as MHonArc's lock, can be made twice.
	sub, err := openDir(dir, name)
	if err != nil {
		return 0, errOneByOne
	}
	defer sub.Close()
	if names, _ := sub.Readdirnames(1); len(names) > 0 {
		return 0, errOneByOne
	}
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
		return 0, err
	}
	made, err := openDir(to, name)
	if err != nil {
		return 0, err
	}
	defer made.Close()
	if takeAfter(made, sub) != nil {
		return 0, errOneByOne
	}
	return 0, nil
}

// copyAttributes copies a directory's extended attributes, access lists among them.
func copyAttributes(d, model *os.File) error {
	names := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(model.Fd()), names)
	if err == unix.ENOTSUP {
		return nil
	}
	if err != nil {
		return err
	}
	value := make([]byte, 64<<10)
	for start, i := 0, 0; i < n; i++ {
		if names[i] != 0 {
			continue
		}
		name := string(names[start:i])
		start = i + 1
		size, err := unix.Fgetxattr(int(model.Fd()), name, value)
		if err == nil {
			err = unix.Fsetxattr(int(d.Fd()), name, value[:size], 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle empties a run's "sift", which is directory p or was to become it: what is
// listed goes to the run's files, all other things go back to p. Of files that are in
// p too, the name here goes. Linked are the inodes with which p began; nil if nobody
// knows them any more. After an error some of it is still there, and Lock settles it.
func (t *Tree) settle(run *os.File, p string, files []layout.File, linked map[string]uint64) (moved count, stay Notes, err error) {
	s := settling{linked: linked}
	failed := func(err error) error {
		return diag.CantCreate.Errorf("cannot put what is in %q to where it belongs, %q or the run's files: %w", run.Name()+"/"+siftDir, t.name(p), cause(err)).
			WithHint("run the command again, and that comes first")
	}
	if s.old, err = openDir(run, siftDir); err == unix.ENOENT {
		return moved, stay, nil
	} else if err != nil {
		return moved, stay, failed(err)
	}
	defer s.old.Close()
	if s.to, err = twin(s.old, t.root, p); err != nil {
		return moved, stay, failed(err)
	}
	defer s.to.Close()
	names, err := s.old.Readdirnames(-1)
	if err != nil {
		return moved, stay, failed(err)
	}
	listed := names[:0]
	for _, name := range names {
		if find(files, path.Join(p, name)) == nil {
			s.back(name) // first, so that newcomers are away for an instant only
		} else {
			listed = append(listed, name)
		}
	}
	for _, name := range listed {
		st, err := lstat(s.old, name)
		if err != nil {
			continue
		}
		if diff := listedAs(find(files, path.Join(p, name))).differs(&st); diff != "" {
			s.stay.add(name, diff)
			s.back(name)
			continue
		}
		moved.add(st.Size)
	}
	if err = t.file(run, p, &s.stay); err != nil {
		err = failed(err)
	}
	for _, l := range s.stay.Named {
		stay.add(path.Join(p, l.Path), l.Why)
	}
	stay.More += s.stay.More
	return moved, stay, err
}

// settling is a settle under way. The paths of its notes are from the directory.
type settling struct {
	old, to *os.File
	linked  map[string]uint64
	stay    Notes
}

// mhonarcLock is MHonArc's lock, a directory, with a mark in it if it is rplan's (lib/maillock).
const mhonarcLock = ".mhonarc.lck"

// back has a name go from the old directory to the one at its place. Of two locks neither becomes the other: if mhonarc
// took its own in the instant before, ours is lost, as its Check says.
func (s *settling) back(name string) {
	st, err1 := lstat(s.old, name)
	there, err2 := lstat(s.to, name)
	if name == mhonarcLock && err2 == nil {
		_ = unix.Unlinkat(int(s.old.Fd()), name, unix.AT_REMOVEDIR) // if it has no mark
		return
	}
	if was := s.linked[name]; was != 0 && err1 == nil && err2 == nil && there.Ino == was && st.Ino != was && regular(&st) && regular(&there) {
		// It was replaced after it had been linked: the newer one counts.
		if unix.Renameat(int(s.old.Fd()), name, int(s.to.Fd()), name) == nil {
			return
		}
	}
	mergeName(context.Background(), pair{s.old, s.to}, s.old, s.to, name, name, &s.stay)
}

// file moves a run's "sift" to its files, as p.
func (t *Tree) file(run *os.File, p string, stay *Notes) error {
	if unix.Unlinkat(int(run.Fd()), siftDir, unix.AT_REMOVEDIR) == nil {
		return nil // there is nothing in it
	}
	files, err := openDir(run, filesDir)
	if err != nil {
		return err
	}
	defer files.Close()
	to, err := twin(t.root, files, path.Dir(p))
	if err != nil {
		return err
	}
	defer to.Close()
	if err := moveTo(run, siftDir, to, path.Base(p)); err != unix.EEXIST {
		return err
	}
	in, err := openDir(run, siftDir)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := openDir(to, path.Base(p))
	if err != nil {
		return err
	}
	defer out.Close()
	merge(context.Background(), pair{in, out}, ".", stay)
	return unix.Unlinkat(int(run.Fd()), siftDir, unix.AT_REMOVEDIR)
}
