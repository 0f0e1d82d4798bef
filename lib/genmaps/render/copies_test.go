package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

// copyFits says whether the copies of a placement go where its nodes' states have them go.
func copyFits(in *Input, p *directory.Placement, to string) bool {
	standby := in.Snapshot.StandbyNode(p)
	switch {
	case len(p.Nodes) < 2:
		return to == ""
	case in.Snapshot.ActiveNode(p) == nil:
		return strings.HasPrefix(to, "noroute:4.")
	case standby == nil:
		return to == "discard:"
	}
	return to == "copy:inet:"+hostPort(standby.VPN, 10024) && standby != in.Snapshot.ActiveNode(p)
}

// long is a placement whose name is too long for a label of a host name.
const long = "n1_n2_" + "a-node-that-has-a-name-of-some-length_another-node-that-has-a-long-one"

// copiesInput has one of each kind of address that leads to mailboxes.
func copiesInput(t *testing.T) *Input {
	t.Helper()
	network := directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}
	b := directory.NewBuilder(network)
	for i, name := range []string{"n1", "n2", "a-node-that-has-a-name-of-some-length", "another-node-that-has-a-long-one"} {
		b.Add(dnsRecord(directory.KindNode, name, "up", fmt.Sprintf("10.77.0.%d", i+1), "", "mx,imap,lists"))
	}
	for _, r := range []*directory.Record{
		dnsRecord(directory.KindDomain, "example.org", "mail"),
		dnsRecord(directory.KindMailbox, "alice@example.org", "al@example.org,bob+games@example.org", "n1_n2"),
		dnsRecord(directory.KindMailbox, "bob@example.org", "", "n2_n1", "", "both"),
		dnsRecord(directory.KindMailbox, "once@example.org", "bob+once@example.org", "n1_n2", "", "one"),
		dnsRecord(directory.KindMailbox, "single@example.org", "", "n1"),
		dnsRecord(directory.KindMailbox, "gone@example.org", "gone.alias@example.org", "n1_n2", "suspended"),
		dnsRecord(directory.KindMailbox, "far@example.org", "", long),
		dnsRecord(directory.KindForward, "to-alias@example.org", "al@example.org"),
		dnsRecord(directory.KindForward, "to-tag@example.org", "alice+tag@example.org,alice@example.org,them@elsewhere.example"),
		dnsRecord(directory.KindForward, "to-other@example.org", "bob+games@example.org"),
		dnsRecord(directory.KindForward, "team@example.org", "alice@example.org,bob@example.org,gone@example.org,once@example.org"),
		dnsRecord(directory.KindForward, "to-list@example.org", "news@example.org,alice@example.org"),
		dnsRecord(directory.KindForward, "bob+team@example.org", "once@example.org,single@example.org"),
		dnsRecord(directory.KindForward, "all@example.org", "team@example.org,al@example.org,single@example.org"),
		dnsRecord(directory.KindForward, "chain@example.org", "team@example.org"),
		dnsRecord(directory.KindForward, "nobody@example.org", "once@example.org,them@elsewhere.example"),
		dnsRecord(directory.KindList, "news@example.org", "mlmmj", "n1,n2", "n1"),
		dnsRecord(directory.KindSite, "a.example.org", "", "everywhere", "", "", "al@example.org"),
		dnsRecord(directory.KindSite, "b.example.org", "", "everywhere", "", "", "all@example.org"),
		dnsRecord(directory.KindSite, "c.example.org", "", "everywhere", "", "", "once@example.org"),
	} {
		b.Add(r)
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(problems, err)
	}
	return &Input{Snapshot: s, Self: s.Node("n1"), Network: network, Settings: Defaults()}
}

func TestCopies(t *testing.T) {
	const alice, bob = "alice@example.org.n1_n2.copy.invalid", "bob@example.org.n2_n1.copy.invalid"
	const team, all = "team@example.org.group.copy.invalid", "all@example.org.group.copy.invalid"
	const a, b = "a.example.org@contact.example.net", "b.example.org@contact.example.net"
	want := map[string]string{
		"alice@example.org":       alice,
		"al@example.org":          alice,
		"bob+games@example.org":   alice, // and not bob's, whose tag it would be
		"bob@example.org":         bob,
		"bob+once@example.org":    noCopy, // else Postfix would find that of bob@
		"bob+team@example.org":    noCopy,
		"to-alias@example.org":    alice,
		"to-tag@example.org":      alice,
		"to-other@example.org":    alice,
		"to-list@example.org":     alice,
		"team@example.org":        team,
		team:                      alice + "," + bob,
		"chain@example.org":       team,
		"all@example.org":         all,
		all:                       alice + "," + team,
		a:                         a + ".group.copy.invalid",
		a + ".group.copy.invalid": "al@example.org," + alice,
		b:                         b + ".group.copy.invalid",
		b + ".group.copy.invalid": "all@example.org," + all,
	}
	for _, f := range Postfix(copiesInput(t)) {
		if f.Name != "copies" {
			continue
		}
		if !f.Guarded || f.Urgent {
			t.Errorf("copies is guarded: %v, urgent: %v", f.Guarded, f.Urgent)
		}
		if got := collect(f); !maps.Equal(got, want) {
			t.Errorf("the rows are\n%s", text(t, []File{f}))
		}
	}
}

// A way of a copy is a row of placements, by way of a table that holds no state: what is told of a failover is one file.
func TestCopyRoutesLeadToPlacements(t *testing.T) {
	in := copiesInput(t)
	rows := map[string]map[string]string{}
	for _, f := range Postfix(in) {
		rows[f.Name] = collect(f)
	}
	for domain, key := range rows["copyroutes"] {
		if to := rows["placements"][key]; to == "" {
			t.Errorf("%s leads to %q, which has no row", domain, key)
		}
	}
	for address, to := range rows["copies"] {
		for target := range strings.SplitSeq(to, ",") {
			_, domain, _ := strings.Cut(target, "@")
			if !strings.HasSuffix(target, ".copy.invalid") || rows["copies"][target] != "" {
				continue
			}
			_, placement, _ := strings.Cut(domain, "example.org")
			if rows["copyroutes"][domain] == "" && rows["copyroutes"][placement] == "" {
				t.Errorf("no way for %s, the copy of %s", target, address)
			}
		}
	}
	if long := rows["copyroutes"]["."+long+".copy.invalid"]; long != "" {
		t.Errorf("a name that is no host name leads to %s", long)
	}
}

func TestCopied(t *testing.T) {
	s := copiesInput(t).Snapshot
	for address, want := range map[string]string{
		"alice@example.org": "", "once@example.org": "delivery one", "single@example.org": "one node only",
		"gone@example.org": "suspended", "far@example.org": "the name of the placement is too long",
	} {
		r, _ := s.Recipient(address)
		if copied, why := Copied(r.Mailbox); why != want || copied != (want == "") {
			t.Errorf("%s: copied %v, %q, want %q", address, copied, why, want)
		}
	}
}

// Forwards that lead to each other in many ways cost no more than their rows.
func TestCopiesOfManyForwards(t *testing.T) {
	b := directory.NewBuilder(directory.Network{NodesDomain: "nodes.example.net"})
	b.Add(dnsRecord(directory.KindNode, "n1", "up", "10.77.0.1", "", "mx,imap"))
	b.Add(dnsRecord(directory.KindNode, "n2", "up", "10.77.0.2", "", "mx,imap"))
	b.Add(dnsRecord(directory.KindDomain, "example.org", "mail"))
	for _, name := range []string{"a60", "b60"} {
		b.Add(dnsRecord(directory.KindMailbox, name+"@example.org", "", "n1_n2"))
	}
	for i := range 60 { // 2 to the power of 60 ways
		targets := fmt.Sprintf("a%02d@example.org,b%02d@example.org", i+1, i+1)
		b.Add(dnsRecord(directory.KindForward, fmt.Sprintf("a%02d@example.org", i), targets))
		b.Add(dnsRecord(directory.KindForward, fmt.Sprintf("b%02d@example.org", i), targets))
	}
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(problems, err)
	}
	in := &Input{Snapshot: s, Self: s.Node("n1"), Settings: Defaults()}
	n := 0
	for range copyRows(in) {
		n++
	}
	if want := 4*60 + 2; n != want {
		t.Errorf("there are %d rows, want %d", n, want)
	}
}

// Two sorted tables make one, wherever their rows fall and whenever the reader stops.
func TestMerged(t *testing.T) {
	rows := func(keys string) map[string]string {
		m := map[string]string{}
		for _, key := range strings.Fields(keys) {
			m[key] = "v" + key
		}
		return m
	}
	for _, x := range [][2]string{{"", ""}, {"a b", ""}, {"", "a b"}, {"a c e", "b d f"}, {"b d", "a c e"}, {"a", "b c"}, {"b c", "a"}} {
		all := rows(x[0] + " " + x[1])
		for stop := range len(all) + 1 {
			var got []string
			for key, value := range merged(sortedRows(rows(x[0])), sortedRows(rows(x[1]))) {
				if value != "v"+key {
					t.Errorf("%q: %s is %q", x, key, value)
				}
				if got = append(got, key); len(got) == stop {
					break
				}
			}
			if want := slices.Sorted(maps.Keys(all)); stop > 0 && !slices.Equal(got, want[:stop]) {
				t.Errorf("%q: the rows are %q, want %q", x, got, want[:stop])
			}
		}
	}
}
