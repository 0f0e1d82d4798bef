package archiveprune

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"rplan/lib/maillock"
)

// hold takes the locks of who writes to an mbox, and to old, which was at its place before. Where there is no mbox there
// is nobody to lock out. It looks for no archive: there may be none left.
func (r *runner) hold(ctx context.Context, t *tree, p string, old *os.File) (free func(), err error) {
	var held []*maillock.Lock
	defer func() {
		if err != nil {
			release(held)
		}
	}()
	if _, err := os.Lstat(filepath.Join(t.path, p)); !errors.Is(err, fs.ErrNotExist) {
		if held, err = r.lockMailman(ctx, mailmansMbox(p)); err != nil {
			return nil, err
		}
		locks, err := t.lockMbox(ctx, p)
		if err != nil {
			return nil, err
		}
		held = append(held, locks...)
	}
	l, err := maillock.FcntlReplaced(ctx, old, lockWait)
	if err != nil {
		return nil, err
	}
	held = append(held, l)
	return func() { release(held) }, nil
}

// mailmansMbox is the list whose mbox a path is if it is Mailman 2's, LIST.mbox/LIST.mbox, or "".
func mailmansMbox(p string) string {
	dir, name := path.Split(p)
	if list, ok := strings.CutSuffix(name, ".mbox"); ok && path.Base(dir) == name {
		return list
	}
	return ""
}
