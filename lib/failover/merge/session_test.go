package merge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

// says leads to a node that is a shell command.
func says(script string) Dial {
	return func(string) ([]string, error) { return []string{"sh", "-c", script}, nil }
}

// talk begins a conversation with such a node.
func talk(t *testing.T, ctx context.Context, script string) *session {
	t.Helper()
	s, err := begin(ctx, says(script), "n2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestSession(t *testing.T) {
	for why, c := range map[string]struct {
		script string
		kind   diag.Kind // 0 for none
		says   string
	}{
		"an answer":                {`read x; echo '{"a":"a@b","t":{"r":"x"}}'; echo '{"end":true}'; cat`, 0, ""},
		"an error":                 {`read x; echo '{"end":true,"error":"no room","kind":75}'; cat`, diag.TryAgain, `node "n2": no room`},
		"ssh does not get there":   {`echo 'ssh: No route to host' >&2; exit 255`, diag.TryAgain, "No route to host"},
		"it ends":                  {`read x; exit 0`, diag.TryAgain, "the connection was lost"},
		"it ends within a line":    {`read x; printf '{"en'`, diag.TryAgain, "the connection was lost"},
		"it ends within an answer": {`read x; echo '{"a":"a@b","t":{"r":"x"}}'`, diag.TryAgain, "the connection was lost"},
		"a greeting":               {`echo Welcome; cat`, diag.Failed, "rp-failover's language"},
		"a flood":                  {`yes`, diag.Failed, "rp-failover's language"},
		"another answer":           {`read x; echo '{"in":"real"}'; cat`, diag.Failed, "rp-failover's language"},
		"an address that is none":  {`read x; echo '{"a":"../x@b","t":{}}'; cat`, diag.Failed, "rp-failover's language"},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			s := talk(t, t.Context(), c.script)
			stamps, err := s.stamps()
			if c.kind == 0 {
				if err != nil || stamps["a@b"].Real != "x" {
					t.Errorf("%v, %v", stamps, err)
				}
			} else if diag.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: %v", diag.KindOf(err), err)
			}
			if _, again := s.stamps(); s.lost != nil && again != s.lost {
				t.Errorf("a conversation that ended goes on: %v", again)
			}
			s.close()
			if time.Since(began) > 4*time.Second || s.cmd.ProcessState == nil {
				t.Errorf("after %v, ssh is %v", time.Since(began), s.cmd.ProcessState)
			}
		})
	}
}

// TestSessionCancelled: nothing stays behind, whatever the other node does, also
// if it does not even read.
func TestSessionCancelled(t *testing.T) {
	steps := []request{{Do: "list"}, {Do: "step", Step: &step{Op: purge, UIDs: make([]uint32, 1_000_000)}}}
	for _, r := range steps {
		ctx, cancel := context.WithCancel(t.Context())
		s := talk(t, ctx, `exec sleep 1000`)
		done := make(chan error, 1)
		go func() { done <- s.ask(r, none) }()
		time.Sleep(50 * time.Millisecond)
		cancel()
		select {
		case err := <-done:
			if diag.KindOf(err) != diag.TryAgain {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s waits for ever", r.Do)
		}
		s.close()
		if s.cmd.ProcessState == nil {
			t.Errorf("%s: ssh stayed behind", r.Do)
		}
	}
}

func TestSessionEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "let go")
	s := talk(t, t.Context(), `cat >/dev/null; touch "`+file+`"`)
	s.close()
	if _, err := os.Stat(file); err != nil {
		t.Error("the other side did not see the end")
	}
	if _, err := begin(t.Context(), func(string) ([]string, error) { return []string{"/nowhere/ssh"}, nil }, "n2"); diag.KindOf(err) != diag.Unavailable {
		t.Error(err)
	}
}

// TestPassWithoutPeer: a node that talks nonsense fails no pass, and leaves no process behind.
func TestPassWithoutPeer(t *testing.T) {
	root := t.TempDir()
	s := Store{Home: root + "/%d/%n", Mail: "mail"}
	write(t, filepath.Join(s.home(user), "mail/subscriptions"), "x")
	var notes []string
	p := &Pass{Store: s, State: root + "/state", Dial: says("echo Welcome"), Jobs: 2, Now: time.Now, Dry: true,
		Note: func(about, text string) { notes = append(notes, about+": "+text) }}
	r, err := p.Run(t.Context(), []Task{{Address: user, Peer: "n2", Others: []string{"n2"}}, {Address: "bob@example.org", Peer: "n2", Others: []string{"n2"}}})
	if err != nil || r.Mailboxes != 2 || r.Skipped != 2 || len(r.Unreachable) != 1 || len(r.Why) != 1 || !strings.Contains(r.Why[0], `node "n2": `) || len(notes) != 1 {
		t.Errorf("%+v, %v, %q", r, err, notes)
	}
	var many []Task
	for i := range 50 {
		many = append(many, Task{Address: user, Peer: fmt.Sprint("n", i)})
	}
	if r, err := p.Run(t.Context(), many); err != nil || len(r.Unreachable) != 50 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestUnmerged: since when a mailbox waits is noted, but not into a record that another pass is at work with.
func TestUnmerged(t *testing.T) {
	state := t.TempDir()
	w := &worker{Pass: &Pass{State: state, Now: func() time.Time { return now }, Note: func(string, string) {}}}
	task := Task{Address: user}
	held, err := lockMailbox(t.Context(), state, user, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.failed(task, result{err: errors.New("busy")}); got.since != now.Unix() {
		t.Errorf("%+v", got)
	}
	if r, _ := loadRecord(state, user); r.Since != 0 {
		t.Error("the record was written by who has no lock")
	}
	held.Release()
	w.failed(task, result{err: errors.New("first")})
	w.Now = func() time.Time { return now.Add(time.Hour) }
	if got := w.failed(task, result{err: errors.New("second")}); got.since != now.Unix() {
		t.Errorf("%+v", got)
	}
	if r, _ := loadRecord(state, user); r.Since != now.Unix() || r.Why != "first" {
		t.Errorf("%+v", r)
	}
}
