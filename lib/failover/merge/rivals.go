package merge

import (
	"context"
	"maps"
	"slices"
)

// A delivery can have become a message on each side: the copy of it was adopted
// on one when the other was lost with the message in its inbox. The two have one
// delivery id and different GUIDs, and one of them has to go. Both began in the
// inbox; what lies elsewhere is where its user put it.

// rivals sets aside messages of deliveries that are messages on both sides, and
// of those that their user deleted on the active side.
func (p *plan) rivals(a, o *index, inboxHere, inboxThere string, gone map[string]int64) {
	for _, id := range slices.Sorted(maps.Keys(o.byID)) {
		ours, theirs := a.byID[id], o.byID[id]
		arrivedHere, arrivedThere := in(ours, inboxHere), in(theirs, inboxThere)
		switch {
		case o.shares(id, a.guids):
		case len(ours) == 0 && gone[id] != 0:
			// What was put elsewhere after that is wanted: its user was at work on both sides.
			p.asideThere(filter(slices.Clone(theirs), func(m Message) bool { return m.Folder == inboxThere || m.Saved <= gone[id] })...)
		case len(ours) == 0:
		case len(arrivedHere) == len(ours) && len(arrivedThere) < len(theirs):
			p.unite(&p.other, theirs, ours...)
			p.asideHere(ours...)
		case len(arrivedHere) < len(ours) && len(arrivedThere) > 0:
			p.unite(&p.active, ours, arrivedThere...) // and what lies elsewhere there are copies that its user made
			p.asideThere(arrivedThere...)
		default:
			p.unite(&p.active, ours, theirs...)
			p.asideThere(theirs...)
		}
	}
}

// in are those of the messages that lie in a folder.
func in(messages []Message, folder string) []Message {
	return filter(slices.Clone(messages), func(m Message) bool { return m.Folder == folder })
}

// twins sets aside what came to the active side's inbox a second time after its
// user had put the first elsewhere: a mail that was in a conversation with a node
// when that was lost is delivered again. With sdbox and mdbox it can be told from
// a copy that the user made, which has the GUID of the message; Maildir gives each
// file a GUID of its own, which looks different.
func (p *plan) twins(a *index, inbox string) {
	for _, id := range slices.Sorted(maps.Keys(a.byID)) {
		if t := a.twin(id, inbox); t != nil && !p.here[t.place()] {
			p.unite(&p.active, filter(slices.Clone(a.byID[id]), func(m Message) bool { return m.Folder != inbox }), *t)
			p.asideHere(*t)
		}
	}
}

// twin is the message in the inbox whose GUID none of the others has that share
// its delivery id, all of which lie elsewhere; or nil.
func (x *index) twin(id, inbox string) (late *Message) {
	messages := x.byID[id]
	for i, m := range messages {
		switch {
		case len(messages) < 2 || !isGUID(m.GUID):
			return nil
		case m.Folder == inbox && late != nil:
			return nil
		case m.Folder == inbox:
			late = &messages[i]
		}
	}
	if late == nil || slices.ContainsFunc(messages, func(m Message) bool { return m.Folder != inbox && m.GUID == late.GUID }) {
		return nil
	}
	return late
}

// deletions sets aside what its user had deleted on the other side before a copy
// of it was adopted here, and did nothing with since. before are the delivery ids
// of what merges set aside: there somebody may have deleted one of two.
func (p *plan) deletions(active, other *View, before map[string]int64) {
	a, there := newIndex(active.Real), ids(other.Real)
	for _, m := range other.Deleted {
		ours := a.byID[m.ID]
		touched := func(o Message) bool {
			return o.Folder != active.Inbox || o.Saved <= m.Saved || o.Flags != "" && o.Flags != `\Seen`
		}
		if len(ours) > 0 && !there[m.ID] && before[m.ID] == 0 && !p.aside[m.ID] && !slices.ContainsFunc(ours, touched) {
			p.asideHere(ours...)
			p.gone = append(p.gone, m.ID)
		}
	}
	p.active = gather(p.active)
}

// contested says whether any of this is at issue, so that the inboxes must be known.
func contested(active, other *View, gone map[string]int64) bool {
	a := newIndex(active.Real)
	for _, messages := range a.byID {
		if slices.ContainsFunc(messages, func(m Message) bool { return m.GUID != messages[0].GUID }) {
			return true
		}
	}
	if other == nil {
		return false
	}
	return slices.ContainsFunc(other.Deleted, func(m Message) bool { return len(a.byID[m.ID]) > 0 }) ||
		slices.ContainsFunc(other.Real, func(m Message) bool {
			return m.ID != "" && !a.guids[m.GUID] && (len(a.byID[m.ID]) > 0 || gone[m.ID] != 0)
		})
}

// plan is what to do about what both sides have.
func (m *merger) plan(ctx context.Context, a, o *View) (*plan, error) {
	if o == nil && m.task.Hold {
		a = &View{Real: a.Real}
	}
	if contested(a, o, m.record.Gone) {
		folders, err := m.active.folders(ctx)
		if err != nil {
			return nil, err
		}
		if a.Inbox = folders["INBOX"]; o != nil {
			if folders, err = m.other.folders(ctx); err != nil {
				return nil, err
			}
			o.Inbox = folders["INBOX"]
		}
	}
	p := prepare(a, o, m.record.Gone, m.late, m.both)
	if o != nil {
		p.deletions(a, o, m.record.Aside)
	}
	return p, nil
}
