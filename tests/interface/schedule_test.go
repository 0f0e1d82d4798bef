package interface_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rplan/tests/need"
)

// exposure is the most that systemd-analyze may find in a unit, in tenths of its scale of 10.
const exposure = "26"

// TestUnits lets systemd read the units as if the commands were installed.
func TestUnits(t *testing.T) {
	analyze := need.Program(t, "systemd-analyze")
	units, err := filepath.Glob(filepath.Join(root, "contrib", "systemd", "rp-*"))
	if err != nil || len(units) == 0 {
		t.Fatalf("%q, %v", units, err)
	}
	dir := t.TempDir()
	verify := []string{"verify", "--man=no"}
	for _, unit := range units {
		name := filepath.Base(unit)
		text := strings.ReplaceAll(read(t, "contrib", "systemd", name), "/usr/sbin/rp-", scratch+"/rp-")
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		verify = append(verify, path)
		if strings.HasSuffix(name, ".service") {
			check := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+exposure, path)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			checkLine(t, strings.Join(found1(regexp.MustCompile(`(?m)^ExecStart=/usr/sbin/(.*)$`), read(t, "contrib", "systemd", name)), "\n"))
		}
	}
	if out, err := exec.Command(analyze, verify...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// cronLine is one of cron.d(5): when, as whom, what. Where systemd runs its timers do the work.
var cronLine = regexp.MustCompile(`^(?:[0-9*/,-]+ ){5}(?:root|rplan|list) \[ -d /run/systemd/system \] \|\| (.*)$`)

func TestCron(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "contrib", "cron", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(name) {
			t.Errorf("cron passes over a file called %q", name)
		}
		text := read(t, "contrib", "cron", name)
		if !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: cron passes over a last line without an end", name)
		}
		lines := 0
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if line == "" || line[0] == '#' || strings.HasPrefix(line, "PATH=") {
				continue
			}
			lines++
			m := cronLine.FindStringSubmatch(line)
			if m == nil || strings.Contains(line, "%") {
				t.Errorf("%s: %q is no guarded line of cron", name, line)
				continue
			}
			if out, err := exec.Command("sh", "-n", "-c", m[1]).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			checkLine(t, m[1][strings.LastIndex(m[1], "|| ")+3:])
		}
		if lines == 0 {
			t.Errorf("%s has no line for cron", name)
		}
	}
}

// checkLine wants a command line to be of one of the commands, with flags that it has.
func checkLine(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	for _, c := range commands {
		if len(words) == 0 || c.name != words[0] {
			continue
		}
		var verb []string
		if len(c.verbs(t)) > 0 {
			verb = words[1:2]
		}
		flags := c.flags(t, verb...)
		same(t, "the flags of "+strings.Join(words[:1+len(verb)], " "), flags, append(found1(flag, line), flags...))
		return
	}
	t.Errorf("%q runs none of the commands", line)
}

// TestSchedulesAreInstalled: every file of cron and systemd, and a timer for each service.
func TestSchedulesAreInstalled(t *testing.T) {
	make := exec.Command(need.Program(t, "make"), "-n", "install", "DESTDIR="+t.TempDir())
	make.Dir = root
	out, err := make.Output()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, dir := range []string{"cron", "systemd"} {
		found, err := filepath.Glob(filepath.Join(root, "contrib", dir, "rp-*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%q, %v", found, err)
		}
		files = append(files, found...)
	}
	for _, path := range files {
		name, err := filepath.Rel(filepath.Join(root, "contrib"), path)
		if err != nil || !regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`[ ;]`).Match(out) {
			t.Errorf("make install leaves out %s", name)
		}
		if unit, service := strings.CutSuffix(path, ".service"); service {
			if _, err := os.Stat(unit + ".timer"); err != nil {
				t.Errorf("nothing starts %s", name)
			}
		}
	}
}
