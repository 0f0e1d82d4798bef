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

// carry gives messages of one side the flags that they have on the other, where
// they lie in another folder, or were moved to the same one and are new there. A
// message that is in several folders is several to its user.
func carry(from, to map[string][]Message) []step {
	var steps []step
	for _, guid := range slices.Sorted(maps.Keys(to)) {
		if here, there := to[guid], from[guid]; len(here) == 1 && len(there) == 1 && here[0].place() != there[0].place() {
			steps = append(steps, unite(here, there[0].Flags)...)
		}
	}
	return steps
}

// moved is in which folders a message lay before doveadm sync, on each side: first
// where it was put first.
type moved struct {
	Here  []string `json:"here"`
	There []string `json:"there"`
	Both  []string `json:"both,omitempty"` // where copies of it are on both sides, which stay
	Since int64    `json:"since"`          // when it was put into the first there, in seconds since 1970
	Clash bool     `json:"clash"`          // its UID there is another message's here: doveadm sync will store it anew

	uid uint32 // in the first there
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
// the same: both moved it, whatever copies their user made besides.
func apart(active, other *View) map[string]moved {
	o := byGUID(other.Real)
	all := map[string]moved{}
	for guid, here := range byGUID(active.Real) {
		there := o[guid]
		common := slices.ContainsFunc(here, func(m Message) bool { return len(in(there, m.Folder)) > 0 })
		if len(there) > 0 && !common {
			first := slices.MinFunc(there, byArrival)
			all[guid] = moved{Here: foldersOf(here), There: foldersOf(there), Since: first.Saved, uid: first.UID}
		}
	}
	return all
}

func foldersOf(messages []Message) []string {
	var all []string
	for _, m := range slices.SortedFunc(slices.Values(messages), byArrival) {
		all = append(all, m.Folder)
	}
	return all
}

// byArrival sorts what is one message to doveadm sync by when its user put it where it is.
func byArrival(x, y Message) int {
	return cmp.Or(cmp.Compare(x.Saved, y.Saved), cmp.Compare(x.UID, y.UID))
}

// surplus removes what is in the folders of both sides now, as both had moved it: the
// active side's folder wins. What has a delivery id goes to the copies first, as every message does.
// here and there are the folders by name, as were has them. What was put there since is
// no surplus, but a copy that its user made.
func surplus(active, other *View, were map[string]moved, here, there map[string]string) (steps []step, set map[string]bool) {
	set = map[string]bool{}
	o := byGUID(other.Real)
	for guid, messages := range byGUID(active.Real) {
		was, moved := were[guid]
		if !moved || !was.joined(messages, here) {
			continue
		}
		kept, extra := in(messages, here[was.Here[0]])[0], in(messages, here[was.There[0]])[0]
		if first := in(o[guid], there[was.There[0]]); len(first) != 1 || first[0].Saved != was.Since && !was.Clash {
			continue
		}
		do := aside
		if extra.ID == "" {
			do = drop
		} else {
			set[extra.ID] = true
		}
		steps = append(steps, unite([]Message{kept}, extra.Flags)...)
		steps = append(steps, step{Op: do, Folder: extra.Folder, UIDs: []uint32{extra.UID}})
	}
	return gather(steps), set
}

// joined says whether the messages are those of both sides, each in a folder of its own, and the copies that both had.
func (m moved) joined(messages []Message, folders map[string]string) bool {
	names := slices.Concat(m.Here, m.There, m.Both)
	for _, name := range names {
		if len(in(messages, folders[name])) != 1 {
			return false
		}
	}
	return len(m.Here) > 0 && len(m.There) > 0 && len(names) == len(messages)
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
		m.record.Twins = map[string]string{}
	}
	maps.Copy(m.record.Twins, twins)
	here, there, err := m.folders(ctx)
	if err != nil {
		return err
	}
	for guid, was := range were {
		was = was.named(here, there)
		if len(was.There) > 0 {
			folder := here[was.There[0]]
			was.Clash = slices.ContainsFunc(a.Real, func(m Message) bool { return m.Folder == folder && m.UID == was.uid })
		}
		were[guid] = was
	}
	m.record.Were = were
	return m.save()
}

// surplus takes away what doveadm sync left in two folders of what both sides had moved.
func (m *merger) surplus(ctx context.Context, a, o *View) (done bool, err error) {
	if len(m.record.Were) == 0 {
		return false, nil
	}
	here, there, err := m.folders(ctx)
	if err != nil {
		return false, err
	}
	steps, aside := surplus(a, o, m.record.Were, here, there)
	if len(steps) == 0 {
		return false, nil
	}
	m.out.repaired += len(steps)
	if err := m.remember(aside, nil, nil); err != nil {
		return false, err
	}
	if err := m.steps(ctx, "active", m.active, steps); err != nil {
		return false, err
	}
	m.record.Were = nil
	return true, nil
}
