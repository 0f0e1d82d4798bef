package layout

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// Names as MHonArc gives them (mhonarc(1), resources MSGPREFIX, HTMLEXT and DBFILE). Any prefix is
// possible, so that what is a page is told by what stands in some with the prefix.
var (
	pageName   = regexp.MustCompile(`^(.*?)\d{5,}\.html?$`)
	periodName = regexp.MustCompile(`^(\d{2}|\d{6}|\d{4}-\d{2})$`) // of directories of one list's pages, besides volumeName
)

const (
	mhonarcSign = "<!-- MHonArc v" // in pages and indexes
	mhonarcHead = "<!--X-Head-End-->"
	mhonarcDB   = ".mhonarc.db"

	derivedField = "<!--X-Derived: "
)

// prefixes are those of the names of d's pages.
func (f *finder) prefixes(d *dir) map[string]bool {
	if known, ok := f.pages[d]; ok {
		return known
	}
	named := map[string][]entry{}
	for _, e := range d.files {
		if m := pageName.FindStringSubmatch(e.name); m != nil {
			named[m[1]] = append(named[m[1]], e)
		}
	}
	is := map[string]bool{}
	for prefix, files := range named {
		for _, e := range sample(files) {
			head := f.head(d, e)
			if strings.Contains(head, mhonarcSign) && strings.Contains(head, "<!--X-Message-Id: ") {
				is[prefix] = true
			}
		}
	}
	f.pages[d] = is
	return is
}

// hasMHonArcPages tells whether d itself has pages that MHonArc made, and its database or an index by it.
func (f *finder) hasMHonArcPages(d *dir) bool {
	if len(f.prefixes(d)) == 0 {
		return false
	}
	if e, ok := d.file(mhonarcDB); ok && f.isDatabase(d, e) {
		return true
	}
	for _, e := range d.files {
		if f.isMHonArcIndex(d, e) {
			return true
		}
	}
	return false
}

func (f *finder) isDatabase(d *dir, e entry) bool {
	return e.name == mhonarcDB && strings.HasPrefix(f.head(d, e), "## MHonArcDB ")
}

func (f *finder) isMHonArcIndex(d *dir, e entry) bool {
	if f.isMHonArcPage(d, e) || !strings.HasSuffix(e.name, ".html") && !strings.HasSuffix(e.name, ".htm") {
		return false
	}
	head := f.head(d, e)
	return strings.Contains(head, mhonarcSign) && !strings.Contains(head, "<!--X-Message-Id: ") && !strings.Contains(head, mhonarcHead)
}

func (f *finder) isMHonArcPage(d *dir, e entry) bool {
	m := pageName.FindStringSubmatch(e.name)
	return m != nil && f.prefixes(d)[m[1]]
}

// isMHonArc tells whether d has MHonArc's pages, or directories that are named for years or months and have them.
// With pages in a directory of another name it is not a list's, but has lists in it.
func (f *finder) isMHonArc(d *dir) bool {
	if f.hasMHonArcPages(d) {
		return true
	}
	is := false
	for _, s := range d.dirs {
		if isPeriod(s) {
			is = is || f.isMHonArc(s)
		} else if f.hasMHonArcPages(s) {
			return false
		}
	}
	return is
}

func isPeriod(d *dir) bool { return periodName.MatchString(d.name) || volumeName.MatchString(d.name) }

// mhonarc fills in the archive at d, and the mboxes that its pages may be of.
func (f *finder) mhonarc(a *Archive, d *dir) {
	a.List = listName(d)
	f.mhonarcFiles(a, d)
	if d.parent == nil {
		return
	}
	// Beside it: DIR.mbox and its months, as files or in a directory DIR.mbox.
	found := f.mboxes(a, d.parent, func(list string) bool { return list == d.name })
	if s := d.parent.sub(d.name + ".mbox"); s != nil && !f.isMHonArc(s) {
		f.all(a, s, func(at *dir, e entry) (Kind, string) { return f.mboxOrOther(at, e) })
		return
	}
	// LIST/LIST.mbox with the pages in a directory of LIST: as long as no other pages can be meant.
	if found > 0 || has(a, Mbox) || len(d.parent.dirs) > 1 {
		return
	}
	if f.mboxes(a, d.parent, func(list string) bool { return list == listName(d.parent) || list == "" }) > 0 {
		a.List = listName(d.parent)
	}
}

func has(a *Archive, k Kind) bool {
	for _, f := range a.Files {
		if f.Kind == k {
			return true
		}
	}
	return false
}

// mhonarcFiles puts all at and below d into the archive.
func (f *finder) mhonarcFiles(a *Archive, d *dir) {
	f.taken[d.path] = true
	a.Left = append(a.Left, d.left...)
	derived := f.derived(d)
	for _, e := range d.files {
		k, of := f.mhonarcKind(d, e, derived)
		f.one(a, d, e, k, of)
	}
	for _, s := range d.dirs {
		switch {
		case derived[s.path]:
			f.all(a, s, func(*dir, entry) (Kind, string) { return Attachment, "" })
		case isPeriod(s) || f.hasMHonArcPages(s):
			f.mhonarcFiles(a, s)
		default:
			f.all(a, s, func(*dir, entry) (Kind, string) { return Other, "" })
		}
	}
}

func (f *finder) mhonarcKind(d *dir, e entry, derived map[string]bool) (Kind, string) {
	switch {
	case f.isMHonArcPage(d, e):
		return Page, ""
	case derived[d.join(e.name)]:
		return Attachment, ""
	case f.isDatabase(d, e):
		return Database, d.path
	case f.isMHonArcIndex(d, e):
		return Index, d.path
	}
	return f.mboxOrOther(d, e)
}

// derived are the paths of what the pages in d say that they have as files or, where MHonArc was told so, as
// a directory for each page. The pages are only read if there is anything that could be meant.
func (f *finder) derived(d *dir) map[string]bool {
	is := map[string]bool{}
	meant := len(d.dirs) > 0
	var pages []entry
	for _, e := range d.files {
		switch {
		case f.isMHonArcPage(d, e):
			pages = append(pages, e)
		case path.Ext(e.name) != ".html" && e.name != mhonarcDB:
			meant = true
		}
	}
	if !meant {
		return is
	}
	in := buffers.Get().(*buffer)
	defer buffers.Put(in)
	for _, e := range pages {
		file, err := open(f.root, d.listed(e), f.dev)
		if err != nil {
			continue // it will not be read as a page either
		}
		head, by, err := in.head(file)
		if err == nil && by == MHonArc && bytes.Contains(head, []byte(derivedField)) {
			if shown, err := readMHonArc(head, d.path); err == nil {
				for _, p := range shown.Attachments {
					is[p] = true
				}
			}
		}
		file.Close()
	}
	return is
}
