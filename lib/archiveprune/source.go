package archiveprune

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/mbox"
)

// source is one file with messages.
type source struct {
	file     *layout.File
	opened   fs.FileInfo // as it was before it was read
	plain    bool        // an mbox that is not compressed
	damaged  bool
	messages []message
}

// ranges are those of some messages.
func (s *source) ranges(numbers []int) []mbox.Range {
	all := make([]mbox.Range, len(numbers))
	for i, n := range numbers {
		all[i] = s.messages[n].Range
	}
	return all
}

// size is that of all messages of a source, decompressed.
func (s *source) size() int64 {
	if len(s.messages) == 0 {
		return 0
	}
	return s.messages[len(s.messages)-1].End
}

// packed says whether a source is compressed.
func (s *source) packed() bool { return s.file.Kind == layout.Mbox && !s.plain }

// format is how one is.
func (s *source) format() mbox.Format {
	if path.Ext(s.file.Path) == ".gz" {
		return mbox.Gzip
	}
	return mbox.Zstd
}

// headers are the messages, each with the offset of its body.
func (s *source) headers() iter.Seq2[mbox.Range, int64] {
	return func(yield func(mbox.Range, int64) bool) {
		for _, m := range s.messages {
			if !yield(m.Range, m.body) {
				return
			}
		}
	}
}

// same says whether a source has all that it had. To an mbox mail may have been added.
func (s *source) same(root *os.Root) (bool, error) {
	file, err := layout.Open(root, *s.file)
	if err != nil {
		return false, err
	}
	defer file.Close()
	now, err := file.Stat()
	if err != nil || !s.plain || now.Size() <= s.opened.Size() {
		return err == nil && now.Size() == s.opened.Size() && now.ModTime().Equal(s.opened.ModTime()), err
	}
	begin := make([]byte, len("\nFrom "))
	if _, err := file.ReadAt(begin, s.opened.Size()); err != nil && err != io.EOF {
		return false, err
	}
	return s.opened.Size() == 0 || bytes.HasPrefix(bytes.TrimPrefix(begin, []byte("\n")), []byte("From ")), nil
}

// open reads a source from its start, decompressed.
func (s *source) open(root *os.Root) (io.ReadCloser, error) {
	file, err := layout.Open(root, *s.file)
	if err != nil {
		return nil, err
	}
	if !s.packed() {
		return file, nil
	}
	r, err := mbox.Open(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// each calls f with the messages of a source, one after the other, for as long as it wants more.
func (s *source) each(root *os.Root, f func(m *message, text io.Reader) (more bool)) error {
	in, err := s.open(root)
	if err != nil {
		return err
	}
	defer in.Close()
	r := bufio.NewReaderSize(in, 256<<10) // most messages are small
	for i := range s.messages {
		text := io.LimitReader(r, s.messages[i].Size())
		if !f(&s.messages[i], text) {
			return nil
		}
		if _, err := io.Copy(io.Discard, text); err != nil {
			return err
		}
	}
	return nil
}

// reading calls f with a source, of which it may only read onwards.
func reading(t *tree, s *source, f func(io.ReaderAt) error) error {
	r, err := s.open(t.root)
	if err != nil {
		return err
	}
	defer r.Close()
	if file, plain := r.(io.ReaderAt); plain {
		return f(file)
	}
	return f(&onwards{r: r})
}

// onwards reads a stream as a file is read, where nothing is read twice.
type onwards struct {
	r  io.Reader
	at int64
}

func (o *onwards) ReadAt(b []byte, off int64) (int, error) {
	if off < o.at {
		return 0, fmt.Errorf("cannot go back from %d to %d", o.at, off)
	}
	skipped, err := io.CopyN(io.Discard, o.r, off-o.at)
	if o.at += skipped; err != nil {
		return 0, err
	}
	n, err := io.ReadFull(o.r, b)
	if o.at += int64(n); err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
