package directory

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
)

// An outline, written and read, counts the mailboxes that it does not have.
func TestOutline(t *testing.T) {
	c := newCollective(t)
	for i := range 20 {
		c.add("mailbox", fmt.Sprintf("cn=u%d", i), fmt.Sprintf("address=u%d@example.org", i),
			"placement="+[]string{"n1_n2", "n2_n1", "n9"}[i%3], "delivery="+[]string{"both", "one"}[i%2])
	}
	c.mailbox("cn=again", "u0@example.org", "placement=n2_n1") // left out
	c.add("site", "cn=cafe", "name=cafe.example.org", "placement=n3_n1")
	s, _ := c.snapshot()
	text, err := json.Marshal(s.Outline())
	if err != nil {
		t.Fatal(err)
	}
	var o Outline
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	want := map[string]Count{"n1_n2": {7, 3}, "n2_n1": {7, 4}, "n9": {6, 3}}
	if !maps.Equal(o.Mailboxes, want) {
		t.Errorf("mailboxes %v, want %v", o.Mailboxes, want)
	}
	s.Nodes[1].State, s.Nodes[1].Reason = Out, "new disks"
	with := o.With(s.Nodes)
	if with == nil || with.Node("n2").State != Out || len(with.Mailboxes) != 0 || len(with.Placements()) != 4 {
		t.Fatalf("with other states: %+v", with)
	}
	for _, p := range with.Placements() {
		if with.Count(p) != want[p.Name] {
			t.Errorf("%s has %v, want %v", p.Name, with.Count(p), want[p.Name])
		}
	}
	s.Nodes[1].Ring = 1
	if o.With(s.Nodes) != nil || o.With(s.Nodes[:2]) != nil {
		t.Error("it goes with other nodes")
	}
}
