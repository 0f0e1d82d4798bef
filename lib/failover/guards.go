package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rplan/lib/directory"
	"rplan/lib/source"
)

// facts are what the guards look at: all that was asked before a change.
type facts struct {
	plan     *plan
	snapshot *directory.Snapshot
	states   []source.NodeState // as the provider has them
	of       states
	version  source.Version    // of the provider, before the nodes were asked
	after    source.Version    // and after
	answers  map[string]answer // of all nodes but evicted ones
	self     string            // the node that this runs on
	now      time.Time
	settings *Settings
}

// answer is what came of asking a node.
type answer struct {
	report *NodeReport
	err    error
	skew   time.Duration // its clock against this node's, at least
	behind bool          // its directory did not catch up while it was waited for
}

// refusal is what a guard has against a change.
type refusal struct {
	Guard    string `json:"guard"`
	Text     string `json:"text"`
	Insisted bool   `json:"insisted"` // and it is done all the same
}

// guards are what keeps an admin from making it worse. Each says what it has
// against the change, in lines of their own, or nothing.
var guards = []struct {
	name  string
	verbs string // that it is asked at
	check func(*facts) []string
}{
	{"last-node", "out evict", lastNode},
	{"second-out", "out evict", secondOut},
	{"standby", "out in evict", unreachable},
	{"replica", "out in", replicas},
	{"flip-flop", "out in", flipFlop},
	{"checks", "out in", checks},
}

// ask asks all guards of the verb.
func (f *facts) ask(insist []string) []refusal { return f.askSome(Guards, insist) }

func (f *facts) askSome(names, insist []string) []refusal {
	refusals := []refusal{}
	for _, g := range guards {
		if !slices.Contains(strings.Fields(g.verbs), f.plan.Verb) || !slices.Contains(names, g.name) {
			continue
		}
		for _, text := range g.check(f) {
			refusals = append(refusals, refusal{g.name, text, slices.Contains(insist, g.name)})
		}
	}
	return refusals
}

// lastNode is against taking away the last node that serves somebody.
func lastNode(f *facts) (against []string) {
	if c := f.plan.unserved(); !c.none() {
		names := make([]string, 0, len(f.plan.Unserved))
		for _, m := range f.plan.Unserved {
			names = append(names, m.Placement)
		}
		against = append(against, fmt.Sprintf("no node would serve %s (%s %s)", c, word(len(names), "placement"), some(names)))
	}
	if len(f.plan.Roles) > 0 {
		against = append(against, fmt.Sprintf("no other node that serves has the %s %s", word(len(f.plan.Roles), "role"), strings.Join(f.plan.Roles, ", ")))
	}
	return against
}

// secondOut is against taking away a node while another is away. An evicted
// node counts as long as a placement that is in use names it: whoever lives
// there has one node less, until an admin writes another placement.
func secondOut(f *facts) (against []string) {
	for i := range f.states {
		n := &f.states[i]
		if n.Name == f.plan.Node || n.State == directory.Up || n.State == directory.Evicted && !f.named(n.Name) {
			continue
		}
		text := fmt.Sprintf("node %q is %s%s", n.Name, n.State, remarks(&n.Node))
		if n.State == directory.Evicted {
			text += ", and placements still name it"
		}
		against = append(against, text)
	}
	return against
}

// named says whether somebody lives on a placement with this node.
func (f *facts) named(node string) bool {
	return slices.ContainsFunc(f.snapshot.Placements(), func(p *directory.Placement) bool { return slices.Contains(p.Nodes, node) })
}

// unreachable is against a move between nodes that cannot talk to each other.
func unreachable(f *facts) (against []string) {
	for _, name := range f.plan.carriers() {
		if a := f.answers[name]; a.report == nil {
			what := "would serve the users of node " + quoted(f.plan.Node)
			if f.plan.Verb == "in" {
				what = "serves its users now, and has their mail"
			}
			against = append(against, fmt.Sprintf("node %q, which %s, does not answer: %s", name, what, brief(a.err)))
		}
	}
	if a := f.answers[f.plan.Node]; f.plan.Verb == "out" && !f.plan.Lost && a.report == nil {
		against = append(against, fmt.Sprintf("node %q does not answer, so nothing can be merged from it: %s; if it is gone, take it out with --lost", f.plan.Node, brief(a.err)))
	}
	return against
}

// replicas is against nodes that do not know what was written, or know other things.
func replicas(f *facts) (against []string) {
	names := append([]string{f.self}, f.plan.carriers()...)
	if f.plan.Verb == "in" {
		names = append(names, f.plan.Node)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		r := f.answers[name].report
		if r == nil {
			continue // another guard's business
		}
		lag := r.Directory.Lag(f.version, f.now)
		switch {
		case r.Directory == "" && f.version != "":
			against = append(against, fmt.Sprintf("the directory of node %q does not say what it has: it is down, or not yet complete", name))
		case r.Directory.Divided(f.after):
			against = append(against, fmt.Sprintf("the directory of node %q has what the provider has not: the two are divided (%s; %s)", name, r.Directory, f.after))
		case f.answers[name].behind:
			against = append(against, fmt.Sprintf("the directory of node %q was waited for for %s, and still lacks what was written %s ago", name, ago(f.settings.MaxLag), ago(lag)))
		case lag > f.settings.MaxLag:
			against = append(against, fmt.Sprintf("the directory of node %q lacks what was written %s ago", name, ago(lag)))
		}
	}
	return against
}

// flipFlop is against a node that goes to and fro.
func flipFlop(f *facts) []string {
	for i := range f.states {
		n := &f.states[i]
		settled := n.State == directory.Up || n.State == directory.Out
		if n.Name == f.plan.Node && settled && !n.Since.IsZero() && f.now.Sub(n.Since) < f.settings.MinInterval {
			return []string{fmt.Sprintf("node %q is %s only%s", n.Name, n.State, remarks(&n.Node))}
		}
	}
	return nil
}

// checks is against a node that is not fit to serve.
func checks(f *facts) (against []string) {
	if f.plan.Verb == "out" {
		for _, name := range f.plan.carriers() {
			if r := f.answers[name].report; r != nil {
				against = append(against, f.full(r)...)
			}
		}
		return against
	}
	a := f.answers[f.plan.Node]
	if a.report == nil {
		return []string{fmt.Sprintf("node %q does not answer: %s", f.plan.Node, brief(a.err))}
	}
	against = f.full(a.report)
	if !f.of.serves(f.plan.Node) { // else it is draining, and goes on with what it has
		for _, dir := range a.report.Unmounted {
			against = append(against, fmt.Sprintf("%s of node %q is not mounted; see mounts in rplan.toml(5), on that node", dir, f.plan.Node))
		}
	}
	if a.skew.Abs() > f.settings.MaxClock {
		direction := "ahead"
		if a.skew < 0 {
			direction = "behind"
		}
		against = append(against, fmt.Sprintf("the clock of node %q is %s %s", f.plan.Node, ago(a.skew.Abs()), direction))
	}
	return append(against, f.otherVersions(a.report)...)
}

// full says which disks have too little left.
func (f *facts) full(r *NodeReport) (against []string) {
	for _, d := range r.Disks {
		if d.free() < float64(f.settings.MinFree) {
			against = append(against, fmt.Sprintf("the disk of %s on node %q has %.1f%% left, less than %g%%", d.Path, r.Node, d.free(), float64(f.settings.MinFree)))
		}
	}
	return against
}

// otherVersions says whose programs are not those of the node.
func (f *facts) otherVersions(r *NodeReport) (against []string) {
	for _, n := range f.states {
		other := f.answers[n.Name].report
		if other == nil || n.Name == f.plan.Node || !n.State.Serves() {
			continue
		}
		if other.Version != r.Version {
			against = append(against, fmt.Sprintf("node %q has rplan %s, node %q has %s", r.Node, r.Version, n.Name, other.Version))
		}
		if a, b := series(r.Dovecot), series(other.Dovecot); a != b && b != "" {
			against = append(against, fmt.Sprintf("node %q has Dovecot %q, node %q has %q", r.Node, a, n.Name, b))
		}
	}
	return against
}

// series is the first two numbers of a version.
func series(version string) string {
	version, _, _ = strings.Cut(version, " ")
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
