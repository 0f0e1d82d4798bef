package archive

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
)

// draft is a mail that is not written yet. What is "" is left out.
type draft struct {
	r    *rand.Rand
	past []*draft
	same *draft // the mail is this one, to the last byte

	wart, id, inReplyTo, author, address, subject string
	arrived                                       time.Time

	idField, fromField, subjectField, dateField string // as they shall be written, if not as usual
	date, lenient                               time.Time
	day                                         string

	text        string
	charset     string // of the text: utf-8, or iso-8859-1 in quoted-printable
	attachments []Attachment
	extra       []string // header fields
	clients     []string // those in extra
	eol         string
	last        func(raw []byte) []byte // changes what is written
	lean        bool
	made        Mail // what mail made
}

// dateIs sets a Date field that every reader understands.
func (d *draft) dateIs(field string, t time.Time) { d.dateReads(field, t, t) }

// dateReads sets a Date field: RFC 5322 reads date in it, and Python lenient; zero if they read none.
func (d *draft) dateReads(field string, date, lenient time.Time) {
	d.dateField, d.date, d.lenient, d.day = field, date.UTC(), lenient.UTC(), ""
	if !lenient.IsZero() {
		d.day = lenient.UTC().Format("20060102")
		if t, err := time.Parse("Mon, 02 Jan 2006 15:04:05 -0700", field); err == nil {
			d.day = t.Format("20060102") // where the writer was
		}
	}
}

func (d *draft) attach(a Attachment) { d.attachments = append(d.attachments, a) }

// mail writes the draft, once.
func (d *draft) mail() Mail {
	if d.same != nil {
		d.made = d.same.made
		d.made.Arrived, d.made.Wart = d.arrived, d.wart
		return d.made
	}
	if d.idField == "" && d.id != "" {
		d.idField = "<" + d.id + ">"
	}
	if d.fromField == "" {
		d.fromField = d.address
		if d.author != "" {
			d.fromField = encodedName(d.author) + " <" + d.address + ">"
		}
	}
	if d.subjectField == "" && d.subject != "" {
		d.subjectField = mime.QEncoding.Encode("utf-8", d.subject)
	}
	m := Mail{Sender: d.address, Arrived: d.arrived, ID: d.id, InReplyTo: d.inReplyTo, Author: d.author, Address: d.address,
		Subject: d.subject, Date: d.date, DateField: d.dateField, Text: d.text, Attachments: d.attachments, Wart: d.wart,
		idField: d.idField, fromField: d.fromField, subjectField: d.subjectField, lenient: d.lenient, day: d.day}
	var head, body bytes.Buffer
	m.Clients = d.writeHeader(&head)
	d.writeBody(&head, &body)
	m.Raw = slices.Concat(head.Bytes(), []byte("\n"), body.Bytes())
	if d.eol != "\n" {
		m.Raw = bytes.ReplaceAll(m.Raw, []byte("\n"), []byte(d.eol))
	}
	if d.last != nil {
		m.Raw = d.last(m.Raw)
	}
	d.made = m
	return m
}

// encodedName is a name for a From field.
func encodedName(name string) string {
	if e := mime.QEncoding.Encode("utf-8", name); e != name {
		return e
	}
	if strings.ContainsAny(name, `",.<>()`) {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name
}

// writeHeader writes all but the fields about the body, and returns the addresses of clients in it.
func (d *draft) writeHeader(w *bytes.Buffer) (clients []string) {
	if !d.lean {
		c := client(d.r)
		clients = []string{c, c}
		stamp := d.arrived.Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)")
		fmt.Fprintf(w, "Received: from mx.example.org (mx.example.org [192.0.2.1])\n\tby %s (Postfix) with ESMTPS id %08X\n\tfor <%s>; %s\n",
			Domain, d.r.Uint32(), List, stamp)
		fmt.Fprintf(w, "Received: from [%s] (host-%d.provider.example [%s])\n\tby mx.example.org (Postfix) with ESMTPSA id %08X; %s\n",
			c, d.r.IntN(1000), c, d.r.Uint32(), stamp)
	}
	field := func(name, value string) {
		if value != "" {
			w.WriteString(name + ":")
			if !strings.HasPrefix(value, "\n") {
				w.WriteByte(' ')
			}
			w.WriteString(value + "\n")
		}
	}
	for _, x := range d.extra {
		w.WriteString(x + "\n")
	}
	field("From", d.fromField)
	field("To", List)
	field("Subject", d.subjectField)
	field("Date", d.dateField)
	field("Message-ID", d.idField)
	if d.inReplyTo != "" {
		field("In-Reply-To", "<"+d.inReplyTo+">")
		field("References", "<"+d.inReplyTo+">")
	}
	return append(clients, d.clients...)
}

// writeBody writes the body, and its fields into head.
func (d *draft) writeBody(head, body *bytes.Buffer) {
	fmt.Fprintf(head, "MIME-Version: 1.0\n")
	if len(d.attachments) == 0 {
		d.writeText(head, body)
		return
	}
	boundary := fmt.Sprintf("=_%016x", d.r.Uint64())
	kind := "mixed"
	if len(d.attachments) == 1 && d.attachments[0].Type == "text/html" {
		kind = "alternative"
	}
	fmt.Fprintf(head, "Content-Type: multipart/%s;\n boundary=\"%s\"\n", kind, boundary)
	fmt.Fprintf(body, "This is a multi-part message in MIME format.\n--%s\n", boundary)
	var text bytes.Buffer
	d.writeText(body, &text)
	fmt.Fprintf(body, "\n%s", &text)
	for _, a := range d.attachments {
		fmt.Fprintf(body, "\n--%s\n", boundary)
		writeAttachment(body, a)
	}
	fmt.Fprintf(body, "\n--%s--\n", boundary)
}

// writeText writes the text and its fields.
func (d *draft) writeText(head, body *bytes.Buffer) {
	if d.charset != "utf-8" {
		fmt.Fprintf(head, "Content-Type: text/plain; charset=%s\nContent-Transfer-Encoding: quoted-printable\n", d.charset)
		q := quotedprintable.NewWriter(body)
		q.Binary = false
		latin := make([]byte, 0, len(d.text))
		for _, c := range d.text {
			latin = append(latin, byte(c)) // its text has nothing else
		}
		q.Write(latin)
		q.Close()
		unix := bytes.ReplaceAll(body.Bytes(), []byte("\r\n"), []byte("\n"))
		body.Reset()
		body.Write(unix)
		return
	}
	fmt.Fprintf(head, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n")
	body.WriteString(d.text)
}

// writeAttachment writes a part: text in quoted-printable, a message as it is, all else in base64.
func writeAttachment(w *bytes.Buffer, a Attachment) {
	text := strings.HasPrefix(a.Type, "text/")
	fmt.Fprintf(w, "Content-Type: %s", a.Type)
	if text && !a.noCharset {
		w.WriteString("; charset=utf-8")
	}
	if a.Name != "" {
		fmt.Fprintf(w, "; name=%q", a.Name)
	}
	w.WriteByte('\n')
	if a.Name != "" {
		fmt.Fprintf(w, "Content-Disposition: attachment; filename=%q\n", a.Name)
	}
	switch {
	case a.Type == "message/rfc822":
		w.WriteByte('\n')
		w.Write(a.Data)
	case text:
		w.WriteString("Content-Transfer-Encoding: quoted-printable\n\n")
		var b bytes.Buffer
		q := quotedprintable.NewWriter(&b)
		q.Write(a.Data)
		q.Close()
		w.Write(bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n")))
	default:
		w.WriteString("Content-Transfer-Encoding: base64\n\n")
		const line = 57 // bytes that make 76 characters
		out := make([]byte, 0, 77)
		for chunk := range slices.Chunk(a.Data, line) {
			out = append(base64.StdEncoding.AppendEncode(out[:0], chunk), '\n')
			w.Write(out)
		}
	}
}
