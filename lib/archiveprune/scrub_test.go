package archiveprune

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/tests/archive"
)

// split is a message of an mbox as header, with the empty line, and body.
func split(text []byte) (header, body []byte) {
	for at := 0; at < len(text); {
		end := at + bytes.IndexByte(text[at:], '\n') + 1
		if end == at {
			break
		}
		if line := text[at:end]; len(bytes.TrimRight(line, "\r\n")) == 0 {
			return text[:end], text[end:]
		}
		at = end
	}
	return text, nil
}

// scrubbed fails unless a text is these mails one after the other, as they were but for addresses of clients in their headers.
func (s *shelf) scrubbed(what string, text []byte, mails []int) {
	s.t.Helper()
	for _, i := range mails {
		was, body := split(s.bytesOf(i))
		is, rest := split(text)
		if !bytes.HasPrefix(rest, body) || !bytes.HasPrefix(is, []byte(s.mails[i].FromLine())) {
			s.t.Fatalf("%s: instead of mail %d, %q, there is %.300q", what, i, s.mails[i].Wart, text)
		}
		for _, client := range s.mails[i].Clients {
			if bytes.Contains(is, []byte(client)) {
				s.t.Errorf("%s: mail %d still has %s", what, i, client)
			}
		}
		lines := bytes.SplitAfter(was, []byte("\n"))
		for line := range bytes.Lines(is) {
			if !bytes.Contains(line, []byte("scrubbed")) && !slices.ContainsFunc(lines, func(l []byte) bool { return bytes.Equal(l, line) }) {
				s.t.Errorf("%s: mail %d has %q now", what, i, line)
			}
		}
		text = rest[len(body):]
	}
	if len(text) > 0 {
		s.t.Errorf("%s: and then there is %.300q", what, text)
	}
}

// all are the numbers of the mails but for some.
func (s *shelf) all(without map[int]bool) (list []int) {
	for i := range s.mails {
		if !without[i] {
			list = append(list, i)
		}
	}
	return list
}

// scrubs is a report, the run that does it, and one that finds nothing to do.
func (s *shelf) scrubs(o Options) *Result {
	s.t.Helper()
	o.Scrub = true
	report := s.do(o)
	o.Apply = true
	done := s.do(o)
	if report.Scrubbed != done.Scrubbed || done.Scrubbed.Addresses == 0 || !done.Done {
		s.t.Errorf("the report counts %+v, and the run %+v", report.Scrubbed, done.Scrubbed)
	}
	before := s.state()
	if again := s.do(o); again.Scrubbed != (Scrubbed{}) || again.Freed != 0 {
		s.t.Errorf("the second run: %+v", again)
	}
	if now := s.state(); !slices.Equal(names(now), names(before)) {
		s.t.Errorf("the second run leaves\n%v, not\n%v", names(now), names(before))
	} else {
		for name := range before {
			if now[name] != before[name] {
				s.t.Errorf("the second run changes %s", name)
			}
		}
	}
	return done
}

func TestScrub(t *testing.T) {
	t.Parallel()
	s := newShelf(t, tenYears(31, 1), archive.PipermailOptions{})
	clients := 0
	for _, m := range s.mails {
		clients += len(m.Clients)
	}
	if r := s.scrubs(Options{}); r.Scrubbed.Addresses < clients || r.Scrubbed.Messages != len(s.mails) {
		t.Errorf("%d addresses of clients in %d mails: %+v", clients, len(s.mails), r.Scrubbed)
	}
	s.scrubbed("after the run", s.read(s.mbox), s.all(nil))
	s.undo()
	s.same("after the undo", s.mbox, s.whole)
}

func TestScrubAndCut(t *testing.T) {
	t.Parallel()
	s := newShelf(t, tenYears(32, 1), archive.PipermailOptions{})
	old := s.olderThan(fiveYears)
	if r := s.scrubs(Options{KeepMbox: "5y"}); r.Expired.Files != len(old) || r.Scrubbed.Messages != len(s.mails)-len(old) {
		t.Errorf("%d of %d mails are old: %+v, %+v", len(old), len(s.mails), r.Expired, r.Scrubbed)
	}
	s.scrubbed("after the run", s.read(s.mbox), s.all(old))
	s.undo()
	s.same("after the undo", s.mbox, s.whole)
}

// Months that are compressed in the same run are scrubbed, and so are those of an earlier one.
func TestScrubCompressed(t *testing.T) {
	for name, earlier := range map[string]bool{"of this run": false, "of an earlier run": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, tenYears(33, 1), archive.PipermailOptions{})
			old, cut := s.olderThan(fiveYears), "5y"
			if earlier {
				s.do(Options{Apply: true, Compress: "zstd"})
			}
			r := s.scrubs(Options{Compress: "zstd", KeepMbox: cut})
			if r.Expired.Files != len(old) || r.Scrubbed.Messages != len(s.mails)-len(old) {
				t.Errorf("%d of %d mails are old: %+v, %+v", len(old), len(s.mails), r.Expired, r.Scrubbed)
			}
			moved := map[int]bool{}
			for month, mails := range s.closed(".zst") {
				for _, i := range mails {
					moved[i] = true
				}
				if mails = slices.DeleteFunc(mails, func(i int) bool { return old[i] }); len(mails) > 0 {
					s.scrubbed(month, s.read(filepath.Join(filepath.Dir(s.mbox), month)), mails)
				}
			}
			s.scrubbed("the mbox", s.read(s.mbox), s.all(moved))
		})
	}
}

// Files of one message each are scrubbed, too.
func TestScrubFiles(t *testing.T) {
	t.Parallel()
	m := tenYears(34, 1)
	m.N /= 2
	mails := slices.Collect(m.Mails())
	top := t.TempDir()
	list := archive.Mlmmj(t, top, slices.Values(mails))
	s := bareShelf(t, top)
	s.mails = mails
	before := s.state()
	s.configure(`scrub-addresses = true`)
	if r := s.scrubs(Options{}); r.Scrubbed.Messages != len(mails) {
		t.Errorf("%+v of %d", r.Scrubbed, len(mails))
	}
	n := 0
	for name := range s.state() {
		if !strings.HasPrefix(name, "dev/archive/") {
			continue
		}
		n++
		text := s.read(filepath.Join(top, name))
		header, body := split(text)
		i := slices.IndexFunc(mails, func(m archive.Mail) bool { return bytes.HasSuffix(archive.Mlmmjed(m), body) && len(body) > 0 })
		if i < 0 && len(body) > 0 {
			t.Errorf("%s has another body now", name)
		}
		for _, m := range mails {
			for _, c := range m.Clients {
				if bytes.Contains(header, []byte(c)) {
					t.Errorf("%s still has %s", name, c)
				}
			}
		}
	}
	if n != len(mails) || list == "" {
		t.Errorf("there are %d files of %d mails", n, len(mails))
	}
	s.undo()
	if now := s.state(); !slices.Equal(names(now), names(before)) {
		t.Errorf("undo leaves %v", names(now))
	}
}
