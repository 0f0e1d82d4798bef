package failover

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/source"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata, and with what a terminal can show.
func golden(t *testing.T, name, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > 80 || strings.TrimRight(line, " ") != line || strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%s: %q is wider than 80 columns, ends in a blank, or is not ASCII", name, line)
		}
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if text != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, text, want)
	}
}

// asGiven is the facts of healthy nodes, in states such as "n2=out n3=draining".
func asGiven(t *testing.T, verb, node string, lost bool, given string) *facts {
	t.Helper()
	s := snapshot(t)
	settings := Defaults()
	v := source.Version("csn:20260301115900.000000Z#000000#000#000000")
	f := &facts{snapshot: s, version: v, after: v, answers: map[string]answer{}, self: "n1", now: noon, settings: &settings}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		for _, word := range strings.Fields(given) {
			if name, state, _ := strings.Cut(word, "="); name == n.Name {
				n.State = directory.State(slices.IndexFunc([]directory.State{0, 1, 2, 3, 4}, func(s directory.State) bool { return s.String() == state }))
			}
		}
		f.states = append(f.states, source.NodeState{Node: *n})
		f.answers[n.Name] = answer{report: &NodeReport{
			Node: n.Name, Time: noon, Version: "1.0", Dovecot: "2.3.19.1", Directory: v, Maps: MapsReport{Version: v, At: noon.Add(-time.Minute)},
			Disks: []Disk{{"/var/vmail", 45, 100}}, Queue: 3, Sync: &SyncState{noon, merge.Report{Oldest: 90}},
		}}
	}
	f.of = stateOf(f.states)
	f.plan = newPlan(verb, node, lost, s, f.of)
	f.plan.weigh(f.answers)
	return f
}

// Who goes where follows from the states, whatever is interrupted.
func TestPlan(t *testing.T) {
	for _, c := range []struct{ verb, node, given, moves, unserved, partners, lists string }{
		{"out", "n2", "", "n2_n3 n2>n3 2+1", "", "n3", "news@example.org"},
		{"out", "n2", "n2=draining", "n2_n3 n2>n3 2+1", "", "n3", "news@example.org"},
		{"out", "n2", "n2=out", "n2_n3 n2>n3 2+1", "", "n3", "news@example.org"}, // the rest of an interrupted run
		{"out", "n2", "n2=returning", "", "", "", "news@example.org"},
		{"out", "n2", "n3=out", "", "n2_n3 n2> 2+1", "", "news@example.org"},
		{"out", "n1", "", "n1_n2 n1>n2 3+0, n1_n4 n1>n4 1+0", "", "n2 n4", ""},
		{"out", "n4", "", "", "", "", ""},
		{"in", "n2", "n2=out", "n2_n3 n3>n2 2+1", "", "n1 n3", ""},
		{"in", "n2", "n2=out n3=out", "n2_n3 >n2 2+1", "", "n1", ""},
		{"in", "n2", "n2=returning", "n2_n3 n3>n2 2+1", "", "n1 n3", ""},
		{"in", "n2", "n2=draining", "", "", "", ""},
		{"in", "n1", "n1=out", "n1_n2 n2>n1 3+0, n1_n4 n4>n1 1+0", "", "n2 n3 n4", ""},
		{"evict", "n2", "", "n2_n3 n2>n3 2+1", "", "n3", "news@example.org"},
		{"evict", "n2", "n2=out", "", "", "", "news@example.org"},
		{"admit", "n2", "n2=evicted", "", "", "", ""},
	} {
		p := asGiven(t, c.verb, c.node, false, c.given).plan
		text := func(moves []move) string {
			var all []string
			for _, m := range moves {
				all = append(all, fmt.Sprintf("%s %s>%s %d+%d", m.Placement, m.From, m.To, m.Mailboxes, m.Sites))
			}
			return strings.Join(all, ", ")
		}
		if text(p.Moves) != c.moves || text(p.Unserved) != c.unserved || strings.Join(p.partners, " ") != c.partners || strings.Join(p.Lists, " ") != c.lists {
			t.Errorf("%s %s with %q: moves %q, unserved %q, partners %q, lists %q", c.verb, c.node, c.given, text(p.Moves), text(p.Unserved), p.partners, p.Lists)
		}
	}
	f := asGiven(t, "out", "n2", true, "")
	if len(f.plan.affected) != 1 || !f.plan.affected["n2_n3"] || f.plan.Single != 1 {
		t.Errorf("affected %v, single %d", f.plan.affected, f.plan.Single)
	}
}

func TestBurdens(t *testing.T) {
	f := asGiven(t, "out", "n2", false, "n2=out")
	all := newUsage(f.snapshot).burdens(f.of)
	for node, want := range map[string]burden{
		"n1": {counts{4, 0, 0}, counts{4, 0, 0}, counts{1, 0, 1}},
		"n2": {counts{2, 1, 1}, counts{}, counts{}},
		"n3": {counts{1, 0, 0}, counts{3, 1, 0}, counts{}},
		"n4": {counts{}, counts{}, counts{1, 0, 0}},
		"":   {counts{}, counts{0, 0, 1}, counts{5, 1, 0}},
	} {
		if all[node] == nil || *all[node] != want {
			t.Errorf("%q carries %+v, want %+v", node, all[node], want)
		}
	}
}

// Each guard refuses what it is there for, by name, and nothing else.
func TestGuards(t *testing.T) {
	const csn = "csn:2026030111%s00.000000Z#000000#000#000000"
	gone := answer{err: errGone}
	for _, c := range []struct {
		name, verb, node, given string
		edit                    func(*facts)
		want                    string
	}{
		{"all is well", "out", "n2", "", nil, ""},
		{"all is well", "in", "n2", "n2=out", nil, ""},
		{"last node", "out", "n2", "n3=out", nil,
			"last-node: no node would serve 2 mailboxes and 1 site (placement n2_n3)\nsecond-out: node \"n3\" is out"},
		{"last role", "evict", "n2", "n1=out n3=out n4=out", nil, "last-node: no node would serve 5 mailboxes and 1 site (placements n1_n2, n2_n3)\n" +
			"last-node: no other node that serves has the roles mx, dns\nsecond-out: node \"n1\" is out\nsecond-out: node \"n3\" is out\nsecond-out: node \"n4\" is out"},
		{"second out", "out", "n2", "n4=draining", nil, `second-out: node "n4" is draining`},
		{"evicted and named", "out", "n2", "n4=evicted", nil, `second-out: node "n4" is evicted, and placements still name it`},
		{"evicted, not named", "out", "n2", "n4=evicted", func(f *facts) { f.snapshot = snapshot(t, "n1_n4", "n1_n2") }, ""},
		{"standby gone", "out", "n2", "", func(f *facts) { f.answers["n3"] = gone },
			`standby: node "n3", which would serve the users of node "n2", does not answer: gone`},
		{"another gone", "out", "n2", "", func(f *facts) { f.answers["n4"] = gone }, ""},
		{"it is gone itself", "out", "n2", "", func(f *facts) { f.answers["n2"] = gone },
			`standby: node "n2" does not answer, so nothing can be merged from it: gone; if it is gone, take it out with --lost`},
		{"it is lost", "out", "n2", "", func(f *facts) { f.answers["n2"], f.plan.Lost = gone, true }, ""},
		{"in without the standby", "in", "n2", "n2=out", func(f *facts) { f.answers["n3"] = gone },
			`standby: node "n3", which serves its users now, and has their mail, does not answer: gone`},
		{"replica lags", "in", "n2", "n2=out", func(f *facts) {
			f.version = source.Version(fmt.Sprintf(csn, "58"))
			f.answers["n2"].report.Directory = source.Version(fmt.Sprintf(csn, "57"))
		}, `replica: the directory of node "n2" lacks what was written 2 min ago`},
		{"replica has just not got it", "in", "n2", "n2=out", func(f *facts) {
			f.answers["n2"].report.Directory = source.Version(fmt.Sprintf(csn, "57"))
		}, ""},
		{"replica was waited for", "in", "n2", "n2=out", func(f *facts) {
			f.answers["n2"].report.Directory = source.Version(fmt.Sprintf(csn, "57"))
			f.answers["n2"] = answer{report: f.answers["n2"].report, behind: true}
		}, `replica: the directory of node "n2" was waited for for 60 s, and still lacks what was written 60 s ago`},
		{"replica divided", "out", "n2", "", func(f *facts) {
			f.answers["n3"].report.Directory = "csn:20260301115930.000000Z#000000#000#000000"
		}, `replica: the directory of node "n3" has what the provider has not: the two are divided ` +
			`(csn:20260301115930.000000Z#000000#000#000000; csn:20260301115900.000000Z#000000#000#000000)`},
		{"directory down", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"].report.Directory = "" },
			`replica: the directory of node "n2" does not say what it has: it is down, or not yet complete`},
		{"flip-flop", "in", "n2", "n2=out", func(f *facts) { f.states[1].Since, f.states[1].By = noon.Add(-5*time.Minute), "bob" },
			`flip-flop: node "n2" is out only since 2026-03-01 11:55 UTC, by bob`},
		{"long ago", "in", "n2", "n2=out", func(f *facts) { f.states[1].Since = noon.Add(-11 * time.Minute) }, ""},
		{"going on", "out", "n2", "n2=draining", func(f *facts) { f.states[1].Since = noon }, ""},
		{"no answer", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"] = gone }, `checks: node "n2" does not answer: gone`},
		{"clock", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"] = answer{report: f.answers["n2"].report, skew: -time.Hour} },
			`checks: the clock of node "n2" is 60 min behind`},
		{"versions", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"].report.Version, f.answers["n2"].report.Dovecot = "0.9", "2.2.36" },
			"checks: node \"n2\" has rplan 0.9, node \"n1\" has 1.0\nchecks: node \"n2\" has Dovecot \"2.2\", node \"n1\" has \"2.3\"\n" +
				"checks: node \"n2\" has rplan 0.9, node \"n3\" has 1.0\nchecks: node \"n2\" has Dovecot \"2.2\", node \"n3\" has \"2.3\"\n" +
				"checks: node \"n2\" has rplan 0.9, node \"n4\" has 1.0\nchecks: node \"n2\" has Dovecot \"2.2\", node \"n4\" has \"2.3\""},
		{"a patch of Dovecot", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"].report.Dovecot = "2.3.21" }, ""},
		{"disk", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"].report.Disks = []Disk{{"/var/vmail", 9, 100}} },
			`checks: the disk of /var/vmail on node "n2" has 9.0% left, less than 10%`},
		{"disk of the standby", "out", "n2", "", func(f *facts) { f.answers["n3"].report.Disks = []Disk{{"/var/vmail", 9, 100}} },
			`checks: the disk of /var/vmail on node "n3" has 9.0% left, less than 10%`},
		{"locked disk", "in", "n2", "n2=out", func(f *facts) { f.answers["n2"].report.Unmounted = []string{"/var/vmail"} },
			`checks: /var/vmail of node "n2" is not mounted; see mounts in rplan.toml(5), on that node`},
		{"it serves with that disk", "in", "n2", "n2=draining", func(f *facts) { f.answers["n2"].report.Unmounted = []string{"/var/vmail"} }, ""},
	} {
		f := asGiven(t, c.verb, c.node, false, c.given)
		if c.edit != nil {
			c.edit(f)
		}
		var lines []string
		for _, r := range f.ask(nil) {
			lines = append(lines, r.Guard+": "+r.Text)
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s, %s %s with %q:\n%s\nwant\n%s", c.name, c.verb, c.node, c.given, got, c.want)
		}
	}
	for i, g := range guards {
		if g.name != Guards[i] {
			t.Errorf("guard %d is %q, the command line knows %q", i, g.name, Guards[i])
		}
	}
}

// Who insists is told what was overruled; the rest still refuses.
func TestInsist(t *testing.T) {
	f := asGiven(t, "out", "n2", false, "n3=out")
	refusals := f.ask([]string{"second-out"})
	if len(refusals) != 2 || refusals[0].Insisted || !refusals[1].Insisted {
		t.Errorf("refusals are %+v", refusals)
	}
	want := "out n2: refused, and nothing was changed\nlast-node: no node would serve 2 mailboxes and 1 site (placement n2_n3)"
	if err := joinRefusals("out", "n2", refusals); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if err := joinRefusals("out", "n2", refusals[1:]); err != nil {
		t.Error(err)
	}
}

func TestPlanTexts(t *testing.T) {
	golden(t, "plan-out", asGiven(t, "out", "n1", false, "").plan.text())
	f := asGiven(t, "out", "n2", true, "n3=out")
	f.plan.Refusals = f.ask([]string{"last-node"})
	golden(t, "plan-lost", f.plan.text())
	f = asGiven(t, "in", "n1", false, "n1=out")
	f.answers["n4"] = answer{err: errGone}
	f.plan = newPlan("in", "n1", false, f.snapshot, f.of)
	f.plan.weigh(f.answers)
	f.plan.Refusals = f.ask(nil)
	golden(t, "plan-in", f.plan.text())
	golden(t, "plan-admit", asGiven(t, "admit", "n2", false, "n2=evicted").plan.text())
}

func TestStatusTexts(t *testing.T) {
	settings := Defaults()
	f := asGiven(t, "out", "n2", false, "")
	n1 := f.snapshot.Node("n1")
	n1.Since, n1.By, n1.Reason = noon.Add(-240*time.Hour), "ada", "a new disk"
	v := newOverview(f.snapshot, f.answers, f.version, f.after, noon, &settings)
	golden(t, "status-well", v.text())
	if v.Verdict != well {
		t.Errorf("verdict is %s: %q", v.Verdict, v.Problems)
	}

	f = asGiven(t, "out", "n2", false, "n2=out")
	n2 := f.snapshot.Node("n2")
	n2.Since, n2.By, n2.Reason = noon.Add(-26*time.Hour), "ada", "the provider's power supply burned down, and nobody knows when there will be another one"
	f.answers["n2"] = answer{err: errGone}
	f.answers["n3"].report.Maps.At = noon.Add(-time.Hour)
	f.answers["n4"].report.Directory = "csn:20260301100000.000000Z#000000#000#000000"
	f.answers["n4"].report.Disks = []Disk{{"/var/vmail", 5 << 30, 100 << 30}}
	f.answers["n1"].report.Sync = &SyncState{Report: merge.Report{Failed: 2}}
	v = newOverview(f.snapshot, f.answers, f.version, f.after, noon.Add(time.Minute), &settings)
	golden(t, "status-degraded", v.text())
	if v.Verdict != degraded {
		t.Errorf("verdict is %s: %q", v.Verdict, v.Problems)
	}

	f = asGiven(t, "out", "n2", false, "n2=out n3=evicted")
	f.answers["n1"] = answer{err: errGone}
	delete(f.answers, "n3")
	v = newOverview(f.snapshot, f.answers, f.version, f.after, noon, &settings)
	golden(t, "status-failing", v.text())
	if v.Verdict != failing {
		t.Errorf("verdict is %s: %q", v.Verdict, v.Problems)
	}
}
