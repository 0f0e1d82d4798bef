package source

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"rplan/lib/directory"
	"rplan/tests/slapd"
)

// A tree in another schema, from a server and from a file.
func TestForeignTree(t *testing.T) {
	schema, err := filepath.Abs("testdata/qmail.schema")
	if err != nil {
		t.Fatal(err)
	}
	s := slapd.Run(t, slapd.Options{Suffix: "o=Coop", Schema: []string{schema}, LDIF: []string{"testdata/qmail.ldif"},
		Global: "include /etc/ldap/schema/nis.schema"})
	for _, url := range []string{s.LDAPI(), "ldif:testdata/qmail.ldif"} {
		set := Defaults()
		if _, err := toml.DecodeFile("testdata/qmail.toml", &set); err != nil {
			t.Fatal(err)
		}
		set.URLs = []string{url}
		r, err := open(t, set).Read(context.Background(), directory.Network{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Problems {
			t.Errorf("%s: problem: %s", url, p)
		}
		snap := r.Snapshot
		if got := snap.NodeNames(); !slices.Equal(got, []string{"n1", "n2"}) {
			t.Errorf("%s: nodes %q", url, got)
		} else if n1, n2 := snap.Nodes[0], snap.Nodes[1]; n1.State != directory.Up || n2.State != directory.Out || n1.VPN.String() != "10.77.0.1" || n1.Roles.String() != "imap" {
			t.Errorf("%s: nodes %+v", url, snap.Nodes)
		}
		if d := snap.Domain("example.org"); d == nil || !d.Mail || d.DNS {
			t.Errorf("%s: domain %+v", url, d)
		}
		if len(snap.Mailboxes) != 2 || len(snap.Forwards) != 1 || len(snap.Domains) != 1 {
			t.Fatalf("%s: %+v", url, snap)
		}
		alice, bob, carol := snap.Mailboxes[0], snap.Mailboxes[1], snap.Forwards[0]
		if alice.Address != "alice@example.org" || alice.Placement.Name != "n1_n2" || alice.Status != directory.Active || alice.Delivery != directory.One ||
			!slices.Equal(alice.Aliases, []string{"al@example.org", "alice.example@example.org"}) {
			t.Errorf("%s: alice is %+v", url, alice)
		}
		if bob.Placement.Name != "n2_n1" || bob.Status != directory.Suspended || bob.DN != "uid=bob,ou=People,o=Coop" {
			t.Errorf("%s: bob is %+v", url, bob)
		}
		if carol.Address != "carol@example.org" || !slices.Equal(carol.Targets, []string{"alice@example.org", "carol@example.com"}) {
			t.Errorf("%s: carol is %+v", url, carol)
		}
	}
}

// An entry that fits several kinds is one of each; a server and a file agree on it.
func TestSeveralKinds(t *testing.T) {
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	var results []*directory.Snapshot
	for _, url := range []string{s.LDAPI(), "ldif:" + slapd.Contrib("tree.ldif")} {
		set := settings(url)
		set.Site.Filter = "(|(objectClass=rplanSite)(objectClass=rplanDomain))"
		set.Site.Base, set.Site.Attributes["name"], set.Site.Default["placement"] = "", "rplanDomainName", "n2"
		set.List.Base = ""
		set.Mailbox.Base = "dc=example,dc=net"
		r, err := open(t, set).Read(context.Background(), directory.Network{})
		if err != nil {
			t.Fatal(err)
		}
		// The created time, which a file need not have, is not compared.
		if n := len(r.Snapshot.Sites); n != 2 || r.Snapshot.Sites[1].Name != "example.org" || r.Snapshot.Domain("example.org") == nil {
			t.Errorf("%s: sites %+v", url, r.Snapshot.Sites)
		}
		results = append(results, r.Snapshot)
	}
	if len(results) == 2 && !reflect.DeepEqual(results[0].Domains, results[1].Domains) {
		t.Errorf("snapshots differ: %+v, %+v", results[0], results[1])
	}
}

func TestParseTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 59, 0, time.UTC).Unix()
	for text, want := range map[string]int64{
		"20260301123059Z": at, "20260301123059.123456Z": at, "20260301123059,5Z": at,
		"": 0, "Z": 0, "20260301123059": 0, "20261301123059Z": 0, "2026030112Z": 0, "20260301123059+0100": 0,
	} {
		if got := parseTime([]byte(text)); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}
