package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestForwardLoops(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=alice", "alice@example.org")
	c.forward("self", "self@example.org", "alice@example.org")
	c.forward("tag", "tag+x@example.org", "alice@example.org")
	c.forward("ping", "pong@example.org")
	c.forward("pong", "ping@example.org")
	c.forward("x", "y@example.org", "far@far.example")
	c.forward("y", "z@example.org")
	c.forward("z", "x@example.org", "alice@example.org")
	c.forward("intoring", "x@example.org")
	c.forward("nowhere", "nobody@example.org")
	c.forward("viagone", "nowhere@example.org", "ping@example.org")
	s, problems := c.snapshot()
	got := map[string]string{}
	for _, f := range s.Forwards {
		got[strings.TrimSuffix(f.Address, "@example.org")] = strings.Join(f.Targets, " ")
	}
	want := map[string]string{
		"self": "alice@example.org", "tag": "alice@example.org", "x": "far@far.example", "z": "alice@example.org", "intoring": "x@example.org",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("forwards %v, want %v", got, want)
	}
	wantProblem(t, problems, `"cn=ping", "cn=pong"`, `"pong@example.org" leads back to it`)
	wantProblem(t, problems, `"cn=nowhere": forward`, `"nobody@example.org" does not exist here`)
	wantProblem(t, problems, `"cn=viagone": forward`, `"nowhere@example.org" is left out itself, target "ping@example.org" is left out itself`)
	for _, gone := range []string{"ping", "pong", "y", "nowhere", "viagone"} {
		if _, ok := s.Recipient(gone + "@example.org"); ok {
			t.Errorf("%s is alive", gone)
		}
	}
}

func (c *collective) forward(name string, targets ...string) {
	fields := []string{"address=" + name + "@example.org"}
	for _, target := range targets {
		fields = append(fields, "target="+target)
	}
	c.add("forward", "cn="+name, fields...)
}

// Nothing may lead to a contact address: Postfix copies to the owner only what came for it by name, and drops the rest.
func TestNothingIsSentOnToContactAddresses(t *testing.T) {
	for _, taken := range []bool{false, true} {
		c := newCollective(t)
		if taken {
			c.add("domain", "dc=contact", "name=contact.example.net")
		}
		c.mailbox("cn=alice", "alice@example.org")
		site := func(name, contact string) {
			c.add("site", "cn="+name, "name="+name+".example.org", "mode=everywhere", "contact="+contact)
		}
		site("a", "a.example.org@contact.example.net")
		site("b", "press@example.org")
		site("c", "only@example.org")
		c.forward("press", "A.example.org@Contact.example.net", "alice@example.org")
		c.forward("only", "b.example.org@contact.example.net")
		s, problems := c.snapshot()
		if len(s.Forwards) != 1 || !slices.Equal(s.Forwards[0].Targets, []string{"alice@example.org"}) {
			t.Errorf("forwards %+v", s.Forwards)
		}
		if a, b, c := s.Sites[0].Contact, s.Sites[1].Contact, s.Sites[2].Contact; a != "" || b != "press@example.org" || c != "" {
			t.Errorf("contacts %q, %q, %q", a, b, c)
		}
		wantProblem(t, problems, `"cn=a": contact "a.example.org@contact.example.net" is a contact address itself`)
		wantProblem(t, problems, `"cn=press": target "A.example.org@Contact.example.net": nothing can be sent on to contact addresses`)
		wantProblem(t, problems, `"cn=only": forward "only@example.org" has no target; it is left out`)
		wantProblem(t, problems, `"cn=c": contact "only@example.org" does not exist here`)
	}
}

// A forward that is left out takes nothing from the others with it.
func TestABrokenForwardClaimsNothing(t *testing.T) {
	c := newCollective(t)
	c.mailbox("@1 cn=alice", "alice@example.org", "alias=sales@example.org")
	c.add("list", "cn=list", "address=talk@example.org", "manager=mailman3", "node=n1")
	c.forward("sales", "nobody@example.org")
	c.forward("talk-owner", "sales+x@example.org", "talk-owner@example.org")
	c.forward("office", "sales@example.org")
	s, problems := c.snapshot()
	if r, ok := s.Recipient("sales@example.org"); !ok || r.Mailbox == nil || !slices.Equal(r.Mailbox.Aliases, []string{"sales@example.org"}) {
		t.Errorf("sales: %+v", r)
	}
	if r, ok := s.Recipient("talk-owner@example.org"); !ok || r.Forward == nil || !slices.Equal(r.Forward.Targets, []string{"sales+x@example.org"}) {
		t.Errorf("talk-owner: %+v", r)
	}
	if r, ok := s.Recipient("office@example.org"); !ok || r.Forward == nil || r.Forward.Address != "office@example.org" {
		t.Errorf("office: %+v", r)
	}
	wantProblem(t, problems, `"cn=sales": forward "sales@example.org" is left out`)
	wantProblem(t, problems, `"cn=list", "cn=talk-owner": address "talk-owner@example.org" is claimed by both`)
	wantProblem(t, problems, `"cn=talk-owner": left out of forward`)
	if len(problems) != 3 {
		t.Errorf("problems %q", problems)
	}
}

// When a forward falls, what it was sent may go to another, and round.
func TestALoopThatShowsLater(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=alice", "alice@example.org")
	c.forward("sales", "sales+x@example.org", "alice@example.org")
	c.forward("sales+x", "nobody@example.org")
	s, problems := c.snapshot()
	if len(s.Forwards) != 1 || !slices.Equal(s.Forwards[0].Targets, []string{"alice@example.org"}) {
		t.Errorf("forwards %+v", s.Forwards)
	}
	wantProblem(t, problems, `target "sales+x@example.org" leads back to it`)
}

// A suspended mailbox gets no mail by way of a forward either.
func TestForwardsToSuspendedMailboxes(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=gone", "gone@example.org", "status=suspended", "alias=away@example.org")
	c.mailbox("cn=alice", "alice@example.org")
	c.forward("board", "alice@example.org", "away+x@example.org")
	c.forward("away2", "gone@example.org")
	s, problems, err := c.b.Snapshot()
	if err != nil || len(problems) != 2 || !problems[0].Notice || !problems[1].Notice {
		t.Errorf("problems %v, %v", problems, err)
	}
	if len(s.Forwards) != 1 || !slices.Equal(s.Forwards[0].Targets, []string{"alice@example.org"}) {
		t.Errorf("forwards %+v", s.Forwards)
	}
}

// A long chain without an end is one problem for each forward, and none is looked at more often than it has targets.
func TestAChainWithoutAnEnd(t *testing.T) {
	const long = 50_000
	c := newCollective(t)
	for i := range long {
		c.forward(fmt.Sprintf("f%05d", i), fmt.Sprintf("f%05d@example.org", i+1))
	}
	if s, problems := c.snapshot(); len(s.Forwards) != 0 || len(problems) != long {
		t.Errorf("%d forwards, %d problems", len(s.Forwards), len(problems))
	}
}

// A forward is no amplifier: it sends on to so many people elsewhere, and to all that are here.
func TestTargetsElsewhereAreBounded(t *testing.T) {
	c := newCollective(t)
	var targets []string
	for i := range maxAway + 5 {
		targets = append(targets, fmt.Sprintf("a%03d@far.example", i))
	}
	for i := range 40 {
		c.mailbox(fmt.Sprintf("cn=z%d", i), fmt.Sprintf("z%d@example.org", i))
		targets = append(targets, fmt.Sprintf("z%d@example.org", i))
	}
	c.forward("many", targets...)
	c.forward("few", targets[:maxAway]...)
	s, problems := c.snapshot()
	if len(s.Forwards) != 2 || len(s.Forwards[0].Targets) != maxAway || len(s.Forwards[1].Targets) != maxAway+40 {
		t.Fatalf("forwards %+v", s.Forwards)
	}
	if got := s.Forwards[1].Targets[maxAway-1]; got != "a099@far.example" {
		t.Errorf("the last target elsewhere is %s", got)
	}
	wantProblem(t, problems, `"cn=many": left out of forward "many@example.org": target "a100@far.example" is elsewhere, where a forward has at most 100 targets`, "and 2 more")
	if len(problems) != 1 {
		t.Errorf("problems %q", problems)
	}
}
