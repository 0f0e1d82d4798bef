package merge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// with gives a user a message in the inbox and a copy of it in Work, and carries that over from n2 to n1.
func (s *scene) with() {
	s.t.Helper()
	s.mail("n2", "a")
	s.imap("n2", "CREATE Work", "CREATE A", "CREATE B", "CREATE T")
	s.merge("n2")
	s.imap("n2", "SELECT INBOX", "COPY 1 Work")
	s.carries()
}

// carries is a pass on n2 as cron makes it, and another one.
func (s *scene) carries() {
	s.t.Helper()
	s.all = false
	s.merge("n2")
	s.merge("n2")
	s.all = true
}

// joins is a pass on a node whose other one is back, and then one each way in which nothing happens any more.
func (s *scene) joins(active string, want ...string) {
	s.t.Helper()
	s.pass(active) // with mdbox it may leave the rest to the next
	s.joined(active, want...)
}

// joined is the same after that pass.
func (s *scene) joined(active string, want ...string) {
	s.t.Helper()
	s.merge(active)
	s.both(want...)
	s.merge(other(active))
	s.both(want...)
}

// TestBothMovedOfTwo: both sides moved a message of which there is a copy, whichever of
// them is active afterwards, and made passes by itself meanwhile. The copy stays, and one of the others.
func TestBothMovedOfTwo(t *testing.T) {
	for _, c := range []struct{ active, wins, alone string }{{"n1", "B", ""}, {"n1", "B", "n1"}, {"n1", "B", "n2"}, {"n2", "A", "n1 n2"}} {
		everyFormat(t, func(s *scene) {
			s.with()
			s.imap("n2", "SELECT INBOX", `STORE 1 +FLAGS (\Flagged)`, "MOVE 1 A")
			s.alone("n1")
			s.imap("n1", "SELECT INBOX", `STORE 1 +FLAGS (\Seen)`, "MOVE 1 B")
			for _, node := range strings.Fields(c.alone) {
				s.alone(node)
			}
			s.joins(c.active, c.wins+` a \Flagged \Seen`, "Work a")
		})
	}
}

// TestBothCopiedAgain: what looks like it, but is one more copy on each side, or on one of them.
func TestBothCopiedAgain(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, c := range []struct {
			why    string
			before []string // on n2, and carried over
			n2, n1 []string
			want   []string
		}{
			{"copies of the copy", nil,
				[]string{"SELECT Work", "COPY 1 A"}, []string{"SELECT Work", "COPY 1 B"}, []string{"A a", "B a", "INBOX a", "Work a"}},
			{"long after it left the inbox", []string{"SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE"},
				[]string{"SELECT Work", "COPY 1 A"}, []string{"SELECT Work", "COPY 1 B"}, []string{"A a", "B a", "Work a"}},
			{"and was moved", []string{"SELECT INBOX", "MOVE 1 Archive"},
				[]string{"SELECT Work", "COPY 1 A"}, []string{"SELECT Archive", "COPY 1 B"}, []string{"A a", "Archive a", "B a", "Work a"}},
			{"a copy that was moved on", []string{"SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE"},
				[]string{"SELECT Work", "COPY 1 T", "SELECT T", "MOVE 1 A"}, []string{"SELECT Work", "COPY 1 Archive", "SELECT Archive", "MOVE 1 B"}, []string{"A a", "B a", "Work a"}},
			{"a copy in the same folder that was moved on", []string{"SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE"},
				[]string{"SELECT Work", "COPY 1 T", "SELECT T", "MOVE 1 A"}, []string{"SELECT Work", "COPY 1 T", "SELECT T", "MOVE 1 B"}, []string{"A a", "B a", "Work a"}},
			{"copied on one side, moved on the other", nil,
				[]string{"SELECT INBOX", "COPY 1 A"}, []string{"SELECT INBOX", "MOVE 1 B"}, []string{"A a", "B a", "Work a"}},
			{"moved and copied on one side", nil,
				[]string{"SELECT INBOX", "COPY 1 Archive", "MOVE 1 A"}, []string{"SELECT INBOX", "MOVE 1 B"}, []string{"A a", "Archive a", "B a", "Work a"}},
			{"different instances", nil,
				[]string{"SELECT INBOX", "MOVE 1 A"}, []string{"SELECT Work", "MOVE 1 B"}, []string{"A a", "B a"}},
		} {
			reset(s.t)
			s.said = []string{c.why}
			s.with()
			s.imap("n2", "CREATE Archive")
			if c.before != nil {
				s.imap("n2", c.before...)
			}
			s.carries()
			s.imap("n2", c.n2...)
			s.alone("n1")
			s.imap("n1", c.n1...)
			s.joins("n1", c.want...)
			if s.t.Failed() {
				s.t.Fatal(c.why)
			}
		}
	})
}

// TestBothCopiedAndLater: copies are wanted also if the message in the inbox was deleted on both sides after a while.
func TestBothCopiedAndLater(t *testing.T) {
	collective(t)
	reset(t)
	var all []*scene
	for _, format := range formats {
		s := &scene{t: t, user: "user@" + format, all: true}
		all = append(all, s)
		s.with()
		s.imap("n2", "SELECT INBOX", "COPY 1 A")
		s.imap("n1", "SELECT Work", "COPY 1 B")
		s.alone("n1")
		s.alone("n2")
	}
	time.Sleep(11 * time.Second) // more than a move takes
	for _, s := range all {
		for _, node := range []string{"n1", "n2"} {
			s.imap(node, "SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE")
		}
		s.joins("n1", "A a", "B a", "Work a")
	}
}

// TestMovedInTwoLosses: what both moved in one loss says nothing about the next.
func TestMovedInTwoLosses(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.with()
		s.imap("n2", "CREATE C", "CREATE D")
		s.carries()
		s.imap("n2", "SELECT INBOX", "MOVE 1 A")
		s.imap("n1", "SELECT INBOX", "MOVE 1 B")
		s.alone("n2")
		s.alone("n1")
		s.joins("n1", "B a", "Work a")
		s.imap("n2", "SELECT Work", "COPY 1 C")
		s.imap("n1", "SELECT Work", "COPY 1 D")
		s.joins("n1", "B a", "C a", "D a", "Work a")
		s.imap("n2", "SELECT B", "MOVE 1 A")
		s.imap("n1", "SELECT B", "MOVE 1 T")
		s.joins("n2", "A a", "C a", "D a", "Work a")
	})
}

// TestBothMovedLongAgo: where a log was begun anew, the one before still tells. Where that is gone too, nothing does, and both stay.
func TestBothMovedLongAgo(t *testing.T) {
	times := 0
	for _, anew := range []int{1, 2} {
		everyFormat(t, func(s *scene) {
			s.with()
			s.imap("n2", "SELECT INBOX", "MOVE 1 A")
			s.must(deliver("n2", "24", s.user, text("x")))
			known := s.begunAnew("n2", "INBOX", anew)
			if known {
				times++
			}
			s.imap("n1", "SELECT INBOX", "MOVE 1 B")
			s.pass("n1")
			s.merge("n1")
			messages, err := look("n1", s.user, "*")
			s.must(err)
			messages = slices.DeleteFunc(messages, func(m seen) bool { return m.Token != "a" })
			if known && len(messages) != 2 || !known && len(messages) != 3 {
				s.t.Errorf("known: %v; %+v\n%s", known, messages, strings.Join(s.said, "\n"))
			}
		})
	}
	if times == 0 {
		t.Error("the log before was never kept")
	}
}

// begunAnew lets Dovecot begin a new log of a folder with messages, so many times or more, and says whether the one that there was is still there.
func (s *scene) begunAnew(node, folder string, times int) (known bool) {
	s.t.Helper()
	doveadm := filepath.Join(programs(node), "doveadm")
	path, err := exec.Command(doveadm, "mailbox", "path", "-u", s.user, "-t", "index", folder).Output()
	s.must(err)
	log := filepath.Join(strings.TrimSpace(string(path)), "dovecot.index.log")
	first, err := os.Stat(log)
	s.must(err)
	for now, n := first, 0; n < times; {
		s.must(command(doveadm, "-o", "mail_index_log_rotate_min_size=1", "-o", "mail_index_log_rotate_max_size=1", "-o", "mail_index_log_rotate_min_age=0s", "-o", "mail_index_log2_max_age=1s",
			"flags", "add", "-u", s.user, fmt.Sprint("k", time.Now().UnixMilli()%10_000), "mailbox", folder, "all"))
		after, err := os.Stat(log)
		s.must(err)
		if !os.SameFile(now, after) {
			n++
		}
		now = after
		time.Sleep(100 * time.Millisecond)
	}
	before, err := os.Stat(log + ".2")
	return err == nil && os.SameFile(first, before)
}

// TestKilledParted: the pass that joins the two is killed at each step.
func TestKilledParted(t *testing.T) {
	collective(t)
	for at := 1; ; at++ {
		reset(t)
		s := &scene{t: t, user: "user@" + formats[at%len(formats)], all: true}
		s.with()
		s.imap("n2", "SELECT INBOX", "MOVE 1 A")
		s.imap("n1", "SELECT INBOX", "MOVE 1 B")
		s.alone("n1")
		ended := passes(at, "n1", s.user).Run() == nil
		s.joins("n1", "B a", "Work a")
		if t.Failed() || ended {
			t.Logf("no kill at step %d: the pass has ended", at)
			return
		}
	}
}
