package trash

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
)

// openAt opens p below the directory at: no symbolic link, no ".." and no mount
// point on the way, nor at its end. The error is a bare unix.Errno: ELOOP for a
// symbolic link, EXDEV for a mount point.
func openAt(at *os.File, p string, flags int, mode uint32) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NONBLOCK),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(int(at.Fd()), p, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), filepath.Join(at.Name(), p)), nil
		}
		// The kernel may ask for another try when something is renamed meanwhile.
		if err != unix.EINTR && err != unix.EAGAIN || tries > 1000 {
			return nil, err
		}
	}
}

func openDir(at *os.File, p string) (*os.File, error) {
	return openAt(at, p, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openFile opens a regular file to read it.
func openFile(at *os.File, p string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := openAt(at, p, unix.O_RDONLY, 0)
	if err != nil {
		return nil, st, err
	}
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && !regular(&st) {
		err = errIrregular
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}

var errIrregular = errors.New("is no regular file")

// openParent opens the directory that p is in, and gives p's name there.
func openParent(at *os.File, p string) (*os.File, string, error) {
	d, err := openDir(at, path.Dir(p))
	return d, path.Base(p), err
}

// near opens the directories of paths that come sorted: each once, and one at a time.
type near struct {
	root *os.File
	path string
	dir  *os.File
}

func (n *near) open(dir string) (*os.File, error) {
	if n.dir != nil && n.path == dir {
		return n.dir, nil
	}
	n.close()
	d, err := openDir(n.root, dir)
	if err != nil {
		return nil, err
	}
	n.path, n.dir = dir, d
	return d, nil
}

func (n *near) close() {
	if n.dir != nil {
		n.dir.Close()
		n.dir = nil
	}
}

func lstat(dir *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func regular(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func isDirectory(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// identity is what a file is known by.
type identity struct {
	size, mtime int64 // bytes; nanoseconds since 1970
	inode       uint64
	symlink     bool
}

func isSymlink(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFLNK }

func identityOf(st *unix.Stat_t) identity {
	return identity{st.Size, st.Mtim.Nano(), st.Ino, isSymlink(st)}
}

func listedAs(f *layout.File) identity {
	return identity{f.Size, f.ModTime.UnixNano(), f.Inode, f.Symlink}
}

func (i identity) file(path string) layout.File {
	return layout.File{Path: path, Size: i.size, ModTime: time.Unix(0, i.mtime), Inode: i.inode, Symlink: i.symlink}
}

// differs says what keeps something from being the listed file, "" if it is.
func (i identity) differs(st *unix.Stat_t) string {
	switch {
	case isSymlink(st) && !i.symlink:
		return why(unix.ELOOP)
	case !regular(st) && !isSymlink(st):
		return errIrregular.Error()
	case identityOf(st) != i:
		return "was changed since it was listed"
	}
	return ""
}

// moveTo renames, and never over something: then the error is EEXIST.
func moveTo(from *os.File, name string, to *os.File, as string) error {
	err := unix.Renameat2(int(from.Fd()), name, int(to.Fd()), as, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// The file system knows no such rename. A second name for a file never replaces one either.
	st, err := lstat(from, name)
	if err != nil {
		return err
	}
	if !isDirectory(&st) {
		if err := unix.Linkat(int(from.Fd()), name, int(to.Fd()), as, 0); err != nil {
			return err
		}
		return unix.Unlinkat(int(from.Fd()), name, 0)
	}
	if _, err := lstat(to, as); err != unix.ENOENT {
		return unix.EEXIST
	}
	return unix.Renameat(int(from.Fd()), name, int(to.Fd()), as) // over an empty directory at worst
}

// twin opens directory p below to. Where it is missing, or one above it, it is made
// like the one of the same path below from.
func twin(from, to *os.File, p string) (*os.File, error) {
	d, err := openDir(to, p)
	if err != unix.ENOENT || p == "." {
		return d, err
	}
	above, err := twin(from, to, path.Dir(p))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	model, err := openDir(from, p)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	name := path.Base(p)
	made := unix.Mkdirat(int(above.Fd()), name, 0o700)
	if made != nil && made != unix.EEXIST {
		return nil, made
	}
	if d, err = openDir(above, name); err != nil || made != nil {
		return d, err
	}
	_ = takeAfter(d, model) // it holds its files all the same
	return d, nil
}

// takeAfter gives a directory owner and mode of another one.
func takeAfter(d, model *os.File) error {
	var is, be unix.Stat_t
	if err := errors.Join(unix.Fstat(int(d.Fd()), &is), unix.Fstat(int(model.Fd()), &be)); err != nil {
		return err
	}
	if is.Uid != be.Uid || is.Gid != be.Gid {
		if err := unix.Fchown(int(d.Fd()), int(be.Uid), int(be.Gid)); err != nil {
			return err
		}
	}
	return unix.Fchmod(int(d.Fd()), be.Mode&0o7777)
}

// why says what stands in the way of a path, for people.
func why(err error) string {
	switch cause(err) {
	case unix.ENOENT:
		return "is gone"
	case unix.ELOOP:
		return "is a symbolic link, or behind one"
	case unix.EXDEV:
		return "is on another file system"
	case unix.EBUSY:
		return "is a mount point"
	case unix.ENOTDIR:
		return "is no directory, or behind something that is none"
	case errIrregular:
		return errIrregular.Error()
	}
	return "cannot be moved: " + cause(err).Error()
}

// passed tells the errors that concern one file and not the run.
func passed(err error) bool {
	switch err {
	case unix.ENOENT, unix.ELOOP, unix.EXDEV, unix.EBUSY, unix.ENOTDIR, unix.EACCES, unix.EPERM, unix.ENAMETOOLONG, errIrregular:
		return true
	}
	return false
}

// cause is an error without the path that the os package adds.
func cause(err error) error {
	var p *fs.PathError
	var s *os.SyscallError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &s):
		return s.Err
	}
	return err
}
