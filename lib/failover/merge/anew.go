package merge

import "slices"

// A message whose UID is another one's on the other side cannot be put there with it: doveadm
// sync stores it anew with a higher one on both, and removes the first. If its user moves that meanwhile, once or more often,
// it lies where they moved it to, and anew where it was. And with Maildir both stay if it came only then.

// listed is what both sides had before the first doveadm sync of a pass: what users removed may show one list later
// than what they put elsewhere.
type listed struct {
	active, other *View
	names         map[string]string // of folders, by GUID: doveadm sync gives one that both sides made by themselves one GUID
	copied        map[string]bool   // GUIDs of what their users copied since
}

func newListed(active, other *View, here, there map[string]string) listed {
	return listed{active, other, byValue(there, here), map[string]bool{}}
}

// byValue are the keys of maps by their values; those of the last one count most.
func byValue(all ...map[string]string) map[string]string {
	keys := map[string]string{}
	for _, m := range all {
		for key, value := range m {
			keys[value] = key
		}
	}
	return keys
}

// same says whether a message lay in the folder then in which another one lies now. names are those of now, by GUID.
func (l listed) same(then, now Message, names map[string]string) bool {
	name := names[now.Folder]
	return then.Folder == now.Folder || name != "" && l.names[then.Folder] == name
}

// had says whether a side had messages in the folder in which one lies now.
func (l listed) had(side *View, now Message, names map[string]string) bool {
	return slices.ContainsFunc(side.Real, func(then Message) bool { return l.same(then, now, names) })
}

// removed is how many instances of a message users removed since then.
func (l listed) removed(active, other *View, guid string) int {
	count := func(active, other *View) int { return len(active.removals(guid)) + len(other.removals(guid)) }
	return count(active, other) - count(l.active, l.other)
}

// several are the messages, by GUID, that are there more than once now; none before the first doveadm sync.
func (l listed) several(active *View) map[string][]Message {
	if l.active == nil {
		return nil
	}
	return instances(active, repeated(active.Real))
}

// noteCopied notes what a list shows in several folders though none of it was removed; only one that nothing disturbed tells.
func (l listed) noteCopied(several map[string][]Message, active, other *View) {
	for guid, now := range several {
		if slices.ContainsFunc(now, func(m Message) bool { return m.Folder != now[0].Folder }) && l.removed(active, other, guid) == 0 {
			l.copied[guid] = true
		}
	}
}

// anew takes away what was stored so, and forgets it in rest, which is what surplus left of were: of the others that
// takes an instance away just now, and two may be all. folders are the active side's, by name; set gets the delivery ids of what is set aside.
func (l listed) anew(several map[string][]Message, active, other *View, folders map[string]string, were, rest map[string]moved, set map[string]bool) []step {
	if len(several) == 0 {
		return nil
	}
	here, there, names := instances(l.active, several), instances(l.other, several), byValue(folders)
	var steps []step
	for guid, now := range several {
		was := slices.Concat(here[guid], there[guid])
		_, apart := were[guid]
		_, left := rest[guid]
		if apart && !left || len(now) != 2 || len(was) > 1 {
			continue
		}
		if now[0].UID < now[1].UID {
			slices.Reverse(now)
		}
		kept, extra := now[0], now[1] // what is in one folder twice, and was at most once
		if kept.Folder != extra.Folder {
			if len(was) == 0 || l.copied[guid] || l.removed(active, other, guid) < 1 {
				continue // a copy, or nobody knows
			}
			if l.same(was[0], kept, names) {
				kept, extra = extra, kept
			}
			if extra.UID <= was[0].UID {
				continue
			}
		}
		if len(was) == 1 && !l.same(was[0], extra, names) || !l.had(l.active, extra, names) || !l.had(l.other, extra, names) {
			continue // its UID was nobody else's
		}
		steps = append(steps, unite([]Message{kept}, extra.Flags)...)
		steps = append(steps, away(extra, set))
		delete(rest, guid)
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
func instances[T any](v *View, guids map[string]T) map[string][]Message {
	all := map[string][]Message{}
	for _, m := range v.Real {
		if _, wanted := guids[m.GUID]; wanted {
			all[m.GUID] = append(all[m.GUID], m)
		}
	}
	return all
}
