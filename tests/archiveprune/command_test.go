// Package archiveprune runs rp-archive-prune as a user does: the whole program on archives that real
// programs made, and that they go on with afterwards.
package archiveprune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune"
	"rplan/tests/archive"
)

// binary is rp-archive-prune, built once for all tests of the package. Everybody may run it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rplan-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "rp-archive-prune")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", binary, "rplan/cmd/rp-archive-prune")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// node is a machine with trees of archives and an rplan.toml.
type node struct {
	testing.TB
	dir  string
	list bool // all of it is the user list's, who runs the program
}

// newNode has an rplan.toml with these trees, as paths from the node's directory, and more lines.
func newNode(t testing.TB, toml string, trees ...string) *node {
	t.Helper()
	n := &node{TB: t, dir: t.TempDir()}
	n.configure(toml, trees...)
	return n
}

func (n *node) configure(toml string, trees ...string) {
	n.Helper()
	var paths []string
	for _, tree := range trees {
		paths = append(paths, fmt.Sprintf("%q", n.path(tree)))
		n.must(os.MkdirAll(n.path(tree), 0o755))
	}
	top, tables, _ := strings.Cut(toml, "[archive.")
	if tables != "" {
		tables = "[archive." + tables
	}
	n.must(os.MkdirAll(n.path("locks"), 0o755))
	n.must(os.Chmod(n.path("locks"), 0o777)) // Mailman's list manager is whoever runs the test
	n.write("rplan.toml", fmt.Sprintf("[archive]\ntrees = [%s]\nmailman-locks = %q\n%s\n%s", strings.Join(paths, ", "), n.path("locks"), top, tables))
}

func (n *node) path(elem ...string) string { return filepath.Join(n.dir, filepath.Join(elem...)) }

func (n *node) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *node) write(name, text string) {
	n.Helper()
	n.must(os.WriteFile(n.path(name), []byte(text), 0o644))
}

// read is what stands in a file.
func (n *node) read(elem ...string) string {
	n.Helper()
	text, err := os.ReadFile(n.path(elem...))
	n.must(err)
	return string(text)
}

// command is the program with these arguments, not yet started.
func (n *node) command(args ...string) *exec.Cmd {
	ctx, stop := context.WithTimeout(n.Context(), 2*time.Minute)
	n.Cleanup(stop)
	cmd := exec.CommandContext(ctx, binary, append([]string{"--config", n.path("rplan.toml")}, args...)...)
	if n.list {
		archive.GiveToList(n, n.dir)
		cmd = archive.AsList(n, cmd)
	}
	return cmd
}

// said is how a program ended.
type said struct {
	code           int
	stdout, stderr string
}

func (n *node) end(cmd *exec.Cmd) said {
	n.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		n.Fatal(err)
	}
	return said{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// prune runs the program, which must end with this exit code and say all of the words, on standard error.
func (n *node) prune(code int, words string, args ...string) said {
	n.Helper()
	s := n.end(n.command(args...))
	if s.code != code || !strings.Contains(s.stderr, words) || words == "" && s.stderr != "" {
		n.Errorf("%q: exit code %d, want %d; standard error %q, want %q", args, s.code, code, s.stderr, words)
	}
	return s
}

// apply is --apply with more arguments, which must do it without a word.
func (n *node) apply(args ...string) {
	n.Helper()
	if s := n.prune(0, "", append([]string{"--apply"}, args...)...); s.stdout != "" {
		n.Errorf("--apply %q says %q", args, s.stdout)
	}
}

// report is that of all lists, by name; with arguments.
func (n *node) report(code int, args ...string) map[string]archiveprune.Result {
	n.Helper()
	s := n.end(n.command(append([]string{"--json"}, args...)...))
	if s.code != code {
		n.Errorf("%q: exit code %d, want %d; standard error %q", args, s.code, code, s.stderr)
	}
	var all []archiveprune.Result
	if err := json.Unmarshal([]byte(s.stdout), &all); err != nil {
		n.Fatalf("%v: %s", err, s.stdout)
	}
	by := map[string]archiveprune.Result{}
	for _, r := range all {
		by[r.List] = r
	}
	return by
}

// files are all below a directory, with what stands in them; what rplan keeps for itself is left out.
func (n *node) files(elem ...string) map[string]string {
	n.Helper()
	all, top := map[string]string{}, n.path(elem...)
	n.must(filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && e.Name() == ".rplan" {
				return fs.SkipDir
			}
			return err
		}
		rel, _ := filepath.Rel(top, name)
		if e.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(name)
			all[rel] = "-> " + to
			return err
		}
		text, err := os.ReadFile(name)
		all[rel] = string(text)
		return err
	}))
	return all
}

// same fails for each file that is not as it was.
func (n *node) same(before, after map[string]string) {
	n.Helper()
	for name, text := range before {
		if now, there := after[name]; !there {
			n.Errorf("%q is gone", name)
		} else if now != text {
			n.Errorf("%q was changed", name)
		}
	}
	for name := range after {
		if _, there := before[name]; !there {
			n.Errorf("%q is new", name)
		}
	}
}

// day is what the tests count in.
const day = 24 * time.Hour

// recently are the mails of the last days up to now.
func recently(seed uint64, count, days int) archive.Make {
	every := time.Duration(days) * day / time.Duration(count)
	return archive.Make{Seed: seed, N: count, Start: time.Now().UTC().Add(-time.Duration(days)*day + every/2).Truncate(time.Second), Every: every}
}

// mbox writes mails to a file, or adds them to it.
func (n *node) mbox(name string, mails iter.Seq[archive.Mail]) {
	n.Helper()
	n.must(os.MkdirAll(filepath.Dir(n.path(name)), 0o755))
	f, err := os.OpenFile(n.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	n.must(err)
	_, err = archive.WriteMbox(f, mails, archive.Mangled)
	n.must(errors.Join(err, f.Close()))
}

// dated says of each Message-ID when the newest of its mails was written; the zero time if that is not known of all of them.
func dated(mails []archive.Mail) map[string]time.Time {
	when := map[string]time.Time{}
	for _, m := range mails {
		if m.ID == "" {
			continue
		}
		date := m.Date
		if m.Wart == "asctime date" { // not one of RFC 5322, and understood all the same
			date = m.Arrived
		}
		if date.After(time.Now().Add(day)) {
			date = time.Time{}
		}
		if old, there := when[m.ID]; !there || date.IsZero() || !old.IsZero() && date.After(old) {
			when[m.ID] = date
		}
	}
	return when
}

func collect(mails iter.Seq[archive.Mail]) []archive.Mail { return slices.Collect(mails) }
