package merge

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trees are the files of a mailbox in each format, as Dovecot makes them.
var trees = map[string][]string{
	"sdbox": {
		"mail/dovecot.list.index", "mail/dovecot.list.index.log", "mail/dovecot.mailbox.log", "mail/dovecot-uidvalidity", "mail/subscriptions",
		"mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log", "mail/mailboxes/INBOX/dbox-Mails/dovecot.index.cache", "mail/mailboxes/INBOX/dbox-Mails/u.1",
		"mail/mailboxes/Work/2026/dbox-Mails/dovecot.index.log",
		"copies/mailboxes/INBOX/dbox-Mails/dovecot.index.log", "deleted/mailboxes/INBOX/dbox-Mails/dovecot.index.log",
	},
	"mdbox": {
		"mail/storage/dovecot.map.index.log", "mail/storage/m.1", "mail/dovecot.mailbox.log", "mail/subscriptions",
		"mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log", "mail/mailboxes/Work/dbox-Mails/dovecot.index.log",
	},
	"maildir": {
		"mail/cur/1.host:2,S", "mail/new/2.host", "mail/tmp/3.host", "mail/dovecot.index.log", "mail/dovecot-uidlist", "mail/dovecot.list.index.log", "mail/subscriptions",
		"mail/.Work/cur/1.host:2,", "mail/.Work/new/x", "mail/.Work/tmp/x", "mail/.Work/dovecot.index.log", "mail/.Work/maildirfolder",
	},
}

// tree makes one and lets it be old.
func tree(t *testing.T, format string) (Store, string) {
	t.Helper()
	root := t.TempDir()
	s := Store{Home: root + "/%d/%n", Mail: "mail"}
	home := s.home(user)
	for _, name := range trees[format] {
		write(t, filepath.Join(home, name), "x")
	}
	err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		old := time.Now().Add(-time.Hour)
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, home
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func stamp(t *testing.T, s Store) Stamp {
	t.Helper()
	st, err := s.stamp(user)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestStamp(t *testing.T) {
	must := func(t *testing.T, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	grow := func(name string) func(*testing.T, string) {
		return func(t *testing.T, home string) { write(t, filepath.Join(home, name), "xx") }
	}
	move := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, home string) {
			must(t, os.Rename(filepath.Join(home, from), filepath.Join(home, to)))
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, home string) { must(t, os.RemoveAll(filepath.Join(home, name))) }
	}
	for _, c := range []struct {
		format, what string
		do           func(*testing.T, string)
		changes      bool
	}{
		{"sdbox", "a message, a flag", grow("mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log"), true},
		{"sdbox", "a message in a folder in a folder", grow("mail/mailboxes/Work/2026/dbox-Mails/dovecot.index.log"), true},
		{"sdbox", "a new log", move("mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log", "mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log.2"), true},
		{"sdbox", "a folder that is new", grow("mail/mailboxes/New/dbox-Mails/dovecot.index.log"), true},
		{"sdbox", "a folder that has another name", move("mail/mailboxes/Work", "mail/mailboxes/Wark"), true},
		{"sdbox", "a folder that is gone", remove("mail/mailboxes/Work"), true},
		{"sdbox", "a subscription", grow("mail/subscriptions"), true},
		{"sdbox", "a change of the list of folders", grow("mail/dovecot.mailbox.log"), true},
		{"sdbox", "what Dovecot keeps to be fast", grow("mail/mailboxes/INBOX/dbox-Mails/dovecot.index.cache"), false},
		{"sdbox", "its list of folders", grow("mail/dovecot.list.index.log"), false},
		{"sdbox", "other things at home", grow(".dovecot.sieve"), false},
		{"mdbox", "a message, a flag", grow("mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log"), true},
		{"mdbox", "what doveadm purge does", grow("mail/storage/m.2"), false},
		{"maildir", "a message", grow("mail/new/4.host"), true},
		{"maildir", "a message in a folder", grow("mail/.Work/cur/4.host"), true},
		{"maildir", "a flag", move("mail/cur/1.host:2,S", "mail/cur/1.host:2,FS"), true},
		{"maildir", "a message that is gone", remove("mail/cur/1.host:2,S"), true},
		{"maildir", "a folder", grow("mail/.New/cur/1.host"), true},
		{"maildir", "a look at the inbox", grow("mail/dovecot.index.log"), false},
		{"maildir", "a delivery under way", grow("mail/tmp/4.host"), false},
	} {
		t.Run(c.format+": "+c.what, func(t *testing.T) {
			s, home := tree(t, c.format)
			before := stamp(t, s)
			if before.Real == "" || stamp(t, s) != before {
				t.Fatalf("%+v is no stamp", before)
			}
			c.do(t, home)
			if after := stamp(t, s); (after != before) != c.changes {
				t.Errorf("%+v, then %+v", before, after)
			}
		})
	}
}

// TestStampOfMoment: a Maildir that has just changed may change again in the same
// step of the clock, so that its time stays.
func TestStampOfMoment(t *testing.T) {
	s, home := tree(t, "maildir")
	cur := filepath.Join(home, "mail", "cur")
	moment := time.Now()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chtimes(cur, moment, moment))
	stamp(t, s)
	must(os.Chmod(cur, 0o700)) // of which it gets a time by the same clock
	if info, err := os.Stat(cur); err != nil || !time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix()).After(moment) {
		t.Errorf("the stamp was taken in the same step of the clock as a change: %v", err)
	}
	must(os.Chtimes(cur, moment.Add(time.Hour), moment.Add(time.Hour))) // a clock that was set back
	began := time.Now()
	if stamp(t, s); time.Since(began) > time.Second {
		t.Error("a time to come is waited for")
	}
}

// TestStampMoves: a mailbox is the same wherever the nodes keep it.
func TestStampMoves(t *testing.T) {
	s, home := tree(t, "sdbox")
	before := stamp(t, s)
	elsewhere := t.TempDir()
	if err := os.Rename(filepath.Dir(home), filepath.Join(elsewhere, "example.org")); err != nil {
		t.Fatal(err)
	}
	if after := stamp(t, Store{Home: elsewhere + "/%d/%n", Mail: "mail"}); after != before {
		t.Errorf("%+v, then %+v", before, after)
	}
	if none := stamp(t, s); none != (Stamp{}) {
		t.Errorf("%+v of no mailbox", none)
	}
}

func TestStampCounts(t *testing.T) {
	s, home := tree(t, "sdbox")
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, name := range []string{"copies/mailboxes/INBOX/dbox-Mails/u.1", "copies/mailboxes/INBOX/dbox-Mails/u.2", "deleted/mailboxes/INBOX/dbox-Mails/u.9", "deleted/mailboxes/INBOX/dbox-Mails/temp.9"} {
		write(t, filepath.Join(home, name), "x")
	}
	if err := os.Chtimes(filepath.Join(home, "copies/mailboxes/INBOX/dbox-Mails/u.2"), old, old); err != nil {
		t.Fatal(err)
	}
	st := stamp(t, s)
	if st.Copies != 2 || st.OldestCopy != old.Unix() || st.Deleted != 1 {
		t.Errorf("%+v", st)
	}
}

// TestStampFails: what cannot be looked at is not taken for empty.
func TestStampFails(t *testing.T) {
	s, home := tree(t, "sdbox")
	for _, name := range []string{"mail", "copies/mailboxes/INBOX/dbox-Mails", "deleted/mailboxes/INBOX/dbox-Mails"} {
		path := filepath.Join(home, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		write(t, path, "a file")
		if st, err := s.stamp(user); err == nil {
			t.Errorf("%s: %+v", name, st)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDropped(t *testing.T) {
	s, home := tree(t, "sdbox")
	entry := func(kind byte, guid string) string {
		raw, _ := hex.DecodeString(guid)
		return string([]byte{kind, 0, 0, 0}) + string(raw) + "time"
	}
	third := strings.Repeat("c", 32)
	write(t, filepath.Join(home, "mail/dovecot.mailbox.log.2"), entry(1, inbox)+entry(2, third))
	write(t, filepath.Join(home, "mail/dovecot.mailbox.log"), entry(1, archive)+entry(3, third)+entry(1, inbox)+entry(1, third)[:20])
	if got, err := s.dropped(user); err != nil || !slices.Equal(got, []string{inbox, archive}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := s.dropped("bob@example.org"); err != nil || got != nil {
		t.Errorf("%q, %v", got, err)
	}
}
