// Package maillock takes the locks that other programs take on mail, as they do:
// dotlocks and fcntl(2) on an mbox, Mailman 2's on a list, MHonArc's on an archive.
//
// All but fcntl's are files, which outlive their holder. So each is kept fresh while it is
// held, and is given up for dead by the rule that is said with its function. Others have
// such rules as well: a process that was stopped for long may have lost its lock. Ask Check
// before the step that must not be done without it.
//
// Who replaces an mbox under its locks has to think of those who opened it and wait. Postfix 3.7 sends a message
// back for good if the file has a second name when it opens it, and, without a dotlock, adds it to the old file
// if that has just one name when it gets its lock; with none or two it tries again later. So: exchange the files
// (renameat2(2), RENAME_EXCHANGE), and then give the old one, if it is kept, a second name. Python's mailbox
// module looks at nothing: see Late of lib/mbox.
//
// Errors are of kind diag.TryAgain if a lock stayed busy, and then name its holder, diag.CantCreate
// if there can be no such lock, and ctx's if that ended first.
package maillock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// poll is how often a waiting process looks again.
const poll = 50 * time.Millisecond

// Lock is a lock that is held.
type Lock struct {
	path  string
	file  *os.File // what has the lock, or is it
	mbox  bool     // and it is the mbox
	check func() error
	free  func()
	stop  chan struct{}
	done  sync.WaitGroup
	once  sync.Once
}

// File is the mbox, open for reading and writing, of a lock that Fcntl took, and nil of all others.
func (l *Lock) File() *os.File {
	if !l.mbox {
		return nil
	}
	return l.file
}

// Check returns an error if the lock is not held any more, because another process took
// it for a dead one's or somebody removed it.
func (l *Lock) Check() error {
	if err := l.check(); err != nil {
		return diag.TryAgain.Errorf("the lock %q is lost: %w", l.path, err)
	}
	return nil
}

// Release gives the lock up, if it is still held. A second call does nothing.
func (l *Lock) Release() {
	l.once.Do(func() {
		if l.stop != nil {
			close(l.stop)
			l.done.Wait()
		}
		l.free()
		l.file.Close()
	})
}

// keep has a lock's file look fresh until its release: its time is always ahead of now by this much.
func (l *Lock) keep(every, ahead time.Duration) {
	l.stop = make(chan struct{})
	l.done.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(every):
				touch(l.file, ahead) // by its descriptor: at the path there may be another's
			}
		}
	})
}

// touch sets a file's times to some time from now.
func touch(f *os.File, ahead time.Duration) error {
	t := unix.NsecToTimeval(time.Now().Add(ahead).UnixNano())
	return os.NewSyscallError("futimes", unix.Futimes(int(f.Fd()), []unix.Timeval{t, t}))
}

// busy is why a lock cannot be had now.
type busy struct {
	holder string
	hint   string
}

func (b *busy) Error() string { return "it is held by " + b.holder }

// acquire tries until the lock is there, wait is over, or something else is wrong. A wait of 0 is one try.
func acquire(ctx context.Context, path string, wait time.Duration, try func() error) error {
	deadline := time.Now().Add(wait)
	for {
		err := try()
		if err == nil {
			return nil
		}
		b, ok := errors.AsType[*busy](err)
		if !ok {
			return cannot(path, err)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return diag.TryAgain.Errorf("the lock %q is held by %s", path, b.holder).WithHint("%s", b.hint)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the lock %q, held by %s: %w", path, b.holder, context.Cause(ctx))
		case <-time.After(min(poll, left)):
		}
	}
}

// cannot is the error of a lock that cannot be there. The path is named once.
func cannot(path string, err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	case *os.LinkError:
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return diag.CantCreate.Errorf("cannot take the lock %q: %w", path, err)
}

// at tells whether path still means f.
func at(path string, f *os.File) bool {
	there, err1 := os.Lstat(path)
	here, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(there, here)
}

var errNotOurs = errors.New("another process has taken it for a dead one's, or somebody removed it")

// isOurs is the check of a lock that is a file at a path.
func isOurs(path string, f *os.File) func() error {
	return func() error {
		if !at(path, f) {
			return errNotOurs
		}
		return nil
	}
}

// breakStale removes the lock at path if it is stale. Of several processes that break it one does,
// as it has to have an flock(2) on the file; and it touches it first, so that programs with rules of
// their own do not find it stale any more. One that did so before can slip into the moment between the
// last two calls; with theirs that moment is longer.
func breakStale(path string, stale func(f *os.File, info fs.FileInfo) error, ahead time.Duration) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // released in this moment
	}
	if errors.Is(err, fs.ErrPermission) {
		return &busy{holder: "a process of another user", hint: "try again later"}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return &busy{holder: "a process that breaks it", hint: "try again later"}
	}
	info, err := f.Stat()
	if err == nil {
		err = stale(f, info)
	}
	if err != nil {
		return err
	}
	touch(f, ahead) // which may not be allowed to us
	if !at(path, f) {
		return nil
	}
	return os.Remove(path)
}

// parsePID reads a process's id; 0 is none.
func parsePID(text string) int {
	pid, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return int(pid)
}

// runs tells whether there is a process of this id on this host.
func runs(pid int) bool {
	return pid > 0 && unix.Kill(pid, 0) != unix.ESRCH
}

// ago is how long ago something was, for people.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
