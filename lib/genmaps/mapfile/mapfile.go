// Package mapfile stores rows in the formats of the services that look them
// up, and reads them back from the files that are published.
package mapfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"rplan/lib/cdb"
	"rplan/lib/diag"
	"rplan/lib/genmaps/render"
)

// Rows are keys with their values in ascending order of keys.
type Rows = iter.Seq2[string, string]

// Names are the files that a render.File is published as, the one that holds
// its rows or text first; the others are built from it by the service's tool.
func Names(name string, format render.Format) []string {
	switch format {
	case render.CDB:
		return []string{name + ".cdb"}
	case render.LMDB:
		return []string{name, name + ".lmdb"}
	case render.Hash, render.DBM:
		return []string{name, name + ".db"}
	default:
		return []string{name}
	}
}

// Lookup is how the service's own tools name a table of this format that lies
// at path without its ending, such as "cdb:/var/lib/rplan/maps/postfix/mailboxes".
func Lookup(path string, format render.Format) string {
	switch format {
	case render.CDB:
		return "cdb:" + path
	case render.LMDB:
		return "lmdb:" + path
	case render.Hash:
		return "hash:" + path
	default:
		return "texthash:" + path
	}
}

// Tool is the command that builds the second of Names from the first, which
// lies at path, or nil if there is none to build.
func Tool(path string, format render.Format, postmap []string) []string {
	switch format {
	case render.LMDB, render.Hash:
		return append(append([]string{}, postmap...), Lookup(path, format))
	case render.DBM:
		return []string{"httxt2dbm", "-f", "DB", "-i", path, "-o", path + ".db"}
	default:
		return nil
	}
}

// separator is what stands between key and value in a line.
func separator(format render.Format) string {
	if format == render.PasswdMap {
		return ":::::::" // user:password:uid:gid:gecos:home:shell:extra (Dovecot, "Passwd-file")
	}
	return " "
}

// Write writes rows to an empty file and returns how many there were.
func Write(file io.WriteSeeker, format render.Format, rows Rows) (n int, err error) {
	if format == render.CDB {
		w := cdb.NewWriter(file)
		for key, value := range rows {
			if err := w.Put(key, value); err != nil {
				return n, err
			}
			n++
		}
		return n, w.Close()
	}
	w := bufio.NewWriterSize(file, 256<<10)
	between := separator(format)
	for key, value := range rows {
		w.WriteString(key)
		w.WriteString(between)
		w.WriteString(value)
		w.WriteByte('\n') // the first error sticks
		n++
	}
	return n, w.Flush()
}

// Reader yields the rows of a published file, in the order in which they stand there.
type Reader struct {
	rows  iter.Seq2[cdb.Row, error]
	close func() error
}

// Open opens the first of Names at path.
func Open(path string, format render.Format) (*Reader, error) {
	if format == render.CDB {
		r, err := cdb.Open(path)
		if err != nil {
			return nil, err
		}
		return &Reader{r.Rows(), r.Close}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Reader{lines(f, path, separator(format)), f.Close}, nil
}

// Rows stops after an error. A Row is valid until the next.
func (r *Reader) Rows() iter.Seq2[cdb.Row, error] { return r.rows }

// Close closes the file.
func (r *Reader) Close() error { return r.close() }

func lines(f io.Reader, path, between string) iter.Seq2[cdb.Row, error] {
	return func(yield func(cdb.Row, error) bool) {
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for n := 1; s.Scan(); n++ {
			key, value, ok := bytes.Cut(s.Bytes(), []byte(between))
			if !ok {
				yield(cdb.Row{}, diag.BadData.Errorf("%s:%d: not a row of a map", path, n))
				return
			}
			if !yield(cdb.Row{Key: key, Value: value}, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(cdb.Row{}, fmt.Errorf("reading %q: %w", path, err))
		}
	}
}

// Difference counts how new rows differ from old ones.
type Difference struct {
	Total   int `json:"rows"` // there are now
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Changed int `json:"changed"`
}

// None says that old and new are the same.
func (d Difference) None() bool { return d.Added+d.Removed+d.Changed == 0 }

// Visitor is told of each row that differs; was is "" for an added one, is "" for a removed one.
type Visitor func(op Op, key, was, is string)

// Op is what became of a row.
type Op byte

const (
	Add    Op = '+'
	Remove Op = '-'
	Alter  Op = '~'
)

// Compare walks through old and new rows side by side, so that it needs no
// memory for either. old may be nil: there was nothing. If the old rows are
// not in order, they count as removed and added, never as equal.
func Compare(old *Reader, rows Rows, visit Visitor) (d Difference, err error) {
	next, stop := func() (cdb.Row, error, bool) { return cdb.Row{}, nil, false }, func() {}
	if old != nil {
		next, stop = iter.Pull2(old.Rows())
	}
	defer stop()
	was, err, more := next()
	for key, value := range rows {
		d.Total++
		for more && err == nil && string(was.Key) < key {
			d.Removed++
			visit(Remove, string(was.Key), string(was.Value), "")
			was, err, more = next()
		}
		switch {
		case err != nil:
			return d, err
		case !more || string(was.Key) > key:
			d.Added++
			visit(Add, key, "", value)
			continue
		case string(was.Value) != value:
			d.Changed++
			visit(Alter, key, string(was.Value), value)
		}
		was, err, more = next()
	}
	for ; more && err == nil; was, err, more = next() {
		d.Removed++
		visit(Remove, string(was.Key), string(was.Value), "")
	}
	return d, err
}

// Line is one row as a diff shows it.
func Line(key, value string) string { return strings.TrimRight(key+" "+value, " ") }
