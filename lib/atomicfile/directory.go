package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"rplan/lib/diag"
)

// MkdirAll makes a directory of this mode, unless there is one, and what is missing
// above it with mode 0755, as others pass through there. Neither depends on the
// umask: an admin whose umask is 077 would shut Dovecot out of /var/lib/rplan.
func MkdirAll(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return diag.CantCreate.Errorf("%q is no directory", path)
	case !errors.Is(err, fs.ErrNotExist):
		return diag.CantCreate.Errorf("%w", err)
	}
	if err := MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	err = os.Mkdir(path, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil // another has just made it
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return diag.CantCreate.Errorf("%w", err)
	}
	return nil
}
