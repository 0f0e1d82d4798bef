// Package lock lets one process at a time do a piece of work. The lock is an
// flock(2) on a file, so the kernel releases it when its holder dies, however
// that happens. The file stays when the lock is released: to remove it would
// let two processes hold locks on two files of one name.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rplan/lib/diag"
)

// poll is how often a waiting process looks again.
const poll = 50 * time.Millisecond

// Lock is a lock that is held.
type Lock struct {
	file  *os.File
	given bool // to another process, which holds it as long as it lives
}

// Acquire takes the lock on the file at path, which it makes if need be, and
// writes this process's id into it. If another holds the lock, it waits as long
// as wait says; 0 means not at all. The error is of kind diag.TryAgain if the
// lock stayed busy, and then names the file and its holder, diag.CantCreate if
// there can be no such file, and ctx's if that ended first.
func Acquire(ctx context.Context, path string, wait time.Duration) (*Lock, error) {
	// Nobody else may open it: whoever can read a file can lock it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot open lock %q: %w", path, errors.Unwrap(err))
	}
	return AcquireFile(ctx, f, wait)
}

// AcquireFile is Acquire on a file that is open for reading and writing, for who
// may not trust a path. On an error it is closed.
func AcquireFile(ctx context.Context, f *os.File, wait time.Duration) (*Lock, error) {
	if err := acquire(ctx, f, wait); err != nil {
		f.Close()
		return nil, err
	}
	// For people, and for the message of who comes second: nothing depends on it.
	f.Truncate(0)
	fmt.Fprintln(f, os.Getpid())
	return &Lock{file: f}, nil
}

// File is for a process that is started and is to hold the lock too, for as long as it lives.
func (l *Lock) File() *os.File {
	l.given = true
	return l.file
}

// Release gives the lock up. A second call does nothing.
func (l *Lock) Release() {
	l.file.Truncate(0)
	if !l.given {
		syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) // what is just being started has the file too, until execve(2) is done
	}
	l.file.Close()
}

func acquire(ctx context.Context, f *os.File, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != syscall.EWOULDBLOCK {
			return diag.CantCreate.Errorf("cannot lock %q: %w", f.Name(), err)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return diag.TryAgain.Errorf("%q is locked by %s", f.Name(), holder(f))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for lock %q, held by %s: %w", f.Name(), holder(f), context.Cause(ctx))
		case <-time.After(min(poll, left)):
		}
	}
}

// holder is who holds the lock, as far as it has told.
func holder(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 20))
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}
