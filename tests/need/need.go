// Package need says what a test cannot do without. Where that is missing the
// test is skipped, with a line that names it; with RPLAN_NO_SKIP=1 it fails,
// so that a build machine cannot pass by leaving tests out.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sbin is where Debian keeps daemons, and what a user's PATH leaves out.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

// Root skips t unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root")
	}
}

// Program skips t unless every named program is installed, in PATH or in one
// of the sbin directories, and returns the full path of the first. A name
// with a slash is a path already.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	var first string
	var absent []string
	for _, name := range names {
		path := look(name)
		if path == "" {
			absent = append(absent, name)
		}
		if first == "" {
			first = path
		}
	}
	if len(absent) > 0 {
		missing(t, strings.Join(absent, ", "))
	}
	return first
}

// File skips t unless there is something at every path.
func File(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			missing(t, path)
		}
	}
}

// Netns skips t unless it can make network namespaces, and run ip(8) in them.
func Netns(t testing.TB) {
	t.Helper()
	cmd := exec.Command(Program(t, "ip"), "link", "set", "lo", "up")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if err := cmd.Run(); err != nil {
		missing(t, "network namespaces ("+err.Error()+")")
	}
}

func look(name string) string {
	if strings.Contains(name, "/") {
		path, _ := exec.LookPath(name)
		return path
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH") + ":" + sbin) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RPLAN_NO_SKIP") == "1" {
		t.Fatal("needs " + what + ", and RPLAN_NO_SKIP=1")
	}
	note(t.Name() + " needs " + what)
	t.Skip("skipped: needs " + what)
}

// note adds a line to the file that RPLAN_SKIPPED names, if it does: go test
// shows no reason for a skip, so make test does at its end.
func note(line string) {
	f, err := os.OpenFile(os.Getenv("RPLAN_SKIPPED"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	f.WriteString(line + "\n")
}
