package merge

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/lib/failover/merge"
)

// scene is one user's mailbox on both nodes, to which a test does things by
// itself.
type scene struct {
	t       *testing.T
	user    string
	all     bool // passes compare the mailbox, whether it seems changed or not
	said    []string
	overlap bool              // its users may be at work on both sides
	on      map[string]func() // what the user does when the pass says so, once
}

// everyFormat runs a test for a user of each format, whose mailboxes are empty.
func everyFormat(t *testing.T, test func(s *scene)) {
	collective(t)
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			reset(t)
			test(&scene{t: t, user: "user@" + format, all: true})
		})
	}
}

// text is a message with a delivery id.
func text(token string) string {
	return "X-RPlan-ID: Q" + token + ".mx.example.net\nMessage-ID: <" + token + "@example.net>\nSubject: " + token + "\n\nbody of " + token + "\n"
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.said, "\n"))
	}
}

// mail delivers a message to the active node's folders and, as a copy, to the standby.
func (s *scene) mail(active, token string) {
	s.t.Helper()
	s.must(deliver(active, "24", s.user, text(token)))
	s.must(deliver(other(active), "10024", s.user, text(token)))
}

// imap says commands in a session of the user's.
func (s *scene) imap(node string, commands ...string) {
	s.t.Helper()
	session, err := login(node, s.user)
	s.must(err)
	defer session.Close()
	for _, c := range commands {
		if _, err := session.Command("%s", c); err != nil {
			s.t.Fatal(err)
		}
	}
}

// merge runs a pass on the active node, which is to end well, for other users
// than the scene's if there are any.
func (s *scene) merge(active string, users ...string) *merge.Report {
	s.t.Helper()
	r := s.pass(active, users...)
	if r.Failed+r.Busy > 0 {
		s.t.Fatalf("%+v\n%s", *r, strings.Join(s.said, "\n"))
	}
	return r
}

// alone is a pass on a node that has no other.
func (s *scene) alone(active string) {
	s.t.Helper()
	become(active)
	_, err := pass(active, "").Run(context.Background(), []merge.Task{{Address: s.user, Others: []string{other(active)}}})
	s.must(err)
}

func (s *scene) pass(active string, users ...string) *merge.Report {
	s.t.Helper()
	if users == nil {
		users = []string{s.user}
	}
	become(active)
	p := pass(active, other(active))
	p.All, p.Steps = s.all, true
	s.said = nil
	var mu sync.Mutex
	p.Note = func(address, text string) {
		mu.Lock()
		defer mu.Unlock()
		s.said = append(s.said, text)
		if act := s.on[text]; act != nil {
			delete(s.on, text)
			act()
		}
	}
	all := tasks(other(active), users)
	for i := range all {
		all[i].Overlap = s.overlap
	}
	r, err := p.Run(context.Background(), all)
	s.must(err)
	return r
}

// holds says what a node's folders are to hold: "FOLDER TOKEN FLAGS" for each message, sorted.
func (s *scene) holds(node string, want ...string) {
	s.t.Helper()
	messages, err := look(node, s.user, "*")
	s.must(err)
	var have []string
	for _, m := range messages {
		have = append(have, strings.TrimSpace(fmt.Sprint(m.Mailbox, " ", m.Token, " ", m.Flags)))
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		extra, missing := without(have, want), without(want, have)
		s.t.Errorf("%s of %s has %d messages, %q too many and %q too few\n%s", node, s.user, len(have), extra, missing, strings.Join(s.said, "\n"))
	}
}

// both is holds for both nodes.
func (s *scene) both(want ...string) {
	s.t.Helper()
	s.holds("n1", want...)
	s.holds("n2", want...)
}

// foldersFollow: what only the list of folders shows, on the other side, is no less than a message.
func (s *scene) foldersFollow() {
	s.t.Helper()
	s.imap("n2", "CREATE Old", "CREATE Empty", "RENAME Old New")
	s.merge("n1")
	for _, node := range []string{"n1", "n2"} {
		out, err := exec.Command(filepath.Join(programs(node), "doveadm"), "mailbox", "list", "-u", s.user).Output()
		s.must(err)
		have := strings.Fields(string(out))
		slices.Sort(have)
		if want := []string{"Empty", "INBOX", "New"}; !slices.Equal(have, want) {
			s.t.Errorf("%s has %q, want %q", node, have, want)
		}
	}
}

// TestRedelivered: a mail is delivered again, long after both sides were equal, as the answer to the first time was lost. It
// has no copy this time, which would ask for a comparison; nor may it stay beside the first wherever its user put that.
func TestRedelivered(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, token := range []string{"a", "b", "c"} {
			s.mail("n1", token)
		}
		s.merge("n1")
		s.all = false
		s.imap("n1", "CREATE Work", "SELECT INBOX", "UID MOVE 2 Work")
		s.merge("n1")
		for _, token := range []string{"a", "b"} {
			s.must(deliver("n1", "24", s.user, text(token)))
			s.mail("n1", "after-"+token)
			s.merge("n1")
			s.merge("n1")
		}
		s.both("INBOX a", "INBOX after-a", "INBOX after-b", "INBOX c", "Work b")
	})
}

// TestUploaded: a mail program moves a message back to the inbox, or changes its text, by uploading it, and removes the
// other one only later. The delivery id is in both. Neither is a double, and the last one left stays.
func TestUploaded(t *testing.T) {
	upload := func(text string) string {
		text = strings.ReplaceAll("Return-Path: <sender@elsewhere.example>\n"+text, "\n", "\r\n") // as it was stored
		return fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text)
	}
	everyFormat(t, func(s *scene) {
		for _, token := range []string{"moved", "marked", "edited"} {
			s.mail("n1", token)
		}
		s.merge("n1")
		s.imap("n1", "CREATE Work", "SELECT INBOX", "UID MOVE 1:2 Work")
		s.merge("n1")
		s.imap("n1", upload("X-TUID: abcdefghijkl\n"+text("moved")), upload(text("marked")), upload(text("edited")+"more\n"),
			"SELECT Work", `UID STORE 2 +FLAGS (\Deleted)`)
		s.merge("n1")
		s.both("INBOX edited", "INBOX edited", "INBOX marked", "INBOX moved", `Work marked \Deleted`, "Work moved")
		s.imap("n1", "SELECT Work", `UID STORE 1 +FLAGS (\Deleted)`, "EXPUNGE", "SELECT INBOX", `UID STORE 3 +FLAGS (\Deleted)`, "EXPUNGE")
		for range 2 {
			s.merge("n1")
			s.both("INBOX edited", "INBOX marked", "INBOX moved")
		}
	})
}

// TestUnreadable: a mailbox that the standby's disk does not give keeps no other from being merged.
func TestUnreadable(t *testing.T) {
	collective(t)
	reset(t)
	bad := &scene{t: t, user: "bad@sdbox", all: true}
	s := &scene{t: t, user: "user@sdbox", all: true}
	for _, s := range []*scene{bad, s} {
		s.mail("n1", "a")
	}
	s.merge("n1", s.user, bad.user)
	for _, s := range []*scene{bad, s} {
		s.mail("n1", "b")
	}
	box := "/var/vmail/n2/sdbox/bad/copies/mailboxes"
	s.must(os.Rename(box, box+".aside"))
	s.must(os.WriteFile(box, nil, 0o600))
	r := s.pass("n1", s.user, bad.user)
	if said := strings.Join(s.said, "\n"); r.Failed != 1 || len(r.Unreachable) > 0 || !strings.Contains(said, "not a directory") {
		t.Errorf("%+v\n%s", *r, said)
	}
	s.both("INBOX a", "INBOX b")
	s.must(os.Remove(box))
	s.must(os.Rename(box+".aside", box))
	bad.merge("n1")
	bad.both("INBOX a", "INBOX b")
}

// TestLeftDifferent: where doveadm sync leaves a difference, and says that all is well, the mailbox is neither equal nor in use.
func TestLeftDifferent(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.merge("n1")
		s.imap("n1", "SELECT INBOX", `UID STORE 1 +FLAGS (\Flagged)`)
		doveadm := filepath.Join(programs("n1"), "doveadm")
		real, err := os.ReadFile(doveadm)
		s.must(err)
		defer os.WriteFile(doveadm, real, 0o755)
		s.must(os.WriteFile(doveadm, []byte(strings.Replace(string(real), "\n", "\n[ \"$1\" != sync ] || { shift; set -- sync -x INBOX \"$@\"; }\n", 1)), 0o755))
		s.all = true
		for range 2 {
			r := s.pass("n1")
			if said := strings.Join(s.said, "\n"); r.Failed != 1 || !strings.Contains(said, `doveadm sync leaves the two sides different: UID 1 of folder `) || !strings.Contains(said, `has the flags "\\Flagged" and ""`) {
				t.Errorf("%+v\n%s", *r, said)
			}
		}
		s.must(os.WriteFile(doveadm, real, 0o755))
		s.all = false
		s.merge("n1")
		s.both(`INBOX a \Flagged`)
	})
}

// TestHalfDone: the other node's user moved a message, and doveadm is killed when it has brought one of the two folders, whichever.
func TestHalfDone(t *testing.T) {
	everyFormat(t, func(s *scene) {
		doveadm := filepath.Join(programs("n1"), "doveadm")
		real, err := os.ReadFile(doveadm)
		s.must(err)
		defer os.WriteFile(doveadm, real, 0o755)
		for _, c := range []struct{ first, move string }{
			{"Archive", "SELECT INBOX, MOVE 1 Archive"}, {"INBOX", "SELECT INBOX, MOVE 1 Archive"},
			{"Archive", "SELECT Archive, MOVE 1 INBOX"}, {"INBOX", "SELECT Archive, MOVE 1 INBOX"},
			{"Archive", "SELECT Archive, MOVE 1 Work"}, {"Work", "SELECT Archive, MOVE 1 Work"},
			{"Archive", "SELECT Work, MOVE 1 Archive"}, {"Work", "SELECT Work, MOVE 1 Archive"},
		} {
			reset(s.t)
			s.imap("n2", "CREATE Work", "CREATE Archive")
			s.mail("n2", "a")
			from, move, _ := strings.Cut(c.move, ", ")
			if folder := strings.TrimPrefix(from, "SELECT "); folder != "INBOX" {
				s.imap("n2", "SELECT INBOX", "MOVE 1 "+folder)
			}
			s.merge("n2")
			s.merge("n2")
			s.imap("n2", from, move)
			s.must(os.WriteFile(doveadm, []byte(strings.Replace(string(real), "\nexec ", "\n[ \"$1\" != sync ] || { shift; set -- sync -m "+c.first+" \"$@\"; trap 'kill -9 $$' EXIT; }\n", 1)), 0o755))
			if r := s.pass("n1"); r.Failed+r.Busy != 1 {
				t.Fatalf("%+v: %q", *r, s.said)
			}
			s.must(os.WriteFile(doveadm, real, 0o755))
			s.joins("n1", move[len("MOVE 1 "):]+" a")
			if s.t.Failed() {
				s.t.Fatalf("%s, and only %s was done", c.move, c.first)
			}
		}
	})
}

// TestMarkedDouble: of a message that came twice the user has marked one for
// removal. That one goes, and the mark is on no other.
func TestMarkedDouble(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.must(deliver("n1", "24", s.user, text("a")))
		s.imap("n1", "SELECT INBOX", `UID STORE 1 +FLAGS (\Deleted \Seen)`)
		s.merge("n1")
		s.both(`INBOX a \Seen`)
	})
}

// TestCopyInNewFolder: the node that took over has a copy that the user made, in
// a folder of which each node has its own.
func TestCopyInNewFolder(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n2", "z")
		s.merge("n2")
		s.imap("n2", `CREATE Trash`, "SELECT INBOX", "COPY 1 Trash")
		s.mail("n2", "a")
		s.alone("n1")
		s.imap("n1", `CREATE Trash`, "SELECT INBOX", "COPY 2 Trash")
		s.merge("n1")
		s.imap("n1", `CREATE Work`, "SELECT INBOX", "COPY 2 Work")
		s.merge("n1")
		s.merge("n2")
		s.both("INBOX a", "INBOX z", "Trash a", "Trash z", "Work a")
	})
}

// TestArrangedThere: what users did on a node until it was lost, and as long as it
// took itself for active when it came back, holds where they did nothing on the other.
func TestArrangedThere(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, token := range []string{"a", "b", "c", "d", "e"} {
			s.mail("n2", token)
		}
		s.imap("n2", "CREATE Archive", "SELECT INBOX", "MOVE 1 Archive") // a
		s.alone("n1")
		s.imap("n1", "CREATE Work", "SELECT INBOX", `STORE 2 +FLAGS (\Flagged)`, "MOVE 3 Work", `STORE 3 +FLAGS (\Deleted)`, "EXPUNGE") // b, c, d
		s.alone("n1")
		time.Sleep(1100 * time.Millisecond)                                                // Dovecot counts in seconds
		s.imap("n2", "SELECT INBOX", "COPY 1 Archive", "COPY 2 Archive", "COPY 3 Archive") // b, c, d
		s.pass("n1")
		s.merge("n1")
		s.both("Archive a", "Archive b \\Flagged", "Archive c", "Archive d", "INBOX b \\Flagged", "INBOX e", "Work c")
	})
}

// TestDeletedBeforeTheLoss: a user deletes a message on a node that is lost before
// anybody else hears of it.
func TestDeletedBeforeTheLoss(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, token := range []string{"a", "b", "c"} {
			s.mail("n2", token)
		}
		s.imap("n2", "SELECT INBOX", `STORE 1:2 +FLAGS (\Deleted)`, "EXPUNGE")
		time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
		s.alone("n1")
		s.holds("n1", "INBOX a", "INBOX b", "INBOX c")
		s.imap("n1", "SELECT INBOX", `STORE 2 +FLAGS (\Answered)`)
		s.pass("n1")
		s.merge("n1")
		s.both(`INBOX b \Answered`, "INBOX c")
		s.merge("n2")
		s.both(`INBOX b \Answered`, "INBOX c")
	})
}

// TestCopiedBeforeTheLoss: a mail program moves a message to the trash by a copy and a
// deletion, and the node is lost between the two.
func TestCopiedBeforeTheLoss(t *testing.T) {
	for _, known := range []bool{true, false} { // whether the other node has the message itself, or a copy of it
		everyFormat(t, func(s *scene) {
			s.imap("n2", "CREATE Trash")
			s.mail("n2", "a")
			if known {
				s.merge("n2")
				s.merge("n2")
			}
			s.imap("n2", "SELECT INBOX", "COPY 1 Trash")
			s.alone("n1")
			time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
			s.imap("n1", "SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE")
			s.pass("n1")
			s.merge("n1")
			s.both("Trash a")
			s.merge("n2")
			s.both("Trash a")
		})
	}
}

// TestFiledBeforeTheLoss: a user files a message on a node that is lost before anybody else hears of it, finds
// it in the inbox once more, and deletes that one.
func TestFiledBeforeTheLoss(t *testing.T) {
	for _, known := range []bool{true, false} { // whether the other node has the message itself, or a copy of it
		everyFormat(t, func(s *scene) {
			s.mail("n2", "a")
			if known {
				s.merge("n2")
				s.merge("n2")
			}
			s.imap("n2", "CREATE Work", "SELECT INBOX", "MOVE 1 Work")
			s.alone("n1")
			time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
			s.imap("n1", "SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE")
			s.joins("n1", "Work a")
		})
	}
}

// TestCopiedAndDeleted: on each node their user copies the message, and long after that deletes what is in the inbox: both copies are wanted.
func TestCopiedAndDeleted(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for node, folder := range map[string]string{"n1": "Archive", "n2": "Work"} {
			s.must(deliver(node, "24", s.user, text("a")))
			s.imap(node, "CREATE "+folder, "SELECT INBOX", "COPY 1 "+folder)
		}
		time.Sleep(12 * time.Second) // longer than a mail program takes for a move
		for _, node := range []string{"n1", "n2"} {
			s.imap(node, "SELECT INBOX", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE")
		}
		s.alone("n1")
		s.joins("n1", "Archive a", "Work a")
	})
}

// TestDeletedLongAgo: what was deleted while the other node was away goes there too, also where no log
// of Dovecot's tells of it any more.
func TestDeletedLongAgo(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.mail("n1", "b")
		s.imap("n1", "CREATE Work", "SELECT INBOX", "MOVE 1:2 Work")
		s.merge("n1")
		s.merge("n1")
		s.imap("n1", "SELECT Work", `STORE 1 +FLAGS (\Deleted)`, "EXPUNGE")
		s.alone("n1")
		if s.begunAnew("n1", "Work", 2) {
			s.t.Error("the log is still there")
		}
		s.pass("n1")
		s.merge("n1")
		for _, node := range []string{"n1", "n2"} {
			if messages, err := look(node, s.user, "*"); err != nil || len(messages) != 1 || messages[0].Token != "b" {
				s.t.Errorf("%s has %+v, %v", node, messages, err)
			}
		}
	})
}

// TestMarkedElsewhere: the mark for removal of a message that is another one on the other side.
func TestMarkedElsewhere(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.must(deliver("n1", "24", s.user, text("a")))
		s.must(deliver("n2", "24", s.user, text("a")))
		s.imap("n2", "SELECT INBOX", `UID STORE 1 +FLAGS (\Deleted \Flagged)`)
		s.merge("n1")
		s.both(`INBOX a \Flagged`)

		s.foldersFollow()
	})
}

// TestDoubleDeletedElsewhere: of a message that came twice to the lost node,
// its user deleted the one that the other node has.
func TestDoubleDeletedElsewhere(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.merge("n1")
		s.must(deliver("n1", "24", s.user, text("a")))
		s.imap("n1", "SELECT INBOX", `UID STORE 1 +FLAGS (\Deleted)`, "UID EXPUNGE 1")
		s.merge("n2")
		s.both("INBOX a")
		s.merge("n1")
		s.both("INBOX a")
	})
}

// TestFolderDeletedElsewhere: a folder is deleted on one node while, unseen by
// it, a message is moved into it on the other.
func TestFolderDeletedElsewhere(t *testing.T) {
	for _, deletes := range []string{"n1", "n2"} {
		everyFormat(t, func(s *scene) {
			s.mail("n1", "a")
			s.imap("n1", "CREATE Work")
			s.merge("n1")
			s.imap(other(deletes), "SELECT INBOX", "UID MOVE 1 Work")
			s.imap(deletes, "DELETE Work")
			s.merge("n2")
			s.both("Work a")
		})
	}
}

// TestFolderDeleted: where one node was used alone, what it deleted goes.
func TestFolderDeleted(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.mail("n1", "b")
		s.imap("n1", "CREATE Work", "SELECT INBOX", "UID MOVE 1 Work")
		s.merge("n1")
		s.imap("n1", "DELETE Work")
		s.merge("n1")
		s.both("INBOX b")
	})
}

// TestNamesOfStores: a user may have folders with the names of the directories of the hidden stores.
func TestNamesOfStores(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for i, folder := range []string{"copies", "copies/INBOX", "deleted/INBOX", "deleted/x"} {
			s.mail("n1", string(rune('a'+i)))
			s.imap("n1", "CREATE "+folder, "SELECT INBOX", "MOVE 1 "+folder)
		}
		s.merge("n1")
		s.both("copies a", "copies/INBOX b", "deleted/INBOX c", "deleted/x d")
	})
}

// TestStrangeKeyword: keywords that Dovecot takes from a user.
func TestStrangeKeyword(t *testing.T) {
	everyFormat(t, func(s *scene) {
		long := strings.Repeat("k", 50)
		s.must(deliver("n1", "24", s.user, text("a")))
		s.must(deliver("n2", "24", s.user, text("a")))
		s.imap("n2", "SELECT INBOX", "UID STORE 1 +FLAGS (-x "+long+" a;b$&')")
		s.merge("n1")
		s.both("INBOX a -x a;b$&' " + long)
	})
}

// TestKeywordOfTwoCases: each side was the first to use a keyword, in another case than the other; Dovecot takes it for the same.
func TestKeywordOfTwoCases(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.merge("n1")
		s.imap("n1", "SELECT INBOX", "UID STORE 1 +FLAGS ($Forwarded)")
		s.imap("n2", "SELECT INBOX", "UID STORE 1 +FLAGS ($FORWARDED)")
		s.mail("n1", "b")
		for range 2 {
			s.merge("n1")
			for _, node := range []string{"n1", "n2"} {
				messages, err := look(node, s.user, "*")
				s.must(err)
				if len(messages) != 2 || !strings.EqualFold(messages[0].Flags+messages[1].Flags, "$Forwarded") {
					t.Errorf("%s of %s: %+v", node, s.user, messages)
				}
			}
			if copies, err := look("n2", s.user, "rplan-copies/*"); err != nil || len(copies) > 0 {
				t.Errorf("%d copies stayed, %v", len(copies), err)
			}
		}
	})
}

// TestMessageIDs: what a Message-ID says does not matter.
func TestMessageIDs(t *testing.T) {
	everyFormat(t, func(s *scene) {
		var want []string
		for i, header := range []string{"", "", "Message-ID: <same@example.net>\n", "Message-ID: <same@example.net>\n", "Message-ID: \n"} {
			message := fmt.Sprintf("X-RPlan-ID: Q%d.mx\n%sSubject: t%d\n\nbody\n", i, header, i)
			s.must(deliver("n1", "24", s.user, message))
			s.must(deliver("n2", "10024", s.user, message))
			want = append(want, fmt.Sprint("INBOX t", i))
		}
		// And the same without a delivery id, as users store them.
		s.imap("n1", "APPEND INBOX {26+}\r\nSubject: own\r\n\r\nbody 12\r\n", "APPEND INBOX {26+}\r\nSubject: own\r\n\r\nbody 12\r\n")
		want = slices.Insert(want, 0, "INBOX own", "INBOX own")
		s.merge("n1")
		s.merge("n1")
		s.both(want...)
	})
}

// TestMovedMeanwhile: the lost node's message lies where its user put it, and they
// move the other node's one while the two are being joined.
func TestMovedMeanwhile(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n2", "a")
		s.imap("n2", "CREATE Work", "SELECT INBOX", "MOVE 1 Work")
		s.alone("n1")
		s.holds("n1", "INBOX a")
		s.on = map[string]func(){"doveadm sync": func() { s.imap("n1", "CREATE Archive", "SELECT INBOX", "MOVE 1 Archive") }}
		s.pass("n1")
		s.merge("n1")
		s.both("Archive a")
		s.merge("n2")
		s.both("Archive a")
	})
}

// TestCopiedBeforeItGoes: the lost node's message lies where its user put it, and they copy the other node's one
// just before that goes.
func TestCopiedBeforeItGoes(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n2", "a")
		s.imap("n2", "CREATE Work", "SELECT INBOX", "MOVE 1 Work")
		s.alone("n1")
		s.on = map[string]func(){"aside on the active side: 1": func() { s.imap("n1", "CREATE Trash", "SELECT INBOX", "COPY 1 Trash") }}
		s.joins("n1", "Trash a", "Work a")
	})
}

// TestMovedBeforeItGoes: they move it instead: that is what they want now, and the other one goes.
func TestMovedBeforeItGoes(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, c := range []struct {
			n1   string   // what the user did there before
			then []string // and just before something is set aside there, one after the other
			want string
		}{
			{"NOOP", []string{"SELECT INBOX, MOVE 1 Trash"}, "Trash a"},
			{"NOOP", []string{"SELECT INBOX, MOVE 1 Trash", "SELECT Work, MOVE 1 Archive"}, "Archive a"},
			{"NOOP", []string{"SELECT INBOX, MOVE 1 Trash", "SELECT Work, MOVE 1 Archive", "SELECT Trash, MOVE 1 Later"}, "Later a"},
			{"MOVE 1 Archive", []string{"SELECT INBOX, MOVE 1 Trash"}, "Trash a"}, // delivered there twice
		} {
			reset(s.t)
			s.mail("n2", "a")
			s.imap("n2", "CREATE Work", "CREATE Trash", "CREATE Archive", "CREATE Later", "SELECT INBOX", "MOVE 1 Work")
			s.alone("n1")
			if c.n1 != "NOOP" {
				s.imap("n1", "CREATE Archive", "CREATE Trash", "SELECT INBOX", c.n1)
				s.must(deliver("n1", "24", s.user, text("a")))
			}
			var next func()
			next = func() {
				s.imap("n1", strings.Split(c.then[0], ", ")...)
				if c.then = c.then[1:]; len(c.then) > 0 {
					s.on["aside on the active side: 1"] = next
				}
			}
			s.on = map[string]func(){"aside on the active side: 1": next}
			s.pass("n1") // which may leave the rest to the next
			s.joins("n1", c.want)
			if len(c.then) > 0 {
				s.t.Errorf("%q was not done: %q", c.then, s.said)
			}
		}
	})
}

// TestFlaggedBeforeItGoes: both sides have the message, and its user flags the one that goes just before it does.
func TestFlaggedBeforeItGoes(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, c := range []struct {
			node, moved, goes string
			want              string
		}{
			{"n2", "NOOP", "aside on the standby side: 1", `INBOX a \Flagged`},
			{"n1", "MOVE 1 Work", "aside on the active side: 1", `Work a \Flagged`},
		} {
			reset(s.t)
			s.must(deliver("n1", "24", s.user, text("a")))
			s.must(deliver("n2", "24", s.user, text("a")))
			s.imap("n2", "CREATE Work", "SELECT INBOX", c.moved)
			s.on = map[string]func(){c.goes: func() { s.imap(c.node, "SELECT INBOX", `STORE 1 +FLAGS (\Flagged)`) }}
			s.joins("n1", c.want)
			if len(s.on) > 0 {
				s.t.Errorf("nothing was set aside: %q", s.said)
			}
		}
	})
}

// TestRecovered: what only the other side had is counted once it is here, and what the user deleted here is not.
func TestRecovered(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, token := range []string{"a", "b", "c"} {
			s.mail("n1", token)
		}
		if r := s.merge("n1"); r.Recovered != 0 {
			s.t.Errorf("%d recovered of what was sent to both", r.Recovered)
		}
		s.imap("n1", "SELECT INBOX", `STORE 1:2 +FLAGS (\Deleted)`, "EXPUNGE")
		s.must(deliver("n2", "24", s.user, text("d")))
		s.must(deliver("n2", "24", s.user, "Subject: e\n\nno delivery id\n"))
		if r := s.merge("n1"); r.Recovered != 2 {
			s.t.Errorf("%d recovered\n%s", r.Recovered, strings.Join(s.said, "\n"))
		}
		s.both("INBOX c", "INBOX d", "INBOX e")
	})
}

// TestUsedMeanwhile: a session on the node that served its user before lasts a
// moment longer than the comparison after which both sides are taken for equal.
func TestUsedMeanwhile(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.all = false
		s.on = map[string]func(){"purge on the standby side: 1": func() { s.imap("n2", "SELECT INBOX", `STORE 1 +FLAGS (\Flagged)`) }}
		s.merge("n1")
		if len(s.on) > 0 {
			t.Fatalf("nothing was purged: %q", s.said)
		}
		s.merge("n1")
		s.both(`INBOX a \Flagged`)

		s.foldersFollow()
	})
}

// TestBusyMeanwhile: a mailbox that never holds still is carried over nevertheless,
// but for as long as its user may be at work on both sides, nobody takes them for equal.
func TestBusyMeanwhile(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.merge("n1")
		for _, s.overlap = range []bool{true, false} {
			var act func()
			flags := 0
			act = func() {
				flags++
				s.imap("n1", "SELECT INBOX", fmt.Sprintf("STORE 1 +FLAGS (k%d)", flags))
				if flags < 4 { // after the fourth doveadm sync a pass that had nothing else in its way ends
					s.on["doveadm sync"] = act
				}
			}
			s.on = map[string]func(){"doveadm sync": act}
			act()
			s.all = true
			if r := s.pass("n1"); r.Busy != 1 {
				t.Fatalf("%+v: %q", *r, s.said)
			}
			s.on, s.all = nil, false
			s.merge("n1")
			if compared := slices.Contains(s.said, "list"); compared != s.overlap {
				t.Errorf("overlap %v, compared %v: %q", s.overlap, compared, s.said)
			}
			s.imap("n1", "SELECT INBOX", "STORE 1 FLAGS ()")
			s.merge("n1")
		}
		s.both("INBOX a")
	})
}

// without are the lines of a that are not in b, each as often as it is too many.
func without(a, b []string) []string {
	b = slices.Clone(b)
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool {
		i := slices.Index(b, line)
		if i >= 0 {
			b = slices.Delete(b, i, i+1)
		}
		return i >= 0
	})
}
