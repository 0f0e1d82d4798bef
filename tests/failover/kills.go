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
	afterKills = judge.Limits{"refused": -1, "unavailable": -1, "pages": -1}
	afterMoves = judge.Limits{"refused": -1, "unavailable": -1, "pages": -1, "resurrected": 2, "flags": 2, "folders": 2}
)

// victims are what is killed, on all nodes at once.
var victims = []struct {
	name string
	kill func(*world)
}{
	{"rp-failover", func(w *world) { w.killPrograms("rp-failover") }},
	{"doveadm", func(w *world) { w.killPrograms("doveadm", "doveadm-server") }},
	{"slapd", func(w *world) { w.killSlapd() }},
}

func (w *world) killPrograms(names ...string) {
	w.Helper()
	for _, n := range w.Nodes {
		for _, name := range names {
			w.ok(n.KillProgram(w.ctx, name))
		}
	}
}

// killSlapd kills that of the provider and of one more node, as somebody's init starts them again.
func (w *world) killSlapd() {
	w.Helper()
	for _, n := range []*lab.Node{w.Provider(), w.Node("n2")} {
		w.ok(n.Kill(w.ctx, lab.Slapd))
	}
	for _, n := range []*lab.Node{w.Provider(), w.Node("n2")} {
		w.ok(n.Start(w.ctx, lab.Slapd))
	}
	w.ok(w.WaitReplicated(w.ctx))
}

// killsOut kills something at every step of out; run again, it ends well.
func killsOut(w *world) {
	n := w.Node("n2")
	w.interrupt(n, true, func() { w.in(n) }, "out", "--yes", "--verbose", n.Name)
}

// killsIn does the same to in.
func killsIn(w *world) {
	n := w.Node("n2")
	w.out(n)
	w.interrupt(n, false, func() { w.out(n) }, "in", "--yes", "--verbose", n.Name)
}

// interrupt starts a command, kills each victim at each step, runs the command
// again until it ends well, after which the node is absent or not, and undoes it.
func (w *world) interrupt(n *lab.Node, absent bool, undo func(), command ...string) {
	w.Helper()
	w.unrecorded()
	w.live(1)
	steps := w.countSteps(command)
	w.absent[n.Name] = absent
	undo()
	for _, victim := range victims {
		for _, step := range w.some(steps) {
			w.Logf("killing %s at step %d of %d of %s", victim.name, step, steps, command[0])
			w.breakOff(w.Provider(), step, victim.kill, command...)
			w.again(command...)
			w.absent[n.Name] = absent
			undo()
		}
	}
	if w.absent[n.Name] {
		w.in(n)
	}
	w.settle()
	w.reportKilledCron()
	w.verdict(afterMoves)
}

// some are all steps, or two of them.
func (w *world) some(steps int) []int {
	all := w.r.Perm(steps)
	if !w.size.every {
		all = all[:min(2, len(all))]
	}
	for i := range all {
		all[i]++
	}
	return all
}

// countSteps runs a command to its end and counts what it tells of its steps.
func (w *world) countSteps(command []string) int {
	w.Helper()
	steps := w.breakOff(w.Provider(), -1, nil, command...)
	if steps == 0 {
		w.Fatalf("rp-failover %q tells no step", command)
	}
	return steps
}

// breakOff runs rp-failover and, when it tells of its step number at, kills
// something. It returns the number of steps told, once the command has ended in whatever way.
func (w *world) breakOff(on *lab.Node, at int, kill func(*world), args ...string) (steps int) {
	w.Helper()
	// nsenter must not be what is killed when the context ends; pkill has that duty.
	cmd := on.Command(context.WithoutCancel(w.ctx), append([]string{"rp-failover"}, args...)...)
	stderr, told := io.Pipe()
	cmd.Stderr = told
	w.ok(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		told.Close()
		close(ended)
	}()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		w.Logf("| %s", lines.Text())
		if strings.HasPrefix(lines.Text(), "hint:") {
			continue
		}
		if steps++; steps == at && kill != nil {
			kill(w)
		}
	}
	select {
	case <-ended:
	case <-w.ctx.Done():
		w.Fatalf("rp-failover %q does not end", args)
	}
	return steps
}

// again runs a command that was broken off, until it ends well; one that had
// done all already may say that there is nothing to do.
func (w *world) again(args ...string) {
	w.Helper()
	for try := 1; ; try++ {
		_, code := w.failover(w.Provider(), args...)
		if code == 0 {
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
	w.unrecorded()
	w.live(1)
	for range map[bool]int{true: 40, false: 8}[w.size.every] {
		victim := victims[w.r.IntN(len(victims))]
		w.meanwhile(0.02 + 0.03*w.r.Float64())
		n := w.Nodes[w.r.IntN(len(w.Nodes))]
		w.breakOff(n, 1+w.r.IntN(4), victim.kill, "sync", "--verbose", "--wait", "20s")
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
