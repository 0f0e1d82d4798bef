package archiveprune

import (
	"context"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stepping is a context that does something when it is asked for the nth time whether it has ended: runs ask between their steps.
type stepping struct {
	context.Context
	asked, at int
	do        func()
}

func (s *stepping) Err() error {
	if s.asked++; s.asked == s.at {
		s.do()
	}
	return s.Context.Err()
}

// moments are those of a run on a scene at which others do something: some while it reads, and all while it changes the archive.
func moments(s *pipermailScene, o Options) (all []int) {
	s.Helper()
	none, changes := &stepping{Context: s.Context()}, 0
	began := 0
	watch := &watching{stepping: none, each: func() {
		changes++
		if began == 0 && (s.there(".rplan/links.tsv") || o.Undo) {
			began = changes
		}
	}}
	if got := runWith(watch, s.config(), s.now, o); got.code != 0 {
		s.Fatal(got)
	}
	for n := 1; n <= changes; n++ {
		if n >= began-2 || n%(began/6+1) == 0 {
			all = append(all, n)
		}
	}
	if changes-began < 4 {
		s.Errorf("it is asked %d times, and %d of them while it changes something", changes, changes-began)
	}
	return all
}

// spread are at most n of all, evenly, the first and the last among them.
func spread[T any](all []T, n int) (some []T) {
	if len(all) <= n {
		return all
	}
	for i := range n {
		some = append(some, all[i*(len(all)-1)/(n-1)])
	}
	return some
}

// watching calls each at every step.
type watching struct {
	*stepping
	each func()
}

func (w *watching) Err() error {
	w.each()
	return w.stepping.Err()
}

// runWhile runs the command, and does something at a moment of it.
func (s *pipermailScene) runWhile(o Options, at int, do func()) ending {
	s.Helper()
	ctx := &stepping{Context: s.Context(), at: at, do: do}
	got := runWith(ctx, s.config(), s.now, o)
	if ctx.asked < at {
		do() // it was shorter this time: then it comes after the run
	}
	return got
}

// arrival is a mail that comes in as Mailman takes it: into the mbox, and as a page of a month, whose indexes it writes anew.
type arrival struct{ text, month string }

func (s *pipermailScene) arrives(a arrival) {
	s.Helper()
	f, err := os.OpenFile(s.at(s.truth.Mbox), os.O_WRONLY|os.O_APPEND, 0)
	s.ok(err)
	_, err = f.WriteString(a.text)
	s.ok(err)
	s.ok(f.Close())
	dir := path.Join(s.truth.HTML, a.month)
	s.ok(os.MkdirAll(s.at(dir), 0o775))
	s.write(path.Join(dir, "000999.html"), []byte(a.text))
	s.write(path.Join(dir, "thread.html"), []byte("new"))
}

// Mail that arrives at whatever moment of a run is in the archive afterwards, its page too.
func TestPipermailMailArrives(t *testing.T) {
	for _, k := range killings[:4] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s, _ := k.scene(t)
			new := arrival{"From new@example.org  Thu Nov 26 04:41:00 2026\nMessage-ID: <new@example.org>\n\nnew\n\n", s.truth.Volumes[1]}
			for _, at := range spread(moments(s, k.do), 5) {
				s, before := k.scene(t)
				got := s.runWhile(k.do, at, func() { s.arrives(new) })
				page := path.Join(s.truth.HTML, new.month, "000999.html")
				if box := string(s.read(s.truth.Mbox)); strings.Count(box, new.text) != 1 || !strings.HasSuffix(box, new.text) {
					t.Errorf("at %d: the mail is not the last of the mbox: %s", at, got)
				}
				if !s.there(page) || string(s.read(page)) != new.text || string(s.read(path.Join(path.Dir(page), "thread.html"))) != "new" {
					t.Errorf("at %d: its page is gone: %s", at, got)
				}
				if got.code != 0 && got.code != 3 && got.code != 2 && got.code != 75 || got.code != 0 && got.stderr == "" {
					t.Errorf("at %d: %s", at, got)
				}
				s.checkNothingLost(k, s.filesBefore(before), map[string]bool{s.truth.Mbox: true, path.Join(s.truth.HTML, new.month, "thread.html"): true})
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// swaps are what a hostile user of the tree can do to it while a run is at work. Each is undone by its end.
var swaps = map[string]func(s *pipermailScene, month, outside string) (begin, end func()){
	"month": func(s *pipermailScene, month, outside string) (func(), func()) {
		return s.swap(path.Join(s.truth.HTML, month), outside)
	},
	"archive": func(s *pipermailScene, _, outside string) (func(), func()) { return s.swap(s.truth.HTML, outside) },
	"mbox": func(s *pipermailScene, _, outside string) (func(), func()) {
		return s.swap(s.truth.Mbox, filepath.Join(outside, "dev.mbox"))
	},
	"directory of the mbox": func(s *pipermailScene, _, outside string) (func(), func()) {
		return s.swap(path.Dir(s.truth.Mbox), outside)
	},
	"page": func(s *pipermailScene, _, outside string) (func(), func()) {
		return s.swap(s.truth.Pages[10].Path, filepath.Join(outside, path.Base(s.truth.Pages[10].Path)))
	},
	"no page": func(s *pipermailScene, _, _ string) (func(), func()) { return s.swap(s.truth.Pages[4].Path, "") },
	"no month": func(s *pipermailScene, month, _ string) (func(), func()) {
		return s.swap(path.Join(s.truth.HTML, month), "")
	},
	"no mbox": func(s *pipermailScene, _, _ string) (func(), func()) { return s.swap(s.truth.Mbox, "") },
}

// swap puts what is at a path aside, out of the tree, and a symlink into its place, or nothing; and has it back, as far as nothing else is there.
func (s *pipermailScene) swap(p, to string) (begin, end func()) {
	at, aside := s.at(p), filepath.Join(s.dir, "aside")
	return func() {
			// What is aside stays there until it can be put back.
			if unix.Renameat2(unix.AT_FDCWD, at, unix.AT_FDCWD, aside, unix.RENAME_NOREPLACE) == nil && to != "" {
				_ = os.Symlink(to, at)
			}
		}, func() {
			if _, err := os.Lstat(aside); err != nil {
				return
			}
			if info, err := os.Lstat(at); err == nil && info.Mode()&os.ModeSymlink != 0 {
				_ = os.Remove(at)
			}
			_ = unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, at, unix.RENAME_NOREPLACE) // the run may have put something there
		}
}

// What turns into a symlink at whatever moment leads no run out of the tree, and what vanishes stops it at worst.
func TestPipermailSwapped(t *testing.T) {
	for name, swap := range swaps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, k := range []killing{killings[1], killings[3]} {
				s, _ := k.scene(t)
				all := moments(s, k.do)
				for _, at := range spread(all[len(name)%3:], 3) {
					s, before := k.scene(t)
					month := s.truth.Volumes[1]
					begin, end := swap(s, month, s.outsideOf(month, before))
					others := s.contentsOf("outside")
					got := s.runWhile(k.do, at, begin)
					if now := s.contentsOf("outside"); !slices.Equal(now, others) {
						t.Errorf("%s at %d: what is outside changed from %q to %q", k.name, at, others, now)
					}
					end()
					if got.code != 0 && got.stderr == "" || got.code > 3 && got.code < 64 {
						t.Errorf("%s at %d: %s", k.name, at, got)
					}
					s.checkNothingLost(killing{name: k.name, before: killedCut, do: k.do}, s.filesBefore(before), nil)
					if t.Failed() {
						t.Fatalf("%s at %d: %s", k.name, at, got)
					}
				}
			}
		})
	}
}

// outsideOf makes a directory beside the tree with files of the same names as those of a month, and an mbox.
func (s *pipermailScene) outsideOf(month string, before picture) string {
	s.Helper()
	dir := filepath.Join(s.dir, "outside")
	s.ok(os.Mkdir(dir, 0o777))
	for p := range before {
		if path.Dir(p) == path.Join(s.truth.HTML, month) {
			s.ok(os.WriteFile(filepath.Join(dir, path.Base(p)), []byte("of somebody else\n"), 0o666))
		}
	}
	s.ok(os.WriteFile(filepath.Join(dir, "dev.mbox"), s.read(s.truth.Mbox), 0o666))
	return dir
}

// contentsOf are the names and contents of the files in a directory beside the tree.
func (s *pipermailScene) contentsOf(dir string) (all []string) {
	s.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, dir))
	s.ok(err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, dir, e.Name()))
		s.ok(err)
		all = append(all, e.Name()+": "+string(b))
	}
	return all
}

// Somebody swaps things to and fro all the time.
func TestPipermailRace(t *testing.T) {
	for name, swap := range swaps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(60, uint64(len(name))))
			for range 2 {
				k := killings[1]
				s, before := k.scene(t)
				month := s.truth.Volumes[1]
				begin, end := swap(s, month, s.outsideOf(month, before))
				others := s.contentsOf("outside")
				stop, pause := make(chan bool), time.Duration(r.IntN(3000))*time.Microsecond
				var wait sync.WaitGroup
				wait.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(pause):
							begin()
							end()
						}
					}
				})
				var got []ending
				for _, o := range []Options{k.do, {Undo: true}, k.do} {
					got = append(got, s.run(o))
				}
				close(stop)
				wait.Wait()
				end()
				if now := s.contentsOf("outside"); !slices.Equal(now, others) {
					t.Errorf("what is outside changed from %q to %q", others, now)
				}
				s.checkNothingLost(killing{name: k.name, before: killedCut, do: k.do}, s.filesBefore(before), nil)
				if t.Failed() {
					t.Fatalf("%v: %v", pause, got)
				}
			}
		})
	}
}
