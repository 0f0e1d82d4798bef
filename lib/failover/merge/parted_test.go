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
	copied := lies(work, 3, 10)
	here, there := []Message{copied, lies(archive, 1, 100)}, []Message{copied, lies(later, 7, 200)}
	for why, c := range map[string]struct {
		here, there         []Message
		goneHere, goneThere []Message
		leftHere, leftThere []int64
		want                bool
	}{
		"moved on both sides":                 {here, there, deletedAt(101), deletedAt(200), nil, nil, true},
		"as the records have it":              {here, there, nil, nil, []int64{100}, []int64{209}, true},
		"removed here long after the copy":    {here, there, deletedAt(111), deletedAt(200), nil, nil, false},
		"or there long before it":             {here, there, deletedAt(101), deletedAt(189), nil, nil, false},
		"nothing was removed here":            {here, there, nil, deletedAt(200), nil, nil, false},
		"nor there":                           {here, there, deletedAt(101), nil, nil, nil, false},
		"and moved before that":               {here, there, deletedAt(101, 102), deletedAt(200), nil, nil, true},
		"also there":                          {here, there, deletedAt(101), deletedAt(200), nil, []int64{200}, true},
		"no copy: that is known otherwise":    {here[1:], there[1:], deletedAt(101), deletedAt(200), nil, nil, false},
		"the copy is another one":             {here, []Message{lies(work, 4, 10), there[1]}, deletedAt(101), deletedAt(200), nil, nil, false},
		"one more copy here":                  {append(slices.Clone(here), lies(inbox, 9, 100)), there, deletedAt(101), deletedAt(200), nil, nil, false},
		"and there":                           {append(slices.Clone(here), lies(inbox, 9, 100)), append(slices.Clone(there), lies(strings.Repeat("e", 32), 9, 200)), deletedAt(101), deletedAt(200), nil, nil, false},
		"one more copy in the same folder":    {append(slices.Clone(here), lies(work, 9, 100)), append(slices.Clone(there), lies(work, 9, 100)), deletedAt(101), deletedAt(200), nil, nil, false},
		"both moved it to one folder":         {here, []Message{copied, lies(archive, 7, 200)}, deletedAt(101), deletedAt(200), nil, nil, false},
		"only this side has it somewhere new": {here, there[:1], deletedAt(101), deletedAt(200), nil, nil, false},
	} {
		left := func(at []int64) map[string][]int64 { return map[string][]int64{"g": at} }
		got := partedNow(&View{Real: c.here, Deleted: c.goneHere, Left: left(c.leftHere)}, &View{Real: c.there, Deleted: c.goneThere, Left: left(c.leftThere)})
		want := map[string]moved{}
		if c.want {
			want["g"] = moved{Here: []string{archive}, There: []string{later}, Both: []string{work}, Since: 200, UIDs: [2]uint32{1, 7}, Left: [2]int{len(c.goneHere) + len(c.leftHere), len(c.goneThere) + len(c.leftThere)}}
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

// TestLeave: of what users removed while there was nobody to merge with, that is remembered which is still somewhere.
func TestLeave(t *testing.T) {
	v := &View{
		Real:    []Message{real(inbox, 1, "g", ""), real(archive, 1, "g", ""), real(inbox, 2, "h", "")},
		Deleted: []Message{{UID: 1, GUID: "g", Saved: 5}, {UID: 2, GUID: "h", Saved: 6}, {UID: 3, GUID: "i", Saved: 7}},
	}
	left := leave(leave(nil, v), v)
	if !maps.EqualFunc(left, map[string][]int64{"g": {5, 5}, "h": {6, 6}}, slices.Equal[[]int64]) {
		t.Errorf("%v", left)
	}
}
