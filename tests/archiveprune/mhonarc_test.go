package archiveprune

import (
	"html"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
)

// addMails has mhonarc add mails to the pages, and adds them to the mbox. It returns the names of the new pages.
func (n *node) addMails(dir, box string, named bool, mails []archive.Mail) (pages []string) {
	n.Helper()
	before := n.files(dir)
	news := path.Join("news", mails[0].ID+".mbox")
	n.mbox(news, slices.Values(mails))
	n.mbox(box, slices.Values(mails))
	args := []string{"-quiet", "-umask", "022", "-add", "-outdir", n.path(dir)}
	if named {
		n.write("named.mrc", "<MIMEArgs>\nm2h_external::filter; subdir usename\n</MIMEArgs>\n")
		args = append(args, "-rcfile", n.path("named.mrc"))
	}
	out, err := exec.Command("mhonarc", append(args, n.path(news))...).CombinedOutput()
	if out = missing.ReplaceAll(out, nil); err != nil || len(out) > 0 {
		n.Errorf("mhonarc -add: %v: %s", err, out)
	}
	for name := range n.files(dir) {
		if _, there := before[name]; !there && isPage(name) {
			pages = append(pages, name)
		}
	}
	slices.Sort(pages)
	return pages
}

var (
	pageName = regexp.MustCompile(`^msg[0-9]{5}\.html$`)
	shownID  = regexp.MustCompile(`(?m)^<!--X-Message-Id: (.*) -->$`)
	href     = regexp.MustCompile(`(?:href|src)="([^"#:]+)["#]`)
)

// missing is what mhonarc says where a page that it wants to lead to a new one went.
var missing = regexp.MustCompile(`(?m)^ERROR: Failed to open ".*": No such file or directory\n *\.\.\.Will attempt to remove message and continue on\n`)

func isPage(name string) bool { return pageName.MatchString(path.Base(name)) }

// idOf is the Message-ID that a page shows.
func idOf(page string) string {
	if m := shownID.FindStringSubmatch(page); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// A live archive of MHonArc is pruned, added to, pruned again, brought back, pruned of all, and added to.
func TestMHonArcGoesOn(t *testing.T) {
	for name, named := range map[string]bool{"flat": false, "subdir": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			liveMHonArc(t, named)
		})
	}
}

func liveMHonArc(t *testing.T, named bool) {
	n := newNode(t, "", "lists")
	mails := collect(recently(11, 96, 150).Mails())
	n.mbox("lists/dev.mbox", slices.Values(mails))
	archive.MHonArc(t, n.path("lists/dev.mbox"), n.path("lists/dev"), archive.MHonArcOptions{Named: named})
	first := n.files("lists")
	last := lastPage(first)

	n.apply("--keep-html", "90d")
	pruned := n.files("lists")
	stayed := n.checkPages(first, pruned, mails, time.Now().Add(-90*day))
	if stayed < 20 || stayed > 80 {
		t.Errorf("%d pages stayed", stayed)
	}

	fresh := collect(archive.Make{Seed: 12, N: 10, Start: time.Now().Add(-10 * time.Hour), Every: time.Hour, Plain: true}.Mails())
	n.goesOn(named, last, fresh)
	added := n.files("lists")
	for name, text := range pruned { // indexes are made anew, and neighbours of a new page lead to it
		if isPage(name) && idOf(added[name]) != idOf(text) {
			t.Errorf("%q is another page now", name)
		}
	}

	mails = append(mails, fresh...)
	n.apply("--keep-html", "90d") // the one that was the last
	again := n.files("lists")
	n.checkPages(added, again, mails, time.Now().Add(-90*day))
	n.apply("--keep-html", "90d")
	n.same(again, n.files("lists"))

	n.apply("--keep-html", "60d")
	n.checkPages(again, n.files("lists"), mails, time.Now().Add(-60*day))

	if s := n.prune(0, "", "--undo"); !strings.Contains(s.stdout, " back, ") {
		t.Errorf("--undo says %q", s.stdout)
	}
	back := n.files("lists")
	for name, text := range first {
		if now, there := back[name]; !there || isPage(name) && idOf(now) != idOf(text) {
			t.Errorf("%q did not come back", name)
		}
	}
	for name, text := range added {
		if back[name] != text {
			t.Errorf("%q, which was added between prunes, was lost", name)
		}
	}
	n.checkLinks(back)

	n.apply("--keep-html", "0")
	for name := range n.files("lists") {
		if id := idOf(n.read("lists", name)); isPage(name) && !dated(mails)[id].IsZero() && path.Base(name) != lastPage(back) {
			t.Errorf("%q is still there", name)
		}
	}
	n.goesOn(named, lastPage(back), collect(archive.Make{Seed: 13, N: 3, Start: time.Now().Add(-3 * time.Hour), Every: time.Hour, Plain: true}.Mails()))
}

func lastPage(files map[string]string) (last string) {
	for name := range files {
		if isPage(name) {
			last = max(last, name)
		}
	}
	return path.Base(last)
}

// goesOn fails unless mhonarc adds mails on pages whose addresses no page had before, and lists them.
func (n *node) goesOn(named bool, last string, mails []archive.Mail) {
	n.Helper()
	pages := n.addMails("lists/dev", "lists/dev.mbox", named, mails)
	if len(pages) != len(mails) || pages[0] <= last {
		n.Fatalf("%d new mails are on pages %q, the last before was %q", len(mails), pages, last)
	}
	for i, page := range pages {
		if got := idOf(n.read("lists/dev", page)); got != mails[i].ID {
			n.Errorf("%q shows %q, want %q", page, got, mails[i].ID)
		}
		for _, index := range []string{"maillist.html", "threads.html"} {
			if !strings.Contains(n.read("lists/dev", index), `href="`+page+`"`) {
				n.Errorf("%s does not lead to %q", index, page)
			}
		}
	}
}

// checkPages fails unless just those pages are gone whose mails are all of before then, and their attachments; it
// returns how many stayed.
func (n *node) checkPages(before, after map[string]string, mails []archive.Mail, then time.Time) (stayed int) {
	n.Helper()
	when := dated(mails)
	then = then.UTC().Truncate(day)
	last := idOf(before["dev/"+lastPage(before)])
	for name, text := range before {
		now, there := after[name]
		if there && now != text {
			n.Errorf("%q was changed", name)
		}
		if !isPage(name) {
			continue
		}
		if there {
			stayed++
		}
		id := idOf(text)
		date, known := when[id]
		if !known && strings.HasSuffix(id, "@NO-ID-FOUND.mhonarc.org") {
			continue // its mail has no ID
		}
		if id == last {
			if !there {
				n.Errorf("%q is gone: the next page gets its address", name)
			}
			continue
		}
		if goes := known && !date.IsZero() && date.Before(then); goes == there {
			n.Errorf("%q is there: %v; it is of %q, %v", name, there, id, date)
		}
	}
	for name := range after {
		if _, was := before[name]; !was {
			n.Errorf("%q is new", name)
		}
	}
	n.checkLinks(after)
	for name := range after { // no attachment without its page
		of, is := strings.CutPrefix(path.Dir(name), "dev/msg")
		if _, there := after["dev/msg"+of+".html"]; is && !there {
			n.Errorf("%q stayed without its page", name)
		}
	}
	return stayed
}

// checkLinks fails for each page that leads to an attachment that is not there.
func (n *node) checkLinks(files map[string]string) {
	n.Helper()
	for name, text := range files {
		if !isPage(name) {
			continue
		}
		_, text, _ = strings.Cut(text, "<!--X-Body-of-Message-->\n")
		text, _, _ = strings.Cut(text, "<!--X-Body-of-Message-End-->")
		for _, to := range href.FindAllStringSubmatch(text, -1) {
			if _, there := files[path.Join(path.Dir(name), html.UnescapeString(to[1]))]; !there {
				n.Errorf("%q leads to %q, which is not there", name, to[1])
			}
		}
	}
}

// A page that stays keeps its attachments, also if another message, which is old, has the same ones.
func TestAttachmentOfAPageThatStays(t *testing.T) {
	for name, named := range map[string]bool{"flat": false, "subdir": true} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "", "lists")
			old := collect(archive.Make{Seed: 14, N: 1, Only: "attachments alike", Start: time.Now().Add(-200 * day)}.Mails())[0]
			lost := old
			lost.ID = "lost@example.org"
			lost.Raw = []byte(strings.ReplaceAll(string(old.Raw), old.ID, lost.ID))
			last := collect(archive.Make{Seed: 15, N: 1, Plain: true, Start: time.Now().Add(-199 * day)}.Mails())[0] // stays, as a page has no message
			n.mbox("all.mbox", slices.Values([]archive.Mail{old, lost, last}))
			n.mbox("lists/dev.mbox", slices.Values([]archive.Mail{old, last}))
			made := archive.MHonArc(t, n.path("all.mbox"), n.path("lists/dev"), archive.MHonArcOptions{Named: named})
			n.apply()
			after := n.files("lists")
			for page, id := range made.Pages {
				if _, there := after["dev/"+page]; there != (id == lost.ID || id == last.ID) {
					t.Errorf("the page of %q is there: %v", id, there)
				}
			}
			n.checkLinks(after)
		})
	}
}

// A page whose message is not to be kept goes, also if it is MHonArc's last.
func TestLastPageExpires(t *testing.T) {
	n := newNode(t, "", "lists")
	mails := collect(archive.Make{Seed: 15, N: 2, Plain: true, Start: time.Now().Add(-20 * day)}.Mails())
	mails = append(mails, collect(archive.Make{Seed: 16, N: 1, Only: "date in 1999"}.Mails())...)
	n.mbox("lists/dev.mbox", slices.Values(mails))
	archive.MHonArc(t, n.path("lists/dev.mbox"), n.path("lists/dev"), archive.MHonArcOptions{})
	last := lastPage(n.files("lists"))
	if idOf(n.read("lists/dev", last)) != mails[2].ID {
		t.Fatalf("%q is not the page of the old message", last)
	}
	n.apply("--keep-mbox", "5y")
	after := n.files("lists")
	if _, there := after["dev/"+last]; there || strings.Contains(after["dev.mbox"], mails[2].ID) || !strings.Contains(after["dev.mbox"], mails[1].ID) {
		t.Errorf("of a message that is too old there is a page: %v, and the mbox is %q", there, after["dev.mbox"])
	}
	if len(after) < 5 {
		t.Errorf("%d files are left", len(after))
	}
}

// An answer to a mail whose page went is added; MHonArc has forgotten the page then, also if it comes back.
func TestAnswerToAPageThatWent(t *testing.T) {
	n := newNode(t, "", "lists")
	mails := collect(archive.Make{Seed: 17, N: 4, Plain: true, Bare: true}.Mails())
	n.mbox("lists/dev.mbox", slices.Values(mails))
	made := archive.MHonArc(t, n.path("lists/dev.mbox"), n.path("lists/dev"), archive.MHonArcOptions{})
	n.apply()
	gone := ""
	for page, id := range made.Pages {
		if id == mails[0].ID {
			gone = page
		}
	}
	answer := collect(archive.Make{Seed: 18, N: 1, Plain: true, Bare: true, Start: time.Now().Add(-time.Hour)}.Mails())
	answer[0].Raw = append([]byte("In-Reply-To: <"+mails[0].ID+">\n"), answer[0].Raw...)
	n.goesOn(false, "msg00003.html", answer)
	n.prune(0, "", "--undo")
	if page := n.read("lists/dev", gone); idOf(page) != mails[0].ID {
		t.Errorf("%q is of %q", gone, idOf(page))
	}
	_, entry, listed := strings.Cut(n.read("lists/dev/maillist.html"), `href="`+gone+`"`)
	if listed && !strings.HasPrefix(entry, ">[no subject]<") {
		t.Errorf("the index has %.100q: rp-archive-prune(8) says that it has not", entry)
	}
}

// Closed months leave an mbox beside MHonArc's pages for files with the list's name, from which pages are proven.
func TestMonthsBesideMHonArc(t *testing.T) {
	months := func(n *node) (all []string) {
		for name := range n.files("lists") {
			if strings.HasSuffix(name, ".mbox.zst") {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return all
	}
	mails := collect(recently(21, 96, 200).Mails())
	n := newNode(t, `compress = "zstd"`, "lists")
	for list, of := range map[string][]archive.Mail{"dev": mails, "ops": mails[:3]} {
		n.mbox("lists/"+list+".mbox", slices.Values(of))
		archive.MHonArc(t, n.path("lists", list+".mbox"), n.path("lists", list), archive.MHonArcOptions{})
	}
	n.apply("--keep-html", "forever")
	before := n.files("lists")
	if packed := months(n); len(packed) < 5 || !strings.HasPrefix(packed[0], "dev-") || !strings.HasPrefix(packed[len(packed)-1], "ops-20") {
		t.Fatalf("months: %v", packed)
	}
	if rest := strings.Count(before["dev.mbox"], "\nFrom "); rest == 0 || rest > len(mails)/2 {
		t.Errorf("%d messages are in the mbox", rest)
	}
	n.apply("--keep-html", "forever")
	n.same(before, n.files("lists"))
	if r := n.report(0); r["dev"].Messages != len(mails) || r["ops"].Messages != 3 {
		t.Errorf("there are %d and %d messages", r["dev"].Messages, r["ops"].Messages)
	}
	n.apply("--keep-html", "90d", "dev")
	after := n.files("lists")
	dates := map[string]time.Time{}
	for _, m := range mails {
		dates[m.ID] = m.Date
	}
	gone := 0
	for name, text := range before {
		if _, there := after[name]; there || !isPage(name) {
			continue
		}
		if date := dates[idOf(text)]; !strings.HasPrefix(name, "dev/") || !date.Before(time.Now().Add(-90*day)) {
			t.Errorf("%q went, of %v", name, date)
		}
		gone++
	}
	if gone < 30 {
		t.Errorf("%d pages went", gone)
	}
}
