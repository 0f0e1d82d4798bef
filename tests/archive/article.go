package archive

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"html"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// article is what pipermail remembers of a mail.
type article struct {
	seq           int
	idField       string // Message-ID as in the mail, or invented
	msgid         string // the same without brackets
	inReplyTo     string
	rawSubject    string // without Re:
	subject       string // decoded
	stripped      string // what threads are made of, and the index by subject
	rawAuthor     string
	author, email string // author decoded; both obscured
	date          time.Time
	dateField     string
	text          string
	threadKey     string
	edited        bool
	cached        bool // HyperDatabase.py has read it as a parent, and knows no later mail with its Message-ID
}

func (a *article) name() string { return fmt.Sprintf("%06d.html", a.seq) }

var (
	re       = regexp.MustCompile(`^(?i)(\s*RE\s*(\[\d+\]\s*)?:\s*)+`)
	stripRe  = regexp.MustCompile(`^(?i)((RE|AW|SV|VS)(\[\d+\])?:\s*)+`)
	mailAddr = regexp.MustCompile(`([-+,.\w]+)@([-+.\w]+)`)
)

// article files mail i, and its attachments.
func (p *pipermail) article(i int, m Mail, inMbox bool) (*article, error) {
	a := &article{seq: i, idField: m.idField, inReplyTo: m.InReplyTo, dateField: m.DateField, edited: p.o.Edit != nil && p.o.Edit(i, m)}
	if a.idField == "" { // Scrubber.py sees to it
		p.invented++
		a.idField = fmt.Sprintf("<mailman.%d.%d.%d.%s@%s>", p.invented, m.Arrived.Unix(), 4000+i%1000, p.list, p.o.Host)
	}
	a.msgid = trimSeparators(a.idField)
	p.dateOf(a, m)
	if a.dateField == "" {
		a.dateField = a.date.Format("Mon, 02 Jan 2006 15:04:05 -0000")
	}
	a.rawSubject = re.ReplaceAllString(m.subjectField, "")
	a.subject = m.Subject
	switch {
	case !isASCII(m.subjectField):
		a.subject = p.misread(a.rawSubject)
	case !strings.HasPrefix(m.subjectField, "=?"): // no encoded word at its start
		a.subject = re.ReplaceAllString(a.subject, "")
		if strings.Contains(m.subjectField, "\n") {
			a.subject = strings.ReplaceAll(a.rawSubject, "\n", "")
		}
	}
	if a.rawSubject == "" {
		a.rawSubject = p.say("No subject")
		a.subject = a.rawSubject
	}
	a.stripped = strings.ToLower(strings.Join(strings.Fields(stripRe.ReplaceAllString(a.subject, "")), ""))
	name, _, named := strings.Cut(strings.TrimSpace(m.fromField), " <")
	a.rawAuthor, a.author, a.email = strings.ReplaceAll(trimSeparators(name), `\"`, `"`), m.Author, p.obscure(m.Address)
	if !isASCII(m.fromField) {
		a.author = p.misread(name)
	}
	if !named {
		a.rawAuthor, a.author = a.email, a.email
	}
	text, err := p.scrub(i, m, a, inMbox)
	if err != nil {
		return nil, err
	}
	a.text = text
	v := p.volume(a.date)
	v.add(a)
	p.tree.Pages = append(p.tree.Pages, Page{Path: path.Join(p.tree.HTML, v.name, a.name()), Mail: i,
		ID: trimSeparators(strings.TrimSpace(a.idField)), InMbox: inMbox, Edited: a.edited})
	return a, nil
}

// ahead is what no Date field may be after, when bin/arch runs on New Year 2026 (ARCHIVER_ALLOWABLE_SANE_DATE_SKEW).
var ahead = time.Date(2026, 1, 1+15, 0, 0, 0, 0, time.UTC)

// dateOf dates a by its Date field, else by its Received field or From_ line, which say the same.
func (p *pipermail) dateOf(a *article, m Mail) {
	a.date = m.lenient
	switch {
	case !p.o.OldDates && (a.date.Unix() < 0 || a.date.After(ahead)):
		a.date = m.Arrived
	case a.date.IsZero() && p.last.IsZero():
		a.date = m.Arrived
	case a.date.IsZero():
		a.date = p.last.Add(time.Second)
	}
	p.last = a.date
}

func trimSeparators(s string) string {
	if len(s) > 1 && strings.ContainsRune(`"<([`, rune(s[0])) && strings.ContainsRune(`">)]`, rune(s[len(s)-1])) {
		return s[1 : len(s)-1]
	}
	return s
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// misread is a raw 8-bit header field as Mailman decodes it: in the charset of the list, Latin-1 if that is ASCII.
func (p *pipermail) misread(field string) string {
	if p.o.Charset == "utf-8" {
		return strings.ToValidUTF8(field, "\uFFFD")
	}
	var b strings.Builder
	for _, c := range []byte(field) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func (p *pipermail) obscure(s string) string {
	if p.o.Plain || !strings.Contains(s, "@") {
		return s
	}
	return mailAddr.ReplaceAllString(s, "$1 at $2")
}

// url is where the list's archive is on the web.
func (p *pipermail) url() string {
	if p.o.Private {
		return "http://" + p.o.Host + "/mailman/private/" + p.list
	}
	return "http://" + p.o.Host + "/pipermail/" + p.list
}

// extensions are the first of each type in Python's mimetypes.
var extensions = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "application/pdf": ".pdf", "text/html": ".html",
	"application/octet-stream": ".bin", "message/rfc822": ".eml", "video/mp4": ".mp4",
}

// scrub stores the attachments and returns the text that stands for the whole mail.
func (p *pipermail) scrub(i int, m Mail, a *article, inMbox bool) (string, error) {
	parts := []string{}
	if m.Text != "" || len(m.Attachments) == 0 {
		parts = append(parts, m.Text)
	}
	sum := sha1.Sum([]byte(a.idField))
	hash := hex.EncodeToString(sum[:])
	dir := path.Join("attachments", cmp.Or(m.day, m.Arrived.Format("20060102")), hash[:4]+hash[len(hash)-4:])
	for _, part := range m.Attachments {
		if len(part.Data) == 0 {
			continue
		}
		data := part.Data
		switch part.Type {
		case "text/html":
			data = []byte("<tt>\n" + strings.ReplaceAll(strings.ReplaceAll(html.EscapeString(string(data)), " ", "&nbsp;"), "\n", "<br>\n") + "\n</tt>\n")
		case "message/rfc822":
			data = []byte(html.EscapeString(m.Arrived.Format("From nobody "+time.ANSIC) + "\n" + string(data)))
		}
		name, err := p.store(dir, extensions[part.Type], data)
		if err != nil {
			return "", err
		}
		p.tree.Files = append(p.tree.Files, File{Path: path.Join(p.tree.HTML, name), Mail: i,
			Exact: bytes.Equal(data, part.Data), InMbox: inMbox && !p.o.Scrubbed})
		parts = append(parts, p.scrubNote(part, p.url()+"/"+name))
	}
	for k, part := range parts[:len(parts)-1] {
		if !strings.HasSuffix(part, "\n") {
			parts[k] += "\n"
		}
	}
	return strings.Join(parts, p.say("-------------- next part --------------")+"\n"), nil
}

// scrubNote is the text that stands for an attachment.
func (p *pipermail) scrubNote(part Attachment, url string) string {
	switch part.Type {
	case "text/html":
		return "An HTML attachment was scrubbed...\nURL: <" + url + ">\n"
	case "message/rfc822":
		head := string(part.Data)
		field := func(name string) string {
			_, after, _ := strings.Cut(head, name+": ")
			value, _, _ := strings.Cut(after, "\n")
			return value
		}
		return fmt.Sprintf("An embedded message was scrubbed...\nFrom: %s\nSubject: %s\nDate: %s\nSize: %d\nURL: <%s>\n",
			field("From"), field("Subject"), field("Date"), len(head), url)
	}
	return fmt.Sprintf("A non-text attachment was scrubbed...\nName: %s\nType: %s\nSize: %d bytes\nDesc: not available\nURL: <%s>\n",
		cmp.Or(part.Name, "not available"), part.Type, len(part.Data), url)
}

// store writes an attachment, under a name that is not taken.
func (p *pipermail) store(dir, ext string, data []byte) (string, error) {
	if err := os.MkdirAll(p.path(dir), 0o775); err != nil {
		return "", err
	}
	for n := 0; ; n++ {
		name := path.Join(dir, "attachment"+ext)
		if n > 0 {
			name = path.Join(dir, fmt.Sprintf("attachment-%04d%s", n, ext))
		}
		f, err := os.OpenFile(filepath.FromSlash(p.path(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o664)
		if os.IsExist(err) {
			continue
		} else if err != nil {
			return "", err
		}
		_, err = f.Write(data)
		return name, cmp.Or(err, f.Close())
	}
}

// scrubbed is m with its text for a body, as the list's members and its mbox got it.
func (a *article) scrubbed(m Mail) []byte {
	if len(m.Attachments) == 0 {
		return m.Raw
	}
	head, _, _ := bytes.Cut(m.Raw, []byte("\nContent-Type: "))
	return fmt.Appendf(nil, "%s\nContent-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: 8bit\n\n%s", head, a.text)
}
