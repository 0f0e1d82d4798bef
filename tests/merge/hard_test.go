package merge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// home is where a node has a user's mailbox.
func home(node, user string) string {
	local, format, _ := strings.Cut(user, "@")
	return filepath.Join("/var/vmail", node, format, local)
}

// clone gives another user a mailbox like that of the scene, with its record.
func (s *scene) clone(user string) {
	s.t.Helper()
	for _, node := range []string{"n1", "n2"} {
		s.must(command("cp", "-a", home(node, s.user), home(node, user)))
	}
	record := func(user string) string {
		local, format, _ := strings.Cut(user, "@")
		return filepath.Join(state("n1"), "mailboxes", format, local+".json")
	}
	s.must(command("cp", record(s.user), record(user)))
}

// passes starts a program that makes a pass over users and kills itself at a step, 0 for none.
func passes(at int, node string, users ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"pass", fmt.Sprint(at), node, other(node)}, users...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// TestKilledAtEveryStep: a pass with every kind of work is killed at its first
// step, at its second and so on, each time with a fresh mailbox, until one ends.
// Each format has a third of the steps; with RPLAN_GAMES each has all.
func TestKilledAtEveryStep(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.mail("n1", "a")
		s.mail("n1", "e")
		s.imap("n1", "CREATE Archive")
		s.merge("n1")
		s.imap("n1", "SELECT INBOX", "UID MOVE 1 Archive")
		s.imap("n2", "SELECT INBOX", `UID STORE 1 +FLAGS (\Seen)`) // of one that is moved
		s.mail("n1", "f")
		s.must(deliver("n1", "24", s.user, text("f")))    // twice
		s.must(deliver("n1", "24", s.user, text("b")))    // as two messages on the two nodes
		s.must(deliver("n2", "24", s.user, text("b")))    //
		s.must(deliver("n1", "10024", s.user, text("c"))) // only as a copy
		s.must(deliver("n2", "24", s.user, text("d")))    // only there
		s.imap("n1", "SELECT INBOX", `UID STORE 2 +FLAGS (\Deleted)`, "UID EXPUNGE 2")
		first, stride := 1+slices.Index(formats, strings.TrimPrefix(s.user, "user@")), len(formats)
		if os.Getenv("RPLAN_GAMES") != "" {
			first, stride = 1, 1
		}
		users, ended := s.killAll(first, stride)
		s.merge("n1", users...)
		for _, s.user = range users {
			s.both(`Archive a \Seen`, "INBOX b", "INBOX c", "INBOX d", "INBOX f")
			for _, node := range []string{"n1", "n2"} {
				if left, _ := filepath.Glob(home(node, s.user) + "/[cd]*/mailboxes/INBOX/dbox-Mails/u.*"); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			}
		}
		s.t.Logf("no kill at step %d: the pass has ended", ended)
	})
}

// TestKilledOneOfTwo: a message came twice to the lost node, its user deleted the
// one that the other node has, and the pass that joins the two is killed at each step.
func TestKilledOneOfTwo(t *testing.T) {
	collective(t)
	for at := 1; ; at++ {
		reset(t)
		s := &scene{t: t, user: "user@" + formats[at%len(formats)], all: true}
		s.mail("n1", "a")
		s.merge("n1")
		s.must(deliver("n1", "24", s.user, text("a")))
		s.imap("n1", "SELECT INBOX", `UID STORE 1 +FLAGS (\Deleted)`, "UID EXPUNGE 1")
		ended := passes(at, "n2", s.user).Run() == nil
		s.pass("n2")
		s.merge("n2")
		s.both("INBOX a")
		if t.Failed() || ended {
			t.Logf("no kill at step %d: the pass has ended", at)
			return
		}
	}
}

// killAll kills passes, three at a time.
func (s *scene) killAll(first, stride int) (users []string, ended int) {
	for at := first; ended == 0 && at < 100; at += 3 * stride {
		var running [3]*exec.Cmd
		for i := range running {
			user := strings.Replace(s.user, "user", fmt.Sprint("k", at+i*stride), 1)
			s.clone(user)
			users = append(users, user)
			running[i] = passes(at+i*stride, "n1", user)
			s.must(running[i].Start())
		}
		for i, cmd := range running {
			if err := cmd.Wait(); err == nil && ended == 0 {
				ended = at + i*stride
			}
		}
	}
	if ended < 10 {
		s.t.Errorf("a pass of %d steps?", ended-1)
	}
	return users, ended
}

// TestDiskFull: no room on the standby.
func TestDiskFull(t *testing.T) {
	everyFormat(t, func(s *scene) {
		const disk = "/var/vmail/n2"
		s.must(os.MkdirAll(disk, 0o755))
		s.must(syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0777"))
		defer func() { s.must(syscall.Unmount(disk, syscall.MNT_DETACH)) }()
		s.mail("n1", "a")
		s.merge("n1")
		s.must(deliver("n1", "24", s.user, text("b")+strings.Repeat("much\n", 50_000)))
		s.must(deliver("n1", "24", s.user, text("c")))
		s.imap("n1", "SELECT INBOX", `UID STORE 1 +FLAGS (\Flagged)`)
		fill(disk + "/full")
		if r := s.pass("n1"); r.Failed+r.Busy != 1 || r.Left != 1 {
			s.t.Errorf("%+v\n%s", *r, strings.Join(s.said, "\n"))
		}
		s.holds("n1", `INBOX a \Flagged`, "INBOX b", "INBOX c")
		s.must(os.Remove(disk + "/full"))
		s.merge("n1")
		s.both(`INBOX a \Flagged`, "INBOX b", "INBOX c")
	})
}

// fill writes a file until the disk is full.
func fill(path string) {
	f, err := os.Create(path)
	for block := make([]byte, 1<<12); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
}

// TestDiskLost: the active node's disk is a new one, and its records with it.
func TestDiskLost(t *testing.T) {
	for _, records := range []bool{true, false} {
		everyFormat(t, func(s *scene) {
			s.mail("n1", "a")
			s.mail("n1", "b")
			s.imap("n1", "CREATE Work", "SELECT INBOX", "UID MOVE 1 Work", `UID STORE 2 +FLAGS (\Seen)`)
			s.merge("n1")
			s.must(os.RemoveAll(home("n1", s.user)))
			if !records {
				s.must(os.RemoveAll(state("n1")))
			}
			s.all = false
			s.merge("n1")
			s.both(`INBOX b \Seen`, "Work a")
		})
	}
}

// TestTwoActive: both nodes take themselves for the active one, are used, and merge at the same time.
func TestTwoActive(t *testing.T) {
	everyFormat(t, func(s *scene) {
		var want []string
		for round := range 3 {
			for i := range 4 {
				token := fmt.Sprintf("t%d-%d", round, i)
				s.mail([]string{"n1", "n2"}[i%2], token)
				want = append(want, "INBOX "+token)
			}
			s.mail("n1", fmt.Sprint("both", round))
			s.must(deliver("n2", "24", s.user, text(fmt.Sprint("both", round))))
			one, two := passes(0, "n1", s.user), passes(0, "n2", s.user)
			s.must(one.Start())
			s.must(two.Start())
			_, _ = one.Process.Wait()
			_, _ = two.Process.Wait()
		}
		want = append([]string{"INBOX both0", "INBOX both1", "INBOX both2"}, want...)
		s.merge("n1")
		s.merge("n2")
		s.both(want...)
	})
}

// TestUserActs: a user who never rests.
func TestUserActs(t *testing.T) {
	everyFormat(t, func(s *scene) {
		s.imap("n1", "CREATE Archive")
		stop := make(chan struct{})
		var acting sync.WaitGroup
		var want []string
		acting.Go(func() { want = s.act(stop) })
		r := s.pass("n1")
		if r.Failed > 0 {
			s.t.Errorf("%+v\n%s", *r, strings.Join(s.said, "\n"))
		}
		close(stop)
		acting.Wait()
		s.merge("n1")
		s.merge("n1")
		s.both(want...)
		s.t.Logf("%d messages are left; the pass: %+v", len(want), *r)
	})
}

// act appends, flags, moves and deletes until it is told to stop, and returns what the mailbox then holds.
func (s *scene) act(stop chan struct{}) (archived []string) {
	session, err := login("n1", s.user)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer session.Close()
	for n := 1000; ; n++ {
		select {
		case <-stop:
			return archived
		case <-time.After(100 * time.Millisecond):
		}
		token := fmt.Sprint("m", n)
		if err := deliver("n1", "24", s.user, text(token)); err != nil {
			s.t.Error(err)
		}
		if err := deliver("n2", "10024", s.user, text(token)); err != nil {
			s.t.Error(err)
		}
		_, _ = session.Command("SELECT INBOX")
		found, err := session.Command("UID SEARCH SUBJECT %s", token)
		uid := strings.TrimSpace(strings.TrimPrefix(strings.Join(found, ""), "* SEARCH"))
		if err != nil || uid == "" || strings.Contains(uid, " ") {
			s.t.Errorf("%s has the UIDs %q: %v", token, uid, err)
			continue
		}
		commands := []string{"UID STORE " + uid + ` +FLAGS (\Seen)`, "UID MOVE " + uid + " Archive"}
		if n%3 == 0 {
			commands = []string{"UID STORE " + uid + ` +FLAGS (\Deleted)`, "UID EXPUNGE " + uid}
		} else {
			archived = append(archived, "Archive "+token+` \Seen`)
		}
		for _, c := range commands {
			if _, err := session.Command("%s", c); err != nil {
				s.t.Error(token, err)
			}
		}
	}
}

// TestIdle: what a pass costs that finds nothing to do in 5,000 mailboxes.
func TestIdle(t *testing.T) {
	collective(t)
	reset(t)
	const many = 5000
	s := &scene{t: t, user: "user@sdbox", all: true}
	s.mail("n1", "a")
	s.imap("n1", "CREATE Work", "CREATE Archive")
	s.merge("n1")
	s.merge("n1")
	record := filepath.Join(state("n1"), "mailboxes/sdbox")
	text, err := os.ReadFile(record + "/user.json")
	s.must(err)
	users := []string{s.user}
	for i := range many - 1 {
		local := fmt.Sprint("idle", i)
		users = append(users, local+"@sdbox")
		s.must(link(home("n1", s.user), home("n1", users[i+1])))
		s.must(link(home("n2", s.user), home("n2", users[i+1])))
		s.must(os.WriteFile(filepath.Join(record, local+".json"), text, 0o600))
	}
	become("n1")
	for range 2 {
		began := time.Now()
		r, err := pass("n1", "n2").Run(t.Context(), tasks("n2", users))
		s.must(err)
		if r.Mailboxes != many || r.Merged+r.Left+r.Failed > 0 {
			t.Errorf("%+v", *r)
		}
		t.Logf("nothing to do in %d mailboxes: %v", many, time.Since(began).Round(time.Millisecond))
	}
}

// link makes a tree of the same files, which is only to be looked at.
func link(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Mkdir(to+path[len(from):], 0o700)
		}
		return os.Link(path, to+path[len(from):])
	})
}

// TestLarge: a mailbox of 5,000 messages.
func TestLarge(t *testing.T) {
	collective(t)
	reset(t)
	const many = 5000
	s := &scene{t: t, user: "user@sdbox", all: true}
	for _, node := range []string{"n1", "n2"} { // n2 has the same, as other messages and without flags
		dir := "/var/tmp/large-" + node
		for _, sub := range []string{"/cur", "/new", "/tmp"} {
			s.must(os.MkdirAll(dir+sub, 0o755))
		}
		for i := range many {
			name := fmt.Sprintf("%s/cur/%d.%s:2,%s", dir, 1_700_000_000+i, node, []string{"", "S", "FS"}[i%3])
			s.must(os.WriteFile(name, []byte(text(fmt.Sprint("large", i))), 0o644))
		}
		s.must(command("chown", "-R", "vmail:vmail", dir))
		s.must(command(filepath.Join(programs(node), "doveadm"), "import", "-u", s.user, "maildir:"+dir, "", "all"))
	}
	s.must(command(filepath.Join(programs("n2"), "doveadm"), "flags", "remove", "-u", s.user, `\Seen \Flagged`, "mailbox", "INBOX", "all"))
	s.must(command(filepath.Join(programs("n2"), "doveadm"), "flags", "add", "-u", s.user, `\Answered`, "mailbox", "INBOX", "1:1000"))
	for _, what := range []string{"first pass", "second pass", "pass with one message more"} {
		began := time.Now()
		r := s.merge("n1")
		t.Logf("%s over %d messages: %v, %d deliveries were double", what, many, time.Since(began).Round(time.Millisecond), r.Repaired)
		if what == "second pass" {
			s.all = false
			s.mail("n1", "one")
		}
	}
	answered := 0
	for _, node := range []string{"n1", "n2"} {
		messages, err := look(node, s.user, "*")
		s.must(err)
		if len(messages) != many+1 {
			t.Errorf("%s has %d messages", node, len(messages))
		}
		for _, m := range messages {
			answered += strings.Count(m.Flags, `\Answered`)
		}
	}
	if answered != 2000 {
		t.Errorf("%d messages have a flag that 2 times 1000 had", answered)
	}
}
