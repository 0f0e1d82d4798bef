package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/published"
	"rplan/tests/terminal"
)

// wire is an ssh(1) that has the answers of other nodes in files, and reaches no node that has none.
const wire = `#!/bin/sh
while [ "$1" != -- ]; do shift; done
cat "ANSWERS/$2.$3" 2>/dev/null || { echo "ssh: connect to host $2 port 22: No route to host" >&2; exit 255; }
`

// online is a world that is called as the command line does: n1 is this machine, with maps that are kept up,
// and the others answer over the wire.
func online(t *testing.T) *world {
	w := newWorld(t)
	w.configure("[failover]\n", "[failover]\nmounts = [\"/\"]\nmin-free = \"0%\"\n")
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "ssh"), []byte(strings.ReplaceAll(wire, "ANSWERS", w.answers())), 0o755))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	must(t, os.Mkdir(w.answers(), 0o700))
	env := &app.Env{Stderr: &w.errs}
	read, err := readAll(t.Context(), env, w.config)
	must(t, err)
	leave(t, w.config.mapsDir(), read)
	must(t, published.Check(w.config.mapsDir(), noon.Add(-time.Minute)))
	must(t, os.MkdirAll(w.config.failover.State, 0o700))
	w.passed("n1", &SyncState{noon.Add(-time.Minute), merge.Report{Mailboxes: 4}})
	for _, node := range []string{"n2", "n3", "n4"} {
		w.passed(node, &SyncState{noon.Add(-time.Minute), merge.Report{}})
	}
	return w
}

// configure replaces a text of the configuration.
func (w *world) configure(before, after string) {
	w.t.Helper()
	text, err := os.ReadFile(w.path)
	must(w.t, err)
	must(w.t, os.WriteFile(w.path, []byte(strings.Replace(string(text), before, after, 1)), 0o600))
	w.config, err = loadConfiguration(w.path)
	must(w.t, err)
}

func (w *world) answers() string { return filepath.Join(filepath.Dir(w.path), "answers") }

func (w *world) file(node string) string {
	return filepath.Join(w.answers(), "10.77.0."+strings.TrimPrefix(node, "n")+".status")
}

// passed lets the last pass of sync on a node be this one, nil for none.
func (w *world) passed(node string, pass *SyncState) {
	w.t.Helper()
	if node == "n1" {
		text, err := json.Marshal(pass)
		must(w.t, err)
		must(w.t, os.WriteFile(w.config.syncPath(), text, 0o600))
		return
	}
	r := w.report(node)
	r.Version, r.Sync = app.Version, pass
	text, err := json.Marshal(r)
	must(w.t, err)
	must(w.t, os.WriteFile(w.file(node), text, 0o600))
}

// called is one run of the command, and its exit code.
func (w *world) called(o Options) (int, error) {
	w.out.Reset()
	w.errs.Reset()
	o.Config = w.path
	err := Run(w.t.Context(), &app.Env{Stdin: strings.NewReader(""), Stdout: &w.out, Stderr: &w.errs, Now: func() time.Time { return w.now }}, o)
	return diag.ExitCode(err), err
}

// decode reads what --json printed into a value that knows each of its fields.
func (w *world) decode(into any) {
	w.t.Helper()
	d := json.NewDecoder(bytes.NewReader(w.out.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || d.More() {
		w.t.Errorf("not one object: %v\n%s", err, &w.out)
	}
}

// nowhere is the URL of a directory that does not run.
const nowhere = "ldapi://%2Fno%2Fsuch"

// Status shows, and judges by its exit code, what the nodes answer, in both forms.
func TestStatusIsCalled(t *testing.T) {
	w := online(t)
	for _, c := range []struct {
		what    string
		edit    func()
		code    int
		verdict string
		text    string // shown, or the error
	}{
		{"all is well", func() {}, 0, well, "\nAll is well.\n"},
		{"a pass is old", func() { w.passed("n2", &SyncState{noon.Add(-time.Hour), merge.Report{}}) }, 3, degraded,
			"! rp-failover sync on node n2 ended 60 min ago and not since:"},
		{"nobody merges", func() { w.passed("n2", nil) }, 3, degraded, "! rp-failover sync has not ended once on node n2:"},
		{"nobody merges here", func() { must(t, os.Remove(w.config.syncPath())) }, 3, degraded, "! rp-failover sync has not ended once on node n1:"},
		{"a disk is locked here", func() { w.configure("mounts = [\"/\"", "mounts = [\"/no/disk\"") }, 3, degraded, "! /no/disk of node n1 is not mounted;"},
		{"a node is silent", func() { must(t, os.Remove(w.file("n3"))) }, 1, failing, "! node n3 is up and does not answer: 10.77.0.3: it cannot be reached:"},
		{"the provider is gone", func() { w.configure("write-urls = [\""+w.slapd.LDAPI(), "write-urls = [\""+nowhere) }, 1, failing, "! node n3 is up"},
		{"the directory is gone", func() { w.configure("\nurls = [\""+w.slapd.LDAPI(), "\nurls = [\""+nowhere) }, 75, "", nowhere},
	} {
		c.edit()
		code, err := w.called(Options{Verb: "status"})
		text := w.out.String()
		if c.verdict == "" && err != nil {
			text += err.Error()
		}
		if code != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s: %v (exit %d), want %d with %q\n%s", c.what, err, code, c.code, c.text, text)
		}
		if code, _ := w.called(Options{Verb: "status", JSON: true}); code != c.code {
			t.Errorf("%s: exit %d with --json", c.what, code)
		}
		if c.verdict == "" {
			if w.out.Len() > 0 {
				t.Errorf("%s: %s", c.what, &w.out)
			}
			continue
		}
		v := &overview{}
		w.decode(v)
		if v.Verdict != c.verdict || v.Provider != (c.what != "the provider is gone") || (c.code == 0) != (len(v.Problems) == 0) ||
			len(v.Nodes) != 4 || v.Nodes[1].Roles != "mx imap web lists dns" || v.Nodes[1].Standby != (counts{Mailboxes: 3}) || v.Nodes[1].Report == nil {
			t.Errorf("%s: %+v", c.what, v)
		}
	}
}

// What keeps second copies equal is judged on each node that has mailboxes, be it second copies only, and on no other.
func TestStatusOfSync(t *testing.T) {
	const never = "rp-failover sync has not ended once on node "
	for _, c := range []struct {
		what string
		edit func(*facts)
		want string // the first problem
	}{
		{"never, with active mailboxes", func(f *facts) { f.answers["n1"].report.Sync = nil }, never + "n1:"},
		{"never, with second copies", func(f *facts) { f.answers["n4"].report.Sync = nil }, never + "n4:"},
		{"never, with no mailboxes", func(f *facts) { f.answers["n4"].report.Sync, f.snapshot = nil, snapshot(t, "n1_n4", "n1_n2") }, ""},
		{"never, without the role", func(f *facts) {
			f.answers["n4"].report.Sync = nil
			f.snapshot.Node("n4").Roles &^= directory.Roles(directory.IMAP)
		}, ""},
		{"a while ago", func(f *facts) { f.answers["n1"].report.Sync.At = noon.Add(-staleMerge) }, ""},
		{"too long ago", func(f *facts) { f.answers["n1"].report.Sync.At = noon.Add(-staleMerge - time.Minute) },
			"rp-failover sync on node n1 ended 31 min ago and not since:"},
		{"one waits", func(f *facts) { f.answers["n1"].report.Sync.Oldest = 3600 }, "on node n1 mailboxes have not been merged for 60 min"},
		{"one fails", func(f *facts) { f.answers["n1"].report.Sync.Failed = 1 }, "node n1 cannot merge 1 mailbox"},
	} {
		settings := Defaults()
		f := asGiven(t, "out", "n2", false, "")
		c.edit(f)
		v := newOverview(f.snapshot, f.answers, f.version, f.after, noon, &settings)
		verdict, problems := degraded, 1
		if c.want == "" {
			verdict, problems = well, 0
		}
		if v.Verdict != verdict || len(v.Problems) != problems || !strings.HasPrefix(strings.Join(v.Problems, "\n"), c.want) {
			t.Errorf("%s: %s, %q, want %q", c.what, v.Verdict, v.Problems, c.want)
		}
	}
}

// However much there is to show, no number leaves the terminal: the bars become shorter.
func TestStatusOfALargeCollective(t *testing.T) {
	many := counts{444444, 3333, 222}
	v := &overview{Problems: []string{}}
	for _, name := range []string{"amsterdam-01", "rotterdam-02"} {
		v.Nodes = append(v.Nodes, nodeStatus{Name: name, State: "returning", Roles: "mx imap web lists dns mirror", Since: noon, By: "ada",
			Reason: strings.Repeat("gr\u00fcn ", 20), burden: burden{many, many, many}})
	}
	text := v.text()
	if n := strings.Count(text, "444444/444444/444444  3333/3333/3333  222/222/222\n"); n != 2 {
		t.Errorf("%d numbers are whole", n)
	}
	for line := range strings.Lines(text) {
		if len(line) > 80 || !utf8.ValidString(line) {
			t.Errorf("%q", line)
		}
	}
	for i := range v.Nodes {
		v.Nodes[i].Name = v.Nodes[i].Name[:4]
	}
	if text := v.text(); !strings.Contains(text, " ##") || !strings.Contains(text, "--  444444/") {
		t.Errorf("no bars in\n%s", text)
	}
}

// Plan tells who moves, and by its exit code whether a guard would refuse; nothing is changed.
func TestPlanIsCalled(t *testing.T) {
	w := online(t)
	written := func() int {
		dns, err := w.slapd.Writes()
		must(t, err)
		return len(dns)
	}
	for _, c := range []struct {
		what string
		edit func()
		args string
		lost bool
		code int
		text string // shown, or said on standard error
	}{
		{"a way out", func() {}, "out n2", false, 0, "n2_n3              2      1  n2 -> n3\n"},
		{"no such node", func() {}, "out n9", false, 64, `there is no node "n9"`},
		{"it is up", func() {}, "in n2", false, 0, `node "n2" is up already`},
		{"a silent node", func() { must(t, os.Remove(w.file("n2"))) }, "out n2", false, 2, "refused by standby: node \"n2\" does not answer"},
		{"a lost node", func() {}, "out n2", true, 0, "out --lost n2: up -> out\n"},
		{"another is out", func() { w.set("n1", directory.Out, "ada", noon.Add(-time.Hour)) }, "out n2", true, 2, "refused by second-out: node \"n1\" is out since 2026-03-01 11:00 UTC, by ada"},
		{"a way in", func() { w.passed("n2", nil) }, "in n1", false, 0, "in n1: out -> returning -> up\n"},
		{"a locked disk", func() { w.configure("mounts = [\"/\"", "mounts = [\"/no/disk\"") }, "in n1", false, 2, "refused by checks: /no/disk of node \"n1\" is not mounted"},
		{"no provider", func() { w.configure("write-urls = [\""+w.slapd.LDAPI(), "write-urls = [\""+nowhere) }, "out n4", false, 2, "note: by this node's copy of the directory"},
		{"no directory", func() { w.configure("\nurls = [\""+w.slapd.LDAPI(), "\nurls = [\""+nowhere) }, "out n2", false, 75, nowhere},
	} {
		c.edit()
		before := written()
		o := Options{Verb: "plan", Args: strings.Fields(c.args), Lost: c.lost}
		code, err := w.called(o)
		text := w.out.String() + w.errs.String()
		if err != nil {
			text += err.Error()
		}
		if code != c.code || !strings.Contains(strings.ReplaceAll(text, "\n  ", " "), c.text) {
			t.Errorf("%s: %v (exit %d), want %d with %q\n%s", c.what, err, code, c.code, c.text, text)
		}
		answers := c.code == 0 || c.code == 2
		o.JSON = true
		if code, _ := w.called(o); code != c.code || (w.out.Len() > 0) != answers {
			t.Errorf("%s: exit %d with --json\n%s", c.what, code, &w.out)
		}
		if answers {
			p := &plan{}
			if w.decode(p); p.Verb+" "+p.Node != c.args || p.Lost != c.lost || (len(p.Refusals) > 0) != (c.code == 2) {
				t.Errorf("%s: %+v", c.what, p)
			}
		}
		if n := written() - before; n != 0 {
			t.Errorf("%s: %d writes", c.what, n)
		}
	}
}

// At a terminal a change shows what plan shows, and goes on for whoever types the node's name, and only then.
func TestPlanIsAskedAbout(t *testing.T) {
	w := online(t)
	for _, c := range []struct {
		verb     string
		from, to directory.State
	}{{"out", directory.Up, directory.Out}, {"in", directory.Out, directory.Up}} {
		w.set("n2", c.from, "ada", noon.Add(-time.Hour))
		if code, err := w.called(Options{Verb: "plan", Args: []string{c.verb, "n2"}}); code != 0 {
			t.Fatal(err)
		}
		plan := w.out.String()
		for _, typed := range []string{"n", "y", "n2"} {
			screen := terminal.New(t)
			tty := screen.Open(t)
			defer tty.Close()
			o := Options{Verb: c.verb, Args: []string{"n2"}}
			change, err := w.change(o)
			must(t, err)
			change.env = &app.Env{Stdin: tty, Stdout: tty, Stderr: tty, Terminal: true, Interactive: true, Now: change.env.Now}
			done := make(chan error, 1)
			go func() { done <- change.run(context.WithoutCancel(t.Context())) }()
			if got := strings.ReplaceAll(screen.Until(t, "type the node's name to go on: "), "\r\n", "\n"); !strings.HasPrefix(got, plan) {
				t.Errorf("%s: shown\n%s\nwant\n%s", c.verb, got, plan)
			}
			if got := w.state("n2").State; got != c.from {
				t.Errorf("%s: node is %s before an answer", c.verb, got)
			}
			_, err = screen.Keys.WriteString(typed + "\n")
			must(t, err)
			err = <-done
			want := c.from
			if typed == "n2" {
				must(t, err)
				want = c.to
			} else {
				w.expectError(err, diag.Refused, `that is not "n2"; nothing was changed`)
			}
			if got := w.state("n2").State; got != want || (got == c.from) != (w.asked() == "") {
				t.Errorf("%s, %q is typed: node is %s, asked\n%s", c.verb, typed, got, w.asked())
			}
		}
	}
}
