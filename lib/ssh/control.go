package ssh

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// maxControlDir is what unix(7) leaves of its 108 bytes for a path: ssh(1)
// adds a slash, %C as 40 digits, while it makes the socket a dot and 16 letters,
// and the byte at the end.
const maxControlDir = 108 - 1 - 40 - 17 - 1

// Prepare makes ControlDir, and refuses one that others could put a socket
// into: who answers there is believed to be the other node. Run does it by itself.
func (c *Client) Prepare() error {
	dir := c.ControlDir
	if dir == "" {
		return nil
	}
	if len(dir) > maxControlDir {
		return diag.Config.Errorf("the directory of connections %q has more than %d characters, too many for a socket in it", dir, maxControlDir)
	}
	err := atomicfile.MkdirAll(filepath.Dir(dir), 0o755)
	if err == nil {
		err = os.Mkdir(dir, 0o700) // no umask takes more away than that leaves
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return diag.CantCreate.Errorf("making the directory of connections: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return diag.CantCreate.Errorf("looking at the directory of connections: %w", err)
	}
	why := ""
	switch {
	case !info.IsDir():
		why = "is no directory"
	case info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()):
		why = "belongs to another user"
	case info.Mode().Perm()&0o077 != 0:
		why = fmt.Sprintf("is open to others, mode %#o", info.Mode().Perm())
	}
	if why != "" {
		return diag.Config.Errorf("the directory of connections %q %s", dir, why).WithHint("remove it, so that it is made anew")
	}
	return nil
}
