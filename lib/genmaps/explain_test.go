package genmaps

import (
	"fmt"
	"maps"
	"math/rand"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/genmaps/render"
	"rplan/lib/source"
)

// record is an entry whose fields are given in their order, each with values separated by commas.
func record(kind directory.Kind, fields ...string) *directory.Record {
	r := &directory.Record{}
	r.Reset(kind)
	r.DN = fmt.Appendf(nil, "%s=%s", kind, fields[0])
	for i, field := range fields {
		for value := range strings.SplitSeq(field, ",") {
			if value != "" {
				r.Values[i] = append(r.Values[i], []byte(value))
			}
		}
	}
	return r
}

var testNetwork = directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}

func snapshotOf(t *testing.T, records ...*directory.Record) *directory.Snapshot {
	t.Helper()
	b := directory.NewBuilder(testNetwork)
	for _, r := range records {
		b.Add(r)
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(problems, err)
	}
	return s
}

func explainerOf(s *directory.Snapshot) *explainer {
	return newExplainer(s, &configuration{Configuration: &source.Configuration{Network: testNetwork}, genmaps: defaults()})
}

// What --explain says is what Postfix finds in the maps, for every address of many small collectives.
func TestExplainAgreesWithTheMaps(t *testing.T) {
	for seed := range int64(1500) {
		records, asked := randomCollective(rand.New(rand.NewSource(seed)))
		s := snapshotOf(t, records...)
		in := &render.Input{Snapshot: s, Self: &s.Nodes[0], Network: testNetwork, Settings: render.Defaults()}
		tables := postfixTables{}
		for _, f := range render.Postfix(in) {
			tables[f.Name] = maps.Collect(f.Rows)
		}
		for _, address := range asked {
			e := explainerOf(s).explain(address)
			if want := tables.served(address); e.Served != want {
				t.Fatalf("seed %d: by the maps %q is served: %v, but explained as\n%s", seed, address, want, e.lines(""))
			}
			if got, want := tables.copies(address), wantCopies(s, tables, address); !maps.Equal(got, want) {
				t.Fatalf("seed %d: by the maps copies of %q go to %v, want %v", seed, address, got, want)
			}
		}
	}
}

// randomCollective has few names, so that entries meet often, and all addresses that may be asked for.
func randomCollective(random *rand.Rand) (records []*directory.Record, asked []string) {
	one := func(of ...string) string { return of[random.Intn(len(of))] }
	some := func(of []string) string {
		var chosen []string
		for range random.Intn(4) {
			chosen = append(chosen, one(of...))
		}
		return strings.Join(chosen, ",")
	}
	nodes := []string{"n1", "n2", "n3", "n4"}
	for i, n := range nodes {
		records = append(records, record(directory.KindNode, n, one("up", "up", "draining", "out", "returning", "evicted"),
			fmt.Sprintf("10.77.0.%d", i+1), "", one("mx,imap,web,lists", "mx,imap", "lists", "mx")))
	}
	records = append(records, record(directory.KindDomain, "example.org", one("mail", "mail", "")))
	for _, local := range []string{"a", "a+tag", "b", "c", "d", "e", "f", "g", "a-owner", "b-request"} {
		asked = append(asked, local+"@example.org")
	}
	sites := []string{"s.example.org", "t.example.org"}
	targets := append([]string{"far@far.example", "a+tag@example.org", "b+x@example.org"}, asked...)
	for _, site := range sites {
		targets = append(targets, site+"@contact.example.net")
		records = append(records, record(directory.KindSite, site, "", "everywhere", "", "", one(targets...)))
	}
	for range 9 {
		address := one(asked...)
		switch random.Intn(4) {
		case 0:
			records = append(records, record(directory.KindMailbox, address, some(asked), one("n1_n2", "n3", "n4_n1_n2", "n9"), one("", "suspended"), one("", "both", "one")))
		case 1:
			records = append(records, record(directory.KindList, address, one("mlmmj", "mailman3"), some(nodes), one("n1", "n2", "n3", "n4", "n9", "")))
		default:
			records = append(records, record(directory.KindForward, address, some(targets)))
		}
	}
	return records, append(targets, "nosite.example.org@contact.example.net", "s.example.org+tag@contact.example.net", "nobody@example.org")
}

// postfixTables are the rows of Postfix's maps, by map.
type postfixTables map[string]map[string]string

// get looks an address up as Postfix does, with and without its tag.
func (p postfixTables) get(table, address string) string {
	if value, ok := p[table][address]; ok {
		return value
	}
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return p[table][local+"@"+domain]
}

// served says whether mail that arrives for an address gets to somebody, as contrib/postfix/main.cf has it.
func (p postfixTables) served(address string) bool {
	if verdict := p.get("access", address); verdict != "" && verdict != "DUNNO" {
		return false
	}
	if owner := p.get("contacts", address); owner != "" {
		return p.delivered(owner)
	}
	return p.delivered(address)
}

// delivered follows an address through virtual_alias_maps and transport_maps.
func (p postfixTables) delivered(address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	if p["domains"][domain] == "" {
		return true
	}
	if to := p.get("aliases", address); to != "" {
		for target := range strings.SplitSeq(to, ",") {
			if p.delivered(target) {
				return true
			}
		}
		return false
	}
	for _, table := range []string{"mailboxes", "lists"} {
		if key := p.get(table, address); key != "" {
			return !strings.HasPrefix(p["placements"][key], "noroute:")
		}
	}
	return false
}

// end adds the addresses at which mail for an address ends up in this collective, with all aliases followed.
func (p postfixTables) end(address string, ends map[string]bool) {
	to := p.get("aliases", address)
	if to == "" && strings.HasSuffix(address, ".group.copy.invalid") {
		to = p["copies"][address]
	}
	if to == "" || ends[address] {
		ends[address] = true
		return
	}
	for target := range strings.SplitSeq(to, ",") {
		p.end(target, ends)
	}
}

// copies are the addresses to which blind copies of mail for an address go, as contrib/postfix/main.cf has it.
func (p postfixTables) copies(address string) map[string]bool {
	copies := map[string]bool{}
	bcc := p["copies"][address]
	if bcc == "" {
		bcc = p["contacts"][address]
	}
	if bcc == "" {
		if bcc = p.get("copies", address); bcc == "" {
			bcc = p.get("contacts", address)
		}
	}
	if bcc != "" {
		p.end(bcc, copies)
	}
	maps.DeleteFunc(copies, func(to string, _ bool) bool {
		return to == "nobody@none.copy.invalid" || !strings.HasSuffix(to, ".copy.invalid")
	})
	return copies
}

// wantCopies are the copy addresses of all mailboxes that mail for an address ends in.
func wantCopies(s *directory.Snapshot, p postfixTables, address string) map[string]bool {
	if owner := p.get("contacts", address); owner != "" {
		address = owner
	}
	ends, want := map[string]bool{}, map[string]bool{}
	p.end(address, ends)
	for end := range ends {
		if r, ok := s.Resolve(end); ok && r.Mailbox != nil && r.Mailbox.Status == directory.Active && r.Mailbox.Delivery == directory.Both && len(r.Mailbox.Placement.Nodes) > 1 {
			want[r.Mailbox.Address+"."+r.Mailbox.Placement.Name+".copy.invalid"] = true
		}
	}
	return want
}

// Forwards that share their targets are explained once each, and a long story is cut.
func TestExplainIsBounded(t *testing.T) {
	records := []*directory.Record{
		record(directory.KindNode, "n1", "up", "10.77.0.1", "", "mx,imap"),
		record(directory.KindDomain, "example.org"),
		record(directory.KindMailbox, "alice@example.org", "", "n1"),
	}
	for i := range 48 { // 2 to the power of 48 ways lead to alice
		records = append(records, record(directory.KindForward, fmt.Sprintf("a%02d@example.org", i), fmt.Sprintf("a%02d@example.org,b%02d@example.org", i+1, i+1)),
			record(directory.KindForward, fmt.Sprintf("b%02d@example.org", i), fmt.Sprintf("a%02d@example.org,b%02d@example.org", i+1, i+1)))
	}
	records = append(records, record(directory.KindForward, "a48@example.org", "alice@example.org"), record(directory.KindForward, "b48@example.org", "alice@example.org"))
	for i := range 5000 {
		records = append(records, record(directory.KindForward, fmt.Sprintf("c%04d@example.org", i), fmt.Sprintf("c%04d@example.org", i+1)))
	}
	records = append(records, record(directory.KindForward, "c5000@example.org", "alice@example.org"))
	s := snapshotOf(t, records...)
	for key, want := range map[string]string{"a00@example.org": "\n  b01@example.org: forward\n    a02@example.org: as told above\n", "c0000@example.org": "c0200@example.org: forward; 1 more targets\n"} {
		e := explainerOf(s).explain(key)
		text := e.lines("")
		if n := strings.Count(text, "\n"); !e.Served || n > maxShown+1 || !strings.Contains(text, want) {
			t.Errorf("%s: served %v, %d lines, want one %q:\n%.2000s", key, e.Served, n, want, text)
		}
	}
}

// explained is what --explain prints, and whether it ends well.
func (c *collective) explained(key string) (string, bool) {
	c.t.Helper()
	o := c.options()
	o.Explain = key
	out, _, err := c.run(o)
	if err != nil && diag.KindOf(err) != diag.Failed {
		c.t.Fatal(err)
	}
	return out, err == nil
}

func TestExplain(t *testing.T) {
	c := newCollective(t)
	c.setState("n3", "out")
	c.edit("rplanListManager: mailman3\nrplanActiveNode: n2", "rplanListManager: mailman3\nrplanActiveNode: n4")
	c.ldif += "dn: rplanNodeName=n4,ou=nodes,dc=example\nobjectClass: rplanNode\nrplanNodeName: n4\nrplanState: up\nrplanVpnAddress: 10.77.0.4\nrplanRole: dns\n\n" +
		"dn: rplanAddress=xnoor@example.org,ou=mailboxes,dc=example\nobjectClass: rplanMailbox\nrplanAddress: xnoor@example.org\n\n" +
		"dn: rplanAddress=noor@example.org,ou=mailboxes,dc=example\nobjectClass: rplanMailbox\nrplanAddress: noor@example.org\nrplanPlacement: n4_n1\n\n"
	for i := range 5 {
		c.ldif += fmt.Sprintf("dn: rplanAddress=u%d@typo.example,ou=mailboxes,dc=example\nobjectClass: rplanMailbox\nrplanAddress: u%[1]d@typo.example\nrplanPlacement: n1\n\n", i)
	}
	for _, x := range []struct {
		key, want, not string
		served         bool
	}{
		{"alias002@example.org", "alias of user002@example.org; mailbox on n3_n1; n3 is out, so n1; lmtp 10.77.0.1:24; no copy: no other node of n3_n1 is in service\n", "", true},
		{"user003@example.org", "lmtp 10.77.0.2:24; copy to n1, lmtp 10.77.0.1:10024\n", "", true},
		{"alias002+tag@example.org", "read as alias002@example.org; alias of", "", true},
		{"cafe.example.org@contact.example.net", "contact of the site cafe.example.org", "", true},
		{"www.cafe.example.org", "name of the site cafe.example.org; mode proxy", "warning", true},
		{"gone@example.org", "suspended", "lmtp", false},
		{"talk-owner@example.org", "active on n4, which has not the role lists: mail waits in the queue; note:", "lmtp 10", false},
		{"noor@example.org", `names "n4", which has not the role imap`, "placement is missing", true},
		{"xnoor@example.org", "warning: \"rplanAddress=xnoor@example.org,ou=mailboxes,dc=example\": placement is missing", "role imap", false},
		{"u4@typo.example", `no domain entry says that mail for "typo.example" is taken here`, "missing", true},
		{"n1", "node, up", "", true},
		{"n3", "node, out", "", false},
		{"n4_n1", "which has not the role imap", "", true},
	} {
		if out, served := c.explained(x.key); served != x.served || !strings.Contains(out, x.want) || x.not != "" && strings.Contains(out, x.not) {
			t.Errorf("%s: served %v, want %v, with %q and without %q\n%s", x.key, served, x.served, x.want, x.not, out)
		}
	}
}
