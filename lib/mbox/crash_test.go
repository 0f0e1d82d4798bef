package mbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/tests/need"
)

const (
	crashMbox = "From a\nX-IP: 192.0.2.1\nSubject: a\n\na\n\nFrom b\n\nb\n\nFrom c\n\nc\n"
	crashCut  = 38 // the length of the first message
)

// rewrites are what replaces a file: the file at path in dir is made anew from dir/mbox.
var rewrites = map[string]struct {
	path, after string
	do          func(src *os.File, path string) error
}{
	"cut": {"mbox", crashMbox[crashCut:], func(src *os.File, path string) error {
		return replaceFile(path, func(w io.Writer) error {
			return Cut(w, src, int64(len(crashMbox)), []Range{{0, crashCut}})
		})
	}},
	"scrub": {"mbox", strings.Replace(crashMbox, "X-IP: 192.0.2.1\n", "", 1), func(src *os.File, path string) error {
		return replaceFile(path, func(w io.Writer) error {
			one := func(yield func(Range, int64) bool) { yield(Range{0, int64(len(crashMbox))}, crashCut-3) }
			_, err := ScrubFile(w, src, int64(len(crashMbox)), nil, one)
			return err
		})
	}},
	"gzip": {"month", crashMbox[:crashCut] + crashMbox[:crashCut], packCrash(Gzip)},
	"zstd": {"month", crashMbox[:crashCut] + crashMbox[:crashCut], packCrash(Zstd)},
}

func replaceFile(path string, write func(io.Writer) error) error {
	out, err := atomicfile.Create(path, 0o640)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := write(out); err != nil {
		return err
	}
	return out.Commit()
}

func packCrash(f Format) func(*os.File, string) error {
	return func(src *os.File, path string) error {
		_, err := packAt(path, 0o640, f, src, []Range{{0, crashCut}, {0, crashCut}})
		return err
	}
}

// crashScene is a directory with an mbox, and for a packed one a file with the first message in it.
func crashScene(t *testing.T, name string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mbox"), []byte(crashMbox), 0o640); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, rewrites[name].path)
	if name == "gzip" || name == "zstd" {
		pack(t, path, Format(name), "From 0\n\n", Range{0, 8})
	}
	return dir, path
}

// crashState is "old" or "new", and nothing else may be in the file.
func crashState(t *testing.T, name, path string) string {
	t.Helper()
	before, after := crashMbox, rewrites[name].after
	got := ""
	if name == "gzip" || name == "zstd" {
		before, after = "From 0\n\n", "From 0\n\n"+after
		got = string(readAll(t, path, Format(name)))
	} else if b, err := os.ReadFile(path); err == nil {
		got = string(b)
	}
	switch got {
	case before:
		return "old"
	case after:
		return "new"
	}
	t.Fatalf("%s: the file holds %q", name, got)
	return ""
}

// TestCrashVictim is the process that is killed: it does one rewrite and ends.
func TestCrashVictim(t *testing.T) {
	name, dir, _ := strings.Cut(os.Getenv("MBOX_VICTIM"), ":")
	r, ok := rewrites[name]
	if !ok {
		return // an ordinary run
	}
	runtime.LockOSThread()
	src, err := os.Open(filepath.Join(dir, "mbox"))
	if err == nil {
		err = r.do(src, filepath.Join(dir, r.path))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// crashRun has the victim run under strace and returns whether it came to its end.
func crashRun(t *testing.T, name, dir string, args ...string) bool {
	t.Helper()
	const calls = "trace=openat,pread64,read,write,flock,fchown,fchmod,utimensat,fsync,copy_file_range,rename,renameat,renameat2,unlinkat"
	args = append(append([]string{"-f", "-qq", "-e", calls}, args...), os.Args[0], "-test.run=^TestCrashVictim$")
	cmd := exec.Command(need.Program(t, "strace"), args...)
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1", "MBOX_VICTIM="+name+":"+dir)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %s", err, out)
	}
	return err == nil
}

func TestKilledAtEveryStep(t *testing.T) {
	for name := range rewrites {
		dir, path := crashScene(t, name)
		if !crashRun(t, name, dir, "-o", "/dev/null") || crashState(t, name, path) != "new" {
			t.Fatalf("%s does not work without a kill", name)
		}
		seen := map[string]int{}
		for _, call := range []string{"openat", "pread64", "write", "fchmod", "fsync", "renameat", "unlinkat"} {
			for n := 1; ; n++ {
				dir, path := crashScene(t, name)
				done := crashRun(t, name, dir, "-o", "/dev/null", "-P", dir, "-P", path,
					"-P", filepath.Join(dir, "."+filepath.Base(path)+".rplan-new"), "-P", filepath.Join(dir, "mbox"),
					"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n))
				if done {
					break
				}
				state := crashState(t, name, path)
				seen[state]++
				if state == "new" && rewrites[name].path == "mbox" {
					continue // the ranges were those of the old one
				}
				if !crashRun(t, name, dir, "-o", "/dev/null") || crashState(t, name, path) != "new" {
					t.Errorf("%s: after a kill at %s %d it cannot be done again", name, call, n)
				}
			}
		}
		t.Logf("%s: killed %v", name, seen)
		if seen["old"] < 6 || seen["new"] < 1 {
			t.Errorf("%s: the kills missed something: %v", name, seen)
		}
	}
}

// On a disk without room the old file stays, and nothing else.
func TestDiskFull(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := errors.Join(syscall.Unshare(syscall.CLONE_NEWNS), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	text := make([]byte, 200_000)
	for i := range text { // which no program makes smaller
		text[i] = byte(i * i * 7919 >> 7 * (i % 251))
	}
	src := filepath.Join(dir, "mbox")
	if err := os.WriteFile(src, text, 0o640); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	size := int64(len(text))
	month := filepath.Join(dir, "month")
	for name, do := range map[string]func() error{
		"cut": func() error {
			return replaceFile(src, func(w io.Writer) error { return Cut(w, in, size, []Range{{0, 1}}) })
		},
		"scrub": func() error {
			return replaceFile(src, func(w io.Writer) error {
				_, err := ScrubFile(w, in, size, nil, func(yield func(Range, int64) bool) { yield(Range{0, size}, 0) })
				return err
			})
		},
		"gzip": func() error { _, err := packAt(month, 0o640, Gzip, in, []Range{{0, size}}); return err },
		"zstd": func() error { _, err := packAt(month, 0o640, Zstd, in, []Range{{0, size}}); return err },
	} {
		if err := do(); diag.KindOf(err) != diag.CantCreate || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(src); err != nil || string(now) != string(text) {
			t.Errorf("%s: the mbox changed, %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: there is %v, %v", name, entries, err)
		}
	}
}
