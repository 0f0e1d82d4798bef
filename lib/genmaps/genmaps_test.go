package genmaps

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/lib/published"
	"rplan/tests/need"
)

func TestFirstRunThenNothingToDo(t *testing.T) {
	c := newCollective(t)
	if stdout, stderr := c.mustRun(c.options()); stdout != "" || stderr != "" {
		t.Errorf("a run that did what it should is not silent: %q %q", stdout, stderr)
	}
	first := c.published()
	for _, name := range []string{"postfix/mailboxes.cdb", "dovecot/placements", "apache/sites", "dns/example.org.zone"} {
		if first[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	o := c.options()
	o.JSON = true
	stdout, _ := c.mustRun(o)
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || !r.Unchanged || len(r.Changes) != 0 {
		t.Errorf("%v: %s", err, stdout)
	}
	o.Force = true
	stdout, _ = c.mustRun(o)
	r = report{}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Unchanged || len(r.Changes) != len(first) {
		t.Errorf("a forced run does not make every file: %v: %s", err, stdout)
	}
	for _, change := range r.Changes {
		if !change.None() {
			t.Errorf("a forced run finds %s different", change.File)
		}
	}
}

// What shapes the maps beside the directory makes the next run look again.
func TestARunIsOnlySkippedIfNothingChanged(t *testing.T) {
	for name, disturb := range map[string]func(*collective){
		"configuration": func(c *collective) {
			c.config = strings.Replace(c.config, "[genmaps.check]", "max-loss = \"11%\"\n[genmaps.check]", 1)
		},
		"directory":        func(c *collective) { c.edit("alias007@", "other007@") },
		"zone extras":      func(c *collective) { os.MkdirAll(c.path("zones"), 0o755); c.write("zones/example.org", "x IN TXT y\n") },
		"map touched":      func(c *collective) { c.write("maps/dovecot/placements", "garbage\n") },
		"map lost":         func(c *collective) { os.Remove(c.path("maps/postfix/mailboxes.cdb")) },
		"map damaged":      func(c *collective) { c.write("maps/postfix/mailboxes.cdb", "garbage") },
		"state unreadable": func(c *collective) { c.write("maps/.state.json", "{") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollective(t)
			c.mustRun(c.options())
			disturb(c)
			o := c.options()
			o.JSON = true
			stdout, _ := c.mustRun(o)
			if strings.Contains(stdout, `"unchanged": true`) {
				t.Error("nothing was made")
			}
			fresh := newCollective(t)
			fresh.dir, fresh.ldif, fresh.config = t.TempDir(), c.ldif, c.config
			if name == "zone extras" {
				os.MkdirAll(fresh.path("zones"), 0o755)
				fresh.write("zones/example.org", "x IN TXT y\n")
			}
			fresh.mustRun(fresh.options())
			for _, file := range differing(fresh.published(), c.published()) {
				// A serial rises with each change of a zone that was published before, and only then.
				if file != "dns/example.org.zone" || name != "zone extras" {
					t.Errorf("%s is not what a first run makes", file)
				}
			}
		})
	}
}

func TestANodeOutChangesOnlySmallFiles(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	before := c.published()
	c.setState("n2", "out")
	c.now = c.now.Add(time.Minute)
	stdout, stderr, err := c.run(c.options())
	if stdout != "" || err != nil || !strings.Contains(stderr, `"talk@example.org" is active on "n2", which is out`) {
		t.Errorf("stdout %q, stderr %q, error %v", stdout, stderr, err)
	}
	got := differing(before, c.published())
	for _, name := range got {
		if strings.HasPrefix(name, "postfix/") && name != "postfix/placements.cdb" || name == "apache/sites" || name == "apache/vhosts.conf" {
			t.Errorf("%s was rewritten", name)
		}
	}
	for _, name := range []string{"postfix/placements.cdb", "dovecot/placements", "dns/example.org.zone"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s was not rewritten", name)
		}
	}
	c.setState("n2", "up")
	c.mustRun(c.options())
	for _, name := range differing(before, c.published()) {
		if !strings.HasSuffix(name, ".zone") {
			t.Errorf("%s is not as it was after the node came back", name)
		}
	}
}

func TestDryRunAndDiffChangeNothing(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	before := c.published()
	c.setState("n2", "out")
	c.edit("rplanAlias: alias007@example.org", "rplanAlias: seven@example.org")
	o := c.options()
	o.DryRun = true
	stdout, _, _ := c.run(o)
	if !strings.Contains(stdout, "would write postfix/aliases.cdb: 101 rows, 1 added, 1 removed, 0 changed\n") {
		t.Errorf("dry run said %q", stdout)
	}
	o.Diff = true
	stdout, _, _ = c.run(o)
	for _, want := range []string{
		"+++ postfix/aliases.cdb (new)\n-alias007@example.org user007@example.org\n+seven@example.org user007@example.org\n",
		"-n2_n1 lmtp:inet:[10.77.0.2]:24\n+n2_n1 lmtp:inet:[10.77.0.1]:24\n",
		"+++ dns/example.org.zone (new)\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the diff lacks %q:\n%s", want, stdout)
		}
	}
	if d := differing(before, c.published()); d != nil {
		t.Errorf("a dry run changed %q", d)
	}
	fresh := newCollective(t)
	o = fresh.options()
	o.DryRun = true
	fresh.mustRun(o)
	if _, err := os.Stat(fresh.path("maps")); err == nil {
		t.Error("a dry run made the maps directory")
	}
}

func TestLossGuard(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	before := c.published()
	lose := func(n int) {
		for i := range n {
			c.edit(fmt.Sprintf("objectClass: rplanMailbox\nrplanAddress: user%03d@", i), fmt.Sprintf("objectClass: other\nrplanAddress: user%03d@", i))
		}
	}
	lose(12)
	_, _, err := c.run(c.options())
	if diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), "postfix/mailboxes.cdb would lose 12 of its 101 rows:\n  user000@example.org\n") ||
		!strings.Contains(diag.HintOf(err), "--allow-loss") {
		t.Fatalf("got %v", err)
	}
	if d := differing(before, c.published()); d != nil {
		t.Errorf("a refused run changed %q", d)
	}
	o := c.options()
	o.AllowLoss = true
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Partial { // board@ and cafe's contact lost a target
		t.Errorf("got %v", err)
	}
	if rows(t, c, "postfix/mailboxes") != 89 {
		t.Errorf("%d rows", rows(t, c, "postfix/mailboxes"))
	}
}

// A service whose checker refuses, or whose map would lose too much, keeps back neither the other
// services nor what a node's state changes.
func TestARefusalStopsNoFailover(t *testing.T) {
	for name, disturb := range map[string]func(*collective){
		"checker": func(c *collective) {
			need.Program(t, "kzonecheck")
			os.MkdirAll(c.path("zones"), 0o755)
			c.write("zones/example.org", "www IN A nonsense\n")
			c.config = strings.Replace(c.config, "apache = []\ndns = []\n[genmaps.reload]", "apache = []\n[genmaps.reload]", 1)
		},
		"loss": func(c *collective) {
			for i := range 40 {
				c.edit(fmt.Sprintf("objectClass: rplanMailbox\nrplanAddress: user%03d@", i), fmt.Sprintf("objectClass: other\nrplanAddress: user%03d@", i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollective(t)
			c.mustRun(c.options())
			before := c.published()
			disturb(c)
			c.setState("n2", "out")
			for range 2 {
				_, stderr, err := c.run(c.options())
				if diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), "maps stay as they are") {
					t.Errorf("got %v, %s", err, stderr)
				}
			}
			changed := differing(before, c.published())
			for _, urgent := range []string{"postfix/placements.cdb", "dovecot/placements", "apache/placements"} {
				if !slices.Contains(changed, urgent) {
					t.Errorf("%s does not know that n2 is out; changed are %q", urgent, changed)
				}
			}
			for _, held := range map[string][]string{"checker": {"dns/example.org.zone"}, "loss": {"postfix/mailboxes.cdb", "postfix/aliases.cdb"}}[name] {
				if slices.Contains(changed, held) {
					t.Errorf("%s was changed", held)
				}
			}
			if name == "checker" {
				c.write("zones/example.org", "other IN A 192.0.2.9\n")
				c.mustRun(c.options())
				if !strings.Contains(c.published()["dns/example.org.zone"], "192.0.2.9") {
					t.Error("the zone was not published once it was mended")
				}
			}
		})
	}
}

// A few rows may always go, and a share of many.
func TestLossesThatAreAllowed(t *testing.T) {
	s := defaults()
	for _, n := range []struct {
		before, removed int
		refused         bool
	}{{5, 5, false}, {20, 9, false}, {20, 10, true}, {1000, 100, false}, {1000, 101, true}} {
		c := &change{File: render.File{Service: "postfix", Name: "m", Format: render.CDB, Guarded: true}, loss: loss{of: n.before, count: n.removed}}
		p := &plan{service: "postfix", changes: []*change{c}}
		if err := checkLosses(p, &s); (err != nil) != n.refused {
			t.Errorf("%+v: %v", n, err)
		}
		c.Guarded = false
		if err := checkLosses(p, &s); err != nil {
			t.Errorf("an unguarded map: %v", err)
		}
		p.zones = c.loss
		if err := checkLosses(p, &s); (err != nil) != n.refused {
			t.Errorf("%+v as zones: %v", n, err)
		}
	}
}

// A DNS node that cannot see the domains, or the sites, does not take them out of the zones.
func TestZonesAreGuarded(t *testing.T) {
	build := func() *collective {
		c := newCollective(t)
		for i := range 30 {
			c.ldif += fmt.Sprintf("dn: rplanDomainName=d%d.example,ou=domains,dc=example\nobjectClass: rplanDomain\nrplanDomainName: d%d.example\n\n", i, i)
			c.ldif += fmt.Sprintf("dn: rplanSiteName=www.d%d.example,ou=sites,dc=example\nobjectClass: rplanSite\nrplanSiteName: www.d%d.example\nrplanSiteMode: everywhere\n\n", i, i)
		}
		c.mustRun(c.options())
		return c
	}
	for class, words := range map[string]string{
		"rplanDomain": "dns/example.org.zone", "rplanSite": "the zones would lose 33 of their 72 names",
	} {
		c := build()
		before := c.published()
		c.edit("objectClass: "+class+"\n", "objectClass: other\n")
		o := c.options()
		o.Only = []string{"dns"}
		_, _, err := c.run(o)
		if diag.KindOf(err) != diag.Refused || class == "rplanSite" && !strings.Contains(err.Error(), words) {
			t.Errorf("without %s: %v", class, err)
		}
		if d := differing(before, c.published()); d != nil {
			t.Errorf("without %s: %q changed", class, d)
		}
		o.AllowLoss = true
		c.run(o)
		if differing(before, c.published()) == nil {
			t.Errorf("without %s: nothing changed although it was allowed", class)
		}
	}
	c := build()
	for _, node := range []string{"n2", "n3"} {
		c.setState(node, "out")
	}
	if _, _, err := c.run(c.options()); err != nil {
		t.Errorf("two nodes out count as a loss: %v", err)
	}
}

// A table in another format than before is compared with the rows of the old one.
func TestAChangedFormatIsGuarded(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	for i := range 60 {
		c.edit(fmt.Sprintf("objectClass: rplanMailbox\nrplanAddress: user%03d@", i), fmt.Sprintf("objectClass: other\nrplanAddress: user%03d@", i))
	}
	c.config += "[genmaps.postfix]\nformat = \"texthash\"\n"
	if _, _, err := c.run(c.options()); diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), "would lose 60 of its 101 rows") {
		t.Errorf("got %v", err)
	}
}

// What a tool built, or somebody changed, is made again, whatever its text says.
func TestTouchedTablesAreMadeAgain(t *testing.T) {
	need.Program(t, "postmap")
	for name, disturb := range map[string]func(*collective, *Options){
		"table damaged": func(c *collective, _ *Options) { c.write("maps/postfix/aliases.db", "garbage") },
		"table lost":    func(c *collective, _ *Options) { os.Remove(c.path("maps/postfix/aliases.db")) },
		"state lost": func(c *collective, _ *Options) {
			os.Remove(c.path("maps/.state.json"))
			c.write("maps/postfix/aliases.db", "garbage")
		},
		"forced": func(c *collective, o *Options) { o.Force = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollective(t)
			c.config += "[genmaps.postfix]\nformat = \"hash\"\n"
			c.mustRun(c.options())
			table := c.path("maps/postfix/aliases.db")
			was, err := os.Stat(table)
			if err != nil {
				t.Fatal(err)
			}
			o := c.options()
			disturb(c, &o)
			c.mustRun(o)
			is, err := os.Stat(table)
			if err != nil || os.SameFile(was, is) {
				t.Errorf("the table was not made again: %v", err)
			}
			c.checkTable("hash", "aliases", "alias003@example.org", "user003@example.org")
		})
	}
}

func TestARenewedCertificateReloadsApache(t *testing.T) {
	c := newCollective(t)
	dir := c.path("certificates/cafe.example.org")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.config = strings.Replace(c.config, "apache = []\ndns = []\n[genmaps.reload]", "apache = []\ndns = []\n[genmaps.apache]\ncertificates = \""+c.path("certificates")+"\"\n[genmaps.reload]", 1)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []\ndovecot = []\napache = []", "[genmaps.reload]\npostfix = []\ndovecot = []\napache = [[\"cp\", \"/dev/null\", \""+c.path("told")+"\"]]", 1)
	for _, step := range []string{"first", "renewed"} {
		c.write("certificates/cafe.example.org/fullchain.pem", step)
		c.write("certificates/cafe.example.org/privkey.pem", "key")
		os.Remove(c.path("told"))
		c.mustRun(c.options())
		if _, err := os.Stat(c.path("told")); err != nil {
			t.Errorf("%s certificate: Apache was not told: %v", step, err)
		}
	}
	os.Remove(c.path("told"))
	c.mustRun(c.options())
	if _, err := os.Stat(c.path("told")); err == nil {
		t.Error("Apache is told again of the same certificate")
	}
}

// A role that was taken away: its maps stay, but nothing waits for them any more.
func TestARoleIsTakenAway(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []\ndovecot = []\napache = []\ndns = []", "[genmaps.reload]\npostfix = []\ndovecot = []\napache = []\ndns = [[\"false\"]]", 1)
	if _, _, err := c.run(c.options()); diag.KindOf(err) != diag.Failed {
		t.Fatalf("the reload did not fail: %v", err)
	}
	c.edit("rplanRole: dns\n", "")
	_, stderr := c.mustRun(c.options())
	if !strings.Contains(stderr, `node "n1" has no role for dns any more`) {
		t.Errorf("said %q", stderr)
	}
	if c.published()["dns/example.org.zone"] == "" {
		t.Error("the zones are gone from under the server")
	}
	c.edit("alias007@", "seven@")
	if _, stderr := c.mustRun(c.options()); stderr != "" {
		t.Errorf("said again: %q", stderr)
	}
}

func TestNoReload(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []", "[genmaps.reload]\npostfix = [[\"false\"]]", 1)
	o := c.options()
	o.NoReload = true
	c.mustRun(o)
	c.mustRun(c.options()) // nothing waits to be told
	c.setState("n2", "out")
	if _, _, err := c.run(c.options()); diag.KindOf(err) != diag.Failed {
		t.Errorf("got %v", err)
	}
	c.edit("alias007@", "seven@")
	c.mustRun(func() Options { o := c.options(); o.NoReload = true; return o }()) // tells nobody of the earlier change either
	if _, _, err := c.run(c.options()); diag.KindOf(err) != diag.Failed {
		t.Errorf("the earlier change is forgotten: %v", err)
	}
}

// A service that could not be told is told by the next run, also by one that can do nothing else.
func TestAPendingReloadWaitsForNothing(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []", "[genmaps.reload]\npostfix = [[\"test\", \"-e\", \""+c.path("running")+"\"]]", 1)
	if _, _, err := c.run(c.options()); diag.KindOf(err) != diag.Failed {
		t.Fatal(err)
	}
	c.write("running", "")
	o := c.options()
	os.Remove(c.path("directory.ldif"))
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Config {
		t.Errorf("without a directory: %v", err)
	}
	os.Remove(c.path("running"))
	c.mustRun(c.options())
}

func TestOutputMustNotBeTheLiveMaps(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	o := c.options()
	o.Output = c.path("maps/../maps")
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Usage {
		t.Errorf("got %v", err)
	}
}

// Root follows no link that somebody else put where the maps go.
func TestPlantedDirectories(t *testing.T) {
	c := newCollective(t)
	o := c.options()
	o.Output = c.path("preview")
	if err := os.Mkdir(o.Output, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(c.path("elsewhere"), c.path("preview/apache")); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(c.path("elsewhere"), 0o755)
	if _, _, err := c.run(o); diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("a link in the place of a service: %v", err)
	}
	need.Root(t)
	if err := os.Chown(o.Output, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.run(o); diag.KindOf(err) != diag.CantCreate || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("a directory of somebody else: %v", err)
	}
}

// Machines get arrays, never null, and the report also when a service was not told.
func TestJSON(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []", "[genmaps.reload]\npostfix = [[\"false\"]]", 1)
	o := c.options()
	o.JSON = true
	for range 2 {
		stdout, _, err := c.run(o)
		if diag.KindOf(err) != diag.Failed || !strings.HasPrefix(stdout, "{") || strings.Contains(stdout, "null") {
			t.Errorf("%v: %s", err, stdout)
		}
	}
	o.Diff = true
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Usage {
		t.Errorf("--json --diff: %v", err)
	}
}

func TestDryRunWithNothingToDo(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	o := c.options()
	o.DryRun = true
	if stdout, _ := c.mustRun(o); stdout != "nothing would change\n" {
		t.Errorf("said %q", stdout)
	}
}

func TestAnEmptyDirectoryIsAlwaysRefused(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	before := c.published()
	for name, ldif := range map[string]string{
		"nothing":    "dn: dc=example\nobjectClass: x\n\n",
		"only nodes": c.ldif[:strings.Index(c.ldif, "dn: rplanAddress")],
	} {
		broken := *c
		broken.ldif = ldif
		o := broken.options()
		o.AllowLoss, o.AllowOlder, o.Force = true, true, true
		if _, _, err := broken.run(o); diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), "nothing to make maps from") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := differing(before, c.published()); d != nil {
		t.Errorf("changed %q", d)
	}
}

func TestAReplicaThatWentBackwards(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	r, err := newRunner(nil, c.options())
	if err != nil {
		t.Fatal(err)
	}
	if r.state, err = published.Load(r.maps); err != nil {
		t.Fatal(err)
	}
	r.state.Services["postfix"].Version = "csn:20260102000000.000000Z#000000#001#000000"
	err = r.checkAge("csn:20260101000000.000000Z#000000#001#000000")
	if diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), "went backwards") {
		t.Errorf("got %v", err)
	}
	if err := r.checkAge("csn:20260103000000.000000Z#000000#001#000000"); err != nil {
		t.Errorf("a newer one: %v", err)
	}
	r.AllowOlder = true
	if err := r.checkAge("csn:20260101000000.000000Z#000000#001#000000"); err != nil {
		t.Errorf("allowed: %v", err)
	}
}

func TestOnlyOneService(t *testing.T) {
	c := newCollective(t)
	o := c.options()
	o.Only = []string{"dovecot"}
	c.mustRun(o)
	for name := range c.published() {
		if !strings.HasPrefix(name, "dovecot/") {
			t.Errorf("wrote %s", name)
		}
	}
	// A later full run still makes the others: dovecot's being current says nothing of them.
	c.mustRun(c.options())
	if c.published()["postfix/mailboxes.cdb"] == "" {
		t.Error("the other services have no maps")
	}
}

func TestFilesOfAVanishedDomainGo(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	c.write("maps/dns/of-another", "not ours\n")
	i := strings.Index(c.ldif, "dn: rplanDomainName=example.net")
	c.ldif = c.ldif[:i] + c.ldif[i+strings.Index(c.ldif[i:], "\n\n")+2:]
	c.mustRun(c.options())
	if _, there := c.published()["dns/example.net.zone"]; there {
		t.Error("the zone of a domain that is gone is still there")
	}
	if c.published()["dns/of-another"] == "" {
		t.Error("a file that rp-genmaps did not make is gone")
	}
}

// Services read the maps, also when cron or an admin has a strict umask; only root's own state is closed.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	c := newCollective(t)
	c.mustRun(c.options())
	postfix, dirMode := -1, os.FileMode(0o755)
	if group, err := user.LookupGroup("postfix"); err == nil && os.Geteuid() == 0 {
		postfix, _ = strconv.Atoi(group.Gid)
		dirMode = 0o750
	}
	for path, want := range map[string]os.FileMode{"maps": 0o755, "maps/postfix": dirMode, "maps/postfix/mailboxes.cdb": 0o644} {
		info, err := os.Stat(c.path(path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
		if path == "maps/postfix" && postfix >= 0 && info.Sys().(*syscall.Stat_t).Gid != uint32(postfix) {
			t.Errorf("%s is not of the group postfix", path)
		}
	}
}

func TestAnotherNodesMapsAreLeftAlone(t *testing.T) {
	c := newCollective(t)
	c.mustRun(c.options())
	o := c.options()
	o.Node = "n2"
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), `holds the maps of node "n1", not of "n2"`) {
		t.Errorf("got %v", err)
	}
}

// The age of the maps is that of the last run that found or made all as they should be, also of one
// that had nothing to do, which writes nothing else.
func TestAgeOfTheMaps(t *testing.T) {
	c := newCollective(t)
	start := c.now
	age := func(what string, want time.Duration, o Options) {
		t.Helper()
		c.now = c.now.Add(time.Minute)
		c.run(o)
		if at, err := published.Checked(c.path("maps")); err != nil || at.Sub(start) != want {
			t.Errorf("%s: the maps are said to be of minute %v, want %v; %v", what, at.Sub(start), want, err)
		}
	}
	with := func(change func(*Options)) Options {
		o := c.options()
		change(&o)
		return o
	}
	age("first run", time.Minute, c.options())
	state, err := os.Stat(c.path("maps/.state.json"))
	if err != nil {
		t.Fatal(err)
	}
	age("nothing to do", 2*time.Minute, c.options())
	if now, err := os.Stat(c.path("maps/.state.json")); err != nil || !os.SameFile(state, now) || !now.ModTime().Equal(state.ModTime()) {
		t.Errorf("a run with nothing to do wrote its state: %v", err)
	}
	age("a part", 2*time.Minute, with(func(o *Options) { o.Only = []string{"dovecot"} }))
	age("dry", 2*time.Minute, with(func(o *Options) { o.DryRun = true }))
	c.edit("objectClass: rplanMailbox", "objectClass: other")
	age("refused", 2*time.Minute, c.options())
	age("allowed", 7*time.Minute-time.Minute, with(func(o *Options) { o.AllowLoss = true }))
	c.edit("rplanState: up", "rplanState: mistaken")
	age("unreadable", 6*time.Minute, c.options())
}

func TestUnknownNode(t *testing.T) {
	c := newCollective(t)
	o := c.options()
	o.Node = "n9"
	if _, _, err := c.run(o); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), `no node "n9"; its nodes are n1, n2, n3`) {
		t.Errorf("got %v", err)
	}
}

func rows(t *testing.T, c *collective, name string) (n int) {
	t.Helper()
	r, err := mapfile.Open(c.path("maps/"+name+".cdb"), render.CDB)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, err := range r.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
