package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rplan/lib/diag"
)

func TestOneWriterAtATime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "map")
	f, err := Create(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	fmt.Fprint(f, "first")
	_, err = WriteFile(path, []byte("second"), 0o644)
	fails(t, err, diag.TryAgain, path, "cannot write PATH: another process is writing it")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "first" {
		t.Errorf("the path holds %q", got)
	}
	if _, err := WriteFile(path, []byte("second"), 0o644); err != nil {
		t.Errorf("after the first is done: %v", err)
	}
}

func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "map")
	var wg sync.WaitGroup
	var written atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				_, err := WriteFile(path, []byte(strings.Repeat(fmt.Sprint(i), 100+i)), 0o644)
				switch {
				case err == nil:
					written.Add(1)
				case diag.KindOf(err) != diag.TryAgain:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if written.Load() == 0 {
		t.Error("no writer came through")
	}
	if got := content(t, path); len(got) < 100 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("the path holds %q", got)
	}
	holdsOnly(t, dir, "map")
}

// What a killed writer left goes, also when there is nothing to write.
func TestStaleFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "map")
	for _, data := range []string{"new", "new"} {
		put(t, tempName(path), "half", 0o600)
		if _, err := WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		holdsOnly(t, dir, "map")
		if got := content(t, path); got != "new" {
			t.Errorf("the path holds %q", got)
		}
	}
}

// A name that could be the temporary file's and is not ours is not followed.
func TestPlantedSymlink(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "map"), filepath.Join(dir, "victim")
	put(t, victim, "theirs", 0o600)
	if err := os.Symlink("victim", tempName(path)); err != nil {
		t.Fatal(err)
	}
	_, err := WriteFile(path, []byte("new"), 0o644)
	fails(t, err, diag.CantCreate, path, "cannot write PATH: open: too many levels of symbolic links")
	if got := content(t, victim); got != "theirs" {
		t.Errorf("the victim holds %q", got)
	}
}

func TestReaderSeesWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "map")
	put(t, path, strings.Repeat("0", 1000), 0o644)
	done := make(chan error)
	go func() {
		defer close(done)
		for i := range 50 {
			if _, err := WriteFile(path, []byte(strings.Repeat(fmt.Sprint(i%10), 1000+i)), 0o644); err != nil {
				done <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if got := content(t, path); len(got) < 1000 || strings.Trim(got, got[:1]) != "" {
			t.Fatalf("a reader saw %d bytes that begin with %.10q", len(got), got)
		}
	}
}
