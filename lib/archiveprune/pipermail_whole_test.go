package archiveprune

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rplan/lib/archiveprune/links"
	"rplan/tests/archive"
)

// pipermailTrees are archives of all kinds that Mailman 2 leaves.
var pipermailTrees = map[string]archive.PipermailOptions{
	"english":   {Foreign: true, Symlinks: true},
	"german":    {German: true, GermanDirs: true, Foreign: true},
	"symlinks":  {Symlinks: true, German: true},
	"quarters":  {Period: "quarter", Symlinks: true, OldDates: true, Plain: true},
	"scrubbed":  {Scrubbed: true, Charset: "utf-8", Foreign: true},
	"unmangled": {Quoting: archive.Unmangled, Private: true, OnlyGzip: true},
	"mboxrd":    {Quoting: archive.Mboxrd, Period: "week"},
	"missing":   {Missing: inNoMbox, Edit: func(i int, _ archive.Mail) bool { return i%11 == 2 }, Symlinks: true, Foreign: true},
}

// inNoMbox lets every seventh mail have a page and be in no mbox.
func inNoMbox(i int, _ archive.Mail) bool { return i%7 == 3 }

// TestPipermailTrees reports, prunes, and takes back, and holds each step against what is true of the archive.
func TestPipermailTrees(t *testing.T) {
	for name, o := range pipermailTrees {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPipermail(t, archive.Make{Seed: 20, N: everyWart()}, o)
			before := s.picture()
			report := s.result(0, Options{})
			s.checkTable(report)
			s.is(before)
			if s.there(".rplan") {
				t.Error("a report left something")
			}
			s.checkReport(report, before)

			done := s.result(0, Options{Apply: true})
			after := s.picture()
			gone := before.gone(after)
			s.checkGone(gone)
			s.checkStays(before, after)
			s.checkLinks(gone)
			if files := countFiles(gone, before); !done.Done || done.Goes != report.Goes || done.Goes.Files != files || done.Freed != done.Goes.Bytes {
				t.Errorf("%d files went, and it says %+v of %+v", files, done, report.Goes)
			}

			if again := s.result(0, Options{Apply: true}); again.Goes.Files != 0 || again.Freed != 0 {
				t.Errorf("a second run removes %+v", again)
			}
			s.is(after)

			back := s.want(0, Options{Undo: true})
			if want := fmt.Sprintf(": %d files are back, ", done.Goes.Files); !strings.Contains(back.stdout, want) || back.stderr != "" {
				t.Errorf("want %q: %s", want, back)
			}
			s.is(before)
			if twice := s.want(0, Options{Undo: true}); twice.stdout != "" || twice.stderr != "" {
				t.Error(twice)
			}
			s.is(before)
			if left, err := os.ReadDir(s.at(".rplan/trash")); err != nil || len(left) > 0 {
				t.Errorf("in the trash is %v, %v", left, err)
			}
		})
	}
}

// A symlink in a month of which all else goes stays in it.
func TestPipermailSymlinkInAMonth(t *testing.T) {
	s := newPipermail(t, archive.Make{Seed: 21, N: 12, Plain: true}, archive.PipermailOptions{Symlinks: true})
	before := s.picture()
	if got := s.want(0, Options{Apply: true}); got.stderr != "" {
		t.Error(got)
	}
	left, err := os.ReadDir(s.at(path.Join(s.truth.HTML, s.truth.Volumes[0])))
	if err != nil || len(left) != 1 || left[0].Name() != "999999.html" {
		t.Errorf("there is %v, %v", left, err)
	}
	s.want(0, Options{Undo: true})
	s.is(before)
}

// countFiles is how many of the paths are no directories.
func countFiles(paths []string, in picture) (n int) {
	for _, p := range paths {
		if !strings.HasPrefix(in[p], "d") {
			n++
		}
	}
	return n
}

// must says of a page that it has to go: all is as usual with its mail, and nothing is like it.
func (s *pipermailScene) must(page archive.Page) bool {
	m := s.mails[page.Mail]
	return page.InMbox && s.pagesOf(page.ID) == 1 && m.ID != "" && !m.Date.IsZero() && m.Date.Before(s.now.AddDate(0, 0, -91)) && page.Mail < len(s.mails)-1
}

// pagesOf is how many pages show a Message-ID.
func (s *pipermailScene) pagesOf(id string) (n int) {
	for _, page := range s.truth.Pages {
		if page.ID == id {
			n++
		}
	}
	return n
}

// checkGone looks at all that went.
func (s *pipermailScene) checkGone(gone []string) {
	s.Helper()
	for _, p := range gone {
		page, is := s.page(p)
		if is && !page.InMbox {
			s.Errorf("%s went, and its mail %d (%s) is in no mbox", p, page.Mail, s.mails[page.Mail].Wart)
		}
		if is && !s.dated(page.Mail) {
			s.Errorf("%s went, and its mail (%s) has no date", p, s.mails[page.Mail].Wart)
		}
		if i := slices.IndexFunc(s.truth.Files, func(f archive.File) bool { return f.Path == p }); i >= 0 {
			if f := s.truth.Files[i]; !f.Exact || !f.InMbox {
				s.Errorf("the attachment %s went, and is in no message: %+v", p, f)
			}
			if page := s.truth.Pages[s.truth.Files[i].Mail]; s.there(page.Path) {
				s.Errorf("the attachment %s went, and %s leads to it", p, page.Path)
			}
		}
		if slices.Contains(s.truth.Foreign, p) || slices.Contains(s.truth.Symlinks, p) || p == s.truth.Mbox {
			s.Errorf("%s went", p)
		}
	}
	pages, files := 0, 0
	for _, page := range s.truth.Pages {
		if s.must(page) {
			pages++
			if s.there(page.Path) {
				s.Errorf("%s stays, for all that is true of %q", page.Path, s.mails[page.Mail].Wart)
			}
		}
	}
	for _, f := range s.truth.Files {
		if f.Exact && f.InMbox && s.must(s.truth.Pages[f.Mail]) {
			files++
			if s.there(f.Path) {
				s.Errorf("the attachment %s stays", f.Path)
			}
		}
	}
	if pages < len(s.mails)/2 || files < 3 && s.truth.Files[0].InMbox {
		s.Errorf("only %d pages and %d attachments had to go", pages, files)
	}
}

// dated says whether a mail has a date that counts: one that can be read and is not to come.
func (s *pipermailScene) dated(mail int) bool {
	m := s.mails[mail]
	lenient := m.Wart == "asctime date" || m.Wart == "named zone" || m.Wart == "two-digit year"
	return (lenient || !m.Date.IsZero()) && m.Date.Before(s.now.AddDate(0, 0, 1))
}

// checkStays looks at all that did not go: it is as it was, and what is about pages has one to be about.
func (s *pipermailScene) checkStays(before, after picture) {
	s.Helper()
	for p, is := range after {
		if was := before[p]; was != is && !strings.HasPrefix(is, "d") {
			s.Errorf("%s is %.120q, was %.120q", p, is, was)
		}
	}
	staying := map[string][]int{} // mails of the pages that stay, by directory
	inMonth := map[string]bool{}  // directories of which a page shows what is in no mbox
	for _, page := range s.truth.Pages {
		if dir := path.Dir(page.Path); s.there(page.Path) {
			staying[dir] = append(staying[dir], page.Mail)
		}
		if !page.InMbox {
			inMonth[path.Dir(page.Path)] = true
		}
	}
	for _, volume := range s.truth.Volumes {
		dir := path.Join(s.truth.HTML, volume)
		for _, name := range []string{"thread.html", "subject.html", "author.html", "date.html", "index.html"} {
			if s.there(path.Join(dir, name)) != (len(staying[dir]) > 0) {
				s.Errorf("%s/%s: there %v, for pages of %v", dir, name, s.there(path.Join(dir, name)), staying[dir])
			}
		}
		for _, name := range []string{dir + ".txt", dir + ".txt.gz"} {
			if _, was := before[name]; was && (len(staying[dir]) > 0 || inMonth[dir]) && !s.there(name) {
				s.Errorf("%s went, and pages of it stay, or mails are in no mbox", name)
			}
		}
	}
	for _, p := range []string{"index.html", "pipermail.pck"} {
		if !s.there(path.Join(s.truth.HTML, p)) && (p != "index.html" || len(staying) > 0) {
			s.Errorf("%s went", p)
		}
	}
}

// checkReport holds the sums against the files.
func (s *pipermailScene) checkReport(r Result, before picture) {
	s.Helper()
	files := 0
	for p, is := range before {
		if !strings.HasPrefix(is, "d") && strings.HasPrefix(p, "archives/private/") && p != s.truth.Mbox {
			files++
		}
	}
	if r.Goes.Files+r.Stays.Files != files {
		s.Errorf("%d go and %d stay of %d files", r.Goes.Files, r.Stays.Files, files)
	}
	sum := Amount{}
	for _, reason := range r.Reasons {
		sum.Files += reason.Files
		sum.Bytes += reason.Bytes
		if reason.Why == "" || len(reason.Paths) > 0 && len(reason.Paths) != reason.Files {
			s.Errorf("%+v", reason)
		}
	}
	if sum != r.Stays {
		s.Errorf("the reasons are for %+v, and %+v stay", sum, r.Stays)
	}
	for _, list := range [][]string{s.truth.Foreign, s.truth.Symlinks} {
		for _, p := range list {
			inTree, ok := strings.CutPrefix(p, "archives/private/")
			named := slices.ContainsFunc(r.Reasons, func(reason Reason) bool {
				return slices.ContainsFunc(reason.Paths, func(path string) bool { return path == inTree || strings.HasPrefix(path, inTree+": ") })
			})
			if ok && !named {
				s.Errorf("nothing is said of %s", p)
			}
		}
	}
	for _, page := range s.truth.Pages {
		if why := whyOf(r, page.Path); !page.InMbox && why != whyUnproven && (why != whyRepeated || s.pagesOf(page.ID) < 2) {
			s.Errorf("%s is in no mbox, and it is said: %q", page.Path, why)
		}
	}
	unlike := s.truth.InMbox - r.Messages // an unmangled mbox has a line that is a From_ line
	if r.List != "dev" || r.Tree != s.tree || unlike > 0 || unlike < -3 {
		s.Errorf("%d messages in the mbox, and it says %+v", s.truth.InMbox, r)
	}
}

var inTable = regexp.MustCompile(`(?m)^  (\d+) files?, (.*), stays?: (.*)$`)

// checkTable compares what people read with what machines do.
func (s *pipermailScene) checkTable(r Result) {
	s.Helper()
	table := s.want(0, Options{}).stdout
	rows := inTable.FindAllStringSubmatch(table, -1)
	if len(rows) != len(r.Reasons) {
		s.Fatalf("%d reasons in\n%s\n%+v", len(rows), table, r.Reasons)
	}
	for i, row := range rows {
		if row[1] != strconv.Itoa(r.Reasons[i].Files) || row[2] != size(r.Reasons[i].Bytes) || row[3] != r.Reasons[i].Why {
			s.Errorf("%q is not %+v", row[0], r.Reasons[i])
		}
	}
	head := strings.Fields(strings.Split(table, "\n")[1])
	if head[0] != "dev" || head[1] != "pipermail" || head[2] != strconv.Itoa(r.Messages) || !strings.Contains(table, "  "+size(r.Goes.Bytes)+"  ") {
		s.Errorf("%q is not %+v", head, r)
	}
}

// checkLinks follows the link of each page that went to its message in the mbox.
func (s *pipermailScene) checkLinks(gone []string) {
	s.Helper()
	root, err := os.OpenRoot(s.tree)
	s.ok(err)
	defer root.Close()
	known := map[string]links.Link{}
	for l, err := range links.Read(root, links.Path) {
		s.ok(err)
		known["archives/private/"+l.Page] = l
	}
	box, urls := s.read(s.truth.Mbox), map[string]string{}
	for line := range strings.Lines(string(s.read(".rplan/links.txt"))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		p, err := url.PathUnescape(key)
		s.ok(err)
		urls["archives/private/"+p] = value
	}
	for _, p := range gone {
		l, linked := known[p]
		delete(known, p)
		page, is := s.page(p)
		if html := strings.HasSuffix(p, ".html") && !strings.Contains(p, "/attachments/"); html != linked && !strings.Contains(p, ".txt") {
			s.Errorf("%s: linked %v", p, linked)
		}
		if !is {
			continue
		}
		m, id := s.mails[page.Mail], unspaced(page.ID)
		if m.Wart == "odd id" { // its field has more than the ID
			id = unspaced(m.ID)
		}
		if l.List != "dev" || "archives/private/"+l.Mbox != s.truth.Mbox || l.ID != id || l.Offset < 0 || l.Offset >= int64(len(box)) {
			s.Errorf("%s has %+v, and shows %q", p, l, page.ID)
			continue
		}
		// Of several with one Message-ID it may be another; none has one that is not its own.
		head, _, _ := bytes.Cut(box[l.Offset:], []byte("\nMIME-Version:"))
		if from := m.FromLine(); !bytes.HasPrefix(head, []byte("From ")) || m.ID != "" && !bytes.Contains(unfolded(head), []byte(unspaced(m.ID))) ||
			m.ID == "" && (!bytes.HasPrefix(head, []byte(from)) || bytes.Contains(bytes.ToLower(head), []byte("\nmessage-id:"))) {
			s.Errorf("%s leads to %.300q, and is of %q", p, head, m.ID)
		}
		if value := urls[p]; !strings.HasPrefix(value, "dev,") {
			s.Errorf("links.txt has %q for %s", value, p)
		}
	}
	for p := range known {
		s.Errorf("%s is in the links, and did not go", p)
	}
}

func unspaced(s string) string { return strings.Join(strings.Fields(s), "") }

func unfolded(b []byte) []byte { return []byte(unspaced(string(b))) }
