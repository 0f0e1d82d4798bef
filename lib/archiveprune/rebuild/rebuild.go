// Package rebuild makes pages of mail again, with Debian's MHonArc.
//
// Mail is written by strangers: no markup of theirs gets into a page, no name of theirs
// becomes the name of a file, and no program but mhonarc(1) is started. An HTML mail is
// shown as its text, an attachment is beside the page with its exact bytes, and as a type that a
// browser does not run. Attached text is shown on the page.
//
// Where two messages have one Message-ID, MHonArc shows the first. To one without it gives
// an ID that ends in "@NO-ID-FOUND.mhonarc.org" and that no mbox has.
package rebuild

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// Mark is a file in a directory of pages made here. It holds when that was.
const Mark = ".rplan-rebuilt"

// DefaultTimeout is for Options without one: 16,000 messages take a minute or two.
const DefaultTimeout = 2 * time.Hour

// Options say what to make.
type Options struct {
	Tree  *os.Root
	Dest  string // directory to make, from the tree's top, such as "dev/2019-03"; the one above it is there already
	Title string // of the indexes; what is not common in names becomes "_"

	// Messages are those of an mbox, each from its From_ line on, or without one. A reader is
	// used up before the next is asked for.
	Messages iter.Seq2[io.Reader, error]

	Replace       bool // Dest, if it was made here; anything else is never replaced
	HideAddresses bool // what is behind the "@", wherever a reader sees it; a comment of MHonArc's has authors in ROT13 still
	Timeout       time.Duration
}

// Result is what came of it.
type Result struct {
	Messages int   `json:"messages"` // that were read
	Pages    int   `json:"pages"`    // that show one each; fewer when a Message-ID is there twice
	Files    int   `json:"files"`    // all that were made
	Bytes    int64 `json:"bytes"`    // of all files
}

//go:embed mhonarc.mrc
var resources []byte

//go:embed rplan.pl
var filters []byte

var mhonarc = "mhonarc" // a test has another

// Rebuild makes the pages in a directory of their own below TREE/.rplan, and moves them to
// Dest when they are complete and on the disk. If it fails, or is killed, Dest is as it was,
// and what a killed one left goes when Rebuild is called again. It takes no lock: the caller
// has that of the tree.
//
// An error is of kind diag.Refused if there is something at Dest that may not be replaced,
// diag.Unavailable without MHonArc, and diag.CantCreate where the disk is full.
func Rebuild(ctx context.Context, o Options) (r Result, err error) {
	if !filepath.IsLocal(o.Dest) || path.Clean(o.Dest) != o.Dest || o.Dest == "." || strings.HasPrefix(o.Dest+"/", hidden+"/") {
		return r, diag.Usage.Errorf("%q cannot be a directory of pages", o.Dest)
	}
	if _, err := run.LookPath(mhonarc); err != nil {
		return r, diag.Unavailable.Errorf("cannot make pages: %w", err).WithHint("install Debian's mhonarc")
	}
	parent, err := descend(o.Tree, path.Dir(o.Dest))
	if err != nil {
		return r, err
	}
	defer parent.Close()
	d := &destination{parent: parent, name: path.Base(o.Dest), shown: path.Join(o.Tree.Name(), o.Dest), replace: o.Replace}
	if err := d.free(); err != nil {
		return r, err
	}
	w, err := newWorkshop(o.Tree)
	if err != nil {
		return r, err
	}
	defer func() {
		if tidied := w.close(); err == nil {
			err = tidied
		}
	}()
	if r.Messages, err = w.convert(ctx, o); err != nil {
		return r, err
	}
	if err := w.inspect(&r); err != nil {
		return r, err
	}
	if r.Messages > 0 && r.Pages == 0 {
		return r, fmt.Errorf("mhonarc made no page of %d messages", r.Messages)
	}
	return r, w.deliver(d)
}

// At is when the pages in a directory were made here; the zero time for other directories.
func At(tree *os.Root, dir string) (time.Time, error) {
	text, err := tree.ReadFile(path.Join(dir, Mark))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return t, diag.BadData.Errorf("%q: %w", path.Join(tree.Name(), dir, Mark), err)
	}
	return t, nil
}

// uncommon is what is not in a title: it goes into HTML and into MHonArc's resources as it is.
var uncommon = regexp.MustCompile(`[^\p{L}\p{N}@.,:+_ -]`)

func title(s string) string {
	return uncommon.ReplaceAllString(strings.ToValidUTF8(s, "_"), "_")
}
