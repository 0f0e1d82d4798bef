package failover

import (
	"errors"
	"os"
	"slices"
	"strings"

	"rplan/tests/imap"
	"rplan/tests/lab"
)

// leaves takes a node out in two steps. As long as it does not reach the other node of some of its users, nobody
// moves; when it does, they do: their sessions end, wherever they are, and the next shows what the last did.
func (w *world) leaves(n *lab.Node) {
	w.Helper()
	other := w.Node("n3")
	i := slices.IndexFunc(w.users, func(u lab.User) bool { return u.Active() == n.Name && u.Standby() == other.Name })
	j := slices.IndexFunc(w.users, func(u lab.User) bool { return u.Active() == other.Name && u.Standby() == n.Name })
	moves, stays := w.users[i], w.users[j]
	var ended []*imap.Session
	for _, at := range w.Nodes {
		ended = append(ended, w.session(at, moves))
	}
	goesOn := w.session(w.Provider(), stays)
	w.ok(ended[0].Append("INBOX", "Subject: seen before the move\r\n\r\nhello\r\n"))
	before, err := ended[0].Messages("INBOX")
	w.ok(err)

	w.parted("out", "draining")
	for _, s := range ended {
		if _, err := s.Command("NOOP"); err != nil {
			w.Errorf("a session of %s ended before anybody moved: %v", moves.Address, err)
		}
	}
	w.out(n)
	for i, s := range ended {
		if _, err := s.Command("NOOP"); err == nil || errors.Is(err, imap.ErrRefused) || errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("the session of %s at %s goes on after %s is out: %v", moves.Address, w.Nodes[i].Name, n.Name, err)
		}
	}
	if _, err := goesOn.Command("NOOP"); err != nil {
		w.Errorf("the session of %s, who did not move, ended: %v", stays.Address, err)
	}
	for _, at := range w.Nodes {
		after, err := w.session(at, moves).Messages("INBOX")
		w.ok(err)
		if !slices.Equal(after, before) || !strings.Contains(strings.Join(after, ""), "seen before the move") {
			w.Errorf("%s sees %q at %s after the move, and saw %q", moves.Address, after, at.Name, before)
		}
	}
}

// session is one that lasts as long as the scenario.
func (w *world) session(at *lab.Node, u lab.User) *imap.Session {
	w.Helper()
	s, err := w.Login(w.ctx, at, u.Address, lab.Password(u.Address))
	w.ok(err)
	w.Cleanup(s.Close)
	return s
}

// parted takes n2 out, or in, while it and n3, which the provider reaches, do not reach each other: nothing
// that one of them has can be merged with what the other has, so n2 stays half way.
func (w *world) parted(verb, stays string) {
	w.Helper()
	n2, n3 := w.Node("n2"), w.Node("n3")
	w.ok(n2.Part(w.ctx, n3))
	out, code := w.failover(w.Provider(), verb, "--verbose", "--yes", n2.Name)
	w.says(out, "could not be merged")
	if state := w.state(n2); code != 75 || state != stays {
		w.Errorf("%s of n2, which n3 does not reach, ended with %d, and it is %s; want 75 and %s", verb, code, state, stays)
	}
	w.ok(n2.Join(w.ctx, n3))
}
