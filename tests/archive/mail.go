// Package archive makes mailing list archives for tests: mails whose truth is known, the mboxes and pages that
// Mailman 2 makes of them, and, by the real programs of Debian, the archives of mlmmj, MHonArc, Mailman 3 and HyperKitty.
//
// The same seed gives the same bytes. All addresses are of example domains and of documentation networks.
package archive

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Mail is a message, and what is true of it.
type Mail struct {
	Raw     []byte    // header and body as they were sent, without a From_ line
	Sender  string    // of the envelope, as in the From_ line
	Arrived time.Time // at the list, as in the From_ line; UTC, whole seconds

	ID        string    // of Message-ID, without brackets; "" if there is none
	InReplyTo string    // likewise
	Author    string    // the name in From, decoded; "" if there is only an address
	Address   string    // the address in From
	Subject   string    // decoded; "" if there is none
	Date      time.Time // of the Date field, UTC; zero if that is absent or no date of RFC 5322
	DateField string    // as it is in the mail; "" if there is none

	Text        string       // the first text part, decoded, as UTF-8 with LF
	Attachments []Attachment // all other parts, in their order
	Clients     []string     // IP addresses of people in header fields, one for each occurrence
	Wart        string       // what is odd about it, a name of Warts; "" for an ordinary mail

	idField, fromField, subjectField string    // as they are in the mail, folded and encoded
	lenient                          time.Time // what Python's email.utils makes of the Date field
	day                              string    // YYYYMMDD as the Date field says it, for Scrubber.py; "" if it cannot be read
}

// Attachment is a part of a mail that archivers store as a file.
type Attachment struct {
	Name string // "" if the part names none
	Type string // such as "image/png"
	Data []byte // decoded

	noCharset bool // a text whose part does not say that it is UTF-8
}

// Make says which mails to make.
type Make struct {
	Seed  uint64
	N     int           // how many
	Plain bool          // only ordinary mails; else every second has a wart, in the order of Warts
	Only  string        // only mails with this wart
	Text  int           // bytes of text, about; 0 is 200 to 2,000
	Bare  bool          // no attachments, no second part
	Lean  bool          // no Received fields, so no addresses of clients, as where the list strips them
	Big   int           // the last mail has an attachment of this many bytes, and about 1.37 times as many in base64
	Start time.Time     // when the first arrives; zero is 3 January 2003
	Every time.Duration // between two mails; 0 is 36 hours, or less so that all fit into ten years
}

// Mails are n mails, ordinary ones and, one after the other, all that are in Warts. None is kept in memory.
func Mails(seed uint64, n int) iter.Seq[Mail] { return Make{Seed: seed, N: n}.Mails() }

// Mails are those that m describes. Each call gives them anew, and the same.
func (m Make) Mails() iter.Seq[Mail] {
	if m.Start.IsZero() {
		m.Start = time.Date(2003, 1, 3, 10, 0, 0, 0, time.UTC)
	}
	if m.Every == 0 {
		m.Every = min(36*time.Hour, 3652*24*time.Hour/time.Duration(max(m.N, 1)))
	}
	return func(yield func(Mail) bool) {
		var past []*draft // the last few, for replies and repetitions
		for i := range m.N {
			d := m.draft(i, past)
			if !yield(d.mail()) {
				return
			}
			d.past = nil // else all mails hang on each other
			if past = append(past, d); len(past) > 8 {
				past = past[1:]
			}
		}
	}
}

// wart is the one that mail i has, or nil.
func (m Make) wart(i int) *wart {
	switch {
	case m.Only != "":
		for k := range warts {
			if warts[k].name == m.Only {
				return &warts[k]
			}
		}
		panic("archive: no wart is called " + m.Only)
	case m.Plain || i%2 == 0:
		return nil
	}
	return &warts[i/2%len(warts)]
}

// draft is mail i, after the last few.
func (m Make) draft(i int, past []*draft) *draft {
	r := rand.New(rand.NewPCG(m.Seed, uint64(i)))
	at := m.Start.Add(time.Duration(i) * m.Every).Truncate(time.Second)
	d := &draft{r: r, past: past, arrived: at.Add(time.Duration(2+r.IntN(60)) * time.Second), charset: "utf-8", eol: "\n", lean: m.Lean}
	who := people[r.IntN(len(people))]
	d.author, d.address = who.name, who.address
	d.id = randomID(r, d.address)
	d.dateIs(at.In(zones[r.IntN(len(zones))]).Format("Mon, 02 Jan 2006 15:04:05 -0700"), at)
	d.subject = title(r)
	if len(past) > 0 && r.IntN(5) < 2 {
		to := past[r.IntN(len(past))]
		d.subject, d.inReplyTo = reply(to.subject), to.id
	}
	size := m.Text
	if size == 0 {
		size = 200 + r.IntN(1800)
	}
	d.text = prose(r, size)
	if !m.Bare {
		d.dress()
	}
	if m.Big > 0 && i == m.N-1 {
		d.attach(Attachment{Name: "film.mp4", Type: "video/mp4", Data: noise(r, m.Big)})
	}
	if w := m.wart(i); w != nil {
		d.wart = w.name
		w.bend(d)
	}
	return d
}

// dress gives every fifth mail an attachment, some two, some a text in HTML beside the plain one.
func (d *draft) dress() {
	switch d.r.IntN(20) {
	case 0, 1:
		d.attach(Attachment{Name: "photo.jpg", Type: "image/jpeg", Data: noise(d.r, 400+d.r.IntN(4000))})
	case 2:
		d.attach(Attachment{Name: "minutes.pdf", Type: "application/pdf", Data: noise(d.r, 900+d.r.IntN(6000))})
		d.attach(Attachment{Name: "photo 2.png", Type: "image/png", Data: noise(d.r, 300)})
	case 3:
		d.attach(Attachment{Type: "text/html", Data: []byte("<html><body><p>" + title(d.r) + " &amp; more</p></body></html>\n")})
	}
}
