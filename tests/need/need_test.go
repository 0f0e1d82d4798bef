package need

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// witness stands in for a test and keeps what it was told.
type witness struct {
	testing.TB
	skipped, failed string
}

func (w *witness) Helper()           {}
func (w *witness) Name() string      { return "TestWitness" }
func (w *witness) Skip(args ...any)  { w.skipped = fmt.Sprint(args...); runtime.Goexit() }
func (w *witness) Fatal(args ...any) { w.failed = fmt.Sprint(args...); runtime.Goexit() }

// What the witness is told is no skip of ours.
func TestMain(m *testing.M) {
	os.Unsetenv("RPLAN_SKIPPED")
	os.Exit(m.Run())
}

func watch(test func(t testing.TB)) *witness {
	w, done := &witness{}, make(chan struct{})
	go func() {
		defer close(done)
		test(w)
	}()
	<-done
	return w
}

func TestSkipsAreNoted(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "")
	path := filepath.Join(t.TempDir(), "skipped")
	t.Setenv("RPLAN_SKIPPED", path)
	for range 2 {
		watch(func(t testing.TB) { Program(t, "rplan-none") })
	}
	if got, err := os.ReadFile(path); string(got) != "TestWitness needs rplan-none\nTestWitness needs rplan-none\n" {
		t.Errorf("noted %q, %v", got, err)
	}
}

func TestProgram(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "")
	dir := t.TempDir()
	tool := filepath.Join(dir, "rplan-tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rplan-data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if got := Program(t, "rplan-tool"); got != tool {
		t.Errorf("Program by name is %q, want %q", got, tool)
	}
	if got := Program(t, tool); got != tool {
		t.Errorf("Program by path is %q, want %q", got, tool)
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"rplan-none"}, "skipped: needs rplan-none"},
		{[]string{"rplan-data"}, "skipped: needs rplan-data"}, // not executable
		{[]string{"/no/such/rplan-tool"}, "skipped: needs /no/such/rplan-tool"},
		{[]string{"rplan-tool", "rplan-a", "rplan-b"}, "skipped: needs rplan-a, rplan-b"},
	} {
		w := watch(func(t testing.TB) { Program(t, c.names...) })
		if w.skipped != c.want || w.failed != "" {
			t.Errorf("Program(%q) skipped with %q, failed with %q, want skip %q", c.names, w.skipped, w.failed, c.want)
		}
	}
}

// A PATH without sbin is what cron and ordinary users have.
func TestProgramFindsSbin(t *testing.T) {
	if _, err := os.Stat("/usr/sbin/chroot"); err != nil {
		t.Skip("skipped: needs /usr/sbin/chroot")
	}
	t.Setenv("PATH", "/nowhere")
	if got := Program(t, "chroot"); got != "/usr/sbin/chroot" {
		t.Errorf("Program is %q", got)
	}
}

func TestFile(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "")
	here := t.TempDir()
	File(t, here)
	absent := filepath.Join(here, "absent")
	w := watch(func(t testing.TB) { File(t, here, absent) })
	if want := "skipped: needs " + absent; w.skipped != want {
		t.Errorf("skipped with %q, want %q", w.skipped, want)
	}
}

func TestNoSkip(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "1")
	w := watch(func(t testing.TB) { Program(t, "rplan-none") })
	if want := "needs rplan-none, and RPLAN_NO_SKIP=1"; w.failed != want || w.skipped != "" {
		t.Errorf("failed with %q, skipped with %q, want failure %q", w.failed, w.skipped, want)
	}
}

func TestRoot(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "")
	w := watch(Root)
	if asRoot := os.Geteuid() == 0; asRoot != (w.skipped == "") {
		t.Errorf("as root: %v, skipped with %q", asRoot, w.skipped)
	}
}

func TestNetns(t *testing.T) {
	t.Setenv("RPLAN_NO_SKIP", "")
	if os.Geteuid() != 0 {
		if w := watch(Netns); w.skipped == "" {
			t.Error("not skipped without root")
		}
		return
	}
	Netns(t)
	t.Setenv("PATH", "/nowhere")
	if w := watch(Netns); w.skipped != "" {
		t.Errorf("ip is in /sbin, and yet skipped with %q", w.skipped)
	}
}
