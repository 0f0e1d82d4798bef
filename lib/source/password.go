package source

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"rplan/lib/diag"
)

// readPassword reads a password from a file that nobody but its owner can
// read, or a group that this process is in. A name without a slash is a
// systemd credential (systemd.exec(5), LoadCredential=). One line break at the
// end is cut.
func readPassword(name string) ([]byte, error) {
	path, credential := name, !strings.Contains(name, "/")
	if credential {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, diag.Config.Errorf("directory.password-file: %q is the name of a systemd credential, and there are none", name).
				WithHint("a file needs its whole path; a credential needs LoadCredential=%s:FILE in the unit", name)
		}
		path = filepath.Join(dir, name)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, diag.Config.Errorf("directory.password-file: %w", err)
	}
	defer f.Close()
	if err := private(f, credential); err != nil {
		return nil, err
	}
	const longest = 4096
	password, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		return nil, diag.Config.Errorf("directory.password-file: %w", err)
	}
	password = trimEnd(password)
	if len(password) == 0 || len(password) > longest || bytes.IndexByte(password, '\n') >= 0 {
		return nil, diag.Config.Errorf("directory.password-file: %q does not hold one line with a password", path)
	}
	return password, nil
}

// private refuses a file that others can read.
func private(f *os.File, credential bool) error {
	info, err := f.Stat()
	if err != nil {
		return diag.Config.Errorf("directory.password-file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return diag.Config.Errorf("directory.password-file: %q is not a regular file", f.Name())
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid && stat.Uid != 0 {
		return diag.Config.Errorf("directory.password-file: %q belongs to someone else", f.Name()).
			WithHint("chown %d %s", uid, f.Name())
	}
	open := info.Mode().Perm() & 0o077
	// systemd lets a unit's user read a credential by an ACL, which shows as a group's right.
	if open&^0o040 == 0 && (credential || int(stat.Gid) == os.Getegid()) {
		open = 0
	}
	if open != 0 {
		return diag.Config.Errorf("directory.password-file: others can read %q (mode %04o)", f.Name(), info.Mode().Perm()).
			WithHint("chmod 600 %s", f.Name())
	}
	return nil
}
