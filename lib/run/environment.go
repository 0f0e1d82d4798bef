package run

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"rplan/lib/diag"
)

// sbin is where Debian keeps daemons and their tools, and what cron's PATH and
// a user's leave out.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

// LookPath returns the full path of a program, from PATH or one of the sbin
// directories. A name with a slash is a path already. The error wraps
// exec.ErrNotFound and is of kind diag.Unavailable.
func LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
		return "", notFound(name)
	}
	for _, dir := range filepath.SplitList(searchPath()) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", notFound(name)
}

// Foreign is the path of a program that LookPath finds, where others than root can put
// another in its place; "" where nobody can.
func Foreign(name string) (string, error) {
	path, err := LookPath(name)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	for _, p := range []string{path, real} {
		for ; ; p = filepath.Dir(p) {
			info, err := os.Stat(p)
			if err != nil {
				return "", err
			}
			if info.Sys().(*syscall.Stat_t).Uid != 0 || info.Mode().Perm()&0o022 != 0 {
				return path, nil
			}
			if p == "/" {
				break
			}
		}
	}
	return "", nil
}

func notFound(name string) error {
	return diag.Unavailable.Errorf("%q: %w", name, exec.ErrNotFound)
}

// Environment is all that a program gets to know of ours.
func Environment() []string {
	return []string{"PATH=" + searchPath(), "HOME=" + cmp.Or(os.Getenv("HOME"), "/"), "LANG=C.UTF-8"}
}

// Desk is what a program needs beside it to ask the user at this machine, see ssh(1).
func Desk() (env []string) {
	for _, name := range []string{"SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func searchPath() string {
	return cmp.Or(os.Getenv("PATH"), "/usr/local/bin:/usr/bin:/bin") + ":" + sbin
}
