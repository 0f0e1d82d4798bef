package layout

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rplan/tests/need"
)

func leftOf(left []Left, path string) string {
	for _, l := range left {
		if l.Path == path {
			return l.Why
		}
	}
	return ""
}

func TestWalkPassesOver(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	writePipermail(t, dir, "dev", "2019-March")
	writePipermail(t, outside, "secret", "2019-March")
	for _, err := range []error{
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "secret")),
		os.Symlink("dev", filepath.Join(dir, "alias")),
		os.Symlink("000000.html", filepath.Join(dir, "dev/2019-March/000009.html")),
		syscall.Mkfifo(filepath.Join(dir, "dev/2019-March/000008.html"), 0o644),
		os.MkdirAll(filepath.Join(dir, "dev", strings.Repeat("d/", deepest+2)), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	archives, left, err := Find(openRoot(t, dir), "")
	if err != nil || len(archives) != 1 {
		t.Fatalf("%v, %v", archives, err)
	}
	for path, why := range map[string]string{"secret": "a symlink to", "alias": `a symlink to "dev"`} {
		if !strings.Contains(leftOf(left, path), why) {
			t.Errorf("%q is left as %q", path, leftOf(left, path))
		}
	}
	for path, why := range map[string]string{
		"dev/2019-March/000009.html": "a symlink to", "dev/2019-March/000008.html": "neither file nor directory", "dev/" + strings.Repeat("d/", deepest-2) + "d/d": "deep",
	} {
		if !strings.Contains(leftOf(archives[0].Left, path), why) {
			t.Errorf("%q is left as %q", path, leftOf(archives[0].Left, path))
		}
	}
}

// A mounted file system is passed over, and one that is a part of the same one too.
func TestWalkStaysOnFileSystem(t *testing.T) {
	need.Root(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and with it its mounts
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		dir := t.TempDir()
		writePipermail(t, dir, "dev", "2019-March", "2019-April", "2019-May")
		bound := filepath.Join(dir, "dev/2019-April")
		mounted := filepath.Join(dir, "dev/2019-May")
		page := filepath.Join(dir, "dev/2019-March/000000.html")
		for _, err := range []error{
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(bound, bound, "", unix.MS_BIND, ""),
			unix.Mount(page, page, "", unix.MS_BIND, ""),
			unix.Mount("tmpfs", mounted, "tmpfs", 0, ""),
		} {
			if err != nil {
				t.Error(err)
				return
			}
		}
		archives, _, err := Find(openRoot(t, dir), "")
		for _, path := range []string{bound, page, mounted} {
			if err := unix.Unmount(path, 0); err != nil {
				t.Error(err)
			}
		}
		if err != nil || len(archives) != 1 {
			t.Errorf("%v, %v", archives, err)
			return
		}
		for _, path := range []string{"dev/2019-April", "dev/2019-May", "dev/2019-March/000000.html"} {
			if leftOf(archives[0].Left, path) != "on another file system, or mounted" {
				t.Errorf("%q is left as %q", path, leftOf(archives[0].Left, path))
			}
		}
		for _, f := range archives[0].Files {
			if strings.HasPrefix(f.Path, "dev/2019-April/") || strings.HasPrefix(f.Path, "dev/2019-May/") {
				t.Errorf("%q is listed", f.Path)
			}
		}
	}()
	<-done
}

// What was a directory when it was seen, and is a symlink or another directory when it is opened, is not entered.
func TestWalkEntersWhatItSaw(t *testing.T) {
	at, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret"), "x")
	write(t, filepath.Join(at, "a", "b", "file"), "x")
	top, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	fd := int(top.Fd())
	for name, change := range map[string]func(path string) error{
		"a symlink out":       func(path string) error { return os.Symlink(outside, path) },
		"a symlink in":        func(path string) error { return os.Symlink("a.old/b", path) },
		"another directory":   func(path string) error { return os.Mkdir(path, 0o755) },
		"nothing":             func(string) error { return nil },
		"a file":              func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"a pipe, to wait for": func(path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		st, err := stat(fd, "a")
		if err != nil {
			t.Fatal(err)
		}
		a := filepath.Join(at, "a")
		if err := os.Rename(a, a+".old"); err != nil {
			t.Fatal(err)
		}
		if err := change(a); err != nil {
			t.Fatal(err)
		}
		w := &walker{dev: device(st), mount: st.Mnt_id}
		d := &dir{path: "a", name: "a"}
		if err := w.enter(fd, d, st, 1); err == nil || len(d.files)+len(d.dirs) > 0 {
			t.Errorf("%s: %v, %v", name, err, d)
		}
		if err := os.RemoveAll(a); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(a+".old", a); err != nil {
			t.Fatal(err)
		}
	}
}

// Directories turn into symlinks, come back, and vanish while they are looked at. Whatever
// Find lists and Open opens is in the tree, and was there when it was listed.
func TestWalkRace(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	writePipermail(t, dir, "dev", "2019-March", "2019-April")
	writePipermail(t, outside, "dev", "2019-March", "2019-April", "secret")
	inside, out := filepath.Join(dir, "dev"), filepath.Join(outside, "dev")
	aside := t.TempDir()
	if err := os.Symlink(out, filepath.Join(aside, "list")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(out, "secret"), filepath.Join(aside, "month")); err != nil {
		t.Fatal(err)
	}
	const secret = "of another tree"
	filepath.WalkDir(outside, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.WriteFile(path, []byte(secret), 0o644)
		}
		return err
	})
	root := openRoot(t, dir)
	var stop atomic.Bool
	var swapping sync.WaitGroup
	// By descriptors: the swapper itself must not be led astray.
	fd := func(path string) int {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return int(f.Fd())
	}
	top, list, by := fd(dir), fd(inside), fd(aside)
	swap := func(in int, name, with string, flags uint) {
		for !stop.Load() {
			if unix.Renameat2(in, name, by, with, flags) == nil && flags == 0 {
				unix.Renameat2(by, with, in, name, 0)
			}
			runtime.Gosched()
		}
	}
	swapping.Go(func() { swap(top, "dev", "list", unix.RENAME_EXCHANGE) })
	swapping.Go(func() { swap(list, "2019-April", "month", unix.RENAME_EXCHANGE) })
	swapping.Go(func() { swap(list, "2019-March", "gone", 0) })
	seen := map[string]int{}
	for start := time.Now(); time.Since(start) < time.Second; {
		archives, left, err := Find(root, "")
		if err != nil {
			seen["error"]++
		}
		for _, l := range left {
			seen[l.Why]++
		}
		for _, a := range archives {
			for _, f := range a.Files {
				if strings.Contains(f.Path, "secret") || f.Size == int64(len(secret)) {
					t.Errorf("%q is listed", f.Path)
				}
				if text := opened(root, f); text == secret {
					t.Errorf("%q was read from another tree", f.Path)
				} else if text != "" {
					seen["read"]++
				}
			}
		}
	}
	stop.Store(true)
	swapping.Wait()
	if seen["read"] == 0 || len(seen) < 2 {
		t.Errorf("nothing was going on: %v", seen)
	}
}

func opened(root *os.Root, f File) string {
	file, err := Open(root, f)
	if err != nil {
		return ""
	}
	defer file.Close()
	b, _ := io.ReadAll(file)
	return string(b)
}

// Another file of the same name is not what was listed.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	writePipermail(t, dir, "dev", "2019-March")
	root := openRoot(t, dir)
	archives, _, err := Find(root, "")
	if err != nil {
		t.Fatal(err)
	}
	file := archives[0].Files[0]
	if opened(root, file) == "" {
		t.Fatalf("cannot open %q", file.Path)
	}
	path := filepath.Join(dir, file.Path)
	write(t, path+".new", "another")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, file); err == nil || !strings.Contains(err.Error(), file.Path) {
		t.Errorf("opened another file: %v", err)
	}
}

// BenchmarkFind is a tree of 100,000 files: with RPLAN_BENCH_DIR on the file system of that directory.
func BenchmarkFind(b *testing.B) {
	dir, err := os.MkdirTemp(os.Getenv("RPLAN_BENCH_DIR"), "")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	page := article{id: "<one@example.org>", author: "Joe", date: "d", subject: "x", body: strings.Repeat("Hello.\n", 200)}.page()
	for list := range 20 {
		name := fmt.Sprint("list", list)
		volumes := make([]string, 50)
		for v := range volumes {
			volumes[v] = fmt.Sprint(1970+v, "-March")
		}
		writePipermail(b, dir, name, volumes...)
		for _, v := range volumes {
			for n := range 91 {
				write(b, filepath.Join(dir, name, v, fmt.Sprintf("%06d.html", 1000+n)), page)
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	var archives []Archive
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			if archives, _, err = Find(root, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pages", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, a := range archives {
				for _, f := range a.Files {
					if f.Kind != Page {
						continue
					}
					file, err := Open(root, f)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := ReadPage(file, a.Layout, filepath.Dir(f.Path)); err != nil {
						b.Fatal(err)
					}
					file.Close()
					n++
				}
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pages/s")
	})
}
