package archiveprune

import (
	"path"
	"slices"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
)

// manyFiles are so many of one directory that it would be seen if they went one by one.
const manyFiles = 100

// units says how what goes of an archive goes in the fewest steps: whole directories at once,
// flat ones of which much goes exchanged for what stays, the rest file by file. The archive's own
// directory stays: its archiver would miss it.
func units(a *layout.Archive, goes func(*layout.File) bool) trash.Plan {
	u := trash.Plan{List: a.List}
	stays := map[string]bool{} // directories that something stays in, at whatever depth
	keep := func(p string) {
		for dir := path.Dir(p); !stays[dir]; dir = path.Dir(dir) {
			stays[dir] = true
		}
	}
	keep(path.Join(a.Dir, "."))
	stays[a.Dir] = true
	for i := range a.Files {
		if !goes(&a.Files[i]) {
			keep(a.Files[i].Path)
		}
	}
	for _, l := range a.Left {
		if !stays[l.Of] || l.Of == "" { // a symlink of the archiver's own goes with its directory
			keep(l.Path)
		}
	}
	single := map[string]int{} // files that go by themselves, by directory
	for i := range a.Files {
		f := &a.Files[i]
		if !goes(f) {
			continue
		}
		u.Files = append(u.Files, *f)
		top := ""
		for dir := path.Dir(f.Path); dir != "." && !stays[dir]; dir = path.Dir(dir) {
			top = dir
		}
		if top == "" {
			single[path.Dir(f.Path)]++
		} else if !slices.Contains(u.Dirs[max(0, len(u.Dirs)-1):], top) {
			u.Dirs = append(u.Dirs, top)
		}
	}
	for dir, files := range single {
		if files >= manyFiles {
			u.Sifts = append(u.Sifts, dir)
		}
	}
	slices.Sort(u.Sifts)
	return u
}
