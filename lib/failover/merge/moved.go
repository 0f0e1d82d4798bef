package merge

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// Where both sides were used since they were last equal, a message can lie in
// one folder here and in another there, by its GUID the same. doveadm sync
// finds out who moved it, but unites flags only within a folder, and leaves a
// message that both moved in the folders of both.

// carry gives messages of both sides the flags that they have on the other, where they lie in another
// folder, or were moved to the same one and are new there. A copy is another message to its user:
// of several, only the one that they moved, or had first, gets and gives any. If they moved
// more than one, or both sides have a copy in one folder and nothing says that this was a move, nobody knows.
func carry(active, other *View) (here, there []step) {
	a, o := byGUID(active.Real), byGUID(other.Real)
	for _, guid := range slices.Sorted(maps.Keys(a)) {
		ours, theirs := a[guid], o[guid]
		mine, its := unshared(ours, theirs), unshared(theirs, ours)
		if min(len(mine), len(its)) != 1 {
			continue
		}
		goneHere, goneThere := active.removals(guid), other.removals(guid)
		x, y := byMove(mine, goneHere)[0], byMove(its, goneThere)[0]
		alone := len(ours) == 1 && len(theirs) == 1 || len(besides(ours, theirs)) == len(ours)
		if alone || moves(x, goneHere) || moves(y, goneThere) {
			here = append(here, unite([]Message{x}, y.Flags)...)
			there = append(there, unite([]Message{y}, x.Flags)...)
		}
	}
	return here, there
}

// moved is in which folders a message lay before doveadm sync, on each side: first
// where it was moved to, or else put first.
type moved struct {
	Here  []string  `json:"here"`
	There []string  `json:"there"`
	Both  []string  `json:"both,omitempty"` // where copies of it are on both sides, which stay
	Since int64     `json:"since"`          // when it was put into the first there, in seconds since 1970
	UIDs  [2]uint32 `json:"uids"`           // in the first here, and there
	Left  [2]int    `json:"left"`           // how many instances of it users had removed here, and there
}

// named is the same by names, as doveadm sync gives a folder that both sides made
// by themselves one GUID. here and there are the folders by name.
func (m moved) named(here, there map[string]string) moved {
	m.Here, m.There, m.Both = namesOf(here, m.Here), namesOf(there, m.There), namesOf(here, m.Both)
	return m
}

func namesOf(folders map[string]string, guids []string) []string {
	var names []string
	for _, guid := range guids {
		for name, g := range folders {
			if g == guid {
				names = append(names, name)
			}
		}
	}
	return names
}

// apart are the messages, by GUID, that both sides have, but in no folder that is
// the same: both moved it, whatever copies their user made besides, or one of them did.
func apart(active, other *View) map[string]moved {
	o := byGUID(other.Real)
	all := map[string]moved{}
	for guid, here := range byGUID(active.Real) {
		there := o[guid]
		if len(there) > 0 && len(besides(here, there)) == len(here) {
			all[guid] = lay(here, there, nil, active.removals(guid), other.removals(guid))
		}
	}
	return all
}

// lay is where the messages of each side lie, and those that both have, and when instances were removed.
func lay(here, there, both []Message, leftHere, leftThere []int64) moved {
	here, there = byMove(here, leftHere), byMove(there, leftThere)
	return moved{foldersOf(here), foldersOf(there), foldersOf(both), there[0].Saved, [2]uint32{here[0].UID, there[0].UID}, [2]int{len(leftHere), len(leftThere)}}
}

// byMove sorts what is one message to doveadm sync: first what was put where it is when an instance was removed.
func byMove(messages []Message, removed []int64) []Message {
	between := func(m Message) (least int64) {
		for i, at := range removed {
			if d := max(at-m.Saved, m.Saved-at); i == 0 || d < least {
				least = d
			}
		}
		return least
	}
	return slices.SortedFunc(slices.Values(messages), func(x, y Message) int {
		return cmp.Or(cmp.Compare(between(x), between(y)), byArrival(x, y))
	})
}

func foldersOf(messages []Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Folder)
	}
	return all
}

// byArrival sorts what is one message to doveadm sync by when its user put it where it is.
func byArrival(x, y Message) int {
	return cmp.Or(cmp.Compare(x.Saved, y.Saved), cmp.Compare(x.UID, y.UID))
}

// removals are when users removed instances of a message on this side since both were equal.
func (v *View) removals(guid string) []int64 {
	at := slices.Clone(v.Left[guid])
	for _, d := range v.Deleted {
		if d.GUID == guid {
			at = append(at, d.Saved)
		}
	}
	return at
}

// surplus removes what is in the folders of both sides now, as both had moved it: the
// active side's folder wins. What has a delivery id goes to the copies first, as every message does.
// here and there are the folders by name, as were has them. rest is what is left of were after it,
// and set gets the delivery ids of what is set aside.
func surplus(active, other *View, were map[string]moved, here, there map[string]string, set map[string]bool) (steps []step, rest map[string]moved) {
	rest = maps.Clone(were)
	o := byGUID(other.Real)
	for guid, messages := range byGUID(active.Real) {
		was, moved := were[guid]
		if !moved {
			continue
		}
		now := [2]int{len(active.removals(guid)), len(other.removals(guid))}
		was = was.followed(messages, here, now)
		if !was.joined(messages, here) {
			continue
		}
		kept, extra := in(messages, here[was.Here[0]])[0], in(messages, here[was.There[0]])[0]
		twin := in(o[guid], there[was.There[0]])
		if !kept.among(o[guid]) || len(twin) != 1 { // doveadm sync was not done: it would go on, and remove what was kept
			continue
		}
		if [2]uint32{kept.UID, twin[0].UID} != was.UIDs && (now[0] == 0 || now[1] == 0) {
			continue
		}
		steps = append(steps, unite([]Message{kept}, extra.Flags)...)
		steps = append(steps, away(extra, set))
		delete(rest, guid)
	}
	return gather(steps), rest
}

// away takes a message out of its folder, as it is in another one too: if it has a delivery id, which is noted in set, to the copies.
func away(m Message, set map[string]bool) step {
	if m.ID == "" {
		return step{Op: drop, Folder: m.Folder, UIDs: []uint32{m.UID}}
	}
	set[m.ID] = true
	return step{Op: aside, Folder: m.Folder, UIDs: []uint32{m.UID}}
}

// joined says whether the messages are those of both sides, each in a folder of its own, and the copies that
// both had. Others are new ones, which users made meanwhile.
func (m moved) joined(messages []Message, folders map[string]string) bool {
	own := map[string]bool{}
	for _, name := range slices.Concat(m.Here, m.There, m.Both) {
		if own[name] || len(in(messages, folders[name])) != 1 {
			return false
		}
		own[name] = true
	}
	return len(m.Here) > 0 && len(m.There) > 0
}

// followed is the same where a user moved the message once more, before doveadm sync was done: from the
// first folder of one side to the only new one. now is how many instances were removed.
func (m moved) followed(messages []Message, folders map[string]string, now [2]int) moved {
	known := map[string]bool{}
	for _, name := range slices.Concat(m.Here, m.There, m.Both) {
		known[folders[name]] = true
	}
	fresh := namesOf(folders, foldersOf(filter(messages, func(m Message) bool { return !known[m.Folder] })))
	for i, names := range []*[]string{&m.Here, &m.There} {
		if len(*names) > 0 && len(fresh) == 1 && now[i] == m.Left[i]+1 && len(in(messages, folders[(*names)[0]])) == 0 {
			*names = append(fresh, (*names)[1:]...)
			break // if it left both, nobody knows where to
		}
	}
	return m
}

func byGUID(messages []Message) map[string][]Message {
	all := map[string][]Message{}
	for _, m := range messages {
		all[m.GUID] = append(all[m.GUID], m)
	}
	return all
}

// apart notes what lies in different folders, or is two messages, before doveadm sync.
func (m *merger) apart(ctx context.Context, a, o *View) error {
	were, twins := apart(a, o), met(a, o)
	if err := m.parted(a, o, were); err != nil {
		return err
	}
	if len(were)+len(m.record.Were)+len(twins) == 0 {
		return nil
	}
	if m.record.Twins == nil {
		m.record.Twins = map[string]twin{}
	}
	here, there, err := m.folders(ctx)
	if err != nil {
		return err
	}
	for id, t := range twins {
		t.Names = namesOf(there, t.There)
		m.record.Twins[id] = t
	}
	if m.record.Were == nil {
		m.record.Were = map[string]moved{}
	}
	for guid, was := range were { // others may still be on their way
		m.record.Were[guid] = was.named(here, there)
	}
	return m.save()
}

// surplus takes away what doveadm sync left in two folders: of what both sides had moved, and of
// what was moved while it stored that anew.
func (m *merger) surplus(ctx context.Context, a, o *View) (done bool, err error) {
	set, several := map[string]bool{}, m.listed.several(a)
	if m.still {
		m.listed.noteCopied(several, a, o)
	}
	if len(m.record.Were)+len(several) == 0 {
		return false, nil
	}
	here, there, err := m.folders(ctx)
	if err != nil {
		return false, err
	}
	steps, rest := surplus(a, o, m.record.Were, here, there, set)
	steps = append(steps, m.listed.anew(several, a, o, here, m.record.Were, rest, set)...)
	if len(steps) == 0 {
		return false, nil
	}
	m.out.repaired += len(steps)
	if err := m.remember(set, nil, nil, nil); err != nil {
		return false, err
	}
	if err := m.steps(ctx, "active", m.active, steps); err != nil {
		return false, err
	}
	m.record.Were = rest
	return true, nil
}
