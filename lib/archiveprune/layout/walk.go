package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// deepest is how many directories below its top a tree may have. No archiver makes more than five.
const deepest = 24

// ours is the directory that rplan itself keeps in a tree.
const ours = ".rplan"

// dir is a directory as it was when it was listed.
type dir struct {
	path   string // from the tree's top, which is "."
	name   string // last element of path; of the top, that of the root's name
	parent *dir   // nil for the top
	dirs   []*dir // sorted by name, as are files
	files  []entry
	left   []Left // what is in it, but not in the same file system or no regular file; or itself, if unreadable
}

// entry is a regular file, or a symlink that the archiver itself made.
type entry struct {
	name    string
	size    int64
	mtime   time.Time
	inode   uint64
	symlink bool
}

func entryOf(name string, st *unix.Statx_t, symlink bool) entry {
	return entry{name, int64(st.Size), time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)), st.Ino, symlink}
}

func (d *dir) join(name string) string { return path.Join(d.path, name) }

func (d *dir) file(name string) (entry, bool) {
	i := slices.IndexFunc(d.files, func(e entry) bool { return e.name == name })
	if i < 0 {
		return entry{}, false
	}
	return d.files[i], true
}

// sub is the directory of this name, or nil; of a nil dir too.
func (d *dir) sub(name string) *dir {
	if d == nil {
		return nil
	}
	for _, s := range d.dirs {
		if s.name == name {
			return s
		}
	}
	return nil
}

// walker lists a tree by descriptors: a path could lead elsewhere by the time that it is used.
type walker struct {
	dev, mount uint64 // of the top
}

// walk lists all that is in root, and says on what device that is.
func walk(root *os.Root) (*dir, uint64, error) {
	top, err := root.Open(".")
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open %q: %w", root.Name(), err)
	}
	st, err := stat(int(top.Fd()), "")
	if err != nil {
		top.Close()
		return nil, 0, fmt.Errorf("cannot look at %q: %w", root.Name(), err)
	}
	w := &walker{dev: device(st), mount: st.Mnt_id}
	d := &dir{path: ".", name: filepath.Base(root.Name())}
	if err := w.list(top, d, 0); err != nil {
		return nil, 0, fmt.Errorf("cannot list %q: %w", root.Name(), err)
	}
	return d, w.dev, nil
}

// list fills d from the open directory f, which it closes.
func (w *walker) list(f *os.File, d *dir, depth int) error {
	defer f.Close()
	// Names only: for more, the os package would look at a path.
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	fd := int(f.Fd())
	for _, name := range names {
		if name == ours {
			continue
		}
		pass := func(why string) { d.left = append(d.left, Left{Path: d.join(name), Why: why}) }
		st, err := stat(fd, name)
		if err != nil {
			pass("cannot be looked at: " + err.Error())
			continue
		}
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFLNK:
			if target, ok := link(fd, name); ok && name == "index.html" && pipermailIndexes[target] {
				d.files = append(d.files, entryOf(name, st, true))
			} else {
				pass(fmt.Sprintf("a symlink to %q", target))
			}
		case !w.same(st):
			pass("on another file system, or mounted")
		case kind == unix.S_IFREG:
			d.files = append(d.files, entryOf(name, st, false))
		case kind != unix.S_IFDIR:
			pass("neither file nor directory")
		case depth == deepest:
			pass(fmt.Sprintf("more than %d directories deep", deepest))
		default:
			sub := &dir{path: d.join(name), name: name, parent: d}
			if err := w.enter(fd, sub, st, depth+1); err != nil {
				pass("cannot be looked into: " + err.Error())
				continue
			}
			d.dirs = append(d.dirs, sub)
		}
	}
	return nil
}

// errChanged is a directory that is not the one that was there a moment ago.
var errChanged = errors.New("it changed meanwhile")

// enter lists the directory d, which was seen in the directory fd as st.
func (w *walker) enter(fd int, d *dir, st *unix.Statx_t, depth int) error {
	sub, err := unix.Openat(fd, d.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(sub), d.path)
	now, err := stat(sub, "")
	if err == nil && (now.Ino != st.Ino || !w.same(now)) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return err
	}
	return w.list(f, d, depth)
}

// stat looks at a name in the directory fd, or at fd itself if the name is empty. It follows nothing and mounts nothing.
func stat(fd int, name string) (*unix.Statx_t, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	for {
		err := unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
		if err != unix.EINTR {
			return &st, err
		}
	}
}

func device(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

// same tells whether st is where the top is. A bind mount has the same device, but another mount:
// rename(2) does not cross it. A kernel before 5.8 has 0 for each mount.
func (w *walker) same(st *unix.Statx_t) bool {
	return device(st) == w.dev && st.Mnt_id == w.mount
}

// link is where a symlink leads to.
func link(fd int, name string) (target string, ok bool) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, b)
	return string(b[:max(n, 0)]), err == nil
}

// Open opens a listed file for reading. It fails with an error of kind diag.Failed if another
// file has come into its place, be it by a symlink; of a file that has only grown it says nothing.
func Open(root *os.Root, f File) (*os.File, error) {
	top, err := inodeOf(root.Stat("."))
	if err != nil {
		return nil, err
	}
	return open(root, f, top.Dev)
}

// open opens a file that was listed on the device dev.
func open(root *os.Root, f File, dev uint64) (*os.File, error) {
	file, err := root.OpenFile(f.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	is, err := inodeOf(file.Stat())
	if err == nil && (is.Ino != f.Inode || is.Dev != dev || is.Mode&syscall.S_IFMT != syscall.S_IFREG) {
		err = errChanged
	}
	if err != nil {
		file.Close()
		return nil, diag.Failed.Errorf("cannot read %q: %w", f.Path, err)
	}
	return file, nil
}

func inodeOf(info fs.FileInfo, err error) (*syscall.Stat_t, error) {
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return st, nil
}
