package failover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/tests/prometheus"
)

// With whom the mailboxes of a placement are merged, by the states of its nodes.
func TestTarget(t *testing.T) {
	known := snapshot(t)
	s := &syncer{env: &app.Env{Now: func() time.Time { return noon }}, self: "n2", nodes: known, config: &configuration{failover: Settings{State: t.TempDir()}}}
	long := -lastMerge
	for _, c := range []struct {
		self, peer string
		n2, n3     directory.State
		since      time.Duration // of n3's state
		want       string
		lost       bool
	}{
		{"n2", "", directory.Up, directory.Up, 0, `["n3"] hold=false`, false},
		{"n3", "", directory.Up, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Draining, 0, `["n3"] hold=false`, false},
		{"n2", "", directory.Up, directory.Out, 0, `[""] hold=true`, false},
		{"n2", "", directory.Up, directory.Out, long / 2, `[""] hold=true`, false},
		{"n2", "", directory.Up, directory.Out, -long / 2, `[""] hold=true`, false}, // its clock is ahead
		{"n2", "", directory.Up, directory.Out, long, `[""] hold=false`, false},
		{"n2", "n3", directory.Up, directory.Out, 0, `["n3"] hold=false`, false},
		{"n2", "n1", directory.Up, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Returning, 0, `["n3"] hold=false`, false},
		{"n3", "", directory.Out, directory.Up, 0, `[""] hold=false`, false},
		{"n2", "", directory.Out, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Evicted, 0, `[""] hold=false`, false},
		{"n2", "n3", directory.Up, directory.Out, 0, `[""] hold=false`, true},
		{"n2", "n3", directory.Up, directory.Evicted, 0, `[""] hold=false`, true},
		{"n2", "n1", directory.Up, directory.Up, 0, "[] hold=false", true},
	} {
		s.self, s.Peer, s.Lost = c.self, c.peer, c.lost
		for name, state := range map[string]directory.State{"n2": c.n2, "n3": c.n3} {
			n := known.Node(name)
			n.State, n.Since = state, noon.Add(-time.Hour)
			if name == "n3" {
				n.Since = noon.Add(c.since)
			}
		}
		got := s.target("n2_n3")
		if text := fmt.Sprintf("%q hold=%v", got.peers, got.hold); text != c.want {
			t.Errorf("%+v: %s", c, text)
		}
	}
}

// What is asked for by name and merged by another node is said, and not passed over.
func TestMailboxElsewhere(t *testing.T) {
	n := newNode(t, collectiveLDIF())
	n.publish()
	for ldif, want := range map[string]string{
		collectiveLDIF(): `"b1@example.org" is merged by the node that is active for it, "n2", and this is "n1"`,
		strings.NewReplacer("rplanNodeName: n2\nrplanState: up", "rplanNodeName: n2\nrplanState: out",
			"rplanNodeName: n3\nrplanState: up", "rplanNodeName: n3\nrplanState: out").Replace(collectiveLDIF()): `no node serves "b1@example.org" now`,
	} {
		n.write(ldif)
		o := Options{Verb: "sync", Mailboxes: []string{"b1@example.org"}, DryRun: true}
		if err := runSync(t.Context(), n.env, o, n.config); err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

// Who waits for what a node has, until somebody says that it is lost for good.
func TestGiveUp(t *testing.T) {
	s := &syncer{config: &configuration{failover: Settings{State: t.TempDir()}}}
	n := &directory.Node{Name: "n3", Since: noon}
	if s.givenUp(n) {
		t.Error("nobody said so")
	}
	must(t, s.giveUp(n))
	if !s.givenUp(n) {
		t.Error("it was said")
	}
	if n.Since = noon.Add(time.Second); s.givenUp(n) {
		t.Error("that was the time before")
	}
}

// What many mailboxes have in common is not said for each of them, unless it is asked for.
func TestNotes(t *testing.T) {
	for verbose, want := range map[bool]int{false: mostNotes + 1, true: 100} {
		var said bytes.Buffer
		s := &syncer{Options: Options{Verbose: verbose}, env: &app.Env{Stderr: &said}}
		for i := range 100 {
			s.note(fmt.Sprintf("u%d@example.org", i), "no")
		}
		if n := strings.Count(said.String(), "\n"); n != want {
			t.Errorf("verbose %v: %d lines", verbose, n)
		}
	}
}

// What Prometheus is told of a pass: names that dashboards know, each a gauge with a line of help.
func TestMetrics(t *testing.T) {
	r := &merge.Report{Mailboxes: 1234567, Merged: 2, Repaired: 3, Adopted: 4, Recovered: 5, Failed: 6, Busy: 7, Skipped: 8, Oldest: 90, Seconds: 0.25}
	var got []string
	for _, s := range prometheus.Samples(t, metrics(r, noon)) {
		got = append(got, fmt.Sprintf("%s %v %v", strings.TrimPrefix(s.Name, "rplan_sync_"), int64(s.Value*100), s.Labels))
	}
	want := []string{"mailboxes 123456700 map[]", "merged 200 map[]", "repaired 300 map[]", "adopted 400 map[]", "recovered 500 map[]", "failed 600 map[]",
		"busy 700 map[]", "skipped 800 map[]", "oldest_unmerged_seconds 9000 map[]", "duration_seconds 25 map[]", "last_run_timestamp_seconds 177236640000 map[]"}
	if !slices.Equal(got, want) {
		t.Errorf("metrics, times 100, are\n%q\nwant\n%q", got, want)
	}
}

// A node that is out is no news, and what is in use is tried again; the rest is said. That a node may be lost is said only
// where one cannot be reached.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		report merge.Report
		code   int
		want   string
	}{
		{merge.Report{}, 0, ""},
		{merge.Report{Mailboxes: 9, Merged: 4, Busy: 1, Skipped: 4, Left: 5, Oldest: 7200}, 0, ""},
		{merge.Report{Failed: 1}, 3, "1 mailbox could not be merged"},
		{merge.Report{Unreachable: []string{"n2", "n4"}}, 3, "cannot reach n2, n4"},
		{merge.Report{Failed: 2, Unreachable: []string{"n2"}}, 3, "2 mailboxes could not be merged; cannot reach n2"},
	} {
		text, err := "", (&syncer{}).verdict(&c.report)
		if err != nil {
			text = err.Error()
		}
		if diag.ExitCode(err) != c.code || text != c.want || (diag.HintOf(err) == "") != (c.code == 0) ||
			strings.Contains(diag.HintOf(err), "--lost") != (len(c.report.Unreachable) > 0) {
			t.Errorf("%+v: exit %d, %q, hint %q", c.report, diag.ExitCode(err), text, diag.HintOf(err))
		}
	}
}

// What is asked for is told: a pass over everything to status, numbers to node_exporter, and a dry run to nobody but who looks.
func TestTell(t *testing.T) {
	r := &merge.Report{Mailboxes: 7, Merged: 2, Failed: 1}
	for _, c := range []struct {
		o               Options
		state, measured bool
		out, err        string
	}{
		{Options{}, true, false, "", ""},
		{Options{Metrics: "x"}, true, true, "", ""},
		{Options{Metrics: "x", Peer: "n2"}, false, true, "", ""},
		{Options{Mailboxes: []string{"a1@example.org"}}, false, false, "", ""},
		{Options{Metrics: "x", DryRun: true}, false, false, "would merge 2 of 7 mailboxes\n", ""},
		{Options{Verbose: true}, true, false, "", "7 mailboxes: 2 merged, 0 doubles repaired, 0 copies adopted, 0 messages recovered; 1 failed, 0 busy, 0 without another node\n"},
	} {
		for _, c.o.JSON = range []bool{false, true} {
			var out, errs bytes.Buffer
			dir := t.TempDir()
			env := &app.Env{Stdout: &out, Stderr: &errs, Now: func() time.Time { return noon }}
			s := &syncer{Options: c.o, env: env, config: &configuration{failover: Settings{State: dir}}}
			if c.o.Metrics != "" {
				s.Metrics = filepath.Join(dir, c.o.Metrics)
			}
			must(t, s.tell(r))
			text, err := os.ReadFile(s.config.syncPath())
			var state SyncState
			if (err == nil) != c.state || c.state && (json.Unmarshal(text, &state) != nil || !state.At.Equal(noon) || state.Merged != 2) {
				t.Errorf("%+v: status is told %q, %v", s.Options, text, err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "x")); (err == nil) != c.measured || c.measured && !bytes.Equal(text, metrics(r, noon)) {
				t.Errorf("%+v: measured %q, %v", s.Options, text, err)
			}
			if c.o.JSON {
				var told merge.Report
				if err := json.Unmarshal(out.Bytes(), &told); err != nil || told.Mailboxes != 7 || errs.Len() > 0 {
					t.Errorf("%+v: %q, %q, %v", s.Options, &out, &errs, err)
				}
			} else if out.String() != c.out || errs.String() != c.err {
				t.Errorf("%+v: says %q, %q", s.Options, &out, &errs)
			}
		}
	}
	s := &syncer{Options: Options{Metrics: t.TempDir() + "/none/x"}, env: &app.Env{Now: time.Now}, config: &configuration{failover: Settings{State: t.TempDir()}}}
	if err := s.tell(r); diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), "none/x") {
		t.Errorf("no directory: %v", err)
	}
}

// The numbers of a pass over mailboxes whose other nodes are gone are where --metrics says: whole at every
// moment, for all to read, and not those of a dry run.
func TestMetricsAreWritten(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // as the shipped units have it
	w := online(t)
	homes := t.TempDir()
	w.configure("[failover]\n", fmt.Sprintf("[failover]\nhome = \"%s/%%u\"\n", homes))
	path := filepath.Join(homes, "rp-failover.prom")
	value := func(text []byte, name string) float64 {
		for _, s := range prometheus.Samples(t, text) {
			if s.Name == "rplan_sync_"+name {
				return s.Value
			}
		}
		t.Errorf("no %s in\n%s", name, text)
		return -1
	}
	o := Options{Verb: "sync", Metrics: path}
	code, err := w.called(o)
	if code != 3 || !strings.Contains(err.Error(), "cannot reach n2, n4") {
		t.Errorf("exit %d, %v\n%s", code, err, &w.errs)
	}
	before, err := os.Open(path)
	must(t, err)
	defer before.Close()
	info, err := before.Stat()
	must(t, err)
	first, err := io.ReadAll(before)
	must(t, err)
	if info.Mode() != 0o644 || value(first, "mailboxes") != 4 || value(first, "skipped")+value(first, "failed") != 4 || value(first, "last_run_timestamp_seconds") != float64(noon.Unix()) {
		t.Errorf("%v:\n%s", info.Mode(), first)
	}

	w.now = noon.Add(time.Hour)
	o.DryRun = true
	w.called(o)
	if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, first) {
		t.Errorf("after a dry run: %v\n%s", err, text)
	}

	o.DryRun = false
	w.called(o)
	next, err := os.ReadFile(path)
	must(t, err)
	if value(next, "last_run_timestamp_seconds") != float64(w.now.Unix()) {
		t.Errorf("after the next pass:\n%s", next)
	}
	// Who had it open has the old one whole.
	kept := make([]byte, len(first)+1)
	if n, _ := before.ReadAt(kept, 0); !bytes.Equal(kept[:n], first) {
		t.Errorf("what was read from is now\n%s", kept[:n])
	}
	if left, _ := filepath.Glob(filepath.Join(homes, ".*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}
