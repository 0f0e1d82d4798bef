package life

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rplan/tests/imap"
	"rplan/tests/judge"
	"rplan/tests/lab"
)

// sitting is how long a session may last; who waits for an answer then waits as long again, and it is broken off.
const sitting = 10 * time.Second

// user logs in at random nodes, does some things, and comes again.
func (l *Life) user(ctx context.Context, u lab.User, r *rand.Rand) {
	pause := l.config.Pause
	for ctx.Err() == nil {
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		if took := l.session(ctx, u, pick(r, l.lab.Nodes), r, pause); took > 0 {
			pause = max(l.config.Pause, min(time.Duration(l.config.Logins)*took, sitting))
		}
	}
}

// session says how long the login took, 0 if there was none.
func (l *Life) session(ctx context.Context, u lab.User, at *lab.Node, r *rand.Rand, pause time.Duration) (took time.Duration) {
	// What began is brought to its end.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*sitting)
	defer cancel()
	if !reachable(whole, l.lab, at, "993") {
		l.Ledger.Count(func(c *judge.Counts) { c.Unreachable++ })
		return 0
	}
	began := time.Now()
	login, err := l.lab.Login(whole, at, u.Address, lab.Password(u.Address))
	if err != nil {
		l.refused(err)
		return 0
	}
	took = time.Since(began)
	defer login.Close()
	sitter := Sitter{Ledger: l.Ledger, User: u.Address, Rand: r, Pause: pause}
	sit, over := context.WithTimeout(ctx, sitting)
	defer over()
	if err := sitter.Sit(sit, login); err != nil {
		l.Ledger.Count(func(c *judge.Counts) { c.Broken++ })
	}
	return took
}

// Sitter is a user who acts, and writes down what was confirmed.
type Sitter struct {
	Ledger *judge.Ledger
	User   string
	Rand   *rand.Rand
	Pause  time.Duration // between two acts, on average
}

// Sit does some things in a session, and ends it before that if ctx ends. It fails when the
// session is broken off.
func (u Sitter) Sit(ctx context.Context, login *imap.Session) error {
	s := &session{Session: login, ledger: u.Ledger, user: u.User, r: u.Rand}
	for range 2 + u.Rand.IntN(10) {
		if ctx.Err() != nil {
			return nil
		}
		if err := s.act(); err != nil {
			return err
		}
		sleep(ctx, u.Pause)
	}
	_, _ = s.Command("LOGOUT")
	return nil
}

func (l *Life) refused(err error) {
	if l.config.Refused != nil && errors.Is(err, imap.ErrRefused) {
		l.config.Refused(err)
	}
	l.Ledger.Count(func(c *judge.Counts) {
		switch {
		case errors.Is(err, imap.ErrRefused) && strings.Contains(err.Error(), "[UNAVAILABLE]"):
			c.Unavailable++
		case errors.Is(err, imap.ErrRefused):
			c.Refused++
		default:
			c.Unreachable++
		}
	})
}

// session is one in which a user acts. Its methods fail when it is over; a
// command that the server refuses is no failure, and changed nothing.
type session struct {
	*imap.Session
	ledger  *judge.Ledger
	user    string
	r       *rand.Rand
	folders []string
}

// flags that users set.
var flags = []string{`\Flagged`, `\Answered`, `$Forwarded`, "Important"}

// places where users put their mail.
var places = []string{"Archive", "Trash", "Work", "Work/Old", "Entw&APw-rfe"}

func (s *session) act() error {
	if s.folders == nil {
		if err := s.list(); err != nil {
			return err
		}
	}
	folder := "INBOX"
	if s.r.IntN(4) == 0 {
		folder = pick(s.r, s.folders)
	}
	switch n := s.r.IntN(100); {
	case n < 12:
		return s.write()
	case n < 14:
		return s.rename()
	case n < 34:
		return s.on(folder, s.read)
	case n < 54:
		return s.on(folder, s.flag)
	case n < 60:
		return s.on(folder, s.unflag)
	case n < 78:
		return s.on(folder, s.move)
	case n < 84:
		return s.on(folder, s.copy)
	case n < 96:
		return s.on(folder, s.remove)
	}
	_, err := s.Command("NOOP")
	return err
}

// event writes down what became of an act, unless it was refused.
func (s *session) event(e judge.Event, confirmed bool, err error) error {
	if !errors.Is(err, imap.ErrRefused) {
		e.User, e.Maybe = s.user, err != nil || !confirmed
		s.ledger.Write(e)
	}
	return over(err)
}

// over is the error, if it ended the session; a command that is refused does not.
func over(err error) error {
	if errors.Is(err, imap.ErrRefused) {
		return nil
	}
	return err
}

func (s *session) list() error {
	answers, err := s.Command(`LIST "" "*"`)
	if err != nil {
		return err
	}
	s.folders = nil
	for _, answer := range answers {
		if fields := strings.Fields(answer); len(fields) > 3 && fields[1] == "LIST" && !strings.Contains(strings.ToLower(answer), `\noselect`) {
			s.folders = append(s.folders, strings.Trim(fields[len(fields)-1], `"`))
		}
	}
	slices.Sort(s.folders)
	return nil
}

// need makes a folder, if the user has none of this name.
func (s *session) need(folder string) error {
	if slices.Contains(s.folders, folder) {
		return nil
	}
	_, err := s.Command("CREATE %q", folder)
	if err := s.event(judge.Event{Act: judge.Created, Folder: folder}, true, err); err != nil {
		return err
	}
	return s.list()
}

// write stores a mail of the user's own among those sent.
func (s *session) write() error {
	if err := s.need("Sent"); err != nil {
		return err
	}
	letter := judge.NewLetter(s.r, s.user, "friend@"+lab.Elsewhere)
	// A copy that a program stores has no id of ours; one of somebody's making would be their own fault.
	text := strings.ReplaceAll(letter.Text, "\nX-RPlan-ID:", "\nX-Other:")
	text = strings.ReplaceAll(text, "\n", "\r\n")
	e := judge.Event{Act: judge.Appended, Folder: "Sent", Token: letter.Token, Sum: judge.Sum(text), Flags: []string{`\Seen`}}
	_, err := s.Command("APPEND %q (%s) {%d+}\r\n%s", "Sent", `\Seen`, len(text), text)
	return s.event(e, true, err)
}

// rename gives the user's project another name.
func (s *session) rename() error {
	number := string(rune('a' + s.r.IntN(26)))
	for _, folder := range s.folders {
		if name, _, _ := strings.Cut(folder, "-"); name == "Project" {
			to := "Project-" + number
			if slices.Contains(s.folders, to) {
				return nil
			}
			_, err := s.Command("RENAME %q %q", folder, to)
			if err := s.event(judge.Event{Act: judge.Renamed, Folder: folder, To: to}, true, err); err != nil {
				return err
			}
			return s.list()
		}
	}
	return s.need("Project-" + number)
}
