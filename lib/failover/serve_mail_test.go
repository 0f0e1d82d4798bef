package failover

import (
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
)

// Only the active node of a placement merges its mailboxes: one that came back
// and does not know what happened meanwhile must not.
func TestMayMerge(t *testing.T) {
	m := newMachine(t)
	w := &world{t: t, config: m.config}
	now := noon
	m.now = func() time.Time { return now }
	for _, step := range []struct {
		state directory.State
		peer  string
		may   bool
	}{
		{directory.Up, "n2", true}, {directory.Up, "n3", false}, {directory.Draining, "n2", true},
		{directory.Out, "n2", false}, {directory.Out, "n3", true}, {directory.Returning, "n2", false}, {directory.Returning, "n3", true}, {directory.Up, "n2", true},
	} {
		w.set("n2", step.state, "ada", noon)
		now = now.Add(time.Second)
		err := m.mayMerge(t.Context(), "n2_n3", step.peer)
		if (err == nil) != step.may || err != nil && diag.KindOf(err) != diag.TryAgain {
			t.Errorf("n2 is %s: %s merges: %v", step.state, step.peer, err)
		}
	}
	m.config.Directory.URLs = []string{"ldapi://%2Fno%2Fsuch"}
	must(t, m.mayMerge(t.Context(), "n2_n3", "n2")) // as it was a moment ago
	now = now.Add(time.Second)
	for range 2 { // what was known is of no use any more
		if err := m.mayMerge(t.Context(), "n2_n3", "n2"); diag.KindOf(err) != diag.TryAgain {
			t.Errorf("with the directory down: %v", err)
		}
	}
}

func TestRecent(t *testing.T) {
	reads := 0
	read := func() (*source.Result, error) {
		reads++
		return &source.Result{}, nil
	}
	var r recent
	for i, want := range []int{1, 1, 2, 2} {
		if _, err := r.get(noon.Add(time.Duration(i)*time.Second/2), read); err != nil || reads != want {
			t.Errorf("half second %d: %d reads, %v", i, reads, err)
		}
	}
}
