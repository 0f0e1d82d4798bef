package merge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTwins(t *testing.T) {
	g := func(c string) string { return strings.Repeat(c, 32) }
	tests := map[string]struct {
		real  []Message
		steps []string
	}{
		"a delivery that came to the inbox after the first was moved is set aside": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx")}, []string{"aside INBOX 2"}},
		"its flags stay": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx", `\Seen`, `\Deleted`)}, []string{`flag Archive 1 \Seen`, "aside INBOX 2"}},
		"the user's copy has the same GUID": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("1"), "Q1.mx")}, nil},
		"also of the later one": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(g("c"), 1, g("2"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx")}, nil},
		"copies of the earlier one do not matter": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(g("c"), 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx")}, []string{"aside INBOX 2"}},
		"what the user has put elsewhere both times stays": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(g("c"), 2, g("2"), "Q1.mx")}, nil},
		"Maildir gives a copy another GUID": {
			[]Message{real(archive, 1, "1700000000.M1P1.n1", "Q1.mx"), real(inbox, 2, "1700000001.M1P1.n1", "Q1.mx")}, nil},
		"another delivery": {
			[]Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q2.mx")}, nil},
		"no delivery": {
			[]Message{real(archive, 1, g("1"), ""), real(inbox, 2, g("2"), "")}, nil},
	}
	for why, c := range tests {
		t.Run(why, func(t *testing.T) {
			p := &plan{}
			p.setTwinsAside(twins(&View{Real: c.real}), inbox)
			if steps := words(p.active); !slices.Equal(steps, c.steps) || p.doubles != len(slices.DeleteFunc(steps, func(s string) bool { return !strings.HasPrefix(s, "aside") })) {
				t.Errorf("%q, and %d doubles; want %q", steps, p.doubles, c.steps)
			}
		})
	}
}

// What came to the inbox after its user had deleted it there is not wanted; what they put elsewhere is.
func TestRevived(t *testing.T) {
	at := func(folder string, uid uint32, id string, saved int64) Message {
		return Message{Folder: folder, UID: uid, GUID: fmt.Sprint("g", uid), ID: id, Saved: saved}
	}
	other := &View{Real: []Message{at(inbox, 1, "Q1.mx", 9), at(archive, 2, "Q1.mx", 9), at(inbox, 3, "Q1.mx", 5), at(inbox, 4, "Q2.mx", 9), at(inbox, 5, "Q3.mx", 9), at(inbox, 6, "", 9)}}
	p := &plan{}
	p.setLateAside(revived(&View{Real: []Message{real(inbox, 1, "x", "Q2.mx")}}, other, map[string]int64{"Q1.mx": 5, "Q2.mx": 5}), inbox)
	if got := words(p.other); !slices.Equal(got, []string{"aside INBOX 1"}) {
		t.Errorf("%q", got)
	}
	if revived(other, nil, map[string]int64{"Q1.mx": 1}) != nil {
		t.Error("there is no other side")
	}
}
