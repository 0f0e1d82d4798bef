package merge

import (
	"slices"
	"strings"
	"testing"
)

var (
	work  = strings.Repeat("c", 32)
	later = strings.Repeat("d", 32)
	names = map[string]string{"INBOX": inbox, "Archive": archive, "Work": work, "Later": later}
)

// moveAll puts all that is in a folder into another.
func moveAll(messages []Message, from, to string) []Message {
	messages = slices.Clone(messages)
	for i := range messages {
		if messages[i].Folder == from {
			messages[i].Folder = to
		}
	}
	return messages
}

// lies are instances of the message g.
func lies(folder string, uid uint32, saved int64, flags ...string) Message {
	m := real(folder, uid, "g", "Q1.mx", flags...)
	m.Saved = saved
	return m
}

// gone are instances of it that users removed.
func deletedAt(times ...int64) (all []Message) {
	for i, at := range times {
		all = append(all, Message{UID: uint32(i + 1), GUID: "g", Saved: at})
	}
	return all
}

// TestSurplus: what doveadm sync joined goes from the other side's folder only if both sides moved it, which is sure
// if it lies where it lay, or if users removed it on both.
func TestSurplus(t *testing.T) {
	apartNow := moved{Here: []string{"Work"}, There: []string{"Archive"}, UIDs: [2]uint32{1, 2}, Left: [2]int{1, 1}}
	with := func(change func(*moved)) moved {
		m := apartNow
		change(&m)
		return m
	}
	both := []Message{lies(work, 1, 0), lies(archive, 2, 0, `\Seen`)}
	united := []string{`flag ` + work + ` 1 \Seen`, "aside Archive 2"}
	for why, c := range map[string]struct {
		was                 moved
		messages, there     []Message
		goneHere, goneThere int
		want                []string
	}{
		"as they lay":                          {apartNow, both, both, 0, 0, united},
		"stored anew, and removed by users":    {apartNow, []Message{both[0], lies(archive, 7, 0)}, []Message{both[0], lies(archive, 7, 0)}, 1, 1, []string{"aside Archive 7"}},
		"also here":                            {apartNow, []Message{lies(work, 9, 0), both[1]}, []Message{lies(work, 9, 0), both[1]}, 1, 1, []string{`flag ` + work + ` 9 \Seen`, "aside Archive 2"}},
		"copied back here after a move here":   {apartNow, []Message{both[0], lies(archive, 7, 0)}, []Message{both[0], lies(archive, 7, 0)}, 1, 0, nil},
		"copied back there after a move there": {apartNow, []Message{lies(work, 9, 0), both[1]}, []Message{lies(work, 9, 0), both[1]}, 0, 1, nil},
		"not there yet":                        {apartNow, both, both[:1], 1, 1, nil},
		"not here yet":                         {apartNow, both[:1], both, 1, 1, nil},
		"twice in a folder":                    {apartNow, append(slices.Clone(both), lies(archive, 3, 0)), both, 1, 1, nil},
		"one more copy, made meanwhile":        {apartNow, append(slices.Clone(both), lies(later, 3, 0)), both, 1, 1, united},
		"with a copy that both have":           {with(func(m *moved) { m.Both = []string{"Later"} }), append(slices.Clone(both), lies(later, 3, 0)), both, 1, 1, united},
		"which is gone":                        {with(func(m *moved) { m.Both = []string{"Later"} }), both, both, 1, 1, nil},
		"both to one folder":                   {with(func(m *moved) { m.There = m.Here }), both[:1], both[:1], 1, 1, nil},
		"moved on here meanwhile":              {apartNow, []Message{lies(later, 5, 0), both[1]}, []Message{lies(later, 5, 0), both[1]}, 2, 1, []string{`flag ` + later + ` 5 \Seen`, "aside Archive 2"}},
		"which is not there yet":               {apartNow, []Message{lies(later, 5, 0), both[1]}, both[1:], 2, 1, nil},
		"moved on there meanwhile":             {apartNow, []Message{both[0], lies(later, 5, 0)}, []Message{both[0], lies(later, 5, 0)}, 1, 2, []string{"aside " + later + " 5"}},
		"moved there, and half of it is here":  {with(func(m *moved) { m.Left = [2]int{0, 1} }), both, both[1:], 0, 1, nil},
		"moved here only then":                 {with(func(m *moved) { m.Here, m.Left = []string{"INBOX"}, [2]int{0, 1} }), both, both, 1, 1, united},
		"moved there only then":                {with(func(m *moved) { m.There, m.Left = []string{"INBOX"}, [2]int{1, 0} }), both, both, 1, 1, united},
		"removed here, and copied there":       {with(func(m *moved) { m.Here, m.Left = []string{"INBOX"}, [2]int{0, 1} }), both, both, 2, 1, nil},
		"gone here, though nobody removed it":  {with(func(m *moved) { m.Here = []string{"INBOX"} }), both, both, 1, 1, nil},
		"both moved it on to one folder":       {apartNow, []Message{lies(later, 5, 0)}, []Message{lies(later, 5, 0)}, 2, 2, nil},
		"both moved it on to folders":          {apartNow, []Message{lies(later, 5, 0), lies(inbox, 6, 0)}, []Message{lies(later, 5, 0), lies(inbox, 6, 0)}, 2, 2, nil},
		"a folder that is no more":             {with(func(m *moved) { m.There = []string{"Gone"} }), both, both, 1, 1, nil},
	} {
		were, set := map[string]moved{"g": c.was, "h": apartNow}, map[string]bool{}
		left := map[string][]int64{"g": make([]int64, c.goneHere)} // as the record has it, or as it is still there
		a, o := &View{Real: c.messages, Left: left}, &View{Real: c.there, Deleted: deletedAt(make([]int64, c.goneThere)...)}
		steps, rest := surplus(a, o, were, names, names, set)
		if got := words(steps); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", why, got)
		}
		if len(were) != 2 || len(rest) != 2-min(1, len(c.want)) || set["Q1.mx"] != (len(c.want) > 0) {
			t.Errorf("%s: %v of %v is left, and set aside are %v", why, rest, were, set)
		}
	}
}

// TestByMove: what was put where it is when another instance was removed, was moved there. What was copied at another time is a copy.
func TestByMove(t *testing.T) {
	first, second := lies(archive, 3, 100), lies(work, 2, 200)
	for why, c := range map[string]struct {
		removed []int64
		want    string
	}{
		"copied, then moved":      {[]int64{201}, work},
		"moved, then copied":      {[]int64{99}, archive},
		"nobody knows":            {nil, archive},
		"moved again and again":   {[]int64{50, 150, 202}, work},
		"just as far from either": {[]int64{150}, archive},
	} {
		was := lay([]Message{second, first}, []Message{lies(inbox, 1, 0)}, nil, c.removed, nil)
		if was.Here[0] != c.want || len(was.Here) != 2 || was.UIDs != [2]uint32{map[string]uint32{archive: 3, work: 2}[c.want], 1} || was.Left != [2]int{len(c.removed), 0} {
			t.Errorf("%s: %+v", why, was)
		}
	}
}

// TestAnew: what doveadm sync stored anew while its user moved it goes; a copy that its user made does not.
func TestAnew(t *testing.T) {
	taken := func(folder string) []Message { return []Message{real(folder, 7, "h", "Q2.mx")} }
	first, copied := lies(inbox, 7, 0), lies(work, 1, 0)
	apart := []Message{copied, lies(inbox, 9, 0, `\Seen`)}
	twice := []Message{lies(inbox, 9, 0), lies(inbox, 8, 0, `\Seen`)}
	goes := []string{`flag ` + work + ` 1 \Seen`, "aside INBOX 9"}
	goesTwice := []string{`flag INBOX 9 \Seen`, "aside INBOX 8"}
	own := strings.Repeat("e", 32)
	with := func(folder []Message, more ...Message) []Message { return slices.Concat(folder, more) }
	for why, c := range map[string]struct {
		hereBefore, thereBefore []Message
		now                     []Message
		goneBefore, gone        int
		want                    []string
	}{
		"of this side, moved":             {with(taken(inbox), first), taken(inbox), apart, 0, 1, goes},
		"of the other side":               {taken(inbox), with(taken(inbox), first), apart, 2, 3, goes},
		"not moved":                       {with(taken(inbox), first), taken(inbox), apart, 1, 1, nil},
		"moved twice":                     {with(taken(inbox), first), taken(inbox), apart, 0, 2, goes},
		"both had it":                     {with(taken(inbox), first), with(taken(inbox), first), apart, 0, 1, nil},
		"a copy was there before":         {with(taken(inbox), first, copied), taken(inbox), apart, 0, 1, nil},
		"nothing else in that folder":     {with(nil, first), taken(archive), apart, 0, 1, nil},
		"it has the UID that it had":      {with(taken(inbox), apart[1]), taken(inbox), apart, 0, 1, nil},
		"it was in a third folder":        {with(taken(inbox), lies(archive, 1, 0)), taken(inbox), apart, 0, 1, nil},
		"once":                            {with(taken(inbox), first), taken(inbox), apart[1:], 0, 1, nil},
		"three times":                     {with(taken(inbox), first), taken(inbox), with(apart, lies(later, 1, 0)), 0, 1, nil},
		"came only then, and was copied":  {taken(inbox), taken(inbox), apart, 0, 1, nil},
		"both in one folder":              {with(taken(inbox), first), taken(inbox), twice, 0, 0, goesTwice},
		"came only then":                  {taken(inbox), taken(inbox), twice, 0, 0, goesTwice},
		"and came from another":           {with(taken(inbox), lies(archive, 1, 0)), taken(inbox), twice, 0, 0, nil},
		"both were in that folder":        {with(taken(inbox), twice...), taken(inbox), twice, 0, 0, nil},
		"on either side":                  {with(taken(inbox), twice[0]), with(taken(inbox), twice[0]), twice, 0, 0, nil},
		"a folder that only one side had": {nil, taken(inbox), twice, 0, 0, nil},
	} {
		before := newListed(&View{Real: c.hereBefore, Deleted: deletedAt(make([]int64, c.goneBefore)...)}, &View{Real: c.thereBefore}, names, names)
		now := &View{Real: c.now, Deleted: deletedAt(make([]int64, c.gone)...)}
		lay := map[string]moved{"g": {}}
		set := map[string]bool{}
		if steps := before.anew(before.several(now), now, &View{}, names, lay, nil, set); len(steps)+len(set) > 0 {
			t.Errorf("%s, and surplus takes it away: %q, set aside are %v", why, words(steps), set)
		}
		for _, were := range []map[string]moved{nil, lay} {
			clear(set)
			steps := before.anew(before.several(now), now, &View{}, names, were, were, set)
			if got := words(steps); !slices.Equal(got, c.want) || set["Q1.mx"] != (len(c.want) > 0) || len(c.want) > 0 && len(were) > 0 {
				t.Errorf("%s: %q, set aside are %v, apart were %v", why, got, set, were)
			}
			if were == nil {
				// Each side had an inbox of its own until then.
				before.names = byValue(names, map[string]string{"INBOX": own})
				before.active.Real = moveAll(before.active.Real, inbox, own)
			}
		}
	}
	// Its user made a copy, which a list has shown, and does with that what they like.
	before := newListed(&View{Real: with(taken(inbox), first)}, &View{Real: taken(inbox)}, names, names)
	moved := &View{Real: with(apart[1:], lies(archive, 1, 0)), Deleted: deletedAt(1, 2)}
	if steps := before.anew(before.several(moved), moved, &View{}, names, nil, nil, map[string]bool{}); len(steps) == 0 {
		t.Error("moved twice between two lists: nothing goes")
	}
	noteCopied := func(now *View) { before.noteCopied(before.several(now), now, &View{}) }
	noteCopied(&View{Real: twice})
	if len(before.copied) > 0 {
		t.Error("what is stored anew is taken for a copy")
	}
	for _, now := range [][]Message{apart, with(apart, lies(later, 1, 0))} {
		clear(before.copied)
		noteCopied(&View{Real: now, Deleted: deletedAt(1)})
		if len(before.copied) > 0 {
			t.Error("what was moved is taken for a copy")
		}
		noteCopied(&View{Real: now})
		if steps := before.anew(before.several(moved), moved, &View{}, names, nil, nil, map[string]bool{}); len(steps) > 0 {
			t.Errorf("copied, and the copy moved twice: %q", words(steps))
		}
	}
	early, now := listed{}, &View{Real: apart, Deleted: deletedAt(1)}
	if steps := early.anew(early.several(now), now, &View{}, names, nil, nil, nil); len(steps) > 0 {
		t.Errorf("before doveadm sync: %q", words(steps))
	}
}
