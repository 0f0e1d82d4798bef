package archiveprune

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
)

// boundary is when a run of runDay lets pages of 90 days begin to stay.
var boundary = time.Date(2026, 8, 28, 0, 0, 0, 0, time.UTC)

// aroundTheBoundary has mails of three minutes each on both sides of the boundary. Each mail is a page of one month.
func aroundTheBoundary(t *testing.T, o archive.PipermailOptions) *pipermailScene {
	o.OldDates = true // else they are of a time to come to Mailman
	return newPipermail(t, archive.Make{Seed: 30, N: 12, Plain: true, Bare: true, Start: boundary.Add(-18 * time.Minute), Every: 3 * time.Minute}, o)
}

func TestPipermailBoundary(t *testing.T) {
	for _, x := range []struct {
		now  time.Time
		keep string
		goes func(time.Time) bool
	}{
		{runDay, "90d", func(date time.Time) bool { return date.Before(boundary) }},
		{boundary.AddDate(0, 0, 91).Add(-time.Second), "90d", func(date time.Time) bool { return date.Before(boundary) }},
		{boundary.AddDate(0, 0, 90), "90d", func(date time.Time) bool { return date.Before(boundary) }},
		{boundary.AddDate(0, 0, 90).Add(-time.Second), "90d", func(time.Time) bool { return false }},
		{boundary.AddDate(0, 0, 91), "90d", func(time.Time) bool { return true }},
		{runDay, "forever", func(time.Time) bool { return false }},
		{runDay, "0", func(time.Time) bool { return true }},
		{boundary.Add(-time.Second), "0", func(date time.Time) bool { return date.Before(boundary.Add(-time.Second)) }},
	} {
		s := aroundTheBoundary(t, archive.PipermailOptions{})
		s.now = x.now
		s.want(0, Options{Apply: true, KeepHTML: x.keep})
		for _, page := range s.truth.Pages {
			if date := s.mails[page.Mail].Date; s.there(page.Path) == x.goes(date) {
				t.Errorf("at %v, %s: the page of %v is there: %v", x.now, x.keep, date, s.there(page.Path))
			}
		}
	}
}

// What has no date of its own goes by when it was received, if that is asked for, and else stays.
func TestPipermailWithoutDates(t *testing.T) {
	odd := []string{"no date", "30 Feb", "German month", "French month", "date in 2038", "far future date"}
	for _, rule := range []string{"", "keep", "received"} {
		for _, wart := range odd {
			for old, start := range map[bool]time.Time{true: boundary.AddDate(0, 0, -40), false: boundary.AddDate(0, 0, 5)} {
				s := newPipermail(t, archive.Make{Seed: 31, N: 4, Only: wart, Bare: true, Start: start, Every: time.Hour}, archive.PipermailOptions{OldDates: true})
				r := s.result(0, Options{Apply: true, Undated: rule})
				goes := rule == "received" && old
				for _, page := range s.truth.Pages {
					if s.there(page.Path) == goes {
						t.Errorf("%s, --undated %q, received before the boundary %v: the page is there: %v", wart, rule, old, !goes)
					}
				}
				if why := whyOf(r, s.truth.Pages[0].Path); rule != "received" && why != "its message has a date to come" && why != "its message has no date" && why != "its message has a date that cannot be read" {
					t.Errorf("%s: it stays: %q", wart, why)
				}
			}
		}
	}
}

// whyOf is the reason that is said of a path, "" if none is.
func whyOf(r Result, p string) string {
	p = strings.TrimPrefix(p, "archives/private/")
	for _, reason := range r.Reasons {
		if slices.ContainsFunc(reason.Paths, func(said string) bool { return said == p || strings.HasPrefix(said, p+": ") }) {
			return reason.Why
		}
	}
	return ""
}

// A page that an archiver filed by a wrong date stays as long as its message's own date says.
func TestPipermailDateOfTheMessageCounts(t *testing.T) {
	s := newPipermail(t, archive.Make{Seed: 32, N: 3, Only: "date in 1999", Bare: true, Start: boundary.AddDate(0, 0, 20)}, archive.PipermailOptions{})
	s.want(0, Options{Apply: true})
	for _, page := range s.truth.Pages {
		if s.there(page.Path) {
			t.Errorf("%s is there", page.Path)
		}
	}
	if s.there(path.Dir(s.truth.Pages[0].Path)) {
		t.Error("the month is there")
	}
}

func TestPipermailKeepsThatContradict(t *testing.T) {
	s := aroundTheBoundary(t, archive.PipermailOptions{})
	before := s.picture()
	if got := s.want(64, Options{Apply: true, KeepHTML: "91d", KeepMbox: "90d"}); !strings.Contains(got.stderr, "--keep-html 91d can be longer than --keep-mbox 90d") {
		t.Error(got)
	}
	for _, lines := range []string{`keep-mbox = "30d"`, "keep-html = \"1y\"\nkeep-mbox = \"11m\"", "[archive.lists.dev]\nkeep-html = \"forever\"\nkeep-mbox = \"5y\""} {
		s.configure(lines)
		if got := s.want(78, Options{Apply: true}); !strings.Contains(got.stderr, "pages would show messages that are gone") {
			t.Error(got)
		}
	}
	s.is(before)
}

// Where only keep-mbox is shorter it holds for the pages too: none is left whose message was cut out.
func TestPipermailPagesGoWithTheirMessages(t *testing.T) {
	s := aroundTheBoundary(t, archive.PipermailOptions{})
	box := s.read(s.truth.Mbox)
	r := s.result(0, Options{Apply: true, KeepMbox: "90d"})
	left := s.read(s.truth.Mbox)
	if !strings.HasSuffix(string(box), string(left)) || r.Expired.Files == 0 || r.Expired.Bytes != int64(len(box)-len(left)) {
		t.Errorf("%d bytes are left of %d: %+v", len(left), len(box), r)
	}
	for _, page := range s.truth.Pages {
		m := s.mails[page.Mail]
		if inMbox := strings.Contains(string(left), "\nMessage-ID: <"+m.ID+">\n"); s.there(page.Path) != inMbox || inMbox == m.Date.Before(boundary) {
			t.Errorf("the page of %v is there %v, its message %v", m.Date, s.there(page.Path), inMbox)
		}
	}
}
