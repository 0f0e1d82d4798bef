package genmaps

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/tests/need"
)

// The test binary run with these is rp-genmaps, killed before the step of this number.
const (
	killStep   = "RPLAN_TEST_KILL_STEP"
	killConfig = "RPLAN_TEST_KILL_CONFIG"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(killConfig); config != "" {
		victim(config, os.Getenv(killStep))
	}
	os.Exit(m.Run())
}

// victim prints the name of each step; it kills itself when as many were begun as asked.
func victim(config, at string) {
	o := Options{Config: config, step: func(step string) {
		os.Stdout.WriteString(step + "\n")
		if at = strings.TrimPrefix(at, "x"); at == "" {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
	}}
	env := &app.Env{Stdout: os.Stdout, Stderr: os.Stderr, Now: func() time.Time { return time.Unix(1_800_000_100, 0) }}
	if err := Run(context.Background(), env, o); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(diag.ExitCode(err))
	}
	os.Exit(0)
}

// steps runs a victim that is killed before step n, counted from 0; -1 lets it live.
func (c *collective) steps(n int) (steps []string, killed bool) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killConfig+"="+c.path("rplan.toml"), killStep+"="+strings.Repeat("x", n+1))
	if n < 0 {
		cmd.Env[len(cmd.Env)-1] = killStep + "=" + strings.Repeat("x", 100000)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok && exit.Sys().(syscall.WaitStatus).Signaled() {
		killed = true
	} else if err != nil && exit.ExitCode() != int(diag.Partial) {
		c.t.Fatalf("%v: %s", err, stderr.String())
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), killed
}

// Kill -9 before each step of a publish, after which every file is an old or a
// new one, and the next run ends where an undisturbed one does, having told
// every service that had to be told.
func TestKilledAtEachStep(t *testing.T) { killAtEachStep(t, "", "cdb") }

// LMDB tables are changed in place, after the text that they are made of.
func TestKilledAtEachStepWithLMDB(t *testing.T) {
	need.Program(t, "postmap")
	need.File(t, "/etc/postfix/main.cf", "/usr/lib/postfix/postfix-lmdb.so")
	killAtEachStep(t, "[genmaps.postfix]\nformat = \"lmdb\"\nsmall-format = \"lmdb\"\n", "lmdb")
}

// A hash is built before its text is published.
func TestKilledAtEachStepWithHash(t *testing.T) {
	need.Program(t, "postmap")
	need.File(t, "/etc/postfix/main.cf")
	killAtEachStep(t, "[genmaps.postfix]\nformat = \"hash\"\nsmall-format = \"hash\"\n", "hash")
}

// Of a first run: there is nothing old, and what it left is taken up by the second.
func TestKilledAtEachStepOfTheFirstRun(t *testing.T) {
	scene := func() *collective {
		c := newCollective(t)
		c.options()
		return c
	}
	whole := scene()
	steps, _ := whole.steps(-1)
	want := whole.published()
	for n := range steps {
		c := scene()
		if _, killed := c.steps(n); !killed {
			t.Fatalf("step %d: not killed", n)
		}
		c.steps(-1)
		for _, name := range differing(c.published(), want) {
			t.Errorf("killed before %q, then run again: %s is not as it should be", steps[n], name)
		}
		if info, err := os.Stat(c.path("maps/postfix")); err != nil || info.Mode().Perm()&0o050 == 0 {
			t.Errorf("killed before %q, then run again: no service can read the maps: %v, %v", steps[n], info.Mode(), err)
		}
	}
}

func killAtEachStep(t *testing.T, config, format string) {
	scene := func() *collective {
		c := newCollective(t)
		c.config = strings.ReplaceAll(c.config, "[genmaps.reload]\npostfix = []\ndovecot = []\napache = []\ndns = []\n",
			"[genmaps.reload]\npostfix = [[\"cp\", \"/dev/null\", \""+c.path("told-postfix")+"\"]]\ndovecot = []\napache = []\ndns = [[\"cp\", \"/dev/null\", \""+c.path("told-dns")+"\"]]\n") + config
		c.mustRun(c.options())
		os.Remove(c.path("told-postfix"))
		os.Remove(c.path("told-dns"))
		c.setState("n2", "out")
		c.edit("alias007@", "seven@")
		c.edit("rplanSiteName: all.example.org", "rplanSiteName: every.example.org")
		c.edit("dn: rplanDomainName=example.net", "dn: cn=x,ou=elsewhere")
		c.edit("objectClass: rplanDomain\nrplanDomainName: example.net", "objectClass: other")
		c.now = time.Unix(1_800_000_100, 0)
		c.options()
		return c
	}
	whole := scene()
	old := whole.published()
	steps, _ := whole.steps(-1)
	want := whole.published()
	if len(steps) < 15 || differing(old, want) == nil {
		t.Fatalf("too little happens: %q", steps)
	}
	told := []string{"told-dns"}
	if format != "lmdb" { // where Postfix sees new rows by itself
		told = append(told, "told-postfix")
	}
	for n := range steps {
		c := scene()
		got, killed := c.steps(n)
		if !killed || len(got) != n+1 {
			t.Fatalf("step %d: killed %v after %q", n, killed, got)
		}
		for name, text := range c.published() {
			if strings.HasPrefix(name, ".staged/") || strings.HasPrefix(filepath.Base(name), ".") || strings.HasSuffix(name, ".lmdb") || strings.HasSuffix(name, ".db") {
				continue
			}
			if text != old[name] && text != want[name] {
				t.Errorf("killed before %q: %s is neither old nor new", steps[n], name)
			}
		}
		c.steps(-1)
		for _, name := range differing(c.published(), want) {
			if !strings.HasSuffix(name, ".lmdb") && !strings.HasSuffix(name, ".db") { // their free pages differ
				t.Errorf("killed before %q, then run again: %s is not as it should be", steps[n], name)
			}
		}
		if format != "cdb" {
			c.checkTable(format, "aliases", "seven@example.org", "user007@example.org")
			c.checkTable(format, "placements", "n2_n1", "lmtp:inet:[10.77.0.1]:24")
		}
		for _, told := range told {
			if _, err := os.Stat(c.path(told)); err != nil {
				t.Errorf("killed before %q, then run again: %s: %v", steps[n], told, err)
			}
		}
		if again, _ := c.steps(-1); len(again) != 1 || again[0] != "" {
			t.Errorf("killed before %q: a third run still does %q", steps[n], again)
		}
	}
	t.Logf("killed at each of %d steps: %s", len(steps), strings.Join(steps, ", "))
}

// checkTable asks postmap for a row.
func (c *collective) checkTable(format, table, key, want string) {
	c.t.Helper()
	out, err := exec.Command(need.Program(c.t, "postmap"), "-q", key, format+":"+c.path("maps/postfix/"+table)).CombinedOutput()
	if strings.TrimSpace(string(out)) != want {
		c.t.Errorf("%s of %s: %q, %v, want %q", key, table, out, err, want)
	}
}

// A full disk and a read-only directory leave the published maps as they are.
func TestNoRoomAndNoRight(t *testing.T) {
	need.Root(t)
	c := newCollective(t)
	maps := c.path("maps")
	if err := os.Mkdir(maps, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(options string) {
		t.Helper()
		if err := syscall.Mount("rplan-test", maps, "tmpfs", 0, options); err != nil {
			t.Fatal("mounting a tmpfs: ", err)
		}
	}
	mount("size=256k")
	defer syscall.Unmount(maps, syscall.MNT_DETACH)
	c.mustRun(c.options())
	before := c.published()
	var more strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&more, "dn: cn=more%d,ou=mailboxes,dc=example\nobjectClass: rplanMailbox\nrplanAddress: more%d@example.org\nrplanPlacement: n1_n2\n\n", i, i)
	}
	c.ldif += more.String()
	_, _, err := c.run(c.options())
	if diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("full disk: %v", err)
	}
	if d := differing(before, c.published()); d != nil {
		t.Errorf("full disk: %q changed", d)
	}
	if err := syscall.Mount("", maps, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err = c.run(c.options()); diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("read-only: %v", err)
	}
	if err := syscall.Mount("", maps, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	c.mustRun(c.options())
	if n := rows(t, c, "postfix/mailboxes"); n != 20101 {
		t.Errorf("%d rows once there is room", n)
	}
}
