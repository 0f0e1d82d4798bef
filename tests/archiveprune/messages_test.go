package archiveprune

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune"
	"rplan/lib/archiveprune/layout"
	"rplan/tests/archive"
	"rplan/tests/need"
)

// expired are those mails that are older than half a year, by the calendar, and what has no date is not.
func expired(mails []archive.Mail) map[int]bool {
	half, _ := archiveprune.ParseKeep("6m")
	before, _ := half.Before(time.Now())
	old := map[int]bool{}
	for i, m := range mails {
		m.ID = "its own"
		date := dated([]archive.Mail{m})[m.ID]
		old[i] = !date.IsZero() && date.Before(before)
	}
	return old
}

// A list of mlmmj loses what is too old, and goes on.
func TestMlmmj(t *testing.T) {
	t.Parallel()
	n := newNode(t, "", "spool")
	n.list = true
	mails := collect(recently(31, 60, 400).Mails())
	list := archive.Mlmmj(t, n.path("spool"), slices.Values(mails))
	before := n.files("spool")
	r := n.report(0)["dev@lists.example.org"]
	if r.Messages != len(mails) || r.Layout != layout.Mlmmj || r.Goes.Files != 0 || r.Expired.Files != 0 || r.Kinds[layout.Message].Files != len(mails) {
		t.Errorf("%+v", r)
	}
	n.apply()
	n.prune(2, "an archive of mlmmj has no pages", "--rebuild", "dev")
	n.same(before, n.files("spool"))

	old := expired(mails)
	n.apply("--keep-mbox", "6m")
	after, gone := n.files("spool"), 0
	for name, text := range before {
		var number int
		if _, err := fmt.Sscanf(name, "dev/archive/%d", &number); err == nil && old[number-1] {
			gone++
			if _, there := after[name]; there {
				t.Errorf("%q stayed: %v", name, mails[number-1].Date)
			}
		} else if after[name] != text {
			t.Errorf("%q was lost: %q", name, mails[number-1].DateField)
		}
	}
	if gone < 20 || gone > 40 {
		t.Errorf("%d messages are gone", gone)
	}

	more := collect(archive.Make{Seed: 34, N: 2, Start: time.Now().Add(-time.Hour), Every: time.Minute, Plain: true}.Mails())
	archive.MlmmjPost(t, list, len(mails)+1, slices.Values(more))
	if got := n.read("spool/dev/archive/62"); got != string(archive.Mlmmjed(more[1])) {
		t.Errorf("a post after that is %q", got)
	}
	n.prune(0, "", "--undo", "dev@lists.example.org")
	back := n.files("spool")
	for name, text := range before {
		if back[name] != text && name != "dev/index" { // the counter went on
			t.Errorf("%q did not come back", name)
		}
	}
	if r := n.report(0)["dev@lists.example.org"]; r.Messages != len(mails)+2 {
		t.Errorf("%d messages", r.Messages)
	}
}

// Pages that MHonArc made of mlmmj's messages prove nothing by themselves: they stay wherever they are.
func TestPagesOfMlmmj(t *testing.T) {
	t.Parallel()
	mhonarc := need.Program(t, "mhonarc")
	n := newNode(t, "", "spool", "www")
	list := archive.Mlmmj(t, n.path("spool"), archive.Make{Seed: 35, N: 10, Plain: true}.Mails())
	for _, to := range []string{n.path("www/dev"), path.Join(list, "html")} {
		n.must(os.Mkdir(to, 0o755))
		if out, err := exec.Command(mhonarc, "-quiet", "-outdir", to, path.Join(list, "archive")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	before := [2]map[string]string{n.files("spool"), n.files("www")}
	reports := n.report(0, "--keep-html", "0")
	for list, why := range map[string]string{"dev": "there is no mbox", "dev@lists.example.org": "it is none of an archive's files"} {
		r := reports[list]
		if i := slices.IndexFunc(r.Reasons, func(r archiveprune.Reason) bool { return r.Why == why }); i < 0 || r.Reasons[i].Files < 12 || r.Goes.Files > 0 {
			t.Errorf("%s: %+v, want %q", list, r, why)
		}
	}
	n.apply("--keep-html", "0")
	n.same(before[0], n.files("spool"))
	n.same(before[1], n.files("www"))
}

// The prototype archiver's maildir loses what is too old, and Mailman goes on.
func TestMailman3(t *testing.T) {
	t.Parallel()
	n := newNode(t, "", "mailman/var/archives/prototype")
	n.list = true
	mails := collect(recently(32, 40, 400).Mails())
	tree := archive.Mailman3(t, n.path("mailman"), slices.Values(mails), false)
	before := n.files("mailman/var/archives/prototype")
	r := n.report(0)[archive.List]
	if r.Messages != len(tree.Files) || r.Layout != layout.Mailman3 || r.Goes.Files != 0 || r.Expired.Files != 0 {
		t.Errorf("%+v", r)
	}
	n.apply()
	n.prune(2, "an archive of mailman3 has no pages", "--rebuild", "dev")
	n.same(before, n.files("mailman/var/archives/prototype"))

	old := expired(mails)
	n.apply("--keep-mbox", "6m")
	after, gone := n.files("mailman/var/archives/prototype"), 0
	for i, file := range tree.Files {
		name := path.Join(archive.List, "new", file)
		if mails[i].DateField == "" {
			continue // Mailman gives it one
		}
		_, there := after[name]
		if there == old[i] || there && after[name] != before[name] {
			t.Errorf("the mail of %q is there: %v", mails[i].DateField, there)
		}
		if !there {
			gone++
		}
	}
	if gone < 12 || gone > 30 {
		t.Errorf("%d messages are gone", gone)
	}

	more := archive.Mailman3(t, n.path("mailman"), archive.Make{Seed: 36, N: 2, Start: time.Now().Add(-time.Hour), Every: time.Minute, Plain: true}.Mails(), false)
	if len(more.Files) != 2 || len(n.files("mailman/var/archives/prototype")) != len(after)+2 {
		t.Errorf("of two more posts Mailman has %v", more.Files)
	}
	n.prune(0, "", "--undo")
	if back := n.files("mailman/var/archives/prototype"); len(back) != len(before)+2 {
		t.Errorf("%d files are back, want %d", len(back), len(before)+2)
	}
}

// What HyperKitty exported is kept as long as messages are.
func TestHyperKitty(t *testing.T) {
	t.Parallel()
	n := newNode(t, "", "exports")
	mails := collect(recently(33, 40, 400).Mails())
	n.mbox("all.mbox", slices.Values(mails))
	n.must(os.Mkdir(n.path("hyperkitty"), 0o755))
	export := archive.HyperKitty(t, n.path("hyperkitty"), n.path("all.mbox"))
	n.must(os.Rename(export, n.path("exports/dev@lists.example.org.mbox.gz")))
	whole := n.unzipped("exports/dev@lists.example.org.mbox.gz")
	r := n.report(0)[archive.List]
	if r.Messages < 30 || r.Layout != layout.Mailman3 || r.Goes.Files != 0 {
		t.Errorf("%+v", r)
	}
	n.prune(2, "an archive of mailman3 has no pages", "--rebuild", "dev")
	n.apply("--keep-mbox", "6m")
	rest := n.unzipped("exports/dev@lists.example.org.mbox.gz")
	now := n.report(0)[archive.List]
	if now.Messages < 12 || now.Messages > r.Messages-12 {
		t.Errorf("%d of %d messages are left", now.Messages, r.Messages)
	}
	// What is left is in the export, and in its order.
	for _, message := range strings.SplitAfter(rest, "\n\n\n") {
		_, after, found := strings.Cut(whole, message)
		if !found {
			t.Fatalf("it did not have %q", message)
		}
		whole = after
	}
	n.prune(0, "", "--undo")
	if again := n.report(0)[archive.List]; again.Messages != r.Messages {
		t.Errorf("%d messages are back, want %d", again.Messages, r.Messages)
	}
}

func (n *node) unzipped(name string) string {
	n.Helper()
	z, err := gzip.NewReader(strings.NewReader(n.read(name)))
	n.must(err)
	text, err := io.ReadAll(z)
	n.must(err)
	return string(text)
}
