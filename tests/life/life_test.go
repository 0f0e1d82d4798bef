package life

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// start is a lab with nothing to take nodes in and out but the directory, and life in it.
func start(t *testing.T, config Config) (*lab.Lab, context.Context, *Life) {
	t.Helper()
	lab.Need(t)
	programs := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	if err := lab.Build(ctx, programs); err != nil {
		t.Fatal(err)
	}
	l := lab.Start(t, lab.Config{Programs: programs})
	config.Users = lab.Users(3)
	t.Logf("seed %d", config.Seed)
	life := Start(ctx, l, &judge.Ledger{}, config)
	t.Cleanup(life.End)
	return l, ctx, life
}

// settle ends life when all mail is sent, and waits until these nodes have
// delivered theirs; what they were just handing to a node when it was lost may take minutes.
func settle(t *testing.T, ctx context.Context, life *Life, nodes ...*lab.Node) error {
	t.Helper()
	life.Sent()
	life.End()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		var err error
		for _, n := range nodes {
			queue, failed := n.Queue(ctx)
			if failed == nil && len(queue) > 0 {
				_, failed = n.Run(ctx, "postqueue", "-f")
				failed = errors.Join(failed, fmt.Errorf("%d mails wait on %s: %+v", len(queue), n.Name, queue[0]))
			}
			err = errors.Join(err, failed)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// boxes reads what each user sees at a node and, beside it, what their first node itself keeps.
func boxes(t *testing.T, ctx context.Context, l *lab.Lab, at *lab.Node) map[string]judge.Sides {
	t.Helper()
	all := map[string]judge.Sides{}
	for _, u := range lab.Users(3) {
		if u.Suspended {
			continue
		}
		var sides judge.Sides
		s, err := l.Login(ctx, at, u.Address, lab.Password(u.Address))
		if err == nil {
			sides.Active, err = judge.Read(s)
			s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, err = l.Node(u.Active()).IMAP(ctx, u.Address); err == nil {
			sides.Standby, err = judge.Read(s)
			s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		all[u.Address] = sides
	}
	return all
}

func report(t *testing.T, v *judge.Verdict) {
	t.Helper()
	var table strings.Builder
	if err := judge.Table(&table, v); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s%s", &table, v.Details(5))
}

// alone are the messages of the inbox of which the user made no copy, so that one thing done is one finding.
func alone(box judge.Box) []judge.Message {
	times := map[string]int{}
	for _, folder := range box {
		for _, m := range folder.Messages {
			times[m.Token]++
		}
	}
	return slices.DeleteFunc(slices.Clone(box["INBOX"].Messages), func(m judge.Message) bool { return times[m.Token] > 1 })
}

// A life that nothing disturbs gives a judge nothing to find; whatever is then done behind the users' backs, they find.
func TestUndisturbed(t *testing.T) {
	l, ctx, life := start(t, Config{Seed: uint64(time.Now().UnixNano()), Mails: 300, Rate: 60, Pause: 100 * time.Millisecond})
	if err := settle(t, ctx, life, l.Nodes...); err != nil {
		t.Fatal(err)
	}
	all := boxes(t, ctx, l, l.Node("n3"))
	v := judge.Judge(life.Ledger, all)
	report(t, v)
	// A Dovecot that has just started, on a busy machine, tells some logins to try again.
	if wrong := v.Wrong(judge.Limits{"unavailable": 5}); wrong != "" {
		t.Errorf("the judge found %s", wrong)
	}
	if v.Sent != 300 || v.Accepted < 300 || v.Acts < 50 || v.Pages == 0 {
		t.Errorf("there was not much life: %+v", v.Counts)
	}

	// Some users delete nearly all that they get: the one who has most left is the one to do things to.
	chosen := slices.MaxFunc(lab.Users(3), func(a, b lab.User) int {
		return len(alone(all[a.Address].Active)) - len(alone(all[b.Address].Active))
	})
	user, home := chosen.Address, l.Node(chosen.Active())
	inbox := alone(all[user].Active)
	if len(inbox) < 4 {
		t.Fatalf("of all users none has more than %d messages without a copy", len(inbox))
	}
	uid := func(i int) string { return fmt.Sprint(inbox[i].UID) }
	for _, behind := range [][]string{
		{"expunge", "-u", user, "mailbox", "INBOX", "uid", uid(0)},
		{"copy", "-u", user, "INBOX", "mailbox", "INBOX", "uid", uid(1)},
		{"flags", "add", "-u", user, `\Draft`, "mailbox", "INBOX", "uid", uid(2)},
		{"mailbox", "create", "-u", user, "Strange"},
		{"move", "-u", user, "Strange", "mailbox", "INBOX", "uid", uid(3)},
	} {
		if _, err := home.Run(ctx, append([]string{"doveadm"}, behind...)...); err != nil {
			t.Fatal(err)
		}
	}
	v = judge.Judge(life.Ledger, boxes(t, ctx, l, home))
	report(t, v)
	if len(v.Lost) != 1 || len(v.Doubled) < 1 || len(v.Flags) != 1 || len(v.Folders) != 2 {
		t.Errorf("the judge did not find what was done")
	}
	if v.Lost[0].Token != inbox[0].Token || v.Lost[0].Kept {
		t.Errorf("what is lost is %s, not %+v", inbox[0].Token, v.Lost[0])
	}
}

// A node is cut off, and one write in the directory and new maps send its users to their standbys, where nobody has
// merged anything yet. What they lack there is all on the lost node, or waiting there.
func TestLostNode(t *testing.T) {
	l, ctx, life := start(t, Config{Seed: uint64(time.Now().UnixNano()), Mails: 400, Rate: 50, Pause: 100 * time.Millisecond})
	n2, others := l.Node("n2"), []*lab.Node{l.Node("n1"), l.Node("n3")}
	time.Sleep(3 * time.Second)
	if err := n2.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	for _, u := range lab.Users(3) {
		if u.Active() == n2.Name {
			life.Ledger.Divide(u.Address)
		}
	}
	if err := n2.SetState("out"); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx, others...); err != nil {
		t.Fatal(err)
	}
	for _, n := range others {
		if _, err := n.Genmaps(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := settle(t, ctx, life, others...); err != nil {
		t.Log(err)
	}
	v := judge.Judge(life.Ledger, boxes(t, ctx, l, others[0]))
	report(t, v)
	queued := ""
	for _, n := range l.Nodes {
		tokens, err := n.Run(ctx, "/bin/sh", "-c", "grep -rhaoE 'judge-[0-9a-z]{13}' /var/spool/postfix; true")
		if err != nil {
			t.Fatal(err)
		}
		queued += tokens
	}
	gone := slices.DeleteFunc(v.Lost, func(f judge.Finding) bool { return f.Kept || strings.Contains(queued, f.Token) })
	if len(gone) > 0 || len(v.Lost) == 0 {
		t.Errorf("of %d that are lost, nobody has %v", len(v.Lost), gone)
	}
	if len(v.Damaged) > 0 || len(v.Doubled)+len(v.Filed) > 0 || v.Refused > 0 || v.Rejected > 0 {
		t.Errorf("the judge found more than what a lost node explains")
	}
}
