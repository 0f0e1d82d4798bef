package layout

import (
	"bytes"
	"html"
	"io/fs"
	"iter"
	"net/url"
	"path"
	"regexp"
	"strings"

	"rplan/lib/diag"
)

var scrubbed = regexp.MustCompile(`(?i)href="([^"<>\s]+/attachments/[^"<>\s]+)"`)

// readPipermail reads a page up to beginArticle, by what the 39 languages' templates of Mailman 2.1's article.html
// have in common: two links for an answer, which name the Message-ID; before the second the subject as a heading and the
// author in bold, after it the date in italics. All values are escaped, so that no tag and no quote comes from the mail.
func readPipermail(head []byte) (Shown, error) {
	p := template{head, lower(head)}
	link, ids := -1, []string(nil)
	for at := range p.all(`href="mailto:`) {
		raw, ok := p.inReplyTo(at)
		if link < 0 || ok || len(ids) == 0 {
			link = at // a site's own template may have other links, and more headings, around it
		}
		if !ok {
			continue
		}
		id, err := url.PathUnescape(raw)
		if err != nil {
			return Shown{}, diag.BadData.Errorf("names a message by %q, which cannot be read: %w", raw, err)
		}
		ids = append(ids, bare(id))
		if ids[0] != bare(id) {
			return Shown{}, diag.BadData.Errorf("names two messages: %q and %q", ids[0], bare(id))
		}
	}
	if link < 0 {
		return Shown{}, diag.BadData.Errorf("names no message: it has no link to its author")
	}
	s := Shown{Subject: p.last("h1", link), Author: p.last("b", link), Date: p.first("i", link)}
	if len(ids) > 0 {
		s.ID = ids[0]
	}
	return s, nil
}

// template is a page up to the message, and the same with small letters only.
type template struct{ text, low []byte }

func lower(b []byte) []byte {
	low := bytes.Clone(b)
	for i, c := range low {
		if 'A' <= c && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	return low
}

// all yields where a text, in small letters, is.
func (p template) all(text string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for from := 0; ; {
			i := bytes.Index(p.low[from:], []byte(text))
			if i < 0 || !yield(from+i) {
				return
			}
			from += i + len(text)
		}
	}
}

// inReplyTo is the value of that parameter in the link at an offset, as it stands there. It is sought up to the first space or
// the tag's end, not to the quote: the Korean template has one where "&" belongs.
func (p template) inReplyTo(at int) (string, bool) {
	end := bytes.IndexAny(p.low[at:], " \t\r\n>")
	if end < 0 {
		return "", false
	}
	const name = "in-reply-to="
	i := bytes.Index(p.low[at:at+end], []byte(name))
	if i < 0 {
		return "", false
	}
	value := p.text[at+i+len(name) : at+end]
	if i := bytes.IndexAny(value, `&"`); i >= 0 {
		value = value[:i]
	}
	return string(value), true
}

// last is the text of the last element of this name before an offset.
func (p template) last(name string, before int) string {
	i := bytes.LastIndex(p.low[:before], []byte("<"+name+">"))
	if i < 0 {
		return ""
	}
	return p.element(name, i)
}

// first is that of the first one after it.
func (p template) first(name string, after int) string {
	i := bytes.Index(p.low[after:], []byte("<"+name+">"))
	if i < 0 {
		return ""
	}
	return p.element(name, after+i)
}

func (p template) element(name string, at int) string {
	at += len("<" + name + ">")
	end := bytes.Index(p.low[at:], []byte("</"+name+">"))
	if end < 0 {
		return ""
	}
	return spaced(html.UnescapeString(utf8Of(string(p.text[at:at+end]), p.charset())))
}

// charset is what the page's head says that it is in.
func (p template) charset() string {
	_, after, _ := bytes.Cut(p.low, []byte("charset="))
	after = bytes.TrimLeft(after, `"'`)
	if i := bytes.IndexAny(after, "\"'>; \n"); i >= 0 {
		return string(after[:i])
	}
	return ""
}

// links collects the attachments that a page links to. Mailman's scrubber puts what it takes out of a message in
// LIST/attachments/YYYYMMDD/HASH/NAME, and a URL into the text, of which the host and the beginning are the site's affair.
type links struct {
	archive, list string
	paths         []string
	seen          map[string]bool
}

func newLinks(dir string) *links {
	archive := path.Dir(path.Clean(dir))
	return &links{archive: archive, list: path.Base(archive), seen: map[string]bool{}}
}

func (l *links) find(block []byte) error {
	if !bytes.Contains(block, []byte("/attachments/")) {
		return nil
	}
	for _, m := range scrubbed.FindAllSubmatch(block, -1) {
		raw, err := url.PathUnescape(html.UnescapeString(string(m[1])))
		if err != nil {
			continue
		}
		parts := strings.Split(raw, "/")
		n := len(parts)
		if n < 5 || parts[n-4] != "attachments" || l.list != "." && !strings.EqualFold(parts[n-5], l.list) {
			continue // of another list, or no link of the scrubber's
		}
		name := strings.Join(parts[n-4:], "/")
		p := path.Join(l.archive, name)
		if l.seen[p] || !fs.ValidPath(name) {
			continue
		}
		if len(l.paths) == mostLinks {
			return errLinks
		}
		l.seen[p] = true
		l.paths = append(l.paths, p)
	}
	return nil
}
