package archiveprune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/tests/archive"
	"rplan/tests/need"
)

// holder starts a program that takes a lock, and has it hold that until the end of the test.
func holder(t *testing.T, script string, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command(need.Program(t, "/usr/bin/python3"), append([]string{filepath.Join("../maillock/testdata", script), "hold"}, args...)...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	said := make([]byte, 5)
	if _, err := io.ReadFull(out, said); string(said) != "held\n" {
		t.Fatalf("%q, %v", said, err)
	}
	return cmd.Process.Pid
}

// twoLists is a shelf with the list other beside dev, and Mailman's locks.
func twoLists(t *testing.T) (s *shelf, locks, other string) {
	t.Helper()
	s = newShelf(t, archive.Make{Seed: 51, N: 20, Plain: true, Bare: true, Start: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), Every: 180 * 24 * time.Hour}, archive.PipermailOptions{})
	if _, err := archive.Pipermail(filepath.Dir(filepath.Dir(s.top)), "other", func(yield func(archive.Mail) bool) {
		for _, m := range s.mails {
			if !yield(m) {
				return
			}
		}
	}, archive.PipermailOptions{}); err != nil {
		t.Fatal(err)
	}
	locks = filepath.Join(t.TempDir(), "locks")
	s.configure(fmt.Sprintf("mailman-locks = %q", locks))
	return s, locks, filepath.Join(s.top, "other.mbox/other.mbox")
}

// A list whose lock another program holds for too long is passed over, and the message says who it is.
func TestLockHeldForTooLong(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(s *shelf, locks string) (pid int){
		"by Mailman": func(s *shelf, locks string) int {
			return holder(t, "mailman.py", filepath.Join(locks, "dev.lock"), "900")
		},
		"by Python's fcntl": func(s *shelf, _ string) int { return holder(t, "mbox.py", s.mbox) },
	} {
		s, locks, other := twoLists(t)
		if err := os.Mkdir(locks, 0o755); err != nil {
			t.Fatal(err)
		}
		pid := hold(s, locks)
		old := s.olderThan(fiveYears)
		for _, x := range []struct {
			lists []string
			code  int
			other []byte
		}{{[]string{"dev"}, 75, s.whole}, {[]string{"dev", "other"}, 3, s.without(old)}} {
			cmd := s.victim(errand{Options: Options{Apply: true, KeepMbox: "5y", Args: x.lists}, LockWait: 300 * time.Millisecond})
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != x.code {
				t.Errorf("%s, %v: %v, not %d\n%s", name, x.lists, err, x.code, out)
			}
			if !bytes.Contains(out, []byte(`list "dev": the lock`)) || name == "by Mailman" && !bytes.Contains(out, fmt.Appendf(nil, "process %d", pid)) {
				t.Errorf("%s, %v: it says %s", name, x.lists, out)
			}
			s.same(name, s.mbox, s.whole)
			s.same(name, other, x.other)
		}
	}
}

// Where rplan.toml names a directory of locks, it has to be one: else nothing would lock the lists.
func TestMailmanLocksDirectory(t *testing.T) {
	t.Parallel()
	s, locks, _ := twoLists(t)
	apply := Options{Apply: true, KeepMbox: "5y", Args: []string{"dev", "other"}}
	_, _, err := s.run(apply)
	if diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), locks) {
		t.Errorf("without the directory: %v", err)
	}
	s.same("without the directory", s.mbox, s.whole)
	if _, stderr, err := s.run(Options{KeepMbox: "5y"}); err != nil {
		t.Errorf("a report without the directory: %v %s", err, stderr)
	}
	if err := os.WriteFile(locks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.run(apply); diag.KindOf(err) != diag.Config {
		t.Errorf("with a file instead: %v", err)
	}
	if err := errors.Join(os.Remove(locks), os.Mkdir(locks, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := s.run(apply); err != nil {
		t.Errorf("with the directory: %v %s", err, stderr)
	}
	s.same("with the directory", s.mbox, s.without(s.olderThan(fiveYears)))
	if left, err := os.ReadDir(locks); err != nil || len(left) > 0 {
		t.Errorf("locks are left: %v, %v", left, err)
	}
}

// Who has lost a lock while it worked stops before it puts another file in the place of the mbox.
func TestLockLost(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{"Mailman's": "dev.lock", "the dotlock": "dev.mbox.lock"} {
		for how, set := range map[string]func(*Options){
			"cut":  func(o *Options) { o.KeepMbox = "5y" },
			"pack": func(o *Options) { o.Compress = "zstd" },
		} {
			s, locks, _ := twoLists(t)
			if err := os.Mkdir(locks, 0o755); err != nil {
				t.Fatal(err)
			}
			o := Options{Apply: true, Config: s.conf, Args: []string{"dev"}, TrashDays: AsConfigured}
			set(&o)
			err := s.losing(o, []string{filepath.Join(locks, lock), filepath.Join(filepath.Dir(s.mbox), lock)})
			if diag.KindOf(err) != diag.TryAgain || !strings.Contains(err.Error(), lock) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
			s.same(name+", "+how, s.mbox, s.whole)
		}
	}
}

// losing is a run of which locks are removed when it has them all, and the mbox is read.
func (s *shelf) losing(o Options, locks []string) error {
	s.t.Helper()
	ctx := context.Background()
	c, err := Load(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Override(&o)
	env := &app.Env{Stdout: io.Discard, Stderr: io.Discard, Now: func() time.Time { return s.now }}
	r := &runner{env: env, o: o, c: c, now: s.now, found: map[string]bool{}}
	return r.each(ctx, func(t *tree, a *layout.Archive, policy *Policy, _ error) error {
		p, err := r.look(ctx, t, a, policy)
		if err != nil {
			return err
		}
		held, err := r.lockArchive(ctx, t, a)
		if err != nil {
			return err
		}
		defer release(held)
		run, err := t.trash.Begin(ctx, s.now, p.trashPlan())
		if err != nil {
			return err
		}
		defer run.End()
		w := &rewriting{runner: r, tree: t, run: run, plan: p, policy: policy, bounds: r.bounds(policy), result: p.result(t.path), archive: held}
		for i := range p.evidence.sources {
			_, err = w.with(ctx, p.evidence.sources[i].file, func(file *os.File, now *plan) (bool, error) {
				for _, lock := range locks {
					os.Remove(lock)
				}
				if len(now.closed[0]) > 0 {
					return w.pack(file, now)
				}
				return w.cut(file, now)
			})
		}
		return err
	})
}
