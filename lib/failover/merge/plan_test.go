package merge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

// Folders of the tests, and what messages look like in them.
var (
	inbox   = strings.Repeat("a", 32)
	archive = strings.Repeat("b", 32)
)

// real is a message in a folder: its place, GUID, delivery id and flags.
func real(folder string, uid uint32, guid, id string, flags ...string) Message {
	return Message{Folder: folder, UID: uid, GUID: guid, ID: id, Flags: strings.Join(flags, " ")}
}

// blind is one in the copies, that came so long ago.
func blind(uid uint32, id string, age time.Duration) Message {
	return Message{UID: uid, GUID: fmt.Sprint("copy", uid), ID: id, Saved: now.Add(-age).Unix()}
}

// words is what steps do, for people: "aside INBOX 1,2".
func words(steps []step) []string {
	var all []string
	for _, s := range steps {
		folder := strings.NewReplacer(inbox, "INBOX", archive, "Archive").Replace(s.Folder)
		all = append(all, strings.Join(strings.Fields(fmt.Sprint(s.Op, " ", folder, " ", ranges(s.UIDs), " ", s.Flags)), " "))
	}
	return all
}

func TestPrepare(t *testing.T) {
	tests := map[string]struct {
		active, other View
		gone          string
		both, alone   bool
		set           bool     // Q1.mx was set aside in this pass
		here, there   []string // steps
	}{
		"nothing is done where all is equal": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}},
		"a message that is not on the other side is for doveadm sync": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}},
		"a message that only the other side has too": {
			other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}},
		"one that was delivered into the folders of both would be doubled": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "h", "Q1.mx")}},
			there: []string{"aside INBOX 7"}},
		"its flags are united": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx", `\Seen`)}}, other: View{Real: []Message{real(inbox, 7, "h", "Q1.mx", "$Label1", `\Flagged`, `\Seen`)}},
			here: []string{`flag Archive 1 $Label1 \Flagged`}, there: []string{"aside INBOX 7"}},
		"but not the mark for removal": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "h", "Q1.mx", `\Deleted`)}},
			there: []string{"aside INBOX 7"}},
		"nor what is no flag": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "h", "Q1.mx", `\Deleted`, "a)b")}},
			there: []string{"aside INBOX 7"}},
		"what shares a GUID is never set aside on the other side: its removal would come back": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "g", "Q1.mx"), real(inbox, 8, "h", "Q1.mx")}},
			there: []string{"aside INBOX 8"}},
		"a delivery in two folders is the user's copy": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx"), real(archive, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}},
		"a delivery twice in one folder is one too many, the later": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx"), real(inbox, 2, "h", "Q1.mx", `\Seen`)}},
			here:   []string{`flag INBOX 1 \Seen`, "aside INBOX 2"}},
		"but the earlier if only the later is on the other side": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx"), real(inbox, 2, "h", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 2, "h", "Q1.mx")}},
			here: []string{"aside INBOX 1"}},
		"and the one that is marked for removal in any case": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx", `\Deleted`, `\Seen`), real(inbox, 2, "h", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}},
			here: []string{`flag INBOX 2 \Seen`, "aside INBOX 1"}},
		"what its user flagged just before it was set aside has those flags there": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx", `\Seen`)}}, other: View{Copies: []Message{{UID: 3, GUID: "h", ID: "Q1.mx", Flags: `\Deleted \Flagged \Seen`}}}, set: true,
			here: []string{`flag Archive 1 \Flagged`}},
		"on either side": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}, Copies: []Message{{UID: 3, GUID: "h", ID: "Q1.mx", Flags: "$Later"}}}, set: true,
			here: []string{`flag Archive 1 $Later`}},
		"but not in a pass before this one: its user may have taken them away since": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}}, other: View{Copies: []Message{{UID: 3, GUID: "h", ID: "Q1.mx", Flags: `\Flagged`}}}},
		"nor where there is a copy of the other": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx"), real(inbox, 2, "g", "Q1.mx")}, Copies: []Message{{UID: 3, GUID: "h", ID: "Q1.mx", Flags: `\Flagged`}}}, set: true},
		"messages without an id are never doubles": {
			active: View{Real: []Message{real(inbox, 1, "g", ""), real(inbox, 2, "h", "")}}, other: View{Real: []Message{real(inbox, 9, "i", "")}}},
		"a deleted message on the other side is set aside": {
			other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}, Inbox: inbox}, gone: "Q1.mx", there: []string{"aside INBOX 1"}},
		"not if it was put there after that": {
			other: View{Real: []Message{{Folder: inbox, UID: 1, GUID: "g", ID: "Q1.mx", Saved: 2, Flags: `\Flagged`}}, Inbox: inbox}, gone: "Q1.mx"},
		"nor elsewhere": {
			other: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}, Inbox: inbox}, gone: "Q1.mx"},
		"not if it is the same message as one that is there": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, gone: "Q1.mx"},
		"a copy on the active side becomes a message at once": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0)}}, here: []string{"adopt 1"}},
		"also without another side": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0)}}, alone: true, here: []string{"adopt 1"}},
		"not if the message is in a folder of the other side, from where doveadm sync brings it as its user has it": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0)}}, other: View{Real: []Message{real(archive, 1, "g", "Q1.mx", `\Seen`)}}},
		"what is the active side's message is put back where a merge set it aside": {
			active: View{Real: []Message{real(inbox, 1, "copy7", "Q1.mx")}}, other: View{Copies: []Message{blind(7, "Q1.mx", 0)}}, there: []string{"adopt 7"}},
		"of two copies of one delivery one": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0), blind(2, "Q1.mx", 0)}}, here: []string{"adopt 1"}},
		"without ids, which nothing can tell apart, all": {
			active: View{Copies: []Message{blind(1, "", 0), blind(2, "", 0)}}, here: []string{"adopt 1:2"}},
		"not if the message is in a folder": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0)}, Real: []Message{real(archive, 1, "g", "Q1.mx")}}},
		"not if it was deleted": {
			active: View{Copies: []Message{blind(1, "Q1.mx", 0)}}, gone: "Q1.mx"},
		"a copy on the other side waits for its twin": {
			other: View{Copies: []Message{blind(1, "Q1.mx", grace)}}},
		"but not for ever": {
			other: View{Copies: []Message{blind(1, "Q1.mx", grace+time.Second)}}, there: []string{"adopt 1"}},
		"however old, not if either side has the message": {
			active: View{Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 1, "h", "Q2.mx")}, Copies: []Message{blind(1, "Q1.mx", 99*grace), blind(2, "Q2.mx", 99*grace)}}},
		"flags of a message that was moved go with it if both sides were used": {
			active: View{Real: []Message{real(archive, 1, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "g", "Q1.mx", `\Seen`, `\Deleted`)}}, both: true,
			here: []string{`flag Archive 1 \Seen`}},
		"and if it was copied, with the one that was moved": {
			active: View{Real: []Message{lies(work, 2, 100), lies(archive, 1, 200)}, Deleted: deletedAt(201)}, other: View{Real: []Message{lies(inbox, 7, 50, `\Seen`)}}, both: true,
			here: []string{`flag Archive 1 \Seen`}},
		"or the one that was there first": {
			active: View{Real: []Message{lies(archive, 1, 100, "$Later")}}, other: View{Real: []Message{lies(work, 2, 200, `\Flagged`), lies(inbox, 7, 50, `\Seen`)}}, both: true,
			here: []string{`flag Archive 1 \Seen`}, there: []string{"flag INBOX 7 $Later"}},
		"also if there is a copy that both sides have": {
			active: View{Real: []Message{lies(work, 2, 50), lies(archive, 1, 100)}, Deleted: deletedAt(101)}, other: View{Real: []Message{lies(work, 2, 50), lies(inbox, 7, 50, `\Seen`)}}, both: true,
			here: []string{`flag Archive 1 \Seen`}},
		"also if it was moved to where there is a copy, or back": {
			active: View{Real: []Message{lies(archive, 1, 50), lies(archive, 2, 100)}, Left: map[string][]int64{"g": {100}}}, other: View{Real: []Message{lies(archive, 1, 50), lies(inbox, 7, 50, `\Seen`)}}, both: true,
			here: []string{`flag Archive 2 \Seen`, "aside Archive 2"}},
		"but not if two were moved": {
			active: View{Real: []Message{lies(inbox, 1, 10, `\Seen`), lies(work, 1, 20)}}, other: View{Real: []Message{lies(archive, 1, 200), lies(later, 1, 100)}, Deleted: deletedAt(100, 200)}, both: true},
		"nor if it was copied at one time and deleted at another": {
			active: View{Real: []Message{lies(work, 2, 50), lies(archive, 1, 100)}, Deleted: deletedAt(200)}, other: View{Real: []Message{lies(work, 2, 50), lies(inbox, 7, 50, `\Seen`)}}, both: true},
		"nor if one lies where it lies on the other side": {
			active: View{Real: []Message{lies(inbox, 7, 50), lies(archive, 1, 100)}}, other: View{Real: []Message{lies(inbox, 7, 50, `\Seen`)}}, both: true},
		"also within a folder, where it is new": {
			active: View{Real: []Message{real(inbox, 9, "g", "Q1.mx")}}, other: View{Real: []Message{real(inbox, 7, "g", "Q1.mx", `\Seen`)}}, both: true,
			here: []string{`flag INBOX 9 \Seen`}},
	}
	for why, c := range tests {
		t.Run(why, func(t *testing.T) {
			m := &merger{now: func() time.Time { return now }, record: &record{}}
			other := &c.other
			if c.alone {
				other = nil
			}
			gone := deletions{}
			if c.gone != "" {
				gone[c.gone] = deletion{1, 1}
			}
			p := prepare(&c.active, other, gone, circumstances{late: m.late, both: c.both, set: map[string]bool{"Q1.mx": c.set}})
			if here, there := words(p.active.steps), words(p.other.steps); !slices.Equal(here, c.here) || !slices.Equal(there, c.there) {
				t.Errorf("active side %q, want %q; other side %q, want %q", here, c.here, there, c.there)
			}
			for _, s := range slices.Concat(p.active.steps, p.other.steps) {
				if err := s.check(); err != nil {
					t.Errorf("a step that no node takes: %v", err)
				}
			}
		})
	}
}

// TestLate: what a merge set aside waits for nothing.
func TestLate(t *testing.T) {
	m := &merger{now: func() time.Time { return now }, record: &record{Aside: map[string]int64{"Q1.mx": 1}}}
	if !m.late(blind(1, "Q1.mx", 0)) || m.late(blind(1, "Q2.mx", 0)) || m.late(blind(1, "", 0)) {
		t.Error("late is wrong")
	}
}

func TestCleanup(t *testing.T) {
	v := &View{Real: []Message{real(inbox, 1, "g", "Q1.mx"), real(inbox, 2, "h", "")},
		Copies: []Message{blind(1, "Q1.mx", 0), blind(2, "Q2.mx", 0), blind(3, "", 0), blind(4, "Q4.mx", 0)}}
	if got := words(cleanup(v, deletions{"Q4.mx": {1, 1}, "": {1, 1}})); !slices.Equal(got, []string{"purge 1,4"}) {
		t.Errorf("%q: only what is in a folder or was deleted may go", got)
	}
}

func TestNote(t *testing.T) {
	at := func(id string, saved int64) Message { return Message{UID: 1, GUID: "g", ID: id, Saved: saved} }
	for why, c := range map[string]struct {
		v    View
		gone bool
	}{
		"a copy that came later":        {View{Deleted: []Message{at("Q2.mx", 5)}, Copies: []Message{at("Q2.mx", 6)}}, true},
		"deleted":                       {View{Deleted: []Message{at("Q1.mx", 5)}}, true},
		"moved, or stored again":        {View{Deleted: []Message{at("Q1.mx", 5)}, Real: []Message{real(inbox, 1, "g", "Q1.mx")}}, false},
		"one of two, then we the other": {View{Deleted: []Message{at("Q1.mx", 5)}, Copies: []Message{at("Q1.mx", 6)}}, false},
		"both in one second":            {View{Deleted: []Message{at("Q1.mx", 5)}, Copies: []Message{at("Q1.mx", 5)}}, false},
		"we one of two, then the other": {View{Deleted: []Message{at("Q1.mx", 5)}, Copies: []Message{at("Q1.mx", 4)}}, true},
		"without id":                    {View{Deleted: []Message{at("", 5)}}, false},
	} {
		gone := deletions{}
		note(gone, map[string]int64{"Q1.mx": 1}, &c.v, ids(c.v.Real), now)
		if (len(gone) > 0) != c.gone {
			t.Errorf("%s: %v", why, gone)
		}
	}
	gone := deletions{"Q1.mx": {7, 8}}
	note(gone, nil, &View{Deleted: []Message{at("Q1.mx", 9), at("Q2.mx", 6)}}, nil, now)
	if gone["Q1.mx"] != (deletion{7, 8}) {
		t.Error("a deletion got younger, and would be remembered for ever")
	}
	if gone["Q2.mx"] != (deletion{6, now.Unix()}) {
		t.Errorf("%+v: want when the user did it, and when it was noted", gone["Q2.mx"])
	}
}

// TestGather: a step fits into a line and an argument, however much there is to do.
func TestGather(t *testing.T) {
	var many []Message
	for i := range uint32(100_000) {
		many = append(many, blind(100_000-i, "Q.mx", 0))
	}
	steps := bySteps(purge, many)
	var uids []uint32
	for _, s := range steps {
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		uids = append(uids, s.UIDs...)
	}
	if len(steps) != 50 || len(uids) != 100_000 || !slices.IsSorted(uids) {
		t.Errorf("%d steps, %d UIDs", len(steps), len(uids))
	}
	one := func(o op, folder string, uid uint32, flags string) step {
		return step{Op: o, Folder: folder, UIDs: []uint32{uid}, Flags: flags}
	}
	got := gather([]step{one(aside, inbox, 3, ""), one(flag, inbox, 2, "x"), one(aside, inbox, 1, ""), one(flag, archive, 2, "x"), one(flag, inbox, 1, "x"), one(flag, inbox, 1, "x")})
	want := []string{"flag INBOX 1:2 x", "flag Archive 2 x", "aside INBOX 1,3"}
	if !slices.Equal(words(got), want) {
		t.Errorf("%q, want %q", words(got), want)
	}
}

func TestEqual(t *testing.T) {
	a := &View{Real: []Message{real(inbox, 1, "g", "", `\Seen`), real(archive, 1, "h", "")}}
	if b := (&View{Real: []Message{a.Real[1], a.Real[0]}, Copies: []Message{blind(1, "Q1.mx", 0)}}); difference(a, b) != "" {
		t.Error("order and copies make no difference")
	}
	for _, other := range []Message{real(inbox, 2, "g", "", `\Seen`), real(archive, 2, "g", "", `\Seen`), real(inbox, 1, "x", "", `\Seen`), real(inbox, 1, "g", "")} {
		if difference(a, &View{Real: []Message{other, a.Real[1]}}) == "" {
			t.Errorf("%v is not %v", other, a.Real[0])
		}
	}
}

func TestFolders(t *testing.T) {
	third := strings.Repeat("c", 32)
	steps := rename(map[string]string{"INBOX": inbox, "Work": archive, "New": third}, map[string]string{"INBOX": third, "Work": archive})
	if len(steps) != 1 || !reflect.DeepEqual(steps[0], step{Op: name, Folder: inbox, Name: "INBOX"}) {
		t.Errorf("%+v", steps)
	}
	if steps := rename(map[string]string{"B": inbox}, map[string]string{"B": archive, "A": inbox}); len(steps) > 0 {
		t.Errorf("two folders of one GUID: %+v", steps)
	}
	v := &View{Real: []Message{real(inbox, 1, "g", "")}}
	steps = renew(map[string]string{"INBOX": archive, "Work": inbox}, v.in([]string{inbox, third}))
	if len(steps) != 1 || steps[0].Name != "Work" || steps[0].Folder == inbox || steps[0].check() != nil {
		t.Errorf("%+v", steps)
	}
}

// TestOnlyMissed: a copy is adopted if two lists in a row had its message nowhere.
func TestOnlyMissed(t *testing.T) {
	steps := []step{{Op: aside, Folder: inbox, UIDs: []uint32{5}}, {Op: adopt, UIDs: []uint32{1, 2, 3}}}
	p := newPlan()
	p.active.steps, p.other.steps = steps, []step{{Op: adopt, UIDs: []uint32{1}}}
	earlier := newPlan()
	earlier.active.steps = []step{{Op: purge, UIDs: []uint32{3}}, {Op: adopt, UIDs: []uint32{2, 4}}}
	p.onlyMissed(earlier)
	if got := words(p.active.steps); !slices.Equal(got, []string{"aside INBOX 5", "adopt 2"}) || len(p.other.steps) > 0 || p.adopted != 1 {
		t.Errorf("%q; %q on the other side; %d adopted", got, words(p.other.steps), p.adopted)
	}
}

// TestDeaths: what one side deleted, after doveadm sync brought the deletion or the user did, lives if a merge set
// another one aside only then, on either side.
func TestDeaths(t *testing.T) {
	copyAt := func(at int64) []Message { return []Message{{UID: 1, GUID: "c", ID: "Q1.mx", Saved: at}} }
	for why, c := range map[string]struct {
		here, there []Message // copies
		aside       int64     // when a merge did that
		dead        bool
	}{
		"nothing was":            {nil, nil, 0, true},
		"there, since":           {nil, copyAt(11), 0, false},
		"there, before":          {nil, copyAt(9), 0, true},
		"here, since":            {copyAt(11), nil, 11, false},
		"here, before":           {copyAt(9), nil, 9, true},
		"a copy of Postfix":      {copyAt(11), nil, 0, true},
		"and one, long after it": {copyAt(200), nil, 10 - slowly, true},
	} {
		m := &merger{record: &record{Aside: map[string]int64{}, Gone: deletions{}}, now: time.Now}
		if c.aside != 0 {
			m.record.Aside["Q1.mx"] = c.aside
		}
		o := &View{Copies: c.there, Deleted: []Message{{UID: 1, GUID: "g", ID: "Q1.mx", Saved: 10}}}
		if dead := m.deaths(&View{Copies: c.here}, o); dead.has("Q1.mx") != c.dead || len(o.Copies) != len(c.there) {
			t.Errorf("%s: %v", why, dead)
		}
	}
}
