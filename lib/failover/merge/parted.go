package merge

import "slices"

// Of a message with a copy in a folder that both sides have, it cannot be seen whether
// both moved it, or its user made one more copy on each side, which are both wanted.
// They moved it if each side removed one and the same instance of it since both were equal,
// and has it once where the other has not. That is known from what users removed, of
// which lazy_expunge keeps a message, and from Dovecot's logs, which have its place.

// leave adds what users removed on a side to what is known of that: of messages that are
// in another folder.
func leave(left map[string][]int64, v *View) map[string][]int64 {
	if left == nil {
		left = map[string][]int64{}
	}
	messages := byGUID(v.Real)
	for _, d := range v.Deleted {
		if len(messages[d.GUID]) > 0 {
			left[d.GUID] = append(left[d.GUID], d.Saved)
		}
	}
	return left
}

// slowly is how many seconds a mail program may take for a move: from the copy until what was copied is
// removed. In sdbox and Maildir, where a copy is a link, removing the other one gives the copy a new time too, where
// Dovecot is not told to keep the first (mail_always_cache_fields): there all that happens between two passes is at the same time.
const slowly = 10

// partedNow are the messages, by GUID, that both sides have once where the other has not,
// besides copies that are the same on both, and of which another instance was removed on each side when they were put there.
func partedNow(active, other *View) map[string]moved {
	o := byGUID(other.Real)
	all := map[string]moved{}
	for guid, here := range byGUID(active.Real) {
		there := o[guid]
		if len(here) < 2 || len(here) != len(there) {
			continue
		}
		mine, theirs, both := besides(here, there), besides(there, here), shared(here, there)
		if len(mine) != 1 || len(theirs) != 1 || len(both) != len(here)-1 || !distinct(here) || !distinct(there) {
			continue
		}
		leftHere, leftThere := active.removals(guid), other.removals(guid)
		if moves(mine[0], leftHere) && moves(theirs[0], leftThere) {
			all[guid] = lay(mine, theirs, both, leftHere, leftThere)
		}
	}
	return all
}

// besides are those of the messages that are in no folder that has one of the others.
func besides(messages, others []Message) []Message {
	return filter(messages, func(m Message) bool { return len(in(others, m.Folder)) == 0 })
}

// shared are those that are the same message of the same folder on the other side.
func shared(messages, others []Message) []Message {
	return filter(messages, func(m Message) bool { return m.among(others) })
}

// unshared are the rest.
func unshared(messages, others []Message) []Message {
	return filter(messages, func(m Message) bool { return !m.among(others) })
}

func (m Message) among(others []Message) bool {
	return slices.ContainsFunc(others, func(o Message) bool { return o.place() == m.place() })
}

// distinct says whether no two are in one folder.
func distinct(messages []Message) bool {
	return !slices.ContainsFunc(messages, func(m Message) bool { return len(in(messages, m.Folder)) > 1 })
}

// moves says whether users removed an instance of a message when this one was put where it is.
func moves(m Message, removed []int64) bool {
	return slices.ContainsFunc(removed, func(at int64) bool { return at-m.Saved <= slowly && m.Saved-at <= slowly })
}

// parted adds to what lay apart what both sides moved though both have a copy of it.
func (m *merger) parted(a, o *View, were map[string]moved) error {
	found := partedNow(a, o)
	if len(found) == 0 {
		return nil
	}
	var guids []string
	for guid := range found {
		guids = append(guids, logGUID(guid))
	}
	slices.Sort(guids)
	here, err := m.active.store.traces(m.task.Address, guids, m.record.Peers[m.task.Peer].Ends)
	if err != nil {
		return err
	}
	there, err := m.other.traces(guids)
	if err != nil {
		return err
	}
	theirs := setOf(there)
	for guid, was := range found {
		known := m.record.Were[guid] // by a pass that was killed, with the logs' ends
		if sameLeft(logGUID(guid), here, theirs) || len(known.Both) > 0 && known.Since == was.Since {
			were[guid] = was
		}
	}
	return nil
}

// sameLeft says whether one and the same instance of a message left the folders of both sides since they were
// equal. Whoever made them so knows what left since; and what was there then, was on the other side too.
func sameLeft(guid string, here []trace, there map[trace]bool) bool {
	return slices.ContainsFunc(here, func(x trace) bool {
		if x.Old || x.GUID != guid && x.GUID != unnamed {
			return false
		}
		at := func(name string, isNew bool) bool { return there[trace{x.Folder, x.UID, name, false, isNew}] }
		named := at(guid, true) || x.New && at(guid, false)
		return named || x.GUID == guid && (at(unnamed, true) || x.New && at(unnamed, false))
	})
}

func setOf(traces []trace) map[trace]bool {
	set := make(map[trace]bool, len(traces))
	for _, t := range traces {
		set[t] = true
	}
	return set
}
