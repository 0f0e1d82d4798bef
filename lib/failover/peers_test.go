package failover

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// This node answers itself, with no SSH, the same as it answers others.
func TestAskingOneself(t *testing.T) {
	m := newMachine(t)
	peers := &collective{local: m.server}
	if r, err := peers.status(t.Context(), "n1"); err != nil || r.Node != "n1" || !strings.HasPrefix(string(r.Directory), "csn:") {
		t.Errorf("report %+v, %v", r, err)
	}
	m.says["doveadm -f tab who"] = "username\na@example.org\n"
	if n, err := peers.kick(t.Context(), "n1", "n2", []string{"a@example.org"}); n != 1 || err != nil {
		t.Errorf("kicked %d, %v", n, err)
	}
	const line = "SELF sync --config CONFIG --peer n2 --json --wait 60s"
	m.says[line] = `{"mailboxes": 4, "left": 3}`
	if r, err := peers.sync(t.Context(), "n1", "n2"); err != nil || r.Left != 3 || r.Mailboxes != 4 {
		t.Errorf("report %+v, %v", r, err)
	}
	m.fail[line] = diag.Partial.Errorf("3 are left")
	if r, err := peers.sync(t.Context(), "n1", "n2"); err != nil || r.Left != 3 {
		t.Errorf("a partial answer: %+v, %v", r, err)
	}
	m.fail[line] = run.ErrTimeout
	if _, err := peers.sync(t.Context(), "n1", "n2"); !errors.Is(err, run.ErrTimeout) {
		t.Errorf("an answer of who failed: %v", err)
	}
	m.fail[line], m.says[line] = nil, ""
	if _, err := peers.sync(t.Context(), "n1", "n2"); err == nil || err.Error() != `no answer to "sync"` {
		t.Errorf("no answer: %v", err)
	}
	m.says[line] = "{"
	if _, err := peers.sync(t.Context(), "n1", "n2"); diag.KindOf(err) != diag.BadData {
		t.Errorf("a broken answer: %v", err)
	}
}

// A clock is off only as far as nothing else explains it.
func TestSkew(t *testing.T) {
	before, after := noon, noon.Add(3*time.Second)
	for shown, want := range map[time.Duration]time.Duration{
		-time.Hour: -time.Hour, 0: 0, time.Second: 0, 3 * time.Second: 0, 10 * time.Second: 7 * time.Second,
	} {
		if got := skew(noon.Add(shown), before, after); got != want {
			t.Errorf("%v shown: off by %v, want %v", shown, got, want)
		}
	}
}
