package layout

import (
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

func readPage(t *testing.T, page string) Shown {
	t.Helper()
	s, err := ReadPage(strings.NewReader(page), Pipermail, "dev/2019-March")
	if err != nil {
		t.Fatalf("%v\n%s", err, page)
	}
	return s
}

func TestPipermailIDs(t *testing.T) {
	for field, id := range map[string]string{
		"<plain@example.org>":                         "plain@example.org",
		"\n <folded@example.org>":                     "folded@example.org",
		"<a&b=\"c\"--%41+d e@example.org>":            "a&b=\"c\"--%41+de@example.org",
		"<folded\n\twithin@example.org>":              "foldedwithin@example.org",
		"<8bit-\xe4\xff@example.org>":                 "8bit-\xe4\xff@example.org",
		"<id@example.org> (added by a program)":       "id@example.org",
		"no-brackets@example.org":                     "no-brackets@example.org",
		"":                                            "",
		"<" + strings.Repeat("long", 1000) + ">":      strings.Repeat("long", 1000),
		"<mailman.12.1551780000.345.dev@example.org>": "mailman.12.1551780000.345.dev@example.org",
	} {
		s := readPage(t, article{id: field, author: "Joe", subject: "x In-Reply-To=%3Cevil@example.org%3E", date: "d"}.page())
		if s.ID != id {
			t.Errorf("%q: ID %q, not %q", field, s.ID, id)
		}
		if s.MadeUp() != strings.HasPrefix(id, "mailman.") {
			t.Errorf("%q: made up is %v", id, s.MadeUp())
		}
	}
}

// Templates differ by language and site; what they have in common must do.
func TestPipermailTemplates(t *testing.T) {
	a := article{id: "<one@example.org>", author: "Jörg &amp; Müller", email: "joerg at example.org", date: "Di Mär  5 10:00:00 CET 2019", subject: "Grüße &lt;b&gt; &#8364;", charset: "utf-8"}
	want := Shown{ID: "one@example.org", Author: "Jörg & Müller", Date: "Di Mär 5 10:00:00 CET 2019", Subject: "Grüße <b> €"}
	same := func(name, page string) {
		t.Helper()
		s := readPage(t, page)
		if s.ID != want.ID || s.Author != want.Author || s.Date != want.Date || s.Subject != want.Subject {
			t.Errorf("%s: %q, not %q", name, s, want)
		}
	}
	page := a.page()
	same("English", page)
	same("small letters", strings.NewReplacer("<B>", "<b>", "</B>", "</b>", "<H1>", "<h1>", "</H1>", "</h1>", "<I>", "<i>", "</I>", "</i>", "<A HREF", "<a href", "LINK REL", "link rel").Replace(page))
	same("on two lines", strings.NewReplacer("</H1>", "\n   </H1>", "</B>", "\n    </B>", "<A HREF", "<A\n    HREF", "\"made\" ", "\"made\"  ").Replace(page))
	same("Korean", strings.ReplaceAll(page, "&In-Reply-To", `s"In-Reply-To`))
	same("escaped link", strings.ReplaceAll(page, "&In-Reply-To", `&amp;In-Reply-To`))
	same("site's banner", strings.Replace(page, "<H1>", "<H1>Our lists</H1><B>Welcome</B><H1>", 1))
	same("CRLF", strings.ReplaceAll(page, "\n", "\r\n"))

	a.charset = "iso-8859-1"
	same("Latin-1", strings.NewReplacer("ö", "\xf6", "ü", "\xfc", "ß", "\xdf", "ä", "\xe4").Replace(a.page()))

	// Mailman 2.0 names no Message-ID.
	want.ID = ""
	a.charset = "utf-8"
	page = a.page()
	for strings.Contains(page, "?Subject") {
		i := strings.Index(page, "?Subject")
		page = page[:i] + page[i+strings.IndexByte(page[i:], '"'):]
	}
	same("Mailman 2.0", page)

	koi := article{id: "<one@example.org>", author: "\xf0\xc5\xd4\xd2", date: "Tue Mar  5 10:00:00 UTC 2019", subject: "x", charset: "koi8-r"}
	if s := readPage(t, koi.page()); s.ID != "one@example.org" || s.Key() != "" {
		t.Errorf("a charset that is not known: %q has key %q", s, s.Key())
	}
}

func TestPipermailAttachments(t *testing.T) {
	link := func(url string) string { return `URL: &lt;<A HREF="` + url + `">` + url + "</A>&gt;\n" }
	body := link("http://lists.example.org/pipermail/dev/attachments/20190305/0123abcd/attachment.pdf") +
		link("https://lists.example.org/mailman/private/dev/attachments/20190305/0123abcd/b-0001.html") +
		link("http://lists.example.org/pipermail/other/attachments/20190305/0123abcd/of-another-list.pdf") +
		link("http://lists.example.org/pipermail/dev/attachments/20190305/../up.pdf") +
		link("http://lists.example.org/pipermail/dev/attachments/20190305/%2e%2e%2f%2e%2e/up.pdf") +
		link("http://lists.example.org/dev/attachments/x") + strings.Repeat("filler &lt;<i>x</i>\n", 9000) +
		link("http://lists.example.org/pipermail/dev/attachments/20190305/0123abcd/late.pdf")
	for shift := range 40 {
		s := readPage(t, article{id: "<x@example.org>", body: strings.Repeat(" ", shift) + body}.page())
		want := "dev/attachments/20190305/0123abcd/attachment.pdf dev/attachments/20190305/0123abcd/b-0001.html dev/attachments/20190305/0123abcd/late.pdf"
		if got := strings.Join(s.Attachments, " "); got != want {
			t.Fatalf("shifted by %d: %s", shift, got)
		}
	}
}

const mhonarcPage = `<!-- MHonArc v2.6.19 -->
<!--X-Subject: one -->
<!--X-From-R13: Xbr -->
<!--X-Date: Thu, 1 Jan 2015 10:00:00 +0000 -->
<!--X-Message-Id: one@example.org -->
<!--X-Derived: ../up.bin -->
<!--X-Derived: /etc/passwd -->
<!--X-Derived: . -->
<!--X-Derived: in.bin -->
<!--X-Head-End-->
<html>
`

func TestPagesThatAreNone(t *testing.T) {
	one := article{id: "<one@example.org>", author: "a", date: "d", subject: "s"}.page()
	two := article{id: "<two@example.org>", author: "a", date: "d", subject: "s"}.page()
	for name, c := range map[string]struct {
		layout     Layout
		page, says string
	}{
		"empty":                   {Pipermail, "", "names no message"},
		"an index":                {Pipermail, `<HTML><a href="thread.html#start">`, "names no message"},
		"cut off":                 {Pipermail, one[:strings.Index(one, beginArticle)], "names no message"},
		"no link":                 {Pipermail, "<H1>x</H1>" + beginArticle, "names no message"},
		"two pages in one":        {Pipermail, one + two, "names two messages"},
		"links that differ":       {Pipermail, strings.Replace(one, "%3Cone", "%3Ctwo", 1), "names two messages"},
		"a link that is broken":   {Pipermail, strings.ReplaceAll(one, "%3Cone", "%3one"), "cannot be read"},
		"many links":              {Pipermail, strings.Replace(one, beginArticle, beginArticle+manyLinks(1025), 1), "links to more than 1024"},
		"a page of pipermail":     {MHonArc, one, "names no message"},
		"no comments":             {MHonArc, "<!-- MHonArc v2.6.19 -->\n<!--X-Head-End-->\n", "names no message"},
		"no mark":                 {MHonArc, "<!--X-Message-Id: x -->\n<!--X-Head-End-->\n", "names no message"},
		"two comments":            {MHonArc, strings.Replace(mhonarcPage, "<!--X-Date", "<!--X-Message-Id: two@example.org -->\n<!--X-Date", 1), `"two@example.org"`},
		"two of MHonArc in one":   {MHonArc, mhonarcPage + mhonarcPage, "names two messages"},
		"two far from each other": {MHonArc, mhonarcPage + strings.Repeat("x", 200000) + mhonarcPage, "names two messages"},
		"of mlmmj":                {Mlmmj, one, "no pages"},
	} {
		s, err := ReadPage(strings.NewReader(c.page), c.layout, "dev/2019-March")
		if err == nil || diag.KindOf(err) != diag.BadData || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; it does not say %q: %q", name, err, c.says, s)
		}
	}
	s, err := ReadPage(strings.NewReader("<!-- our banner -->\n"+mhonarcPage), Pipermail, "dev/2019-March")
	if err != nil || s.ID != "one@example.org" || s.Author != "Joe" || strings.Join(s.Attachments, " ") != "dev/2019-March/in.bin" {
		t.Errorf("a month that was made again: %q, %v", s, err)
	}
}

func manyLinks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`<A HREF="http://x/dev/attachments/20190305/0123abcd/` + strings.Repeat("i", i+1) + `">`)
	}
	return b.String()
}

// endless repeats a piece for as long as it is read.
type endless struct {
	piece string
	pos   int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.piece[e.pos]
		e.pos = (e.pos + 1) % len(e.piece)
	}
	return len(b), nil
}

// A page can be as large as it likes: it costs time in proportion, and little memory.
func TestHostilePages(t *testing.T) {
	head := article{id: "<x@example.org>"}.page()
	head = head[:strings.Index(head, beginArticle)+len(beginArticle)]
	const size = 20 << 20
	for name, r := range map[string]io.Reader{
		"no end of a header": io.LimitReader(&endless{piece: "x"}, size),
		"headings":           io.LimitReader(&endless{piece: "<h1><b><i>"}, size),
		"links for answers":  io.LimitReader(&endless{piece: `<a href="mailto:&In-Reply-To=` + "\n"}, size),
		"comments":           io.MultiReader(strings.NewReader("<!-- MHonArc v"), io.LimitReader(&endless{piece: "<!--X-Derived: &#1;x -->\n"}, size)),
		"long body":          io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{piece: "x"}, size)),
		"links":              io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{piece: `href="/dev/attachments/`}, size/10)),
		"the same link":      io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{piece: `<a href="x/dev/attachments/20190305/0123abcd/a">`}, size/10)),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := ReadPage(r, Pipermail, "dev/2019-March")
		runtime.ReadMemStats(&after)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v (%v)", name, took, err)
		}
		if sys := after.Sys - before.Sys; sys > 64<<20 {
			t.Errorf("%s: took %d MB of memory", name, sys>>20)
		}
	}
}
