package merge

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// aLog is a log with records, each with its kind and its words.
func aLog(records ...[]uint32) []byte {
	b := make([]byte, 40)
	b[0], b[1], b[2], b[32] = 1, 3, 40, 1
	for _, words := range records {
		n := uint32(1 + len(words))
		b = append(b, 0x80|byte(n>>21&0x7f), 0x80|byte(n>>14&0x7f), 0x80|byte(n>>7&0x7f), 0x80|byte(n&0x7f))
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
	}
	return b
}

func came(uid uint32) []uint32 { return []uint32{logAppend | logDone, uid, 0} }

// left is the request to remove a message, whose GUID has a number.
func left(uid, guid uint32) []uint32 { return []uint32{logExpunge, uid, guid, 0, 0, 0} }

func numbered(guid byte) string { return hex.EncodeToString([]byte{guid}) + strings.Repeat("0", 30) }

func TestLogGUID(t *testing.T) {
	for guid, want := range map[string]string{
		"9a81c61f557c086b1c000000391a9f8f":            "9a81c61f557c086b1c000000391a9f8f",
		"1795718231.M567915P28.mergetest,S=124,W=130": "f6818909f29b25802180395da28513e9", // as Dovecot had it
	} {
		if got := logGUID(guid); got != want {
			t.Errorf("%s: %s, want %s", guid, got, want)
		}
	}
}

// TestDovecotsLogs: logs of the inbox of Dovecot 2.3.19, where one message came by LMTP and was moved away, and then
// another was appended and removed, of which it mostly had no GUID at hand. doveadm dump prints the same of them.
func TestDovecotsLogs(t *testing.T) {
	for format, c := range map[string]struct {
		guid, later string
		since       int // offset of the first request to remove one
		size        int // of that
	}{
		"sdbox":   {"1a23bf28e480086b22000000391a9f8f", unnamed, 648, 28},
		"mdbox":   {"19770007e580086b22000000391a9f8f", unnamed, 768, 28},
		"maildir": {"6d790c06a78499c2b8095796945098b7", "9fdad7cad4de02dc2f245c60e134e1d3", 776, 28},
	} {
		text, err := os.ReadFile("testdata/logs/" + format)
		if err != nil {
			t.Fatal(err)
		}
		for since, want := range map[int][]trace{
			c.since:              {{UID: 1, GUID: c.guid, New: true}, {UID: 2, GUID: c.later}},
			c.since + c.size - 4: {{UID: 1, GUID: c.guid, New: true}, {UID: 2, GUID: c.later}}, // it was being written
			c.since + c.size:     {{UID: 1, GUID: c.guid, Old: true}, {UID: 2, GUID: c.later}},
		} {
			l := logged{wanted: []string{c.guid, c.later}, dated: true, since: since, brief: map[uint32]bool{}}
			if err := l.read(text); err != nil || !slices.Equal(l.left, want) {
				t.Errorf("%s from %d: %+v, %v, want %+v", format, since, l.left, err, want)
			}
		}
	}
}

func TestTraces(t *testing.T) {
	const older, now = "dovecot.index.log.2", "dovecot.index.log"
	x, y := trace{UID: 5, GUID: numbered(7)}, trace{UID: 6, GUID: unnamed}
	dated := func(t trace, folder string, isNew bool) trace {
		t.Folder, t.Old, t.New = folder, !isNew, isNew
		return t
	}
	before := aLog(came(5), came(6), left(4, 9))
	after := aLog(came(5), came(6), left(4, 9), left(5, 7), came(8), left(6, 0), left(8, 7))
	type files map[string][]byte
	for why, c := range map[string]struct {
		then, now files
		renamed   bool
		ends      bool
		want      []trace
	}{
		"nobody knows since when":       {files{now: before}, files{now: after}, false, false, []trace{x, y, {UID: 8, GUID: numbered(7)}}},
		"what left since":               {files{now: before}, files{now: after}, false, true, []trace{dated(x, "", true), dated(y, "", true), {UID: 8, GUID: numbered(7)}}},
		"what left before":              {files{now: after}, files{now: after}, false, true, []trace{dated(x, "", false), dated(y, "", false), dated(trace{UID: 8, GUID: numbered(7)}, "", false)}},
		"in a log that was begun since": {files{now: before}, files{now: aLog(came(9), left(9, 7), left(5, 7))}, true, true, []trace{{UID: 9, GUID: numbered(7)}, dated(x, "", true)}},
		"in the one before":             {files{now: before, older: aLog(came(5), left(5, 7))}, files{now: before, older: aLog(came(5), left(5, 7))}, false, true, []trace{dated(x, "", false)}},
		"in a folder that is new":       {nil, files{now: after}, false, true, []trace{x, y, {UID: 8, GUID: numbered(7)}}},
		"another kind of file":          {files{now: before}, files{now: []byte("no log of Dovecot's, but longer than the head of one")}, false, true, nil},
		"of another byte order":         {files{now: before}, files{now: append(make([]byte, 32), after[32:]...)}, false, true, nil},
		"cut":                           {files{now: before}, files{now: after[:len(after)-60]}, false, true, []trace{dated(x, "", true)}},
	} {
		s, home := tree(t, "sdbox")
		dir := filepath.Join(home, "mail/mailboxes/Work/2026/dbox-Mails")
		put := func(all files) {
			for name, text := range all {
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
				if err == nil {
					_, err = f.Write(text)
				}
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c.then == nil {
			if err := os.Remove(filepath.Join(dir, now)); err != nil {
				t.Fatal(err)
			}
		}
		put(c.then)
		ends, err := s.ends(user)
		if err != nil {
			t.Fatal(err)
		}
		if !c.ends {
			ends = nil
		}
		if c.renamed {
			if err := os.Rename(filepath.Join(dir, now), filepath.Join(dir, older)); err != nil {
				t.Fatal(err)
			}
		}
		put(c.now)
		got, err := s.traces(user, []string{numbered(7)}, ends)
		for i := range c.want {
			c.want[i].Folder = "/mailboxes/Work/2026/dbox-Mails"
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", why, got, err, c.want)
		}
	}
}

// TestArrived: what came to the inbox is counted from where its log ended, as far as that is known.
func TestArrived(t *testing.T) {
	for format, dir := range map[string]string{"sdbox": "mail/mailboxes/INBOX/dbox-Mails", "maildir": "mail"} {
		s, home := tree(t, format)
		dir = filepath.Join(home, dir)
		log := filepath.Join(dir, "dovecot.index.log")
		before, began := aLog(came(5), left(4, 9)), aLog(came(8), left(8, 7), came(9))
		write(t, log, string(before))
		ends, err := s.ends(user)
		if err != nil {
			t.Fatal(err)
		}
		half := maps.Clone(ends)
		for at, end := range half {
			half[at] = logEnd{end.File, end.Size - 40} // in the midst of what came
		}
		want := func(why string, ends map[string]logEnd, count int, known bool) {
			t.Helper()
			if n, ok := s.arrived(user, ends); n != count || ok != known {
				t.Errorf("%s, %s: %d, %v", format, why, n, ok)
			}
		}
		add := func(text []byte) {
			f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.Write(text)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		want("nothing", ends, 0, true)
		want("what was written just then", half, 1, true)
		want("nobody knows since when", nil, 0, false)
		add(aLog(left(5, 7))[40:])
		want("one left", ends, 0, true)
		add(aLog(came(6), came(7))[40:])
		want("two", ends, 2, true)
		if err := os.Rename(log, log+".2"); err != nil {
			t.Fatal(err)
		}
		write(t, log, string(began))
		want("in two logs", ends, 4, true)
		write(t, log, "no log of Dovecot's, but longer than the head of one")
		want("another kind of file", ends, 0, false)
		write(t, log+".2", "")
		if err := errors.Join(os.Remove(log), os.Remove(log+".2")); err != nil {
			t.Fatal(err)
		}
		want("no log", ends, 0, false)
	}
}

// TestTracesRefuse: a user's directory can have anything in it.
func TestTracesRefuse(t *testing.T) {
	s, home := tree(t, "maildir")
	log := filepath.Join(home, "mail/.Work/dovecot.index.log")
	secret := filepath.Join(home, "secret")
	write(t, secret, string(aLog(left(5, 7))))
	for why, make := range map[string]func() error{
		"a link": func() error { return os.Symlink(secret, log) },
		"a pipe": func() error { return syscall.Mkfifo(log, 0o600) },
		"too much": func() error {
			return errors.Join(os.WriteFile(log, aLog(left(5, 7)), 0o600), os.Truncate(log, mostLog+1))
		},
	} {
		if err := errors.Join(os.RemoveAll(log), make()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.traces(user, []string{numbered(7)}, nil); err != nil || len(got) > 0 {
			t.Errorf("%s: %+v, %v", why, got, err)
		}
	}
	if got, err := s.traces("bob@example.org", []string{numbered(7)}, nil); err != nil || len(got) > 0 {
		t.Errorf("of no mailbox: %+v, %v", got, err)
	}
}

// FuzzIndexLog: whatever is in a log, its reader ends, and finds nothing that was not asked for.
func FuzzIndexLog(f *testing.F) {
	for _, format := range []string{"sdbox", "mdbox", "maildir"} {
		text, err := os.ReadFile("testdata/logs/" + format)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, 500)
	}
	f.Add(aLog(came(5), left(5, 7), left(6, 0)), 60)
	f.Add(aLog()[:39], 0)
	f.Add(aLog([]uint32{logAppend, 1}), -1)
	f.Fuzz(func(t *testing.T, text []byte, since int) {
		l := logged{wanted: []string{numbered(7)}, dated: true, since: since, brief: map[uint32]bool{}}
		err := l.read(text)
		if 20*len(l.left) > len(text) {
			t.Errorf("%d traces of %d bytes", len(l.left), len(text))
		}
		for _, found := range l.left {
			if !found.valid(l.wanted) {
				t.Errorf("%+v, %v", found, err)
			}
		}
		if len(text) < 40 && len(l.left) > 0 {
			t.Error("traces without a head")
		}
	})
}
