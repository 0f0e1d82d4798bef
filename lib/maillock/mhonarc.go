package maillock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ourMark is a file in the lock that we make. MHonArc's own is an empty directory.
const ourMark = "rplan"

// MHonArc takes the lock of a directory of MHonArc's pages: the directory .mhonarc.lck in it (its resources
// LOCKFILE, LOCKMETHOD directory). mhonarc(1) waits for it for half a minute and then ends with 75.
//
// Such a lock says nothing of its holder, so one that a killed mhonarc left is never removed here, as it is not
// by MHonArc. In ours there is a file with an flock(2) on it, by which we know one that a killed process of ours left.
func MHonArc(ctx context.Context, dir string, wait time.Duration) (*Lock, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, cannot(filepath.Join(dir, mhonarcLock), err)
	}
	return MHonArcIn(ctx, f, dir, wait)
}

const mhonarcLock = ".mhonarc.lck"

// MHonArcIn is MHonArc in a directory that is open already, as DotlockIn is Dotlock; dir is its name.
// The lock may be moved while it is held, as it is with what stays when trash.Run.Move exchanges the directory: it is
// removed from where it is then.
func MHonArcIn(ctx context.Context, open *os.File, dir string, wait time.Duration) (*Lock, error) {
	defer open.Close()
	path := filepath.Join(dir, mhonarcLock)
	there := within(open, mhonarcLock)
	l := &Lock{path: path}
	var own *os.File
	err := acquire(ctx, path, wait, func() error {
		flags := os.O_RDWR | unix.O_NOFOLLOW
		err := os.Mkdir(there, 0o777)
		switch {
		case err == nil:
			flags |= os.O_CREATE | os.O_EXCL
		case errors.Is(err, fs.ErrExist):
			err = mayBeOurs(path, there)
		}
		if err != nil {
			return err
		}
		own, err = l.markIn(there, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.check = isOurs(filepath.Join(path, ourMark), l.file)
	l.free = func() {
		if mark := within(own, ourMark); at(mark, l.file) {
			os.Remove(mark)
			if now := within(own, "../"+mhonarcLock); at(now, own) {
				os.Remove(now)
			}
		}
		own.Close()
	}
	return l, nil
}

// markIn takes the flock on the mark in a lock, which is ours with it, and returns the lock's directory.
func (l *Lock) markIn(there string, flags int) (*os.File, error) {
	dir, err := os.OpenFile(there, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == nil {
		err = l.markIt(within(dir, ourMark), flags)
	}
	if err == nil {
		return dir, nil
	}
	dir.Close()
	if errors.Is(err, fs.ErrNotExist) {
		err = &busy{holder: "a process that comes and goes", hint: "try again later"}
	}
	return nil, err
}

// markIt opens the mark and takes the flock on it.
func (l *Lock) markIt(mark string, flags int) (err error) {
	l.file, err = os.OpenFile(mark, flags, 0o600)
	if err != nil {
		return err
	}
	if unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && at(mark, l.file) {
		return nil
	}
	l.file.Close()
	return &busy{holder: "another process of rplan", hint: "try again later"}
}

// mayBeOurs is nil for a lock of ours at a path: the flock on its mark says whether it is held.
func mayBeOurs(path, there string) error {
	info, err := os.Lstat(there)
	if errors.Is(err, fs.ErrNotExist) {
		return &busy{holder: "a process that comes and goes", hint: "try again later"}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("it is no directory: MHonArc is told to use flock here (LOCKMETHOD)")
	}
	if _, err := os.Lstat(filepath.Join(there, ourMark)); err == nil {
		return nil
	}
	b := &busy{holder: "mhonarc, for " + ago(info.ModTime()), hint: "try again later"}
	if time.Since(info.ModTime()) > time.Hour {
		b.hint = fmt.Sprintf("if no mhonarc is running, remove the directory %q", path)
	}
	return b
}
