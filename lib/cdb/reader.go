package cdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"slices"

	"rplan/lib/diag"
)

// Reader looks up keys in a cdb and walks through its rows. It trusts nothing
// in the file: damage is an error of kind diag.BadData, and no length that
// reaches past the records is believed. Several goroutines may share it.
type Reader struct {
	name   string
	file   io.ReaderAt
	close  func() error
	header [headerSize]byte
	end    uint32 // of the records: there the hash tables begin
}

// Row is a key and its value, in memory that the next row takes over.
type Row struct{ Key, Value []byte }

// Open opens the cdb at path, which the caller closes.
func Open(path string) (*Reader, error) {
	r := &Reader{name: path}
	f, err := os.Open(path)
	if err != nil {
		return nil, r.failed(err)
	}
	r.file, r.close = f, f.Close
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, r.failed(err)
	}
	if err := r.readHeader(info.Size()); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.close() }

func (r *Reader) readHeader(size int64) error {
	if size < headerSize || size > math.MaxUint32 {
		return r.damaged("it has %d bytes", size)
	}
	if err := r.read(r.header[:], 0); err != nil {
		return err
	}
	r.end, _ = r.table(0)
	for n := range uint32(tables) {
		pos, slots := r.table(n)
		if pos < headerSize || pos < r.end || int64(pos)+8*int64(slots) > size {
			return r.damaged("hash table %d is not within its %d bytes", n, size)
		}
	}
	return nil
}

// Get returns the value of key, and whether there is one.
func (r *Reader) Get(key string) (value []byte, found bool, err error) {
	h := hash(key)
	table, slots := r.table(h % tables)
	for i := range slots {
		slotHash, pos, err := r.pair(table + 8*((h/tables+i)%slots))
		if err != nil || pos == 0 {
			return nil, false, err
		}
		if slotHash != h {
			continue
		}
		if value, found, err := r.match(key, pos); found || err != nil {
			return value, found, err
		}
	}
	return nil, false, nil
}

// match returns the value of the record at pos, if that has this key.
func (r *Reader) match(key string, pos uint32) (value []byte, found bool, err error) {
	if err := r.within(pos, 0, 0); err != nil {
		return nil, false, err
	}
	keyLen, valueLen, err := r.pair(pos)
	if err != nil {
		return nil, false, err
	}
	if err := r.within(pos, keyLen, valueLen); err != nil || int64(keyLen) != int64(len(key)) {
		return nil, false, err
	}
	record := make([]byte, keyLen+valueLen)
	if err := r.read(record, int64(pos)+8); err != nil {
		return nil, false, err
	}
	return record[keyLen:], string(record[:keyLen]) == key, nil
}

// Rows walks through the rows in the order in which they were put, and stops
// after an error.
func (r *Reader) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		records := io.NewSectionReader(r.file, headerSize, int64(r.end)-headerSize)
		in := bufio.NewReaderSize(records, int(min(bufferSize, records.Size())))
		var record []byte
		for pos := uint32(headerSize); pos < r.end; pos += uint32(len(record)) {
			var keyEnd uint32
			var err error
			if record, keyEnd, err = r.next(in, pos, record); err != nil {
				yield(Row{}, err)
				return
			}
			if !yield(Row{Key: record[8:keyEnd:keyEnd], Value: record[keyEnd:]}, nil) {
				return
			}
		}
	}
}

// next reads the record at pos, lengths and all, into the memory of the last one.
func (r *Reader) next(in *bufio.Reader, pos uint32, last []byte) (record []byte, keyEnd uint32, err error) {
	if err := r.within(pos, 0, 0); err != nil {
		return nil, 0, err
	}
	lengths, err := in.Peek(8)
	if err != nil {
		return nil, 0, r.failed(err)
	}
	keyLen, valueLen := unpack(lengths)
	if err := r.within(pos, keyLen, valueLen); err != nil {
		return nil, 0, err
	}
	size := int(8 + keyLen + valueLen)
	record = slices.Grow(last[:0], size)[:size]
	if _, err := io.ReadFull(in, record); err != nil {
		return nil, 0, r.failed(err)
	}
	return record, 8 + keyLen, nil
}

// within checks that a record lies where records are.
func (r *Reader) within(pos, keyLen, valueLen uint32) error {
	if pos < headerSize || int64(pos)+8+int64(keyLen)+int64(valueLen) > int64(r.end) {
		return r.damaged("the record at %d is not within the records", pos)
	}
	return nil
}

// table is the position and the number of slots of the nth hash table.
func (r *Reader) table(n uint32) (pos, slots uint32) { return unpack(r.header[8*n:]) }

func (r *Reader) pair(pos uint32) (first, second uint32, err error) {
	b := make([]byte, 8)
	err = r.read(b, int64(pos))
	first, second = unpack(b)
	return first, second, err
}

func (r *Reader) read(b []byte, pos int64) error {
	if n, err := r.file.ReadAt(b, pos); n < len(b) {
		return r.failed(err)
	}
	return nil
}

// failed is for what the file system reports; a file that lost its end since
// it was opened is not the end of the rows.
func (r *Reader) failed(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("reading %q: %w", r.name, err)
}

func (r *Reader) damaged(format string, args ...any) error {
	return diag.BadData.Errorf("%q is not a whole cdb: %s", r.name, fmt.Sprintf(format, args...))
}

func unpack(b []byte) (first, second uint32) {
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}
