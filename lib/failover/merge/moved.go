package merge

import (
	"context"
	"maps"
	"slices"
)

// Where both sides were used since they were last equal, a message can lie in
// one folder here and in another there, by its GUID the same. doveadm sync
// finds out who moved it, but unites flags only within a folder, and leaves a
// message that both moved in both folders.

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

// moved is where a message lay before doveadm sync.
type moved struct {
	Here  string `json:"here"`
	There string `json:"there"`
}

// named is the same by names, as doveadm sync gives a folder that both sides made
// by themselves one GUID. here and there are the folders by name.
func (m moved) named(here, there map[string]string) moved {
	return moved{nameOf(here, m.Here), nameOf(there, m.There)}
}

func nameOf(folders map[string]string, guid string) string {
	for name, g := range folders {
		if g == guid {
			return name
		}
	}
	return ""
}

// apart are the messages, by GUID, that lie in one folder on the active side, and in
// another on the other.
func apart(active, other *View) map[string]moved {
	o := byGUID(other.Real)
	all := map[string]moved{}
	for guid, here := range byGUID(active.Real) {
		if there := o[guid]; len(here) == 1 && len(there) == 1 && here[0].Folder != there[0].Folder {
			all[guid] = moved{here[0].Folder, there[0].Folder}
		}
	}
	return all
}

// surplus removes what is in both folders now, as both sides had moved it: the
// active side's folder wins. What has a delivery id goes to the copies first, as every message does.
// folders are the active side's by name, as were has them.
func surplus(active *View, were map[string]moved, folders map[string]string) (steps []step, set map[string]bool) {
	set = map[string]bool{}
	for guid, messages := range byGUID(active.Real) {
		was, moved := were[guid]
		here, there := folders[was.Here], folders[was.There]
		if !moved || len(messages) != 2 || here == there {
			continue
		}
		kept, extra := messages[0], messages[1]
		if extra.Folder == here {
			kept, extra = extra, kept
		}
		if kept.Folder != here || extra.Folder != there {
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
		were[guid] = was.named(here, there)
	}
	m.record.Were = were
	return m.save()
}

// surplus takes away what doveadm sync left in two folders of what both sides had moved.
func (m *merger) surplus(ctx context.Context, a *View) (done bool, err error) {
	if len(m.record.Were) == 0 {
		return false, nil
	}
	folders, err := m.active.folders(ctx)
	if err != nil {
		return false, err
	}
	steps, aside := surplus(a, m.record.Were, folders)
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
