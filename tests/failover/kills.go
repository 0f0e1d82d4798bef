package failover

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// afterKills are the limits where servers are killed under their users, and afterMoves
// where they are killed while users are moved, one time after the other, see moved.
var (
	afterKills = judge.Limits{"refused": -1, "unavailable": -1, "pages": -1, "outage": 60}
	afterMoves = judge.Limits{"refused": -1, "unavailable": -1, "pages": -1, "outage": 60, "filed": 2, "resurrected": 2, "flags": 2, "folders": 2}
)

// victim is what is killed, on all nodes at once; kill says what it killed where.
type victim struct {
	name string
	kill func(*world) []string
}

var victims = []victim{
	{"rp-failover", func(w *world) []string { return w.killPrograms("rp-failover") }},
	{"doveadm", func(w *world) []string { return w.killPrograms("doveadm", "doveadm-server") }},
	{"slapd", (*world).killSlapd},
}

func (w *world) killPrograms(names ...string) (all []string) {
	w.Helper()
	for _, n := range w.Nodes {
		for _, name := range names {
			killed, err := n.KillProgram(w.ctx, name)
			w.ok(err)
			if killed {
				all = append(all, name+" on "+n.Name)
			}
		}
	}
	return all
}

// killSlapd kills that of the provider and of one more node, as somebody's init starts them again.
func (w *world) killSlapd() (all []string) {
	w.Helper()
	both := []*lab.Node{w.Provider(), w.Node("n2")}
	for _, n := range both {
		w.ok(n.Kill(w.ctx, lab.Slapd))
		all = append(all, "slapd on "+n.Name)
	}
	for _, n := range both {
		w.ok(n.Start(w.ctx, lab.Slapd))
	}
	w.ok(w.WaitReplicated(w.ctx, slices.DeleteFunc(slices.Clone(w.Nodes), func(n *lab.Node) bool { return !w.cron.here(n) })...))
	return all
}

// killsOut kills something at every step of out; run again, it ends well.
func killsOut(w *world) {
	n := w.Node("n2")
	w.interrupt(n, true, nil, func() { w.in(n) }, "out", "--yes", "--verbose", n.Name)
}

// killsLost does the same to out --lost, of a node that is cut off.
func killsLost(w *world) {
	n := w.Node("n2")
	w.interrupt(n, true, func() { w.cut(n) }, func() {
		w.ok(n.Mend(w.ctx))
		w.cron.mind(n)
		w.in(n)
	}, "out", "--lost", "--yes", "--verbose", n.Name)
}

// killsIn does the same to in.
func killsIn(w *world) {
	n := w.Node("n2")
	w.out(n)
	w.interrupt(n, false, nil, func() { w.out(n) }, "in", "--yes", "--verbose", n.Name)
}

// interrupt prepares and starts a command, kills each victim at each step, or at two, runs the command
// again until it ends well, after which the node is absent or not, and undoes it.
func (w *world) interrupt(n *lab.Node, absent bool, before, undo func(), command ...string) {
	w.Helper()
	w.live(1)
	run := func(at int, v victim) (steps int, killed bool) {
		w.Helper()
		if before != nil {
			before()
		}
		if steps, killed = w.breakOff(w.Provider(), at, v, command...); at > 0 {
			w.again(command...)
		}
		w.absent[n.Name] = absent
		w.lit()
		undo()
		return steps, killed
	}
	steps, _ := run(0, victim{})
	for _, v := range victims {
		kills := 0
		for _, at := range w.r.Perm(steps) {
			if kills == 2 && !w.size.every {
				break
			}
			if _, killed := run(at+1, v); killed {
				kills++
			}
		}
		if kills < 2 {
			w.Errorf("%s was killed %d times in the %d steps of %q, want 2 at least", v.name, kills, steps, command)
		}
	}
	if w.absent[n.Name] {
		w.in(n)
	}
	w.settle()
	w.reportKilledCron()
	w.verdict(afterMoves)
}

// breakOff runs rp-failover and, when it tells of its step number at, kills something; where nothing of the kind runs just then,
// at a later step. It returns the number of steps told, once the command has ended in whatever way. At 0 nothing is killed.
func (w *world) breakOff(on *lab.Node, at int, v victim, args ...string) (steps int, killed bool) {
	w.Helper()
	// nsenter must not be what is killed when the context ends; pkill has that duty.
	cmd := on.Command(context.WithoutCancel(w.ctx), append([]string{"rp-failover"}, args...)...)
	stderr, told := io.Pipe()
	cmd.Stderr = told
	w.ok(cmd.Start())
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		told.Close()
		ended <- err
	}()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		w.Logf("| %s", lines.Text())
		if strings.HasPrefix(lines.Text(), "rp-failover: ") || strings.HasPrefix(lines.Text(), "hint:") { // the end
			continue
		}
		if steps++; at == 0 || steps < at || killed {
			continue
		}
		if what := v.kill(w); len(what) > 0 {
			killed = true
			w.Logf("killed %s at step %d: %s", strings.Join(what, ", "), steps, lines.Text())
		}
	}
	select {
	case err := <-ended:
		if killed && v.name == "rp-failover" && (err == nil || status(err) != -1) {
			killed = false
			w.Logf("what was killed were others: rp-failover %s had ended, %v", args[0], err)
		}
	case <-w.ctx.Done():
		w.Fatalf("rp-failover %q does not end", args)
	}
	if at > 0 && !killed {
		w.Logf("no %s was killed from step %d of %d on", v.name, at, steps)
	}
	return steps, killed
}

// again runs a command that was broken off, until it ends well; one that had
// done all already may say that there is nothing to do.
func (w *world) again(args ...string) {
	w.Helper()
	for try := 1; ; try++ {
		out, code := w.failover(w.Provider(), args...)
		if code == 0 || code == 3 && slices.Contains(args, "--lost") && !strings.Contains(out, "has not published maps") { // see gone
			return
		}
		if try == 5 {
			w.Fatalf("rp-failover %q was run %d times and ended with %d", args, try, code)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// killsSync kills something while standbys are merged, at steps and at any time.
func killsSync(w *world) {
	w.live(1)
	kills := map[bool]int{true: 40, false: 8}[w.size.every]
	tries := 3 * kills
	for ; kills > 0 && tries > 0; tries-- {
		w.meanwhile(0.02 + 0.03*w.r.Float64())
		n := w.Nodes[w.r.IntN(len(w.Nodes))]
		if _, killed := w.breakOff(n, 1+w.r.IntN(4), victims[w.r.IntN(len(victims))], "sync", "--verbose", "--wait", "20s"); killed {
			kills--
		}
	}
	if kills > 0 {
		w.Errorf("there were %d kills too few", kills)
	}
	w.settle()
	w.reportKilledCron()
	w.verdict(afterKills)
}

// reportKilledCron takes note of what cron said without holding it against
// anybody: its commands were among those killed.
func (w *world) reportKilledCron() {
	for _, line := range w.cron.end() {
		w.Logf("cron: %s", line)
	}
	w.cron = nil
}

// fullDisk fills the disk of a standby: nobody notices, and once there is
// room again all is merged.
func fullDisk(w *world) {
	n := w.Node("n3")
	w.users = slices.DeleteFunc(w.users, func(u lab.User) bool { return u.Active() == n.Name })
	w.ok(n.OwnDisk(w.ctx, "/var/vmail"))
	w.live(1)
	w.meanwhile(0.3)
	w.ok(n.Stuff(w.ctx, "/var/vmail", 200))
	w.meanwhile(0.3)
	w.ok(n.Unstuff(w.ctx, "/var/vmail"))
	w.settle()
	w.reportKilledCron()
	w.verdict(judge.Limits{"folders": 1}) // one that was renamed while it could not be there may be back, empty
}
