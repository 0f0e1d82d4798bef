package trash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/tests/need"
)

// flip exchanges two names again and again until stop.
func flip(t *testing.T, a, b string) (stop func() int64) {
	var ended atomic.Bool
	var flips atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !ended.Load() {
			if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
				flips.Add(1)
			}
			runtime.Gosched()
		}
	}()
	return func() int64 {
		ended.Store(true)
		<-done
		return flips.Load()
	}
}

// A directory that turns into a symbolic link to elsewhere, and back, whenever it may:
// what is elsewhere stays, whatever is moved, undone and emptied meanwhile.
func TestRaceWithSymlink(t *testing.T) {
	s := quickScene(t)
	outside := &scene{TB: t, dir: s.dir + ".outside"}
	t.Cleanup(func() { os.RemoveAll(outside.dir) })
	outside.put("sub/file", "outside")
	// Second names of what is to go: not even by inode and time they are told from it.
	for p := range s.before {
		if !goes(p) || strings.Contains(p, "/deep") || p == "dev/2019-May" {
			continue
		}
		for _, as := range []string{filepath.Base(p), strings.TrimPrefix(p, "dev/")} {
			s.ok(os.MkdirAll(filepath.Dir(outside.at(as)), 0o755))
			if err := os.Link(s.at(p), outside.at(as)); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
	}
	s.before = s.snapshot()
	want := outside.snapshot()
	tree := s.locked()
	sorts := map[string]func(p *Plan){
		"dir":   func(p *Plan) { p.Sifts = nil },
		"sift":  func(p *Plan) { p.Dirs = nil },
		"files": func(p *Plan) { p.Dirs, p.Sifts = nil, nil },
	}
	tries, flips := 0, int64(0)
	for tries < 120 && !t.Failed() {
		for sort, change := range sorts {
			for _, dir := range []string{"dev/2019-May", "dev/html", "dev"} {
				tries++
				p := plan(t, s.dir)
				p.Files = listing(t, s.dir, func(p string) bool {
					return goes(p) && (sort == "sift" || !strings.HasPrefix(p, "dev/html/msg000") || strings.HasPrefix(p, "dev/html/msg0000"))
				})
				change(&p)
				link := s.at(dir + ".link")
				to, err := filepath.Rel(filepath.Dir(link), outside.dir) // openat2 takes an absolute one for another file system's
				s.ok(err)
				s.ok(os.Symlink(to, link))
				stop := flip(t, s.at(dir), link)
				_, err = prune(t.Context(), tree, p, layout.File{})
				if err == nil && tries%3 == 0 {
					_, err = tree.Undo(t.Context(), each)
				}
				flips += stop()
				if err != nil && diag.KindOf(err) != diag.CantCreate {
					t.Fatal(err)
				}
				if info, err := os.Lstat(link); err == nil && info.IsDir() { // put it right
					s.ok(unix.Renameat2(unix.AT_FDCWD, s.at(dir), unix.AT_FDCWD, link, unix.RENAME_EXCHANGE))
				}
				s.ok(os.Remove(link))
				s.restore(tree)
			}
		}
	}
	outside.is(want)
	s.is(s.before)
	t.Logf("%d tries, %d flips", tries, flips)
	if flips < int64(tries) {
		t.Error("there was no race")
	}
}

// restore has all back after a race.
func (s *scene) restore(tree *Tree) {
	s.Helper()
	if _, err := tree.mend(s.Context()); err != nil {
		s.Fatal(err)
	}
	for range 2 {
		all, err := tree.Undo(s.Context(), each)
		s.ok(err)
		for _, u := range all {
			if u.Stayed.Len() > 0 {
				s.Errorf("undone %+v", u)
			}
		}
	}
	s.emptyTrash()
	s.is(s.before)
}

// alone runs a test in a mount namespace of its own.
func alone(t *testing.T) {
	need.Root(t)
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Fatal("making a mount namespace: ", err)
	}
	mount(t, "", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
}

func mount(t *testing.T, from, at, kind string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount(from, at, kind, flags, options); err != nil {
		t.Fatalf("mounting %s: %v", at, err)
	}
	if at != "/" {
		t.Cleanup(func() { syscall.Unmount(at, syscall.MNT_DETACH) })
	}
}

// Whatever is mounted in a tree stays, be it of the same disk or not.
func TestMounts(t *testing.T) {
	alone(t)
	for _, kind := range []string{"tmpfs", "bind"} {
		for at, want := range map[string]map[string]string{
			"dev/2019-May/deep/down": {"dev/2019-May": "something is in it", "dev/2019-May/deep/down": "is on another file system"},
			"dev/2019-May":           {"dev/2019-May": "is on another file system"},
			"dev/html":               {"dev/html": "is on another file system"},
			"dev/2019-May.txt":       {"dev/2019-May.txt": "was changed since"},
		} {
			s := newScene(t)
			p := plan(t, s.dir)
			outside := &scene{TB: t, dir: t.TempDir()}
			outside.put("file", "outside")
			outside.put("thread.html", "outside")
			switch {
			case strings.HasSuffix(at, ".txt"):
				mount(t, outside.dir+"/file", s.at(at), "", syscall.MS_BIND, "")
			case kind == "tmpfs":
				mount(t, "tmpfs", s.at(at), "tmpfs", 0, "size=64k")
				s.put(at+"/thread.html", "outside")
			default:
				mount(t, outside.dir, s.at(at), "", syscall.MS_BIND, "")
			}
			s.before = s.snapshot()
			tree := s.locked()
			moved, err := prune(t.Context(), tree, p, layout.File{})
			s.ok(err)
			if at == "dev/html" { // each of its files is named
				moved.Stayed.Named = moved.Stayed.Named[:1]
				moved.Stayed.Named[0].Path = "dev/html"
			}
			stayed(t, moved.Stayed, want)
			_, err = tree.Empty(t.Context(), began.Add(1), anyRun, nil)
			s.ok(err)
			for path := range s.before {
				if (path == at || strings.HasPrefix(path, at+"/")) && !s.there(path) {
					t.Errorf("%s at %s: %s is gone", kind, at, path)
				}
			}
			if kind == "bind" && (outside.read("file") != "outside" || outside.read("thread.html") != "outside") {
				t.Error("something is gone outside")
			}
			s.emptyTrash()
			tree.Close()
		}
	}
}

// What is mounted in the trash is not emptied, nor brought into the tree.
func TestMountInTheTrash(t *testing.T) {
	alone(t)
	s := newScene(t)
	s.run()
	at := ".rplan/trash/20261126T182533Z-" + list + "/files/dev/2019-May"
	outside := &scene{TB: t, dir: t.TempDir()}
	for i := range 5 { // as if it were what is listed
		s.ok(os.Link(s.at(fmt.Sprintf("%s/%06d.html", at, i)), outside.at(fmt.Sprintf("%06d.html", i))))
	}
	want := outside.snapshot()
	mount(t, outside.dir, s.at(at), "", syscall.MS_BIND, "")
	tree := s.locked()
	emptied, err := tree.Empty(t.Context(), began.Add(1), anyRun, nil)
	s.ok(err)
	stayed(t, emptied[0].Stayed, map[string]string{"dev/2019-May": "is on another file system"})
	undone, err := tree.Undo(t.Context(), each)
	s.ok(err)
	stayed(t, undone[0].Stayed, map[string]string{"dev/2019-May": "is a mount point"})
	outside.is(want)
}

func TestOpenRefusesMount(t *testing.T) {
	alone(t)
	s := newScene(t)
	s.ok(os.Mkdir(s.at(ours), 0o755))
	mount(t, s.at("dev"), s.at(ours), "", syscall.MS_BIND, "")
	_, err := Open(s.dir)
	if want := fmt.Sprintf("%q is on another file system", s.at(ours)); diag.KindOf(err) != diag.Refused || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestOpenRefusesOthers(t *testing.T) {
	need.Root(t)
	for _, p := range []string{ours, ours + "/trash"} {
		s := newScene(t)
		s.with(func(*Tree) {})
		s.ok(os.Chown(s.at(p), 1234, -1))
		_, err := Open(s.dir)
		if want := fmt.Sprintf("%q belongs to user 1234, who is neither this process's nor the tree's", s.at(p)); diag.KindOf(err) != diag.Refused || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
		s.ok(os.Chown(s.dir, 1234, -1))
		tree, err := Open(s.dir)
		s.ok(err)
		tree.Close()
	}
}

// On a full disk a plan is refused, or carried out in part; nothing is lost.
func TestDiskFull(t *testing.T) {
	alone(t)
	more := strings.Repeat(arrived, 64<<10/len(arrived))
	seen := map[string]int{}
	for room := 0; room <= 120; room += 4 { // KiB
		dir := t.TempDir()
		s := &scene{TB: t, dir: filepath.Join(dir, "tree")}
		mount(t, "tmpfs", dir, "tmpfs", 0, "size=2m,nr_inodes=1k")
		s.ok(os.Mkdir(s.dir, 0o755))
		fillScene(s)
		s.put(byMbox, newMbox)
		p, old := plan(t, s.dir), listed(t, s.dir, mbox)
		s.with(func(*Tree) {}) // as after another run
		ballast := filepath.Join(dir, "ballast")
		fill(t, ballast, room)
		tree := s.locked()
		_, err := prune(t.Context(), tree, p, old)
		if err != nil && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.dir)) {
			t.Errorf("with %d KiB: %v", room, err)
		}
		tree.Close()
		if s.read(mbox) == newMbox {
			info, err := os.Stat(ballast)
			s.ok(err)
			s.ok(os.Truncate(ballast, info.Size()-68<<10))
			s.append(mbox, more)
		}
		now := s.read(mbox)
		tree = s.open()
		_, err = tree.Lock(t.Context())
		var undone []Undone
		if err == nil {
			undone, err = tree.Undo(t.Context(), each)
		}
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.dir) || diag.HintOf(err) == "" {
				t.Errorf("with %d KiB: %v", room, err)
			}
			if got := s.read(mbox); got != now {
				t.Errorf("with %d KiB the mbox is %.100q", room, got)
			}
			seen["full at the undo"]++
			s.ok(os.Remove(ballast))
			tree.Close()
			tree = s.open()
			_, err = tree.Lock(t.Context())
			s.ok(err)
			_, err = tree.Undo(t.Context(), each)
			s.ok(err)
		} else {
			seen[fmt.Sprintf("%d runs undone", len(undone))]++
		}
		if got := s.read(mbox); strings.HasSuffix(now, more) {
			if got != oldMbox+more {
				t.Errorf("with %d KiB the mbox is %.100q", room, got)
			}
			s.before[mbox] = s.snapshot()[mbox]
		}
		s.is(s.before)
		s.emptyTrash()
		tree.Close()
		s.ok(syscall.Unmount(dir, syscall.MNT_DETACH))
	}
	if len(seen) != 3 {
		t.Errorf("the sizes missed something: %v", seen)
	}
}

// fill leaves so much room on a file system, in KiB.
func fill(t *testing.T, path string, room int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(info.Size()/4096*4096 - int64(room)<<10)
	}
	if err != nil {
		t.Fatal(err)
	}
}
