package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/tests/need"
	"rplan/tests/slapd"
)

// collective has a list of every standing, seen from node n1.
func collective() string {
	var b strings.Builder
	entry := func(branch, class string, lines ...string) {
		fmt.Fprintf(&b, "dn: %s,ou=%s,dc=example,dc=net\nobjectClass: %s\n%s\n\n", strings.Replace(lines[0], ": ", "=", 1), branch, class, strings.Join(lines, "\n"))
	}
	b.WriteString("dn: dc=example,dc=net\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n")
	for _, branch := range []string{"nodes", "domains", "lists"} {
		fmt.Fprintf(&b, "dn: ou=%s,dc=example,dc=net\nobjectClass: organizationalUnit\nou: %[1]s\n\n", branch)
	}
	for i, n := range []struct{ state, role string }{{"up", "lists"}, {"up", "lists"}, {"out", "lists"}, {"up", "imap"}} {
		entry("nodes", "rplanNode", fmt.Sprint("rplanNodeName: n", i+1), "rplanState: "+n.state, fmt.Sprint("rplanVpnAddress: 10.77.0.", i+1), "rplanRole: "+n.role)
	}
	entry("domains", "rplanDomain", "rplanDomainName: a.org")
	entry("domains", "rplanDomain", "rplanDomainName: b.org")
	list := func(address string, lines ...string) {
		entry("lists", "rplanList", append([]string{"rplanAddress: " + address}, lines...)...)
	}
	list("dev@a.org", "rplanActiveNode: n1", "rplanKeepHtml: 1y", "rplanKeepMbox: 5y")
	list("news@a.org", "rplanActiveNode: n1")
	list("news@b.org", "rplanActiveNode: n2")
	list("far@a.org", "rplanActiveNode: n2")
	list("ill@a.org", "rplanActiveNode: n3")
	list("lost@a.org")
	list("wrong@a.org", "rplanActiveNode: n1", "rplanKeepHtml: 90 days", "rplanKeepMbox: 5y")
	list("twisted@a.org", "rplanActiveNode: n1", "rplanKeepHtml: 5y", "rplanKeepMbox: 1y")
	list("broken@a.org", "rplanActiveNode: n 1")
	list("stray@c.org", "rplanActiveNode: n1") // no domain of ours
	list("half@a.org", "rplanActiveNode: n1")
	list("half@c.org", "rplanActiveNode: n1")
	list("quick@a.org", "rplanActiveNode: n1", "rplanKeepMbox: 30d")
	return b.String()
}

const head = "node = \"n1\"\n[network]\nnodes-domain = \"nodes.example.net\"\n[directory]\nbase = \"dc=example,dc=net\"\n"

// standing is that of node n1, by an LDIF file beside the configuration.
func standing(t *testing.T, config string) (*Configuration, *Standing) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "rplan.toml")
	for name, text := range map[string]string{"all.ldif": collective(), "rplan.toml": head + "urls = [\"ldif:all.ldif\"]\n" + config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.ReadStanding(context.Background())
	if err != nil || s == nil {
		t.Fatalf("%v, %v", s, err)
	}
	return c, s
}

// standings are what is said of each list, by what a tree calls it; "" where it may be pruned.
var standings = map[string]string{
	"dev@a.org":    "",
	"dev":          "",
	"news@a.org":   "",
	"news":         `list "news": the directory has news@a.org and news@b.org`,
	"news@b.org":   `list "news@b.org" is active on node "n2"`,
	"far":          `list "far" is active on node "n2"`,
	"ill":          `list "ill" is active on node "n3"`,
	"lost":         `list "lost" is active on no node`,
	"broken":       `list "broken": the directory may have it, in an entry that cannot be used: `,
	"stray@c.org":  `list "stray@c.org": the directory may have it, in an entry that cannot be used: `,
	"half":         `list "half": the directory may have it, in an entry that cannot be used: `,
	"half@a.org":   "",
	"nobody":       `list "nobody": the directory has no such list`,
	"dev@b.org":    `list "dev@b.org": the directory has no such list`,
	"a.org":        `list "a.org": the directory has no such list`,
	"de":           `list "de": the directory has no such list`,
	"dev@a.org.uk": `list "dev@a.org.uk": the directory has no such list`,
}

func checkStandings(t *testing.T, s *Standing) {
	t.Helper()
	for name, want := range standings {
		l, err := s.Of(name)
		switch {
		case want == "" && (err != nil || l == nil || l.Node != "n1" || !called(l.Address, name)):
			t.Errorf("%s: %+v, %v", name, l, err)
		case want != "" && (diag.KindOf(err) != diag.Refused || err == nil || !strings.HasPrefix(err.Error(), want)):
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if unlisted := strings.HasSuffix(want, ErrUnlisted.Error()); errors.Is(err, ErrUnlisted) != unlisted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStandingByLDIF(t *testing.T) {
	_, s := standing(t, "")
	checkStandings(t, s)
	s.node = "n3"
	if l, err := s.Of("ill"); l == nil || err == nil || err.Error() != `list "ill" is active on node "n3", which is out` {
		t.Errorf("%v, %v", l, err)
	}
	s.node = "n4" // which has not the role
	s.snapshot.Lists[0].Node = "n4"
	if _, err := s.Of(s.snapshot.Lists[0].Address); err == nil || !strings.HasSuffix(err.Error(), `active on node "n4", which has not the role lists`) {
		t.Error(err)
	}
}

// TestStandingBySlapd asks a real server, as who may read and as who may not.
func TestStandingBySlapd(t *testing.T) {
	need.Root(t) // whom the access rules know by the socket
	need.Program(t, "slapd", "slapadd")
	dir := t.TempDir()
	ldif := filepath.Join(dir, "all.ldif")
	if err := os.WriteFile(ldif, []byte(collective()), 0o600); err != nil {
		t.Fatal(err)
	}
	server := slapd.Run(t, slapd.Options{LDIF: []string{ldif}, ACL: true, NoSync: true})
	c, err := load(t, head+"urls = [\""+server.LDAPI()+"\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.ReadStanding(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	checkStandings(t, s)
	if l, _ := s.Of("wrong"); l == nil || l.KeepHTML != directory.Unreadable || l.KeepMbox != "5y" {
		t.Errorf("%+v", l)
	}
	if c, err = load(t, head+"starttls = false\nurls = [\""+server.URL()+"\"]\n"); err != nil {
		t.Fatal(err)
	}
	if blind, err := c.ReadStanding(context.Background()); blind != nil || diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), `there is no "dc=example,dc=net"`) {
		t.Errorf("who may read nothing: %v, %v", blind, err)
	}
	if l, _ := s.Of("dev"); l == nil || l.KeepHTML != "1y" || l.KeepMbox != "5y" {
		t.Errorf("%+v", l)
	}
}

func TestStandingThatCannotBeRead(t *testing.T) {
	c, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.ReadStanding(context.Background()); s != nil || err != nil {
		t.Errorf("without a directory: %v, %v", s, err)
	}
	if l, err := (*Standing)(nil).Of("dev"); l != nil || err != nil {
		t.Errorf("without a directory: %v, %v", l, err)
	}
	for _, x := range []struct {
		lines string
		kind  diag.Kind
		want  string
	}{
		{`urls = ["ldap://127.0.0.1:1"]`, diag.TryAgain, "ldap://127.0.0.1:1"},
		{`urls = ["ldapi://%2Fnowhere%2Fldapi"]`, diag.TryAgain, "nowhere"},
		{`urls = ["http://127.0.0.1"]`, diag.Config, "rplan.toml: "},
		{`urls = ["ldif:empty.ldif"]`, diag.Config, `the directory has no node "n1", or does not show it to this user`},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"rplan.toml": head + x.lines + "\n", "empty.ldif": "dn: dc=example,dc=net\nobjectClass: dcObject\ndc: example\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(filepath.Join(dir, "rplan.toml"))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := c.ReadStanding(context.Background()); s != nil || diag.KindOf(err) != x.kind || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, %v", x.lines, s, err)
		}
	}
}
