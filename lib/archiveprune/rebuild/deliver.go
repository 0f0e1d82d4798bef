package rebuild

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// destination is where pages are to be.
type destination struct {
	parent  *os.Root
	name    string // in it
	shown   string
	replace bool
}

// free says why pages may not be put there.
func (d *destination) free() error {
	info, err := d.parent.Lstat(d.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diag.CantCreate.Errorf("%w", err)
	}
	if !d.replace {
		return diag.Refused.Errorf("%q is there already", d.shown)
	}
	if mark, err := d.parent.Lstat(path.Join(d.name, Mark)); !info.IsDir() || err != nil || !mark.Mode().IsRegular() {
		return diag.Refused.Errorf("%q was not made by rebuilding, and may have what no mbox has", d.shown)
	}
	return nil
}

// deliver moves the pages to their place.
func (w *workshop) deliver(d *destination) error {
	if err := w.root.WriteFile(path.Join(pages, Mark), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o644); err != nil {
		return w.blame(err)
	}
	above, err := d.parent.Open(".")
	if err != nil {
		return diag.CantCreate.Errorf("%w", err)
	}
	defer above.Close()
	if err := w.dress(above); err != nil {
		return w.blame(err)
	}
	if err := unix.Syncfs(int(w.dir.Fd())); err != nil { // thousands of files
		return w.blame(err)
	}
	if err := d.free(); err != nil {
		return err
	}
	from, to := int(w.dir.Fd()), int(above.Fd())
	err = unix.Renameat2(from, pages, to, d.name, unix.RENAME_NOREPLACE)
	if err == unix.EEXIST && d.replace {
		err = unix.Renameat2(from, pages, to, d.name, unix.RENAME_EXCHANGE)
	}
	if err == nil {
		err = above.Sync()
	}
	if err != nil {
		return diag.CantCreate.Errorf("cannot make %q: %w", d.shown, err)
	}
	return nil
}

// dress gives the pages owner, group and mode as their neighbours have them: the list
// manager is to be able to prune them again.
func (w *workshop) dress(above *os.File) error {
	info, err := above.Stat()
	if err != nil {
		return err
	}
	as := info.Sys().(*syscall.Stat_t)
	owner := -1
	if os.Geteuid() == 0 {
		owner = int(as.Uid)
	}
	err = fs.WalkDir(w.root.FS(), pages, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := w.root.Lchown(name, owner, int(as.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.root.Chmod(pages, info.Mode()&(fs.ModePerm|fs.ModeSetgid)|0o700)
}

// descend opens a directory of the tree, through directories only.
func descend(tree *os.Root, dir string) (*os.Root, error) {
	at, err := tree.OpenRoot(".")
	for name := range strings.SplitSeq(path.Clean(dir), "/") {
		if err != nil {
			break
		}
		above := at
		at, err = enter(above, name)
		above.Close()
	}
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot open %q: %w", path.Join(tree.Name(), dir), err)
	}
	return at, nil
}

func enter(at *os.Root, name string) (*os.Root, error) {
	there, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !there.IsDir() {
		return nil, syscall.ENOTDIR
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if here, err := next.Stat("."); err != nil || !os.SameFile(there, here) {
		next.Close()
		return nil, errors.New("it changed while it was opened")
	}
	return next, nil
}
