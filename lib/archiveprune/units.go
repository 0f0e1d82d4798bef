package archiveprune

import (
	"maps"
	"path"
	"slices"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
)

// units says how what goes of an archive goes in the fewest steps: whole directories at once, and of
// others what goes apart from what stays. The archive's own directory stays: its archiver would miss it. Where an mbox
// stays that others write to, files go one by one: to sift gives it a second name for an instant, and Postfix sends mail back then.
func units(a *layout.Archive, goes func(*layout.File) bool) trash.Plan {
	u := trash.Plan{List: a.List}
	stays := staying(a, goes)
	sifts, written := map[string]bool{}, map[string]bool{}
	for i := range a.Files {
		if f := &a.Files[i]; f.Kind == layout.Mbox && path.Ext(f.Path) != ".gz" && path.Ext(f.Path) != ".zst" {
			written[path.Dir(f.Path)] = true
		}
	}
	for i := range a.Files {
		f := &a.Files[i]
		if !goes(f) {
			continue
		}
		u.Files = append(u.Files, *f)
		top := ""
		for dir := path.Dir(f.Path); dir != "." && stays[dir] == nil; dir = path.Dir(dir) {
			top = dir
		}
		switch {
		case top == "" && written[path.Dir(f.Path)]:
		case top == "":
			sifts[path.Dir(f.Path)] = true
		case len(u.Dirs) == 0 || u.Dirs[len(u.Dirs)-1] != top:
			u.Dirs = append(u.Dirs, top)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(sifts)) {
		u.Sifts = append(u.Sifts, trash.Sift{Dir: dir, Keep: slices.Sorted(maps.Keys(stays[dir]))})
	}
	return u
}

// staying are the directories that something stays in, at whatever depth, and its names there.
func staying(a *layout.Archive, goes func(*layout.File) bool) map[string]map[string]bool {
	stays := map[string]map[string]bool{a.Dir: {}}
	keep := func(p string) {
		for p != "." {
			dir, name := path.Dir(p), path.Base(p)
			if stays[dir] == nil {
				stays[dir] = map[string]bool{}
			}
			stays[dir][name] = true
			p = dir
		}
	}
	keep(a.Dir)
	for i := range a.Files {
		if !goes(&a.Files[i]) {
			keep(a.Files[i].Path)
		}
	}
	for _, l := range a.Left {
		keep(l.Path)
	}
	return stays
}
