package trash

import (
	"path"
	"slices"
	"strings"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// Runs are those that have something in the trash, oldest first, and when each may
// be emptied if it is kept for so long. Left is what is in the trash and no run that
// can be read: nobody touches it. It needs no lock.
func (t *Tree) Runs(keep time.Duration) (all []Info, left []layout.Left, err error) {
	if t.trash == nil {
		if err := t.look(); err != nil || t.trash == nil {
			return nil, nil, err
		}
	}
	names, err := t.names()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		at := path.Join(ours, trashDir, name)
		run, err := openDir(t.trash, name)
		if err != nil {
			left = append(left, layout.Left{Path: at, Why: why(err)})
			continue
		}
		i, err := info(run, name)
		run.Close()
		if err != nil {
			left = append(left, layout.Left{Path: at, Why: err.Error()})
			continue
		}
		i.Until = i.When.Add(keep)
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Info) int {
		if c := a.When.Compare(b.When); c != 0 {
			return c
		}
		if c := len(a.Run) - len(b.Run); c != 0 { // ".2", ".10"
			return c
		}
		return compare(a.Run, b.Run)
	})
	return all, left, nil
}

// names are those in the trash, sorted.
func (t *Tree) names() ([]string, error) {
	d, err := openDir(t.trash, ".")
	if err != nil {
		return nil, diag.Failed.Errorf("cannot read %q: %w", t.trash.Name(), err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, diag.Failed.Errorf("cannot read %q: %w", t.trash.Name(), cause(err))
	}
	slices.Sort(names)
	return names, nil
}

func compare(a, b string) int { return strings.Compare(a, b) }
