package merge

import (
	"context"
	"slices"
)

// A mail that was in a conversation with a node when that was lost is delivered
// again to the one that took over, maybe after its user has moved the copy that
// was adopted there. With sdbox and mdbox a second delivery can be told from a
// copy that the user made: the copy has the GUID of the message, a delivery its
// own. Maildir gives each file a GUID of its own, which looks different.

// twins are messages with the delivery id, but not the GUID, of messages in other folders.
func twins(v *View) []twin {
	var all []twin
	for _, messages := range newIndex(v.Real).byID {
		for _, m := range messages {
			rest := slices.DeleteFunc(slices.Clone(messages), func(o Message) bool { return o.place() == m.place() })
			elsewhere := func(o Message) bool { return isGUID(o.GUID) && o.GUID != m.GUID && o.Folder != m.Folder }
			if len(rest) > 0 && isGUID(m.GUID) && !slices.ContainsFunc(rest, func(o Message) bool { return !elsewhere(o) }) {
				all = append(all, twin{m, rest})
			}
		}
	}
	return all
}

// twin is one of them.
type twin struct {
	late    Message
	arrived []Message // where its user put what came first
}

// setTwinsAside adds to a plan what to do about those which came to the inbox after
// their user had put the message elsewhere.
func (p *plan) setTwinsAside(all []twin, inbox string) {
	var late []Message
	for _, t := range all {
		if t.late.Folder == inbox {
			late = append(late, t.late)
			p.active = append(p.active, unite(t.arrived, t.late.Flags)...)
			p.doubles++
		}
	}
	p.active = gather(append(p.active, bySteps(aside, late)...))
}

// revived are messages that the user deleted on the active side and that came to
// their folder on the other one only after that.
func revived(active, other *View, gone map[string]int64) []Message {
	if other == nil {
		return nil
	}
	there := ids(active.Real)
	return slices.DeleteFunc(slices.Clone(other.Real), func(m Message) bool {
		return m.ID == "" || there[m.ID] || gone[m.ID] == 0 || m.Saved <= gone[m.ID]
	})
}

// setLateAside is for those that were delivered so late. In other folders they
// are because their user, at work on both sides, wanted them after all.
func (p *plan) setLateAside(all []Message, inbox string) {
	late := slices.DeleteFunc(all, func(m Message) bool { return m.Folder != inbox })
	p.other = gather(append(p.other, bySteps(aside, late)...))
}

// plan is what to do about what both sides have.
func (m *merger) plan(ctx context.Context, a, o *View) (*plan, error) {
	if o == nil && m.task.Hold {
		a = &View{Real: a.Real}
	}
	p := prepare(a, o, m.record.Gone, m.late, m.both)
	if all := twins(a); len(all) > 0 {
		folders, err := m.active.folders(ctx)
		if err != nil {
			return nil, err
		}
		p.setTwinsAside(all, folders["INBOX"])
	}
	if all := revived(a, o, m.record.Gone); len(all) > 0 {
		folders, err := m.other.folders(ctx)
		if err != nil {
			return nil, err
		}
		p.setLateAside(all, folders["INBOX"])
	}
	return p, nil
}
