package archiveprune

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/archive"
)

// A clock that is years ahead makes every message too old. Nothing of a list goes then, and nothing of the trash.
func TestClockAhead(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 11, 26, 12, 0, 0, 0, time.UTC) }
	made := archive.Make{Seed: 4, N: 60, Plain: true, Bare: true, Start: year(2020), Every: 873 * time.Hour} // into 2026
	for name, c := range map[string]struct {
		now     int
		last    string // Date of a mail more
		wrote   int    // when the mbox was written to
		keep    string
		args    []string
		refused bool
	}{
		"right":                          {2026, "", 2026, "5y", nil, false},
		"ten years ahead":                {2036, "", 2026, "5y", nil, true},
		"and mail came in":               {2036, "Wed, 25 Nov 2026 10:00:00 +0000", 2036, "5y", nil, true},
		"a date to come":                 {2036, "Tue, 19 Jan 2035 03:14:07 +0000", 2026, "5y", nil, true},
		"but messages are kept for good": {2036, "", 2026, "forever", nil, false},
		"but nothing is too old":         {2036, "", 2026, "20y", nil, false},
		"but the list is named":          {2036, "", 2026, "5y", []string{"dev"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProofTreeOf(t, made, archive.PipermailOptions{})
			if c.last != "" {
				p.add(p.Mbox, "From a@example.org  Thu Nov 26 11:00:00 2026\nDate: "+c.last+"\n\nnew\n\n")
			}
			if err := os.Chtimes(p.file(p.Mbox), year(c.wrote), year(c.wrote)); err != nil {
				t.Fatal(err)
			}
			p.now = year(c.now)
			results, err := p.run(Options{Config: p.setting(`keep-mbox = "` + c.keep + `"`), Args: c.args})
			if said := err == nil && len(results) == 1 && len(results[0].Notes) == 1 && strings.Contains(results[0].Notes[0], "--apply would refuse"); said != c.refused {
				t.Errorf("a report says so: %v; %v\n%s", said, err, p.stdout.Bytes())
			}
			before, _ := os.ReadFile(p.file(p.Mbox))
			_, err = p.run(Options{Config: p.setting(`keep-mbox = "` + c.keep + `"`), Args: c.args, Apply: true})
			after, _ := os.ReadFile(p.file(p.Mbox))
			if refused := diag.KindOf(err) == diag.Refused; refused != c.refused || err != nil && !refused {
				t.Errorf("refused: %v, with %v", refused, err)
			}
			if c.refused && (!bytes.Equal(before, after) || !p.has(p.Pages[0].Path)) {
				t.Errorf("it was changed: %d bytes of %d", len(after), len(before))
			}
		})
	}
}

// What another list of the tree shows of today is enough for one that is silent, however much is in its mbox.
func TestClockByAnotherList(t *testing.T) {
	p := newProofTree(t, 20, archive.PipermailOptions{}) // of 2003
	config := p.setting(`keep-mbox = "5y"`)
	if _, err := p.run(Options{Config: config, Apply: true}); diag.KindOf(err) != diag.Refused {
		t.Fatalf("alone: %v", err)
	}
	if err := os.MkdirAll(p.path+"/other.mbox", 0o755); err != nil {
		t.Fatal(err)
	}
	mail := "From a@example.org  Wed Nov 25 10:00:00 2026\nDate: Wed, 25 Nov 2026 10:00:00 +0000\n\n" + strings.Repeat("long\n", 30000) + "\n"
	if err := os.WriteFile(p.path+"/other.mbox/other.mbox", bytes.Repeat([]byte(mail), 4), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.run(Options{Config: config, Apply: true}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadFile(p.file(p.Mbox)); len(left) > 0 {
		t.Errorf("%d bytes are left of a list that is too old", len(left))
	}
}

// The trash keeps what it has while the clock is in doubt.
func TestClockAndTrash(t *testing.T) {
	p := newProofTree(t, 20, archive.PipermailOptions{})
	if _, err := p.run(Options{Args: []string{"dev"}, Apply: true}); err != nil || p.has(p.Pages[0].Path) {
		t.Fatal(err)
	}
	p.now = proofDay.AddDate(10, 0, 0)
	if _, err := p.run(Options{Config: p.setting(`keep-mbox = "5y"`), Apply: true}); diag.KindOf(err) != diag.Refused {
		t.Fatal(err)
	}
	p.now = proofDay
	if _, err := p.run(Options{Undo: true}); err != nil || !p.has(p.Pages[0].Path) {
		t.Errorf("nothing came back: %v", err)
	}
}
