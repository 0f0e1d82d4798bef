package layout

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
)

var (
	// mboxName is LIST.mbox or LIST-YYYY-MM.mbox, as HyperKitty's export is usually named, perhaps compressed.
	mboxName = regexp.MustCompile(`^(.+?)(-\d{4}-\d{2}(?:-\d{2})?)?\.mbox(?:\.gz|\.zst)?$`)
	// monthName is a month that was cut off from LIST.mbox and compressed.
	monthName = regexp.MustCompile(`^\d{4}-\d{2}\.mbox\.(?:gz|zst)$`)
)

// zstdMagic begins each Zstandard frame (RFC 8878, section 3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// isMbox tells whether a file begins with a From_ line, or is compressed and could.
func (f *finder) isMbox(d *dir, e entry) bool {
	head := f.head(d, e)
	switch {
	case strings.HasSuffix(e.name, ".zst"):
		return strings.HasPrefix(head, zstdMagic)
	case strings.HasSuffix(e.name, ".gz"):
		z, err := gzip.NewReader(strings.NewReader(head))
		if err != nil {
			return false
		}
		begin := make([]byte, len("From "))
		_, err = io.ReadFull(z, begin)
		return err == nil && bytes.Equal(begin, []byte("From "))
	}
	return strings.HasPrefix(head, "From ")
}

// mboxOrOther says what a file is that is none of the archiver's.
func (f *finder) mboxOrOther(d *dir, e entry) (Kind, string) {
	if (mboxName.MatchString(e.name) || monthName.MatchString(e.name) || e.name == "mbox" || e.name == d.name) && f.isMbox(d, e) {
		return Mbox, ""
	}
	return Other, ""
}

// mboxes puts those mboxes in d into the archive that are of a list of which ok is true; that of a
// file named "mbox" or for a month only is "". It returns how many there were.
func (f *finder) mboxes(a *Archive, d *dir, ok func(list string) bool) int {
	n := 0
	for _, e := range d.files {
		list, is := "", e.name == "mbox" || monthName.MatchString(e.name)
		if m := mboxName.FindStringSubmatch(e.name); m != nil && !is {
			list, is = m[1], true
		}
		if is && !f.taken[d.join(e.name)] && ok(list) && f.isMbox(d, e) {
			f.one(a, d, e, Mbox, "")
			n++
		}
	}
	return n
}

// exports takes directories whose files are mboxes and nothing else: HyperKitty's exports, an archive for each list.
func (f *finder) exports(d *dir) {
	if f.taken[d.path] || f.isSource(d) {
		return
	}
	for _, s := range d.dirs {
		f.exports(s)
	}
	if f.want != "" && f.want != Mailman3 {
		return
	}
	lists := map[string]bool{}
	for _, e := range d.files {
		if f.taken[d.join(e.name)] {
			continue
		}
		m := mboxName.FindStringSubmatch(e.name)
		if m == nil || monthName.MatchString(e.name) || d.sub(m[1]) != nil || !f.isMbox(d, e) {
			return // also where a directory of that name was refused: its mbox is not to be taken alone
		}
		lists[m[1]] = true
	}
	for list := range lists {
		a := Archive{List: list, Layout: Mailman3, Dir: d.path}
		f.mboxes(&a, d, func(of string) bool { return of == list })
		f.keep(a)
	}
}
