package merge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/lib/failover/merge"
	"rplan/tests/judge"
	"rplan/tests/life"
)

// division is a game in which n2 is lost, users go on at both nodes, and n2 comes back while they still act.
type division struct {
	t      *testing.T
	seed   uint64
	ledger judge.Ledger
	users  []string
	count  int

	mu   sync.Mutex
	said map[string][]string // what passes did, by user
}

// pace is how many milliseconds a user waits between two acts, on average.
const pace = 300

// each user acts, at one of the nodes after the other, until the function that is returned is called.
func (d *division) act(stream uint64, nodes ...string) (end func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	var all sync.WaitGroup
	for i, user := range d.users {
		all.Go(func() {
			u := life.Sitter{Ledger: &d.ledger, User: user, Rand: rand.New(rand.NewPCG(d.seed, stream<<16+uint64(i))), Pause: pace * time.Millisecond}
			for ctx.Err() == nil {
				s, err := login(nodes[u.Rand.IntN(len(nodes))], user)
				if err == nil {
					err = u.Sit(ctx, s)
					s.Close()
				}
				if err != nil { // Dovecot ends a session whose messages got other numbers
					d.ledger.Count(func(c *judge.Counts) { c.Broken++ })
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// mail delivers letters to every user: to a node's folders, and as a copy to the other if that is asked for.
func (d *division) mail(node string, copies bool, letters int) {
	d.t.Helper()
	var all sync.WaitGroup
	d.count++
	for i, user := range d.users {
		r := rand.New(rand.NewPCG(d.seed, uint64(d.count)<<32+uint64(i)))
		all.Go(func() {
			for n := range letters {
				letter := judge.NewLetter(r, "writer@elsewhere.example", user)
				text := fmt.Sprintf("X-RPlan-ID: %s%d.mx.example.net\n", strings.ReplaceAll(letter.Token, "judge-", "Q"), n) + letter.Text
				err := deliver(node, "24", user, text)
				d.ledger.Write(judge.Event{User: user, Act: judge.Accepted, Token: letter.Token, Sum: judge.Sum(letter.Text)})
				if err == nil && copies {
					err = deliver(other(node), "10024", user, text)
				}
				if err != nil {
					d.t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// pass is one on a node, with the other one or without.
func (d *division) pass(node string, overlap, alone bool) *merge.Report {
	d.t.Helper()
	become(node)
	peer := other(node)
	if alone {
		peer = ""
	}
	p := pass(node, peer)
	p.Steps = true
	p.Note = func(address, text string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.said[address] = append(d.said[address], fmt.Sprint(time.Now().UTC().Format("15:04:05.000"), " ", node, ": ", text))
	}
	all := tasks(peer, d.users)
	for i := range all {
		all[i].Overlap, all[i].Others = overlap, []string{other(node)}
	}
	r, err := p.Run(d.t.Context(), all)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// read is what a node has of a user's mailbox.
func (d *division) read(node, user string) judge.Box {
	d.t.Helper()
	box := judge.Box{}
	s, err := login(node, user)
	if err == nil {
		defer s.Close()
		box, err = judge.Read(s)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return box
}

// verdict is the judge's.
func (d *division) verdict() {
	d.t.Helper()
	d.ledger.Merge(d.users...)
	all := map[string]judge.Sides{}
	for _, user := range d.users {
		all[user] = judge.Sides{Active: d.read("n1", user), Standby: d.read("n2", user)}
	}
	v := judge.Judge(&d.ledger, all)
	v.Scenario, v.Seed = d.t.Name(), d.seed
	var table strings.Builder
	if err := judge.Table(&table, v); err != nil {
		d.t.Fatal(err)
	}
	d.t.Logf("\n%s%s", &table, v.Details(5))
	for _, f := range slices.Concat(v.Lost, v.Doubled, v.Sides, v.Damaged) {
		d.t.Logf("%s\n%s\n%s", f, lines(d.ledger.History(f)), strings.Join(d.said[f.User], "\n"))
	}
	// Users who act three times a second on two sides that come together undo some of what they did, and what they move just
	// when the other side's move is carried over may stay in both places.
	if wrong := v.Wrong(judge.Limits{"resurrected": 2, "flags": 4, "folders": 4, "doubled": 1}); wrong != "" {
		d.t.Errorf("the judge found %s; RPLAN_SEED=%d does the same things again", wrong, d.seed)
	}
}

func lines(events []judge.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.String())
	}
	return strings.Join(all, "\n")
}

// games are the seeds, and how many users there are of each format: few, unless more games are asked for. RPLAN_SEED
// replays one with as many as it had if RPLAN_GAMES is as it was then.
func games() (all []uint64, users int) {
	switch {
	case os.Getenv("RPLAN_GAMES") != "":
		return seeds(), 4
	case os.Getenv("RPLAN_SEED") != "":
		return seeds(), 2
	}
	return []uint64{rand.Uint64()}, 2
}

// TestDivided: the judge of the scenarios, on many mailboxes and no daemon but Dovecot. RPLAN_GAMES=20 plays twenty of it.
func TestDivided(t *testing.T) {
	collective(t)
	all, users := games()
	for _, seed := range all {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			reset(t)
			d := &division{t: t, seed: seed, said: map[string][]string{}}
			for i := range users * len(formats) {
				d.users = append(d.users, fmt.Sprint("u", i, "@", formats[i%len(formats)]))
			}
			d.mail("n2", true, 4)
			end := d.act(1, "n2")
			for range 2 {
				d.pass("n2", false, false)
			}
			end()
			d.ledger.Divide(d.users...)
			d.pass("n1", false, true)

			end = d.act(2, "n1", "n2")
			d.mail("n1", false, 2)
			d.mail("n2", true, 1)
			for range 4 {
				time.Sleep(1500 * time.Millisecond)
				d.pass("n1", true, true)
				d.pass("n2", true, true)
			}
			end()
			end = d.act(3, "n1")
			for range 3 {
				d.pass("n1", true, false)
			}
			end()
			for range 5 {
				if r := d.pass("n1", true, false); r.Failed+r.Busy == 0 {
					break
				}
			}
			d.verdict()
		})
	}
}
