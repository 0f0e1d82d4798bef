package archiveprune

import (
	"os"
	"path/filepath"
	"testing"

	"rplan/lib/diag"
	"rplan/lib/maillock"
)

// An undo has the locks that a run has, and that of the file that was there before.
func TestHold(t *testing.T) {
	dir, locks := t.TempDir(), t.TempDir()
	at := filepath.Join(dir, "dev.mbox", "dev.mbox")
	if err := os.Mkdir(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	old, err := os.Create(filepath.Join(dir, "old"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	takes := map[string]func() (*maillock.Lock, error){
		"dotlock": func() (*maillock.Lock, error) { return maillock.Dotlock(t.Context(), at, 0) },
		"fcntl":   func() (*maillock.Lock, error) { return maillock.Fcntl(t.Context(), at, 0) },
		"mailman": func() (*maillock.Lock, error) { return maillock.Mailman(t.Context(), locks, "dev", 0) },
		"old":     func() (*maillock.Lock, error) { return maillock.FcntlReplaced(t.Context(), old, 0) },
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := &runner{c: &Configuration{}}
	r.c.MailmanLocks = locks
	hold := func(want map[string]bool) {
		t.Helper()
		free, err := r.hold(t.Context(), &tree{path: dir, root: root}, "dev.mbox/dev.mbox", old)
		if err != nil {
			t.Fatal(err)
		}
		for name, take := range takes {
			l, err := take()
			if busy := diag.KindOf(err) == diag.TryAgain; busy != want[name] {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				l.Release()
			}
		}
		free()
	}
	hold(map[string]bool{"old": true}) // there is no mbox
	if err := os.WriteFile(at, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	hold(map[string]bool{"dotlock": true, "fcntl": true, "mailman": true, "old": true})
	for name, take := range takes {
		l, err := take()
		if err != nil {
			t.Errorf("%s was not released: %v", name, err)
			continue
		}
		l.Release()
	}
}
