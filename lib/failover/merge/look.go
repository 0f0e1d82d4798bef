package merge

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// look lists both sides and decides what to do. Before a copy is adopted, or a
// message taken for deleted, it looks twice: one that its user moved while the list
// was made was in neither folder.
func (m *merger) look(ctx context.Context) (a, o *View, p *plan, err error) {
	var missed *plan
	var dead deletions
	for look := range 2 {
		if a, o, err = m.views(ctx); err != nil {
			return nil, nil, nil, err
		}
		again := dead
		dead = m.deaths(a, o)
		sure := look > 0
		if sure {
			maps.DeleteFunc(dead, func(id string, _ deletion) bool { return !again.has(id) })
		} else if len(dead) > 0 && (o == nil || len(o.Deleted) == 0) {
			if sure, err = m.undisturbed(ctx, o); err != nil {
				return nil, nil, nil, err
			}
		}
		unsure := len(dead)
		if sure {
			maps.Copy(m.record.Gone, dead)
			unsure = 0
		}
		if p, err = m.plan(ctx, a, o); err != nil {
			return nil, nil, nil, err
		}
		if missed != nil {
			p.onlyMissed(missed)
		}
		if p.adopted+unsure == 0 {
			break
		}
		missed = p
	}
	return a, o, p, nil
}

// undisturbed says whether nothing can have moved while the last list was made.
func (m *merger) undisturbed(ctx context.Context, o *View) (bool, error) {
	if o != nil && m.divided() {
		return m.still, nil
	}
	after, err := m.active.stamp(ctx)
	return err == nil && after.Real == m.before.Real, err
}

// views lists both sides. Where users may be at work on both, a list that was made while they were is made anew,
// some times: what one of them moves just then is in both of its folders, or in neither.
func (m *merger) views(ctx context.Context) (a, o *View, err error) {
	const tries = 3
	m.still = false
	for n := range tries {
		if a, o, err = m.lists(ctx); err != nil {
			return nil, nil, err
		}
		if o == nil || !m.divided() {
			break
		}
		here, there, err := m.stamps(ctx)
		if err != nil {
			return nil, nil, err
		}
		if m.still = here.Real == m.before.Real && there.Real == m.beyond.Real; m.still || n+1 == tries {
			break
		}
		m.before, m.beyond = here, there
	}
	return a, o, nil
}

// lists lists both sides at once.
func (m *merger) lists(ctx context.Context) (a, o *View, err error) {
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if m.other != nil {
			o, failed = m.other.list(ctx)
		}
	}()
	m.names = folderNames{}
	m.step("list")
	a, err = m.active.list(ctx)
	<-done
	if err = errors.Join(err, failed); err != nil {
		return nil, nil, err
	}
	a.Left = maps.Clone(m.record.Left)
	m.record.unmark(a.Real)
	here := ids(a.Real)
	maps.DeleteFunc(m.record.Gone, func(id string, _ deletion) bool { return here[id] }) // it is back
	maps.Copy(m.seen, here)
	if o != nil {
		maps.Copy(m.seen, ids(o.Real))
		m.record.unmark(o.Real)
	}
	return a, o, nil
}

// deaths are the deliveries that users seem to have deleted, and of which that was
// not known: on the active side, on the other one when that was the active one or
// took itself for it, or nobody saw where.
func (m *merger) deaths(a, o *View) deletions {
	dead := deletions{}
	note(dead, m.record.Aside, a, ids(a.Real), m.now())
	if o != nil {
		there := *o
		set := map[string]int64{} // what it set aside by itself, nobody told
		for _, c := range o.Copies {
			set[c.ID] = 1
		}
		for _, c := range a.Copies { // and what was set aside here, of which doveadm sync then took the other one
			if m.record.Aside[c.ID] != 0 {
				set[c.ID] = 1
				c.Saved = min(c.Saved, m.record.Aside[c.ID]+slowly) // a late copy of Postfix's tells nothing
				there.Copies = append(slices.Clip(there.Copies), c)
			}
		}
		note(dead, set, &there, ids(slices.Concat(a.Real, o.Real)), m.now())
	}
	for id, d := range m.vanished(a, o) {
		if !dead.has(id) {
			dead[id] = d
		}
	}
	maps.DeleteFunc(dead, func(id string, _ deletion) bool { return m.record.Gone.has(id) })
	return dead
}

// vanished are the deliveries that were in a folder when this pass began and are
// in none any more, although they were not set aside: the other side knew that the
// user had deleted them. A copy must not become a message.
func (m *merger) vanished(a, o *View) deletions {
	there := ids(a.Real)
	if o != nil {
		maps.Copy(there, ids(o.Real))
	}
	all := deletions{}
	for id := range m.seen {
		if !there[id] && m.record.Aside[id] == 0 && !m.record.Gone.has(id) {
			all[id] = deletion{m.now().Unix(), m.now().Unix()}
		}
	}
	return all
}

// late says whether a copy's twin will not come any more: the copy is old, or a
// merge set it aside.
func (m *merger) late(c Message) bool {
	return m.record.Aside[c.ID] != 0 || m.now().Sub(time.Unix(c.Saved, 0)) > grace
}

// countRecovered counts what came of the messages that only the other side had, and notes which those are now. Not all come:
// what the user deleted on this side is still on the other one before doveadm sync.
func (m *merger) countRecovered(a, o *View) {
	x, removed := newIndex(a.Real), guids(a.Deleted)
	for guid := range m.theirs {
		if x.guids[guid] {
			m.out.recovered++
		}
	}
	m.theirs = map[string]bool{}
	for _, message := range o.Real {
		if !x.guids[message.GUID] && !removed[message.GUID] && (message.ID == "" || len(x.byID[message.ID]) == 0) {
			m.theirs[message.GUID] = true
		}
	}
}
