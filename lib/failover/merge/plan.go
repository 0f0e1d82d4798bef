package merge

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// op is one kind of change to one side of a mailbox. None of them destroys
// the last instance of a delivery: what leaves a folder goes to the copies, and
// what leaves the copies is in a folder, or was deleted by its user.
type op string

const (
	aside  op = "aside"  // from a folder to the copies
	flag   op = "flag"   // add flags to messages of a folder
	adopt  op = "adopt"  // from the copies to the inbox
	purge  op = "purge"  // expunge from the copies
	forget op = "forget" // expunge from the deleted ones, whose ids are noted
	drop   op = "drop"   // expunge from a folder what is in another one too
	name   op = "name"   // give a folder the GUID that it has on the active side
)

// step is a change to some messages of one folder.
type step struct {
	Op     op       `json:"op"`
	Folder string   `json:"folder,omitempty"` // GUID; of aside, flag and name
	UIDs   []uint32 `json:"uids,omitempty"`   // not of name
	Flags  string   `json:"flags,omitempty"`  // of flag
	Name   string   `json:"name,omitempty"`   // of name
}

// grace is how long a copy may wait for its twin on the active node before it
// is taken for all there is of the delivery. Postfix tries both at the same time.
const grace = 15 * time.Minute

// plan is what has to be done on both sides before doveadm sync.
type plan struct {
	active, other []step
	doubles       int // deliveries that were in a folder twice, or in folders of both sides as two messages
	adopted       int // copies that become messages

	aside       map[string]bool // delivery ids of what is set aside
	gone        []string        // and those of it that the user deleted on the other side
	here, there map[place]bool  // where that lies on the active and the other side
}

func (p *plan) empty() bool { return len(p.active)+len(p.other) == 0 }

// prepare makes the sides such that doveadm sync joins them without a double.
// gone are the delivery ids that the user deleted on the active side. other is
// nil where the active side is all there is.
//
// doveadm sync carries the removal of a message over to the other side, which
// knows it by its GUID. So only those messages are set aside whose GUID the other
// side does not have; see rivals.go.
//
// Where both sides were used since they were last equal, the messages that lie
// in other folders on the other side have their flags united too: doveadm sync
// unites them only within a folder. late says whether a copy of the other side
// has waited long enough for its twin.
func prepare(active, other *View, gone map[string]int64, late func(Message) bool, both bool) *plan {
	p := &plan{aside: map[string]bool{}, here: map[place]bool{}, there: map[place]bool{}}
	if other == nil {
		other = &View{}
	}
	a, o := newIndex(active.Real), newIndex(other.Real)
	p.rivals(a, o, active.Inbox, other.Inbox, gone)
	p.twins(a, active.Inbox)
	p.splitHere(filter(a.doubles(o.guids), func(d double) bool { return !p.here[d.kept.place()] && !p.here[d.extra.place()] }))
	p.splitThere(filter(o.doubles(a.guids), func(d double) bool {
		return !p.there[d.kept.place()] && !p.there[d.extra.place()] && !a.guids[d.extra.GUID]
	}))
	if both {
		here, there := byGUID(active.Real), byGUID(other.Real)
		p.active = append(p.active, carry(there, here)...)
		p.other = append(p.other, carry(here, there)...)
	}
	// What is in a folder of either side comes to the other by doveadm sync.
	nowhere := func(m Message) bool { return len(a.byID[m.ID])+len(o.byID[m.ID]) == 0 && gone[m.ID] == 0 }
	p.active = append(p.active, p.adopt(active.Copies, nowhere)...)
	p.other = append(p.other, p.adopt(other.Copies, func(m Message) bool { return late(m) && nowhere(m) })...)
	p.active, p.other = gather(p.active), gather(p.other)
	return p
}

// adopt takes the copies that are wanted, of each delivery one.
func (p *plan) adopt(copies []Message, wanted func(Message) bool) []step {
	taken := map[string]bool{}
	var list []Message
	for _, m := range copies {
		if wanted(m) && (m.ID == "" || !taken[m.ID]) {
			taken[m.ID] = true
			list = append(list, m)
		}
	}
	p.adopted += len(list)
	return bySteps(adopt, list)
}

func filter[T any](all []T, wanted func(T) bool) []T {
	return slices.DeleteFunc(all, func(t T) bool { return !wanted(t) })
}

// onlyMissed leaves of the copies to adopt those that an earlier list asked for
// too: each list may have missed another message that its user moved just then.
func onlyMissed(steps, earlier []step) []step {
	missed := map[uint32]bool{}
	for _, s := range earlier {
		for _, uid := range s.UIDs {
			missed[uid] = missed[uid] || s.Op == adopt
		}
	}
	for i := range steps {
		if steps[i].Op == adopt {
			steps[i].UIDs = slices.DeleteFunc(steps[i].UIDs, func(uid uint32) bool { return !missed[uid] })
		}
	}
	return slices.DeleteFunc(steps, func(s step) bool { return len(s.UIDs) == 0 })
}

// splitHere and splitThere are for deliveries that are in one folder twice.
func (p *plan) splitHere(doubles []double) {
	for _, d := range doubles {
		p.unite(&p.active, []Message{d.kept}, d.extra)
		p.asideHere(d.extra)
	}
}

func (p *plan) splitThere(doubles []double) {
	for _, d := range doubles {
		p.unite(&p.other, []Message{d.kept}, d.extra)
		p.asideThere(d.extra)
	}
}

// unite gives what stays the flags of messages that go.
func (p *plan) unite(steps *[]step, stay []Message, leave ...Message) {
	for _, m := range leave {
		*steps = append(*steps, unite(stay, m.Flags)...)
		p.doubles++
	}
}

// asideHere and asideThere set messages of the active and of the other side aside.
func (p *plan) asideHere(messages ...Message) {
	p.active = p.setAside(p.active, p.here, messages)
}

func (p *plan) asideThere(messages ...Message) {
	p.other = p.setAside(p.other, p.there, messages)
}

func (p *plan) setAside(steps []step, set map[place]bool, messages []Message) []step {
	for _, m := range messages {
		set[m.place()], p.aside[m.ID] = true, true
	}
	return append(steps, bySteps(aside, messages)...)
}

// cleanup is what can go from the copies of a side whose folders are equal to
// the active side's.
func cleanup(v *View, gone map[string]int64) []step {
	there := ids(v.Real)
	var done []Message
	for _, m := range v.Copies {
		if m.ID != "" && (there[m.ID] || gone[m.ID] != 0) {
			done = append(done, m)
		}
	}
	return bySteps(purge, done)
}

// note adds what was deleted to gone, and drops what is back: a message that
// was moved and not deleted, or that the user has again. Nor is a message
// deleted that came twice, if the user deleted one of the two and the other was
// set aside only then: ours are the ids of what was. Other copies may come late.
func note(gone, ours map[string]int64, v *View, now time.Time) {
	aside := map[string]int64{}
	for _, m := range v.Copies {
		if ours[m.ID] != 0 {
			aside[m.ID] = max(aside[m.ID], m.Saved)
		}
	}
	for _, m := range v.Deleted {
		if m.ID != "" && gone[m.ID] == 0 && aside[m.ID] <= m.Saved {
			gone[m.ID] = now.Unix()
		}
	}
	for _, m := range v.Real {
		delete(gone, m.ID)
	}
}

// inherit is note for what was deleted on the other side, when that was the
// active one or took itself for it. What is in a folder of either side was not deleted by now.
func inherit(gone map[string]int64, active, other *View, now time.Time) {
	there, here := ids(other.Real), ids(active.Real)
	for _, m := range other.Deleted {
		if m.ID != "" && gone[m.ID] == 0 && !there[m.ID] && !here[m.ID] {
			gone[m.ID] = now.Unix()
		}
	}
}

// place is where a message lies.
type place struct {
	folder string
	uid    uint32
}

func (m Message) place() place { return place{m.Folder, m.UID} }

// index finds the messages of one side.
type index struct {
	byID  map[string][]Message
	guids map[string]bool
}

func newIndex(messages []Message) *index {
	x := &index{map[string][]Message{}, guids(messages)}
	for _, m := range messages {
		if m.ID != "" {
			x.byID[m.ID] = append(x.byID[m.ID], m)
		}
	}
	return x
}

// shares says whether one of the messages with this delivery id is on the other side too.
func (x *index) shares(id string, others map[string]bool) bool {
	return slices.ContainsFunc(x.byID[id], func(m Message) bool { return others[m.GUID] })
}

// double is a delivery that is in one folder a second time.
type double struct{ kept, extra Message }

// doubles finds them. Kept is what the user has not marked for removal, then
// what the other side has too, then the lowest UID, which a mail program saw first.
func (x *index) doubles(others map[string]bool) []double {
	var found []double
	for _, messages := range x.byID {
		if len(messages) < 2 {
			continue
		}
		sorted := slices.SortedFunc(slices.Values(messages), func(a, b Message) int {
			return cmp.Or(strings.Compare(a.Folder, b.Folder), compareBool(a.marked(), b.marked()), compareBool(others[b.GUID], others[a.GUID]), cmp.Compare(a.UID, b.UID))
		})
		kept := sorted[0]
		for _, m := range sorted[1:] {
			if m.Folder != kept.Folder {
				kept = m
				continue
			}
			found = append(found, double{kept, m})
		}
	}
	slices.SortFunc(found, func(a, b double) int {
		return cmp.Or(strings.Compare(a.extra.Folder, b.extra.Folder), cmp.Compare(a.extra.UID, b.extra.UID))
	})
	return found
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// unite gives messages the flags that they lack, but never the mark for
// removal: of two messages that one may go says nothing about the other.
func unite(messages []Message, flags string) []step {
	var steps []step
	for _, m := range messages {
		have := strings.Fields(m.Flags)
		lack := strings.Fields(canonical(flags))
		lack = slices.DeleteFunc(lack, func(f string) bool { return f == deleted || !isFlag(f) || slices.Contains(have, f) })
		if len(lack) > 0 {
			steps = append(steps, step{Op: flag, Folder: m.Folder, UIDs: []uint32{m.UID}, Flags: strings.Join(lack, " ")})
		}
	}
	return steps
}

// bySteps makes the steps that do the same to all these messages.
func bySteps(o op, messages []Message) []step {
	var steps []step
	for _, m := range messages {
		folder := ""
		if o == aside {
			folder = m.Folder
		}
		steps = append(steps, step{Op: o, Folder: folder, UIDs: []uint32{m.UID}})
	}
	return gather(steps)
}

// mostUIDs is how many messages a step may be about. They are one argument of
// doveadm, and one line between nodes.
const mostUIDs = 2000

// gather makes few steps of many. What adds flags comes first: after it, the
// message that they are from may go.
func gather(steps []step) []step {
	type kind struct {
		op            op
		folder, flags string
	}
	var kinds []kind
	uids := map[kind][]uint32{}
	for _, s := range steps {
		k := kind{s.Op, s.Folder, s.Flags}
		if uids[k] == nil {
			kinds = append(kinds, k)
		}
		uids[k] = append(uids[k], s.UIDs...)
	}
	slices.SortStableFunc(kinds, func(a, b kind) int { return compareBool(b.op == flag, a.op == flag) })
	var few []step
	for _, k := range kinds {
		slices.Sort(uids[k])
		for some := range slices.Chunk(slices.Compact(uids[k]), mostUIDs) {
			few = append(few, step{Op: k.op, Folder: k.folder, UIDs: some, Flags: k.flags})
		}
	}
	return few
}
