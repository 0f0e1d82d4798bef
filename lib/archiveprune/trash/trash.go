// Package trash takes files out of a tree in a way that shows at once and can be
// undone. A file is not deleted: it is renamed into the tree's own trash, together
// with the whole directory where all of it goes, and deleted for good later.
//
//	TREE/.rplan/                 0755
//	TREE/.rplan/lock             held by who changes something
//	TREE/.rplan/trash/           0700
//	TREE/.rplan/trash/RUN/       one run on one list, such as 20261126T182533Z-dev@lists.example.org
//	    journal                  what the run was to move, written before anything moves; see record
//	    files/PATH               what was moved, at its path
//	    old/PATH                 files that others took the place of
//	    again/PATH               second names of these, see Run.Replace
//	    sift                     a directory that is being sifted, while that lasts
//
// What is where is found by looking: the journal says what may lie in the trash,
// so whoever is killed can be followed by another. Lock does that.
//
// Every path is walked with openat2(2), beneath the tree, through no symbolic link
// and into no other file system, not even one that is mounted over the same disk;
// names are then used relative to the directory that was opened. A file is taken
// for the one that was listed if inode, size and mtime are the same; after a rename
// it is looked at again, and goes back if it is another one.
//
// The trash is writable for who can write the tree. What its journals say is
// checked, and can only have files moved and deleted below the tree.
package trash

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/lib/lock"
)

const (
	ours     = ".rplan"
	trashDir = "trash"
)

// Tree is a directory with archives in it, and with a trash.
type Tree struct {
	path  string
	root  *os.File
	owner uint32 // of the tree
	lock  *lock.Lock
	trash *os.File // nil where there is none yet

	// Hold, if set, takes the locks of who else writes to the file at a path of the tree, and to old, which was there
	// before, until release is called. Undo calls it, and Lock where a killed run did not come to Late.
	Hold func(ctx context.Context, path string, old *os.File) (release func(), err error)
	// Settle is how long who waited for these locks gets, before Undo looks what they added to a file that is none any more.
	Settle time.Duration
	gone   []gone
}

// Open looks at the tree at path and at its trash, if it has one, and makes
// nothing. The error is of kind diag.Refused if ".rplan" or the trash are not what
// this package would have made.
func Open(path string) (*Tree, error) {
	root, err := os.Open(path)
	if err != nil {
		return nil, diag.Failed.Errorf("cannot open tree %q: %w", path, cause(err))
	}
	t := &Tree{path: path, root: root}
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err == nil {
		t.owner = st.Uid
		err = t.look()
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close gives the lock up.
func (t *Tree) Close() {
	if t.trash != nil {
		t.trash.Close()
	}
	if t.lock != nil {
		t.lock.Release()
	}
	t.root.Close()
}

// Lock makes the trash, unless there is one, and holds it for this process until
// Close. It ends what killed runs began, and says how. The error is of kind
// diag.TryAgain if another holds it.
func (t *Tree) Lock(ctx context.Context) ([]Mended, error) {
	home, err := t.make(t.root, ours, 0o755)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	f, err := openAt(home, "lock", unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot open lock %q: %w", t.name(ours, "lock"), err)
	}
	// Its content is written over: it may be nobody else's file under a second name.
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || !regular(&st) || st.Nlink != 1 {
		f.Close()
		return nil, diag.Refused.Errorf("lock %q is no file of its own", f.Name()).WithHint("look where it comes from, and remove it")
	}
	if st.Uid == uint32(os.Geteuid()) {
		t.give(f)
	}
	if t.lock, err = lock.AcquireFile(ctx, f, 0); err != nil {
		return nil, err
	}
	if t.trash == nil {
		if t.trash, err = t.make(home, trashDir, 0o700); err != nil {
			return nil, err
		}
	}
	return t.mend(ctx)
}

// look opens the trash if there is one.
func (t *Tree) look() error {
	home, err := t.check(t.root, ours)
	if err != nil || home == nil {
		return err
	}
	defer home.Close()
	t.trash, err = t.check(home, trashDir)
	return err
}

// make opens a directory of ours, and makes it with this mode if it is not there.
func (t *Tree) make(in *os.File, name string, mode uint32) (*os.File, error) {
	d, err := t.check(in, name)
	if err != nil || d != nil {
		return d, err
	}
	err = unix.Mkdirat(int(in.Fd()), name, mode)
	if err == nil {
		d, err = openDir(in, name)
	}
	if err == nil {
		// Root gives nothing away but what it has just made.
		if _, full := d.Readdirnames(1); full == io.EOF {
			t.give(d)
			err = cause(d.Chmod(os.FileMode(mode))) // whatever the umask
		}
		d.Close()
	}
	if err != nil && err != unix.EEXIST {
		return nil, diag.CantCreate.Errorf("cannot make %q: %w", filepath.Join(in.Name(), name), err)
	}
	if d, err = t.check(in, name); err == nil && d == nil {
		err = diag.TryAgain.Errorf("%q was taken away while it was made", filepath.Join(in.Name(), name))
	}
	return d, err
}

// give lets the tree's owner have what root makes there, so that its own jobs find it usable.
func (t *Tree) give(f *os.File) {
	if os.Geteuid() == 0 && t.owner != 0 {
		_ = f.Chown(int(t.owner), -1) // else it stays root's, and only root goes on
	}
}

// check opens a directory of ours and is sure of it; nil if there is none.
func (t *Tree) check(in *os.File, name string) (*os.File, error) {
	full := filepath.Join(in.Name(), name)
	d, err := openDir(in, name)
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, nil
	case unix.ELOOP, unix.ENOTDIR, unix.EXDEV:
		return nil, diag.Refused.Errorf("%q %s", full, why(err)).WithHint("look where it comes from, and move it away")
	case unix.ENOSYS:
		return nil, diag.Unavailable.Errorf("cannot open %q: openat2: %w", full, err).WithHint("it needs Linux 5.6 or later")
	default:
		return nil, diag.Failed.Errorf("cannot open %q: %w", full, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		d.Close()
		return nil, diag.Failed.Errorf("cannot look at %q: %w", full, err)
	}
	switch {
	case st.Uid != uint32(os.Geteuid()) && st.Uid != t.owner:
		err = diag.Refused.Errorf("%q belongs to user %d, who is neither this process's nor the tree's", full, st.Uid).
			WithHint("run it as that user")
	case st.Mode&0o022 != 0:
		err = diag.Refused.Errorf("%q can be written by others than its owner", full).WithHint("chmod go-w %q", full)
	default:
		return d, nil
	}
	d.Close()
	return nil, err
}

// hold calls Hold.
func (t *Tree) hold(ctx context.Context, p string, old *os.File) (release func(), err error) {
	if t.Hold == nil {
		return func() {}, nil
	}
	return t.Hold(ctx, p, old)
}

// locked is for what changes something.
func (t *Tree) locked() error {
	if t.lock == nil || t.trash == nil {
		return errors.New("the trash of \"" + t.path + "\" is not locked")
	}
	return nil
}

// name is how a message names something in the tree.
func (t *Tree) name(parts ...string) string {
	return filepath.Join(append([]string{t.path}, parts...)...)
}

// Notes names what stayed where it was, and why; only the first thousand, so that
// a million of them do not fill the memory.
type Notes struct {
	Named []layout.Left // paths from the tree's top
	More  int           // how many others
}

const mostNotes = 1000

func (n *Notes) add(path, why string) {
	if len(n.Named) == mostNotes {
		n.More++
		return
	}
	n.Named = append(n.Named, layout.Left{Path: path, Why: why})
}

// Len is how many things stayed.
func (n *Notes) Len() int { return len(n.Named) + n.More }

func (n *Notes) join(other Notes) {
	for _, l := range other.Named {
		n.add(l.Path, l.Why)
	}
	n.More += other.More
}

// every is after how many files long work looks whether it is to stop, and says how far it is.
const every = 256

// stamp is the time in a run's name.
const stamp = "20060102T150405Z"

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
