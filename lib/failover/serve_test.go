package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
		"status": "status", "maps": "maps", "kick": "kick", "sync n2": "sync|n2",
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
	for _, seed := range []string{"status", "sync n2", "sync %2Dn", "kick %00", "maps ", "-x"} {
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

func TestKick(t *testing.T) {
	m := newMachine(t)
	m.says["doveadm -f tab who"] = "username\t#\tproto\tpids\tips\na@example.org\t1\timap\t(1)\t(192.0.2.1)\nx@example.org\t1\timap\t(2)\t(192.0.2.1)\n"
	m.says["doveadm -f tab proxy list"] = "username\tproto\tsrc-ip\tdest-ip\tport\na@example.org\timap\t1\t2\t3\nb@example.org\timap\t1\t2\t3\nb@example.org\timap\t1\t2\t4\n"
	out, err := m.ask("a@example.org\nb@example.org\nc@example.org\n", "kick")
	if err != nil || out != "{\"kicked\":2}\n" {
		t.Errorf("answer %q, %v", out, err)
	}
	want := []string{"doveadm -f tab who", "doveadm kick a@example.org", "doveadm -f tab proxy list", "doveadm proxy kick a@example.org", "doveadm proxy kick b@example.org"}
	if !slices.Equal(m.ran, want) {
		t.Errorf("ran %q, want %q", m.ran, want)
	}
	for _, bad := range []string{"*@example.org\n", "a?@example.org\n", "a@example.org extra\n", "-x@example.org\n", "A\n", "\n"} {
		m.ran = nil
		if _, err := m.ask(bad, "kick"); diag.KindOf(err) != diag.BadData || m.ran != nil {
			t.Errorf("%q: %v, ran %q", bad, err, m.ran)
		}
	}
	m.fail["doveadm -f tab who"], m.fail["doveadm -f tab proxy list"] = exec.ErrNotFound, exec.ErrNotFound
	if out, err := m.ask("a@example.org\n", "kick"); err != nil || out != "{\"kicked\":0}\n" {
		t.Errorf("without Dovecot: %q, %v", out, err)
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
	m.fail["rp-genmaps --config CONFIG --states --json --wait 30s"] = diag.Refused.Errorf("it loses too much")
	m.fail["postqueue -j"] = errors.New("no Postfix")
	out, err = m.ask("", "maps")
	if err != nil || !strings.Contains(out, `"error":"it loses too much"`) || !strings.Contains(out, `"queue":-1`) {
		t.Errorf("report is %s, %v", out, err)
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
