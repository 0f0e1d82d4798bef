package merge

import (
	"context"
	"maps"
	"slices"
)

// What a pass is going to do, and what users deleted, is known on both nodes before anything is done.

// remember notes what is going to be done, on both nodes' disks: a pass that is
// killed after it must not let that be taken for what the user did.
func (m *merger) remember(aside map[string]bool, twins map[string]twin, gone deletions, took []Message) error {
	if len(aside)+len(took) == 0 {
		return nil
	}
	now := m.now().Unix()
	for id := range aside {
		m.record.Aside[id] = now
		m.set[id] = true
		delete(m.record.Twins, id) // what else there is are copies, also for a pass after one that broke off
	}
	if len(twins) > 0 && m.record.Twins == nil {
		m.record.Twins = map[string]twin{}
	}
	maps.Copy(m.record.Twins, twins)
	maps.Copy(m.record.Gone, gone)
	for _, c := range took {
		if c.ID != "" {
			m.record.Took[c.ID] = adoption{c.GUID, now}
		}
	}
	if m.other != nil {
		if err := m.other.note(gone, slices.Sorted(maps.Keys(aside))); err != nil {
			return err
		}
	}
	return m.save()
}

// endTwins forgets those that are over, before the copies go that tell it.
func (m *merger) endTwins(copies []Message) error {
	before := len(m.record.Twins)
	maps.DeleteFunc(m.record.Twins, func(id string, t twin) bool { return t.over(id, copies) })
	if len(m.record.Twins) == before {
		return nil
	}
	return m.save()
}

// share tells the other side what was deleted of all that it has, or may still get
// out of a queue: when it is the active one, no copy there must become a message.
func (m *merger) share(o *View) error {
	if o == nil {
		return nil
	}
	has := ids(slices.Concat(o.Real, o.Copies))
	news := deletions{}
	for id, d := range m.record.Gone {
		if !m.told[id] && (has[id] || d.Noted >= m.record.Peers[m.task.Peer].At) {
			news[id] = d
			m.told[id] = true
		}
	}
	return m.other.note(news, nil)
}

// forget expunges the deleted messages, of which the ids are noted.
func (m *merger) forget(ctx context.Context, a, o *View) error {
	if len(a.Deleted) == 0 && (o == nil || len(o.Deleted) == 0) {
		return nil
	}
	if o == nil {
		m.record.Left = leave(m.record.Left, a)
	}
	if err := m.save(); err != nil {
		return err
	}
	if o != nil {
		if err := m.steps(ctx, "standby", m.other, bySteps(forget, o.Deleted)); err != nil {
			return err
		}
	}
	return m.steps(ctx, "active", m.active, bySteps(forget, a.Deleted))
}
