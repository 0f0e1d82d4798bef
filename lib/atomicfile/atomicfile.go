// Package atomicfile replaces files. Whoever opens the path finds the old bytes
// or the new ones, also after a crash or a power cut, and never a mixture.
//
// The new file takes over owner, group and mode of the one it replaces, and is
// newer in whole seconds, because Dovecot looks at nothing finer to notice a
// change. What is replaced is the name: a symbolic link at the path gives way
// to a file and what it pointed to stays as it is. Anything else that is no
// regular file is left alone, with an error. Extended attributes are not kept.
//
// Until then the bytes are in ".NAME.rplan-new" beside the path, readable by
// their writer only, who holds an flock(2) on it. So a killed writer's file is
// told from that of a running one, and the next writer of the path removes it.
//
// Errors are of kind diag.CantCreate, or diag.TryAgain where another writer is
// at work, and name the path.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"rplan/lib/diag"
)

// File is a file that is not at its path yet. Commit or Abort ends it.
type File struct {
	path string
	name string      // the path as an error has it
	dir  *os.File    // that the path leads through; nil but for CreateIn
	mode fs.FileMode // of a file that replaces none
	tmp  *os.File    // nil after the end
	err  error       // of a failed write: the bytes are not whole
}

// Create starts a file for path. The mode, umask notwithstanding, is for a
// path where there is no file yet.
func Create(path string, mode fs.FileMode) (*File, error) {
	tmp, err := claim(path)
	if err != nil {
		return nil, failed(path, err)
	}
	return &File{path: path, name: path, mode: mode, tmp: tmp}, nil
}

// CreateIn is Create for the file of this name in a directory that is held open: where
// its path leads by now does not matter. It needs /proc.
func CreateIn(dir *os.Root, name string, mode fs.FileMode) (*File, error) {
	shown := filepath.Join(dir.Name(), name)
	if name != filepath.Base(name) {
		return nil, failed(shown, fmt.Errorf("%q is no name of a file", name))
	}
	d, err := dir.Open(".")
	if err != nil {
		return nil, failed(shown, err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
	tmp, err := claim(path)
	if err != nil {
		d.Close()
		return nil, failed(shown, err)
	}
	return &File{path: path, name: shown, dir: d, mode: mode, tmp: tmp}, nil
}

// File is what is written to, for a program that is started to do so.
func (f *File) File() *os.File { return f.tmp }

// Write adds to the file.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.tmp.Write(b)
	if err != nil {
		f.err = failed(f.name, err)
		return n, f.err
	}
	return n, nil
}

// ReadAt reads back what was written, so that it can be checked before Commit.
func (f *File) ReadAt(b []byte, off int64) (int, error) { return f.tmp.ReadAt(b, off) }

// Commit puts the file at its path and returns when it is safe on the disk. On
// an error, a Write's included, the old file is still there; only if the very
// last step failed, the sync of the directory, is it the new one.
func (f *File) Commit() error {
	defer f.Abort()
	if f.err != nil {
		return f.err
	}
	err := ready(f.path, f.tmp, f.mode)
	if err == nil {
		err = os.Rename(f.tmp.Name(), f.path)
	}
	if err != nil {
		return failed(f.name, err)
	}
	f.tmp.Close()
	f.tmp = nil
	if f.dir != nil {
		defer f.dir.Close()
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return failed(f.name, err)
	}
	return nil
}

// Abort forgets the file. After Commit it does nothing, so it can be deferred.
func (f *File) Abort() {
	if f.tmp == nil {
		return
	}
	os.Remove(f.tmp.Name()) // before Close: the lock says that it is ours
	f.tmp.Close()
	f.tmp = nil
	if f.dir != nil {
		f.dir.Close()
	}
}

// WriteFile makes data the content of path, unless it is already, and says
// whether it was not. Mode is as for Create.
func WriteFile(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	if holds(path, data) {
		if err := sweep(tempName(path)); err != nil {
			return false, failed(path, err)
		}
		return false, nil
	}
	f, err := Create(path, mode)
	if err != nil {
		return false, err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return false, err
	}
	if err := f.Commit(); err != nil {
		return false, err
	}
	return true, nil
}

// takeOver gives f the owner and mode of the old file, and a later time.
func takeOver(old fs.FileInfo, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	was, is := old.Sys().(*syscall.Stat_t), info.Sys().(*syscall.Stat_t)
	if was.Uid != is.Uid || was.Gid != is.Gid {
		if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(old.Mode()); err != nil {
		return err
	}
	if later := old.ModTime().Truncate(time.Second).Add(time.Second); info.ModTime().Before(later) {
		return os.Chtimes(f.Name(), time.Time{}, later)
	}
	return nil
}

// claim makes the temporary file of path and locks it.
func claim(path string) (*os.File, error) {
	name := tempName(path)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			if err := sweep(name); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		err = lock(f)
		if err == nil && at(name, f) {
			return f, nil
		}
		f.Close()
		if err != nil && err != errBusy {
			os.Remove(name)
			return nil, err
		}
		// Before it was locked, another writer took it for a dead one's.
	}
}

// sweep removes the temporary file that a killed writer left, if there is one.
func sweep(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lock(f); err != nil {
		return err
	}
	if !at(name, f) {
		return nil // its writer finished while we looked
	}
	return os.Remove(name)
}

var errBusy = errors.New("another process is writing it")

func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return errBusy
	}
	return os.NewSyscallError("flock", err)
}

// at tells whether name still means f.
func at(name string, f *os.File) bool {
	there, err1 := os.Lstat(name)
	here, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(there, here)
}

func tempName(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".rplan-new"
}

// holds tells whether path is a regular file of exactly this content.
func holds(path string, data []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false
	}
	content, err := os.ReadFile(path)
	return err == nil && bytes.Equal(content, data)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// failed says which file could not be written; the temporary one is no concern
// of the reader.
func failed(path string, err error) error {
	kind := diag.CantCreate
	if errors.Is(err, errBusy) {
		kind = diag.TryAgain
	}
	switch e := err.(type) {
	case *fs.PathError:
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	case *os.LinkError:
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return kind.Errorf("cannot write %q: %w", path, err)
}
