package merge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// rename finds folders that both sides made by themselves, so that one name
// has two GUIDs. With Maildir doveadm sync exchanges those for ever.
func rename(active, other map[string]string) []step {
	taken := map[string]bool{} // two folders with one GUID would be a worse thing
	for _, guid := range other {
		taken[guid] = true
	}
	var steps []step
	for _, folder := range slices.Sorted(maps.Keys(active)) {
		if guid := other[folder]; guid != "" && guid != active[folder] && !taken[active[folder]] {
			steps = append(steps, step{Op: name, Folder: active[folder], Name: folder})
		}
	}
	return steps
}

// in are those of the folders that have messages.
func (v *View) in(folders []string) map[string]bool {
	all := map[string]bool{}
	for _, guid := range folders {
		all[guid] = false
	}
	for _, m := range v.Real {
		if _, asked := all[m.Folder]; asked {
			all[m.Folder] = true
		}
	}
	maps.DeleteFunc(all, func(_ string, has bool) bool { return !has })
	return all
}

// renew gives folders new GUIDs.
func renew(folders map[string]string, doomed map[string]bool) []step {
	var steps []step
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		if doomed[folders[folder]] {
			var guid [16]byte
			_, _ = rand.Read(guid[:]) // never fails
			steps = append(steps, step{Op: name, Folder: hex.EncodeToString(guid[:]), Name: folder})
		}
	}
	return steps
}

// dropped reads which folders Dovecot remembers as deleted, from which doveadm
// sync knows them too: 24 bytes for each change of the list of folders, of which
// the first is its kind and those from the fifth are the GUID.
func (s Store) dropped(address string) ([]string, error) {
	const size, removal = 24, 1
	var all []string
	for _, file := range []string{"dovecot.mailbox.log.2", "dovecot.mailbox.log"} {
		text, err := os.ReadFile(filepath.Join(s.home(address), s.Mail, file))
		if err != nil && !gone(err) {
			return nil, errors.Join(errors.New("folders that were deleted"), err)
		}
		for record := range slices.Chunk(text, size) {
			if len(record) == size && record[0] == removal {
				all = append(all, hex.EncodeToString(record[4:20]))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// keep gives new GUIDs to folders with messages that the other side has
// deleted. doveadm sync would delete them here too, with messages in them that
// the other side knew to be elsewhere, or not at all.
func (m *merger) keep(ctx context.Context, a, o *View) (kept bool, err error) {
	for _, k := range []struct {
		where   string
		side    side
		v       *View
		dropped []string
	}{{"active", m.active, a, o.Dropped}, {"standby", m.other, o, a.Dropped}} {
		doomed := k.v.in(k.dropped)
		if len(doomed) == 0 {
			continue
		}
		folders, err := k.side.folders(ctx)
		if err != nil {
			return false, err
		}
		if err := m.steps(ctx, k.where, k.side, renew(folders, doomed)); err != nil {
			return false, err
		}
		kept = true
	}
	return kept, nil
}
