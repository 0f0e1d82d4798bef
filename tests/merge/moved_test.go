package merge

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// usedUp lets the first UID of Archive be one that n1 had for another message.
var usedUp = []string{"SELECT INBOX", "MOVE 2 Archive", "SELECT Archive", "MOVE 1 INBOX", "SELECT INBOX"}

// TestBothMoved: users move the same message on both sides, and do something more with it while doveadm sync runs.
func TestBothMoved(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, c := range []struct {
			why    string
			n2, n1 []string
			then   map[string][]string // while doveadm sync runs, by node
			want   []string
		}{
			{"to folders that each made for itself",
				[]string{"CREATE One", "CREATE Two", "SELECT INBOX", "MOVE 1 One"}, []string{"CREATE Two", "CREATE One", "SELECT INBOX", "MOVE 1 Two"}, nil,
				[]string{"INBOX b", "Two a"}},
			{"to one folder that each made for itself",
				[]string{"CREATE One", "SELECT INBOX", "MOVE 1 One"}, []string{"CREATE One", "SELECT INBOX", "MOVE 1 One"}, nil,
				[]string{"INBOX b", "One a"}},
			{"to a folder where its UID was another one's",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, append(slices.Clone(usedUp), "MOVE 1 Work"), nil,
				[]string{"INBOX b", "Work a"}},
			{"from a folder where it was another one's",
				append(slices.Clone(usedUp), "MOVE 1 Work"), []string{"SELECT INBOX", "MOVE 1 Archive"}, nil,
				[]string{"Archive a", "INBOX b"}},
			{"and copied before that",
				[]string{"SELECT INBOX", "COPY 1 Archive", "MOVE 1 Trash"}, append(slices.Clone(usedUp), "MOVE 1 Work"), nil,
				[]string{"INBOX b", "Work a", "one more a"}},
			{"and moved on",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, []string{"SELECT INBOX", "MOVE 1 Work"}, map[string][]string{"n1": {"SELECT Work", "MOVE 1 Trash"}},
				[]string{"INBOX b", "Trash a"}},
			{"and moved on to one folder",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, []string{"SELECT INBOX", "MOVE 1 Work"}, map[string][]string{"n1": {"SELECT Work", "MOVE 1 Trash"}, "n2": {"SELECT Archive", "MOVE 1 Trash"}},
				[]string{"INBOX b", "Trash a"}},
			{"and copied",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, []string{"SELECT INBOX", "MOVE 1 Work"}, map[string][]string{"n1": {"SELECT Work", "COPY 1 Trash"}},
				[]string{"INBOX b", "Trash a", "Work a"}},
			{"here only now",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, nil, map[string][]string{"n1": {"SELECT INBOX", "MOVE 1 Work"}},
				[]string{"INBOX b", "Work a"}},
			{"there only now",
				[]string{"SELECT INBOX", "STORE 2 +FLAGS (\\Seen)"}, []string{"SELECT INBOX", "MOVE 1 Work"}, map[string][]string{"n2": {"SELECT INBOX", "MOVE 1 Archive"}},
				[]string{"INBOX b \\Seen", "Work a"}},
			{"here, and copied back there only now",
				[]string{"SELECT INBOX", "STORE 2 +FLAGS (\\Seen)"}, []string{"SELECT INBOX", "MOVE 1 Work"}, map[string][]string{"n1": {"SELECT Work", "COPY 1 INBOX"}},
				[]string{"INBOX a", "INBOX b \\Seen", "Work a"}},
			{"there, and copied back only now",
				[]string{"SELECT INBOX", "MOVE 1 Archive"}, nil, map[string][]string{"n2": {"SELECT Archive", "COPY 1 INBOX"}},
				[]string{"Archive a", "INBOX a", "INBOX b"}},
			{"not at all, but copied",
				[]string{"SELECT INBOX", "COPY 1 Archive"}, []string{"SELECT INBOX", "COPY 1 Work"}, nil,
				[]string{"Archive a", "INBOX a", "INBOX b", "Work a"}},
		} {
			for _, alone := range []bool{false, true} { // then what users removed is in the records only
				if alone && !strings.Contains(c.why, "another one's") {
					continue
				}
				reset(s.t)
				s.mail("n2", "a")
				s.mail("n2", "b")
				s.imap("n2", "CREATE Work", "CREATE Archive", "CREATE Trash")
				s.merge("n2")
				s.merge("n2")
				s.imap("n2", c.n2...)
				s.imap("n1", c.n1...)
				if alone {
					s.alone("n1")
					s.alone("n2")
				}
				s.on = map[string]func(){"doveadm sync": func() {
					for node, commands := range c.then {
						s.imap(node, commands...)
					}
				}}
				s.pass("n1") // with mdbox it may leave the rest to the next
				s.merge("n1")
				s.has(c.want...)
				s.merge("n2")
				s.has(c.want...)
				if s.t.Failed() {
					s.t.Fatalf("%s, alone: %v", c.why, alone)
				}
			}
		}
	})
}

// has is both, but for one message whose folder does not matter: "one more TOKEN".
func (s *scene) has(want ...string) {
	s.t.Helper()
	last, token, more := want[len(want)-1], "", false
	if token, more = strings.CutPrefix(last, "one more "); more {
		messages, err := look("n1", s.user, "*")
		s.must(err)
		want = slices.Clone(want[:len(want)-1])
		for _, m := range messages {
			if m.Token == token && !slices.Contains(want, m.Mailbox+" "+token) {
				want = append(want, m.Mailbox+" "+token)
				break
			}
		}
		slices.Sort(want)
	}
	s.both(want...)
}

// TestBothMovedClash: and each side has other mail in those folders, with the same UIDs.
func TestBothMovedClash(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n2", "a")
		s.merge("n2")
		s.merge("n2")
		s.mail("n2", "b")
		s.mail("n2", "c")
		s.imap("n2", "CREATE Work", "CREATE Trash", "SELECT INBOX", "MOVE 2 Work", "MOVE 1 Work", "MOVE 1 Trash") // b, a, c
		s.alone("n1")
		s.must(deliver("n1", "24", s.user, text("d")))
		s.must(deliver("n1", "24", s.user, text("e")))
		s.must(deliver("n1", "24", s.user, text("f")))
		time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
		s.imap("n1", "CREATE Work", "CREATE Trash", "SELECT INBOX", "MOVE 1 Trash", "MOVE 3 Work", "MOVE 3 Work", "MOVE 3 Work")
		s.pass("n1")
		s.merge("n1")
		messages, err := look("n1", s.user, "*")
		s.must(err)
		var a []string
		for _, m := range messages {
			if m.Token == "a" {
				a = append(a, m.Mailbox)
			}
		}
		if len(a) != 1 || a[0] != "Trash" {
			s.t.Errorf("a is in %q: %+v\n%s", a, messages, strings.Join(s.said, "\n"))
		}
	})
}

// TestFlagsOfCopied: a message was moved on one side, and copied before or after that; the flags that it has on the
// other are its own, not the copy's.
func TestFlagsOfCopied(t *testing.T) {
	everyFormat(t, func(s *scene) {
		const moved, copied = "MOVE 1 Work", "COPY 1 Archive"
		for _, moves := range []string{"n1", "n2"} {
			for _, c := range []struct{ both, first, folder, then string }{{"NOOP", moved, "Work", copied}, {"NOOP", copied, "INBOX", moved}, {copied, moved, "INBOX", "NOOP"}} {
				reset(s.t)
				s.mail("n2", "a")
				s.imap("n2", "CREATE Work", "CREATE Archive", "SELECT INBOX", c.both)
				s.merge("n2")
				s.merge("n2")
				s.imap(moves, "SELECT INBOX", c.first)
				time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
				s.imap(moves, "SELECT "+c.folder, c.then)
				s.imap(other(moves), "SELECT INBOX", `STORE 1 +FLAGS (\Seen)`)
				s.joins("n1", "Archive a", `Work a \Seen`)
			}
		}
	})
}

// clash gives both sides new messages with the same UIDs, one of which has no delivery id.
func (s *scene) clash(first string) {
	s.t.Helper()
	reset(s.t)
	s.mail("n2", "a")
	s.imap("n2", "CREATE Work", "CREATE Archive")
	s.merge("n2")
	s.merge("n2")
	for _, node := range []string{first, other(first)} {
		s.must(deliver(node, "24", s.user, text("x"+node)))
		s.must(deliver(node, "24", s.user, "Subject: z"+node+"\n\nno delivery id\n"))
	}
}

// TestStoredAnew: both sides have new messages with the same UIDs, and while doveadm sync gives them others, the user
// moves those of one, or they come just then: it has stored them already, which a COPY stands for, and does not remove the first.
func TestStoredAnew(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, node := range []string{"n1", "n2"} {
			for moved := range 3 { // times
				s.clash(node)
				want := []string{"INBOX a", "INBOX xn1", "INBOX xn2", "INBOX zn1", "INBOX zn2"}
				commands := []string{"SELECT INBOX", "COPY 2:3 INBOX"}
				for i, folder := range []string{"Work", "Archive"}[:moved] {
					want = []string{folder + " x" + node, folder + " z" + node, "INBOX a", "INBOX x" + other(node), "INBOX z" + other(node)}
					commands = append(commands, []string{"MOVE 2:3 Work", "MOVE 1:2 Archive"}[i], "SELECT "+folder)
				}
				slices.Sort(want)
				s.on = map[string]func(){"doveadm sync": func() { s.imap(node, commands...) }}
				s.joins("n1", want...)
			}
		}
	})
}

// TestStoredAnewAgain: the inboxes never were one, and when doveadm sync has given what is in them other UIDs and the user moves one,
// it stores that anew once more.
func TestStoredAnewAgain(t *testing.T) {
	everyFormat(t, func(s *scene) {
		reset(s.t)
		s.imap("n1", "CREATE Work")
		for _, node := range []string{"n1", "n2"} {
			s.must(deliver(node, "24", s.user, text("x"+node)))
		}
		doveadm := func(args ...string) {
			s.must(command(append([]string{filepath.Join(programs("n2"), "doveadm"), "-o", "plugin/lazy_expunge="}, args...)...))
		}
		again := func() {
			uid := s.uid("n2", "xn2")
			doveadm("copy", "-u", s.user, "INBOX", "mailbox", "INBOX", "uid", uid)
			doveadm("expunge", "-u", s.user, "mailbox", "INBOX", "uid", uid)
		}
		var move func()
		move = func() {
			s.on["list"] = move
			if uid := s.uid("n1", "xn2"); uid != "" { // Maildir brings it late
				s.imap("n1", "SELECT INBOX", "UID MOVE "+uid+" Work")
				s.on = map[string]func(){"doveadm sync": again}
			}
		}
		s.on = map[string]func(){"doveadm sync": func() { s.on["list"] = move }}
		s.pass("n1")
		if len(s.on) > 0 {
			s.t.Errorf("nothing was stored anew: %q", s.said)
		}
		s.joined("n1", "INBOX xn1", "Work xn2")
	})
}

// uid is that of a message in the inbox, "" if it is not there.
func (s *scene) uid(node, token string) string {
	messages, err := look(node, s.user, "INBOX")
	s.must(err)
	for _, m := range messages {
		if m.Token == token {
			return m.UID
		}
	}
	return ""
}

// TestStoredAnewAndCopied: what doveadm sync gives another UID, and a copy of it that its user makes and moves meanwhile, stay both.
func TestStoredAnewAndCopied(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, node := range []string{"n1", "n2"} {
			s.clash(node)
			s.on = map[string]func(){"doveadm sync": func() {
				s.imap(node, "SELECT INBOX", "COPY 2 Work")
				s.on["doveadm sync"] = func() { s.imap(node, "SELECT Work", "MOVE 1 Archive") }
			}}
			s.pass("n1")
			if len(s.on) > 0 {
				s.t.Errorf("the copy did not move: %q", s.said)
			}
			s.joined("n1", "Archive x"+node, "INBOX a", "INBOX xn1", "INBOX xn2", "INBOX zn1", "INBOX zn2")
		}
	})
}

// TestBothMovedMeanwhile: a session on the node that served its user before lasts longer than the first look at it.
func TestBothMovedMeanwhile(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, c := range []struct {
			step  string
			after time.Duration
		}{{"doveadm sync", 0}, {"list", 0}, {"list", 5 * time.Millisecond}} {
			reset(s.t)
			s.overlap = false
			s.mail("n2", "a")
			s.imap("n2", "CREATE Work", "CREATE Archive")
			s.merge("n2")
			s.merge("n2")
			s.merge("n1")
			s.merge("n1")
			s.imap("n1", "SELECT INBOX", "MOVE 1 Work")
			s.overlap = true
			s.on = map[string]func(){c.step: func() {
				time.Sleep(c.after)
				s.imap("n2", "SELECT INBOX", "MOVE 1 Archive")
			}}
			s.pass("n1")
			if n := min(2, len(s.said)); c.step == "list" && !slices.Equal(s.said[:n], []string{"list", "list"}) {
				s.t.Errorf("no list anew after a move: %q", s.said)
			}
			s.joined("n1", "Work a")
			if s.t.Failed() {
				s.t.Fatal(c)
			}
		}
	})
}
