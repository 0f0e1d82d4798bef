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
	drop   op = "drop"   // expunge from a folder what is there once more, or in another one
	name   op = "name"   // give a folder the GUID that it has on the active side
)

// step is a change to some messages of one folder.
type step struct {
	Op     op       `json:"op"`
	Folder string   `json:"folder,omitempty"` // GUID; of aside, flag, drop and name
	UIDs   []uint32 `json:"uids,omitempty"`   // not of name
	Flags  string   `json:"flags,omitempty"`  // of flag
	Name   string   `json:"name,omitempty"`   // of name
}

// grace is how long a copy may wait for its twin on the active node before it
// is taken for all there is of the delivery. Postfix tries both at the same time.
const grace = 15 * time.Minute

// plan is what has to be done on both sides before doveadm sync.
type plan struct {
	active, other half
	doubles       int             // deliveries that were in a folder twice, or in folders of both sides as two messages
	adopted       int             // copies that become messages
	aside         map[string]bool // delivery ids of what is set aside
	twin          map[string]twin // by delivery id, what of it is set aside for others
	gone          deletions       // and those of it that the user deleted on the other side
	took          []Message       // copies that become messages on the active side
}

// half is what has to be done on one side.
type half struct {
	steps []step
	set   map[place]bool // where what is set aside lies
}

// circumstances are what else a plan depends on.
type circumstances struct {
	late    func(Message) bool // whether a copy has waited long enough for its twin
	both    bool               // the other side too was used since both were equal
	stuck   bool               // the last pass over this mailbox failed
	hold    bool               // copies stay copies
	twins   map[string]twin    // as the record has them
	folders map[string]string  // of the active side, GUIDs by name; nil where nothing is contested
	set     map[string]bool    // delivery ids of what this pass set aside already
}

func newPlan() *plan {
	return &plan{active: half{set: map[place]bool{}}, other: half{set: map[place]bool{}}, aside: map[string]bool{}, twin: map[string]twin{}, gone: deletions{}}
}

func (p *plan) empty() bool { return len(p.active.steps)+len(p.other.steps) == 0 }

// prepare makes the sides such that doveadm sync joins them without a double.
// gone are the deliveries that the user deleted on the active side. other is
// nil where the active side is all there is.
//
// doveadm sync carries the removal of a message over to the other side, which
// knows it by its GUID. So only those messages are set aside whose GUID the other
// side does not have, or of which another instance is on the same side; see rivals.go.
//
// Where both sides were used since they were last equal, the messages that lie
// in other folders on the other side have their flags united too: doveadm sync
// unites them only within a folder.
func prepare(active, other *View, gone deletions, c circumstances) *plan {
	p := newPlan()
	if other == nil {
		other = &View{}
	}
	a, o := newIndex(active.Real), newIndex(other.Real)
	p.rivals(a, o, active, other, gone, c)
	p.twins(a, o, active, c)
	p.split(&p.active, a.doubles(o.guids))
	p.split(&p.other, filter(o.doubles(a.guids), func(d double) bool { return !a.guids[d.extra.GUID] }))
	p.flagged(a, slices.Concat(active.Copies, other.Copies), c.set)
	if c.both {
		here, there := carry(active, other)
		p.active.add(here...)
		p.other.add(there...)
	}
	p.adopt(&p.active, active.Copies, func(m Message) bool {
		// What is in a folder of the other side comes by doveadm sync, unless that fails.
		return !c.hold && len(a.byID[m.ID]) == 0 && !gone.has(m.ID) && (len(o.byID[m.ID]) == 0 || c.stuck || c.late(m))
	})
	p.adopt(&p.other, other.Copies, func(m Message) bool {
		// doveadm sync would carry over that an earlier merge set this aside.
		if ours := a.byID[m.ID]; len(ours) > 0 && !o.guids[m.GUID] && !slices.ContainsFunc(ours, func(x Message) bool { return x.GUID != m.GUID }) {
			return true
		}
		return !c.hold && c.late(m) && len(a.byID[m.ID])+len(o.byID[m.ID]) == 0 && !gone.has(m.ID)
	})
	p.gather()
	return p
}

// flagged gives a message the flags that its user put on another one of the delivery in the
// moment before that was set aside. Where there are copies of it, nobody knows which one they meant.
func (p *plan) flagged(a *index, copies []Message, set map[string]bool) {
	for _, c := range copies {
		if stay := a.byID[c.ID]; set[c.ID] && len(stay) == 1 {
			p.active.add(unite(stay, c.Flags)...)
		}
	}
}

func (h *half) add(steps ...step) { h.steps = append(h.steps, steps...) }

func (p *plan) gather() {
	p.active.steps, p.other.steps = gather(p.active.steps), gather(p.other.steps)
}

// adopt takes the copies that are wanted, of each delivery one.
func (p *plan) adopt(h *half, copies []Message, wanted func(Message) bool) {
	taken := map[string]bool{}
	var list []Message
	for _, m := range copies {
		if wanted(m) && (m.ID == "" || !taken[m.ID]) {
			taken[m.ID] = true
			list = append(list, m)
		}
	}
	p.adopted += len(list)
	if h == &p.active {
		p.took = list
	}
	h.add(bySteps(adopt, list)...)
}

func filter[T any](all []T, wanted func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !wanted(t) })
}

// onlyMissed leaves of the copies to adopt those that an earlier plan asked for
// too: each list may have missed another message that its user moved just then.
func (p *plan) onlyMissed(earlier *plan) {
	p.adopted = p.active.onlyMissed(earlier.active.steps) + p.other.onlyMissed(earlier.other.steps)
	p.took = filter(p.took, func(c Message) bool {
		return slices.ContainsFunc(p.active.steps, func(s step) bool { return s.Op == adopt && slices.Contains(s.UIDs, c.UID) })
	})
}

func (h *half) onlyMissed(earlier []step) (adopted int) {
	missed := map[uint32]bool{}
	for _, s := range earlier {
		for _, uid := range s.UIDs {
			missed[uid] = missed[uid] || s.Op == adopt
		}
	}
	for i := range h.steps {
		if s := &h.steps[i]; s.Op == adopt {
			s.UIDs = filter(s.UIDs, func(uid uint32) bool { return missed[uid] })
			adopted += len(s.UIDs)
		}
	}
	h.steps = filter(h.steps, func(s step) bool { return len(s.UIDs) > 0 })
	return adopted
}

// split is for deliveries that are in one folder twice.
func (p *plan) split(h *half, doubles []double) {
	for _, d := range doubles {
		if !h.set[d.kept.place()] && !h.set[d.extra.place()] {
			p.setAside(h, []Message{d.kept}, d.extra)
		}
	}
}

// setAside sets messages of a side aside, and gives those that stay there their flags.
func (p *plan) setAside(h *half, stay []Message, leave ...Message) {
	for _, m := range leave {
		h.add(unite(stay, m.Flags)...)
		h.set[m.place()], p.aside[m.ID] = true, true
		if stay != nil {
			p.doubles++
		}
	}
	h.add(bySteps(aside, leave)...)
}

// cleanup is what can go from the copies of a side whose folders are equal to
// the active side's.
func cleanup(v *View, gone deletions) []step {
	there := ids(v.Real)
	var done []Message
	for _, m := range v.Copies {
		if m.ID != "" && (there[m.ID] || gone.has(m.ID)) {
			done = append(done, m)
		}
	}
	return bySteps(purge, done)
}

// note adds what its user deleted on one side to gone, but for what is elsewhere:
// a message that was moved and not deleted. Nor is a message deleted that came
// twice, if the user deleted one of the two and the other was set aside only
// then: ours are the ids of what was. Other copies may come late.
func note(gone deletions, ours map[string]int64, v *View, elsewhere map[string]bool, now time.Time) {
	aside := map[string]int64{}
	for _, m := range v.Copies {
		if ours[m.ID] != 0 {
			aside[m.ID] = max(aside[m.ID], m.Saved)
		}
	}
	for _, m := range v.Deleted {
		if at, two := aside[m.ID]; m.ID != "" && !gone.has(m.ID) && !elsewhere[m.ID] && (!two || at < m.Saved) {
			gone[m.ID] = deletion{m.Saved, now.Unix()}
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
	byID    map[string][]Message // but for uploads
	uploads map[string][]Message // by delivery id
	guids   map[string]bool
}

func newIndex(messages []Message) *index {
	x := &index{map[string][]Message{}, map[string][]Message{}, guids(messages)}
	for _, m := range messages {
		switch {
		case m.ID == "":
		case m.Upload:
			x.uploads[m.ID] = append(x.uploads[m.ID], m)
		default:
			x.byID[m.ID] = append(x.byID[m.ID], m)
		}
	}
	return x
}

// shares says whether one of the messages with this delivery id is on the other side too, where it may be the last of them.
func (x *index) shares(id string, others map[string]bool) bool {
	there := func(m Message) bool { return others[m.GUID] }
	return slices.ContainsFunc(x.byID[id], there) || slices.ContainsFunc(x.uploads[id], there)
}

// double is a delivery that is in one folder a second time.
type double struct{ kept, extra Message }

// doubles finds them. Kept is what the user has not marked for removal, then
// what they copied to another folder too, then what the other side has, then the
// lowest UID, which a mail program saw first.
func (x *index) doubles(others map[string]bool) []double {
	var found []double
	for _, messages := range x.byID {
		if len(messages) < 2 {
			continue
		}
		copied := func(m Message) bool {
			return slices.ContainsFunc(messages, func(o Message) bool { return o.GUID == m.GUID && o.Folder != m.Folder })
		}
		sorted := slices.SortedFunc(slices.Values(messages), func(a, b Message) int {
			return cmp.Or(strings.Compare(a.Folder, b.Folder), compareBool(a.marked(), b.marked()), compareBool(copied(b), copied(a)),
				compareBool(others[b.GUID], others[a.GUID]), cmp.Compare(a.UID, b.UID))
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
		lack = slices.DeleteFunc(lack, func(f string) bool {
			return f == deleted || !isFlag(f) || slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, f) }) // as Dovecot compares them
		})
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
