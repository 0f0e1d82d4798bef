package layout

import (
	"bytes"
	"html"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rplan/lib/diag"
)

// escaped is how MHonArc writes "-", "&" and "<" in its comments (commentize in ewhutil.pl).
var escaped = regexp.MustCompile(`&#(\d{1,3});`)

// noID ends the Message-IDs that MHonArc makes up for mails without one: the digest of the header before it.
const noID = "@NO-ID-FOUND.mhonarc.org"

// readMHonArc reads the head of a page, up to mhonarcHead: a comment a line, by which MHonArc itself remembers what
// the page is of. As it escapes the values, nothing in a mail can end a comment or begin one.
func readMHonArc(head []byte, dir string) (Shown, error) {
	// A site may have its own markup before the first comment, but not after it.
	begin := bytes.Index(head, []byte(mhonarcSign))
	if begin < 0 {
		return Shown{}, diag.BadData.Errorf("names no message: MHonArc's mark is missing")
	}
	fields := map[string][]string{}
	for line := range strings.SplitSeq(string(head[begin:]), "\n") {
		comment, begins := strings.CutPrefix(strings.TrimSuffix(line, "\r"), "<!--X-")
		comment, ends := strings.CutSuffix(comment, " -->")
		if name, value, ok := strings.Cut(comment, ": "); ok && begins && ends {
			name = strings.ToLower(name)
			fields[name] = append(fields[name], strings.Clone(unescape(value))) // lest an ID keep the whole head in memory
		}
	}
	ids := fields["message-id"]
	switch {
	case len(ids) == 0:
		return Shown{}, diag.BadData.Errorf("names no message: it has no Message-Id comment")
	case len(ids) > 1:
		return Shown{}, diag.BadData.Errorf("names two messages: %q and %q", ids[0], ids[1])
	}
	s := Shown{ID: unblanked.Replace(ids[0]), Date: utf8Of(spaced(one(fields["date"])), ""), Subject: decoded(one(fields["subject"]))}
	if strings.HasSuffix(s.ID, noID) {
		s.ID = ""
	}
	from := one(fields["from"])
	if r := fields["from-r13"]; r != nil {
		from = rot13(one(r))
	}
	s.Author = authorOf(from)
	for _, name := range fields["derived"] {
		if p := path.Join(dir, name); name != "." && fs.ValidPath(name) && !slices.Contains(s.Attachments, p) {
			s.Attachments = append(s.Attachments, p)
		}
		if len(s.Attachments) > mostLinks {
			return Shown{}, errLinks
		}
	}
	return s, nil
}

var dateLine = regexp.MustCompile(`<em>Date</em>: ([^<]*)</li>`)

// shownDate is the Date field among those that the page shows, by MHonArc's own FIELDORDER and LABELSTYLES, or else what
// the comment says, where MHonArc prefers a date of Received. It is needed only where there is no ID.
func shownDate(body []byte, comment string) string {
	_, fields, _ := bytes.Cut(body, []byte("<!--X-Head-of-Message-->"))
	fields, _, ok := bytes.Cut(fields, []byte("<!--X-Head-of-Message-End-->"))
	if lines := dateLine.FindAllSubmatch(fields, 2); ok && len(lines) == 1 {
		return spaced(html.UnescapeString(utf8Of(string(lines[0][1]), "")))
	}
	return comment
}

func one(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func unescape(value string) string {
	return escaped.ReplaceAllStringFunc(value, func(e string) string {
		n, err := strconv.ParseUint(e[2:len(e)-1], 10, 8)
		if err != nil {
			return e
		}
		return string([]byte{byte(n)})
	})
}

// rot13 undoes MHonArc's mrot13: of small letters it is the usual one, but "@", the
// capitals and "[" are a ring of 28. Twice is nothing.
func rot13(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case '@' <= c && c <= '[':
			b[i] = '@' + (c-'@'+14)%28
		case 'a' <= c && c <= 'z':
			b[i] = 'a' + (c-'a'+13)%26
		}
	}
	return string(b)
}
