package atomicfile

import (
	"path/filepath"
	"syscall"
	"testing"

	"rplan/lib/diag"
)

func TestMkdirAll(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := t.TempDir()
	dir := filepath.Join(top, "lib", "rplan", "failover")
	for range 2 {
		if err := MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"lib": "drwxr-xr-x", "lib/rplan": "drwxr-xr-x", "lib/rplan/failover": "drwx------"} {
		if got := stat(t, filepath.Join(top, path)).Mode().String(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	put(t, filepath.Join(top, "file"), "", 0o644)
	for _, path := range []string{"file", "file/sub/dir"} {
		if err := MkdirAll(filepath.Join(top, path), 0o755); diag.KindOf(err) != diag.CantCreate {
			t.Errorf("%s: %v", path, err)
		}
	}
}
