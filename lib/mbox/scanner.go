package mbox

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"time"

	"rplan/lib/diag"
)

const (
	blockSize = 1 << 20   // bytes that are read at once
	behind    = 64        // bytes that stay before the place looked at
	reach     = 8 << 10   // bytes after it that a From_ line and the next line are judged by
	maxLine   = 16 << 10  // bytes of a header that are looked at in one piece
	maxHeader = 256 << 10 // bytes of a header beyond which nothing more is taken from it
	none      = math.MaxInt
)

// Scanner finds the messages of an mbox, one after the other. Together their ranges are
// the whole file: the first begins at 0, each begins where the one before it ends. It reads
// the file once, in blocks, and needs 2 MB at most, however long messages and lines are.
type Scanner struct {
	Fields bool // fill Author, Subject and DateField

	r      io.Reader
	now    time.Time
	err    error // what Next gives from now on
	census Census
	facts  facts

	buf  []byte // of the file, from base on
	base int64
	w    int // end of what was read
	p    int // where the scan is
	from int // the next "From " at or after p, or none as far as was read
	eof  bool

	doubt string // of the message that begins at p
}

// NewScanner makes a Scanner of an mbox that is read from its start. Dates more than a day after now are in the Future.
func NewScanner(r io.Reader, now time.Time) *Scanner {
	return &Scanner{r: r, now: now, from: none}
}

// Next gives the next message, and io.EOF at the end of the file, where there may have
// been no message at all. A file that does not begin with a From_ line is refused with an
// error of kind diag.BadData, before any message. After an error, of the reader for one,
// there is no more: the message that it came in is not given, since nobody knows its end.
//
// What begins a message, the package comment says; fromLine lists the forms of a From_
// line. A mail that quotes another with its From_ line and header, unescaped and after an
// empty line, is two messages, here as for all other readers. Content-Length is not
// trusted: it is wrong wherever a program has changed a message since.
func (s *Scanner) Next() (Message, error) {
	if s.err != nil {
		return Message{}, s.err
	}
	m := Message{Doubt: s.doubt}
	s.doubt = ""
	if s.err = s.message(&m); s.err != nil {
		return Message{}, s.err
	}
	s.census.add(m)
	return m, nil
}

// Census sums up the messages that Next has given so far.
func (s *Scanner) Census() Census { return s.census }

func (c *Census) add(m Message) {
	c.Messages++
	c.Size += m.Size()
	if m.Dating != Dated {
		c.Undated++
	}
	if m.Doubt != "" {
		c.Doubtful++
	}
}

func (s *Scanner) message(m *Message) error {
	if err := s.start(m); err != nil {
		return err
	}
	ended, err := s.header(m)
	if err != nil {
		return err
	}
	s.facts.tell(m, s.now, s.Fields)
	if !ended {
		err = s.body(m)
	}
	m.End = s.base + int64(s.p)
	if ended {
		m.Body, m.Torn = m.End, true
	}
	return err
}

// start reads the From_ line.
func (s *Scanner) start(m *Message) error {
	if s.buf == nil {
		s.buf = make([]byte, blockSize+reach)
	}
	if err := s.need(reach); err != nil {
		return err
	}
	if s.p == s.w {
		return io.EOF
	}
	m.Start = s.base + int64(s.p)
	line, after, _ := s.line(s.p)
	var ok bool
	if bytes.HasPrefix(line, []byte(fromWord)) {
		m.Received, ok = fromLine(line)
	}
	if !ok { // only the first line of a file was not judged before
		return diag.BadData.Errorf("at offset 0: no From_ line, but %q", s.buf[:min(s.w, 40)])
	}
	s.p = after
	s.find(s.p)
	return nil
}

// header reads the header, from the line after the From_ line on. If it ended, so does the message.
func (s *Scanner) header(m *Message) (ended bool, err error) {
	s.facts.reset()
	for midLine := false; ; {
		if err := s.need(maxLine + reach); err != nil {
			return false, err
		}
		if s.p == s.w {
			m.doubt("its header is cut off")
			return true, nil
		}
		end := min(s.w, s.p+maxLine)
		newline := bytes.IndexByte(s.buf[s.p:end], '\n')
		if newline >= 0 {
			end = s.p + newline + 1
		}
		for s.from < end {
			if s.judge(m) {
				return true, nil
			}
			s.find(s.from + 1)
		}
		line := s.buf[s.p:end]
		s.p = end
		if at := s.base + int64(end); !midLine && emptyLine(line) {
			m.Body = at
			return false, nil
		} else if at-m.Start <= maxHeader {
			s.facts.add(line, midLine, s.Fields)
		} else {
			m.doubt("its header has more than %d KiB", maxHeader>>10)
		}
		midLine = newline < 0
	}
}

func emptyLine(line []byte) bool {
	return line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// body goes on to the next message.
func (s *Scanner) body(m *Message) error {
	for {
		for s.from == none {
			if s.eof {
				s.p = s.w
				return nil
			}
			s.p = max(s.p, s.w-len(fromWord)+1)
			if err := s.need(reach); err != nil {
				return err
			}
		}
		s.p = s.from
		if err := s.need(reach); err != nil {
			return err
		}
		if s.judge(m) {
			return nil
		}
		s.find(s.from + 1)
	}
}

// find sets from, by what was read.
func (s *Scanner) find(at int) {
	s.from = none
	if i := bytes.Index(s.buf[at:s.w], []byte(fromWord)); i >= 0 {
		s.from = at + i
	}
}

// need reads until there are n bytes from p on, or the file ends.
func (s *Scanner) need(n int) error {
	if s.w-s.p >= n || s.eof {
		return nil
	}
	if drop := s.p - behind; drop > 0 {
		copy(s.buf, s.buf[drop:s.w])
		s.base += int64(drop)
		s.p, s.w = s.p-drop, s.w-drop
		if s.from != none {
			s.from -= drop
		}
	}
	old := s.w
	for idle := 0; s.w-s.p < n && !s.eof; {
		got, err := s.r.Read(s.buf[s.w:])
		s.w += got
		if idle++; got > 0 {
			idle = 0
		} else if err == nil && idle == 100 {
			err = io.ErrNoProgress
		}
		if err == io.EOF {
			s.eof = true
		} else if err != nil {
			return fmt.Errorf("at offset %d: %w", s.base+int64(s.w), err)
		}
	}
	s.census.NULs += int64(bytes.Count(s.buf[old:s.w], []byte{0}))
	if s.from == none {
		s.find(max(s.p, old-len(fromWord)+1))
	}
	return nil
}
