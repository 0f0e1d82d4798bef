package merge

import "slices"

// A message whose UID is another one's on the other side cannot be put there with it: doveadm
// sync stores it anew with a higher one on both, and removes the first. If its user moves that meanwhile, once or more often,
// it lies where they moved it to, and anew where it was. And with Maildir both stay if it came only then.

// listed is what both sides had before the first doveadm sync of a pass: what users removed may show one list later
// than what they put elsewhere.
type listed struct {
	active, other *View
	copied        map[string]bool // GUIDs of what their users copied since
}

// removed is how many instances of a message users removed since then.
func (l listed) removed(active, other *View, guid string) int {
	count := func(active, other *View) int { return len(active.removals(guid)) + len(other.removals(guid)) }
	return count(active, other) - count(l.active, l.other)
}

// noteCopied notes what a list shows in several folders though none of it was removed; only one that nothing disturbed tells.
func (l listed) noteCopied(active, other *View) {
	for guid, now := range instances(active, repeated(active.Real)) {
		if slices.ContainsFunc(now, func(m Message) bool { return m.Folder != now[0].Folder }) && l.removed(active, other, guid) == 0 {
			l.copied[guid] = true
		}
	}
}

// anew takes away what was stored so, but for what were has: of that surplus takes an instance away, and two
// may be all. before is empty if doveadm sync did not run; set gets the delivery ids of what is set aside.
func anew(before listed, active, other *View, were map[string]moved, set map[string]bool) []step {
	if before.active == nil {
		return nil
	}
	several := repeated(active.Real)
	here, there := instances(before.active, several), instances(before.other, several)
	var steps []step
	for guid, now := range instances(active, several) {
		was := slices.Concat(here[guid], there[guid])
		if _, apart := were[guid]; apart || len(now) != 2 || len(was) > 1 {
			continue
		}
		if now[0].UID < now[1].UID {
			slices.Reverse(now)
		}
		kept, extra := now[0], now[1] // what is in one folder twice, and was at most once
		if kept.Folder != extra.Folder {
			if len(was) == 0 || before.copied[guid] || before.removed(active, other, guid) < 1 {
				continue // a copy, or nobody knows
			}
			if kept.Folder == was[0].Folder {
				kept, extra = extra, kept
			}
			if extra.UID <= was[0].UID {
				continue
			}
		}
		folder := func(v *View) bool { return len(in(v.Real, extra.Folder)) > 0 }
		if len(was) == 1 && was[0].Folder != extra.Folder || !folder(before.active) || !folder(before.other) {
			continue // its UID was nobody else's
		}
		steps = append(steps, unite([]Message{kept}, extra.Flags)...)
		steps = append(steps, away(extra, set))
	}
	return gather(steps)
}

// repeated are the GUIDs of what is there more than once.
func repeated(messages []Message) map[string]bool {
	once, more := make(map[string]bool, len(messages)), map[string]bool{}
	for _, m := range messages {
		if once[m.GUID] {
			more[m.GUID] = true
		}
		once[m.GUID] = true
	}
	return more
}

// instances are the messages with these GUIDs.
func instances(v *View, guids map[string]bool) map[string][]Message {
	all := map[string][]Message{}
	for _, m := range v.Real {
		if guids[m.GUID] {
			all[m.GUID] = append(all[m.GUID], m)
		}
	}
	return all
}
