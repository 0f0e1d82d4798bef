package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/published"
	"rplan/lib/run"
)

// What a peer can ask is this, and nothing else.
func TestQuestions(t *testing.T) {
	for question, want := range map[string]string{
		"status": "status", "maps": "maps", "kick n2": "kick|n2", "drop n2": "drop|n2", "kick": `"kick" goes with 1 words, not 0`, "sync n2": "sync|n2", "flush": "flush",
		"": "there is no question", "Status": "nobody answers", "status now": `"status" goes with 0 words, not 1`, "sync": `"sync" goes with 1 words, not 0`,
		"sync  n2": "an empty word", "sync n2 ": "an empty word", "sync -n": "is not a question", "sync %2Dn": "is not a question",
		"status; id": "not plain", "sync $(id)": "not plain", "sync n2\nid": "not plain", "/bin/sh": "not plain", "--help": "nobody answers",
		"sync " + strings.Repeat("a", 1100): "more than 1024 bytes",
	} {
		words, err := parseWords(question)
		if got := strings.Join(words, "|"); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %q, %v; want %q", question, got, err, want)
		}
	}
}

func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{"status", "sync n2", "sync %2Dn", "kick n2", "drop n2", "kick %00", "maps ", "-x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, question string) {
		words, err := parseWords(question)
		if err != nil {
			return
		}
		if len(words)-1 != questions[words[0]].words {
			t.Errorf("%q: %q", question, words)
		}
		for _, w := range words {
			if w == "" || w[0] == '-' || len(w) > 1024 {
				t.Errorf("%q: %q", question, words)
			}
		}
	})
}

// machine is a server whose programs are scripts: it notes what is run.
type machine struct {
	*server
	ran  []string
	says map[string]string
	fail map[string]error
}

func newMachine(t *testing.T) *machine {
	w := newWorld(t)
	env := &app.Env{Now: func() time.Time { return noon }}
	m := &machine{server: newServer(env, Options{Config: w.path}, w.config), says: map[string]string{}, fail: map[string]error{}}
	m.run = func(_ context.Context, c run.Cmd) (run.Result, error) {
		line := strings.ReplaceAll(strings.Join(c.Argv, " "), w.path, "CONFIG")
		if c.Argv[0][0] == '/' {
			line = "SELF" + strings.TrimPrefix(line, c.Argv[0])
		}
		m.ran = append(m.ran, line)
		return run.Result{Stdout: []byte(m.says[line])}, m.fail[line]
	}
	return m
}

func (m *machine) ask(stdin, question string) (string, error) {
	words, err := parseWords(question)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = m.answer(context.Background(), "n2", words, strings.NewReader(stdin), &out)
	return out.String(), err
}

// Who is no node, or one no more, gets no answer.
func TestAdmitted(t *testing.T) {
	m := newMachine(t)
	ctx := t.Context()
	must(t, m.admit(ctx, "n2", "kick"))
	if err := m.admit(ctx, "n9", "status"); diag.KindOf(err) != diag.Refused {
		t.Errorf("a stranger: %v", err)
	}
	w := &world{t: t, config: m.config}
	w.set("n2", directory.Evicted, "ada", noon)
	if err := m.admit(ctx, "n2", "status"); diag.KindOf(err) != diag.Refused || err.Error() != `node "n2" is evicted` {
		t.Errorf("an evicted node: %v", err)
	}
	m.config.Directory.URLs = []string{"ldapi://%2Fno%2Fsuch"}
	must(t, m.admit(ctx, "n2", "status"))
	if err := m.admit(ctx, "n2", "kick"); diag.KindOf(err) != diag.TryAgain {
		t.Errorf("with the directory down: %v", err)
	}
}

// dovecot stands in for doveadm: it lists sessions as 2.3 does, and ends them. "proxy list" has two of each user,
// in tables as by several login processes.
type dovecot struct {
	served map[string]bool   // users
	handed map[string]string // users, and where to
	after  func()            // each end of a session
	old    string            // the header of "proxy list"
}

func (d *dovecot) answer(words []string) string {
	var b strings.Builder
	switch last := words[len(words)-1]; {
	case last == "who":
		b.WriteString("username\t#\tproto\tpids\tips\n")
		for _, user := range slices.Sorted(maps.Keys(d.served)) {
			b.WriteString(user + "\t1\timap\t(1)\t(192.0.2.1)\n")
		}
	case last == "list":
		b.WriteString("username\tproto\tsrc ip\tdest ip\tport\n")
		for _, user := range slices.Sorted(maps.Keys(d.handed)) {
			session := fmt.Sprintf("%s\timap\t192.0.2.1\t%s\t10143\n", user, d.handed[user])
			b.WriteString(d.old + "\n" + session + session)
		}
	case words[1] == "kick":
		delete(d.served, last)
		d.after()
	default:
		maps.DeleteFunc(d.handed, func(user, to string) bool { return user == last || to == last })
		d.after()
	}
	return b.String()
}

// dovecotOn has a machine's sessions, of users a and x on it, and a, b, c and x with others.
func dovecotOn(m *machine) *dovecot {
	d := &dovecot{
		served: map[string]bool{"a@example.org": true, "x@example.org": true},
		handed: map[string]string{"a@example.org": "10.77.0.3", "b@example.org": "10.77.0.2", "c@example.org": "10.77.0.4", "x@example.org": "10.77.0.2"},
		after:  func() {}, old: "username\tservice\tsrc-ip\tdest-ip\tdest-port",
	}
	inner := m.run
	m.run = func(ctx context.Context, c run.Cmd) (run.Result, error) {
		m.says[strings.Join(c.Argv, " ")] = d.answer(c.Argv)
		return inner(ctx, c)
	}
	return d
}

// Sessions end that are in the wrong place, and no others.
func TestKick(t *testing.T) {
	for _, test := range []struct {
		question string
		state    directory.State // of the node that it is about
		kicked   int
		ran      string
	}{
		// This node is n1. What it serves itself and may serve: nobody has to leave it.
		{"kick n2", directory.Out, 1, "proxy list, proxy kick b@example.org, proxy list"},
		{"drop n2", directory.Out, 1, "proxy list, proxy kick -h 10.77.0.2, proxy list"},
		{"kick n2", directory.Up, 2, "who, kick a@example.org, who, proxy list, proxy kick a@example.org, proxy kick c@example.org, proxy list"},
		{"kick n1", directory.Returning, 1, "who, kick a@example.org, who, proxy list"},
		{"kick n1", directory.Up, 3, "proxy list, proxy kick a@example.org, proxy kick b@example.org, proxy kick c@example.org, proxy list"},
	} {
		m := newMachine(t)
		w := &world{t: t, config: m.config}
		w.set(strings.Fields(test.question)[1], test.state, "ada", noon)
		dovecotOn(m)
		out, err := m.ask("a@example.org\nb@example.org\nc@example.org\n", test.question)
		if want := fmt.Sprintf("{\"kicked\":%d}\n", test.kicked); err != nil || out != want {
			t.Errorf("%s, %s: answer %q, %v, want %q", test.question, test.state, out, err, want)
		}
		if got := strings.NewReplacer("doveadm -f tab ", "", "doveadm ", "").Replace(strings.Join(m.ran, ", ")); got != test.ran {
			t.Errorf("%s, %s: ran %q, want %q", test.question, test.state, got, test.ran)
		}
	}

	m := newMachine(t)
	for _, bad := range []string{"*@example.org\n", "a?@example.org\n", "a@example.org extra\n", "-x@example.org\n", "A\n", "\n"} {
		m.ran = nil
		if _, err := m.ask(bad, "kick n1"); diag.KindOf(err) != diag.BadData || m.ran != nil {
			t.Errorf("%q: %v, ran %q", bad, err, m.ran)
		}
	}
	if _, err := m.ask("a@example.org\n", "kick n9"); diag.KindOf(err) != diag.BadData || m.ran != nil {
		t.Errorf("a node that is none: %v, ran %q", err, m.ran)
	}
	for _, missing := range []string{"doveadm -f tab who", "doveadm -f tab proxy list", "doveadm proxy kick -h 10.77.0.2"} {
		m.fail[missing] = exec.ErrNotFound
	}
	if out, err := m.ask("a@example.org\n", "drop n2"); err != nil || out != "{\"kicked\":0}\n" {
		t.Errorf("without Dovecot: %q, %v", out, err)
	}
}

// What hangs with a lost node ends, also where nobody could say who moves, and where no list says who hangs.
func TestDrop(t *testing.T) {
	m := newMachine(t)
	w := &world{t: t, config: m.config}
	w.set("n2", directory.Out, "ada", noon)
	d := dovecotOn(m)
	m.fail["doveadm -f tab proxy list"] = errors.New("no list")
	if out, err := m.ask("", "drop n2"); err == nil || out != "{\"kicked\":0}\n" || len(d.handed) != 2 {
		t.Errorf("answer %q, %v; left %v", out, err, d.handed)
	}
}

// A doveadm that does not say where sessions went (2.4) has all ended: better once too often.
func TestKickWithoutColumn(t *testing.T) {
	m := newMachine(t)
	w := &world{t: t, config: m.config}
	w.set("n2", directory.Out, "ada", noon)
	d := dovecotOn(m)
	d.old = "username\t#\tservice\t(pids)\t(ips)"
	if out, err := m.ask("a@example.org\nb@example.org\n", "kick n2"); err != nil || out != "{\"kicked\":2}\n" {
		t.Errorf("answer %q, %v, ran %q", out, err, m.ran)
	}
}

// A list that is a second old is read anew: most of who was sent away is back, in the right place.
func TestKickLooksAgain(t *testing.T) {
	m := newMachine(t)
	w := &world{t: t, config: m.config}
	w.set("n2", directory.Out, "ada", noon)
	now := noon
	m.now = func() time.Time { now = now.Add(400 * time.Millisecond); return now }
	d := dovecotOn(m)
	clear(d.handed)
	var users strings.Builder
	for _, user := range []string{"a", "b", "c", "d", "e", "f"} {
		fmt.Fprintf(&users, "%s@example.org\n", user)
		d.handed[user+"@example.org"] = "10.77.0.2"
	}
	d.after = func() { // all come back when the first has to go
		for user := range d.handed {
			d.handed[user] = "10.77.0.3"
		}
	}
	if out, err := m.ask(users.String(), "kick n2"); err != nil || out != "{\"kicked\":3}\n" {
		t.Errorf("answer %q, %v, ran %q: want that who is back is left alone", out, err, m.ran)
	}
}

// What waits is tried again; a node without mail has nothing that waits.
func TestFlush(t *testing.T) {
	m := newMachine(t)
	if out, err := m.ask("", "flush"); err != nil || out != "{}\n" || !slices.Equal(m.ran, []string{"postqueue -f"}) {
		t.Errorf("answer %q, %v, ran %q", out, err, m.ran)
	}
	m.fail["postqueue -f"] = exec.ErrNotFound
	if _, err := m.ask("", "flush"); err != nil {
		t.Errorf("without Postfix: %v", err)
	}
	m.fail["postqueue -f"] = errors.New("mail system is down")
	if _, err := m.ask("", "flush"); err == nil {
		t.Error("a Postfix that is down is no error")
	}
}

func TestReport(t *testing.T) {
	m := newMachine(t)
	maps := m.config.mapsDir()
	must(t, os.Mkdir(maps, 0o755))
	text, err := os.ReadFile(m.path)
	must(t, err)
	must(t, os.WriteFile(m.path, bytes.Replace(text, []byte("[genmaps]\n"), []byte("[genmaps]\nmax-loss = \"20%\"\n"), 1), 0o600))
	m.config.failover.Mounts = []string{"/proc", maps}
	m.config.failover.Home = maps + "/mail/%u"
	state := &published.State{Node: "n1", Wanted: []string{"a"}, Services: map[string]*published.ServiceState{"a": {Version: "csn:x", States: "csn:y"}}}
	must(t, state.Save(maps))
	must(t, published.Check(maps, noon.Add(-time.Minute)))
	must(t, os.MkdirAll(m.config.failover.State, 0o700))
	must(t, os.WriteFile(m.config.syncPath(), []byte(`{"at":"2026-03-01T11:58:00Z","mailboxes":7,"failed":1,"oldest_unmerged":12}`), 0o600))
	m.says["dovecot --version"] = "2.3.19.1 (9b53102964)\n"
	m.says["postqueue -j"] = "{}\n{}\n"
	out, err := m.ask("", "status")
	must(t, err)
	r := &NodeReport{}
	must(t, json.Unmarshal([]byte(out), r))
	if r.Node != "n1" || !r.Time.Equal(noon) || r.Dovecot != "2.3.19.1" || r.Queue != 2 || !strings.HasPrefix(string(r.Directory), "csn:") ||
		r.Maps.Version != "csn:x" || r.Maps.States != "csn:y" || r.age(r.Maps.At) != time.Minute || !slices.Equal(r.Unmounted, []string{maps}) ||
		len(r.Disks) != 1 || r.Disks[0].Path != maps+"/mail" || r.Disks[0].Total == 0 || r.Sync.Failed != 1 || r.Sync.Oldest != 12 {
		t.Errorf("report is %s", out)
	}
	m.fail["rp-genmaps --config CONFIG --states --json --wait 30s"] = diag.Refused.Errorf("it loses too much").WithHint("look at it")
	m.fail["postqueue -j"] = errors.New("no Postfix")
	out, err = m.ask("", "maps")
	if err != nil || !strings.Contains(out, `"error":"it loses too much; hint: look at it"`) || !strings.Contains(out, `"queue":-1`) {
		t.Errorf("report is %s, %v", out, err)
	}
}

// A node that keeps mail, and does not say on what disk, must not have it on the root file system.
func TestUnmounted(t *testing.T) {
	m := newMachine(t)
	maps := m.config.mapsDir()
	must(t, os.Mkdir(maps, 0o755))
	for _, c := range []struct {
		what, service, home string
		mounts, want        []string
	}{
		{"no mail", "postfix", "/none/%u", nil, nil},
		{"mail on the root file system", "dovecot", "/none/%u", nil, []string{"/none"}},
		{"which is said", "dovecot", "/none/%u", []string{"/"}, nil},
		{"mail below a disk", "dovecot", "/proc/none/%d/%n", nil, nil},
		{"a disk that is not mounted", "dovecot", "/proc/none/%u", []string{"/proc", "/proc/none"}, []string{"/proc/none"}},
	} {
		must(t, (&published.State{Wanted: []string{c.service}}).Save(maps))
		m.config.failover.Home, m.config.failover.Mounts = c.home, c.mounts
		if r := m.report(t.Context()); !slices.Equal(r.Unmounted, c.want) || r.Unmounted == nil {
			t.Errorf("%s: %q, want %q", c.what, r.Unmounted, c.want)
		}
	}
}

// The answer of sync is passed on, and so is what went wrong.
func TestServedSync(t *testing.T) {
	m := newMachine(t)
	const line = "SELF sync --config CONFIG --peer n2 --json --wait 60s"
	m.says[line] = `{"left": 3}`
	out, err := m.ask("", "sync n2")
	if err != nil || out != `{"left": 3}` || m.ran[0] != line {
		t.Errorf("answer %q, %v; ran %q", out, err, m.ran)
	}
}

// Told passes on the last word, the hint and the kind.
func TestTold(t *testing.T) {
	err := told(75, "warning: x\nrp-failover: it is locked\nhint: wait")
	if err.Error() != "it is locked" || diag.KindOf(err) != diag.TryAgain || diag.HintOf(err) != "wait" {
		t.Errorf("%v, kind %d, hint %q", err, diag.KindOf(err), diag.HintOf(err))
	}
	if err := told(3, ""); err.Error() != "it says nothing, but exit status 3" || diag.KindOf(err) != diag.Partial {
		t.Errorf("%v", err)
	}
}
