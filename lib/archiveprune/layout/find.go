package layout

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rplan/lib/diag"
)

// headSize is how much of a file is looked at to see what it is.
const headSize = 16 << 10

// mark is in a directory of pages that rplan had made again.
const mark = ".rplan-rebuilt"

// Find looks for archives in a tree, or for the one that the tree itself is. What an archive is
// of is told by several facts together: names, and what stands in the files. With want other than ""
// only archives of that layout count, and where a directory looks like two it is taken as that one.
//
// What is in the tree but belongs to no archive is returned as Left, in order of its path. An error of kind
// diag.Partial says that a directory looks like two layouts: all else is returned all the same. One of kind
// diag.Refused says that there is no archive. Directories named ".rplan" are passed over without a word.
func Find(root *os.Root, want Layout) ([]Archive, []Left, error) {
	top, dev, err := walk(root)
	if err != nil {
		return nil, nil, err
	}
	f := &finder{root: root, dev: dev, want: want, taken: map[string]bool{}, told: map[*dir][]Layout{}, pages: map[*dir]map[string]bool{}}
	f.look(top)
	f.exports(top)
	f.rest(top)
	slices.SortFunc(f.archives, func(a, b Archive) int { return cmp.Or(cmp.Compare(a.Dir, b.Dir), cmp.Compare(a.List, b.List)) })
	sortLeft(f.left)
	switch {
	case f.unsure != nil:
		return f.archives, f.left, f.unsure
	case len(f.archives) == 0:
		return nil, f.left, f.nothing(root.Name())
	}
	return f.archives, f.left, nil
}

func sortLeft(left []Left) {
	slices.SortFunc(left, func(a, b Left) int { return cmp.Compare(a.Path, b.Path) })
}

type finder struct {
	root     *os.Root
	dev      uint64
	want     Layout
	archives []Archive
	left     []Left
	unsure   error           // the first directory that looks like two layouts
	taken    map[string]bool // paths of directories and files that are in an archive, or refused
	buffer   [headSize]byte
	told     map[*dir][]Layout        // what layouts has said of a directory
	pages    map[*dir]map[string]bool // what prefixes has said of one
}

// nothing is the error for a tree without an archive.
func (f *finder) nothing(tree string) error {
	kind := "mailing list archive of a layout that is known"
	if f.want != "" {
		kind = fmt.Sprintf("%s archive", f.want)
	}
	err := diag.Refused.Errorf("no %s in %q", kind, tree)
	if len(f.left) > 0 {
		err = diag.Refused.Errorf("no %s in %q: %q is %s", kind, tree, f.left[0].Path, f.left[0].Why)
	}
	return err.WithHint("name the directory that holds the lists' own, such as /var/lib/mailman/archives/private or /var/spool/mlmmj")
}

// look finds the archives at d and below it.
func (f *finder) look(d *dir) {
	layouts := f.layouts(d)
	if len(layouts) > 1 && slices.Contains(layouts, f.want) {
		layouts = []Layout{f.want}
	}
	switch {
	case len(layouts) > 1:
		f.refuse(d, fmt.Sprintf("like a %s archive, and like a %s one too", layouts[0], layouts[1]))
		if f.unsure == nil {
			f.unsure = diag.Partial.Errorf("%q in %q looks like a %s archive, and like a %s one too", d.path, f.root.Name(), layouts[0], layouts[1]).
				WithHint("say which it is with --layout, or move what does not belong there")
		}
	case len(layouts) == 1 && f.want != "" && f.want != layouts[0]:
		f.refuse(d, fmt.Sprintf("a %s archive, not a %s one", layouts[0], f.want))
	case len(layouts) == 1:
		f.take(d, layouts[0])
	default:
		for _, s := range d.dirs {
			if !f.taken[s.path] {
				f.look(s)
			}
		}
	}
}

func (f *finder) refuse(d *dir, why string) {
	f.taken[d.path] = true
	f.left = append(f.left, Left{Path: d.path, Why: why})
}

// layouts are those of which the facts hold for d.
func (f *finder) layouts(d *dir) []Layout {
	if known, ok := f.told[d]; ok {
		return known
	}
	var is []Layout
	pages := f.isMHonArc(d)
	if f.isPipermail(d, pages) {
		is = append(is, Pipermail)
		// Months made again with MHonArc do not make another archive of it; pages beside the months do.
		pages = pages && f.hasMHonArcPages(d)
	}
	if f.isMlmmj(d) {
		is = append(is, Mlmmj)
	}
	if f.isMaildir(d) {
		is = append(is, Mailman3)
	}
	if pages {
		is = append(is, MHonArc)
	}
	f.told[d] = is
	return is
}

func (f *finder) take(d *dir, l Layout) {
	a := Archive{List: d.name, Layout: l, Dir: d.path}
	switch l {
	case Pipermail:
		f.pipermail(&a, d)
	case Mlmmj:
		f.mlmmj(&a, d)
	case Mailman3:
		f.maildir(&a, d)
	case MHonArc:
		f.mhonarc(&a, d)
	}
	f.keep(a)
}

func (f *finder) keep(a Archive) {
	slices.SortFunc(a.Files, func(x, y File) int { return cmp.Compare(x.Path, y.Path) })
	sortLeft(a.Left)
	f.archives = append(f.archives, a)
}

// all puts everything at and below d into the archive; kind says what a file is, and of which pages.
func (f *finder) all(a *Archive, d *dir, kind func(*dir, entry) (Kind, string)) {
	f.taken[d.path] = true
	a.Left = append(a.Left, d.left...)
	for _, e := range d.files {
		k, of := kind(d, e)
		f.one(a, d, e, k, of)
	}
	for _, s := range d.dirs {
		f.all(a, s, kind)
	}
}

func (f *finder) one(a *Archive, d *dir, e entry, k Kind, of string) {
	file := d.listed(e)
	file.Kind, file.Of = k, of
	if e.name == mark {
		file.Kind, file.Of = Index, d.path
	}
	f.taken[file.Path] = true
	a.Files = append(a.Files, file)
}

func (d *dir) listed(e entry) File {
	return File{Path: d.join(e.name), Kind: Other, Size: e.size, ModTime: e.mtime, Inode: e.inode, Symlink: e.symlink}
}

// rest says of all that no archive has what it is.
func (f *finder) rest(d *dir) {
	if f.taken[d.path] {
		return
	}
	f.left = append(f.left, d.left...)
	strange := 0
	for _, e := range d.files {
		if !f.taken[d.join(e.name)] {
			strange++
		}
	}
	if strange > 0 {
		f.left = append(f.left, Left{Path: d.path, Why: fmt.Sprintf("no archive of a layout that is known: %d files that are part of none", strange)})
	}
	for _, s := range d.dirs {
		f.rest(s)
	}
}

// head is the beginning of a file, or nothing if it cannot be read.
func (f *finder) head(d *dir, e entry) string {
	file, err := open(f.root, d.listed(e), f.dev)
	if err != nil {
		return ""
	}
	defer file.Close()
	n, _ := io.ReadFull(file, f.buffer[:])
	return string(f.buffer[:n])
}

// listName is what the list of d is called; its suffix, if any, is no part of it.
func listName(d *dir) string { return strings.TrimSuffix(d.name, ".mbox") }

// above is the name of the directory that d is in, also where that is not in the tree.
func (f *finder) above(d *dir) string {
	if d.parent != nil {
		return d.parent.name
	}
	return filepath.Base(filepath.Dir(f.root.Name()))
}
