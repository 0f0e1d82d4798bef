package archiveprune

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
	"rplan/tests/need"
	"rplan/tests/postfix"
)

// Mail that comes while runs do all that they can to an mbox is there once, and so is all that was there, unless it is too old.
func TestMailComesMeanwhile(t *testing.T) {
	for name, x := range map[string]struct {
		count    int
		runs     int
		settling time.Duration // Python opens the mbox before it locks it, and so may write to one that is none any more
		writer   func(s *shelf, locks string, count int) *exec.Cmd
	}{
		"from Python": {800, 12, 0, func(s *shelf, _ string, count int) *exec.Cmd {
			return exec.Command("/usr/bin/python3", "../maillock/testdata/mbox.py", "append", s.mbox, fmt.Sprint(count))
		}},
		"from Mailman": {150, 24, time.Millisecond, func(s *shelf, locks string, count int) *exec.Cmd {
			return exec.Command("/usr/bin/python3", "../maillock/testdata/mailman.py", "append", filepath.Join(locks, "dev.lock"), s.mbox, fmt.Sprint(count))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			need.Program(t, "/usr/bin/python3")
			s := newShelf(t, archive.Make{Seed: 61, N: 90, Plain: true, Bare: true, Text: 60, Start: time.Date(2015, 1, 3, 0, 0, 0, 0, time.UTC), Every: 40 * 24 * time.Hour}, archive.PipermailOptions{})
			locks := t.TempDir()
			s.configure(fmt.Sprintf("mailman-locks = %q", locks))
			s.meanwhile(x.writer(s, locks, x.count), x.runs, errand{Options: Options{Apply: true, KeepHTML: "2y", KeepMbox: "5y", Compress: "zstd", Scrub: true}, Settling: x.settling})
			s.onceEach(x.count)
		})
	}
}

// Postfix, which opens the mbox before it locks it too, sends nothing back, and loses nothing.
func TestMailComesFromPostfix(t *testing.T) {
	t.Parallel()
	s := newShelf(t, archive.Make{Seed: 62, N: 90, Plain: true, Bare: true, Text: 60, Start: time.Date(2015, 1, 3, 0, 0, 0, 0, time.UTC), Every: 40 * 24 * time.Hour}, archive.PipermailOptions{})
	p := postfix.Start(t, "fcntl, dotlock", s.mbox)
	s.meanwhile(p.Appends(40), 12, errand{Options: Options{Apply: true, KeepHTML: "2y", KeepMbox: "5y", Compress: "zstd", Scrub: true}, Settling: time.Millisecond})
	s.onceEach(40)
	if back := p.Log("status=bounced"); len(back) > 0 {
		t.Errorf("%s", back)
	}
}

// A program that takes its time over a mail is waited for: what it has not written yet is not damage, nor is the mbox
// another one when it goes on. But for one that never comes to an end, that is what has to be said.
func TestMailIsBeingWritten(t *testing.T) {
	before := writes
	t.Cleanup(func() { writes = before })
	writes = 400 * time.Millisecond
	const written = 600 * time.Millisecond
	old := archive.Make{Seed: 63, N: 20, Plain: true, Bare: true, Text: 60, Start: time.Date(2015, 1, 3, 0, 0, 0, 0, time.UTC), Every: 40 * 24 * time.Hour}
	const begun = "From writer@example.org Thu Jan  1 00:00:00 2026\nMessage-ID: <0@writer>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
	for name, x := range map[string]struct {
		begun, more, end string
		lasts            time.Duration
		wrong            string
	}{
		"its header":     {begun, "X-More: header\n", "\ntext\n\n", written, ""},
		"a line":         {begun + "\n", "words ", "\n\n", written, ""},
		"its paragraphs": {begun + "\ntext\n\n", "text\n\n", "\n", written, ""},
		"without end":    {begun, "X-More: header\n", "", time.Minute, "cut off in the header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, old, archive.PipermailOptions{})
			s.append([]byte(x.begun))
			f, err := os.OpenFile(s.mbox, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			write := func(text string) {
				if _, err := f.WriteString(text); err != nil {
					t.Error(err)
				}
			}
			done, writing := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(writing)
				for began := time.Now(); time.Since(began) < x.lasts; time.Sleep(time.Millisecond) {
					write(x.more)
					select {
					case <-done:
						return
					default:
					}
				}
				write(x.end)
			}()
			_, stderr, err := s.run(Options{Apply: true, KeepHTML: "2y", KeepMbox: "5y"})
			close(done)
			<-writing
			if x.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), x.wrong) || len(s.ids()) != len(s.mails)+1 {
					t.Errorf("%v: %s", err, stderr)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			if n := s.ids()["0@writer"]; n != 1 || len(s.ids()) > len(s.mails) {
				t.Errorf("the mail is there %d times, beside %d others", n, len(s.ids())-1)
			}
		})
	}
}

// meanwhile has runs follow each other at least as long as a program adds mail. A month or two goes by from one to the next.
func (s *shelf) meanwhile(writer *exec.Cmd, least int, e errand) {
	s.t.Helper()
	s.now = time.Date(2019, 11, 20, 0, 0, 0, 0, time.UTC)
	writer.Stderr = os.Stderr
	if err := writer.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- writer.Wait() }()
	runs, during, lost := 0, 0, 0
	for writing := true; writing || runs < least; runs++ {
		if writing {
			during++
		}
		if out, err := s.victim(e).CombinedOutput(); err != nil {
			// Mailman takes a lock for a dead one's if it finds it held, and then not there, while another takes it anew.
			if lost++; lost > 3 || !strings.Contains(string(out), "dev.lock\" is lost: ") {
				s.t.Fatalf("run %d: %v\n%s", runs, err, out)
			}
			s.t.Logf("run %d: %v\n%s", runs, err, out)
		}
		if s.now.Year() < 2024 {
			s.now = s.now.AddDate(0, 0, 45)
		}
		select {
		case err := <-done:
			if err != nil {
				s.t.Fatal(err)
			}
			writing = false
		default:
		}
	}
	if s.t.Logf("%d runs, %d of them while mail came", runs, during); during < 4 {
		s.t.Errorf("mail came during %d runs only", during)
	}
}

// onceEach fails unless each mail that a writer has added is there once, and each one of before that is not too old.
func (s *shelf) onceEach(added int) {
	s.t.Helper()
	if _, stderr, err := s.run(Options{Apply: true, KeepHTML: "2y", KeepMbox: "5y", Compress: "zstd", Scrub: true}); err != nil {
		s.t.Fatalf("%v %s", err, stderr)
	}
	seen := s.ids()
	for n := range added {
		if id := fmt.Sprintf("%d@writer", n); seen[id] != 1 {
			s.t.Errorf("%s is there %d times", id, seen[id])
		}
	}
	old := s.olderThan(s.now.AddDate(-5, 0, 0))
	for i, m := range s.mails {
		if want := map[bool]int{false: 1}[old[i]]; seen[m.ID] != want {
			s.t.Errorf("mail %d of %v is there %d times, not %d", i, m.Date, seen[m.ID], want)
		}
	}
	if len(old) < 10 || len(s.beside()) < 10 {
		s.t.Errorf("%d mails are too old, and there are %d months", len(old), len(s.beside()))
	}
}
