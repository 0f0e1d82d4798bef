package genmaps

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"rplan/lib/cdb"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/published"
)

func (c *collective) state() *published.State {
	c.t.Helper()
	s, err := published.Load(c.path("maps"))
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// drawStates gives the nodes states by lot.
func (c *collective) drawStates(r *rand.Rand) {
	states := []string{"up", "up", "draining", "out", "returning", "evicted"}
	for _, node := range []string{"n1", "n2", "n3"} {
		c.setState(node, states[r.IntN(len(states))])
	}
}

// drawUsers changes other entries by lot.
func (c *collective) drawUsers(r *rand.Rand) {
	for range 1 + r.IntN(4) {
		i := r.IntN(100)
		from := strings.Index(c.ldif, fmt.Sprintf("rplanAddress: user%03d@", i))
		at := from + strings.Index(c.ldif[from:], "rplanPlacement: ") + len("rplanPlacement: ")
		end := at + strings.IndexByte(c.ldif[at:], '\n')
		c.ldif = c.ldif[:at] + []string{"n1_n2", "n3", "n3_n2_n1", "n1_n3"}[r.IntN(4)] + c.ldif[end:]
	}
	c.ldif = strings.ReplaceAll(c.ldif, "rplanActiveNode: n1", fmt.Sprintf("rplanActiveNode: n%d", 1+r.IntN(3)))
	c.ldif += fmt.Sprintf("dn: cn=x,ou=sites,dc=example\nobjectClass: rplanSite\nrplanSiteName: x%d.example.org\nrplanSiteMode: application\nrplanPlacement: n2_n3_n1\n\n", r.IntN(1000))
}

// What --states makes is, byte for byte, what a full run makes of the same
// users and the new states, whatever else has changed meanwhile; and the next full run finds
// nothing wrong with it.
func TestStatesAreThoseOfAFullRun(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 0))
		fast, whole := newCollective(t), newCollective(t)
		fast.mustRun(fast.options())
		whole.mustRun(whole.options())
		for round := range 4 {
			fast.now = fast.now.Add(time.Hour)
			whole.now = fast.now
			fast.drawStates(r)
			whole.ldif = fast.ldif
			later := fast.ldif
			if round > 1 { // users too, of which --states knows nothing yet
				fast.drawUsers(r)
				later = fast.ldif
			}
			o := fast.options()
			o.States = true
			fast.mustRun(o)
			whole.mustRun(whole.options())
			if d := differing(fast.published(), whole.published()); d != nil {
				t.Fatalf("seed %d, round %d: not as a full run has it: %q", seed, round, d)
			}
			fast.ldif, whole.ldif = later, later
			fast.run(fast.options())
			whole.run(whole.options())
			if d := differing(fast.published(), whole.published()); d != nil {
				t.Fatalf("seed %d, round %d: after the full run: %q", seed, round, d)
			}
		}
	}
}

// A node follows the states from then on; all its maps are of the earlier version until a full run.
func TestStatesVersions(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	first := c.state().Version()
	if first == "" || c.state().States() != first {
		t.Fatalf("after a full run: %q, %q", first, c.state().States())
	}
	checked, err := published.Checked(c.path("maps"))
	if err != nil {
		t.Fatal(err)
	}
	c.setState("n2", "out")
	c.edit("alias007@", "seven@")
	c.now = c.now.Add(time.Hour)
	o := c.options()
	o.States, o.JSON = true, true
	out, _ := c.mustRun(o)
	s := c.state()
	if s.Version() != first || s.States() == first || s.States() == "" {
		t.Errorf("after --states: %q, %q", s.Version(), s.States())
	}
	for _, want := range []string{`"version": "` + string(first) + `"`, `"states": "` + string(s.States()) + `"`, `"file": "postfix/placements.cdb"`, `"file": "dns/example.org.zone"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	if strings.Contains(out, "aliases") {
		t.Errorf("the users' tables: %s", out)
	}
	if again, _ := published.Checked(c.path("maps")); !again.Equal(checked) {
		t.Error("the maps pass for checked")
	}
	want := s.States()
	c.mustRun(c.options())
	if s := c.state(); s.Version() != want || s.States() != want {
		t.Errorf("after the full run: %q, %q, want %q", s.Version(), s.States(), want)
	}
	if text := c.published()["postfix/aliases.cdb"]; !strings.Contains(text, "seven@example.org") {
		t.Error("the full run did not do the rest")
	}
}

// Where it cannot be told from the outline, --states is a full run.
func TestStatesNeedAnOutline(t *testing.T) {
	for what, change := range map[string]func(c *collective){
		"no outline":       func(c *collective) { os.Remove(c.path("maps/.outline.json")) },
		"a broken outline": func(c *collective) { c.write("maps/.outline.json", `{"version": "sha`) },
		"another address":  func(c *collective) { c.edit("10.77.0.3", "10.77.0.33") },
		"another role": func(c *collective) {
			c.edit("rplanVpnAddress: 10.77.0.3", "rplanRole: mirror\nrplanVpnAddress: 10.77.0.3")
		},
		"other settings":     func(c *collective) { c.config += "[genmaps.dovecot]\nversion = \"2.4\"\n" },
		"a touched table":    func(c *collective) { os.Chtimes(c.path("maps/postfix/lists.cdb"), c.now, c.now) },
		"an interrupted run": func(c *collective) { s := c.state(); s.Services["dns"].Unsettled = true; s.Save(c.path("maps")) },
	} {
		c := newCollective(t)
		c.mustRun(c.options())
		c.edit("alias007@", "seven@")
		c.setState("n2", "out")
		change(c)
		o := c.options()
		o.States = true
		c.mustRun(o)
		if text := c.published()["postfix/aliases.cdb"]; !strings.Contains(text, "seven@example.org") {
			t.Errorf("%s: no full run", what)
		}
		if s := c.state(); s.States() == "" || s.States() != s.Version() {
			t.Errorf("%s: versions %q, %q", what, s.Version(), s.States())
		}
	}
}

// A loss that is refused, and a directory without users, keep no node from following.
func TestStatesBesideRefusals(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	c.setState("n2", "out")
	for i := range 50 {
		c.edit(fmt.Sprintf("rplanAddress: user%03d@example.org", i), "cn: x")
	}
	_, _, err := c.run(c.options())
	if diag.KindOf(err) != diag.Refused {
		t.Fatal(err)
	}
	s := c.state()
	if s.States() == "" || s.States() == s.Version() || s.Services["dns"].Version != s.States() {
		t.Errorf("versions %q, %q", s.Version(), s.States())
	}
	c.checkRow("n2_n1", "")
	c.setState("n2", "up")
	c.setState("n1", "out")
	o := c.options()
	o.States = true
	if _, _, err = c.run(o); diag.KindOf(err) != diag.Refused {
		t.Error(err)
	}
	c.checkRow("n1_n2", "proxy=y host=10.77.0.2 port=10143 ssl=any-cert proxy_not_trusted=y")
	if again := c.state().States(); again == s.States() || again == "" {
		t.Errorf("the states are still of %q", again)
	}
}

// checkRow looks a placement up.
func (c *collective) checkRow(placement, want string) {
	c.t.Helper()
	if text := c.published()["dovecot/placements"]; !strings.Contains("\n"+text, "\n"+placement+":::::::"+want+"\n") {
		c.t.Errorf("%s is not %q: %s", placement, want, text)
	}
}

func TestStatesGoesWithNoPreview(t *testing.T) {
	c := newCollective(t)
	for _, o := range []Options{{DryRun: true}, {Diff: true}, {Force: true}, {Output: "/tmp/x"}} {
		o.Config, o.States = c.options().Config, true
		if _, _, err := c.run(o); diag.KindOf(err) != diag.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// rp-failover takes from the outline how many mailboxes there are, and from the table which: they are of the same.
func TestOutlineCountsTheTable(t *testing.T) {
	c := newCollective(t)
	c.edit("rplanAddress: user007@example.org\n", "rplanAddress: user007@example.org\nrplanDelivery: one\n")
	c.mustRun(c.options())
	kept, err := published.LoadOutline(c.path("maps"))
	if err != nil || kept == nil || kept.Version != c.state().Version() {
		t.Fatalf("%+v, %v", kept, err)
	}
	table, err := cdb.Open(c.path("maps/dovecot/mailboxes.cdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	counted := map[string]directory.Count{}
	for row, err := range table.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		n := counted[string(row.Value)]
		n.All++
		if string(row.Key) == "user007@example.org" {
			n.Single++
		}
		counted[string(row.Value)] = n
	}
	if len(counted) != 4 || !maps.Equal(counted, kept.Mailboxes) {
		t.Errorf("the outline has %v, the table %v", kept.Mailboxes, counted)
	}
}
