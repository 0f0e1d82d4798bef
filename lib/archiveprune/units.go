package archiveprune

import (
	"path"
	"slices"
	"strings"

	"rplan/lib/archiveprune/layout"
)

// unit is what goes by one rename: a file, or a directory of which nothing stays.
type unit struct {
	path  string
	dir   bool
	files []*layout.File // all that is in it
}

// sifted is a directory of which much goes and some stays.
type sifted struct {
	dir   string
	goes  []*layout.File
	stays []*layout.File
}

// manyFiles are so many that to rename them one by one would be seen.
const manyFiles = 100

// units says how what goes of an archive goes in the fewest steps: whole directories at once,
// flat ones of which much goes exchanged for what stays, the rest file by file. The archive's own
// directory never goes: its archiver would miss it.
func units(a *layout.Archive, goes func(*layout.File) bool) (whole []unit, some []sifted) {
	stays := map[string]bool{} // directories with something that stays, at whatever depth
	keep := func(p string) {
		for dir := path.Dir(p); !stays[dir]; dir = path.Dir(dir) {
			stays[dir] = true
		}
	}
	for _, l := range a.Left {
		keep(l.Path)
	}
	for i := range a.Files {
		if !goes(&a.Files[i]) {
			keep(a.Files[i].Path)
		}
	}
	byDir := map[string]*sifted{}
	deep := map[string]bool{} // directories that have directories
	byTop := map[string]*unit{}
	for i := range a.Files {
		f := &a.Files[i]
		dir := path.Dir(f.Path)
		for up := path.Dir(dir); up != dir && !deep[up]; up = path.Dir(up) {
			deep[up] = true
		}
		if !goes(f) {
			s := at(byDir, dir)
			s.dir, s.stays = dir, append(s.stays, f)
			continue
		}
		top := f.Path
		for up := path.Dir(top); up != "." && up != a.Dir && !stays[up]; up = path.Dir(up) {
			top = up
		}
		if top == f.Path {
			s := at(byDir, dir)
			s.dir, s.goes = dir, append(s.goes, f)
			continue
		}
		u := at(byTop, top)
		u.path, u.dir, u.files = top, true, append(u.files, f)
	}
	for _, s := range byDir {
		if len(s.goes) >= manyFiles && !deep[s.dir] {
			some = append(some, *s)
			continue
		}
		for _, f := range s.goes {
			whole = append(whole, unit{path: f.Path, files: []*layout.File{f}})
		}
	}
	for _, u := range byTop {
		whole = append(whole, *u)
	}
	slices.SortFunc(whole, func(a, b unit) int { return strings.Compare(a.path, b.path) })
	slices.SortFunc(some, func(a, b sifted) int { return strings.Compare(a.dir, b.dir) })
	return whole, some
}

func at[T any](m map[string]*T, key string) *T {
	if m[key] == nil {
		m[key] = new(T)
	}
	return m[key]
}
