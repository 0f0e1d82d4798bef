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
func TestWhoMerges(t *testing.T) {
	m := newMachine(t)
	w := &world{t: t, config: m.config}
	now := noon
	reads := 0
	r := &recent{now: func() time.Time { return now }, read: func() (*source.Result, error) {
		reads++
		return readNodes(t.Context(), m.config)
	}}
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
		err := r.active("n2_n3", step.peer, "n1")
		if (err == nil) != step.may || err != nil && diag.KindOf(err) != diag.TryAgain {
			t.Errorf("n2 is %s: %s merges: %v", step.state, step.peer, err)
		}
	}
	before := reads
	now = now.Add(time.Second / 2)
	if err := r.active("n2_n3", "n2", "n1"); err != nil || reads != before {
		t.Errorf("%v; the directory was read %d times within a second", err, reads-before)
	}
	m.config.Directory.URLs = []string{"ldapi://%2Fno%2Fsuch"}
	now = now.Add(time.Second)
	for range 2 { // what was known is of no use any more
		if err := r.active("n2_n3", "n2", "n1"); diag.KindOf(err) != diag.TryAgain {
			t.Errorf("with the directory down: %v", err)
		}
	}
}
