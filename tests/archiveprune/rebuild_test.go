package archiveprune

import (
	"html"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
)

// shown is what a page that was made again tells a reader.
type shown struct {
	id, subject, text string
	files             []string // content of what it links to
}

var (
	markup  = regexp.MustCompile(`<[^>]*>`)
	address = regexp.MustCompile(`@[^\s<>"'/)]*`)
)

// plain is text as a page has it, but for what is behind "@" and spaces at the ends of lines.
func plain(text string) string {
	text = address.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "@")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \t\n"))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// pagesIn reads all pages of a directory, by the Message-ID that they show; that of a mail without one is made up.
func (n *node) pagesIn(dir string) map[string]shown {
	n.Helper()
	pages := map[string]shown{}
	files := n.files(dir)
	for name, page := range files {
		if !isPage(name) {
			continue
		}
		id := idOf(page)
		if _, twice := pages[id]; twice {
			n.Errorf("%s: two pages show %q", dir, id)
		}
		_, subject, _ := strings.Cut(page, "<h1>")
		subject, _, _ = strings.Cut(subject, "</h1>")
		_, body, _ := strings.Cut(page, "<!--X-Body-of-Message-->\n")
		body, _, ok := strings.Cut(body, "\n<!--X-Body-of-Message-End-->")
		if !ok || id == "" {
			n.Errorf("%s/%s is not the page of a message", dir, name)
		}
		s := shown{id: id, subject: html.UnescapeString(subject), text: html.UnescapeString(markup.ReplaceAllString(body, ""))}
		for _, to := range href.FindAllStringSubmatch(body, -1) {
			content, there := files[html.UnescapeString(to[1])]
			if !there {
				n.Errorf("%s/%s leads to %q, which is not there", dir, name, to[1])
			}
			s.files = append(s.files, content)
		}
		pages[id] = s
	}
	return pages
}

// monthOf is the month that a mail's pages are made in.
func monthOf(m archive.Mail) string {
	date := dated([]archive.Mail{m})[m.ID]
	if m.ID == "" {
		date = m.Date
	}
	if date.IsZero() {
		return "undated"
	}
	return date.UTC().Format("2006-01")
}

// checkMonth fails unless the pages of a month show its mails: each Message-ID once, by the first mail that has it.
func (n *node) checkMonth(dir, month string, mails []archive.Mail, quoting archive.Quoting) {
	n.Helper()
	pages := n.pagesIn(path.Join(dir, month))
	seen, unnamed, want := map[string]bool{}, 0, 0
	for _, m := range mails {
		switch {
		case monthOf(m) != month || m.ID != "" && seen[m.ID]:
			continue
		case m.ID == "":
			unnamed++
			want++
			continue
		}
		want++
		seen[m.ID] = true
		page, there := pages[m.ID]
		if !there {
			n.Errorf("%s: no page shows %q, with %q", month, m.ID, m.Wart)
			continue
		}
		n.checkPage(page, m, quoting)
	}
	for id := range pages {
		if pages[id].subject == "this is a text" { // behind such a line
			want++
			unnamed++
		}
		if strings.HasSuffix(id, "@NO-ID-FOUND.mhonarc.org") {
			unnamed--
		}
	}
	if unnamed != 0 || len(pages) != want || want == 0 {
		n.Errorf("%s: %d pages, want %d; of %d mails without an ID there is none", month, len(pages), want, unnamed)
	}
}

// checkPage fails unless a page shows what is in a mail.
func (n *node) checkPage(page shown, m archive.Mail, quoting archive.Quoting) {
	n.Helper()
	subject := strings.Join(strings.Fields(m.Subject), " ")
	if subject == "" {
		subject = "[no subject]"
	}
	if got := strings.Join(strings.Fields(page.subject), " "); got != subject && m.Wart != "raw latin-1 header" { // it names no charset
		n.Errorf("%q, with %q: the subject is %q, want %q", m.ID, m.Wart, got, subject)
	}
	if m.Wart == "from line like a real one" && quoting == archive.Unmangled {
		return // the mail ends there, for all that anybody can tell
	}
	text := plain(string(archive.Quote([]byte(m.Text), quoting)))
	if got := plain(page.text); !strings.HasPrefix(got, text) {
		at := 0
		for at < min(len(got), len(text)) && got[at] == text[at] {
			at++
		}
		n.Errorf("%q, with %q: the text differs from byte %d on: %.80q, want %.80q", m.ID, m.Wart, at, got[at:], text[at:])
	}
	for _, a := range m.Attachments {
		if a.Type == "text/html" || a.Type == "message/rfc822" {
			continue // shown as text
		}
		if !slices.Contains(page.files, string(a.Data)) {
			n.Errorf("%q, with %q: no link to the %d bytes of %q", m.ID, m.Wart, len(a.Data), a.Name)
		}
	}
}

// What was pruned is made again, is as good as the messages, and can be pruned again.
func TestRebuild(t *testing.T) {
	for name, quoting := range map[string]archive.Quoting{"mangled": archive.Mangled, "unmangled": archive.Unmangled, "mboxrd": archive.Mboxrd} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rebuilt(t, quoting)
		})
	}
}

func rebuilt(t *testing.T, quoting archive.Quoting) {
	n := newNode(t, "", "archives/private")
	mails := collect(archive.Make{Seed: 21, N: 92, Start: time.Date(2019, 3, 1, 3, 0, 0, 0, time.UTC), Every: 12 * time.Hour, Lean: true}.Mails())
	tree, err := archive.Pipermail(n.dir, "dev", slices.Values(mails), archive.PipermailOptions{Quoting: quoting})
	n.must(err)
	n.apply()
	pruned := n.files("archives/private")
	gone := 0
	for _, page := range tree.Pages {
		if _, there := pruned[strings.TrimPrefix(page.Path, "archives/private/")]; !there {
			gone++
		}
	}
	if gone < 70 {
		t.Errorf("%d pages were pruned", gone)
	}
	dir := "archives/private/dev"

	if s := n.prune(0, "", "--rebuild", "dev", "2019-03"); !strings.HasPrefix(s.stdout, n.path(dir, "2019-03")+": ") || strings.Count(s.stdout, "\n") != 1 {
		t.Errorf("--rebuild says %q", s.stdout)
	}
	n.checkMonth(dir, "2019-03", mails, quoting)
	month := n.files(dir, "2019-03")
	n.prune(0, "", "--rebuild", "dev")
	months := map[string]bool{}
	for _, m := range mails {
		months[monthOf(m)] = true
	}
	for month := range months {
		n.checkMonth(dir, month, mails, quoting)
	}
	if len(months) < 5 || !months["undated"] {
		t.Errorf("the months are %v", months)
	}
	if again := n.files(dir, "2019-03"); len(again) != len(month) {
		t.Errorf("made again there are %d files of a month, and %d before", len(again), len(month))
	}
	now := n.files("archives/private")
	for name, text := range pruned {
		if now[name] != text {
			t.Errorf("%q was changed", name)
		}
	}

	// Pages that were just made again stay, and go as others do later.
	n.apply()
	n.same(now, n.files("archives/private"))
	for month := range months {
		mark := n.path(dir, month, ".rplan-rebuilt")
		then := time.Now().Add(-100 * day).UTC()
		n.must(os.WriteFile(mark, []byte(then.Format(time.RFC3339)+"\n"), 0o644))
		n.must(os.Chtimes(mark, then, then))
	}
	n.apply()
	after := n.files("archives/private")
	for name := range after {
		if _, was := pruned[name]; !was && !strings.HasPrefix(name, "dev/undated/") {
			t.Errorf("%q stayed", name)
		}
	}

	// What went can be made again, beside what was not made by rebuilding.
	n.must(os.Mkdir(n.path(dir, "1999-12"), 0o755))
	n.write(dir+"/1999-12/note", "mine")
	n.prune(3, `1999-12" was not made by rebuilding`, "--rebuild", "dev")
	n.checkMonth(dir, "2019-04", mails, quoting)
	n.prune(2, `1999-12" was not made by rebuilding`, "--rebuild", "dev", "1999-12")
	if got := n.files(dir, "1999-12"); len(got) != 1 || got["note"] != "mine" {
		t.Errorf("somebody's own files are %q", got)
	}
}

// Pages that are made again beside those that are still there double them, and keep none of them from going later.
func TestRebuildBesidePages(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"pipermail", "mhonarc"} {
		n := newNode(t, "", "archives/private")
		mails := recently(22, 40, 150)
		mails.Plain = true
		dir := "archives/private/dev"
		if layout == "pipermail" {
			_, err := archive.Pipermail(n.dir, "dev", mails.Mails(), archive.PipermailOptions{})
			n.must(err)
		} else {
			n.mbox(dir+".mbox", mails.Mails())
			archive.MHonArc(t, n.path(dir+".mbox"), n.path(dir), archive.MHonArcOptions{})
		}
		n.apply()
		before := n.files(dir)
		n.prune(0, "", "--rebuild", "dev")
		n.apply()
		for name, text := range before {
			if now, there := n.files(dir)[name]; !there || now != text {
				t.Errorf("%s: %q was lost", layout, name)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond))) // keep-html 0 is: older than now
		r := n.report(0, "--apply", "--keep-html", "0")["dev"]
		for _, reason := range r.Reasons {
			switch reason.Why {
			case "without it new pages would get the addresses of old ones", "pages that it is about stay", "it is in no message of the mbox":
			default:
				t.Errorf("%s: %d files stay: %s: %.300q", layout, reason.Files, reason.Why, reason.Paths)
			}
		}
		if r.Goes.Files < 60 {
			t.Errorf("%s: %d files go", layout, r.Goes.Files)
		}
	}
}
