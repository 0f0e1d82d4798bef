package failover

import (
	"bytes"
	"context"
	"fmt"
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
	"rplan/lib/source"
	"rplan/tests/slapd"
)

// noon is now, for all that takes the time from its environment.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// collectiveLDIF is four nodes, whom n4 only keeps second copies for, and
// their users: 3 on n1_n2, 2 on n2_n3, 1 on n3_n1, 1 on n1_n4.
func collectiveLDIF() string {
	var b strings.Builder
	b.WriteString("dn: dc=example,dc=net\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n\n")
	for _, ou := range []string{"nodes", "domains", "mailboxes", "forwards", "sites", "lists"} {
		fmt.Fprintf(&b, "dn: ou=%s,dc=example,dc=net\nobjectClass: organizationalUnit\nou: %[1]s\n\n", ou)
	}
	for i := range 4 {
		fmt.Fprintf(&b, "dn: rplanNodeName=n%d,ou=nodes,dc=example,dc=net\nobjectClass: rplanNode\nrplanNodeName: n%[1]d\nrplanState: up\n"+
			"rplanVpnAddress: 10.77.0.%[1]d\nrplanRole: mx\nrplanRole: imap\nrplanRole: web\nrplanRole: lists\nrplanRole: dns\n\n", i+1)
	}
	b.WriteString("dn: rplanDomainName=example.org,ou=domains,dc=example,dc=net\nobjectClass: rplanDomain\nrplanDomainName: example.org\n\n")
	for address, placement := range map[string]string{"a1": "n1_n2", "a2": "n1_n2", "a3": "n1_n2", "b1": "n2_n3", "b2": "n2_n3", "c1": "n3_n1", "d1": "n1_n4"} {
		fmt.Fprintf(&b, "dn: rplanAddress=%s@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: %[1]s@example.org\n"+
			"rplanPlacement: %s\n", address, placement)
		if address == "b2" {
			b.WriteString("rplanDelivery: one\n")
		}
		b.WriteString("\n")
	}
	b.WriteString("dn: rplanSiteName=www.example.org,ou=sites,dc=example,dc=net\nobjectClass: rplanSite\nrplanSiteName: www.example.org\nrplanPlacement: n2_n3\n\n")
	b.WriteString("dn: rplanAddress=news@example.org,ou=lists,dc=example,dc=net\nobjectClass: rplanList\nrplanAddress: news@example.org\n" +
		"rplanListManager: mlmmj\nrplanListCandidate: n1\nrplanListCandidate: n2\nrplanActiveNode: n2\nrplanEpoch: 1\n\n")
	return b.String()
}

// snapshot is the same as rplan reads it.
func snapshot(t testing.TB, edit ...string) *directory.Snapshot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "collective.ldif")
	must(t, os.WriteFile(path, []byte(strings.NewReplacer(edit...).Replace(collectiveLDIF())), 0o600))
	s := source.Defaults()
	s.URLs, s.Base = []string{"ldif:" + path}, slapd.Suffix
	src, err := source.New(s)
	must(t, err)
	r, err := src.Read(context.Background(), directory.Network{NodesDomain: "nodes.example.net"})
	must(t, err)
	return r.Snapshot
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a real directory whose nodes are made of words: what they are
// asked is noted, and what they answer is up to the test.
type world struct {
	t      *testing.T
	slapd  *slapd.Server
	config *configuration
	path   string
	hooks  string
	now    time.Time

	lock    sync.Mutex
	calls   []string
	fault   func(call string) error // nil for none
	reports map[string]*NodeReport  // instead of healthy ones
	syncs   func(node, peer string) merge.Report
	out     bytes.Buffer
	errs    bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	ldif := filepath.Join(dir, "collective.ldif")
	must(t, os.WriteFile(ldif, []byte(collectiveLDIF()), 0o600))
	w := &world{t: t, path: filepath.Join(dir, "rplan.toml"), hooks: filepath.Join(dir, "hooks"), now: noon, reports: map[string]*NodeReport{}}
	w.slapd = slapd.Run(t, slapd.Options{Provider: true, LDIF: []string{ldif}, NoSync: true})
	password := filepath.Join(dir, "password")
	must(t, os.WriteFile(password, []byte(w.slapd.RootPassword), 0o600))
	must(t, os.WriteFile(w.path, fmt.Appendf(nil, `node = "n1"
[network]
nodes-domain = "nodes.example.net"
[directory]
urls = [%q]
base = %q
[genmaps]
output = %[7]q
[failover]
write-urls = [%[1]q]
admin-dn = %[3]q
admin-password-file = %[4]q
hooks = %[5]q
state = %[6]q
`, w.slapd.LDAPI(), w.slapd.BaseDN, w.slapd.RootDN, password, w.hooks, filepath.Join(dir, "state"), filepath.Join(dir, "maps")), 0o600))
	var err error
	w.config, err = loadConfiguration(w.path)
	must(t, err)
	return w
}

// call notes what was asked, and fails where the test wants it to.
func (w *world) call(format string, args ...any) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	call := fmt.Sprintf(format, args...)
	w.calls = append(w.calls, call)
	if w.fault != nil {
		return w.fault(call)
	}
	return nil
}

func (w *world) report(node string) *NodeReport {
	if r := w.reports[node]; r != nil {
		return r
	}
	s := w.config.Directory
	src, err := source.New(s)
	must(w.t, err)
	v, err := src.Version(context.Background())
	must(w.t, err)
	return &NodeReport{
		Node: node, Time: w.now, Version: "1", Dovecot: "2.3.19.1", Directory: v, Maps: MapsReport{Version: v, States: v, At: noon},
		Disks: []Disk{{Path: "/var/vmail", Free: 50, Total: 100}},
	}
}

func (w *world) status(_ context.Context, node string) (*NodeReport, error) {
	err := w.call("status %s", node)
	return w.report(node), err
}

func (w *world) maps(_ context.Context, node string) (*NodeReport, error) {
	err := w.call("maps %s", node)
	return w.report(node), err
}

func (w *world) kick(_ context.Context, node, changed string, users []string) (int, error) {
	return len(users), w.call("kick %s %s: %s", node, changed, strings.ReplaceAll(strings.Join(users, " "), "@example.org", ""))
}

func (w *world) drop(_ context.Context, node, changed string, users []string) (int, error) {
	return len(users), w.call("drop %s %s: %s", node, changed, strings.ReplaceAll(strings.Join(users, " "), "@example.org", ""))
}

func (w *world) flush(_ context.Context, node string) error { return w.call("flush %s", node) }

func (w *world) sync(_ context.Context, node, peer string) (*merge.Report, error) {
	err := w.call("sync %s %s", node, peer)
	r := merge.Report{Mailboxes: 3}
	if w.syncs != nil {
		r = w.syncs(node, peer)
	}
	return &r, err
}

func (w *world) adopt(ctx context.Context, node, peer string) (*merge.Report, error) {
	err := w.call("adopt %s %s", node, peer)
	r := merge.Report{Mailboxes: 3}
	if w.syncs != nil {
		r = w.syncs(node, peer)
	}
	return &r, err
}

// change is what the command line would make, with the world as peers.
func (w *world) change(o Options) (*change, error) {
	w.out.Reset()
	w.errs.Reset()
	w.calls = nil
	o.Config = w.path
	o.Node = o.Args[len(o.Args)-1]
	if o.By == "" {
		o.By = "ada"
	}
	env := &app.Env{Stdin: strings.NewReader(""), Stdout: &w.out, Stderr: &w.errs, Now: func() time.Time { return w.now }}
	store, err := newStore(context.Background(), env, w.config)
	must(w.t, err)
	read, err := readDirectory(context.Background(), env, w.config)
	must(w.t, err)
	c, err := newChange(env, o, w.config, store, read)
	if err == nil {
		c.peers, c.pause = w, time.Millisecond
	}
	return c, err
}

// do runs a change to its end.
func (w *world) do(o Options) error {
	w.t.Helper()
	c, err := w.change(o)
	must(w.t, err)
	must(w.t, os.MkdirAll(w.config.failover.State, 0o700))
	return c.run(context.Background())
}

// asked are the calls that change something, in order; those that are made at
// once are sorted.
func (w *world) asked() string {
	var groups [][]string
	kind := ""
	for _, call := range w.calls {
		verb, _, _ := strings.Cut(call, " ")
		if verb == "status" {
			continue
		}
		if verb != kind || verb == "sync" {
			groups = append(groups, nil)
		}
		kind = verb
		groups[len(groups)-1] = append(groups[len(groups)-1], call)
	}
	var all []string
	for _, g := range groups {
		slices.Sort(g)
		all = append(all, strings.Join(g, ", "))
	}
	return strings.Join(all, "\n")
}

// state is a node's, as the provider has it.
func (w *world) state(node string) source.NodeState {
	w.t.Helper()
	store, err := newStore(context.Background(), nil, w.config)
	must(w.t, err)
	states, _, err := store.States(context.Background())
	must(w.t, err)
	for _, s := range states {
		if s.Name == node {
			return s
		}
	}
	w.t.Fatalf("there is no %q", node)
	return source.NodeState{}
}

// set writes a state as another admin would.
func (w *world) set(node string, state directory.State, by string, since time.Time) {
	w.t.Helper()
	store, err := newStore(context.Background(), nil, w.config)
	must(w.t, err)
	_, err = store.Write(context.Background(), w.state(node), source.Change{State: state, By: by, Since: since})
	must(w.t, err)
}

func (w *world) expectError(err error, kind diag.Kind, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if err == nil || diag.KindOf(err) != kind || !strings.Contains(err.Error()+"\n"+diag.HintOf(err), text) {
			w.t.Errorf("error is %v (kind %d, hint %q), want %q (kind %d)", err, diag.KindOf(err), diag.HintOf(err), text, kind)
		}
	}
}

// dying ends a run at its nth question to a node or to the provider: before
// it, or, of a write, after it too. What the run does from then on fails, as
// if it were not done.
type dying struct {
	*world
	store stateStore
	kill  context.CancelFunc
	n     int
}

func (d *dying) tick() {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.n--; d.n == 0 {
		d.kill()
	}
}

func (d *dying) status(ctx context.Context, node string) (*NodeReport, error) {
	return d.world.status(ctx, node)
}

func (d *dying) maps(ctx context.Context, node string) (*NodeReport, error) {
	if d.tick(); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return d.world.maps(ctx, node)
}

func (d *dying) kick(ctx context.Context, node, changed string, users []string) (int, error) {
	if d.tick(); ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return d.world.kick(ctx, node, changed, users)
}

func (d *dying) drop(ctx context.Context, node, changed string, users []string) (int, error) {
	if d.tick(); ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return d.world.drop(ctx, node, changed, users)
}

func (d *dying) flush(ctx context.Context, node string) error {
	if d.tick(); ctx.Err() != nil {
		return ctx.Err()
	}
	return d.world.flush(ctx, node)
}

func (d *dying) sync(ctx context.Context, node, peer string) (*merge.Report, error) {
	if d.tick(); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return d.world.sync(ctx, node, peer)
}

func (d *dying) adopt(ctx context.Context, node, peer string) (*merge.Report, error) {
	if d.tick(); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return d.world.adopt(ctx, node, peer)
}

func (d *dying) States(ctx context.Context) ([]source.NodeState, source.Version, error) {
	return d.store.States(ctx)
}

func (d *dying) Write(ctx context.Context, was source.NodeState, to source.Change) (source.Version, error) {
	d.tick()
	v, err := d.store.Write(ctx, was, to)
	d.tick()
	return v, err
}
