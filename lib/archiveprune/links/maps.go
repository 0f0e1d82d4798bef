package links

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/run"
)

var httxt2dbm = "httxt2dbm" // a test has another

const (
	text = "links.txt" // RewriteMap of type txt
	dbm  = "links.db"  // and of type dbm=db
)

// What stands in place of a message in the map. No encoded value begins with "*".
const (
	NoMessage = "*"        // the page showed no single message
	Forgotten = "*expired" // the message is no longer kept
	noID      = "*"        // for the Message-ID and its hash
)

// maxRow is how long a line of the map may be, with its end: mod_rewrite and httxt2dbm
// take the rest of a longer one for a line of its own.
const maxRow = 1000

// building is how long httxt2dbm may take. A million rows took 15 s.
const building = 30 * time.Minute

// Maps is what Publish made.
type Maps struct {
	Rows    int  `json:"rows"`     // in the map
	TooLong int  `json:"too_long"` // pages whose path is too long for Apache
	DBM     bool `json:"dbm"`      // whether there is the quick form too
}

// Publish makes links.txt from the memory and, if Debian's apache2-utils is there,
// links.db, which Apache looks up in a fiftieth of the time. What is newer than the memory
// already is left, so that a Maps without Rows says that nothing was done. When links.db is there and
// cannot be made again, links.txt is right nevertheless, and the error of kind diag.Unavailable.
func Publish(ctx context.Context, tree *os.Root) (m Maps, err error) {
	dir, err := enter(tree)
	if err != nil {
		return m, err
	}
	defer dir.Close()
	memory := path.Base(Path)
	if _, err := dir.Lstat(memory); errors.Is(err, fs.ErrNotExist) { // Apache does not start without its map
		if err := rewrite(tree, func(old rows) rows { return old }); err != nil {
			return m, err
		}
	}
	info, err := dir.Lstat(memory)
	if err != nil {
		return m, diag.CantCreate.Errorf("%w", err)
	}
	if !isOf(dir, text, info) {
		if m, err = writeText(dir); err != nil {
			return m, err
		}
		if err := stamp(dir, text, info); err != nil {
			return m, err
		}
	}
	_, missing := run.LookPath(httxt2dbm)
	switch {
	case isOf(dir, dbm, info):
		m.DBM = true
		return m, nil
	case missing == nil:
		if err := writeDBM(ctx, dir); err != nil {
			return m, err
		}
		m.DBM = true
		return m, stamp(dir, dbm, info)
	}
	if _, err := dir.Lstat(dbm); err == nil {
		return m, diag.Unavailable.Errorf("%q is out of date: %w", path.Join(dir.Name(), dbm), missing).
			WithHint("install Debian's apache2-utils, or have Apache read links.txt and remove links.db")
	}
	return m, nil
}

// A map has the time of the memory that it was made from; that of the next memory is later.
func isOf(dir *os.Root, name string, memory fs.FileInfo) bool {
	info, err := dir.Lstat(name)
	return err == nil && info.Mode().IsRegular() && info.ModTime().Equal(memory.ModTime())
}

func stamp(dir *os.Root, name string, memory fs.FileInfo) error {
	if err := dir.Chtimes(name, time.Time{}, memory.ModTime()); err != nil {
		return diag.CantCreate.Errorf("%w", err)
	}
	return nil
}

func writeText(dir *os.Root) (m Maps, err error) {
	f, err := atomicfile.CreateIn(dir, text, 0o644)
	if err != nil {
		return m, err
	}
	defer f.Abort()
	out := bufio.NewWriterSize(f, 256<<10)
	var row []byte
	for l, err := range Read(dir, path.Base(Path)) {
		if err != nil {
			return m, err
		}
		value := l.value()
		pages := []string{l.Page}
		if dir, index := strings.CutSuffix(l.Page, "/index.html"); index {
			pages = append(pages, dir+"/") // what most links to it say
		}
		for _, page := range pages {
			if row = appendRow(row[:0], page, value); len(row) > maxRow && !strings.HasPrefix(value, "*") {
				row = appendRow(row[:0], page, l.withoutID())
			}
			if len(row) > maxRow {
				m.TooLong++
				continue
			}
			m.Rows++
			if _, err := out.Write(row); err != nil {
				return m, err
			}
		}
	}
	if err := out.Flush(); err != nil {
		return m, err
	}
	return m, f.Commit()
}

func writeDBM(ctx context.Context, dir *os.Root) error {
	in, err := openFile(dir, text)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := atomicfile.CreateIn(dir, dbm, 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	result, err := run.Run(ctx, run.Cmd{Timeout: building, Files: []*os.File{in, f.File()},
		Argv: []string{httxt2dbm, "-f", "DB", "-i", "/proc/self/fd/3", "-o", "/proc/self/fd/4"}})
	for line := range strings.Lines(string(result.Stderr)) {
		// It exits with 0 also when the disk was full in the end. The first is of Berkeley DB about a file that is empty yet.
		if !strings.HasPrefix(line, "BDB0004 ") && err == nil {
			err = errors.New(strings.TrimSpace(strings.ToValidUTF8(line, "?")))
		}
	}
	if err != nil {
		return diag.CantCreate.Errorf("cannot write %q: %w", path.Join(dir.Name(), dbm), err)
	}
	return f.Commit()
}

// appendRow adds a line of the map: the page as Apache's int:escape has it, and the value.
func appendRow(b []byte, page, value string) []byte {
	for _, c := range []byte(page) {
		if isAlnum(c) || strings.IndexByte("$-_.+!*'(),:;@&=/~", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', lower[c>>4], lower[c&15])
		}
	}
	b = append(b, ' ')
	b = append(b, value...)
	return append(b, '\n')
}

// value is LIST,HASH,ID, where HASH is Mailman 3's Message-ID-Hash, which HyperKitty's
// URLs have; or one of the values that begin with "*".
func (l Link) value() string {
	switch {
	case l.Offset == Expired:
		return Forgotten
	case l.Mbox == "":
		return NoMessage
	case l.ID == "":
		return l.withoutID()
	}
	hash := sha1.Sum([]byte(l.ID))
	return quote(l.List) + "," + base32.StdEncoding.EncodeToString(hash[:]) + "," + quote(l.ID)
}

func (l Link) withoutID() string { return quote(l.List) + "," + noID + "," + noID }

const (
	lower = "0123456789abcdef"
	upper = "0123456789ABCDEF"
)

// quote percent-encodes what means something in HTML, in a URL, to mod_rewrite or to the
// map, and leaves what Message-IDs are commonly made of, "/" included, as people know it.
func quote(s string) string {
	var b []byte
	for _, c := range []byte(s) {
		if isAlnum(c) || strings.IndexByte("-._~+=@/$!:", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', upper[c>>4], upper[c&15])
		}
	}
	return string(b)
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
