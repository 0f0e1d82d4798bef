package archive

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// wart is an oddity that archives have.
type wart struct {
	name string
	bend func(*draft)
}

// Warts are the names of all oddities, in the order in which Mails has them.
func Warts() []string {
	var names []string
	for _, w := range warts {
		names = append(names, w.name)
	}
	return names
}

// FakeFrom is the line that the wart "from line like a real one" has in its body, after an empty line: whatever
// splits an unmangled mbox there is not to blame.
const FakeFrom = "From eve@example.com  Thu Jan  2 03:04:05 2003"

var warts = []wart{
	// Identity.
	{"no id", func(d *draft) { d.id = "" }},
	{"repeated id", func(d *draft) { // of another mail
		if p := d.before(); p != nil {
			d.id = p.id
		}
	}},
	{"repeated mail", func(d *draft) { d.same = d.before() }},
	{"odd id", func(d *draft) {
		d.id = fmt.Sprintf("a b/c&'d'\"%%%d@[192.0.2.1]", d.r.IntN(1e6))
		d.idField = "<" + d.id + "> (added by postmaster@example.com)"
	}},
	{"id without brackets", func(d *draft) { d.idField = d.id }},

	// Header fields.
	{"folded header", func(d *draft) {
		d.idField = "\n <" + d.id + ">"
		d.subject = strings.TrimSpace(d.subject) + " and then some more words than fit into one line of a header"
		folded := strings.ReplaceAll(strings.Map(ascii, d.subject), " ", "\n\t")
		d.subject, d.subjectField = strings.Map(ascii, d.subject), folded
		d.fromField = "\n\tsomebody <" + d.address + ">"
		d.author = "somebody"
	}},
	{"raw utf-8 header", func(d *draft) { d.author, d.subject = "Jürgen Groß", "Grüße aus Łódź"; d.raw() }},
	{"raw latin-1 header", func(d *draft) {
		d.author, d.subject = "Jürgen Groß", "Grüße aus Köln"
		d.raw()
		d.fromField, d.subjectField = latin(d.fromField), latin(d.subjectField)
	}},
	{"no subject", func(d *draft) { d.subject, d.subjectField = "", "" }},
	{"many client addresses", func(d *draft) {
		for _, name := range []string{"X-Originating-IP", "X-Sender-IP", "X-Client-IP"} {
			c := client(d.r)
			d.extra, d.clients = append(d.extra, name+": ["+c+"]"), append(d.clients, c)
		}
	}},

	// Dates.
	{"date in 1999", func(d *draft) { d.dateAt(time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)) }},
	{"date in 2038", func(d *draft) { d.dateAt(time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC)) }},
	{"far future date", func(d *draft) { d.dateAt(time.Date(2999, 6, 1, 0, 0, 0, 0, time.UTC)) }},
	{"date in 1970", func(d *draft) { d.dateAt(time.Unix(0, 0).UTC()) }},
	{"30 Feb", func(d *draft) { // Python counts on: 1 March
		d.dateReads("Mon, 30 Feb 2004 10:00:00 +0000", time.Time{}, time.Date(2004, 3, 1, 10, 0, 0, 0, time.UTC))
		d.day = "20040230"
	}},
	{"German month", func(d *draft) {
		d.dateReads(d.arrived.Format("Mi, 02 ")+"Okt"+d.arrived.Format(" 2006 15:04:05 +0000"), time.Time{}, time.Time{})
	}},
	{"French month", func(d *draft) {
		d.dateReads(d.arrived.Format("mer., 2 ")+"févr."+d.arrived.Format(" 2006 15:04:05 +0000"), time.Time{}, time.Time{})
	}},
	{"no date", func(d *draft) { d.dateReads("", time.Time{}, time.Time{}) }},
	{"asctime date", func(d *draft) { d.dateReads(d.arrived.Format(time.ANSIC), time.Time{}, d.arrived) }},
	{"named zone", func(d *draft) { d.dateIs(d.arrived.Add(-5*time.Hour).Format("2 Jan 2006 15:04:05")+" EST", d.arrived) }},
	{"two-digit year", func(d *draft) { d.dateIs(d.arrived.Format("Mon, 2 Jan 06 15:04:05 -0700"), d.arrived) }},

	// Bytes.
	{"crlf", func(d *draft) { d.eol, d.attachments = "\r\n", nil }},
	{"no final newline", func(d *draft) { d.attachments, d.text = nil, strings.TrimRight(d.text, "\n") }},
	{"nul bytes", func(d *draft) { d.text, d.attachments = "a\x00b\n\x00\n"+d.text, nil }},
	{"empty body", func(d *draft) { d.text, d.attachments = "", nil }},
	{"header only", func(d *draft) { // not even the empty line
		d.text, d.attachments = "", nil
		d.last = func(raw []byte) []byte { return bytes.TrimSuffix(raw, []byte("\n")) }
	}},
	{"long line", func(d *draft) { d.text += strings.Repeat("long ", 20000) + "\n" }},
	{"latin-1 body", func(d *draft) {
		d.charset, d.attachments = "iso-8859-1", nil
		d.text = "Grüße aus Köln = schön\n" + strings.Map(latinOnly, d.text)
	}},

	// Lines that look like the start of a message.
	{"from line after an empty line", func(d *draft) { d.text += "\nFrom here on it is easy.\n" }},
	{"from line in a paragraph", func(d *draft) { d.text += "We came\nFrom the south.\n" }},
	{"from line like a real one", func(d *draft) { d.text += "\n" + FakeFrom + "\nSubject: this is a text\n\nof the mail before.\n" }},
	{"from line first in the body", func(d *draft) { d.text = "From now on.\n" + d.text }},
	{"quoted from line", func(d *draft) { d.text += "\n>From me.\n\n>>From you.\n" }},

	// Parts.
	{"forwarded mail", func(d *draft) {
		d.attach(Attachment{Type: "message/rfc822", Data: []byte("From: Eve <eve@example.com>\nSubject: within\nDate: Thu, 2 Jan 2003 03:04:05 +0000\nMessage-ID: <within." + d.id + ">\n\nWithin <it>.\n")})
	}},
	{"attachments alike", func(d *draft) { // one name, other bytes
		d.attachments = nil
		for k := range 3 {
			d.attach(Attachment{Name: "../we ird/ñ.bin", Type: "application/octet-stream", Data: noise(d.r, 100+k)})
		}
	}},
	{"no charset", func(d *draft) {
		d.attachments = []Attachment{{Type: "text/html", Data: []byte("<html><body><p>Grüße</p></body></html>\n"), noCharset: true}}
	}},
	{"empty attachment", func(d *draft) {
		d.attachments = []Attachment{{Name: "empty.txt", Type: "application/octet-stream", Data: []byte{}}}
	}},
}

// before is the last mail that has an ID, or nil.
func (d *draft) before() *draft {
	for i := len(d.past) - 1; i >= 0; i-- {
		if d.past[i].id != "" {
			return d.past[i]
		}
	}
	return nil
}

// raw writes author and subject as they are.
func (d *draft) raw() {
	d.fromField, d.subjectField = fmt.Sprintf("%s <%s>", d.author, d.address), d.subject
}

func (d *draft) dateAt(t time.Time) { d.dateIs(t.Format("Mon, 02 Jan 2006 15:04:05 -0700"), t) }

func ascii(r rune) rune {
	if r >= 0x80 {
		return 'x'
	}
	return r
}

func latinOnly(r rune) rune {
	if r >= 0x100 {
		return 'x'
	}
	return r
}

// latin is s in ISO 8859-1.
func latin(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}
