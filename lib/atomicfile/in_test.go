package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
)

// The file goes to the directory that was opened, also when another is at its path by now.
func TestCreateIn(t *testing.T) {
	top := t.TempDir()
	dir, moved, elsewhere := filepath.Join(top, "dir"), filepath.Join(top, "moved"), filepath.Join(top, "elsewhere")
	for _, d := range []string{dir, elsewhere} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "name"), "old", 0o640)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := CreateIn(root, "name", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateIn(root, "name", 0o600); diag.KindOf(err) != diag.TryAgain || !strings.Contains(err.Error(), dir+"/name") {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := f.Write([]byte("ne")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.File().Write([]byte("w")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(moved, "name")); got != "new" {
		t.Errorf("content is %q", got)
	}
	if mode := stat(t, filepath.Join(moved, "name")).Mode(); mode != 0o640 {
		t.Errorf("mode is %v", mode)
	}
	holdsOnly(t, moved, "name")
	holdsOnly(t, elsewhere)
}

func TestCreateInTakesNames(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"", "a/b", "/a", "../a", "a/"} {
		if _, err := CreateIn(root, name, 0o600); diag.KindOf(err) != diag.CantCreate {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCreateInAborts(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := CreateIn(root, "name", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	holdsOnly(t, dir)
	if open, err := filepath.EvalSymlinks("/proc/self/fd"); err == nil {
		fds, _ := os.ReadDir(open)
		for _, fd := range fds {
			if to, _ := os.Readlink(filepath.Join(open, fd.Name())); strings.HasPrefix(to, dir+"/") {
				t.Errorf("%s is still open", to)
			}
		}
	}
}
