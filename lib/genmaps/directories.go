package genmaps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// makeRoot makes the maps directory, which every service passes through.
func makeRoot(maps string) error {
	if info, err := os.Stat(maps); err == nil {
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && owner != uint32(os.Geteuid()) {
			return diag.CantCreate.Errorf("%q belongs to another user (%d), who could put links in the way", maps, owner).
				WithHint("name a directory of your own, such as one made by mktemp -d")
		}
		return nil
	}
	err := atomicfile.MkdirAll(filepath.Dir(maps), 0o755)
	if err == nil {
		err = appear(maps, 0o755, -1)
	}
	if err != nil {
		return diag.CantCreate.Errorf("making the maps directory: %w", err).
			WithHint("publishing is root's; --output DIR makes a preview elsewhere")
	}
	return nil
}

// makeDirectory makes a service's directory, for whose group alone it is: maps
// hold everyone's addresses. One that is there stays as the admin has it,
// unless it waits for a group that was not known when it was made.
func (l *live) makeDirectory(dir, service string) error {
	mode, gid := fs.FileMode(0o755), -1 // who is not root cannot give it to a group
	switch {
	case l.preview:
		mode = 0o700
	case os.Geteuid() == 0:
		mode, gid = 0o750, l.group(service)
	}
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = appear(dir, mode, gid)
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%q is no directory", dir)
	case err == nil && os.Geteuid() == 0 && gid > 0 && info.Mode().Perm() == 0o750 && info.Sys().(*syscall.Stat_t).Gid == 0:
		err = os.Chown(dir, -1, gid)
	}
	if err != nil {
		return diag.CantCreate.Errorf("making the directory of a service: %w", err)
	}
	return nil
}

// group is the id of the group that reads a service's maps, or -1 if the system has no such group.
func (l *live) group(service string) int {
	name := l.settings.Group[service]
	found, err := user.LookupGroup(name)
	if err == nil {
		if gid, err := strconv.Atoi(found.Gid); err == nil {
			return gid
		}
	}
	l.warn(fmt.Sprintf("there is no group %q on this system: only root can read the maps of %s (genmaps.group.%s)", name, service, service))
	return -1
}

// appear makes a directory that is complete, rights and all, from the moment it can be seen.
func appear(dir string, mode fs.FileMode, gid int) error {
	hidden := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".rplan-new")
	if err := os.RemoveAll(hidden); err != nil {
		return err
	}
	err := os.Mkdir(hidden, 0o700)
	if err == nil && gid >= 0 {
		err = os.Chown(hidden, -1, gid)
	}
	if err == nil {
		err = os.Chmod(hidden, mode) // whatever the umask
	}
	if err == nil {
		err = os.Rename(hidden, dir)
	}
	return err
}
