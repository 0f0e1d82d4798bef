package failover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
)

// overview is what status shows, as --json prints it.
type overview struct {
	Time     time.Time    `json:"time"`
	Verdict  string       `json:"verdict"` // well, degraded or failing
	Problems []string     `json:"problems"`
	Nodes    []nodeStatus `json:"nodes"`
	Unserved counts       `json:"unserved"` // that no node serves
	Alone    counts       `json:"alone"`    // that no second node keeps a copy of
	Provider bool         `json:"provider"` // whether the provider was asked; else the newest copy stands for it
}

// nodeStatus is one node in the overview.
type nodeStatus struct {
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Roles  string    `json:"roles"`
	Ring   int       `json:"ring"`
	burden
	merges  bool        // it keeps mailboxes, so sync has to run there
	Report  *NodeReport `json:"report"`
	Error   string      `json:"error"` // why there is none
	Lag     float64     `json:"lag"`   // seconds that its directory lacks something, at least
	Divided bool        `json:"divided"`
	Clock   float64     `json:"clock"` // seconds that its clock is off, at least
}

const (
	well     = "well"
	degraded = "degraded"
	failing  = "failing"
)

// staleMaps is how old maps are that cron should have looked at long ago.
const staleMaps = 10 * time.Minute

// staleMerge is how long a mailbox may wait to be merged, as cron does it every two minutes.
const staleMerge = 30 * time.Minute

// runStatus shows how things are. Its exit code is for monitoring: 3 where
// something is amiss but all are served.
func runStatus(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	read, err := readDirectory(ctx, env, c)
	if err != nil {
		return err
	}
	snapshot := read.Snapshot
	before, asked := providerVersion(ctx, c)
	var names []string
	for _, n := range snapshot.Nodes {
		if n.State != directory.Evicted {
			names = append(names, n.Name)
		}
	}
	answers := askAll(ctx, newPeers(env, o, c, snapshot), names, env.Now)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	after, _ := providerVersion(ctx, c)
	if !asked {
		before = newest(answers)
		after = before
	}
	v := newOverview(snapshot, answers, before, after, env.Now(), &c.failover)
	v.Provider = asked
	if o.JSON {
		if err := env.PrintJSON(v); err != nil {
			return err
		}
	} else {
		fmt.Fprint(env.Stdout, v.text())
	}
	switch v.Verdict {
	case failing:
		return diag.Failed.Errorf("%s", v.worst())
	case degraded:
		return diag.Partial.Errorf("all users are served, but %s", v.worst())
	}
	return nil
}

// providerVersion asks the provider, if that needs nobody's password typed in.
func providerVersion(ctx context.Context, c *configuration) (source.Version, bool) {
	f := &c.failover
	if f.AdminDN != "" && f.AdminPasswordFile == "" {
		return "", false
	}
	store, err := newStore(ctx, nil, c)
	if err != nil {
		return "", false
	}
	_, version, err := store.States(ctx)
	return version, err == nil
}

// newest is the version that no other node's copy is older than.
func newest(answers map[string]answer) (v source.Version) {
	for _, a := range answers {
		if a.report != nil && (v == "" || v.Older(a.report.Directory)) {
			v = a.report.Directory
		}
	}
	return v
}

// newOverview puts together what the directory and the nodes say.
func newOverview(s *directory.Snapshot, answers map[string]answer, before, after source.Version, now time.Time, settings *Settings) *overview {
	v := &overview{Time: now.UTC(), Verdict: well, Problems: []string{}, Nodes: []nodeStatus{}}
	u := newUsage(s)
	burdens := u.burdens(s.StateOf)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		one := nodeStatus{Name: n.Name, State: n.State.String(), Since: n.Since, Reason: n.Reason, By: n.By, Roles: n.Roles.String(), Ring: n.Ring}
		if b := burdens[n.Name]; b != nil {
			one.burden = *b
		}
		one.merges = n.Roles.Has(directory.IMAP) && one.Active.Mailboxes+one.Standby.Mailboxes > 0
		a, asked := answers[n.Name]
		if one.Report = a.report; a.report != nil {
			one.Clock = a.skew.Seconds()
			one.Divided = a.report.Directory.Divided(after)
			one.Lag = a.report.Directory.Lag(before, now).Seconds()
		} else if asked && a.err != nil {
			one.Error = brief(a.err)
		}
		v.Nodes = append(v.Nodes, one)
	}
	if b := burdens[""]; b != nil {
		v.Unserved, v.Alone = b.Active, b.Standby
		v.Alone.Lists = 0 // a list lives on one node
	}
	v.judge(s, settings)
	return v
}

func (v *overview) amiss(verdict, format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	if verdict == failing || v.Verdict == well {
		v.Verdict = verdict
	}
}

// judge says what is not as it should be, the worst first.
func (v *overview) judge(s *directory.Snapshot, settings *Settings) {
	lists := v.Unserved.Lists
	if users := (counts{Mailboxes: v.Unserved.Mailboxes, Sites: v.Unserved.Sites}); !users.none() {
		v.amiss(failing, "no node serves %s", users)
	}
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.State == directory.Up.String() && n.Error != "" {
			v.amiss(failing, "node %s is up and does not answer: %s", n.Name, n.Error)
		}
	}
	if lists > 0 {
		v.amiss(degraded, "%s, as the node that has %s does not serve; man rp-failover, LISTS", verbFor(lists, "list", "rests", "rest"), itThem(lists))
	}
	if !v.Alone.none() {
		v.amiss(degraded, "no second node is ready to serve %s", v.Alone)
	}
	for i := range v.Nodes {
		n := &v.Nodes[i]
		node := s.Node(n.Name)
		used := slices.ContainsFunc(s.Placements(), func(p *directory.Placement) bool { return slices.Contains(p.Nodes, n.Name) })
		switch {
		case node.State == directory.Evicted && used:
			v.amiss(degraded, "node %s is evicted%s, and placements still name it", n.Name, remarks(node))
		case node.State != directory.Up && node.State != directory.Evicted:
			v.amiss(degraded, "node %s is %s%s", n.Name, n.State, remarks(node))
		}
		if node.State.Serves() || node.State == directory.Returning {
			v.judgeNode(n, settings)
		}
	}
}

// judgeNode is about a node that has to work.
func (v *overview) judgeNode(n *nodeStatus, settings *Settings) {
	r := n.Report
	if r == nil {
		if n.State != directory.Up.String() {
			v.amiss(degraded, "node %s does not answer: %s", n.Name, n.Error)
		}
		return
	}
	switch {
	case n.Divided:
		v.amiss(degraded, "the directory of node %s has what the provider has not", n.Name)
	case r.Directory == "":
		v.amiss(degraded, "the directory of node %s does not say what it has: it is down, or not yet complete", n.Name)
	case n.Lag > settings.MaxLag.Seconds():
		v.amiss(degraded, "the directory of node %s lacks what was written %s ago", n.Name, ago(seconds(n.Lag)))
	}
	if age := r.age(r.Maps.At); age < 0 || age > staleMaps {
		v.amiss(degraded, "the maps of node %s are %s: rp-genmaps does not run there, or fails", n.Name, mapsAge(r))
	}
	if clock := seconds(n.Clock).Abs(); clock > settings.MaxClock {
		v.amiss(degraded, "the clock of node %s is off by %s", n.Name, ago(clock))
	}
	for _, dir := range r.Unmounted {
		v.amiss(degraded, "%s of node %s is not mounted; see mounts in rplan.toml(5), on that node", dir, n.Name)
	}
	for _, d := range r.Disks {
		if d.free() < float64(settings.MinFree) {
			v.amiss(degraded, "the disk of %s on node %s has %s left, %.1f%%", d.Path, n.Name, bytesLeft(d.Free), d.free())
		}
	}
	if n.merges {
		v.judgeSync(n)
	}
}

// judgeSync is about what keeps the second copies equal. A node that has only
// such copies is told of too: it merges as soon as another one is lost.
func (v *overview) judgeSync(n *nodeStatus) {
	r := n.Report
	if r.Sync == nil {
		v.amiss(degraded, "rp-failover sync has not ended once on node %s: neither cron nor a timer runs it, it fails, or its first pass is at work", n.Name)
		return
	}
	if r.Sync.Failed > 0 {
		v.amiss(degraded, "node %s cannot merge %s", n.Name, plural(r.Sync.Failed, "mailbox"))
	}
	if age := r.age(r.Sync.At); age > staleMerge {
		v.amiss(degraded, "rp-failover sync on node %s ended %s ago and not since: it does not run there any more, it fails, or a long pass is at work", n.Name, ago(age))
	}
	if waited := seconds(float64(r.Sync.Oldest)); waited > staleMerge {
		v.amiss(degraded, "on node %s mailboxes have not been merged for %s", n.Name, ago(waited))
	}
}

// worst is what stands behind the exit code.
func (v *overview) worst() string {
	text := v.Problems[0]
	if n := len(v.Problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %s)", plural(n, "other problem"))
	}
	return text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// mapsAge says how fresh a node's maps are.
func mapsAge(r *NodeReport) string {
	if age := r.age(r.Maps.At); age >= 0 {
		return ago(age) + " old"
	}
	return "not made"
}
