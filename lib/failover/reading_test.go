package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/cdb"
	"rplan/lib/directory"
	"rplan/lib/published"
	"rplan/lib/source"
	"rplan/tests/slapd"
)

// node is a machine with a copy of the directory, as a file, and its maps.
type node struct {
	t      testing.TB
	ldif   string
	config *configuration
	env    *app.Env
}

func newNode(t testing.TB, ldif string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{t: t, ldif: filepath.Join(dir, "collective.ldif"), env: &app.Env{Stderr: &bytes.Buffer{}, Now: func() time.Time { return noon }}}
	path := filepath.Join(dir, "rplan.toml")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "node = \"n1\"\n[network]\nnodes-domain = \"nodes.example.net\"\n[directory]\nurls = [\"ldif:%s\"]\nbase = %q\n"+
		"[genmaps]\noutput = %q\n", n.ldif, slapd.Suffix, filepath.Join(dir, "maps")), 0o600))
	var err error
	n.config, err = loadConfiguration(path)
	must(t, err)
	n.write(ldif)
	return n
}

func (n *node) write(ldif string) { must(n.t, os.WriteFile(n.ldif, []byte(ldif), 0o600)) }

// publish leaves what rp-genmaps leaves of the directory as it is now.
func (n *node) publish() {
	n.t.Helper()
	r, err := readAll(context.Background(), n.env, n.config)
	must(n.t, err)
	leave(n.t, n.config.mapsDir(), r)
}

func leave(t testing.TB, maps string, r *source.Result) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(maps, "dovecot"), 0o755))
	kept := published.Outline{Version: r.Version, Outline: *r.Snapshot.Outline()}
	must(t, kept.Save(maps))
	must(t, os.Chtimes(filepath.Join(maps, ".outline.json"), noon, noon))
	state := &published.State{Node: "n1", Wanted: []string{"dovecot"}, Services: map[string]*published.ServiceState{"dovecot": {Version: r.Version}}}
	must(t, state.Save(maps))
	f, err := os.Create(filepath.Join(maps, "dovecot", "mailboxes.cdb"))
	must(t, err)
	w := cdb.NewWriter(f)
	for i := range r.Snapshot.Mailboxes {
		must(t, w.Put(r.Snapshot.Mailboxes[i].Address, r.Snapshot.Mailboxes[i].Placement.Name))
	}
	must(t, w.Close())
	must(t, f.Close())
}

func (n *node) read() *reading {
	n.t.Helper()
	r, err := readDirectory(context.Background(), n.env, n.config)
	must(n.t, err)
	return r
}

// whole is what was read before there was an outline.
func (n *node) whole() *reading {
	n.t.Helper()
	all, err := readAll(context.Background(), n.env, n.config)
	must(n.t, err)
	return &reading{Result: all, env: n.env, config: n.config}
}

// told is all that a reading leads to: each plan and who is kicked by it, and
// the overview, as --json prints them.
func (n *node) told(r *reading) string {
	n.t.Helper()
	var b strings.Builder
	show := json.NewEncoder(&b)
	settings := Defaults()
	states, version, err := copied{r.Result}.States(context.Background())
	must(n.t, err)
	answers := map[string]answer{}
	for i := range states {
		answers[states[i].Name] = answer{err: errGone}
	}
	for _, verb := range []string{"out", "in", "evict", "admit"} {
		for i := range states {
			p := newPlan(verb, states[i].Name, i%2 == 0, r.Snapshot, stateOf(states))
			f := &facts{
				plan: p, snapshot: r.Snapshot, states: states, of: stateOf(states), version: version, after: version,
				answers: answers, self: "n1", now: noon, settings: &settings,
			}
			p.Refusals = f.ask(nil)
			users, err := r.users(context.Background(), p.affected)
			must(n.t, err)
			must(n.t, show.Encode([]any{p, p.partners, users}))
			b.WriteString(p.text())
		}
	}
	v := newOverview(r.Snapshot, answers, version, version, noon, &settings)
	must(n.t, show.Encode(v))
	b.WriteString(v.text())
	return b.String()
}

// drawn is the fixture's collective with further entries by lot.
func drawn(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString(collectiveLDIF())
	placement := func() string {
		nodes := []string{"n1", "n2", "n3", "n4", "n9"} // n9 is no node
		r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		return strings.Join(nodes[:1+r.IntN(3)], "_")
	}
	for i := range r.IntN(60) {
		fmt.Fprintf(&b, "dn: rplanAddress=x%d@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: x%[1]d@example.org\n"+
			"rplanPlacement: %s\nrplanDelivery: %s\nrplanStatus: %s\n\n", i, placement(), []string{"one", "both"}[r.IntN(2)], []string{"active", "suspended"}[r.IntN(2)])
	}
	for i := range r.IntN(10) {
		fmt.Fprintf(&b, "dn: rplanSiteName=s%d.example.org,ou=sites,dc=example,dc=net\nobjectClass: rplanSite\nrplanSiteName: s%[1]d.example.org\n"+
			"rplanPlacement: %s\nrplanSiteMode: %s\n\n", i, placement(), []string{"proxy", "redirect", "everywhere", "mirror"}[r.IntN(4)])
		fmt.Fprintf(&b, "dn: rplanAddress=l%d@example.org,ou=lists,dc=example,dc=net\nobjectClass: rplanList\nrplanAddress: l%[1]d@example.org\n"+
			"rplanListCandidate: n1\nrplanListCandidate: n3\nrplanActiveNode: n%d\n\n", i, 1+r.IntN(5))
	}
	return b.String()
}

// drawnStates gives the nodes states by lot.
func drawnStates(r *rand.Rand, ldif string) string {
	parts := strings.Split(ldif, "rplanState: up\n")
	for i := range parts[:len(parts)-1] {
		parts[i] += "rplanState: " + []string{"up", "up", "draining", "out", "returning", "evicted"}[r.IntN(6)] + "\nrplanStateReason: by lot\n"
	}
	return strings.Join(parts, "")
}

// The outline and the table lead to the same, byte for byte, as reading everything, whatever states were written since.
func TestOutlineTellsTheSame(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		ldif := drawn(r)
		n := newNode(t, drawnStates(r, ldif))
		n.publish()
		for range 3 {
			fast := n.read()
			if !fast.outline || len(fast.Snapshot.Mailboxes) > 0 {
				t.Fatalf("seed %d: everything was read", seed)
			}
			if got, want := n.told(fast), n.told(n.whole()); got != want {
				t.Fatalf("seed %d: from the outline\n%s\nfrom everything\n%s", seed, got, want)
			}
			n.write(drawnStates(r, ldif))
		}
	}
}

// Where the outline is not what the nodes go with, or nobody keeps it up, everything is read.
func TestOutlineDoesNotFit(t *testing.T) {
	before := collectiveLDIF()
	after := before + "dn: rplanAddress=new@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: new@example.org\nrplanPlacement: n2_n3\n\n"
	outline := func(n *node) string { return filepath.Join(n.config.mapsDir(), ".outline.json") }
	old := func(n *node) {
		must(n.t, os.Chtimes(outline(n), noon.Add(-time.Hour), noon.Add(-time.Hour)))
	}
	for _, c := range []struct {
		what  string
		edit  func(n *node)
		whole bool
	}{
		{"users since", func(*node) {}, false},
		{"no outline", func(n *node) { must(t, os.Remove(outline(n))) }, true},
		{"a broken outline", func(n *node) { must(t, os.WriteFile(outline(n), []byte(`{"version`), 0o600)) }, true},
		{"an unreadable outline", func(n *node) { must(t, os.Remove(outline(n))); must(t, os.Mkdir(outline(n), 0o700)) }, true},
		{"no counts", func(n *node) {
			text, err := os.ReadFile(outline(n))
			must(t, err)
			must(t, os.WriteFile(outline(n), bytes.Replace(text, []byte(`"Mailboxes"`), []byte(`"Boxes"`), 1), 0o600))
		}, true},
		{"another address", func(n *node) { n.write(strings.Replace(after, "10.77.0.3", "10.77.0.33", 1)) }, true},
		{"another role", func(n *node) {
			n.write(strings.Replace(after, "10.77.0.3\n", "10.77.0.3\nrplanRole: mirror\n", 1))
		}, true},
		{"another node", func(n *node) { n.write(strings.Replace(after, "n4", "n5", 3)) }, true},
		{"rp-genmaps does not run", old, true},
		{"rp-genmaps ran and changed nothing", func(n *node) { old(n); must(t, published.Check(n.config.mapsDir(), noon)) }, false},
		{"nothing was written for long", func(n *node) { old(n); n.write(before) }, false},
	} {
		n := newNode(t, before)
		n.publish()
		n.write(after)
		c.edit(n)
		r := n.read()
		if r.outline == c.whole {
			t.Errorf("%s: from the outline is %v", c.what, r.outline)
		}
		if c.whole && n.told(r) != n.told(n.whole()) {
			t.Errorf("%s: not as everything says", c.what)
		}
	}
}

// Who moves is known without the table too; then all that was written since counts.
func TestUsersWithoutTheTable(t *testing.T) {
	both := map[string]bool{"n2_n3": true, "n1_n4": true}
	for what, c := range map[string]struct {
		edit func(t *testing.T, maps string)
		want string
	}{
		"the table": {func(*testing.T, string) {}, "b1 b2 d1"},
		"no table":  {func(t *testing.T, maps string) { must(t, os.Remove(filepath.Join(maps, "dovecot", "mailboxes.cdb"))) }, "b1 b2 d1 e1"},
		"a damaged table": {func(t *testing.T, maps string) {
			must(t, os.Truncate(filepath.Join(maps, "dovecot", "mailboxes.cdb"), 2050))
		}, "b1 b2 d1 e1"},
		"no role imap any more": {func(t *testing.T, maps string) { must(t, (&published.State{Node: "n1"}).Save(maps)) }, "b1 b2 d1 e1"},
		"no state":              {func(t *testing.T, maps string) { must(t, os.Remove(published.Path(maps))) }, "b1 b2 d1 e1"},
	} {
		n := newNode(t, collectiveLDIF())
		n.publish()
		n.write(collectiveLDIF() +
			"dn: rplanAddress=e1@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: e1@example.org\nrplanPlacement: n2_n3\n\n")
		c.edit(t, n.config.mapsDir())
		r := n.read()
		users, err := r.users(context.Background(), both)
		if got := strings.ReplaceAll(strings.Join(users, " "), "@example.org", ""); err != nil || !r.outline || got != c.want {
			t.Errorf("%s: %q, %v, want %q", what, got, err, c.want)
		}
		if users, err := r.users(context.Background(), nil); users != nil || err != nil {
			t.Errorf("nobody moves, but %q, %v", users, err)
		}
	}
}

// A whole change asks the same and says the same from the outline, and one that cannot say whom to kick goes on.
func TestChangeFromTheOutline(t *testing.T) {
	w := newWorld(t)
	var all []string
	for _, from := range []string{"everything", "the outline", "no users"} {
		w.set("n2", directory.Up, "ada", noon.Add(-time.Hour))
		o := Options{Verb: "evict", Args: []string{"n2"}, Yes: true, JSON: true}
		c, err := w.change(o)
		must(t, err)
		must(t, os.MkdirAll(w.config.failover.State, 0o700))
		if from == "no users" {
			c.users = func(context.Context, map[string]bool) ([]string, error) { return nil, errGone }
		}
		err = c.run(context.Background())
		text, _ := json.Marshal(c.outcome.Plan)
		all = append(all, fmt.Sprintf("%s\n%s\n%s\n%v", w.asked(), text, w.errs.String(), err))
		if from == "everything" {
			r, err := readAll(context.Background(), c.env, w.config)
			must(t, err)
			leave(t, w.config.mapsDir(), r)
		}
	}
	if all[0] != all[1] || !strings.Contains(all[0], "b1 b2") {
		t.Errorf("from everything\n%s\nfrom the outline\n%s", all[0], all[1])
	}
	if !strings.Contains(all[2], "warning: the sessions of who moves have not ended: gone") || w.state("n2").State != directory.Evicted {
		t.Errorf("without users\n%s", all[2])
	}
}

// Reading from the outline does not grow with the users, but for the table that a kick walks through.
func BenchmarkReading(b *testing.B) {
	const users = 100_000
	var ldif strings.Builder
	ldif.WriteString(collectiveLDIF())
	for i := range users {
		fmt.Fprintf(&ldif, "dn: rplanAddress=x%d@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: x%[1]d@example.org\n"+
			"rplanPlacement: %s\n\n", i, []string{"n1_n2", "n2_n3", "n3_n1"}[i%3])
	}
	n := newNode(b, ldif.String())
	s := slapd.Run(b, slapd.Options{LDIF: []string{n.ldif}, NoSync: true})
	password := filepath.Join(b.TempDir(), "password")
	must(b, os.WriteFile(password, []byte(s.RootPassword), 0o600))
	n.config.Directory.URLs, n.config.Directory.BindDN, n.config.Directory.PasswordFile = []string{s.LDAPI()}, s.RootDN, password
	n.publish()
	var r *reading
	b.Run("everything", func(b *testing.B) {
		for b.Loop() {
			r = n.whole()
		}
	})
	b.Run("outline", func(b *testing.B) {
		for b.Loop() {
			if r = n.read(); !r.outline {
				b.Fatal("everything was read")
			}
		}
	})
	b.Run("users", func(b *testing.B) {
		for b.Loop() {
			if all, ok := r.tabled(map[string]bool{"n2_n3": true}); !ok || !slices.Contains(all, "b1@example.org") {
				b.Fatal(len(all), ok)
			}
		}
	})
}
