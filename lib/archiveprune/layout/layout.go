// Package layout finds mailing list archives in a tree and says what each of
// their files is. It reads, and changes nothing.
package layout

import "time"

// Layout is how the files of an archive lie.
type Layout string

const (
	Pipermail Layout = "pipermail" // Mailman 2: LIST/, and LIST.mbox/LIST.mbox beside it
	Mlmmj     Layout = "mlmmj"     // LIST/archive/N, one file a message
	Mailman3  Layout = "mailman3"  // a maildir of the prototype archiver, or mbox files that HyperKitty exported
	MHonArc   Layout = "mhonarc"   // pages that MHonArc made, beside an mbox
)

// Kind is what a file is for.
type Kind string

const (
	Mbox       Kind = "mbox"       // messages, one after the other, perhaps compressed
	Message    Kind = "message"    // one message
	Page       Kind = "page"       // shows one message
	Index      Kind = "index"      // shows the way to pages; can be made again
	Text       Kind = "text"       // the messages of a month as text; can be made again
	Attachment Kind = "attachment" // a part of a message, as a file
	Database   Kind = "database"   // what the archiver remembers of its pages
	Other      Kind = "other"      // anything else: it stays
)

// File is one file of an archive, as it was when it was listed.
type File struct {
	Path    string // from the tree's top, with slashes
	Kind    Kind
	Size    int64 // bytes
	ModTime time.Time
	Inode   uint64
	Symlink bool   // one of the archiver's own: pipermail makes each month's index.html one
	Of      string // of an Index, Text or Database: the directory of the pages that it is made from or leads to
}

// Archive is the archive of one list.
type Archive struct {
	List   string // the list's name or address, as far as the tree says it
	Layout Layout
	Dir    string // the directory of what is made from the messages, from the tree's top
	Files  []File // sorted by path; nothing in it is on another file system
	Left   []Left // what was seen and is none of Files: symlinks, devices, mount points
}

// Left is something that is passed over, and why.
type Left struct{ Path, Why string }

// Shown is what a page says of the message that it shows, decoded to UTF-8.
type Shown struct {
	ID          string // Message-ID without brackets; "" if the page has none
	Author      string // name or address
	Date        string // as the page has it
	Subject     string
	Attachments []string // paths from the tree's top of the files that the page links to
}
