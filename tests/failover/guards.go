package failover

import (
	"regexp"
	"slices"
	"strings"

	"rplan/tests/lab"
)

// guards holds what must be refused, and what --insist says to it. Nothing
// here may change the directory.
func guards(w *world) {
	n1, n2, n3 := w.Node("n1"), w.Node("n2"), w.Node("n3")
	w.guarded("standby or checks", func() { w.ok(n3.Cut(w.ctx)) }, func() { w.ok(n3.Mend(w.ctx)) }, n2, "out", "--wait", "3s")
	w.leaves(n2)
	w.guarded("second-out", nil, nil, n3, "out")
	w.guarded("last-node", nil, nil, n1, "out", "--insist", "second-out")
	w.guarded("standby", func() { w.ok(n3.Cut(w.ctx)) }, func() { w.ok(n3.Mend(w.ctx)) }, n2, "in", "--wait", "3s")
	w.guarded("replica", func() { w.ok(n2.Kill(w.ctx, lab.Slapd)) }, func() { w.ok(n2.Start(w.ctx, lab.Slapd)) }, n2, "in", "--wait", "3s")
	w.guarded("checks", func() { w.ok(n2.WrongClock(w.ctx, "+1 hour")) }, func() { w.ok(n2.RightClock(w.ctx)) }, n2, "in", "--wait", "3s")
	w.set("min-interval", "10m") // as it is on a real node
	w.guarded("flip-flop", nil, nil, n2, "in")
	w.set("min-interval", "0s")
	w.parted("in", "returning")
	w.in(n2)
	w.set("min-interval", "10m")
	w.evicted(n3)
}

// set changes a setting of configuration on the provider, where nodes are taken in and out.
func (w *world) set(name, value string) {
	w.Helper()
	const file = "/etc/rplan/rplan.toml"
	text, err := w.Provider().Read(file)
	w.ok(err)
	w.ok(w.Provider().Write(file, regexp.MustCompile(`(?m)^(`+name+` *= ").*"`).ReplaceAllString(text, "${1}"+value+`"`)))
}

// guarded expects exit status 2 for a verb, a hint that names the guard, and the state as it was.
func (w *world) guarded(guard string, before, after func(), n *lab.Node, verb string, flags ...string) {
	w.Helper()
	if before != nil {
		before()
	}
	w.refused(guard, n, append([]string{verb}, flags...)...)
	if after != nil {
		after()
	}
	w.ok(w.WaitReplicated(w.ctx))
}

// refused is a change that must not happen, and change nothing. It returns what was said.
func (w *world) refused(guard string, n *lab.Node, verb ...string) string {
	w.Helper()
	state := w.state(n)
	out, code := w.failover(w.Provider(), append(slices.Concat(verb, []string{"--yes"}), n.Name)...)
	if code != 2 {
		w.Errorf("%q of %s for the guard %s ended with %d, want 2", verb, n.Name, guard, code)
	}
	named := false
	for _, name := range strings.Split(guard, " or ") {
		named = named || strings.Contains(out, "--insist "+name)
	}
	if !named || !strings.Contains(out, "hint: ") {
		w.Errorf("%q of %s does not say how to insist on %s: %s", verb, n.Name, guard, out)
	}
	if now := w.state(n); now != state {
		w.Fatalf("%s was %s and is %s after a refusal", n.Name, state, now)
	}
	return out
}

// says expects words of a command.
func (w *world) says(out, words string) {
	w.Helper()
	if !strings.Contains(out, words) {
		w.Errorf("nothing says %q: %s", words, out)
	}
}

// evicted evicts a node, which only admit lets return.
func (w *world) evicted(n *lab.Node) {
	w.Helper()
	p := w.Provider()
	w.cron.leave(n)
	said := w.does(p, "evict", "--yes", "--insist", "flip-flop", n.Name)
	if !strings.Contains(said, "rplanSshKey") {
		w.Errorf("evict does not say which secrets are to be replaced: %s", said)
	}
	if _, code := w.failover(p, "in", "--yes", n.Name); code == 0 || w.state(n) != "evicted" {
		w.Errorf("in of an evicted node ended with %d, and it is %s", code, w.state(n))
	}
	w.does(p, "admit", "--yes", "--insist", "flip-flop", n.Name)
	if state := w.state(n); state != "out" {
		w.Errorf("%s was admitted and is %s", n.Name, state)
	}
}
