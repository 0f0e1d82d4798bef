package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
)

var errGone = errors.New("gone")

// A planned way out and back: the order of steps is what keeps every message.
func TestOutAndIn(t *testing.T) {
	w := newWorld(t)
	w.syncs = func(node, peer string) merge.Report { return merge.Report{Mailboxes: 2, Merged: 2} }
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Reason: "a new disk"}))
	want := `maps n1, maps n2, maps n3, maps n4
sync n2 n3
maps n1, maps n2, maps n3, maps n4
flush n1, flush n2, flush n3, flush n4
kick n1 n2: b1 b2, kick n2 n2: b1 b2, kick n3 n2: b1 b2, kick n4 n2: b1 b2
sync n3 n2`
	if got := w.asked(); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	n := w.state("n2")
	if n.State != directory.Out || n.Reason != "a new disk" || n.By != "ada" || !n.Since.Equal(noon) {
		t.Errorf("node is %+v", n)
	}
	if w.out.String()+w.errs.String() != "" {
		t.Errorf("it says\n%s\n%s", &w.out, &w.errs)
	}
	if left, _ := filepath.Glob(filepath.Join(w.config.failover.State, "*.json")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}

	w.expectError(w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true}), diag.Refused,
		"flip-flop: node \"n2\" is out only since 2026-03-01 12:00 UTC, by ada (a new disk)", "--insist flip-flop")
	if got := w.asked(); got != "" {
		t.Errorf("after a refusal: %s", got)
	}
	w.syncs = func(node, peer string) merge.Report {
		return merge.Report{Mailboxes: 2, Merged: 2, Recovered: 3, Adopted: 1}
	}
	must(t, w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true, Insist: []string{"flip-flop"}}))
	want = `maps n1, maps n2, maps n3, maps n4
kick n2 n2: b1 b2
sync n1 n2
sync n3 n2
maps n1, maps n2, maps n3, maps n4
flush n1, flush n2, flush n3, flush n4
kick n1 n2: b1 b2, kick n2 n2: b1 b2, kick n3 n2: b1 b2, kick n4 n2: b1 b2
sync n2 n3`
	// The two merges are at once, in any order.
	if got := strings.Replace(w.asked(), "sync n3 n2\nsync n1 n2", "sync n1 n2\nsync n3 n2", 1); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if n := w.state("n2"); n.State != directory.Up {
		t.Errorf("node is %+v", n)
	}
	if w.out.String() != "node n2 is up; 6 mailboxes were brought up to date\n6 messages were recovered that only node n2 had\n3 messages were recovered from second copies\n" {
		t.Errorf("it says %q", &w.out)
	}
	must(t, w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true}))
	if !strings.HasPrefix(w.errs.String(), "node \"n2\" is up already since 2026-03-01 12:00 UTC, by ada\n") {
		t.Errorf("it says %q", &w.errs)
	}
}

// A lost node is not asked before the write, nor waited for after it.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.fault = func(call string) error {
		if strings.HasPrefix(call, "status n2") || strings.HasPrefix(call, "kick n2") || strings.HasPrefix(call, "drop n2") || strings.HasPrefix(call, "flush n2") {
			t.Errorf("a lost node is asked: %s", call)
		}
		if call == "maps n2" {
			return errGone
		}
		return nil
	}
	w.syncs = func(node, peer string) merge.Report { return merge.Report{Mailboxes: 2, Adopted: 5, Skipped: 2} }
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true}))
	if got := w.asked(); !strings.HasSuffix(got, "\ndrop n1 n2: b1 b2, drop n3 n2: b1 b2, drop n4 n2: b1 b2\nadopt n3 n2") {
		t.Errorf("asked\n%s", got)
	}
	if n := w.state("n2"); n.State != directory.Out {
		t.Errorf("node is %+v", n)
	}
	if want := "5 messages were recovered from second copies\n1 mailbox keeps one copy of new mail only (delivery one): " +
		"what was not merged before is on the disk of node n2,\nand comes back with it\n"; w.out.String() != want {
		t.Errorf("it says %q", &w.out)
	}
	w.fault = nil
	must(t, w.do(Options{Verb: "evict", Args: []string{"n2"}, Yes: true}))
	if got := w.asked(); strings.Contains(got, "n2") && !strings.Contains(got, "adopt n3 n2") || !strings.Contains(w.out.String(), "[ ] its SSH host key") {
		t.Errorf("asked\n%s\nand says\n%s", got, &w.out)
	}
	w.expectError(w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true}), diag.Refused, `node "n2" is evicted since`, "rp-failover admit n2")
	must(t, w.do(Options{Verb: "admit", Args: []string{"n2"}, Yes: true}))
	if n := w.state("n2"); n.State != directory.Out || !strings.Contains(w.out.String(), "trusted by the keys and the password of its entry") {
		t.Errorf("node is %+v; says %s", n, &w.out)
	}
	w.expectError(w.do(Options{Verb: "admit", Args: []string{"n2"}, Yes: true}), diag.Refused, `node "n2" is out, not evicted`)
}

// Of a lost node's mailboxes only those are told that it served: of the others it had the second copies.
func TestLostLeavesBehind(t *testing.T) {
	w := newWorld(t)
	w.fault = func(call string) error {
		if call == "maps n2" {
			return errGone
		}
		return nil
	}
	w.syncs = func(node, peer string) merge.Report { return merge.Report{Mailboxes: 5, Skipped: 5, Left: 5} }
	err := w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true})
	w.expectError(err, diag.Partial, `what users of 2 mailboxes did since the last merge may be on node "n2" only`, "rp-failover in n2")
}

// Killed before or after any step, the next run goes on to the same end, and says from where.
func TestResume(t *testing.T) {
	for _, verb := range []string{"out", "in"} {
		w := newWorld(t)
		from, to := directory.Up, directory.Out
		if verb == "in" {
			from, to = directory.Out, directory.Up
			w.set("n2", directory.Out, "ada", noon.Add(-time.Hour))
		}
		o := Options{Verb: verb, Args: []string{"n2"}, Yes: true}
		for n := 1; ; n++ {
			w.set("n2", from, "ada", noon.Add(-time.Hour))
			c, err := w.change(o)
			must(t, err)
			must(t, os.MkdirAll(w.config.failover.State, 0o700))
			ctx, kill := context.WithCancel(t.Context())
			d := &dying{w, c.store, kill, n}
			c.peers, c.store = d, d
			err = c.run(ctx)
			if kill(); d.n > 0 {
				if n < 15 || err != nil {
					t.Errorf("%s ends after %d steps: %v", verb, n, err)
				}
				break
			}
			if err := w.do(o); err != nil {
				t.Errorf("%s killed at step %d: %v", verb, n, err)
			}
			if s := w.state("n2").State; s != to {
				t.Errorf("%s killed at step %d: node is %s", verb, n, s)
			}
			if left, _ := filepath.Glob(filepath.Join(w.config.failover.State, "*.json")); len(left) > 0 {
				t.Errorf("%s killed at step %d: %q are left", verb, n, left)
			}
			// Once the users have moved, what comes after that is done again.
			if got := w.asked(); !strings.Contains(got, "kick n4") && !strings.Contains(w.errs.String(), "already") {
				t.Errorf("%s killed at step %d: the next run only asks\n%s", verb, n, got)
			}
		}
	}
}

// An interrupted run has told how far it was.
func TestResumeSaysSo(t *testing.T) {
	w := newWorld(t)
	w.fault = func(call string) error {
		if call == "sync n2 n3" {
			return errGone
		}
		return nil
	}
	err := w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Reason: "a new disk"})
	w.expectError(err, diag.TryAgain, `node "n2" stays draining: merging the mailboxes of node "n2" with those of node "n3": gone`, "run the same command again")
	w.fault = nil
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true}))
	if want := "going on with out of node \"n2\", begun 2026-03-01 12:00 UTC by ada; the last step was \"merging mailboxes, pass 1\"\n"; w.errs.String() != want {
		t.Errorf("it says %q, want %q", &w.errs, want)
	}
	if n := w.state("n2"); n.State != directory.Out || n.Reason != "a new disk" {
		t.Errorf("node is %+v", n)
	}
	// Without the journal, the state says it.
	w.set("n2", directory.Returning, "bob", noon.Add(-time.Hour))
	must(t, w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true}))
	if want := "node \"n2\" is returning since 2026-03-01 11:00 UTC, by bob: going on from there\n"; w.errs.String() != want {
		t.Errorf("it says %q, want %q", &w.errs, want)
	}
}

// Users do not move before what they have is on the other side, whatever kept it from going there.
func TestUnequal(t *testing.T) {
	for why, left := range map[string]merge.Report{
		"the two do not reach each other": {Mailboxes: 3, Skipped: 3, Left: 3, Unreachable: []string{"n9"}, Why: []string{`node "n9": no route`}},
		"one cannot be read":              {Mailboxes: 3, Merged: 2, Failed: 1, Left: 1, Why: []string{"b1@example.org: it is damaged"}},
		"another merge has one":           {Mailboxes: 3, Merged: 2, Busy: 1, Left: 1, Why: []string{"b1@example.org: held"}},
	} {
		t.Run(why, func(t *testing.T) {
			w := newWorld(t)
			w.syncs = func(string, string) merge.Report {
				r := left
				r.Why = slices.Clone(left.Why)
				return r
			}
			w.expectError(w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true}), diag.TryAgain,
				fmt.Sprintf("node \"n2\" stays draining: %s could not be merged\non node \"n2\": %s", plural(left.Left, "mailbox"), left.Why[0]), "--insist standby")
			if n := strings.Count(w.asked(), "sync n2 n3"); n < 2 || w.state("n2").State != directory.Draining {
				t.Errorf("after %d merges it is %s", n, w.state("n2").State)
			}
			w.expectError(w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Insist: []string{"standby"}}), diag.Partial, `node "n2" is out, but:`)
			w.expectError(w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true, Insist: []string{"flip-flop"}}), diag.TryAgain, `node "n2" stays returning: `, left.Why[0])
			w.syncs = nil
			must(t, w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true}))
		})
	}
}

// Who interrupts a change is told where it was, and how it goes on.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	c, err := w.change(Options{Verb: "out", Args: []string{"n2"}, Yes: true})
	must(t, err)
	must(t, os.MkdirAll(w.config.failover.State, 0o700))
	ctx, interrupt := context.WithCancel(t.Context())
	w.fault = func(call string) error {
		if call == "sync n2 n3" {
			interrupt()
			return ctx.Err()
		}
		return nil
	}
	err = c.run(ctx)
	w.expectError(err, diag.Failed, `interrupted; the last step was "merging mailboxes, pass 1"`, "run the same command again")
	if errors.Is(err, context.Canceled) {
		t.Error("package app would say no more than that it was interrupted")
	}
}

// What stands in the way halfway says where the node is then, and both ways out.
func TestRefusedHalfway(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.hooks, 0o755))
	must(t, os.WriteFile(filepath.Join(w.hooks, "no"), []byte("#!/bin/sh\n[ \"$1 $4\" != \"before out\" ]\n"), 0o755))
	out := Options{Verb: "out", Args: []string{"n2"}, Yes: true}
	w.expectError(w.do(out), diag.Refused, `a hook is against it, node "n2" stays draining`, "run the same command again to go on, or to go back: rp-failover in n2")
	must(t, os.RemoveAll(w.hooks))
	w.fault = func(call string) error {
		if call == "sync n2 n3" {
			w.set("n3", directory.Out, "bob", noon)
		}
		return nil
	}
	err := w.do(out)
	w.expectError(err, diag.Refused, "node \"n2\" stays draining, as others changed states meanwhile\nlast-node: no node would serve",
		"--insist last-node --insist second-out goes on all the same; to go back: rp-failover in n2")
	if strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("it says %v", err)
	}
}

// A machine that asks for what is done already is answered too.
func TestAlreadyAsJSON(t *testing.T) {
	w := newWorld(t)
	w.set("n2", directory.Out, "ada", noon.Add(-time.Hour))
	env := &app.Env{Stdout: &w.out, Stderr: &w.errs, Now: func() time.Time { return noon }}
	o := Options{Verb: "out", Args: []string{"n2"}, Node: "n2", Yes: true, JSON: true, Config: w.path}
	must(t, runChange(t.Context(), env, o, w.config))
	var did outcome
	must(t, json.Unmarshal(w.out.Bytes(), &did))
	if did.State != "out" || did.Plan == nil || did.Plan.From != "out" || did.Plan.To != "out" || len(did.Plan.Moves) > 0 {
		t.Errorf("it says %s", &w.out)
	}
	w.out.Reset()
	o.Args = []string{"out", "n2"}
	must(t, runPlan(t.Context(), env, o, w.config))
	var would plan
	must(t, json.Unmarshal(w.out.Bytes(), &would))
	if would.From != "out" || would.To != "out" || len(would.Moves) > 0 {
		t.Errorf("it says %s", &w.out)
	}
}

// What cannot be done afterwards is said by name, and is not a failure of the change.
func TestSilentNodes(t *testing.T) {
	w := newWorld(t)
	w.fault = func(call string) error {
		switch call {
		case "maps n4":
			return errGone
		case "kick n1 n2: b1 b2":
			return errors.New("no doveadm")
		}
		return nil
	}
	err := w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Wait: 20 * time.Millisecond})
	w.expectError(err, diag.Partial, "node \"n2\" is out, but:\nnode \"n4\" has not published maps made from the new state: gone\n1 warning above", "goes on by its old maps")
	if !strings.Contains(w.errs.String(), `warning: the sessions at node "n1" have not ended: no doveadm`) {
		t.Errorf("it says %q", &w.errs)
	}
	if strings.Contains(w.asked(), "kick n4") {
		t.Error("a node that does not answer is asked again")
	}
}

// The hooks know what happens, and one before can stop it.
func TestHooks(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.hooks, 0o755))
	log := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(filepath.Join(w.hooks, "10-note"), []byte("#!/bin/sh\necho \"$@\" >>"+log+"\nexec cat >>"+log+"\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.hooks, "20-no.disabled"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.hooks, "30-no"), []byte("#!/bin/sh\nexit 1\n"), 0o644))
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true, Reason: "fire"}))
	text, err := os.ReadFile(log)
	must(t, err)
	facts := `"verb":"out","node":"n2","from":"up","to":"out","lost":true,"reason":"fire","by":"ada","time":"2026-03-01T12:00:00Z","mailboxes":2,"sites":1}` + "\n"
	want := "before n2 up out\n{\"when\":\"before\"," + facts + "after n2 up out\n{\"when\":\"after\"," + facts
	if string(text) != want {
		t.Errorf("the hooks know\n%s\nwant\n%s", text, want)
	}
	must(t, os.WriteFile(filepath.Join(w.hooks, "20-no"), []byte("#!/bin/sh\n[ $1 = after ] || { echo not on a Sunday >&2; exit 1; }\n"), 0o755))
	w.expectError(w.do(Options{Verb: "out", Args: []string{"n3"}, Yes: true, Insist: Guards}), diag.Refused, `a hook is against it, node "n3" stays up`, "not on a Sunday")
	if n := w.state("n3"); n.State != directory.Up {
		t.Errorf("node is %+v", n)
	}
}

// Two admins take away two nodes at once: one of them goes back.
func TestTwoAdmins(t *testing.T) {
	w := newWorld(t)
	first, err := w.change(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true, By: "ada"})
	must(t, err)
	second, err := w.change(Options{Verb: "out", Args: []string{"n3"}, Yes: true, Lost: true, By: "bob"})
	must(t, err)
	must(t, os.MkdirAll(w.config.failover.State, 0o700))
	for _, c := range []*change{first, second} {
		_, err := c.already()
		must(t, err)
		must(t, c.weigh(t.Context()))
		must(t, joinRefusals(c.Verb, c.Node, c.plan.Refusals))
	}
	must(t, first.lose(t.Context()))
	err = second.lose(t.Context())
	w.expectError(err, diag.Refused, `node "n3" is up again: node "n2" became out at the same time since 2026-03-01 12:00 UTC, by ada`, "talk to each other")
	if a, b := w.state("n2").State, w.state("n3"); a != directory.Out || b.State != directory.Up || !b.Since.IsZero() {
		t.Errorf("n2 is %s, n3 %+v", a, b)
	}
}

// The same node: the second admin is told who was faster.
func TestTwoAdminsOneNode(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.config.failover.State, 0o700))
	c, err := w.change(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true})
	must(t, err)
	_, err = c.already()
	must(t, err)
	must(t, c.weigh(t.Context()))
	w.set("n2", directory.Draining, "bob", noon)
	w.expectError(c.lose(t.Context()), diag.Refused, `node "n2" was changed meanwhile: it is draining since 2026-03-01T12:00:00Z, by bob`)
}

// A dry run asks, says what it would do, and changes nothing.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, DryRun: true}))
	if got := w.asked(); got != "" {
		t.Errorf("asked\n%s", got)
	}
	if n := w.state("n2"); n.State != directory.Up {
		t.Errorf("node is %+v", n)
	}
	for _, want := range []string{"would write that node \"n2\" is draining; it is up\n", "would have node \"n2\" merge its mailboxes with those of node \"n3\"\n",
		"would write that node \"n2\" is out; it is draining\n", "would end the sessions of 2 users at node \"n4\"\n", "would run the hooks after node \"n2\" goes from draining to out\n"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &w.out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(w.config.failover.State, "*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// Without a terminal nothing is done that nobody said yes to.
func TestNobodyToAsk(t *testing.T) {
	w := newWorld(t)
	w.expectError(w.do(Options{Verb: "out", Args: []string{"n2"}}), diag.Usage, "there is no terminal to ask on", "--yes")
	if n := w.state("n2"); n.State != directory.Up {
		t.Errorf("node is %+v", n)
	}
	w.expectError(w.do(Options{Verb: "out", Args: []string{"n9"}, Yes: true}), diag.Usage, `there is no node "n9"`, "the nodes are n1, n2, n3, n4")
}

// However the two meet, never are both nodes away, and who goes back says so.
func TestTwoAdminsRace(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.config.failover.State, 0o700))
	taken := 0
	for round := range 20 {
		lost := round%2 == 0
		errs := map[string]error{}
		var all sync.WaitGroup
		for _, node := range []string{"n2", "n3"} {
			w.set(node, directory.Up, "", time.Time{})
			c, err := w.change(Options{Verb: "out", Args: []string{node}, Yes: true, Lost: lost, By: "admin of " + node})
			must(t, err)
			c.env.Stdout, c.env.Stderr = io.Discard, io.Discard
			all.Go(func() {
				err := c.run(t.Context())
				w.lock.Lock()
				defer w.lock.Unlock()
				errs[node] = err
			})
		}
		all.Wait()
		away := 0
		for node, err := range errs {
			s := w.state(node).State
			// Who came first may find the other not gone yet, and then stays on the way, to be gone on with.
			if refused := err != nil && diag.KindOf(err) == diag.Refused; refused != (s == directory.Up || s == directory.Draining) {
				t.Errorf("round %d: node %q is %s, its admin is told %v", round, node, s, err)
			}
			if s != directory.Up {
				away++
			}
		}
		if away > 1 {
			t.Errorf("round %d: both nodes are away: %v", round, errs)
		}
		taken += away
	}
	if taken == 0 {
		t.Error("nobody ever wins")
	}
	t.Logf("in %d of 20 rounds one node was taken out", taken)
}

// A failover is one write to the directory, by the provider's own log, however many users there are.
func TestWrites(t *testing.T) {
	w := newWorld(t)
	logged := func() int {
		dns, err := w.slapd.Writes()
		must(t, err)
		return len(dns)
	}
	for _, c := range []struct {
		o    Options
		want int
	}{
		{Options{Verb: "out", Args: []string{"n2"}, Lost: true}, 1},
		{Options{Verb: "in", Args: []string{"n2"}}, 2},
		{Options{Verb: "out", Args: []string{"n2"}}, 2},
		{Options{Verb: "evict", Args: []string{"n2"}}, 1},
		{Options{Verb: "admit", Args: []string{"n2"}}, 1},
		{Options{Verb: "out", Args: []string{"n3"}}, 0}, // refused
		{Options{Verb: "out", Args: []string{"n1"}, DryRun: true, Insist: Guards}, 0},
	} {
		before := logged()
		if c.o.Yes = true; c.want > 0 {
			c.o.Insist = []string{"flip-flop"}
		}
		if err := w.do(c.o); c.want > 0 {
			must(t, err)
		}
		if n := logged() - before; n != c.want {
			t.Errorf("%s %s: %d writes, want %d", c.o.Verb, c.o.Args[0], n, c.want)
		}
	}
}

// A node that was away for longer than any lag that would be borne is waited for
// when it comes in; one that is to take over is not.
func TestWaitsForWhoComesBack(t *testing.T) {
	w := newWorld(t)
	late := func(node string, asks int) {
		r := *w.report(node)
		r.Directory = "csn:20250101000000.000000Z#000000#000#000000"
		w.reports[node] = &r
		w.fault = func(call string) error {
			if call == "status "+node {
				if asks--; asks == 0 {
					delete(w.reports, node)
				}
			}
			return nil
		}
	}
	must(t, w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Lost: true}))
	w.now = time.Now().Add(time.Hour)
	late("n2", 4)
	must(t, w.do(Options{Verb: "in", Args: []string{"n2"}, Yes: true, Insist: []string{"flip-flop"}}))
	if w.reports["n2"] != nil {
		t.Error("it came in with a directory of last year")
	}
	late("n3", 4)
	w.expectError(w.do(Options{Verb: "out", Args: []string{"n2"}, Yes: true, Insist: []string{"flip-flop"}}), diag.Refused, `the directory of node "n3" lacks what was written`)
}
