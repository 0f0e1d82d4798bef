package archiveprune

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/maillock"
)

// old is an mbox that another file took the place of. Who had opened it before may still add to it.
type old struct {
	file *os.File
	path string
	from int64 // bytes of it that the other file goes back to
}

// settling is how long who had opened an mbox gets to write to it once the locks are free. Tests have less.
var settling = time.Second

// replaced remembers that an mbox has another inode now.
func (w *rewriting) replaced(file *os.File, path string, from int64) error {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	w.olds = append(w.olds, old{os.NewFile(uintptr(fd), file.Name()), path, from})
	return nil
}

// late brings over what was added to mboxes that are none any more, by who waited for their locks.
func (w *rewriting) late(ctx context.Context) error {
	if len(w.olds) == 0 {
		return nil
	}
	select {
	case <-time.After(settling):
	case <-ctx.Done(): // it is all the more important then
	}
	var errs []error
	for _, o := range w.olds {
		errs = append(errs, w.lateFor(context.WithoutCancel(ctx), o))
		o.file.Close()
	}
	return errors.Join(errs...)
}

func (w *rewriting) lateFor(ctx context.Context, o old) error {
	locks, err := w.tree.lockMbox(ctx, o.path)
	if err != nil {
		return err
	}
	defer release(locks)
	live, err := w.tree.root.OpenFile(o.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer live.Close()
	lock, err := maillock.FcntlReplaced(ctx, o.file, lockWait)
	if err != nil {
		return err
	}
	defer lock.Release()
	_, err = w.run.Late(o.path, live, lock.File(), o.from)
	return err
}
