package archiveprune

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/trash"
	"rplan/tests/archive"
	"rplan/tests/need"
)

// nobody is an ordinary user.
const nobody = 65534

// ownedByNobody gives a scene away.
func (s *pipermailScene) ownedByNobody() {
	s.Helper()
	need.Root(s)
	s.ok(filepath.WalkDir(s.dir, func(at string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(at, nobody, nobody)
		}
		return err
	}))
	s.ok(os.Chmod(filepath.Dir(s.dir), 0o755)) // of this test
}

// as lets a command be nobody's.
func as(cmd *exec.Cmd, uid uint32) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// ended runs a command and says how that ended.
func (s *pipermailScene) ended(cmd *exec.Cmd) ending {
	s.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.Fatal(err)
	}
	return ending{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// Who owns the tree needs no root for anything.
func TestPipermailAsNobody(t *testing.T) {
	need.Root(t)
	for _, o := range []Options{killedPages, killedCut} {
		s := newPipermail(t, killedMake, killedTree)
		s.ownedByNobody()
		before := s.picture()
		for _, o := range []Options{{}, o} {
			if got := s.ended(as(s.victim(o), nobody)); got.code != 0 || got.stderr != "" {
				t.Fatal(got)
			}
		}
		if gone := before.gone(s.picture()); len(gone) < 30 {
			t.Errorf("%d went", len(gone))
		}
		s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
			if info, err := e.Info(); err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody {
				t.Errorf("%s is not nobody's", at)
			}
			return err
		}))
		if got := s.ended(as(s.victim(Options{Undo: true}), nobody)); got.code != 0 || got.stderr != "" {
			t.Fatal(got)
		}
		s.is(before)
	}
}

// Who has not the rights is told what he may not do, and nothing is done in part without a word.
func TestPipermailWithoutRights(t *testing.T) {
	need.Root(t)
	const other = 65533
	for name, x := range map[string]struct {
		do         func(s *pipermailScene)
		uid        uint32
		report     int // exit code
		apply      int
		want, says string // of the report, and of --apply
	}{
		"configuration": {func(s *pipermailScene) { s.ok(os.Chmod(s.config(), 0o600)) }, other, 78, 78, "rplan.toml", "permission denied"},
		"tree":          {func(s *pipermailScene) { s.ok(os.Chmod(s.tree, 0o700)) }, other, 1, 1, "archives/private", "permission denied"},
		"others' tree":  {func(s *pipermailScene) {}, other, 0, 73, "would go", `archives/private/.rplan": permission denied`},
		"mbox":          {func(s *pipermailScene) { s.ok(os.Chmod(s.at(s.truth.Mbox), 0)) }, nobody, 0, 2, "dev.mbox/dev.mbox: ", "dev.mbox/dev.mbox: "},
		"list": {func(s *pipermailScene) {
			s.ok(os.Chmod(s.at(s.truth.HTML), 0o555))
			s.ok(os.Chmod(s.at(s.truth.HTML+"/database"), 0o555))
		}, nobody, 0, 3, "would go", "permission denied"},
		"month":  {func(s *pipermailScene) { s.ok(os.Chmod(s.at(path.Join(s.truth.HTML, s.truth.Volumes[0])), 0)) }, nobody, 0, 0, "cannot be looked into: ", ""},
		"locks":  {func(s *pipermailScene) { s.ok(os.Chmod(filepath.Join(s.dir, "locks"), 0o555)) }, nobody, 0, 73, "would go", "locks/dev.lock"},
		"a page": {func(s *pipermailScene) { s.ok(os.Chmod(s.at(s.truth.Pages[0].Path), 0)) }, nobody, 0, 0, whyUnread, ""},
		"trash": {func(s *pipermailScene) {
			s.ok(os.Mkdir(s.at(".rplan"), 0o755))
		}, nobody, 0, 2, "would go", `.rplan" belongs to user 0`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPipermail(t, killedMake, killedTree)
			s.ownedByNobody()
			x.do(s)
			before := s.picture()
			report := s.ended(as(s.victim(Options{}), x.uid))
			if report.code != x.report || !strings.Contains(report.stdout+report.stderr, x.want) {
				t.Errorf("want %d, %q: %s", x.report, x.want, report)
			}
			s.is(before)
			applied := s.ended(as(s.victim(killedPages), x.uid))
			if applied.code != x.apply || !strings.Contains(applied.stderr, x.says) {
				t.Errorf("want %d, %q: %s", x.apply, x.says, applied)
			}
			if x.apply != 0 && x.apply != 3 {
				s.is(before)
			}
			s.checkNothingLost(killing{}, s.filesBefore(before), nil)
			if x.apply == 0 || x.apply == 3 {
				if got := s.ended(as(s.victim(Options{Undo: true}), x.uid)); got.code != 0 {
					t.Error(got)
				}
				s.is(before)
			}
		})
	}
}

// onSmallDisk puts a scene on a disk of its own, which only this thread and its children see, and returns what leaves so many KB of it free.
func onSmallDisk(t *testing.T, kb int) (s *pipermailScene, leave func(kb int), before picture) {
	t.Helper()
	s = newPipermail(t, killedMake, killedTree)
	from := filepath.Join(t.TempDir(), "tree")
	s.ok(os.Rename(s.dir, from))
	s.ok(os.Mkdir(s.dir, 0o755))
	s.ok(unix.Mount("tmpfs", s.dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kb)))
	t.Cleanup(func() { unix.Unmount(s.dir, unix.MNT_DETACH) })
	if out, err := exec.Command("cp", "-a", from+"/.", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s, func(kb int) {
		var st unix.Statfs_t
		s.ok(unix.Statfs(s.dir, &st))
		fill := int64(st.Bavail)*st.Bsize - int64(kb)<<10
		s.ok(os.WriteFile(filepath.Join(s.dir, "fill"), make([]byte, max(0, fill)), 0o600))
	}, s.picture()
}

// Whenever the disk is full nothing is lost, and that it is full is said.
func TestPipermailDiskFull(t *testing.T) {
	need.Root(t)
	runtime.LockOSThread() // for good, so that the thread ends with the test, and its mounts with it
	s0 := unix.Unshare(unix.CLONE_NEWNS)
	if s0 == nil {
		s0 = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if s0 != nil {
		t.Fatal(s0)
	}
	full := map[string]int{}
	for _, k := range killings[:4] {
		for _, free := range []int{0, 4, 8, 16, 28, 44, 64} {
			s, leave, before := onSmallDisk(t, 1024)
			if k.before.Apply {
				if got := s.ended(s.victim(k.before)); got.code != 0 {
					t.Fatal(got)
				}
			}
			leave(free)
			got := s.ended(s.victim(k.do))
			s.ok(os.Remove(filepath.Join(s.dir, "fill")))
			switch {
			case got.code == 0:
			case (got.code == 73 || got.code == 3) && strings.Contains(strings.ToLower(got.stderr), "no space left on device") && strings.Contains(got.stderr, s.dir): // it names the tree, or the locks
				full[k.name]++
			default:
				t.Errorf("%s, %d KB: %s", k.name, free, got)
			}
			s.checkNothingLost(k, s.filesBefore(before), nil)
			if got := s.ended(s.victim(k.next())); got.code != 0 {
				t.Errorf("%s, %d KB: the next run: %s", k.name, free, got)
			}
			if got := s.ended(s.victim(Options{Undo: true})); got.code != 0 {
				t.Errorf("%s, %d KB: undo: %s", k.name, free, got)
			}
			s.isButLocks(before)
			s.ok(unix.Unmount(s.dir, unix.MNT_DETACH))
			if t.Failed() {
				t.Fatalf("%s, %d KB: %s", k.name, free, got)
			}
		}
	}
	if full["apply"] < 1 || full["apply and cut"] < 3 {
		t.Errorf("the disk was never full: %v", full)
	}
	t.Log(full)
}

// Of two at once one does it, and the other is told to try again.
func TestPipermailTwoAtOnce(t *testing.T) {
	s := newPipermail(t, killedMake, killedTree)
	before := s.picture()
	tree, err := trash.Open(s.tree)
	s.ok(err)
	_, err = tree.Lock(context.Background())
	s.ok(err)
	for _, o := range []Options{{Apply: true}, {Rebuild: true, Args: []string{"dev"}}} {
		if got := s.want(75, o); !strings.Contains(got.stderr, filepath.Join(s.tree, ".rplan/lock")) {
			t.Error(got)
		}
	}
	s.want(0, Options{})
	s.is(before)
	tree.Close()
	for range 5 {
		var got [2]ending
		var wait sync.WaitGroup
		for i, cmd := range []*exec.Cmd{s.victim(killedPages), s.victim(killedPages)} {
			wait.Go(func() { got[i] = s.ended(cmd) })
		}
		wait.Wait()
		for i := range got {
			if got[i].code != 0 && (got[i].code != 75 || got[1-i].code != 0) {
				t.Fatal(got)
			}
		}
		if s.there(path.Join(s.truth.HTML, s.truth.Volumes[0])) && s.there(s.truth.Pages[0].Path) {
			t.Error("nothing went")
		}
		s.want(0, Options{Undo: true})
		s.is(before)
	}
	s.want(0, killedPages)
	tree, err = trash.Open(s.tree)
	s.ok(err)
	defer tree.Close()
	_, err = tree.Lock(context.Background())
	s.ok(err)
	s.want(75, Options{Undo: true})
}

// What is undone for one list is not for the others.
func TestPipermailUndoOfOne(t *testing.T) {
	s := newPipermail(t, killedMake, killedTree)
	s.list("news", archive.Make{Seed: 51, N: 8, Plain: true}, archive.PipermailOptions{})
	s.list("dev-team", archive.Make{Seed: 52, N: 8, Plain: true}, archive.PipermailOptions{})
	before := s.picture()
	s.want(0, killedPages)
	pruned := s.picture()
	s.want(0, Options{Undo: true, Args: []string{"dev"}})
	after := s.picture()
	for p, was := range before {
		want := was
		if ofDev := strings.HasPrefix(p, "archives/private/dev/"); !ofDev {
			want = pruned[p]
		}
		if after[p] != want {
			t.Errorf("%s is %.100q, want %.100q", p, after[p], want)
		}
	}
	if got := s.want(1, Options{Undo: true, Args: []string{"dev"}}); !strings.Contains(got.stderr, `nothing of the list "dev" is in the trash`) {
		t.Error(got)
	}
	if got := s.want(3, Options{Undo: true, Args: []string{"news", "nothere"}}); !strings.Contains(got.stderr, `nothing of the list "nothere"`) {
		t.Error(got)
	}
	s.want(0, Options{Undo: true})
	s.is(before)
}

// What is in a tree and of no archive is named by a report of all lists, and left alone.
func TestPipermailStrangers(t *testing.T) {
	s := newPipermail(t, killedMake, killedTree)
	s.ok(os.Mkdir(s.at("holiday"), 0o755))
	s.write("holiday/000001.html", []byte("<html>photos</html>"))
	before := s.picture()
	if got := s.want(0, Options{}); !strings.Contains(got.stderr, filepath.Join(s.tree, "holiday")+": no archive of a layout that is known") {
		t.Error(got)
	}
	if got := s.want(0, Options{Args: []string{"dev"}}); got.stderr != "" {
		t.Error(got)
	}
	if got := s.want(0, killedPages); got.stderr != "" {
		t.Error(got)
	}
	if after := s.picture(); after["archives/private/holiday/000001.html"] != before["archives/private/holiday/000001.html"] {
		t.Error("a stranger changed")
	}
}

// The exit codes are those of the manual.
func TestPipermailExitCodes(t *testing.T) {
	s := newPipermail(t, killedMake, killedTree)
	news, truth := s.list("news", archive.Make{Seed: 51, N: 8, Plain: true}, archive.PipermailOptions{})
	box := s.read(truth.Mbox)
	s.write(truth.Mbox, box[:len(box)-3])
	before := s.picture()
	ldif := func(lines string) {
		s.ok(os.WriteFile(filepath.Join(s.dir, "all.ldif"), []byte(lines), 0o644))
		text, err := os.ReadFile(s.config())
		s.ok(err)
		s.ok(os.WriteFile(s.config(), []byte(head+"urls = [\"ldif:all.ldif\"]\n"+string(text)), 0o644))
	}
	for _, x := range []struct {
		name string
		do   func()
		o    Options
		code int
		says string
	}{
		{"damaged", nil, Options{Apply: true, Args: []string{"news"}}, 2, "damaged"},
		{"no such list", nil, Options{Apply: true, Args: []string{"nothere"}}, 64, `no tree has an archive of the list "nothere"`},
		{"no list", nil, Options{Args: []string{""}}, 64, "is no name of a list"},
		{"wrong value", nil, Options{Undated: "drop"}, 64, "--undated"},
		{"no tree", func() { s.configure("x = 1") }, Options{}, 78, "unknown key"},
		{"not a mailing list archive", func() { s.configure(`layout = "mlmmj"`) }, Options{Apply: true}, 2, "no mlmmj archive in"},
		{"no directory", func() { s.configure(""); ldif("") }, Options{Apply: true}, 78, `the directory has no node "n1"`},
		{"metrics", func() { s.configure("") }, Options{Metrics: filepath.Join(s.dir, "none/x.prom")}, 3, "none/x.prom"},
	} {
		if x.do != nil {
			x.do()
		}
		if got := s.run(x.o); got.code != x.code || !strings.Contains(got.stderr, x.says) {
			t.Errorf("%s: want %d, %q: %s", x.name, x.code, x.says, got)
		}
	}
	s.ok(os.Remove(filepath.Join(s.dir, "all.ldif")))
	s.is(before)
	s.configure("")
	if got := s.want(3, Options{Apply: true}); !strings.Contains(got.stderr, `list "news": nothing is changed`) || strings.Contains(got.stderr, `"dev"`) || s.there(s.truth.Pages[0].Path) {
		t.Error(got)
	}
	if len(news) == 0 || !s.there(truth.Pages[0].Path) {
		t.Error("a page of the damaged list went")
	}
	s.ok(os.RemoveAll(s.tree))
	if got := s.want(1, Options{}); !strings.Contains(got.stderr, "cannot open tree") {
		t.Error(got)
	}
}
