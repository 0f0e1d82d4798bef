package mbox

import (
	"bytes"
	"fmt"
)

// doubt notes a reason, unless there is one.
func (m *Message) doubt(format string, args ...any) {
	if m.Doubt == "" {
		m.Doubt = fmt.Sprintf(format, args...)
	}
}

// judge says whether a message begins at the "From " that from is at, and notes the Doubts
// of m, which goes up to there, and of that message.
func (s *Scanner) judge(m *Message) (begins bool) {
	if s.from > 0 && s.buf[s.from-1] != '\n' {
		s.judgeMiddle(m)
		return false
	}
	line, after, end := s.line(s.from)
	_, strict := fromLine(line)
	header := end == whole && startsField(s.buf[after:s.w])
	at := s.base + int64(s.from)
	switch empty := s.emptyBefore(s.from); {
	case strict && empty && header:
		return true
	case strict && empty:
		s.doubt = fmt.Sprintf("no header comes after the From_ line at %d", at)
	case strict && header:
		s.doubt = fmt.Sprintf("no empty line comes before the From_ line at %d", at)
	case strict:
		m.doubt("a From_ line at %d, with neither an empty line before it nor a header after it", at)
	case empty && header:
		m.doubt(`a line "From " at %d, and a header after it`, at)
	case empty && end == cut:
		m.doubt(`a line "From " at %d, cut off by the end of the file`, at)
	}
	if s.doubt != "" {
		m.doubt("%s", s.doubt)
	}
	return s.doubt != ""
}

// judgeMiddle looks for a From_ line that goes on where a message without a final newline
// ends. Text is full of "From ", so what comes before it is looked at first.
func (s *Scanner) judgeMiddle(m *Message) {
	if s.quoted(s.from) || m.Body == 0 && blank(s.buf[s.from-1]) { // "Received: From ..."
		return
	}
	line, after, end := s.line(s.from)
	if end != whole || !startsField(s.buf[after:s.w]) || bytes.Contains(line[1:], []byte(fromWord)) {
		return
	}
	if _, strict := fromLine(line); strict {
		m.Torn = true
		m.doubt("a From_ line at %d, in the middle of a line", s.base+int64(s.from))
	}
}

// ending is how a line ends.
type ending int

const (
	whole ending = iota // with a newline
	cut                 // with the file
	long                // not soon enough for a From_ line
)

// line gives the line at a place, without its newline, and where the next one begins. Of a long line it gives the
// first word.
func (s *Scanner) line(at int) (line []byte, after int, end ending) {
	limit := min(s.w, at+maxFrom)
	if i := bytes.IndexByte(s.buf[at:limit], '\n'); i >= 0 {
		return s.buf[at : at+i], at + i + 1, whole
	}
	if s.eof && limit == s.w {
		return s.buf[at:limit], limit, cut
	}
	return s.buf[at : at+len(fromWord)], limit, long
}

// emptyBefore says whether the line before the one that begins at a place is empty.
func (s *Scanner) emptyBefore(at int) bool {
	before := s.buf[:at]
	return bytes.HasSuffix(before, []byte("\n\n")) || bytes.HasSuffix(before, []byte("\n\r\n"))
}

// quoted says whether nothing but marks of quoting comes before a place in its line.
func (s *Scanner) quoted(at int) bool {
	before := bytes.TrimRight(s.buf[max(0, at-behind):at], "> |\t")
	return len(before) > 0 && before[len(before)-1] == '\n'
}
