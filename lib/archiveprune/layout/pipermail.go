package layout

import (
	"regexp"
	"strings"
)

// Names as Mailman 2.1's archiver gives them (Mailman/Archiver/HyperArch.py).
var (
	articleName = regexp.MustCompile(`^\d{6,}\.html$`)
	textName    = regexp.MustCompile(`^(.+)\.txt(\.gz)?$`)
	recordName  = regexp.MustCompile(`^(.+)-(article|author|date|subject|thread)$`)
	// volumeName is a year, quarter, month, week or day; a month's name is in the language of the server's locale.
	volumeName = regexp.MustCompile(`^(\d{4}|\d{4}q[1-4]|\d{4}-[^/0-9]\D*|\d{4}-\d{1,2}\D*|Week-of-Mon-\d{8}|\d{8})$`)

	pipermailIndexes = map[string]bool{"thread.html": true, "subject.html": true, "author.html": true, "date.html": true}
)

const (
	beginArticle = "<!--beginarticle-->" // in every language's article.html; what comes before it is not the message's
	endArticle   = "<!--endarticle-->"
)

// indexLink is how each index of a volume leads to the other three, in every language.
var indexLink = regexp.MustCompile(`<a href="(thread|subject|author|date)\.html#start">`)

// isVolume tells whether d has the pages of a month, or of whatever a volume is: pages numbered and made as
// Mailman does, or again with MHonArc, and an index as it makes them, or a volume's name.
func (f *finder) isVolume(d *dir) bool {
	if f.hasMHonArcPages(d) {
		return volumeName.MatchString(d.name)
	}
	return f.hasArticles(d) && (volumeName.MatchString(d.name) || f.hasIndexes(d))
}

func (f *finder) hasArticles(d *dir) bool {
	var pages []entry
	for _, e := range d.files {
		if articleName.MatchString(e.name) {
			pages = append(pages, e)
		}
	}
	for _, e := range sample(pages) {
		if head := f.head(d, e); strings.Contains(head, beginArticle) && strings.Contains(head, `"date.html#`) {
			return true
		}
	}
	return false
}

func (f *finder) hasIndexes(d *dir) bool {
	for name := range pipermailIndexes {
		if e, ok := d.file(name); ok && f.isIndex(d, e) {
			return true
		}
	}
	return false
}

func (f *finder) isIndex(d *dir, e entry) bool { return indexLink.MatchString(f.head(d, e)) }

// sample is some of many: the first, the last and one between.
func sample(files []entry) []entry {
	if len(files) < 4 {
		return files
	}
	return []entry{files[0], files[len(files)/2], files[len(files)-1]}
}

// isPipermail tells whether d is a list's directory of Mailman 2. One whose pages are all gone still is,
// if its mbox is beside it, or the archiver's state in it, and nothing in it is strange.
func (f *finder) isPipermail(d *dir, mhonarc bool) bool {
	if strings.HasSuffix(d.name, ".mbox") {
		return f.isSource(d) && d.parent != nil && d.parent.sub(listName(d)) == nil
	}
	for _, s := range d.dirs {
		if !f.hasMHonArcPages(s) && f.isVolume(s) {
			return true
		}
	}
	if _, ok := d.file("pipermail.pck"); ok && (d.sub("database") != nil || d.sub("attachments") != nil || f.isContents(d)) {
		return true
	}
	beside := d.parent.sub(d.name + ".mbox")
	if beside == nil || !f.isSource(beside) || mhonarc && f.hasMHonArcPages(d) {
		return false
	}
	for _, e := range d.files {
		text := textName.FindStringSubmatch(e.name)
		if e.name != "index.html" && e.name != "pipermail.pck" && (text == nil || !volumeName.MatchString(text[1])) {
			return false
		}
	}
	for _, s := range d.dirs {
		if s.name != "attachments" && s.name != "database" && !volumeName.MatchString(s.name) {
			return false
		}
	}
	return true
}

// isSource tells whether d is LIST.mbox with LIST.mbox in it, which begins as an mbox does or is empty.
func (f *finder) isSource(d *dir) bool {
	e, ok := d.file(d.name)
	return ok && strings.HasSuffix(d.name, ".mbox") && (e.size == 0 || f.isMbox(d, e))
}

// isContents tells whether d has the index.html that leads to the volumes' indexes.
func (f *finder) isContents(d *dir) bool {
	e, ok := d.file("index.html")
	if !ok {
		return false
	}
	head := f.head(d, e)
	return strings.Contains(head, `/thread.html">`) && strings.Contains(head, `/date.html">`)
}

// pipermail fills in the archive at d, and the mbox beside it. If d is the mbox's directory, there is nothing else.
func (f *finder) pipermail(a *Archive, d *dir) {
	source := d.parent.sub(d.name + ".mbox")
	if strings.HasSuffix(d.name, ".mbox") {
		a.List, a.Dir, source, d = listName(d), strings.TrimSuffix(d.path, ".mbox"), d, nil
	}
	if source != nil {
		f.all(a, source, func(at *dir, e entry) (Kind, string) {
			if at == source && (e.name == source.name || monthName.MatchString(e.name) && f.isMbox(at, e)) {
				return Mbox, ""
			}
			return Other, ""
		})
	}
	if d == nil {
		return
	}
	attachments := d.sub("attachments")
	f.taken[d.path] = true
	a.Left = append(a.Left, d.left...)
	for _, e := range d.files {
		k, of := f.pipermailTop(d, e)
		f.one(a, d, e, k, of)
	}
	for _, s := range d.dirs {
		switch {
		case s == attachments:
			f.all(a, s, func(_ *dir, e entry) (Kind, string) {
				if strings.HasPrefix(e.name, "attachments.lock") {
					return Other, ""
				}
				return Attachment, ""
			})
		case s.name == "database":
			f.all(a, s, func(_ *dir, e entry) (Kind, string) {
				if m := recordName.FindStringSubmatch(e.name); m != nil {
					return Database, d.join(m[1])
				}
				return Other, ""
			})
		case f.hasMHonArcPages(s) && f.isVolume(s):
			f.mhonarcFiles(a, s)
		case f.isVolume(s):
			f.all(a, s, func(at *dir, e entry) (Kind, string) { return f.inVolume(s, at, e) })
		default:
			f.all(a, s, func(*dir, entry) (Kind, string) { return Other, "" })
		}
	}
}

// pipermailTop says what a file in a list's directory itself is.
func (f *finder) pipermailTop(d *dir, e entry) (Kind, string) {
	text := textName.FindStringSubmatch(e.name)
	switch {
	case e.name == "pipermail.pck":
		return Database, d.path
	case e.name == "index.html" && f.isContents(d):
		return Index, d.path
	case text != nil && (volumeName.MatchString(text[1]) || d.sub(text[1]) != nil && f.isVolume(d.sub(text[1]))):
		return Text, d.join(text[1])
	}
	return Other, ""
}

// inVolume says what a file at or below the volume is.
func (f *finder) inVolume(volume, at *dir, e entry) (Kind, string) {
	switch {
	case at != volume:
		return Other, ""
	case articleName.MatchString(e.name):
		return Page, ""
	case e.symlink, (pipermailIndexes[e.name] || e.name == "index.html") && f.isIndex(at, e):
		return Index, volume.path
	}
	return Other, ""
}
