package merge

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// A delivery can have become a message on each side: the copy of it was adopted
// on one when the other was lost with the message in its inbox. The two have one
// delivery id and different GUIDs, and one of them has to go. Both began in the
// inbox; what lies elsewhere is where its user put it. On the active side nothing
// goes before its twin is there too: doveadm sync may fail.

// rivals sets aside messages of the other side whose deliveries are messages on
// both, or were deleted by their user on the active side.
func (p *plan) rivals(a, o *index, active, other *View, gone deletions, c circumstances) {
	inboxHere, inboxThere, removed, copies := active.Inbox, other.Inbox, guids(other.Deleted), guids(other.Copies)
	for _, id := range slices.Sorted(maps.Keys(o.byID)) {
		if o.shares(id, a.guids) { // as most do
			continue
		}
		ours, theirs := a.byID[id], byMove(o.byID[id], other.removals(o.byID[id][0].GUID))
		arrivedHere, arrivedThere := in(ours, inboxHere), in(theirs, inboxThere)
		switch {
		case len(ours) > 0 && !slices.ContainsFunc(ours, func(m Message) bool { return !removed[m.GUID] }):
			// Their user deleted ours there, one of two: doveadm sync takes it and brings theirs.
		case len(ours) == 0 && gone.has(id) && !c.set[id]:
			// They deleted what is in the inbox there, unless it came to that place since; or was delivered so
			// late: its user was at work on both sides. What they put elsewhere there is wanted, and what both
			// sides had elsewhere is for doveadm sync.
			p.setAside(&p.other, nil, filter(arrivedThere, func(m Message) bool { return m.Saved <= gone[id].At || !m.used() })...)
		case len(ours) == 0:
		case copiedHere(ours, theirs, inboxHere, inboxThere), len(arrivedHere) == len(ours) && len(arrivedThere) < len(theirs):
			// Theirs come by doveadm sync, and ours are twins then.
		case len(arrivedThere) > 0 && (len(arrivedHere) < len(ours) || len(arrivedThere) == len(theirs)):
			p.replace(ours, arrivedThere) // and what lies elsewhere there are copies that their user made
		case active.copied(ours), other.copied(theirs): // which their user wanted, whatever they did on the other side
		case !slices.ContainsFunc(theirs, func(m Message) bool { return copies[m.GUID] }): // else doveadm sync has not brought the others yet
			same := filter(theirs, func(m Message) bool { return len(in(ours, m.Folder)) > 0 })
			p.replace(ours, append(same, theirs...)[:1])
		}
	}
}

// replace lets messages of the active side stand for some of the other.
func (p *plan) replace(ours, theirs []Message) {
	for _, m := range theirs {
		p.active.add(unite(ours, m.Flags)...)
	}
	p.doubles += len(theirs)
	p.setAside(&p.other, nil, theirs...)
}

// in are those of the messages that lie in a folder.
func in(messages []Message, folder string) []Message {
	return filter(messages, func(m Message) bool { return m.Folder == folder })
}

// used says whether a user has done more with a message than to look at it, as far as flags
// tell. Some mail programs mark by themselves what is no junk.
func (m Message) used() bool {
	return slices.ContainsFunc(strings.Fields(m.Flags), func(f string) bool {
		return f != `\Seen` && !strings.Contains(strings.ToLower(f), "junk")
	})
}

// twin is a message of the active side that was another one on the other side, or is to be set aside for others.
type twin struct {
	GUID   string   `json:"g"`
	There  []string `json:"in"`               // the folders of the others, one for each instance
	Names  []string `json:"names"`            // of those: doveadm sync gives one that both sides made by themselves one GUID
	Copies int      `json:"copies,omitempty"` // how many of the delivery the active side has once one was set aside; 0 until that is begun
}

// over says whether one was set aside: its user may have moved it just before that.
func (t twin) over(id string, copies []Message) bool {
	return t.Copies > 0 && count(copies, id) >= t.Copies
}

// count is how many messages have a delivery id.
func count(messages []Message, id string) (n int) {
	for _, m := range messages {
		if m.ID == id {
			n++
		}
	}
	return n
}

// brought says whether these are the other side's instances, in the folders where it had them. What lies in
// another one was put there by its user since, and stays. folders are by name.
func (t twin) brought(messages []Message, folders map[string]string) bool {
	names := byValue(folders)
	return len(messages) > 0 && len(messages) == len(t.There) && !slices.ContainsFunc(messages, func(m Message) bool {
		return !slices.Contains(t.There, m.Folder) && !slices.Contains(t.Names, names[m.Folder])
	})
}

// copied says whether users removed instances of what these messages are, but none when one of them was put where it is: so
// none was moved there.
func (v *View) copied(messages []Message) (known bool) {
	for _, m := range messages {
		removed := v.removals(m.GUID)
		if moves(m, removed) {
			return false
		}
		known = known || len(removed) > 0
	}
	return known
}

// copiedHere says whether ours is a message in the inbox, of which its user may have made copies, and theirs
// another one that they moved from there.
func copiedHere(ours, theirs []Message, inboxHere, inboxThere string) bool {
	return len(guids(ours)) == 1 && len(in(ours, inboxHere)) == 1 && len(in(theirs, inboxThere)) == 0
}

// twins sets aside what is in the active side's inbox and also, as another
// message, where its user put it: a mail that was in a conversation with a node
// when that was lost is delivered again, or both sides had one. A copy that the
// user made has the GUID of the message. If its user moves this side's message too
// while doveadm sync brings the other's, that is what they want now, and stands for the first of
// the others; if they have only copied it, it is the one in the inbox that goes: c.twins are those that were
// in the inbox, or to be set aside. Once one of the two was, what else there is are copies.
func (p *plan) twins(a, o *index, active *View, c circumstances) {
	inbox := active.Inbox
	for _, id := range slices.Sorted(maps.Keys(a.byID)) {
		if len(a.byID[id]) < 2 {
			continue
		}
		arranged := guids(filter(a.byID[id], func(m Message) bool { return m.Folder != inbox && !m.marked() })) // a program may have moved a marked one by a copy
		if len(arranged) == 0 {
			continue
		}
		stay := filter(a.byID[id], func(m Message) bool { return arranged[m.GUID] })
		late := filter(in(a.byID[id], inbox), func(m Message) bool { return !arranged[m.GUID] })
		if ours := c.twins[id]; arranged[ours.GUID] && !ours.over(id, active.Copies) {
			mine := filter(a.byID[id], func(m Message) bool { return m.GUID == ours.GUID })
			theirs := filter(a.byID[id], func(m Message) bool { return m.GUID != ours.GUID })
			if !ours.brought(theirs, c.folders) {
				continue
			}
			also := filter(mine, func(m Message) bool { return m.Folder != inbox && len(in(theirs, m.Folder)) > 0 }) // one of the two goes too
			if stay, late = slices.Concat(theirs, also), in(mine, inbox); len(late) == 0 {
				stay, late = mine, []Message{slices.MinFunc(theirs, byArrival)}
			}
		}
		if len(late) == 0 {
			continue
		}
		p.setAside(&p.active, stay, late...)
		others := filter(stay, func(m Message) bool { return m.GUID != late[0].GUID })
		p.twin[id] = twin{late[0].GUID, foldersOf(others), namesOf(c.folders, foldersOf(others)), count(active.Copies, id) + len(late)}
		kept := guids(stay)
		also := filter(o.byID[id], func(m Message) bool { return kept[m.GUID] }) // doveadm sync may not have brought all of theirs yet
		for _, m := range late {
			p.other.add(unite(also, m.Flags)...)
		}
	}
}

// met are messages in the active side's inbox, by delivery id, that are another
// message on the other side; also those with a copy elsewhere, if the other was moved.
func met(active, other *View) map[string]twin {
	a, o := newIndex(active.Real), newIndex(other.Real)
	all := map[string]twin{}
	for id, ours := range a.byID {
		theirs := o.byID[id]
		if len(theirs) == 0 || o.shares(id, a.guids) || len(guids(ours)) > 1 {
			continue
		}
		if len(in(ours, active.Inbox)) == len(ours) || copiedHere(ours, theirs, active.Inbox, other.Inbox) {
			all[id] = twin{GUID: ours[0].GUID, There: foldersOf(theirs)}
		}
	}
	return all
}

// deletions sets aside what was adopted here, if its user deleted it on the other
// side, where it was a message of its own, and did nothing with it here. at is
// when they did, by delivery id.
func (p *plan) deletions(active, other *View, took map[string]adoption, at map[string]int64, now time.Time) {
	if len(at) == 0 {
		return
	}
	a, there := newIndex(active.Real), ids(other.Real)
	kept := map[string]bool{} // one of two that another merge set aside
	for _, m := range other.Copies {
		kept[m.ID] = kept[m.ID] || m.Saved >= at[m.ID]
	}
	for id := range at {
		ours := a.byID[id]
		if len(ours) == 1 && !there[id] && !kept[id] && ours[0].Folder == active.Inbox && took[id].is(ours[0]) && !ours[0].used() && !p.active.set[ours[0].place()] {
			p.setAside(&p.active, nil, ours[0])
			p.gone[id] = deletion{at[id], now.Unix()}
		}
	}
	p.gather()
}

// contested says whether any of this is at issue, so that the inboxes must be known.
func contested(active, other *View, gone deletions, took map[string]adoption) bool {
	a := newIndex(active.Real)
	for id, messages := range a.byID {
		if _, adopted := took[id]; adopted && other != nil || slices.ContainsFunc(messages, func(m Message) bool { return m.GUID != messages[0].GUID }) {
			return true
		}
	}
	return other != nil && slices.ContainsFunc(other.Real, func(m Message) bool {
		return m.ID != "" && !a.guids[m.GUID] && (len(a.byID[m.ID]) > 0 || gone.has(m.ID))
	})
}

// plan is what to do about what both sides have.
func (m *merger) plan(ctx context.Context, a, o *View) (*plan, error) {
	gone, took := m.record.Gone, m.record.Took
	var at map[string]int64
	var folders map[string]string
	if contested(a, o, gone, took) {
		here, there, err := m.folders(ctx)
		if err != nil {
			return nil, err
		}
		folders, a.Inbox = here, here["INBOX"]
		if o != nil {
			o.Inbox = there["INBOX"]
			if at, err = m.deletedThere(a, o); err != nil {
				return nil, err
			}
		}
	}
	p := prepare(a, o, gone, circumstances{m.late, m.both, m.record.Stuck, m.task.Hold, m.record.Twins, folders, m.set})
	if o != nil {
		p.deletions(a, o, took, at, m.now())
	}
	return p, nil
}

// deletedThere is when the user deleted on the other side what was adopted on
// this one, by delivery id.
func (m *merger) deletedThere(a, o *View) (map[string]int64, error) {
	var asked []string
	for id := range ids(a.Real) {
		if _, adopted := m.record.Took[id]; adopted {
			asked = append(asked, id)
		}
	}
	slices.Sort(asked)
	if len(asked) == 0 {
		return nil, nil
	}
	at, err := m.other.deleted(asked)
	if err != nil {
		return nil, err
	}
	for _, d := range o.Deleted {
		if _, adopted := m.record.Took[d.ID]; adopted {
			at[d.ID] = max(at[d.ID], d.Saved)
		}
	}
	return at, nil
}
