package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// collective builds snapshots from lines "kind dn field=value field=value"; "@N" before the DN is its age.
type collective struct {
	t *testing.T
	b *Builder
}

func newCollective(t *testing.T) *collective {
	c := &collective{t, NewBuilder(Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"})}
	for i := range 3 {
		c.add("node", fmt.Sprintf("cn=n%d", i+1), fmt.Sprintf("name=n%d", i+1), "state=up", fmt.Sprintf("vpn-address=10.77.0.%d", i+1),
			"role=mx", "role=imap", "role=web", "role=lists")
	}
	c.add("domain", "dc=org", "name=example.org")
	return c
}

func (c *collective) add(kind, dn string, fields ...string) {
	var r Record
	k := Kind(slices.Index(kindNames[:], kind))
	r.Reset(k)
	if age, rest, ok := strings.Cut(dn, " "); ok && age[0] == '@' {
		fmt.Sscan(age[1:], &r.Created)
		dn = rest
	}
	r.DN = []byte(dn)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		f := slices.Index(k.Fields(), name)
		if f < 0 {
			c.t.Fatalf("no field %q of %s", name, kind)
		}
		r.Values[f] = append(r.Values[f], []byte(value))
	}
	c.b.Add(&r)
}

func (c *collective) mailbox(dn, address string, fields ...string) {
	c.add("mailbox", dn, append([]string{"address=" + address, "placement=n1_n2"}, fields...)...)
}

func (c *collective) snapshot() (*Snapshot, []string) {
	c.t.Helper()
	s, problems, err := c.b.Snapshot()
	if err != nil {
		c.t.Fatal(err)
	}
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	return s, texts
}

// wantProblem checks that exactly one problem has all these words.
func wantProblem(t *testing.T, problems []string, words ...string) {
	t.Helper()
	n := 0
	for _, p := range problems {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p, w) }) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d problems have %q, want 1; all: %s", n, words, strings.Join(problems, "\n"))
	}
}

func addresses(s *Snapshot) (all []string) {
	for r := range s.Recipients() {
		all = append(all, r.Address)
	}
	return all
}

func TestActiveIsTheFirstThatServes(t *testing.T) {
	p := &Placement{Name: "n1_n2", Nodes: []string{"n1", "n2"}}
	for _, c := range []struct {
		n1, n2 State
		want   string
	}{
		{Up, Up, "n1"}, {Draining, Up, "n1"}, {Out, Up, "n2"}, {Returning, Up, "n2"}, {Evicted, Draining, "n2"},
		{Out, Out, ""}, {Returning, Returning, ""},
	} {
		states := map[string]State{"n1": c.n1, "n2": c.n2}
		got := p.Active(func(n string) (State, bool) { st, ok := states[n]; return st, ok })
		if got != c.want {
			t.Errorf("n1 %s, n2 %s: active %q, want %q", c.n1, c.n2, got, c.want)
		}
	}
	if got := p.Active(func(n string) (State, bool) { return Up, n == "n2" }); got != "n2" {
		t.Errorf("an unknown node is not passed over: active %q", got)
	}
}

func TestStandbyIsTheNextThatServes(t *testing.T) {
	p := &Placement{Name: "n1_n2_n3", Nodes: []string{"n1", "n2", "n3"}}
	for _, c := range []struct {
		n1, n2, n3 State
		want       string
	}{
		{Up, Up, Up, "n2"}, {Draining, Up, Up, "n2"}, {Up, Draining, Up, "n2"}, {Up, Out, Up, "n3"}, {Up, Returning, Draining, "n3"},
		{Out, Up, Up, "n3"}, {Returning, Up, Up, "n3"}, {Evicted, Up, Out, ""}, {Up, Out, Out, ""}, {Out, Out, Up, ""}, {Out, Out, Out, ""},
	} {
		states := map[string]State{"n1": c.n1, "n2": c.n2, "n3": c.n3}
		got := p.Standby(func(n string) (State, bool) { st, ok := states[n]; return st, ok })
		if got != c.want {
			t.Errorf("n1 %s, n2 %s, n3 %s: standby %q, want %q", c.n1, c.n2, c.n3, got, c.want)
		}
	}
	if got := p.Standby(func(n string) (State, bool) { return Up, n != "n2" }); got != "n3" {
		t.Errorf("an unknown node is not passed over: standby %q", got)
	}
	s := Snapshot{Nodes: []Node{{Name: "n1"}, {Name: "n2"}}}
	if n := s.StandbyNode(p); n == nil || n.Name != "n2" {
		t.Errorf("the standby is %v", n)
	}
	s.Nodes[1].State = Out
	if n := s.StandbyNode(p); n != nil {
		t.Errorf("the standby is %v, want none", n)
	}
}

func TestLiveFallsBack(t *testing.T) {
	for states, want := range map[string]string{
		"up up": "n1 n2", "up out": "n1", "draining up": "n2", "draining out": "n1", "out returning": "n1 n2", "out evicted": "n1", "evicted evicted": "",
	} {
		b := NewBuilder(Network{})
		c := &collective{t, b}
		for i, state := range strings.Fields(states) {
			c.add("node", fmt.Sprintf("cn=n%d", i+1), fmt.Sprintf("name=n%d", i+1), "state="+state, fmt.Sprintf("vpn-address=10.0.0.%d", i+1), "role=mx")
		}
		s, _ := c.snapshot()
		var names []string
		for _, n := range s.Live(MX) {
			names = append(names, n.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: live %q, want %q", states, got, want)
		}
		if s.Live(DNS) != nil {
			t.Error("a node without the role is live for it")
		}
	}
}

func TestAnUnusableNodeStopsEverything(t *testing.T) {
	for _, fields := range [][]string{
		{"name=n9", "state=up"},
		{"name=n9", "state=asleep", "vpn-address=10.77.0.9"},
		{"name=n_9", "state=up", "vpn-address=10.77.0.9"},
		{"name=n1", "state=up", "vpn-address=10.77.0.9"},
		{"name=n9", "state=up", "vpn-address=10.77.0.1"},
	} {
		c := newCollective(t)
		c.add("node", "cn=bad", fields...)
		if _, _, err := c.b.Snapshot(); !errors.Is(err, ErrNode) || !strings.Contains(err.Error(), `"cn=bad"`) {
			t.Errorf("%q: error %v", fields, err)
		}
	}
}

func TestANodeWithAnEndlessDN(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn="+strings.Repeat("x", 2000), "name=n9", "state=up", "vpn-address=10.77.0.9")
	if _, _, err := c.b.Snapshot(); !errors.Is(err, ErrNode) || len(err.Error()) > 500 {
		t.Errorf("error %v", err)
	}
}

func TestABadEntryLeavesTheOthersAlone(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=alice", "alice@example.org", "alias=al@example.org", "alias=a l@example.org")
	c.mailbox("cn=evil", "evil@example.org\nroot: x")
	c.mailbox("cn=two", "two@example.org", "address=three@example.org")
	c.mailbox("cn=odd", "odd@example.org", "status=asleep")
	c.add("mailbox", "cn=none", "address=none@example.org")
	s, problems := c.snapshot()
	if got := addresses(s); !slices.Equal(got, []string{"al@example.org", "alice@example.org"}) {
		t.Errorf("recipients %q", got)
	}
	wantProblem(t, problems, `"cn=alice"`, `alias "a l@example.org"`, "the value is left out")
	wantProblem(t, problems, `"cn=evil"`, `"evil@example.org\nroot: x"`, "the mailbox is left out")
	wantProblem(t, problems, `"cn=two"`, "2 values where one is expected")
	wantProblem(t, problems, `"cn=odd"`, `status "asleep": not one of active, suspended`)
	wantProblem(t, problems, `"cn=none"`, "placement is missing")
}

func TestNobodyTakesAnAddressFromItsOwner(t *testing.T) {
	c := newCollective(t)
	c.mailbox("@100 cn=alice", "alice@example.org", "alias=al@example.org")
	c.mailbox("@50 cn=mallory", "mallory@example.org", "alias=alice@example.org")       // a mailbox beats an alias, however old
	c.mailbox("@200 cn=young", "young@example.org", "alias=al@example.org")             // the older alias stays
	c.mailbox("cn=ageless", "ageless@example.org", "alias=al@example.org")              // unknown age comes last
	c.mailbox("@200 cn=copy", "Alice@example.org", "alias=extra@example.org")           // the second entry of one name goes whole
	c.add("forward", "@10 cn=fwd", "address=alice@example.org", "target=x@far.example") // a mailbox beats a forward
	c.add("list", "@10 cn=list", "address=young@example.org", "node=n1")
	s, problems := c.snapshot()
	for address, dn := range map[string]string{"alice@example.org": "cn=alice", "al@example.org": "cn=alice", "young@example.org": "cn=young"} {
		if r, ok := s.Recipient(address); !ok || r.Mailbox == nil || r.Mailbox.DN != dn {
			t.Errorf("%s is not of %s: %+v", address, dn, r)
		}
	}
	if _, ok := s.Recipient("extra@example.org"); ok {
		t.Error("an alias of an entry that was left out is alive")
	}
	if len(s.Forwards) != 0 || len(s.Lists) != 0 {
		t.Error("an entry without its own address is alive")
	}
	if m, _ := s.Recipient("mallory@example.org"); len(m.Mailbox.Aliases) != 0 {
		t.Errorf("mallory keeps %q", m.Mailbox.Aliases)
	}
	for _, loser := range []string{"cn=mallory", "cn=young", "cn=ageless", "cn=copy", "cn=fwd", "cn=list"} {
		wantProblem(t, problems, `"`+loser+`", "`)
	}
}

// Mail and logins agree on who alice is: Dovecot looks the entry up by its name.
func TestTheEntryThatIsCalledSoHasTheAddress(t *testing.T) {
	c := newCollective(t)
	c.mailbox("@1 cn=squatter,ou=m", "alice@example.org")
	c.mailbox("@2 rplanAddress=Alice@example.org,ou=m", "alice@example.org")
	c.mailbox("@0 rplanAddress=alice@example.org+cn=x,ou=m", "alice@example.org")
	s, _ := c.snapshot()
	if r, ok := s.Recipient("alice@example.org"); !ok || r.Mailbox.DN != "rplanAddress=Alice@example.org,ou=m" {
		t.Errorf("got %+v", r)
	}
}

// An alias cannot draw the commands and bounces of a list.
func TestAnAliasTakesNoServiceAddress(t *testing.T) {
	c := newCollective(t)
	c.add("list", "@9 cn=list", "address=talk@example.org", "manager=mailman3", "node=n1")
	c.mailbox("@1 cn=mallory", "mallory@example.org", "alias=talk-owner@example.org")
	s, problems := c.snapshot()
	if r, ok := s.Recipient("talk-owner@example.org"); !ok || r.List == nil {
		t.Errorf("got %+v", r)
	}
	wantProblem(t, problems, `"cn=mallory", "cn=list"`, "claimed by both")
}

// An entry that loses its address takes its other claims with it, which others may then have.
func TestClaimsOfALostEntryAreFree(t *testing.T) {
	c := newCollective(t)
	c.mailbox("@1 cn=alice", "alice@example.org")
	c.add("list", "@2 cn=list", "address=alice@example.org", "manager=mailman3", "node=n1")
	c.mailbox("@3 cn=bob", "bob@example.org", "alias=alice-owner@example.org")
	s, _ := c.snapshot()
	if r, ok := s.Recipient("alice-owner@example.org"); !ok || r.Mailbox == nil || r.Mailbox.Address != "bob@example.org" {
		t.Errorf("got %+v", r)
	}
}

// Who reads a role address can have certificates for the domain: it takes an entry of its own, which admins make.
func TestNoAliasIsARole(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=mallory", "mallory@example.org", "alias=Admin@example.org", "alias=hostmaster@example.org", "alias=admin.of.nothing@example.org")
	c.mailbox("cn=root", "root@example.org")
	c.forward("postmaster", "mallory@example.org")
	c.add("list", "cn=abuse", "address=abuse@example.org", "node=n1")
	s, problems := c.snapshot()
	want := []string{"abuse@example.org", "admin.of.nothing@example.org", "mallory@example.org", "postmaster@example.org", "root@example.org"}
	if got := addresses(s); !slices.Equal(got, want) {
		t.Errorf("recipients %q", got)
	}
	wantProblem(t, problems, `"cn=mallory": alias "Admin@example.org": addresses of the role admin are kept for entries of their own; the value is left out`)
	wantProblem(t, problems, `"cn=mallory": alias "hostmaster@example.org"`)
}

func TestOnlyOwnDomainsAreTaken(t *testing.T) {
	c := newCollective(t)
	c.add("domain", "dc=dns", "name=dns.example", "service=dns")
	c.add("domain", "dc=contact", "name=contact.example.net")
	c.add("domain", "dc=long", "name="+strings.Repeat("a.", 95)+"org")
	c.mailbox("cn=a", "a@far.example")
	c.mailbox("cn=b", "b@example.org", "alias=b@far.example", "alias=b@dns.example", "alias=b@contact.example.net")
	s, problems := c.snapshot()
	if got := addresses(s); !slices.Equal(got, []string{"b@example.org"}) {
		t.Errorf("recipients %q", got)
	}
	wantProblem(t, problems, `"dc=long"`, "at most 180 characters")
	wantProblem(t, problems, `"cn=a", "cn=b"`, `mail for "far.example"`)
	wantProblem(t, problems, `"cn=b"`, `"dns.example"`)
	wantProblem(t, problems, `"cn=b"`, `"contact.example.net" is kept for the contact addresses`)
}

func TestPlacementsThatLeadNowhere(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn=n4", "name=n4", "state=out", "vpn-address=10.77.0.4", "role=imap")
	for i := range 9 {
		c.add("mailbox", fmt.Sprintf("cn=u%d", i), fmt.Sprintf("address=u%d@example.org", i), "placement=n4_n9")
	}
	c.mailbox("cn=alice", "alice@example.org")
	s, problems := c.snapshot()
	if len(s.Mailboxes) != 10 {
		t.Errorf("%d mailboxes, want all 10: mail to them must wait, not bounce", len(s.Mailboxes))
	}
	wantProblem(t, problems, `"cn=u0", "cn=u1", "cn=u2" and`, `"n4_n9" names "n9", which is no node`)
	wantProblem(t, problems, `"n4_n9" has no node that serves`)
	if len(s.Placements()) != 2 || s.Placements()[0].Name != "n1_n2" {
		t.Errorf("placements %v", s.Placements())
	}
}

func TestLists(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn=n4", "name=n4", "state=out", "vpn-address=10.77.0.4", "role=lists")
	c.add("list", "cn=ok", "address=ok@example.org", "manager=mailman3", "node=n1", "candidate=n1", "candidate=n2")
	c.add("list", "cn=none", "address=none@example.org")
	c.add("list", "cn=ghost", "address=ghost@example.org", "node=n9")
	c.add("list", "cn=out", "address=out@example.org", "node=n4")
	c.add("list", "cn=far", "address=far@example.org", "node=n3", "candidate=n1")
	s, problems := c.snapshot()
	if len(s.Lists) != 5 {
		t.Errorf("%d lists, want 5: their mail must wait, not bounce", len(s.Lists))
	}
	wantProblem(t, problems, `"cn=none"`, "has no active node")
	wantProblem(t, problems, `"cn=ghost"`, `"n9", which is no node`)
	wantProblem(t, problems, `"cn=out"`, `"n4", which is out`)
	wantProblem(t, problems, `"cn=far"`, "not among its candidates [n1]")
	if r, ok := s.Recipient("ok-subscribe@example.org"); !ok || r.List == nil || r.Use != UseService {
		t.Errorf("service address: %+v", r)
	}
	if _, ok := s.Recipient("none-subscribe@example.org"); ok {
		t.Error("mlmmj answers on list+subscribe, not on list-subscribe")
	}
}

// What is as its entry says, and only has to wait, does not make a run partial.
func TestListsLeaveNothingOut(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn=n4", "name=n4", "state=up", "vpn-address=10.77.0.4", "role=imap")
	c.add("list", "cn=none", "address=none@example.org")
	c.add("list", "cn=far", "address=far@example.org", "node=n3", "candidate=n1")
	c.add("list", "cn=roleless", "address=roleless@example.org", "node=n4")
	s, problems, err := c.b.Snapshot()
	if err != nil || len(problems) != 3 {
		t.Fatal(problems, err)
	}
	for _, p := range problems {
		if !p.Notice {
			t.Errorf("not a notice: %s", p)
		}
	}
	r, _ := s.Recipient("roleless@example.org")
	if s.ListNode(r.List) != nil || !strings.Contains(problems[2].Text, `"n4", which has not the role lists; its mail waits`) {
		t.Errorf("%s", problems[2])
	}
}

// A placement may hold mailboxes and sites, and is reported once for each that a node is not made for.
func TestPlacementsOnNodesWithoutTheRole(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn=n4", "name=n4", "state=up", "vpn-address=10.77.0.4", "role=mx")
	for i := range 9 {
		c.add("mailbox", fmt.Sprintf("cn=u%d", i), fmt.Sprintf("address=u%d@example.org", i), "placement=n1_n4")
	}
	c.add("site", "cn=s", "name=s.example.org", "placement=n1_n4")
	s, problems := c.snapshot()
	wantProblem(t, problems, `"cn=u0", "cn=u1", "cn=u2" and 1 more: placement "n1_n4" of mailboxes names "n4", which has not the role imap`)
	wantProblem(t, problems, `"cn=s": placement "n1_n4" of sites names "n4", which has not the role web`)
	if len(problems) != 2 || len(s.Mailboxes) != 9 {
		t.Errorf("%d mailboxes, problems %q", len(s.Mailboxes), problems)
	}
}

// --explain asks for the problems of a name: never those of one that only holds it.
func TestProblemsAreAboutNames(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=1", "xnoor@example.org", "status=asleep")
	c.mailbox("cn=2", "Noor@example.org", "alias=n oor@example.org")
	for i := range 5 {
		c.mailbox(fmt.Sprintf("cn=far%d", i), fmt.Sprintf("far%d@typo.example", i))
	}
	c.add("list", "rplanAddress=nolist@example.org,ou=l", "address=no list@example.org")
	_, problems, err := c.b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"noor@example.org": "n oor@", "xnoor@example.org": "asleep", "far4@typo.example": "no domain entry", "nolist@example.org": "no list@", "example.org": "", "oor@example.org": "",
	} {
		var texts []string
		for _, p := range problems {
			if p.IsAbout("another", key) {
				texts = append(texts, p.Text)
			}
		}
		if want == "" && texts != nil || want != "" && (len(texts) != 1 || !strings.Contains(texts[0], want)) {
			t.Errorf("%s: %q, want one with %q", key, texts, want)
		}
	}
}

func TestOrderOfEntriesDoesNotMatter(t *testing.T) {
	lines := [][2]string{{"cn=a", "x@example.org"}, {"cn=b", "y@example.org"}, {"cn=c", "X@example.org"}, {"cn=d", "z@example.org"}}
	var first []string
	for turn := range len(lines) {
		c := newCollective(t)
		for i := range lines {
			l := lines[(i+turn)%len(lines)]
			c.mailbox(l[0], l[1], "alias=shared@example.org")
		}
		s, _ := c.snapshot()
		var got []string
		for r := range s.Recipients() {
			got = append(got, r.Address+" "+r.Mailbox.DN)
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("turn %d: %q, want %q", turn, got, first)
		}
	}
}

// One hostile entry cannot fill the report or the maps.
func TestAnEntryIsBounded(t *testing.T) {
	c := newCollective(t)
	many := []string{}
	for i := range 5000 {
		many = append(many, fmt.Sprintf("alias=a%d@example.org", i), "alias=bad value")
	}
	c.mailbox("cn=greedy", "greedy@example.org", many...)
	c.mailbox("cn="+strings.Repeat("x", 5000), "long@example.org")
	s, problems := c.snapshot()
	if n := len(addresses(s)); n > maxValues+1 {
		t.Errorf("%d addresses from one entry", n)
	}
	if len(problems) > maxValues+2 {
		t.Errorf("%d problems", len(problems))
	}
	wantProblem(t, problems, "the DN is longer than 1024 bytes")
}

// What is said of a state is for people: a bad word costs the word, not the node.
func TestRemarksOnAState(t *testing.T) {
	c := newCollective(t)
	c.add("node", "cn=n4", "name=n4", "state=out", "vpn-address=10.77.0.4", "reason=a new disk \u2026", "since=2026-03-01T13:00:00+01:00", "by=ada")
	c.add("node", "cn=n5", "name=n5", "state=out", "vpn-address=10.77.0.5", "reason=\x1b[1m", "since=yesterday", "by="+strings.Repeat("a", 501))
	c.add("node", "cn=n6", "name=n6", "state=out", "vpn-address=10.77.0.6", "reason=one", "reason=two")
	s, problems, err := c.b.Snapshot()
	if err != nil || len(s.Nodes) != 6 {
		t.Fatalf("%d nodes, %v", len(s.Nodes), err)
	}
	if n := s.Node("n4"); n.Reason != "a new disk \u2026" || n.Since.String() != "2026-03-01 12:00:00 +0000 UTC" || n.By != "ada" {
		t.Errorf("node is %+v", n)
	}
	if n := s.Node("n5"); n.Reason != "" || !n.Since.IsZero() || n.By != "" {
		t.Errorf("node is %+v", n)
	}
	var texts []string
	for _, p := range problems {
		if !p.Notice {
			t.Errorf("%v is more than a notice", p)
		}
		texts = append(texts, p.String())
	}
	want := []string{`"cn=n5": since "yesterday": not a time such as 2026-03-01T12:00:00Z; it is not shown`,
		`"cn=n5": reason "\x1b[1m": not one line of text; it is not shown`,
		`"cn=n6": reason "one": has 2 values where one is expected; it is not shown`}
	for _, w := range want {
		if !slices.Contains(texts, w) {
			t.Errorf("%q lacks %s", texts, w)
		}
	}
}

// A retention that cannot be read costs the list neither its mail nor a message of its archive.
func TestRetentionOfLists(t *testing.T) {
	c := newCollective(t)
	c.add("list", "cn=plain", "address=plain@example.org", "node=n1")
	c.add("list", "cn=both", "address=both@example.org", "node=n1", "keep-html=90D", "keep-mbox=forever")
	c.add("list", "cn=bad", "address=bad@example.org", "node=n1", "keep-html=90 days", "keep-mbox=5y")
	c.add("list", "cn=two", "address=two@example.org", "node=n1", "keep-mbox=5y", "keep-mbox=1d")
	c.add("list", "cn=word", "address=word@example.org", "node=n1", "keep-html="+Unreadable)
	s, problems, err := c.b.Snapshot()
	if err != nil || len(problems) != 3 {
		t.Fatal(problems, err)
	}
	var texts []string
	for _, p := range problems {
		if !p.Notice {
			t.Errorf("not a notice: %s", p)
		}
		texts = append(texts, p.String())
	}
	wantProblem(t, texts, `"cn=bad": keep-html "90 days": not a time to keep something such as 90d`, "; nothing of the list's archive is removed")
	wantProblem(t, texts, `"cn=two": keep-mbox "5y": has 2 values where one is expected`)
	got := map[string][2]string{}
	for _, l := range s.Lists {
		got[l.Address] = [2]string{l.KeepHTML, l.KeepMbox}
	}
	want := map[string][2]string{
		"plain@example.org": {}, "both@example.org": {"90d", "forever"}, "bad@example.org": {Unreadable, "5y"},
		"two@example.org": {"", Unreadable}, "word@example.org": {Unreadable, ""},
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if _, err := CheckKeep(Unreadable); err == nil {
		t.Errorf("%q is taken for a time", Unreadable)
	}
}
