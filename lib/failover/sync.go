package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/lib/app"
	"rplan/lib/atomicfile"
	"rplan/lib/cdb"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/lock"
)

// syncer is one run of sync: it chooses mailboxes, and package merge merges them.
type syncer struct {
	Options
	env    *app.Env
	config *configuration
	self   string
	nodes  *directory.Snapshot

	lock  sync.Mutex
	notes int
}

func runSync(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	s := &syncer{Options: o, env: env, config: c, self: c.Node}
	known, err := readNodes(ctx, c)
	if err != nil {
		return err
	}
	s.nodes = known.Snapshot
	if o.Peer != "" && s.nodes.Node(o.Peer) == nil {
		return diag.Usage.Errorf("--peer: there is no node %q", o.Peer).WithHint("the nodes are %s", strings.Join(s.nodes.NodeNames(), ", "))
	}
	if !o.DryRun {
		if err := c.makeState(); err != nil {
			return err
		}
	}
	if !o.DryRun && s.whole() {
		name := "sync.lock"
		if o.All { // takes hours, in which the others go on; no mailbox is merged by two at a time anyway
			name = "sync-all.lock"
		}
		held, err := lock.Acquire(ctx, filepath.Join(c.failover.State, name), o.Wait)
		if diag.KindOf(err) == diag.TryAgain {
			return diag.TryAgain.Errorf("another pass is at work: %w", err).WithHint("--wait 10m waits for it to end")
		}
		if err != nil {
			return err
		}
		defer held.Release()
	}
	if o.Lost && !o.DryRun {
		if err := s.giveUp(s.nodes.Node(o.Peer)); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// whole says whether this is a pass over everything: one of a kind is at work at a time, and it is what status speaks of.
func (s *syncer) whole() bool { return s.Peer == "" && len(s.Mailboxes) == 0 }

func (s *syncer) run(ctx context.Context) error {
	waves, err := s.tasks()
	if err != nil {
		return err
	}
	total := &merge.Report{}
	for _, tasks := range waves {
		progress := s.env.Progress("mailboxes")
		pass := s.pass(progress)
		r, err := pass.Run(ctx, tasks)
		progress.Done()
		if err != nil {
			return err
		}
		total.Add(r)
	}
	if err := s.tell(total); err != nil {
		return err
	}
	return s.verdict(total)
}

func (s *syncer) pass(progress *app.Progress) *merge.Pass {
	settings := s.config.failover
	jobs := settings.Jobs
	if s.Jobs > 0 {
		jobs = s.Jobs
	}
	return &merge.Pass{
		Store: s.config.store(), State: settings.State, Dial: s.dial(), Jobs: jobs, All: s.All, Adopt: s.Lost, Tidy: s.Peer != "" || s.All, Dry: s.DryRun,
		Now: s.env.Now, Steps: s.Verbose, Shown: progress.Show,
		Note: s.note,
	}
}

// mostNotes is how many lines a pass says of what it could not merge: it is cron
// that mails them, and a node without a directory has the same one for each mailbox.
const mostNotes = 20

func (s *syncer) note(about, text string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	switch s.notes++; {
	case s.Verbose || s.notes <= mostNotes:
		fmt.Fprintf(s.env.Stderr, "%s: %s\n", about, text)
	case s.notes == mostNotes+1:
		fmt.Fprintln(s.env.Stderr, "and so on; --verbose says all")
	}
}

func (c *configuration) store() merge.Store {
	return merge.Store{Home: c.failover.Home, Mail: c.failover.Mail}
}

// dial reaches another node's serve.
func (s *syncer) dial() merge.Dial {
	client := s.config.client()
	return func(peer string) ([]string, error) {
		n := s.nodes.Node(peer)
		if n == nil || n.VPN == (netip.Addr{}) {
			return nil, diag.Failed.Errorf("there is no node %q", peer)
		}
		if err := client.Prepare(); err != nil {
			return nil, err
		}
		return client.Argv(n.VPN, "mail"), nil
	}
}

// tasks are the mailboxes for which this node is active. Most have one node to
// merge with; what is left is for a second wave, so that no mailbox is merged twice at a time.
func (s *syncer) tasks() (waves [2][]merge.Task, err error) {
	var only map[string]bool
	if len(s.Mailboxes) > 0 {
		only = map[string]bool{}
		for _, address := range s.Mailboxes {
			only[address] = true
		}
	}
	targets := map[string]*target{}
	err = eachMailbox(s.config.mapsDir(), func(address, placement string) error {
		if only != nil && !only[address] {
			return nil
		}
		t := targets[placement]
		if t == nil {
			t = s.target(placement)
			targets[placement] = t
		}
		if only != nil && t.active != s.self {
			return s.elsewhere(address, t.active)
		}
		delete(only, address)
		for i, peer := range t.peers {
			wave := min(i, 1)
			waves[wave] = append(waves[wave], merge.Task{Address: address, Peer: peer, Others: t.others, Hold: t.hold, Overlap: t.overlap})
		}
		return nil
	})
	if err == nil && len(only) > 0 {
		for address := range only {
			return waves, diag.Failed.Errorf("there is no mailbox %q on this node's maps", address).WithHint("rp-genmaps --explain %s", address)
		}
	}
	return waves, err
}

// elsewhere is the error for a mailbox that was asked for and that another node merges.
func (s *syncer) elsewhere(address, active string) error {
	if active == "" {
		return diag.Failed.Errorf("no node serves %q now", address).WithHint("rp-failover status")
	}
	all := ""
	if s.All {
		all = "--all "
	}
	return diag.Failed.Errorf("%q is merged by the node that is active for it, %q, and this is %q", address, active, s.self).
		WithHint("on node %s: rp-failover sync %s--mailbox %s", active, all, address)
}

// target is with which nodes the mailboxes of a placement are to be merged, by
// this one: none if it is not theirs to merge, and [""] if there is no other now.
type target struct {
	active        string // the node that serves, and merges
	peers, others []string
	hold          bool // one of the others was taken away just now
	overlap       bool // some node's state is new
}

// lastMerge is how long whoever takes a node away has for the merge that comes
// after the users moved. Until then no copy becomes a message because its twin,
// with which its user may have done anything, is nowhere to be seen.
const lastMerge = 15 * time.Minute

func (s *syncer) target(placement string) *target {
	p := &directory.Placement{Name: placement, Nodes: strings.Split(placement, "_")}
	t := &target{active: p.Active(s.nodes.StateOf)}
	if t.active != s.self {
		return t
	}
	for _, name := range p.Nodes {
		n := s.nodes.Node(name)
		t.overlap = t.overlap || n != nil && s.env.Now().Sub(n.Since).Abs() < s.config.failover.Overlap
		if state, known := s.nodes.StateOf(name); known && name != s.self && state != directory.Evicted {
			t.others = append(t.others, name)
		}
	}
	if s.Peer != "" {
		// A node that is out is merged with if somebody asks for it: as the last step of taking it out.
		switch {
		case s.Lost && slices.Contains(p.Nodes, s.Peer):
			t.peers = []string{""}
		case !s.Lost && slices.Contains(t.others, s.Peer):
			t.peers = []string{s.Peer}
		}
		return t
	}
	if standby := p.Standby(s.nodes.StateOf); standby != "" {
		t.peers = append(t.peers, standby)
	}
	for _, name := range t.others {
		switch n := s.nodes.Node(name); n.State {
		case directory.Returning:
			t.peers = append(t.peers, name)
		case directory.Out:
			t.hold = t.hold || s.env.Now().Sub(n.Since).Abs() < lastMerge && !s.givenUp(n)
		}
	}
	if len(t.peers) == 0 {
		t.peers = []string{""}
	}
	return t
}

// giveUp notes that a node is lost, so that no pass waits for what it has.
func (s *syncer) giveUp(n *directory.Node) error {
	_, err := atomicfile.WriteFile(s.lostPath(n.Name), []byte(n.Since.Format(time.RFC3339)+"\n"), 0o644)
	return err
}

// givenUp says whether that was said of the node since it got its state.
func (s *syncer) givenUp(n *directory.Node) bool {
	text, err := os.ReadFile(s.lostPath(n.Name))
	return err == nil && strings.TrimSpace(string(text)) == n.Since.Format(time.RFC3339)
}

func (s *syncer) lostPath(node string) string {
	return filepath.Join(s.config.failover.State, "lost-"+node)
}

// eachMailbox walks through the table of mailboxes that rp-genmaps published.
func eachMailbox(maps string, use func(address, placement string) error) error {
	table, err := openMailboxes(maps)
	if err != nil {
		return err
	}
	defer table.Close()
	for row, err := range table.Rows() {
		if err == nil {
			err = use(string(row.Key), string(row.Value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func openMailboxes(maps string) (*cdb.Reader, error) {
	table, err := cdb.Open(filepath.Join(maps, "dovecot", "mailboxes.cdb"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, diag.TryAgain.Errorf("this node has no table of mailboxes yet: %w", err).
			WithHint("run rp-genmaps; a node needs the role imap to have mailboxes")
	}
	return table, err
}

// tell writes the report where it is asked for.
func (s *syncer) tell(r *merge.Report) error {
	var err error
	if s.whole() && !s.DryRun {
		text, _ := json.Marshal(SyncState{s.env.Now().UTC(), *r})
		_, err = atomicfile.WriteFile(s.config.syncPath(), append(text, '\n'), 0o644)
	}
	if s.Metrics != "" && !s.DryRun {
		_, failed := atomicfile.WriteFile(s.Metrics, metrics(r, s.env.Now()), 0o644)
		err = errors.Join(err, failed)
	}
	switch {
	case s.JSON:
		err = errors.Join(err, s.env.PrintJSON(r))
	case s.DryRun:
		fmt.Fprintf(s.env.Stdout, "would merge %d of %d mailboxes\n", r.Merged, r.Mailboxes)
	case s.Verbose:
		fmt.Fprintf(s.env.Stderr, "%d mailboxes: %d merged, %d doubles repaired, %d copies adopted, %d messages recovered; %d failed, %d busy, %d without another node\n",
			r.Mailboxes, r.Merged, r.Repaired, r.Adopted, r.Recovered, r.Failed, r.Busy, r.Skipped)
	}
	return err
}

// verdict is the exit code: what is busy is tried again by the next pass, and a
// node that is out is no news.
func (s *syncer) verdict(r *merge.Report) error {
	if r.Failed == 0 && len(r.Unreachable) == 0 {
		return nil
	}
	var what []string
	if r.Failed > 0 {
		what = append(what, fmt.Sprintf("%s could not be merged", plural(r.Failed, "mailbox")))
	}
	if len(r.Unreachable) > 0 {
		what = append(what, "cannot reach "+strings.Join(r.Unreachable, ", "))
	}
	hint := "the lines above say why; the next pass tries again"
	if len(r.Unreachable) > 0 {
		hint += ". For a node that is gone, and does not only refuse this one: rp-failover out --lost NODE"
	}
	return diag.Partial.Errorf("%s", strings.Join(what, "; ")).WithHint("%s", hint)
}

// metrics is the report in the text format of Prometheus, for node_exporter's textfile collector.
func metrics(r *merge.Report, now time.Time) []byte {
	var b strings.Builder
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"mailboxes", "Mailboxes for which this node is active.", float64(r.Mailboxes)},
		{"merged", "Mailboxes that had changed and were merged in the last pass.", float64(r.Merged)},
		{"repaired", "Deliveries that were there twice and were made one in the last pass.", float64(r.Repaired)},
		{"adopted", "Blind copies that became messages in the last pass.", float64(r.Adopted)},
		{"recovered", "Messages that only the other node had in the last pass.", float64(r.Recovered)},
		{"failed", "Mailboxes that could not be merged in the last pass.", float64(r.Failed)},
		{"busy", "Mailboxes that changed faster than they could be merged in the last pass.", float64(r.Busy)},
		{"skipped", "Mailboxes whose other node is out or cannot be reached.", float64(r.Skipped)},
		{"oldest_unmerged_seconds", "Age of the oldest change that is on one node only.", float64(r.Oldest)},
		{"duration_seconds", "How long the last pass took.", r.Seconds},
		{"last_run_timestamp_seconds", "When the last pass ended.", float64(now.Unix())},
	} {
		fmt.Fprintf(&b, "# HELP rplan_sync_%s %s\n# TYPE rplan_sync_%s gauge\nrplan_sync_%s %g\n", m.name, m.help, m.name, m.name, m.value)
	}
	return []byte(b.String())
}
