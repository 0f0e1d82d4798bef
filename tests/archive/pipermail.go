package archive

import (
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// PipermailOptions say how a list's archive differs from that of an English, public list of Mailman 2.1.39 with its defaults.
type PipermailOptions struct {
	Host       string  // of the list; "" is Domain
	Charset    string  // of the pages: "us-ascii", the default; "iso-8859-1", the default of a German list; "utf-8"
	German     bool    // the pages speak German, and name months and days so
	GermanDirs bool    // the volumes too are called "2003-Januar", as where Mailman ran in a German locale
	Period     string  // of a volume: "month", the default; "quarter", "year", "week", "day"
	Quoting    Quoting // of the mbox. Pages are as if mails came one by one: bin/arch splits an unmangled mbox as TestCounts says
	Private    bool    // no symlink below archives/public
	OldDates   bool    // mails are dated as by 2.1.20 and before: see Pipermail
	Plain      bool    // addresses are not obscured (ARCHIVER_OBSCURES_EMAILADDRS = No)
	OnlyGzip   bool    // months are .txt.gz only (GZIP_ARCHIVE_TXT_FILES = Yes); else both are there, as after cron/nightly_gzip

	Scrubbed bool                     // the mbox has text only, attachments are files only (scrub_nondigest)
	Missing  func(i int, m Mail) bool // mails that have a page, and are not in the mbox
	Edit     func(i int, m Mail) bool // mails whose page an admin changed by hand
	Foreign  bool                     // somebody put files of his own into the tree
	Symlinks bool                     // and symlinks, to files inside and outside of it, and to nowhere
}

// PipermailTree is what Pipermail made. Paths are from the directory it was given.
type PipermailTree struct {
	Mbox     string   // the source: archives/private/LIST.mbox/LIST.mbox
	HTML     string   // archives/private/LIST
	InMbox   int      // messages in the mbox
	Volumes  []string // the directories below HTML, sorted by name
	Pages    []Page   // in the order of the mails
	Files    []File   // attachments, in the order of the mails
	Foreign  []string // files that no archiver made
	Symlinks []string
}

// Page is a page that shows one mail.
type Page struct {
	Path   string
	Mail   int    // which of the mails, from 0
	ID     string // the Message-ID that the page shows; Mailman made one up if the mail has none
	InMbox bool
	Edited bool
}

// File is an attachment as a file.
type File struct {
	Path   string
	Mail   int
	Exact  bool // its bytes are those of a decoded part; not so for HTML and messages, which are escaped
	InMbox bool // the mbox has that part
}

// Pipermail writes the archive of a list as Mailman 2.1 leaves it (read in Mailman/Archiver/HyperArch.py, pipermail.py and
// HyperDatabase.py, Mailman/Handlers/Scrubber.py): below dir archives/private/LIST.mbox/LIST.mbox,
// archives/private/LIST/{index.html, VOLUME/{NNNNNN,thread,subject,author,date,index}.html, VOLUME.txt, VOLUME.txt.gz,
// attachments/YYYYMMDD/HASH/attachment.*, database/VOLUME-*, pipermail.pck}, and the symlink archives/public/LIST.
// All is as if bin/arch had made it on New Year 2026. The server's clock is UTC. It keeps the text of all pages in memory, which Mailman does not.
//
// What it takes over from Mailman, since it matters to whoever reads pages:
//   - Numbers run on over all volumes; a page is in the volume of its Date field, as Python reads it: 30 Feb is in March. If that
//     is unreadable, before 1970 or after 16 January 2026, the Received field or the From_ line dates it. Old Mailmans took any date,
//     and filed what they could not read in the second after the mail before it.
//   - The shown Message-ID is in the In-Reply-To of the mailto links only, as the field has it: with newlines if it is folded.
//   - "Re:" is cut from the shown subject, unless it is in an encoded word. Raw 8-bit header fields are read in the list's charset.
//   - Of two mails with one Message-ID in a volume the indexes link to the later one only, once or twice, or to the first only if
//     that was answered in between; the other's page is there all the same, without links to its neighbours.
//   - VOLUME/index.html is a symlink to thread.html.
//   - Pages show ">From " where the mbox has it.
func Pipermail(dir, list string, mails iter.Seq[Mail], o PipermailOptions) (*PipermailTree, error) {
	o.defaults()
	p := &pipermail{
		o: o, dir: dir, list: list, volumes: map[string]*volume{},
		tree: &PipermailTree{Mbox: path.Join("archives/private", list+".mbox", list+".mbox"), HTML: path.Join("archives/private", list)},
	}
	for _, d := range []string{path.Dir(p.tree.Mbox), p.tree.HTML + "/database", "archives/public"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o775); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{func() error { return p.file(mails) }, p.writeVolumes, p.writeTOC, p.writeState, p.litter} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if !o.Private {
		link := path.Join("archives/public", list)
		p.tree.Symlinks = append(p.tree.Symlinks, link)
		if err := os.Symlink("../private/"+list, filepath.Join(dir, link)); err != nil {
			return nil, err
		}
	}
	slices.Sort(p.tree.Volumes)
	return p.tree, nil
}

func (o *PipermailOptions) defaults() {
	if o.Host == "" {
		o.Host = Domain
	}
	if o.Charset == "" {
		o.Charset = "us-ascii"
		if o.German {
			o.Charset = "iso-8859-1"
		}
	}
	if o.Period == "" {
		o.Period = "month"
	}
}

// pipermail is an archive in the making.
type pipermail struct {
	o        PipermailOptions
	dir      string
	list     string
	tree     *PipermailTree
	volumes  map[string]*volume
	last     time.Time // of the last article
	invented int       // Message-IDs
}

func (p *pipermail) path(name string) string { return filepath.Join(p.dir, p.tree.HTML, name) }

// file puts the mails into the mbox, the attachments into files, and the articles into their volumes.
func (p *pipermail) file(mails iter.Seq[Mail]) error {
	mbox, err := os.Create(filepath.Join(p.dir, p.tree.Mbox))
	if err != nil {
		return err
	}
	defer mbox.Close()
	var failed error
	_, err = WriteMbox(mbox, func(yield func(Mail) bool) {
		i := 0
		for m := range mails {
			inMbox := p.o.Missing == nil || !p.o.Missing(i, m)
			a, err := p.article(i, m, inMbox)
			if failed = err; err != nil {
				return
			}
			if p.o.Scrubbed {
				m.Raw = a.scrubbed(m)
			}
			if inMbox {
				p.tree.InMbox++
				if !yield(m) {
					return
				}
			}
			i++
		}
	}, p.o.Quoting)
	if err == nil {
		err = failed
	}
	if err == nil {
		err = mbox.Close()
	}
	return err
}

// litter adds what people leave in such trees.
func (p *pipermail) litter() error {
	if len(p.tree.Volumes) == 0 {
		return nil
	}
	if p.o.Foreign {
		for name, text := range map[string]string{
			"robots.txt": "User-agent: *\n", "logo.png": "\x89PNG\r\n\x1a\n", "README": "Do not delete!\n",
			"attachments/20030101/notes.txt": "mine\n", p.tree.Volumes[0] + "/summary.html": "<html><body><h1>Summary</h1></body></html>\n",
			p.tree.Volumes[0] + "/000000.html.bak": "old\n", "1999-old/000000.html": "<html><body>An older archiver made this.</body></html>\n",
		} {
			os.MkdirAll(filepath.Dir(p.path(name)), 0o775)
			if err := os.WriteFile(p.path(name), []byte(text), 0o664); err != nil {
				return err
			}
			p.tree.Foreign = append(p.tree.Foreign, path.Join(p.tree.HTML, name))
		}
		slices.Sort(p.tree.Foreign)
	}
	if p.o.Symlinks {
		for name, to := range map[string]string{
			"latest": p.tree.Volumes[len(p.tree.Volumes)-1], "outside": "/etc", "passwd.html": "/etc/passwd", "dangling": "nowhere",
			p.tree.Volumes[0] + "/999999.html": "../index.html",
		} {
			if err := os.Symlink(to, p.path(name)); err != nil {
				return err
			}
			p.tree.Symlinks = append(p.tree.Symlinks, path.Join(p.tree.HTML, name))
		}
	}
	return nil
}
