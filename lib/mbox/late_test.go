package mbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"rplan/tests/need"
)

func openFile(t *testing.T, path, content string) *os.File {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLate(t *testing.T) {
	long := "From l\n\n" + strings.Repeat("0123456789", copyBlock/8)
	for _, c := range []struct{ live, old, late, want string }{
		{"From a\n\n", "From 0\n\n", "", "From a\n\n"},
		{"From a\n\n", "From 0\n\n", "From b\n\n", "From a\n\nFrom b\n\n"},
		{"From a\n\na", "From 0\n\n", "From b\n\n", "From a\n\na\n\nFrom b\n\n"},
		{"", "From 0\n\n", "From b\n\n", "From b\n\n"},
		{"\n", "", "From b\n\n", "\n\nFrom b\n\n"},
		{"From a\n\na\n", "From 0\n\n", long, "From a\n\na\n\n" + long},
	} {
		dir := t.TempDir()
		live := openFile(t, filepath.Join(dir, "live"), c.live)
		old := openFile(t, filepath.Join(dir, "old"), c.old+c.late)
		from := int64(len(c.old))
		for range 2 { // the second time nothing is late
			size, err := Late(live, old, from)
			if err != nil || size != int64(len(c.old+c.late)) {
				t.Fatalf("%d, %v", size, err)
			}
			from = size
		}
		if got, _ := os.ReadFile(live.Name()); string(got) != c.want {
			t.Errorf("%.40q and %.40q gave %.60q", c.live, c.late, got)
		}
	}
}

func TestLateDiskFull(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := errors.Join(syscall.Unshare(syscall.CLONE_NEWNS), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	live := openFile(t, filepath.Join(dir, "live"), "From a\n\n")
	old := openFile(t, filepath.Join(t.TempDir(), "old"), strings.Repeat("x", 100_000))
	if size, err := Late(live, old, 0); size != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", size, err)
	}
	if got, _ := os.ReadFile(live.Name()); string(got) != "From a\n\n" {
		t.Errorf("the mbox has %d bytes", len(got))
	}
	live.Close()
}
