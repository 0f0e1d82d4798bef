// Package cdb writes and reads constant databases, the tables that Postfix
// calls cdb: one file that maps keys to values, made once and never changed.
//
// The format is that of https://cr.yp.to/cdb/cdb.txt. All numbers are 32 bits,
// little-endian:
//
//	256 pointers (position, slots) | records (key length, value length, key, value) | 256 hash tables
//
// A slot of a hash table is (hash of the key, position of its record), and
// empty where the position is 0. Positions end at 4 GiB, and so does the file.
package cdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

const (
	tables     = 256
	headerSize = tables * 8
	bufferSize = 256 << 10
)

// ErrTooLarge is what Put returns for a row that would take the file past 4 GiB.
var ErrTooLarge = errors.New("cdb would exceed 4 GiB")

// Writer makes a cdb in one pass. It keeps 8 bytes a row until Close. The same
// rows in the same order give the same bytes.
type Writer struct {
	file  io.WriteSeeker
	buf   *bufio.Writer // its first error sticks
	pos   uint64        // where the next record begins
	rows  uint64
	slots [tables][]uint64 // as in the file: the low half is the hash, the high half the position
}

// NewWriter starts a cdb in file, which must be empty.
func NewWriter(file io.WriteSeeker) *Writer {
	w := &Writer{file: file, buf: bufio.NewWriterSize(file, bufferSize), pos: headerSize}
	w.buf.Write(make([]byte, headerSize)) // filled in by Close
	return w
}

// Put adds a row. A key must be put once only: a reader finds the first of
// several rows and the others merely take room. The error is ErrTooLarge, after
// which the rows put so far can still be closed, or that of the file.
func (w *Writer) Put(key, value string) error {
	end := w.pos + 8 + uint64(len(key)) + uint64(len(value))
	if end+16*(w.rows+1) > math.MaxUint32 {
		return ErrTooLarge
	}
	h := hash(key)
	table := &w.slots[h%tables]
	*table = append(*table, w.pos<<32|uint64(h))
	w.pos, w.rows = end, w.rows+1

	b := w.buf.AvailableBuffer()
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(append(b, key...), value...)
	_, err := w.buf.Write(b)
	return err
}

// Close writes the hash tables and the pointers to them. It neither syncs nor
// closes the file.
func (w *Writer) Close() error {
	header := make([]byte, 0, headerSize)
	var table []byte
	for _, slots := range w.slots {
		header = binary.LittleEndian.AppendUint32(header, uint32(w.pos))
		header = binary.LittleEndian.AppendUint32(header, uint32(2*len(slots)))
		table = spread(slots, table)
		w.buf.Write(table)
		w.pos += uint64(len(table))
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := w.file.Write(header)
	return err
}

// spread lays slots out as an open hash table with linear probing, half full,
// in the memory of the last one.
func spread(slots []uint64, table []byte) []byte {
	size := 2 * len(slots)
	table = append(table[:0], make([]byte, 8*size)...)
	for _, s := range slots {
		i := int(uint32(s)/tables) % size
		for binary.LittleEndian.Uint64(table[8*i:]) != 0 {
			i = (i + 1) % size
		}
		binary.LittleEndian.PutUint64(table[8*i:], s)
	}
	return table
}

func hash(key string) uint32 {
	h := uint32(5381)
	for i := range len(key) {
		h = (h<<5 + h) ^ uint32(key[i])
	}
	return h
}
