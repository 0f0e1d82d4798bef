package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/mail"
	"regexp"
	"strings"
	"time"
)

// Key is a digest of a message's author, date and subject, from the fields From, Date and Subject as they stand in its
// header. A page of the message that names no Message-ID has the same Key, if it can be told at all. It is "" where there
// is no author or no date, or where a charset is not known: then the message is the same as no other.
func Key(from, date, subject string) string {
	return key(authorOf(from), date, decoded(subject))
}

// Key is that of the message that the page shows, or "".
func (s Shown) Key() string { return key(s.Author, s.Date, s.Subject) }

var madeUp = regexp.MustCompile(`^mailman\.\d+\.\d+\.\d+\.[^@\s]+@[^@\s]+$`)

// MadeUp tells whether the ID may be one that Mailman 2 has made up while it archived a mail without any: then
// it stands in no mbox, and the page can only be of a message that has no ID and the same Key.
func (s Shown) MadeUp() bool { return madeUp.MatchString(s.ID) }

func key(author, date, subject string) string {
	author, date, subject = plain(author), dateOf(date), subjectOf(subject)
	if author == "" || date == "" || strings.ContainsRune(author+subject, '\uFFFD') {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", author, date, subject))
	return hex.EncodeToString(sum[:])
}

// plain is text as it may stand in a page: with single spaces, and addresses as pipermail obscures them.
func plain(s string) string { return spaced(strings.ReplaceAll(s, "@", " at ")) }

func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }

var reply = regexp.MustCompile(`(?i)^re ?(\[\d+\] ?)?: ?`)

// subjectOf is a subject without what pipermail leaves out of it, and without what it puts in where there is none.
func subjectOf(s string) string {
	s = plain(s)
	for {
		rest := reply.ReplaceAllString(s, "")
		if rest == s {
			break
		}
		s = rest
	}
	if strings.EqualFold(s, "no subject") {
		return ""
	}
	return s
}

// dateOf is a time in UTC, or the text itself if it is none, and "" for a time whose zone cannot be told:
// pipermail writes that of its server by a name, such as CET.
func dateOf(s string) string {
	s = spaced(s)
	if t, err := mail.ParseDate(s); err == nil {
		return fmt.Sprint(t.Unix())
	}
	t, err := time.ParseInLocation("Mon Jan 2 15:04:05 MST 2006", s, time.Local)
	if err != nil {
		return s
	}
	if name, _ := t.Zone(); t.Location() != time.Local && name != "UTC" && name != "GMT" {
		return ""
	}
	return fmt.Sprint(t.Unix())
}

var words = mime.WordDecoder{}

// decoded is a field's text with its encoded words (RFC 2047) read. In a charset that is not known they stay as they are.
func decoded(field string) string {
	field = utf8Raw(spaced(field))
	if text, err := words.DecodeHeader(field); err == nil {
		field = text
	}
	return spaced(strings.ToValidUTF8(field, "\uFFFD"))
}

// utf8Raw reads raw 8-bit text as Latin-1 if it is no UTF-8: both sides of a comparison do.
func utf8Raw(s string) string {
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	return latin1(s)
}

// authorOf is the name in a From field or, where there is none, its address.
func authorOf(field string) string {
	field = utf8Raw(spaced(field))
	parser := mail.AddressParser{WordDecoder: &words}
	if list, err := parser.ParseList(field); err == nil {
		if list[0].Name != "" {
			return spaced(list[0].Name)
		}
		return list[0].Address
	}
	return decoded(strings.Trim(field, `<>" `))
}
