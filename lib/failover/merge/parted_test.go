package merge

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Of what both sides moved, though they have a copy of it, only what is beyond doubt counts.
func TestPartedNow(t *testing.T) {
	work, later := strings.Repeat("c", 32), strings.Repeat("d", 32)
	at := func(folder string, uid uint32, saved int64) Message {
		m := real(folder, uid, "g", "Q1.mx")
		m.Saved = saved
		return m
	}
	copied := at(work, 3, 10)
	gone := func(times ...int64) (all []Message) {
		for _, saved := range times {
			all = append(all, Message{UID: 1, GUID: "g", Saved: saved})
		}
		return all
	}
	here, there := []Message{copied, at(archive, 1, 100)}, []Message{copied, at(later, 7, 200)}
	for why, c := range map[string]struct {
		here, there         []Message
		goneHere, goneThere []Message
		leftHere, leftThere []int64
		want                bool
	}{
		"moved on both sides":                 {here, there, gone(101), gone(200), nil, nil, true},
		"as the records have it":              {here, there, nil, nil, []int64{100}, []int64{209}, true},
		"removed here long after the copy":    {here, there, gone(111), gone(200), nil, nil, false},
		"or there long before it":             {here, there, gone(101), gone(189), nil, nil, false},
		"nothing was removed here":            {here, there, nil, gone(200), nil, nil, false},
		"nor there":                           {here, there, gone(101), nil, nil, nil, false},
		"two were removed here":               {here, there, gone(101, 102), gone(200), nil, nil, false},
		"two were removed there":              {here, there, gone(101), gone(200), nil, []int64{200}, false},
		"no copy: that is known otherwise":    {here[1:], there[1:], gone(101), gone(200), nil, nil, false},
		"the copy is another one":             {here, []Message{at(work, 4, 10), there[1]}, gone(101), gone(200), nil, nil, false},
		"one more copy here":                  {append(slices.Clone(here), at(inbox, 9, 100)), there, gone(101), gone(200), nil, nil, false},
		"and there":                           {append(slices.Clone(here), at(inbox, 9, 100)), append(slices.Clone(there), at(strings.Repeat("e", 32), 9, 200)), gone(101), gone(200), nil, nil, false},
		"one more copy in the same folder":    {append(slices.Clone(here), at(work, 9, 100)), append(slices.Clone(there), at(work, 9, 100)), gone(101), gone(200), nil, nil, false},
		"both moved it to one folder":         {here, []Message{copied, at(archive, 7, 200)}, gone(101), gone(200), nil, nil, false},
		"only this side has it somewhere new": {here, there[:1], gone(101), gone(200), nil, nil, false},
	} {
		a, o := &View{Real: c.here, Deleted: c.goneHere}, &View{Real: c.there, Deleted: c.goneThere}
		left := map[string][]int64{"g": c.leftHere}
		o.Left = map[string][]int64{"g": c.leftThere}
		got := partedNow(a, o, left)
		want := map[string]moved{}
		if c.want {
			want["g"] = moved{Here: []string{archive}, There: []string{later}, Both: []string{work}, Since: 200, uid: 7}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", why, got)
		}
	}
}

func TestSameLeft(t *testing.T) {
	g, h := numbered(7), numbered(8)
	for why, c := range map[string]struct {
		here, there []trace
		want        bool
	}{
		"as the other side knows":          {[]trace{{"/x", 5, g, false, false}}, []trace{{"/x", 5, g, false, true}}, true},
		"as this side knows":               {[]trace{{"/x", 5, g, false, true}}, []trace{{"/x", 5, g, false, false}}, true},
		"without a GUID here":              {[]trace{{"/x", 5, unnamed, false, true}}, []trace{{"/x", 5, g, false, false}}, true},
		"without one there":                {[]trace{{"/x", 5, g, false, false}}, []trace{{"/x", 5, unnamed, false, true}}, true},
		"without any":                      {[]trace{{"/x", 5, unnamed, false, true}}, []trace{{"/x", 5, unnamed, false, true}}, false},
		"another message":                  {[]trace{{"/x", 5, h, false, true}}, []trace{{"/x", 5, g, false, true}}, false},
		"not this one":                     {[]trace{{"/x", 5, h, false, true}}, []trace{{"/x", 5, h, false, true}}, false},
		"another folder":                   {[]trace{{"/x", 5, g, false, true}}, []trace{{"/y", 5, g, false, true}}, false},
		"another UID":                      {[]trace{{"/x", 5, g, false, true}}, []trace{{"/x", 6, g, false, true}}, false},
		"nobody knows since when":          {[]trace{{"/x", 5, g, false, false}}, []trace{{"/x", 5, g, false, false}}, false},
		"long ago, says this side":         {[]trace{{"/x", 5, g, true, false}}, []trace{{"/x", 5, g, false, true}}, false},
		"long ago, says the other":         {[]trace{{"/x", 5, g, false, true}}, []trace{{"/x", 5, g, true, false}}, false},
		"and now again, of another folder": {[]trace{{"/x", 5, g, true, false}, {"/y", 6, g, false, true}}, []trace{{"/x", 5, g, false, false}, {"/y", 6, g, false, false}}, true},
		"only here":                        {[]trace{{"/x", 5, g, false, true}}, nil, false},
		"only there":                       {nil, []trace{{"/x", 5, g, false, true}}, false},
	} {
		if got := sameLeft(g, c.here, setOf(c.there)); got != c.want {
			t.Errorf("%s: %v", why, got)
		}
	}
}

// TestLeave: of what users removed while there was nobody to merge with, that is remembered of which there are copies.
func TestLeave(t *testing.T) {
	v := &View{
		Real:    []Message{real(inbox, 1, "g", ""), real(archive, 1, "g", ""), real(inbox, 2, "h", "")},
		Deleted: []Message{{UID: 1, GUID: "g", Saved: 5}, {UID: 2, GUID: "h", Saved: 6}, {UID: 3, GUID: "i", Saved: 7}},
	}
	left := leave(leave(nil, v), v)
	if !maps.EqualFunc(left, map[string][]int64{"g": {5, 5}}, slices.Equal[[]int64]) {
		t.Errorf("%v", left)
	}
}

// TestSurplusBesides: of three, the copy that both sides had is not touched, and one of the others goes.
func TestSurplusBesides(t *testing.T) {
	work, later := strings.Repeat("c", 32), strings.Repeat("d", 32)
	names := map[string]string{"Work": work, "Archive": archive, "Later": later}
	were := map[string]moved{"g": {Here: []string{"Archive"}, There: []string{"Later"}, Both: []string{"Work"}}}
	all := []Message{real(work, 3, "g", "Q1.mx"), real(archive, 1, "g", "Q1.mx"), real(later, 7, "g", "Q1.mx", `\Seen`)}
	steps, _ := surplus(&View{Real: all}, &View{Real: all}, were, names, names)
	if got, want := words(steps), []string{`flag Archive 1 \Seen`, "aside " + later + " 7"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	more := append(slices.Clone(all), real(inbox, 1, "g", "Q1.mx"))
	if steps, _ := surplus(&View{Real: more}, &View{Real: all}, were, names, names); len(steps) > 0 {
		t.Errorf("and its user made one more: %q", words(steps))
	}
}
