package merge

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Of a message that is two messages, one goes.
func TestRivals(t *testing.T) {
	work := strings.Repeat("c", 32)
	g := func(c string) string { return strings.Repeat(c, 32) }
	saved := func(m Message, at int64) Message {
		m.Saved = at
		return m
	}
	for why, c := range map[string]struct {
		active, other []Message
		removed       []Message // by their user on the other side
		gone          deletions
		twins         map[string]twin
		set           map[string]bool
		copies        []Message // on the active side
		here, there   []string
		doubles       int
	}{
		"both in the inbox": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx")}, other: []Message{real(inbox, 5, g("2"), "Q1.mx", `\Seen`)},
			here: []string{`flag INBOX 1 \Seen`}, there: []string{"aside INBOX 5"}, doubles: 1},
		"moved here": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx")}, other: []Message{real(inbox, 5, g("2"), "Q1.mx")},
			there: []string{"aside INBOX 5"}, doubles: 1},
		"moved there: doveadm sync brings it first": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx", `\Seen`)}, other: []Message{real(archive, 5, g("2"), "Q1.mx", `\Flagged`)}},
		"and then the other goes": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx", `\Seen`), real(archive, 5, g("2"), "Q1.mx", `\Flagged`)}, other: []Message{real(archive, 5, g("2"), "Q1.mx", `\Flagged`)},
			here: []string{`flag Archive 5 \Seen`, "aside INBOX 1"}, there: []string{`flag Archive 5 \Seen`}, doubles: 1},
		"of two there, ours was deleted: theirs stays": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx")}, other: []Message{real(inbox, 5, g("2"), "Q1.mx")}, removed: []Message{{UID: 1, GUID: g("1"), ID: "Q1.mx"}}},
		"moved on both sides": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")}, other: []Message{real(archive, 5, g("2"), "Q1.mx")},
			there: []string{"aside Archive 5"}, doubles: 1},
		"copied there": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx")}, other: []Message{real(inbox, 5, g("2"), "Q1.mx"), real(archive, 6, g("2"), "Q1.mx")}},
		"and then": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx"), real(inbox, 5, g("2"), "Q1.mx"), real(archive, 6, g("2"), "Q1.mx")},
			other:  []Message{real(inbox, 5, g("2"), "Q1.mx"), real(archive, 6, g("2"), "Q1.mx")},
			here:   []string{"aside INBOX 1"}, doubles: 1},
		"moved and copied there, moved here": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")},
			other:  []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 5), saved(real(g("d"), 7, g("2"), "Q1.mx"), 4)},
			there:  []string{"aside " + g("d") + " 7"}, doubles: 1},
		"copied and then moved there": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")}, removed: []Message{{UID: 1, GUID: g("2"), ID: "Q1.mx", Saved: 5}},
			other: []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 5), saved(real(g("d"), 7, g("2"), "Q1.mx"), 4)},
			there: []string{"aside Archive 6"}, doubles: 1},
		"copied there, and moved to the same folder": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")},
			other:  []Message{saved(real(work, 6, g("2"), "Q1.mx"), 5), saved(real(g("d"), 7, g("2"), "Q1.mx"), 4)},
			there:  []string{"aside " + work + " 6"}, doubles: 1},
		"copied there, and deleted long after": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")}, removed: []Message{{UID: 1, GUID: g("2"), ID: "Q1.mx", Saved: 100}},
			other: []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 89)}},
		"and deleted soon after, as many mail programs move": {
			active: []Message{real(work, 1, g("1"), "Q1.mx")}, removed: []Message{{UID: 1, GUID: g("2"), ID: "Q1.mx", Saved: 100}},
			other: []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 90)},
			there: []string{"aside Archive 6"}, doubles: 1},
		"copied on both sides": {
			active:  []Message{real(inbox, 1, g("1"), "Q1.mx"), real(work, 1, g("1"), "Q1.mx")},
			other:   []Message{real(inbox, 5, g("2"), "Q1.mx"), real(archive, 6, g("2"), "Q1.mx")},
			there:   []string{"aside INBOX 5"},
			doubles: 1},
		"the same message is in another folder there": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx")}, other: []Message{real(archive, 5, g("1"), "Q1.mx"), real(inbox, 6, g("2"), "Q1.mx")}},
		"deleted here": {
			other: []Message{saved(real(inbox, 5, g("2"), "Q1.mx"), 4), saved(real(archive, 6, g("2"), "Q1.mx"), 5)},
			gone:  deletions{"Q1.mx": {5, 9}}, there: []string{"aside INBOX 5"}},
		"deleted here, moved there before": {
			other: []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 5)}, gone: deletions{"Q1.mx": {5, 9}}},
		"deleted here, moved and copied there before": {
			other: []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 4), saved(real(work, 7, g("2"), "Q1.mx"), 5)},
			gone:  deletions{"Q1.mx": {5, 9}}},
		"deleted here, copied and moved there before": {
			other:   []Message{saved(real(archive, 6, g("2"), "Q1.mx"), 3), saved(real(work, 7, g("2"), "Q1.mx"), 4)},
			removed: []Message{{UID: 1, GUID: g("2"), ID: "Q1.mx", Saved: 4}}, gone: deletions{"Q1.mx": {5, 9}}},
		"and that was set aside already": {
			other: []Message{saved(real(inbox, 6, g("2"), "Q1.mx"), 3)}, set: map[string]bool{"Q1.mx": true},
			gone: deletions{"Q1.mx": {5, 9}}},
		"deleted here, and then put into a folder there": {
			other: []Message{saved(real(inbox, 5, g("2"), "Q1.mx"), 4), saved(real(archive, 6, g("2"), "Q1.mx"), 6)},
			gone:  deletions{"Q1.mx": {5, 9}}, there: []string{"aside INBOX 5"}},
		"deleted here, and then delivered there": {
			other: []Message{saved(real(inbox, 5, g("2"), "Q1.mx"), 9)},
			gone:  deletions{"Q1.mx": {5, 9}}, there: []string{"aside INBOX 5"}},
		"deleted here, and then answered there": {
			other: []Message{saved(real(inbox, 5, g("2"), "Q1.mx", `\Answered`), 9)},
			gone:  deletions{"Q1.mx": {5, 9}}},
		"a delivery that came to the inbox after the first was moved": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx", `\Seen`, `\Deleted`)},
			here:   []string{`flag Archive 1 \Seen`, "aside INBOX 2"}, doubles: 1},
		"and after it was copied": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx")},
			here:   []string{"aside INBOX 2"}, doubles: 1},
		"the user's copy has the same GUID": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("1"), "Q1.mx")}},
		"also that of a later one": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 1, g("2"), "Q1.mx"), real(inbox, 2, g("2"), "Q1.mx")}},
		"what the user put elsewhere both times stays": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")}},
		"unless it was here while doveadm sync brought the other": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx", `\Seen`)}, other: []Message{real(work, 2, g("2"), "Q1.mx", `\Seen`)},
			twins: map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 0}}, here: []string{`flag Archive 1 \Seen`, "aside " + work + " 2"}, doubles: 1},
		"of which there was a copy: that stays": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), saved(real(work, 2, g("2"), "Q1.mx"), 5), saved(real(g("d"), 3, g("2"), "Q1.mx"), 4)},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{work, "other"}, []string{"Work", "More"}, 0}}, here: []string{"aside " + g("d") + " 3"}, doubles: 1},
		"and not yet, or no more": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), saved(real(work, 2, g("2"), "Q1.mx"), 5)},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{work, "other"}, []string{"Work", "More"}, 0}}},
		"and was moved on since": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(g("d"), 2, g("2"), "Q1.mx")},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 0}}},
		"which was copied, and the other moved": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx", `\Seen`), real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")},
			other:  []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 0}},
			here:   []string{`flag ` + work + ` 2 \Seen`, "aside INBOX 1"}, there: []string{`flag ` + work + ` 2 \Seen`}, doubles: 1},
		"which was copied to where the other was moved": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx", `\Flagged`), real(work, 1, g("1"), "Q1.mx"), real(work, 5, g("2"), "Q1.mx")},
			other:  []Message{real(work, 1, g("1"), "Q1.mx"), real(work, 5, g("2"), "Q1.mx")},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{work}, nil, 0}},
			here:   []string{`flag ` + work + ` 1,5 \Flagged`, "aside INBOX 1", "aside " + work + " 5"}, there: []string{`flag ` + work + ` 1,5 \Flagged`}, doubles: 2},
		"the other's folder has another name since": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{work}, []string{"Projects"}, 0}}, here: []string{"aside " + work + " 2"}, doubles: 1},
		"which was copied, and the other never came": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx"), real(archive, 1, g("1"), "Q1.mx")}, twins: map[string]twin{"Q1.mx": {GUID: g("1")}}},
		"or was moved and copied": {
			active: []Message{real(work, 1, g("1"), "Q1.mx"), real(archive, 1, g("1"), "Q1.mx")}, twins: map[string]twin{"Q1.mx": {GUID: g("1")}}},
		"one was moved here, and came again, and moved there": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx"), real(archive, 1, g("3"), "Q1.mx")}, other: []Message{real(work, 1, g("2"), "Q1.mx")},
			here: []string{"aside INBOX 1"}, there: []string{"aside " + work + " 1"}, doubles: 2},
		"copied here, moved there: doveadm sync brings it first": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx"), real(archive, 1, g("1"), "Q1.mx")}, other: []Message{real(work, 2, g("2"), "Q1.mx")}},
		"of which one was set aside, after it was copied": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")}, copies: []Message{blind(7, "Q1.mx", 0)},
			twins: map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 1}}, set: map[string]bool{"Q1.mx": true}},
		"which its user moved just before it would have been set aside": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")}, copies: []Message{blind(7, "Q1.mx", 0)},
			twins: map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 2}}, set: map[string]bool{"Q1.mx": true},
			here: []string{"aside " + work + " 2"}, doubles: 1},
		"which is still where it was": {
			active: []Message{real(inbox, 1, g("1"), "Q1.mx"), real(work, 2, g("2"), "Q1.mx")},
			twins:  map[string]twin{"Q1.mx": {g("1"), []string{"other"}, []string{"Work"}, 0}}, here: []string{"aside INBOX 1"}, doubles: 1},
		"no delivery": {
			active: []Message{real(archive, 1, g("1"), ""), real(inbox, 2, g("2"), "")}, other: []Message{real(work, 1, g("3"), "")}},
		"another one": {
			active: []Message{real(archive, 1, g("1"), "Q1.mx"), real(inbox, 2, g("2"), "Q2.mx")}, other: []Message{real(work, 1, g("3"), "Q3.mx")}},
	} {
		a, o := &View{Real: c.active}, &View{Real: c.other, Deleted: c.removed}
		if contested(a, o, c.gone, nil) {
			a.Inbox, o.Inbox = inbox, inbox
		}
		a.Copies = c.copies
		p := prepare(a, o, c.gone, circumstances{late: never, twins: c.twins, set: c.set, folders: map[string]string{"INBOX": inbox, "Archive": archive, "Work": work, "More": g("d")}})
		if here, there := words(p.active.steps), words(p.other.steps); !slices.Equal(here, c.here) || !slices.Equal(there, c.there) || p.doubles != c.doubles {
			t.Errorf("%s: active side %q, want %q; other side %q, want %q; %d doubles, want %d", why, here, c.here, there, c.there, p.doubles, c.doubles)
		}
		if aside := len(c.here)+len(c.there) > 0; p.aside["Q1.mx"] != aside || len(p.aside) > 1 {
			t.Errorf("%s: %v is set aside", why, p.aside)
		}
	}
}

// Most mailboxes need nobody to know which folder is the inbox.
func TestContested(t *testing.T) {
	m := real(inbox, 1, "g", "Q1.mx")
	for i, c := range []struct {
		active, other *View
		gone          deletions
		want          bool
	}{
		{&View{Real: []Message{m}}, nil, nil, false},
		{&View{Real: []Message{m}}, &View{Real: []Message{m}}, nil, false},
		{&View{}, &View{Real: []Message{m}}, nil, false},
		{&View{}, &View{Real: []Message{m}}, deletions{"Q1.mx": {1, 1}}, true},
		{&View{Real: []Message{m}}, &View{Real: []Message{real(inbox, 1, "h", "Q1.mx")}}, nil, true},
		{&View{Real: []Message{m, real(archive, 1, "h", "Q1.mx")}}, nil, nil, true},
		{&View{Real: []Message{m, real(archive, 1, "g", "Q1.mx")}}, nil, nil, false},
		{&View{Real: []Message{m, real(archive, 1, "h", "")}}, &View{Real: []Message{real(archive, 1, "i", "")}}, nil, false},
	} {
		if got := contested(c.active, c.other, c.gone, nil); got != c.want {
			t.Errorf("row %d: %v", i, got)
		}
	}
}

// What a user deleted on a node that was lost soon after stays deleted, unless they have
// done something with the copy since.
func TestDeletions(t *testing.T) {
	took := map[string]adoption{"Q1.mx": {"c", 9}}
	adopted := func(folder string, flags ...string) Message {
		m := real(folder, 1, "c", "Q1.mx", flags...)
		m.Saved = 9
		return m
	}
	later := adopted(inbox)
	later.Saved = 99
	for why, c := range map[string]struct {
		active []Message
		other  View
		want   bool
	}{
		"adopted and not touched":    {[]Message{adopted(inbox)}, View{}, true},
		"or read":                    {[]Message{adopted(inbox, `\Seen`, "NonJunk")}, View{}, true},
		"answered":                   {[]Message{adopted(inbox, `\Answered`, `\Seen`)}, View{}, false},
		"labelled":                   {[]Message{adopted(inbox, "$Label1")}, View{}, false},
		"moved":                      {[]Message{adopted(archive)}, View{}, false},
		"moved and back":             {[]Message{later}, View{}, false},
		"copied":                     {[]Message{adopted(inbox), adopted(archive)}, View{}, false},
		"moved there, not deleted":   {[]Message{adopted(inbox)}, View{Real: []Message{real(archive, 1, "g", "Q1.mx")}}, false},
		"what the user stored again": {[]Message{{Folder: inbox, UID: 1, GUID: "u", ID: "Q1.mx", Saved: 9}}, View{}, false},
		"one of two":                 {[]Message{adopted(inbox)}, View{Copies: []Message{{UID: 1, GUID: "g", ID: "Q1.mx", Saved: 5}}}, false},
	} {
		a := &View{Real: c.active, Inbox: inbox}
		p := prepare(a, &c.other, nil, circumstances{late: never, both: true})
		steps := len(p.active.steps)
		p.deletions(a, &c.other, took, map[string]int64{"Q1.mx": 5}, now)
		if got := len(p.active.steps) > steps; got != c.want || p.gone.has("Q1.mx") != c.want || c.want && p.gone["Q1.mx"].At != 5 || len(p.gone) > 1 {
			t.Errorf("%s: %q, gone %v", why, words(p.active.steps), p.gone)
		}
	}
}

func never(Message) bool { return false }

// TestTwinIsOver: what is set aside for others is remembered, also if the pass breaks off before or after it was done; and
// is over before the copy goes.
func TestTwinIsOver(t *testing.T) {
	kept := 0
	m := &merger{
		record: &record{Aside: map[string]int64{}, Gone: deletions{}, Twins: map[string]twin{"Q1.mx": {GUID: "g"}, "Q2.mx": {GUID: "h"}, "Q3.mx": {GUID: "i"}}},
		set:    map[string]bool{}, now: time.Now, save: func() error { kept++; return nil },
	}
	now := twin{GUID: "x", Copies: 2}
	if err := m.remember(map[string]bool{"Q1.mx": true, "Q2.mx": true}, map[string]twin{"Q1.mx": now}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, there := m.record.Twins["Q2.mx"]; there || len(m.record.Twins) != 2 || m.record.Twins["Q1.mx"].GUID != "x" || !m.set["Q1.mx"] || kept != 1 {
		t.Errorf("it is remembered %d times that these are twins: %v, set aside are %v", kept, m.record.Twins, m.set)
	}
	for i, copies := range [][]Message{nil, {blind(1, "Q1.mx", 0), blind(2, "Q3.mx", 0)}, {blind(1, "Q1.mx", 0), blind(2, "Q1.mx", 0)}} {
		if err := m.endTwins(copies); err != nil {
			t.Fatal(err)
		}
		if done := i == 2; (kept == 2) != done || (len(m.record.Twins) == 1) != done || m.record.Twins["Q3.mx"].GUID != "i" {
			t.Errorf("%d: remembered %d times: %v", i, kept, m.record.Twins)
		}
	}
}
