package archive

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// referenceMail is the size of a mail of Reference in its mbox, about.
const referenceMail = 505

// Sizes are those of a tree of Mailman 2, in bytes.
type Sizes struct {
	Mbox, HTML int64 // what the files hold; HTML is all below archives/private/LIST
	Disk       int64 // what HTML takes on the disk
	Files      int   // in HTML
}

// Reference writes the tree of a list that has about one byte of mbox for nine of HTML, like the archive that had 3 GB of
// mbox and 27 GB of HTML: some mbox bytes of short mails over at most ten years, and what Mailman 2 makes of them.
//
// Ratios that were measured, by size and (on ext4, blocks of 4 KiB) by disk: pipermail with Received fields, texts of 1,000
// bytes 4.0 and 4.7; of 60 bytes 5.6 and 8.7; without Received fields, texts of 60 bytes 9.9 and 14, of 200 bytes 7.8 and 11.
// MHonArc beside an mbox: 2.1 and 2.7, with small mails 3.5 and 4.6. So nine to one are short mails, or small files.
// All but some percent of the time is open(2): 0.2 to 0.5 ms a page.
func Reference(dir string, mbox int64) (*PipermailTree, Sizes, error) {
	mails := Make{Seed: 3, N: int(mbox / referenceMail), Plain: true, Bare: true, Lean: true, Text: 110}.Mails()
	tree, err := Pipermail(dir, "dev", mails, PipermailOptions{})
	if err != nil {
		return nil, Sizes{}, err
	}
	sizes, err := tree.Sizes(dir)
	return tree, sizes, err
}

// Sizes measures the tree, which is below dir.
func (t *PipermailTree) Sizes(dir string) (s Sizes, err error) {
	info, err := os.Stat(filepath.Join(dir, t.Mbox))
	if err != nil {
		return s, err
	}
	s.Mbox = info.Size()
	err = filepath.WalkDir(filepath.Join(dir, t.HTML), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s.Disk += info.Sys().(*syscall.Stat_t).Blocks * 512
		if e.Type().IsRegular() {
			s.HTML += info.Size()
			s.Files++
		}
		return nil
	})
	return s, err
}
