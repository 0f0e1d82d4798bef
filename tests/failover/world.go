// Package failover takes nodes of a whole collective (tests/lab) away and
// brings them back, in all the ways that issue, while life goes on
// (tests/life), and asks a judge (tests/judge) what became of it.
package failover

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
	"rplan/tests/life"
)

// size is how much of everything there is in a scenario.
type size struct {
	mails    int
	rate     float64 // mails a second
	pause    time.Duration
	every    bool // every step is tried, not some drawn at random
	patience time.Duration
}

var (
	short = size{mails: 400, rate: 20, pause: time.Second, patience: 15 * time.Minute}
	long  = size{mails: 3000, rate: 20, pause: time.Second, every: true, patience: time.Hour}
)

// world is a collective of its own for one scenario.
type world struct {
	testing.TB
	*lab.Lab
	ctx      context.Context
	began    time.Time
	size     size
	seed     uint64
	r        *rand.Rand
	users    []lab.User
	ledger   *judge.Ledger
	life     *life.Life
	watching *watch
	cron     *cron
	absent   map[string]bool // nodes that serve nobody
	waited   int             // changes that waited for a mailbox
	dark     time.Time       // since then a node was cut off and not out
	blackout time.Duration   // the longest time that lasted
	verdicts []*judge.Verdict
}

// configuration is for tests: who takes nodes in and out each minute does it on purpose, and cron works
// faster than any. Short passes are to be tried between two changes too.
const configuration = `[failover]
min-interval = "0s"
max-lag      = "1m"
overlap      = "15s"
min-free     = "1%"
`

func newWorld(t testing.TB, programs string, s size, seed uint64) *world {
	t.Helper()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithTimeout(t.Context(), s.patience)
	t.Cleanup(cancel)
	w := quietWorld(ctx, t, lab.Users(3), lab.Config{Nodes: 3, Programs: programs})
	w.size, w.seed, w.r = s, seed, rand.New(rand.NewPCG(seed, 0))
	w.ok(record(ctx, w.Nodes))
	w.cron = startCron(ctx, w.Nodes)
	t.Cleanup(func() {
		w.rest()
		w.reportCron()
	})
	return w
}

// quietWorld is one in which nothing goes on yet, and no cron works.
func quietWorld(ctx context.Context, t testing.TB, users []lab.User, c lab.Config) *world {
	t.Helper()
	w := &world{TB: t, ctx: ctx, began: time.Now(), users: users, ledger: &judge.Ledger{}, absent: map[string]bool{}}
	w.Lab = lab.Start(t, c)
	for _, n := range w.Nodes {
		w.ok(n.Configure(configuration))
	}
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// reportCron fails if a command of cron failed in another way than those that
// mean "somebody is away" (3) and "not now" (75).
func (w *world) reportCron() {
	if w.cron == nil {
		return
	}
	for _, line := range w.cron.end() {
		if strings.Contains(line, ": 3, ") || strings.Contains(line, ": 75, ") {
			w.Logf("cron: %s", line)
		} else {
			w.Errorf("cron: %s", line)
		}
	}
	w.cron = nil
}

// live lets life begin, or begin again. A share of all mails is sent.
func (w *world) live(share float64) {
	w.rest()
	w.seed++ // the next life does something else
	w.life = life.Start(w.ctx, w.Lab, w.ledger, life.Config{Seed: w.seed, Users: w.users,
		Mails: int(math.Ceil(float64(w.size.mails) * share)), Rate: w.size.rate, Pause: w.size.pause, Logins: 10,
		Refused: func(err error) { w.Logf("%s %v", time.Now().UTC().Format("15:04:05.000"), err) }})
	w.watching = w.startWatch()
}

// rest ends all that life does.
func (w *world) rest() {
	if w.life != nil {
		w.life.End()
		w.watching.end()
	}
}

// accepted is how many mails servers have taken.
func (w *world) accepted() (n int) {
	for _, e := range w.ledger.Events() {
		if e.Act == judge.Accepted && !e.Maybe {
			n++
		}
	}
	return n
}

// amid is one of six changes, each in the midst of a life with its share of the mails: some must arrive before it is done.
func (w *world) amid(what string, change func()) {
	w.Helper()
	w.live(1.0 / 6)
	w.meanwhile(0.1 / 6)
	before := w.accepted()
	change()
	n := w.accepted() - before
	w.Logf("%d mails were accepted during %s", n, what)
	if n == 0 {
		w.Errorf("no mail was accepted during %s", what)
	}
	w.life.Sent()
}

// meanwhile lets some time pass, in which the mails of a share would arrive.
func (w *world) meanwhile(share float64) {
	pause(w.ctx, time.Duration(share*float64(w.size.mails)/w.size.rate*float64(time.Second)))
}

// failover runs rp-failover on a node and returns what it said and its exit status.
func (w *world) failover(on *lab.Node, args ...string) (string, int) {
	cmd := on.Command(w.ctx, append([]string{"rp-failover"}, args...)...)
	said := &timed{began: time.Now()}
	cmd.Stdout, cmd.Stderr = said, said
	code := 0
	if err := cmd.Run(); err != nil {
		code = status(err)
	}
	w.Logf("%s %s: rp-failover %s: %d\n%s", said.began.UTC().Format("15:04:05"), on.Name, strings.Join(args, " "), code, &said.text)
	return said.text.String(), code
}

// timed puts before what a program says how many seconds after its beginning it said so.
type timed struct {
	began time.Time
	text  strings.Builder
}

func (t *timed) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		fmt.Fprintf(&t.text, "%6.2f %s", time.Since(t.began).Seconds(), line)
	}
	return len(p), nil
}

// does is failover that must succeed. On a machine that has too much to do, a mailbox of users
// who never rest may be left to cron: whether that has it in the end the judge says.
func (w *world) does(on *lab.Node, args ...string) string {
	w.Helper()
	out, code := w.failover(on, args...)
	if code == 75 && strings.Contains(out, "could not be merged") && w.waited < 2 {
		w.waited++
		out, code = w.failover(on, args...) // it goes on from there, as it says itself
	}
	if left := code == 3 && strings.Contains(out, "not merged yet") && strings.Contains(out, "is being merged already"); code != 0 && !left {
		w.Fatalf("rp-failover %s on %s ended with %d", strings.Join(args, " "), on.Name, code)
	}
	return out
}

// out takes a node out, and in brings it back; more are further flags.
func (w *world) out(n *lab.Node, more ...string) {
	w.Helper()
	w.does(w.Provider(), append(append([]string{"out", "--verbose", "--yes", "--by", "ada", "--reason", "a test"}, more...), n.Name)...)
	w.absent[n.Name] = true
}

// gone takes a node out that does not answer: what it alone has is not merged, which is no failure (3).
func (w *world) gone(n *lab.Node) string {
	w.Helper()
	out, code := w.failover(w.Provider(), "out", "--lost", "--verbose", "--yes", "--by", "ada", "--reason", "a test", n.Name)
	if state := w.state(n); code != 0 && code != 3 || state != "out" {
		w.Fatalf("out --lost ended with %d, and %s is %s", code, n.Name, state)
	}
	w.absent[n.Name] = true
	w.lit()
	return out
}

func (w *world) in(n *lab.Node, more ...string) string {
	w.Helper()
	defer func() { w.absent[n.Name] = false }()
	return w.does(w.Provider(), append(append([]string{"in", "--verbose", "--yes", "--by", "ada", "--reason", "a test"}, more...), n.Name)...)
}

// present are the nodes that serve.
func (w *world) present() []*lab.Node {
	var all []*lab.Node
	for _, n := range w.Nodes {
		if !w.absent[n.Name] {
			all = append(all, n)
		}
	}
	return all
}

// cut takes a node off the network with no warning.
func (w *world) cut(n *lab.Node) {
	w.Helper()
	w.cron.leave(n)
	w.ok(n.Cut(w.ctx))
	w.dark = time.Now()
	w.ledger.Divide(w.livingOn(n)...)
}

// lit ends what cut began: other nodes serve the users of the one that is gone.
func (w *world) lit() {
	if !w.dark.IsZero() {
		w.blackout, w.dark = max(w.blackout, time.Since(w.dark)), time.Time{}
	}
}

// livingOn are the users whom a node serves while all is well.
func (w *world) livingOn(n *lab.Node) []string {
	var all []string
	for _, u := range w.users {
		if u.Active() == n.Name {
			all = append(all, u.Address)
		}
	}
	return all
}

// settle returns when all mail that was sent is delivered and nobody does
// anything; and when all that the standbys lack is merged.
func (w *world) settle() {
	w.Helper()
	w.life.Sent()
	w.rest()
	looks := 0 // in one, a mail that goes from node to node may be seen at none
	w.eventually(func() error {
		var waiting []error
		for _, n := range w.present() {
			queue, err := n.Queue(w.ctx)
			if err == nil && len(queue) > 0 {
				if _, err = n.Run(w.ctx, "postqueue", "-f"); err == nil {
					err = fmt.Errorf("%s has %d mails to deliver, such as %+v", n.Name, len(queue), queue[0])
				}
			}
			waiting = append(waiting, err)
		}
		err := errors.Join(waiting...)
		if looks++; err != nil {
			looks = 0
		} else if looks < 2 {
			err = errors.New("all queues were empty once")
		}
		return err
	})
	for _, n := range w.present() {
		w.sync(n)
	}
	for _, n := range w.present() { // what cron does with copies a minute later
		for _, peer := range w.present() {
			if peer != n {
				w.sync(n, "--peer", peer.Name)
			}
		}
	}
	if len(w.present()) == len(w.Nodes) {
		for _, u := range w.users {
			w.ledger.Merge(u.Address)
		}
	}
}

// sync merges what a node is active for.
func (w *world) sync(n *lab.Node, more ...string) {
	w.Helper()
	w.eventually(func() error {
		out, err := n.Run(w.ctx, append([]string{"rp-failover", "sync", "--wait", "60s"}, more...)...)
		if err != nil && (status(err) != 3 || len(w.present()) == len(w.Nodes)) {
			return fmt.Errorf("sync: %w: %s", err, out)
		}
		return nil
	})
}

// patience is more than anything takes that comes by itself.
const patience = 5 * time.Minute

// eventually calls f until it succeeds, or fails the test with what f said last.
func (w *world) eventually(f func() error) {
	w.Helper()
	late := time.After(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-w.ctx.Done():
			w.Fatal(err)
		case <-late:
			w.Fatal(err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
