package cdb

import (
	"io"
	"os"
	"strings"
	"testing"
)

// memory is a file that stays in memory.
type memory struct {
	data []byte
	pos  int
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, os.ErrInvalid
	}
	m.pos = int(offset)
	return offset, nil
}

func (m *memory) Write(b []byte) (int, error) {
	n := copy(m.data[m.pos:], b)
	m.data = append(m.data, b[n:]...)
	m.pos += len(b)
	return len(b), nil
}

// FuzzReader reads whatever it is given. There is no more in a file than its
// bytes, so that is also all that may come out.
func FuzzReader(f *testing.F) {
	for _, r := range []rows{{}, {"k", "v"}, {"bC", "1", "cb", "2"}, numbered(9)} {
		file := &memory{}
		r.writeTo(f, file)
		f.Add(file.data, "k")
		f.Add(file.data, "bC")
	}
	f.Add(make([]byte, headerSize), "")
	f.Add([]byte(strings.Repeat("\x00\x08\x00\x00\xff\xff\xff\x1f", tables)), "k")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		r, err := openBytes(data)
		if err != nil {
			return
		}
		size := headerSize
		for row, err := range r.Rows() {
			if err != nil {
				break
			}
			size += 8 + len(row.Key) + len(row.Value)
		}
		if size > len(data) {
			t.Errorf("rows of %d bytes in a file of %d", size, len(data))
		}
		if value, _, _ := r.Get(key); len(value) > len(data) {
			t.Errorf("a value of %d bytes in a file of %d", len(value), len(data))
		}
	})
}

// FuzzRoundTrip writes lines of "key value" and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("alice@example.org n1_n2\nbob@example.org n2_n1")
	f.Add(" \n\x00 \x00\n\xff")
	f.Add("bC 1\ncb 2")
	f.Fuzz(func(t *testing.T, text string) {
		var r rows
		seen := map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			key, value, _ := strings.Cut(line, " ")
			if !seen[key] {
				r, seen[key] = append(r, key, value), true
			}
		}
		file := &memory{}
		r.writeTo(t, file)
		reader, err := openBytes(file.data)
		if err != nil {
			t.Fatal(err)
		}
		r.check(t, reader)
	})
}
