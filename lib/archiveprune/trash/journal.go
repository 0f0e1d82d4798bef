package trash

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

const (
	journalName = "journal"
	unfinished  = "journal.new" // one in which not all is listed yet: nothing has moved
	magic       = "rplan-trash 1"
	maxRecord   = 64 << 10 // bytes of a line; a path has at most 4096, each written with at most four
)

// record is one line of a journal. Paths and names are as strconv.Quote writes them,
// at the end of the line, so that any byte a file's name may have stays what it is.
//
//	rplan-trash 1 TIME "LIST"                            the first line
//	dir "PATH"                                           a directory that is to go as a whole
//	sift "PATH"                                          one of whose files only those listed go
//	file SIZE MTIME INODE "PATH"                         a file that is to go
//	link SIZE MTIME INODE "PATH"                         a symlink that is to go
//	begun FILES BYTES                                    all is listed; what follows is added as it happens, each before it does
//	exchange "PATH"                                      a sifted directory changes places with its successor
//	replace SIZE MTIME INODE SIZE SHA256 INODE "PATH"    a file gives way to another one
//	copy SIZE MTIME INODE "PATH"                         a copy of the one that gives way, where files cannot change places
//	late SIZE AT "PATH"                                  what the old one has until SIZE is added at this offset of the new one
//	grown SIZE MTIME INODE "PATH"                        that was done
//	ended FILES BYTES                                    what is in the trash now
//	undo                                                 all goes back
//	restored INODE "PATH"                                what is to lie at the path of a replaced file
//	empty                                                all is deleted for good
type record struct {
	verb string
	identity
	new   content // of what takes the place
	files int64
	bytes int64
	at    time.Time
	path  string // or the list's name
}

// content is what a file holds.
type content struct {
	size  int64
	sum   [sha256.Size]byte
	inode uint64
}

func (r record) append(b []byte) []byte {
	number := func(n int64) { b = strconv.AppendInt(append(b, ' '), n, 10) }
	inode := func(n uint64) { b = strconv.AppendUint(append(b, ' '), n, 10) }
	b = append(b, r.verb...)
	switch r.verb {
	case magic:
		b = append(append(b, ' '), utc(r.at).Format(time.RFC3339)...)
	case "begun", "ended":
		number(r.files)
		number(r.bytes)
	case "restored":
		inode(r.inode)
	case "late":
		number(r.size)
		number(r.new.size)
	case "file", "link", "grown", "copy", "replace":
		number(r.size)
		number(r.mtime)
		inode(r.inode)
	}
	if r.verb == "replace" {
		number(r.new.size)
		b = hex.AppendEncode(append(b, ' '), r.new.sum[:])
		inode(r.new.inode)
	}
	if r.verb == magic || r.path != "" {
		b = strconv.AppendQuote(append(b, ' '), r.path)
	}
	return append(b, '\n')
}

// fields are what each verb has, besides a path.
var fields = map[string]struct {
	numbers int
	path    bool
}{
	"dir": {0, true}, "sift": {0, true}, "file": {3, true}, "link": {3, true}, "begun": {2, false}, "exchange": {0, true}, "replace": {6, true},
	"copy": {3, true}, "late": {2, true}, "grown": {3, true}, "ended": {2, false}, "undo": {0, false}, "restored": {1, true}, "empty": {0, false},
}

var errRecord = errors.New("is no line of a journal")

// parse reads a line, without its end. A path that it yields names something below
// the tree, outside of the trash.
func parse(line string) (r record, err error) {
	if rest, ok := strings.CutPrefix(line, magic+" "); ok {
		at, list, _ := strings.Cut(rest, " ")
		r.verb = magic
		if r.at, err = time.Parse(time.RFC3339, at); err == nil {
			r.path, err = unquote(list)
		}
		return r, err
	}
	rest := ""
	r.verb, rest, _ = strings.Cut(line, " ")
	has, known := fields[r.verb]
	if !known {
		return r, errRecord
	}
	var words [6]string
	for i := range has.numbers {
		words[i], rest, _ = strings.Cut(rest, " ")
	}
	if err := r.fill(words); err != nil {
		return r, errRecord
	}
	if !has.path && rest == "" {
		return r, nil
	}
	if r.path, err = unquote(rest); err != nil || !has.path || !local(r.path) {
		return r, errRecord
	}
	return r, nil
}

func (r *record) fill(words [6]string) error {
	var errs [6]error
	number := func(i int) (n int64) {
		if n, errs[i] = strconv.ParseInt(words[i], 10, 64); errs[i] == nil && n < 0 {
			errs[i] = errRecord
		}
		return n
	}
	inode := func(i int) (n uint64) {
		n, errs[i] = strconv.ParseUint(words[i], 10, 64)
		return n
	}
	switch r.verb {
	case "begun", "ended":
		r.files, r.bytes = number(0), number(1)
	case "restored":
		r.inode = inode(0)
	case "late":
		r.size, r.new.size = number(0), number(1)
	case "file", "link", "grown", "copy", "replace":
		r.symlink = r.verb == "link"
		r.size, r.inode = number(0), inode(2)
		r.mtime, errs[1] = strconv.ParseInt(words[1], 10, 64) // before 1970 there were files too
	}
	if r.verb == "replace" {
		r.new.size, r.new.inode = number(3), inode(5)
		sum, err := hex.DecodeString(words[4])
		if err != nil || len(sum) != sha256.Size {
			return errRecord
		}
		copy(r.new.sum[:], sum)
	}
	return errors.Join(errs[:]...)
}

func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return "", errRecord
	}
	s, err := strconv.Unquote(s)
	if err != nil {
		return "", errRecord
	}
	return s, nil
}

// local tells whether a path is one that this package moves.
func local(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	// fs.ValidPath knows "..", "//" and the like; it wants UTF-8, which a name need not be.
	return first != ours && p != "." && len(p) < unix.PathMax && !strings.Contains(p, "\x00") && fs.ValidPath(strings.ToValidUTF8(p, "?"))
}

// readJournal hands over the records of a run's journal, one after the other, but of
// files only if they are wanted. A last line without an end is what a killed run
// left, and no record. The error is of kind diag.BadData if a line is none.
func readJournal(run *os.File, files bool, each func(record) error) error {
	f, _, err := openFile(run, journalName)
	if err != nil {
		return diag.BadData.Errorf("journal %q %s", run.Name()+"/"+journalName, why(err)).WithHint("move what is in %q to where it belongs by hand", run.Name())
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxRecord)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if err == io.EOF {
			if n > 1 {
				return nil
			}
			err = io.ErrUnexpectedEOF
		}
		if err == nil && n > 1 && !files && strings.HasPrefix(string(line[:min(5, len(line))]), "file ") {
			continue
		}
		var r record
		if err == nil {
			r, err = parse(string(line[:len(line)-1]))
		}
		if err == nil && (r.verb == magic) != (n == 1) {
			err = errRecord
		}
		if err != nil {
			return diag.BadData.Errorf("line %d of journal %q: %w", n, f.Name(), err).WithHint("move what is in %q to where it belongs by hand", run.Name())
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// openJournal is for adding to a journal. What a killed run did not write to its end goes.
func openJournal(run *os.File) (*os.File, error) {
	f, err := openAt(run, journalName, unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, cause(err)
	}
	tail := make([]byte, min(end, maxRecord))
	if _, err = f.ReadAt(tail, end-int64(len(tail))); err == nil {
		if torn := len(tail) - 1 - strings.LastIndexByte(string(tail), '\n'); torn > 0 {
			err = f.Truncate(end - int64(torn))
		}
	}
	if err != nil {
		f.Close()
		return nil, cause(err)
	}
	return f, nil
}

// note adds a record and returns when it is safe on the disk.
func note(journal *os.File, r record) error {
	end, err := journal.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = journal.Write(r.append(nil))
	}
	if err == nil {
		err = journal.Sync()
	}
	if err != nil {
		_ = journal.Truncate(end) // or the next record would continue half a line
		return diag.CantCreate.Errorf("cannot write %q: %w", journal.Name(), cause(err)).WithHint("make room on its file system, and run the command again")
	}
	return nil
}

// Info is what Runs tells of a run.
type Info struct {
	Run   string // its name in the trash
	List  string
	When  time.Time // when it began
	Files int64     // what it has in the trash
	Bytes int64
	Until time.Time // when it may be emptied
	State State
}

// State is what happens to a run.
type State string

const (
	Whole    State = "whole"    // ended: it can be undone or emptied
	Moving   State = "moving"   // at work, or killed
	Undoing  State = "undoing"  // going back, or killed at that
	Emptying State = "emptying" // some of it may be gone for good
)

// info reads a journal from end to end, which takes a tenth of a second for a million files.
func info(run *os.File, name string) (Info, error) {
	i := Info{Run: name, State: Moving}
	err := readJournal(run, false, func(r record) error {
		switch r.verb {
		case magic:
			i.List, i.When = r.path, r.at
		case "begun", "ended":
			i.Files, i.Bytes = r.files, r.bytes
			if r.verb == "ended" {
				i.State = Whole
			}
		case "undo":
			i.State = Undoing
		case "empty":
			i.State = Emptying
		}
		return nil
	})
	return i, err
}
