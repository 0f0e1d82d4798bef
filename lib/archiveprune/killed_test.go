package archiveprune

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rplan/tests/archive"
	"rplan/tests/need"
)

// everything is a run that does all at once.
var everything = Options{Args: []string{"dev"}, Apply: true, KeepHTML: "2y", KeepMbox: "5y", Compress: "zstd", Scrub: true}

// ids counts the messages of the mbox and of its months by their IDs.
func (s *shelf) ids() map[string]int {
	s.t.Helper()
	seen := map[string]int{}
	for _, name := range append(s.beside(), filepath.Base(s.mbox)) {
		if name[0] == '.' || strings.HasSuffix(name, ".lock") {
			continue // what a killed run left is no message
		}
		for line := range bytes.Lines(s.read(filepath.Join(filepath.Dir(s.mbox), name))) {
			if id, ok := bytes.CutPrefix(line, []byte("Message-ID: ")); ok {
				seen[strings.Trim(string(id), "<>\r\n")]++
			}
		}
	}
	return seen
}

// killScene has mails that go, mails of three closed months and open ones, one of a month that is there already, links of an earlier run.
func killScene(t *testing.T) *shelf {
	t.Helper()
	s := newShelf(t, archive.Make{Seed: 41, N: 7, Plain: true, Bare: true, Text: 60, Start: time.Date(2020, 6, 3, 10, 0, 0, 0, time.UTC), Every: 330 * 24 * time.Hour}, archive.PipermailOptions{Private: true, OnlyGzip: true})
	s.now = time.Date(2025, 12, 28, 3, 4, 5, 0, time.UTC)
	s.do(Options{Apply: true, KeepHTML: "4y"})
	s.do(Options{Apply: true, Compress: "zstd", KeepHTML: "forever"})
	at, _ := s.dated(2)
	for _, i := range []int{0, 3, 4} { // as if they had come only now, out of order
		at, _ := s.dated(i)
		if err := os.Remove(filepath.Join(filepath.Dir(s.mbox), at.Format("2006-01")+".mbox.zst")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		s.append(s.bytesOf(i))
	}
	s.late("late@example.org")
	for name := range s.state() { // what is about pages is as old as they are
		if err := os.Chtimes(filepath.Join(s.top, name), time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// late adds mail of a month that is closed.
func (s *shelf) late(id string) {
	at, _ := s.dated(2)
	s.append(fmt.Appendf(nil, "From x@example.org  Thu Jan  1 00:00:00 2025\nReceived: from [198.51.100.77] by mx.example.org\nMessage-ID: <%s>\nDate: %s\n\nlate\n\n",
		id, at.Format("Mon, 02 Jan 2006 15:04:05 -0700")))
}

// A run that is killed loses nothing, and the next one does what it would have done.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	strace := need.Program(t, "strace")
	model := killScene(t)
	had := model.ids()
	template := model.top
	copied := func(t *testing.T) *shelf {
		s := bareShelf(t, filepath.Join(t.TempDir(), "tree"))
		if out, err := exec.Command("cp", "-a", template, s.top).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		s.now, s.mails, s.start, s.whole, s.mbox = model.now, model.mails, model.start, model.whole, filepath.Join(s.top, "dev.mbox/dev.mbox")
		return s
	}
	control := copied(t)
	control.do(everything)
	stayed, quiet := control.ids(), control.content()
	control.late("later@example.org")
	control.do(everything)
	wanted, added := control.content(), control.ids()
	if len(stayed) < 4 || len(stayed) >= len(had) {
		t.Fatalf("of %v %v stay", had, stayed)
	}
	type kill struct {
		call string
		n    int
	}
	kills := make(chan kill)
	var over sync.Map // calls of which there are no more
	var killed atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for k := range kills {
				if last, ok := over.Load(k.call); ok && k.n > last.(int) {
					continue
				}
				s := copied(t)
				what := fmt.Sprintf("killed at %s %d", k.call, k.n)
				out, err := s.victim(errand{Options: everything}, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+k.call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", k.call, k.n)).CombinedOutput()
				if err == nil {
					over.Store(k.call, k.n)
					continue
				}
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() > 0 {
					t.Errorf("%s: %v %s", what, err, out)
					continue
				}
				killed.Add(1)
				now := s.ids()
				for id := range stayed {
					if now[id] == 0 {
						t.Errorf("%s: %s is lost", what, id)
					}
				}
				breakLocks(s)
				want, wantIDs := quiet, stayed
				if k.n%2 == 0 { // mail comes before the next run, which so has more to do
					want, wantIDs = wanted, added
					s.late("later@example.org")
				}
				if _, stderr, err := s.run(everything); err != nil {
					t.Errorf("%s: then %v %s", what, err, stderr)
				}
				if now := s.ids(); !maps.Equal(now, wantIDs) {
					t.Errorf("%s: then there are %v, not %v", what, now, wantIDs)
				}
				now2 := s.content()
				for _, name := range names(merged(now2, want)) {
					if now2[name] != want[name] {
						t.Errorf("%s: then %s is %.300q, not %.300q", what, name, now2[name], want[name])
					}
				}
			}
		})
	}
	for n := 1; n < 400; n++ {
		for _, call := range []string{"renameat", "renameat2", "linkat", "unlinkat", "mkdirat"} {
			if _, ok := over.Load(call); !ok {
				kills <- kill{call, n}
			}
		}
	}
	close(kills)
	workers.Wait()
	if t.Logf("killed %d times", killed.Load()); killed.Load() < 50 {
		t.Error("that is not every step")
	}
}

// breakLocks makes the locks that a killed run left look as old as they would be some minutes later.
func breakLocks(s *shelf) {
	locks, _ := filepath.Glob(filepath.Join(s.top, "dev.mbox", "*.lock"))
	for _, l := range locks {
		os.Chtimes(l, time.Time{}, time.Now().Add(-10*time.Minute))
	}
}

// content are all files of the tree and rplan's memory of links, compressed ones by what is in them.
func (s *shelf) content() map[string]string {
	s.t.Helper()
	files := map[string]string{}
	for _, name := range append(names(s.state()), ".rplan/links.tsv", ".rplan/links.txt") {
		files[name] = string(s.read(filepath.Join(s.top, name)))
	}
	return files
}

func merged(a, b map[string]string) map[string]string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// What a killed run has left beside a file is no message, and goes with the next run that changes anything.
func TestLeftoversGo(t *testing.T) {
	t.Parallel()
	s := newShelf(t, archive.Make{Seed: 42, N: 3, Plain: true, Bare: true}, archive.PipermailOptions{})
	before := s.state()
	for _, name := range []string{".rplan-new-dev.mbox", ".2003-01.mbox.zst.rplan-new"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.mbox), name), s.whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.do(Options{}); r.Messages != 3 || len(s.beside()) != 2 {
		t.Errorf("a report has %d messages, and leaves %v", r.Messages, s.beside())
	}
	s.do(Options{Apply: true})
	if now := s.state(); !maps.Equal(now, before) {
		t.Errorf("there are %v", names(now))
	}
}
