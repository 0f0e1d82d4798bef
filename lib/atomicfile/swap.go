package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Swap is a complete file that is to be moved to a path on the same file
// system. Many are made ready together and then moved one by one: the disk is
// waited for twice, not once for each file.
type Swap struct{ Staged, Path string }

// Prepare gives the staged files the owner, mode and time that they have to
// have at their paths, and returns when their content is safe on the disk. The
// paths are not touched.
func Prepare(swaps []Swap) error {
	if len(swaps) == 1 {
		return swaps[0].prepare()
	}
	// fsync calls at the same time share the file system's work.
	const together = 16
	errs := make([]error, len(swaps))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(together, len(swaps)) {
		workers.Go(func() {
			for i := range next {
				errs[i] = swaps[i].prepare()
			}
		})
	}
	for i := range swaps {
		next <- i
	}
	close(next)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s Swap) prepare() error {
	f, err := os.OpenFile(s.Staged, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return failed(s.Path, fmt.Errorf("opening %q: %w", s.Staged, errors.Unwrap(err)))
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is no regular file", s.Staged)
	}
	if err == nil {
		err = ready(s.Path, f, info.Mode())
	}
	if err != nil {
		return failed(s.Path, err)
	}
	return nil
}

// Move puts a prepared file at its path. It is there at once, and after a power
// cut once SyncDirs has returned.
func (s Swap) Move() error {
	if err := os.Rename(s.Staged, s.Path); err != nil {
		return failed(s.Path, err)
	}
	return nil
}

// SyncDirs returns when the moves are safe on the disk.
func SyncDirs(swaps []Swap) error {
	synced := map[string]bool{}
	for _, s := range swaps {
		for _, dir := range []string{filepath.Dir(s.Path), filepath.Dir(s.Staged)} {
			if synced[dir] {
				continue
			}
			if err := syncDir(dir); err != nil {
				return failed(s.Path, err)
			}
			synced[dir] = true
		}
	}
	return nil
}

// ready gives f the owner and mode of what is at path, or this mode, and syncs it.
func ready(path string, f *os.File, mode fs.FileMode) error {
	old, err := os.Lstat(path)
	switch {
	case err == nil && old.Mode().IsRegular():
		err = takeOver(old, f)
	case err == nil && old.Mode()&fs.ModeSymlink != 0, errors.Is(err, fs.ErrNotExist):
		err = f.Chmod(mode)
	case err == nil:
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return err
	}
	return f.Sync()
}
