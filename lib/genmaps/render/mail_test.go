package render

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

// golden compares with testdata/NAME, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%swant\n%s", path, got, want)
	}
}

// mailInput is a small collective of each kind of address, for node n1. The
// states are those of n1 to n4.
func mailInput(t *testing.T, states ...string) *Input {
	t.Helper()
	network := directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}
	b := directory.NewBuilder(network)
	for i, state := range states {
		vpn, roles := fmt.Sprintf("10.77.0.%d", i+1), "mx,imap,lists"
		if i == 3 {
			vpn, roles = "fd77::4", "mx,imap"
		}
		b.Add(dnsRecord(directory.KindNode, fmt.Sprintf("n%d", i+1), state, vpn, "", roles))
	}
	for _, r := range []*directory.Record{
		dnsRecord(directory.KindDomain, "example.org", "mail"),
		dnsRecord(directory.KindDomain, "example.com", ""),
		dnsRecord(directory.KindDomain, "parked.example", "dns"),
		dnsRecord(directory.KindMailbox, "alice@example.org", "al@example.org,al@example.com", "n1_n2"),
		dnsRecord(directory.KindMailbox, "bob@example.org", "bobby@example.org", "n2_n1", "suspended"),
		dnsRecord(directory.KindMailbox, "carol@example.org", "", "n3_n2"),
		dnsRecord(directory.KindMailbox, "dora@example.org", "", "n3"),
		dnsRecord(directory.KindMailbox, "six@example.org", "", "n4_n1"),
		dnsRecord(directory.KindForward, "office@example.org", "alice@example.org,them@elsewhere.example"),
		dnsRecord(directory.KindSite, "www.example.org", "", "", "n1_n2", "", "al@example.org"),
		dnsRecord(directory.KindSite, "empty.example.org", "", "", "n1_n2"),
		dnsRecord(directory.KindList, "news@example.org", "mlmmj", "n1,n2", "n1", "alice@example.org", "1"),
		dnsRecord(directory.KindList, "talk@example.org", "mailman3", "n2", "n2"),
		dnsRecord(directory.KindList, "old@example.org", "mlmmj", "n3", "n3"),
		dnsRecord(directory.KindList, "astray@example.org", "mlmmj", "", "n4"),
		dnsRecord(directory.KindList, "lost@example.org", "mailman3", "", ""),
	} {
		b.Add(r)
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(problems, err)
	}
	return &Input{Snapshot: s, Self: s.Node("n1"), Network: network, Settings: Defaults()}
}

// text is what files hold, in a form for people. It fails if rows are not sorted or a key is there twice.
func text(t *testing.T, files []File) string {
	t.Helper()
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "== %s/%s format=%d guarded=%v reload=%v\n%s", f.Service, f.Name, f.Format, f.Guarded, f.Reload, f.Text)
		if f.Rows == nil {
			continue
		}
		last := ""
		for key, value := range f.Rows {
			if key <= last {
				t.Errorf("%s/%s: %q comes after %q", f.Service, f.Name, key, last)
			}
			last = key
			fmt.Fprintf(&b, "%s | %s\n", key, value)
		}
	}
	return b.String()
}

func TestPostfix(t *testing.T) {
	golden(t, "postfix.txt", text(t, Postfix(mailInput(t, "up", "draining", "out", "up"))))
}

func TestDovecot(t *testing.T) {
	golden(t, "dovecot.txt", text(t, Dovecot(mailInput(t, "up", "draining", "out", "up"))))
}

// Dovecot 2.4 has another dialect.
func TestDovecot24(t *testing.T) {
	in := mailInput(t, "up", "draining", "out", "up")
	in.Settings.Dovecot.Version = "2.4"
	golden(t, "dovecot-2.4.txt", text(t, Dovecot(in)))
}

// A failover is a change of the small tables alone.
func TestStateChangesOnlySmallTables(t *testing.T) {
	all := func(in *Input) []File { return append(Postfix(in), Dovecot(in)...) }
	before, after := all(mailInput(t, "up", "up", "up", "up")), all(mailInput(t, "out", "up", "up", "up"))
	var changed []string
	for i := range before {
		if text(t, before[i:i+1]) != text(t, after[i:i+1]) {
			changed = append(changed, before[i].Service+"/"+before[i].Name)
		}
	}
	if want := []string{"postfix/placements", "dovecot/placements", "dovecot/proxied"}; !slices.Equal(changed, want) {
		t.Errorf("changed are %q, want %q", changed, want)
	}
}

// Each placement has a row in each table, in every combination of states, or its mail and logins would get lost;
// and of all nodes only one lets its users in.
func TestEveryPlacementHasAWay(t *testing.T) {
	for code := range 625 {
		in := mailInput(t, nodeStates[code%5], nodeStates[code/5%5], nodeStates[code/25%5], nodeStates[code/125%5])
		rows := map[string]map[string]string{}
		for i := range in.Snapshot.Nodes {
			in.Self = &in.Snapshot.Nodes[i]
			for _, f := range append(Postfix(in), Dovecot(in)...) {
				if f.Name == "placements" || f.Name == "proxied" {
					rows[in.Self.Name+f.Service+f.Name] = collect(f)
				}
			}
		}
		for _, p := range in.Snapshot.Placements() {
			active := in.Snapshot.ActiveNode(p)
			for i := range in.Snapshot.Nodes {
				self := &in.Snapshot.Nodes[i]
				route := rows[self.Name+"postfixplacements"][p.Name]
				login, known := rows[self.Name+"dovecotplacements"][p.Name]
				proxied, knownProxied := rows[self.Name+"dovecotproxied"][p.Name]
				if route == "" || !known || !knownProxied {
					t.Fatalf("%s has no row on %s", p.Name, self.Name)
				}
				if here := active == self; here != (login == "") || here != (proxied == "") {
					t.Fatalf("%s on %s, active on %v: login %q, proxied %q", p.Name, self.Name, active, login, proxied)
				}
				if (active == nil) != strings.HasPrefix(route, "noroute:4.") {
					t.Fatalf("%s on %s, active on %v: %q", p.Name, self.Name, active, route)
				}
				if copied := rows[self.Name+"postfixplacements"]["copy."+p.Name]; !copyFits(in, p, copied) {
					t.Fatalf("copies of %s on %s, active on %v: %q", p.Name, self.Name, active, copied)
				}
			}
		}
	}
}

func collect(f File) map[string]string {
	rows := map[string]string{}
	for key, value := range f.Rows {
		rows[key] = value
	}
	return rows
}

// Rows of the big tables are made one at a time, and a reader may stop.
func TestRowsCanBeLeft(t *testing.T) {
	for _, f := range append(Postfix(mailInput(t, "up", "up", "up", "up")), Dovecot(mailInput(t, "up", "up", "up", "up"))...) {
		if f.Rows == nil {
			continue
		}
		n := 0
		for range f.Rows {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s has no rows", f.Name)
		}
	}
}

// The formats decide what must be told of a change: Postfix rereads a texthash never, a small cdb too late.
func TestFormats(t *testing.T) {
	for _, x := range []struct {
		big, small             string
		bigReload, smallReload bool
	}{
		{"cdb", "cdb", false, true}, {"cdb", "lmdb", false, false}, {"hash", "hash", false, true}, {"texthash", "texthash", true, true},
	} {
		in := mailInput(t, "up", "up", "up", "up")
		in.Settings.Postfix.Format, in.Settings.Postfix.SmallFormat = x.big, x.small
		for _, f := range Postfix(in) {
			name, reload := x.big, x.bigReload
			if f.Name == "placements" {
				name, reload = x.small, x.smallReload
			}
			if f.Format != formats[name] || f.Reload != reload {
				t.Errorf("%s as %s: format %d, reload %v", f.Name, name, f.Format, f.Reload)
			}
		}
	}
}

// Without a contact domain there are no contact addresses.
func TestNoContactDomain(t *testing.T) {
	in := mailInput(t, "up", "up", "up", "up")
	in.Network.ContactDomain = ""
	if rows := contactRows(in); len(rows) != 0 {
		t.Errorf("contacts are %q", rows)
	}
	if rows := domainRows(in); rows[""] != "" || len(rows) != 2 {
		t.Errorf("domains are %q", rows)
	}
}

// The same snapshot gives the same bytes.
func TestDeterministic(t *testing.T) {
	in := mailInput(t, "up", "up", "up", "up")
	first := []byte(text(t, append(Postfix(in), Dovecot(in)...)))
	for range 5 {
		again := mailInput(t, "up", "up", "up", "up")
		if !bytes.Equal(first, []byte(text(t, append(Postfix(again), Dovecot(again)...)))) {
			t.Fatal("two runs differ")
		}
	}
}
