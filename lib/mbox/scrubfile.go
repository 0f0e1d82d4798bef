package mbox

import (
	"bufio"
	"io"
	"iter"

	"rplan/lib/diag"
)

// longestHeader is how much of a header is held in memory, in bytes. Postfix takes 100 kB of them.
const longestHeader = 4 << 20

// Scrubbing is what ScrubFile did.
type Scrubbing struct {
	Addresses int64   // that were taken out, names that spell one included
	Messages  int64   // that they were in
	TooLong   []Range // messages with a header of over 4 MiB, which are as they were
}

// ScrubFile copies the first size bytes of src to w, without the ranges of cut, and with the
// header of each message as Scrub leaves it. Messages are the ranges of all messages in the
// file's order, each with the offset of its body; a range of cut is one or more of them. Bodies
// are copied byte for byte. After an error, what was written is not to be used.
func ScrubFile(w io.Writer, src io.ReaderAt, size int64, cut []Range, messages iter.Seq2[Range, int64]) (Scrubbing, error) {
	if _, err := Kept(size, cut); err != nil {
		return Scrubbing{}, err
	}
	s := scrubber{src: src, w: bufio.NewWriterSize(w, copyBlock), buf: make([]byte, copyBlock)}
	at := int64(0)
	for m, body := range messages {
		if m.Start != at || m.End < m.Start || m.End > size || body < m.Start || body > m.End {
			return Scrubbing{}, diag.Failed.Errorf("a message at %d-%d, with its body at %d, does not follow %d within %d bytes", m.Start, m.End, body, at, size)
		}
		for len(cut) > 0 && cut[0].End <= m.Start {
			cut = cut[1:]
		}
		at = m.End
		if len(cut) > 0 && cut[0].Start < m.End {
			if cut[0].Start > m.Start || cut[0].End < m.End {
				return Scrubbing{}, diag.Failed.Errorf("the range %d-%d cuts into the message at %d-%d", cut[0].Start, cut[0].End, m.Start, m.End)
			}
			continue
		}
		if err := s.message(m, body); err != nil {
			return Scrubbing{}, err
		}
	}
	if at != size {
		return Scrubbing{}, diag.Failed.Errorf("the messages end at %d, and the mbox at %d", at, size)
	}
	return s.done, s.w.Flush()
}

type scrubber struct {
	src  io.ReaderAt
	w    *bufio.Writer
	buf  []byte
	done Scrubbing
}

func (s *scrubber) message(m Range, body int64) error {
	n := body - m.Start
	if n > longestHeader {
		s.done.TooLong = append(s.done.TooLong, m)
		return copyRange(s.w, s.src, m, s.buf)
	}
	if int64(len(s.buf)) < n {
		s.buf = make([]byte, longestHeader)
	}
	header := s.buf[:n]
	if err := fill(s.src, header, m.Start); err != nil {
		return err
	}
	header, removed := Scrub(header)
	if removed > 0 {
		s.done.Addresses += int64(removed)
		s.done.Messages++
	}
	if _, err := s.w.Write(header); err != nil {
		return err
	}
	return copyRange(s.w, s.src, Range{body, m.End}, s.buf)
}
