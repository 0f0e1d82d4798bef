package maillock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// staleDotlock is how old a dotlock of a process that is gone has to be. liblockfile takes one of five
// minutes for stale if it does not know the process, and Postfix one of 500 s in any case.
const staleDotlock = 5 * time.Minute

// Dotlock takes MBOX.lock, as liblockfile, procmail, mutt, Postfix and Python's mailbox module do,
// with this process's id in it (lockfile_create(3)). It waits as long as wait says; 0 means not at all.
//
// A lock that names a process that is not on this host, and that nobody has touched for five minutes, is
// removed, so one that a killed process held is free after that time. One that names none is left to people.
func Dotlock(ctx context.Context, mbox string, wait time.Duration) (*Lock, error) {
	dir, err := os.Open(filepath.Dir(mbox))
	if err != nil {
		return nil, cannot(mbox+".lock", err)
	}
	return DotlockIn(ctx, dir, mbox, wait)
}

// DotlockIn is Dotlock in a directory that is open already, and is closed with the lock: who puts a symlink in its
// place meanwhile leads nobody to another, and the lock is removed from where it was made.
func DotlockIn(ctx context.Context, dir *os.File, mbox string, wait time.Duration) (*Lock, error) {
	path := mbox + ".lock"
	there := within(dir, filepath.Base(path))
	l := &Lock{path: path}
	dead := func(f *os.File, info fs.FileInfo) error { return deadDotlock(path, f, info) }
	err := acquire(ctx, path, wait, func() (err error) {
		for range 3 { // a stale one that is removed may give way to another
			l.file, err = makeDotlock(there)
			if !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := breakStale(there, dead, 0); err != nil {
				return err
			}
		}
		return &busy{holder: "a process that comes and goes", hint: "try again later"}
	})
	if err != nil {
		dir.Close()
		return nil, err
	}
	l.check = isOurs(path, l.file)
	l.free = func() {
		if at(there, l.file) {
			os.Remove(there)
		}
		dir.Close()
	}
	l.keep(staleDotlock/5, 0)
	return l, nil
}

// within is a path in a directory that is open, whatever is in its place by now.
func within(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// makeDotlock makes a lock that names this process from the first moment on: who is killed here leaves none
// that others could not tell from a live one.
func makeDotlock(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Dir(path), os.O_RDWR|unix.O_TMPFILE, 0o644)
	if err != nil {
		return makeDotlockInTwo(path) // also to say what is wrong
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	if err == nil {
		err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
		err = os.NewSyscallError("link", err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeDotlockInTwo is for file systems without O_TMPFILE, NFS for one.
func makeDotlockInTwo(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		os.Remove(path)
		f.Close()
		return nil, err
	}
	return f, nil
}

// deadDotlock is nil for a dotlock at a path that may be removed.
func deadDotlock(path string, f *os.File, info fs.FileInfo) error {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 20))
	if err != nil {
		return err
	}
	pid := parsePID(strings.TrimRight(string(text), "\n\x00 "))
	since := ago(info.ModTime())
	b := &busy{hint: "try again later"}
	switch {
	case pid <= 0: // procmail writes "0", Python nothing
		b.holder = "a process that does not say which it is, for " + since
		if time.Since(info.ModTime()) > staleDotlock {
			b.hint = fmt.Sprintf("if no program is writing to the mbox, remove %q", path)
		}
	case runs(pid):
		b.holder = fmt.Sprintf("process %d, for %s", pid, since)
	case time.Since(info.ModTime()) < staleDotlock:
		b.holder = fmt.Sprintf("process %d, which is gone, or on another host", pid)
		b.hint = fmt.Sprintf("it counts as left behind %d minutes after it was last touched; that was %s ago", int(staleDotlock.Minutes()), since)
	default:
		return nil
	}
	return b
}

// Fcntl takes a write lock on the whole mbox by fcntl(2), as Postfix, Dovecot, mutt and Python's mailbox
// module do. It is an open file description lock, which conflicts with theirs, is not lost when another
// descriptor of the file is closed, and is released by the kernel when this process ends. The lock is on the file
// that is at the path when it is taken: once that is replaced, who waited for it gets it on the old file.
func Fcntl(ctx context.Context, mbox string, wait time.Duration) (*Lock, error) {
	l := &Lock{path: mbox, mbox: true, free: func() {}}
	err := acquire(ctx, mbox, wait, func() error {
		f, err := os.OpenFile(mbox, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			return cmp.Or(err, errors.New("it is no regular file"))
		}
		if err := lockWhole(f); err != nil {
			f.Close()
			return err
		}
		if !at(mbox, f) {
			f.Close()
			return &busy{holder: "a process that replaces the file", hint: "try again later"}
		}
		l.file = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.check = isOurs(mbox, l.file)
	return l, nil
}

// FcntlReplaced takes the lock of Fcntl on an mbox that another file took the place of, as who had opened it before
// does. It opens it anew, by /proc. Its Check says nothing: the file is at no path.
func FcntlReplaced(ctx context.Context, mbox *os.File, wait time.Duration) (*Lock, error) {
	l := &Lock{path: mbox.Name(), mbox: true, free: func() {}, check: func() error { return nil }}
	err := acquire(ctx, l.path, wait, func() error {
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", mbox.Fd()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := lockWhole(f); err != nil {
			f.Close()
			return err
		}
		l.file = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func lockWhole(f *os.File) error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if err != unix.EAGAIN && err != unix.EACCES {
		return os.NewSyscallError("fcntl", err)
	}
	b := &busy{holder: "another process", hint: "try again later"}
	held := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held) == nil && held.Type != unix.F_UNLCK && held.Pid > 0 {
		b.holder = fmt.Sprintf("process %d", held.Pid)
	}
	return b
}
