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
	path := filepath.Join(dir, ".mhonarc.lck")
	mark := filepath.Join(path, ourMark)
	l := &Lock{path: path}
	err := acquire(ctx, path, wait, func() error {
		flags := os.O_RDWR | unix.O_NOFOLLOW
		err := os.Mkdir(path, 0o777)
		switch {
		case err == nil:
			flags |= os.O_CREATE | os.O_EXCL
		case errors.Is(err, fs.ErrExist):
			err = mayBeOurs(path, mark)
		}
		if err != nil {
			return err
		}
		return l.markIt(mark, flags)
	})
	if err != nil {
		return nil, err
	}
	l.check = isOurs(mark, l.file)
	l.free = func() {
		if at(mark, l.file) {
			os.Remove(mark)
			os.Remove(path)
		}
	}
	return l, nil
}

// markIt takes the flock on the mark, which is the lock if it is ours.
func (l *Lock) markIt(mark string, flags int) (err error) {
	l.file, err = os.OpenFile(mark, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return &busy{holder: "a process that comes and goes", hint: "try again later"}
	}
	if err != nil {
		return err
	}
	if unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && at(mark, l.file) {
		return nil
	}
	l.file.Close()
	return &busy{holder: "another process of rplan", hint: "try again later"}
}

// mayBeOurs is nil for a lock of ours: the flock on its mark says whether it is held.
func mayBeOurs(path, mark string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &busy{holder: "a process that comes and goes", hint: "try again later"}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("it is no directory: MHonArc is told to use flock here (LOCKMETHOD)")
	}
	if _, err := os.Lstat(mark); err == nil {
		return nil
	}
	b := &busy{holder: "mhonarc, for " + ago(info.ModTime()), hint: "try again later"}
	if time.Since(info.ModTime()) > time.Hour {
		b.hint = fmt.Sprintf("if no mhonarc is running, remove the directory %q", path)
	}
	return b
}
