package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/tests/imap"
	"rplan/tests/lab"
)

// TestCrowd has more sessions open than Dovecot takes by itself, on three nodes of which each hands two thirds of
// its own over; takes a node out and in, and loses it; and looks how long it is until everybody is in again.
func TestCrowd(t *testing.T) {
	programs := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	users := crowd(360)
	w := quietWorld(ctx, t, users, lab.Config{Nodes: 3, Programs: programs, LDIF: entries(users)})
	// So that neither a login that waits for a lost node nor mail for its users goes on by itself.
	for _, n := range w.Nodes {
		_, err := n.Run(ctx, "/bin/sh", "-ec", `echo 'login_proxy_timeout = 10 mins' >>/etc/dovecot/dovecot.conf; doveadm reload
			postconf -e minimal_backoff_time=1h maximal_backoff_time=1h; postfix reload`)
		w.ok(err)
	}
	w.cron = startCron(ctx, w.Nodes)
	defer w.reportCron()

	var people []*person
	var all sync.WaitGroup
	living, leave := context.WithCancel(ctx)
	defer all.Wait()
	defer leave()
	began := time.Now()
	for i, u := range users {
		p := &person{User: u, at: w.Nodes[i/6%3]} // from any pair to any node
		people = append(people, p)
		all.Go(func() {
			for living.Err() == nil {
				p.session(living, w)
			}
		})
	}
	w.come(people, len(people), "at first", began)

	n := w.Node("n2")
	for _, change := range []struct {
		what string
		do   func()
	}{{"out", func() { w.out(n) }}, {"in", func() { w.in(n) }}} {
		began = time.Now()
		change.do()
		w.come(people, len(people)/3, change.what, began) // who lives on it
	}

	// Of who hangs with it when it is lost, some try again before it is out. Who had come to it goes elsewhere.
	w.cut(n)
	want := 0
	for i, p := range people {
		if p.at == n || p.Active() == n.Name {
			want++
		}
		if p.at == n {
			p.leave(w.Nodes[i%2*2])
		} else if p.Active() == n.Name && i%12 < 6 {
			p.leave(p.at)
		}
	}
	waiting := w.user(n)
	_, err := w.SendMail(ctx, w.Provider(), "writer@"+lab.Elsewhere, []string{waiting.Address}, "Subject: waiting\n\nhello\n")
	w.ok(err)
	w.eventually(func() error {
		if reason := w.waits(waiting); reason == "" {
			return fmt.Errorf("mail for %s does not wait", waiting.Address)
		}
		return nil
	})
	began = time.Now()
	w.gone(n)
	w.eventually(func() error {
		if reason := w.waits(waiting); reason != "" {
			return fmt.Errorf("mail for %s still waits: %s", waiting.Address, reason)
		}
		return nil
	})
	w.come(people, want, "out --lost", began)
	if took := time.Since(began); took > longest*time.Second {
		t.Errorf("it was %.1f s until all were in again", took.Seconds())
	}
}

// user is one of those who live on a node.
func (w *world) user(on *lab.Node) lab.User {
	return w.users[slices.IndexFunc(w.users, func(u lab.User) bool { return u.Active() == on.Name })]
}

// waits is why mail for a user waits at the provider, "" if none was tried in vain.
func (w *world) waits(u lab.User) (reason string) {
	w.Helper()
	queue, err := w.Provider().Queue(w.ctx)
	w.ok(err)
	for _, mail := range queue {
		for _, to := range mail.Recipients {
			if to.Address == u.Address && mail.Queue == "deferred" {
				reason = to.Reason
			}
		}
	}
	return reason
}

// crowd are so many users, of the lab's pairs in turn.
func crowd(n int) []lab.User {
	pairs := lab.Users(3)
	users := make([]lab.User, n)
	for i := range users {
		users[i] = lab.User{Address: fmt.Sprintf("crowd%d@%s", i, lab.Domain), Placement: pairs[i%6].Placement}
	}
	return users
}

// entries are the users' in the directory.
func entries(users []lab.User) string {
	var b strings.Builder
	for _, u := range users {
		fmt.Fprintf(&b, "dn: rplanAddress=%s,ou=mailboxes,%s\nobjectClass: rplanMailbox\nrplanPlacement: %s\nrplanStatus: active\nuserPassword: %s\n\n",
			u.Address, lab.BaseDN, strings.Join(u.Placement, "_"), lab.Password(u.Address))
	}
	return b.String()
}

// person is a user with a mail program, which waits for mail in one session and comes again when that ends.
type person struct {
	lab.User

	sync.Mutex
	at   *lab.Node // where they come
	in   bool
	quit func()        // ends the session
	took time.Duration // until they were in, when they came last
	said []string      // to logins that failed
	came bool          // since that was asked last
}

// session logs in, however often that takes, and stays until it is ended.
func (p *person) session(ctx context.Context, w *world) {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	began := time.Now()
	p.Lock()
	at := p.at
	p.quit = quit
	p.Unlock()
	var s *imap.Session
	for {
		var err error
		if s, err = w.Login(ctx, at, p.Address, lab.Password(p.Address)); err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		p.Lock()
		p.said = append(p.said, err.Error())
		p.Unlock()
		pause(ctx, time.Second) // a mail program's next try
	}
	defer context.AfterFunc(ctx, s.Close)()
	defer s.Close()
	p.Lock()
	p.in, p.took, p.came = true, time.Since(began), true
	p.Unlock()
	_, _ = s.Command("SELECT INBOX")
	_, _ = s.Command("IDLE") // answered when it ends, RFC 2177
	p.Lock()
	p.in = false
	p.Unlock()
}

// leave ends the session, and has them come to another node.
func (p *person) leave(at *lab.Node) {
	p.Lock()
	defer p.Unlock()
	p.at, p.in = at, false
	p.quit()
}

// come waits until so many have come since the last time, and all are in, and tells how long that took. More than
// those must not have had to.
func (w *world) come(people []*person, want int, what string, began time.Time) {
	w.Helper()
	var took []time.Duration
	said := map[string]int{}
	w.eventually(func() error {
		took = nil
		for _, p := range people {
			p.Lock()
			defer p.Unlock()
			if !p.in {
				return fmt.Errorf("%s is out; so far they heard %q", p.Address, p.said)
			}
			if p.came {
				took = append(took, p.took)
			}
		}
		if len(took) < want {
			return fmt.Errorf("%d came, not %d", len(took), want)
		}
		for _, p := range people {
			for _, words := range p.said {
				_, words, _ = strings.Cut(words, p.Address)
				said[words]++
			}
			p.said, p.came = nil, false
		}
		return nil
	})
	slices.Sort(took)
	w.Logf("%s: %d came, half of them within %.1f s, all within %.1f s, and after %.1f s in all; others heard %v", what, len(took),
		took[len(took)/2].Seconds(), took[len(took)-1].Seconds(), time.Since(began).Seconds(), said)
	if len(took) != want {
		w.Errorf("%d came again after %s, want %d", len(took), what, want)
	}
}
