// Package links remembers the pages that were removed, and which message each of them
// showed, so that an old link can say so or lead on.
//
// What it knows of a tree is in TREE/.rplan: links.tsv, which is the memory, and made from
// it links.txt and links.db, the RewriteMap of contrib/apache/rplan-archive.conf.
// Add the links of pages, then remove the pages; Publish at the end of the run.
//
// It takes no lock: the caller has that of the tree. A tree is an os.Root, and nothing
// outside of it is opened.
package links

import (
	"cmp"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"rplan/lib/diag"
)

const (
	// Dir is where a tree's files of rplan are.
	Dir = ".rplan"
	// Path is that of the memory, from the tree's top.
	Path = Dir + "/links.tsv"
)

// Expired as a Link's Offset: its message is no longer kept. Mbox and ID are forgotten with
// it, as to forget is what retention is for; the old link says only that the message is gone.
const Expired = -1

const (
	maxID   = 998  // no line of a mail is longer (RFC 5322, section 2.1.1)
	maxPath = 4095 // PATH_MAX of Linux
)

// Link is a page that went, and the message that it showed.
type Link struct {
	Page   string // path from the tree's top, such as "dev/2019-March/000123.html"
	ID     string // Message-ID without brackets; "" for none, or for one of more than 998 bytes
	List   string // name or address
	Mbox   string // path from the tree's top of the file with the message; "" if the page showed no single message, as an index does
	Offset int64  // of the message in it, or Expired
}

// Add remembers links, which it sorts by page. What is remembered of a page already gives
// way to the new link, and of two new ones the first to the second. When it returns, they are
// safe on the disk, and the pages may go.
func Add(tree *os.Root, links []Link) error {
	for i := range links {
		if err := links[i].tidy(); err != nil {
			return err
		}
	}
	if len(links) == 0 {
		return nil
	}
	slices.SortStableFunc(links, func(a, b Link) int { return cmp.Compare(a.Page, b.Page) })
	return rewrite(tree, func(old rows) rows { return merge(old, links) })
}

// tidy forgets what is not to be remembered, and refuses what cannot be.
func (l *Link) tidy() error {
	if l.Offset < Expired {
		return diag.BadData.Errorf("page %q: %d is no offset", l.Page, l.Offset)
	}
	if l.Offset == Expired {
		l.ID, l.Mbox = "", ""
	}
	if len(l.ID) > maxID {
		l.ID = ""
	}
	for _, p := range []string{l.Page, l.Mbox, l.List} {
		if len(p) > maxPath {
			return diag.BadData.Errorf("page %.80q: a path or name of %d bytes", l.Page, len(p))
		}
	}
	if p := strings.TrimSuffix(l.Page, "/"); !filepath.IsLocal(p) || path.Clean(p) != p || p == "." || p == Dir || strings.HasPrefix(p, Dir+"/") {
		return diag.BadData.Errorf("%q is not the path of a page", l.Page)
	}
	return nil
}

// rows are links in ascending order of pages. They end with the first error.
type rows = iter.Seq2[Link, error]

func merge(old rows, fresh []Link) rows {
	return func(yield func(Link, error) bool) {
		i := 0
		for o, err := range old {
			for ; err == nil && i < len(fresh) && fresh[i].Page < o.Page; i++ {
				if !superseded(fresh, i) && !yield(fresh[i], nil) {
					return
				}
			}
			if err == nil && i < len(fresh) && fresh[i].Page == o.Page {
				continue // the new one is yet to come
			}
			if !yield(o, err) {
				return
			}
		}
		for ; i < len(fresh); i++ {
			if !superseded(fresh, i) && !yield(fresh[i], nil) {
				return
			}
		}
	}
}

func superseded(l []Link, i int) bool { return i+1 < len(l) && l[i+1].Page == l[i].Page }

// Where says where the message of a link is now, or that it is gone.
type Where func(l Link) (newMbox string, newOffset int64, gone bool)

// Update asks where the messages of a list are now, in no certain order, after some were
// cut out of an mbox or months were moved to other files. List is as the links have it.
func Update(tree *os.Root, list string, where Where) error {
	return rewrite(tree, func(old rows) rows {
		return func(yield func(Link, error) bool) {
			for l, err := range old {
				if err == nil && l.List == list && l.Mbox != "" {
					var gone bool
					if l.Mbox, l.Offset, gone = where(l); gone {
						l.Offset = Expired
					}
					err = l.tidy()
				}
				if !yield(l, err) {
					return
				}
			}
		}
	})
}
