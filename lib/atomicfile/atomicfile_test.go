package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

func put(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// holdsOnly checks the names in dir.
func holdsOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q holds %q, want %q", dir, got, want)
	}
}

// fails checks an error's kind and text, where PATH stands for the path.
func fails(t *testing.T, err error, kind diag.Kind, path, want string) {
	t.Helper()
	want = strings.ReplaceAll(want, "PATH", fmt.Sprintf("%q", path))
	if err == nil || err.Error() != want || diag.KindOf(err) != kind {
		t.Errorf("error is %v, of kind %d, want %s, of kind %d", err, diag.KindOf(err), want, kind)
	}
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "map")
	for _, old := range []string{"", "old"} {
		if old != "" {
			put(t, path, old, 0o600)
		}
		f, err := Create(path, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "first, ")
		fmt.Fprint(f, "second")
		if got := stat(t, tempName(path)).Mode(); got != 0o600 {
			t.Errorf("the unfinished file has mode %v", got)
		}
		if old != "" && content(t, path) != old {
			t.Errorf("the path holds %q before Commit", content(t, path))
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Abort()
		if got := content(t, path); got != "first, second" {
			t.Errorf("the path holds %q", got)
		}
		holdsOnly(t, dir, "map")
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "map")
	put(t, path, "old", 0o644)
	f, err := Create(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "new")
	f.Abort()
	f.Abort()
	if got := content(t, path); got != "old" {
		t.Errorf("the path holds %q", got)
	}
	holdsOnly(t, dir, "map")
}

func TestMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "map")
	for _, c := range []struct{ there, asked, want fs.FileMode }{
		{0, 0o644, 0o644},
		{0, 0o640, 0o640},
		{0o640, 0o644, 0o640},
		{0o604, 0o600, 0o604},
	} {
		os.Remove(path)
		if c.there != 0 {
			put(t, path, "old", c.there)
		}
		if _, err := WriteFile(path, []byte("new"), c.asked); err != nil {
			t.Fatal(err)
		}
		if got := stat(t, path).Mode(); got != c.want {
			t.Errorf("mode is %v, want %v (asked %v, there was %v)", got, c.want, c.asked, c.there)
		}
	}
}

func TestOwner(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	path, staged := filepath.Join(dir, "map"), filepath.Join(dir, "staged")
	put(t, path, "old", 0o640)
	if err := os.Chown(path, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		info := stat(t, path)
		owner := info.Sys().(*syscall.Stat_t)
		if owner.Uid != 1234 || owner.Gid != 2345 || info.Mode() != 0o640 {
			t.Errorf("owner %d:%d, mode %v", owner.Uid, owner.Gid, info.Mode())
		}
	}
	if _, err := WriteFile(path, []byte("new"), 0o666); err != nil {
		t.Fatal(err)
	}
	check()
	put(t, staged, "newer", 0o600)
	if err := swapIn(staged, path); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestWriteFileOnlyWhatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "map")
	var last fs.FileInfo
	for _, c := range []struct {
		data    string
		changed bool
	}{{"", true}, {"", false}, {"a", true}, {"a", false}, {"b", true}, {"", true}} {
		changed, err := WriteFile(path, []byte(c.data), 0o644)
		if err != nil || changed != c.changed {
			t.Errorf("WriteFile(%q) = %v, %v, want %v", c.data, changed, err, c.changed)
		}
		if got := content(t, path); got != c.data {
			t.Errorf("the path holds %q, want %q", got, c.data)
		}
		info := stat(t, path)
		if last != nil && os.SameFile(last, info) == changed {
			t.Errorf("WriteFile(%q): changed is %v and yet the file is the same: %v", c.data, changed, !changed)
		}
		last = info
	}
}

// Dovecot misses a change of equal size within one second.
func TestTimeIsLaterInSeconds(t *testing.T) {
	dir := t.TempDir()
	path, staged := filepath.Join(dir, "map"), filepath.Join(dir, "staged")
	put(t, path, "0", 0o644)
	for i := range 4 {
		before, data := stat(t, path).ModTime(), fmt.Sprint(i+1)
		if i%2 == 0 {
			if _, err := WriteFile(path, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, staged, data, 0o644)
			if err := swapIn(staged, path); err != nil {
				t.Fatal(err)
			}
		}
		if after := stat(t, path).ModTime(); after.Unix() <= before.Unix() {
			t.Errorf("changed at %v, then at %v", before, after)
		}
	}
}

// swapIn takes one file through all steps of a swap.
func swapIn(staged, path string) error {
	one := []Swap{{staged, path}}
	if err := Prepare(one); err != nil {
		return err
	}
	if err := one[0].Move(); err != nil {
		return err
	}
	return SyncDirs(one)
}

func TestSwap(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	staged, path := filepath.Join(from, "staged"), filepath.Join(to, "map")
	for i, mode := range []fs.FileMode{0o640, 0o604} { // the first one stays
		put(t, staged, fmt.Sprint("new", i), mode)
		if err := swapIn(staged, path); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != fmt.Sprint("new", i) {
			t.Errorf("the path holds %q", got)
		}
		if got := stat(t, path).Mode(); got != 0o640 {
			t.Errorf("mode is %v", got)
		}
		holdsOnly(t, from)
		holdsOnly(t, to, "map")
	}
}

func TestSwapErrors(t *testing.T) {
	dir := t.TempDir()
	path, staged := filepath.Join(dir, "map"), filepath.Join(dir, "staged")
	put(t, path, "old", 0o644)
	fails(t, swapIn(staged, path), diag.CantCreate, path, fmt.Sprintf("cannot write PATH: opening %q: no such file or directory", staged))
	if err := os.Mkdir(staged, 0o755); err != nil {
		t.Fatal(err)
	}
	fails(t, swapIn(staged, path), diag.CantCreate, path, fmt.Sprintf("cannot write PATH: %q is no regular file", staged))
	put(t, filepath.Join(staged, "file"), "new", 0o644)
	nowhere := filepath.Join(dir, "nowhere", "map")
	fails(t, swapIn(filepath.Join(staged, "file"), nowhere), diag.CantCreate, nowhere, "cannot write PATH: rename: no such file or directory")
	holdsOnly(t, staged, "file")
	if got := content(t, path); got != "old" {
		t.Errorf("the path holds %q", got)
	}
}

func TestSymlinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	put(t, target, "theirs", 0o600)
	if err := os.Symlink("target", path); err != nil {
		t.Fatal(err)
	}
	if changed, err := WriteFile(path, []byte("theirs"), 0o644); err != nil || !changed {
		t.Fatalf("WriteFile = %v, %v", changed, err)
	}
	if got := stat(t, path).Mode(); got != 0o644 {
		t.Errorf("the path has mode %v", got)
	}
	if got := content(t, target); got != "theirs" || stat(t, target).Mode() != 0o600 {
		t.Errorf("what the link pointed to changed: %q", got)
	}
}

func TestOtherThingsStay(t *testing.T) {
	dir := t.TempDir()
	sub, fifo := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.Mkdir(sub, 0o755), syscall.Mkfifo(fifo, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{sub, fifo} {
		_, err := WriteFile(path, []byte("new"), 0o644)
		fails(t, err, diag.CantCreate, path, "cannot write PATH: it is no regular file")
	}
	holdsOnly(t, dir, "a", "b")
}

func TestNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "map")
	_, err := WriteFile(path, []byte("new"), 0o644)
	fails(t, err, diag.CantCreate, path, "cannot write PATH: open: no such file or directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}
