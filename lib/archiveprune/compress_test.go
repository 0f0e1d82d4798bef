package archiveprune

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/archive"
	"rplan/tests/need"
)

// closed are the mails of months that are closed if others are open for two months, by the names of their files.
func (s *shelf) closed(ext string) map[string][]int {
	first := s.now.AddDate(0, -2, 0)
	first = time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC)
	months := map[string][]int{}
	for i := range s.mails {
		if at, ok := s.dated(i); ok && s.sure(i) && at.Before(first) {
			name := at.UTC().Format("2006-01") + ".mbox" + ext
			months[name] = append(months[name], i)
		}
	}
	return months
}

// beside are the files beside the mbox.
func (s *shelf) beside() (list []string) {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(s.mbox))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(s.mbox) {
			list = append(list, e.Name())
		}
	}
	return list
}

// packed fails unless each closed month is in its file, but for mails that are gone, and nothing else is there.
func (s *shelf) packed(what, ext string, gone map[int]bool) {
	s.t.Helper()
	moved := maps.Clone(gone)
	if moved == nil {
		moved = map[int]bool{}
	}
	var want []string
	for name, mails := range s.closed(ext) {
		var text []byte
		for _, i := range mails {
			if !gone[i] {
				text = append(text, s.bytesOf(i)...)
			}
			moved[i] = true
		}
		if text != nil {
			want = append(want, name)
			s.same(what, filepath.Join(filepath.Dir(s.mbox), name), text)
		}
	}
	slices.Sort(want)
	if got := s.beside(); !slices.Equal(got, want) {
		s.t.Errorf("%s: beside the mbox there are %v, not %v", what, got, want)
	}
	s.same(what, s.mbox, s.without(moved))
}

func TestCompress(t *testing.T) {
	for format, ext := range map[string]string{"zstd": ".zst", "gzip": ".gz"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, tenYears(23, 1), archive.PipermailOptions{})
			proven := s.do(Options{KeepHTML: "1y"})
			report := s.do(Options{Compress: format})
			result := s.do(Options{Apply: true, Compress: format})
			s.packed("after the first run", ext, nil)
			if n := len(slices.Concat(slices.Collect(maps.Values(s.closed(ext)))...)); report.Moved.Files != n || result.Moved != report.Moved || !result.Done || result.Freed <= 0 {
				t.Errorf("%d mails are of closed months: %+v, then %+v, freed %d", n, report.Moved, result.Moved, result.Freed)
			}
			test := exec.Command(need.Program(t, format), "-tq")
			for _, name := range s.beside() {
				test.Args = append(test.Args, filepath.Join(filepath.Dir(s.mbox), name))
			}
			if out, err := test.CombinedOutput(); err != nil {
				t.Errorf("%s: %v %s", format, err, out)
			}
			before := s.state()
			if r := s.do(Options{Apply: true, Compress: format}); r.Moved.Files != 0 || r.Freed != 0 {
				t.Errorf("the second run: %+v", r)
			}
			if now := s.state(); !maps.Equal(now, before) {
				t.Errorf("the second run leaves\n%v, not\n%v", names(now), names(before))
			}
			if r := s.do(Options{KeepHTML: "1y", Compress: format}); r.Goes != proven.Goes || r.Messages != proven.Messages {
				t.Errorf("of compressed months %+v can go, and else %+v", r.Goes, proven.Goes)
			}
			// Late mail of a closed month, and some of this one.
			month, mails := "", []int(nil)
			for name, m := range s.closed(ext) {
				if month == "" || name < month && name > "2016" {
					month, mails = name, m
				}
			}
			late := fmt.Sprintf("From x@example.org  Thu Jan  1 00:00:00 2026\nMessage-ID: <late@example.org>\nDate: 3 %s 12:00:00 +0000\n\nlate\n\n",
				mustMonth(t, month[:7]).Format("Jan 2006"))
			var text []byte
			for _, i := range mails {
				text = append(text, s.bytesOf(i)...)
			}
			rest := s.read(s.mbox)
			s.append([]byte(late))
			s.do(Options{Apply: true, Compress: format})
			s.same("late mail", filepath.Join(filepath.Dir(s.mbox), month), append(text, late...))
			s.same("late mail", s.mbox, rest)
		})
	}
}

func mustMonth(t *testing.T, name string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01", name)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Messages that are too old leave compressed months, too, and come back; links lead into them.
func TestRetentionOfCompressed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, tenYears(24, 2), archive.PipermailOptions{})
	before := s.state()
	s.do(Options{Apply: true, KeepHTML: "2y"})
	s.do(Options{Apply: true, Compress: "zstd"})
	if lead, _ := s.linksRight(); lead < 80 {
		t.Errorf("%d links lead to compressed messages", lead)
	}
	maps.Copy(before, s.state())
	half := s.closed(".zst")["2020-12.mbox.zst"]
	first, _ := s.dated(half[0])
	moment := first.Truncate(24*time.Hour).AddDate(0, 0, 1) // in the middle of that month
	s.now = moment.AddDate(5, 0, 0).Add(time.Hour)
	old := s.olderThan(moment)
	if whole := s.closed(".zst")["2020-10.mbox.zst"]; len(whole) == 0 || !old[half[0]] || old[half[len(half)-1]] {
		t.Fatalf("months do not expire in whole and in part: %v, %v of %v", whole, half, old)
	}
	report := s.do(Options{KeepMbox: "5y", Compress: "zstd"})
	result := s.do(Options{Apply: true, KeepMbox: "5y", Compress: "zstd"})
	if report.Expired.Files != len(old) || result.Expired != report.Expired {
		t.Errorf("%+v, then %+v of %d", report.Expired, result.Expired, len(old))
	}
	s.packed("after the cut", ".zst", old)
	if lead, expired := s.linksRight(); lead < 20 || expired < len(old)-8 {
		t.Errorf("%d links lead to messages, %d are of messages that are gone", lead, expired)
	}
	s.do(Options{Apply: true, KeepMbox: "5y", Compress: "zstd"})
	s.packed("after the second run", ".zst", old)
	if _, stderr, err := s.run(Options{Undo: true, TrashDays: AsConfigured}); err != nil {
		t.Fatalf("%v %s", err, stderr)
	}
	s.packed("after the undo", ".zst", nil)
	if now := names(s.state()); !slices.Equal(now, names(before)) {
		t.Errorf("undo leaves\n%v, not\n%v", now, names(before))
	}
}

// Pages are made of compressed months, too.
func TestRebuildReadsCompressed(t *testing.T) {
	t.Parallel()
	need.Program(t, "mhonarc")
	s := newShelf(t, archive.Make{Seed: 25, N: 40, Plain: true, Text: 200, Start: time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)}, archive.PipermailOptions{})
	s.do(Options{Apply: true, Compress: "gzip", KeepHTML: "0"})
	mails := s.closed(".gz")["2025-01.mbox.gz"]
	stdout, stderr, err := s.run(Options{Rebuild: true, TrashDays: AsConfigured, Args: []string{"dev", "2025-01"}})
	if err != nil || stderr != "" || !strings.Contains(stdout, fmt.Sprintf("%d pages of dev/2025-01, %[1]d messages", len(mails))) && !strings.Contains(stdout, fmt.Sprintf("%d messages", len(mails))) {
		t.Fatalf("%v, %s %s", err, stdout, stderr)
	}
	var text []byte
	for name := range s.state() {
		if strings.HasPrefix(name, "dev/2025-01/") {
			text = append(text, s.read(filepath.Join(s.top, name))...)
		}
	}
	if len(mails) == 0 {
		t.Fatal("there are none")
	}
	for _, i := range mails {
		if !bytes.Contains(text, []byte(s.mails[i].ID)) && !regexp.MustCompile(regexp.QuoteMeta(strings.Split(s.mails[i].ID, "@")[0])).Match(text) {
			t.Errorf("no page shows %q", s.mails[i].ID)
		}
	}
}

// A month is whose the mbox is, whoever runs the command.
func TestMonthsAreOfTheMboxsOwner(t *testing.T) {
	t.Parallel()
	need.Root(t)
	s := newShelf(t, archive.Make{Seed: 26, N: 5, Plain: true, Bare: true}, archive.PipermailOptions{})
	if err := errors.Join(os.Chown(s.mbox, 38, 39), os.Chmod(s.mbox, 0o660)); err != nil {
		t.Fatal(err)
	}
	s.do(Options{Apply: true, Compress: "zstd"})
	for _, name := range append(s.beside(), filepath.Base(s.mbox)) {
		info, err := os.Stat(filepath.Join(filepath.Dir(s.mbox), name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 38 || st.Gid != 39 || info.Mode() != 0o660 {
			t.Errorf("%s is of %d:%d, %v", name, st.Uid, st.Gid, info.Mode())
		}
	}
	if len(s.beside()) == 0 {
		t.Error("there are no months")
	}
}

func TestMonthsBeside(t *testing.T) {
	for mbox, want := range map[string]string{
		"dev.mbox/dev.mbox": "", "dev/mbox": "", "dev.mbox": "dev-", "lists/dev.mbox": "dev-", "lists.mbox/dev.mbox": "dev-",
		"dev/dev": "none", "dev-2024-03.mbox": "none", "dev-2024-03-09.mbox": "none", ".mbox": "none", "dev.mbox/2024-03.mbox.zst": "none",
	} {
		prefix, any := monthsBeside(mbox)
		if got := map[bool]string{true: prefix, false: "none"}[any]; got != want {
			t.Errorf("%s: %q, want %q", mbox, got, want)
		}
	}
}
