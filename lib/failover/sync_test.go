package failover

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/directory"
)

// With whom the mailboxes of a placement are merged, by the states of its nodes.
func TestTarget(t *testing.T) {
	known := snapshot(t)
	s := &syncer{env: &app.Env{Now: func() time.Time { return noon }}, self: "n2", nodes: known, config: &configuration{failover: Settings{State: t.TempDir()}}}
	long := -lastMerge
	for _, c := range []struct {
		self, peer string
		n2, n3     directory.State
		since      time.Duration // of n3's state
		want       string
		lost       bool
	}{
		{"n2", "", directory.Up, directory.Up, 0, `["n3"] hold=false`, false},
		{"n3", "", directory.Up, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Draining, 0, `["n3"] hold=false`, false},
		{"n2", "", directory.Up, directory.Out, 0, `[""] hold=true`, false},
		{"n2", "", directory.Up, directory.Out, long / 2, `[""] hold=true`, false},
		{"n2", "", directory.Up, directory.Out, -long / 2, `[""] hold=true`, false}, // its clock is ahead
		{"n2", "", directory.Up, directory.Out, long, `[""] hold=false`, false},
		{"n2", "n3", directory.Up, directory.Out, 0, `["n3"] hold=false`, false},
		{"n2", "n1", directory.Up, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Returning, 0, `["n3"] hold=false`, false},
		{"n3", "", directory.Out, directory.Up, 0, `[""] hold=false`, false},
		{"n2", "", directory.Out, directory.Up, 0, "[] hold=false", false},
		{"n2", "", directory.Up, directory.Evicted, 0, `[""] hold=false`, false},
		{"n2", "n3", directory.Up, directory.Out, 0, `[""] hold=false`, true},
		{"n2", "n3", directory.Up, directory.Evicted, 0, `[""] hold=false`, true},
		{"n2", "n1", directory.Up, directory.Up, 0, "[] hold=false", true},
	} {
		s.self, s.Peer, s.Lost = c.self, c.peer, c.lost
		for name, state := range map[string]directory.State{"n2": c.n2, "n3": c.n3} {
			n := known.Node(name)
			n.State, n.Since = state, noon.Add(-time.Hour)
			if name == "n3" {
				n.Since = noon.Add(c.since)
			}
		}
		got := s.target("n2_n3")
		if text := fmt.Sprintf("%q hold=%v", got.peers, got.hold); text != c.want {
			t.Errorf("%+v: %s", c, text)
		}
	}
}

// Who waits for what a node has, until somebody says that it is lost for good.
func TestGiveUp(t *testing.T) {
	s := &syncer{config: &configuration{failover: Settings{State: t.TempDir()}}}
	n := &directory.Node{Name: "n3", Since: noon}
	if s.givenUp(n) {
		t.Error("nobody said so")
	}
	must(t, s.giveUp(n))
	if !s.givenUp(n) {
		t.Error("it was said")
	}
	if n.Since = noon.Add(time.Second); s.givenUp(n) {
		t.Error("that was the time before")
	}
}

// What many mailboxes have in common is not said for each of them, unless it is asked for.
func TestNotes(t *testing.T) {
	for verbose, want := range map[bool]int{false: mostNotes + 1, true: 100} {
		var said bytes.Buffer
		s := &syncer{Options: Options{Verbose: verbose}, env: &app.Env{Stderr: &said}}
		for i := range 100 {
			s.note(fmt.Sprintf("u%d@example.org", i), "no")
		}
		if n := strings.Count(said.String(), "\n"); n != want {
			t.Errorf("verbose %v: %d lines", verbose, n)
		}
	}
}
