package mbox

import (
	"bytes"
	"time"
)

const (
	maxValue = 64 << 10 // bytes of a field that are kept
	maxID    = 998      // bytes of the longest Message-ID: a line of RFC 5322
	tomorrow = 24 * time.Hour
)

// value is the first field of its name in a header, unfolded by RFC 5322 section 2.2.3.
type value struct {
	text []byte
	seen bool
}

func (v *value) add(text []byte) {
	v.text = append(v.text, text[:min(len(text), maxValue-len(v.text))]...)
}

// facts are what a header says, gathered line by line. As Python's parser has it, a line that is neither a field nor
// folded ends them.
type facts struct {
	date, id, author, subject value

	current *value // the field that the last line belongs to, if it is one of ours
	any     bool   // there was a field
	over    bool
}

func (f *facts) reset() {
	for _, v := range []*value{&f.date, &f.id, &f.author, &f.subject} {
		v.text, v.seen = v.text[:0], false
	}
	f.current, f.any, f.over = nil, false, false
}

// add takes a line of the header with its newline, or a piece of one.
func (f *facts) add(line []byte, midLine, all bool) {
	if f.over {
		return
	}
	if !midLine && line[0] != ' ' && line[0] != '\t' {
		line = f.begin(line, all)
	}
	if f.current != nil {
		f.current.add(bytes.TrimRight(line, "\r\n"))
	}
}

// begin takes the first line of a field, and gives what comes after the colon.
func (f *facts) begin(line []byte, all bool) []byte {
	f.current = nil
	if !startsField(line) {
		f.over = true
		return nil
	}
	var v *value
	var name string
	switch line[0] | 0x20 {
	case 'd':
		v, name = &f.date, "date"
	case 'm':
		v, name = &f.id, "message-id"
	case 'f':
		v, name = &f.author, "from"
	case 's':
		v, name = &f.subject, "subject"
	}
	if v == nil || v.seen || !all && (v == &f.author || v == &f.subject) || len(line) <= len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil
	}
	rest := bytes.TrimLeft(line[len(name):], " \t")
	if rest[0] != ':' {
		return nil
	}
	f.current, v.seen = v, true
	return rest[1:]
}

// tell fills in m.
func (f *facts) tell(m *Message, now time.Time, all bool) {
	m.ID = messageID(f.id.text)
	m.Dating = Undated
	if f.date.seen {
		var ok bool
		m.Date, ok = parseDate(f.date.text)
		switch {
		case !ok:
			m.Dating = Unparsable
		case m.Date.Sub(now) > tomorrow:
			m.Date, m.Dating = time.Time{}, Future
		default:
			m.Dating = Dated
		}
	}
	if all {
		m.Author, m.Subject, m.DateField = trimmed(f.author), trimmed(f.subject), trimmed(f.date)
	}
}

func trimmed(v value) string { return string(bytes.Trim(v.text, " \t")) }

// messageID takes what is between the first brackets, or all if there are none, without
// blanks. One that is too long is none: cut off, it might be equal to another.
func messageID(text []byte) string {
	if start := bytes.IndexByte(text, '<'); start >= 0 {
		if end := bytes.IndexByte(text[start:], '>'); end > 0 {
			text = text[start+1 : start+end]
		}
	}
	id := make([]byte, 0, 64)
	for _, c := range text {
		if !blank(c) {
			id = append(id, c)
		}
	}
	if len(id) > maxID {
		return ""
	}
	return string(id)
}
