package merge

import (
	"time"

	"rplan/lib/diag"
)

// Report is what came of a pass. Left are mailboxes of which one node may lack what the other had
// when the pass began: those that failed, were locked or have no reachable peer.
type Report struct {
	Mailboxes   int      // for which this node is active
	Merged      int      // had changed
	Repaired    int      // deliveries that were there twice
	Adopted     int      // copies that became messages
	Recovered   int      // messages that only the other node had
	Failed      int      //
	Busy        int      // in use all the time, so that they were never seen to be equal, or locked by another merge
	Skipped     int      // the other node is out or cannot be reached
	Left        int      //
	Oldest      int64    // age in seconds of the oldest change that is on one node only
	Seconds     float64  // that it took
	Unreachable []string // nodes
}

// Add counts another pass, over other mailboxes.
func (r *Report) Add(more *Report) {
	r.Mailboxes += more.Mailboxes
	r.Merged += more.Merged
	r.Repaired += more.Repaired
	r.Adopted += more.Adopted
	r.Recovered += more.Recovered
	r.Failed += more.Failed
	r.Busy += more.Busy
	r.Skipped += more.Skipped
	r.Left += more.Left
	r.Oldest = max(r.Oldest, more.Oldest)
	r.Seconds += more.Seconds
	r.Unreachable = append(r.Unreachable, more.Unreachable...)
}

func (r *Report) add(t *result, now time.Time) {
	r.Repaired += t.repaired
	r.Adopted += t.adopted
	r.Recovered += t.recovered
	if t.did != nothing && t.err == nil {
		r.Merged++
	}
	switch {
	case t.moving, t.err != nil && diag.KindOf(t.err) == diag.TryAgain:
		r.Busy++
	case t.err != nil:
		r.Failed++
	}
	if t.skip {
		r.Skipped++
	}
	if t.err != nil || t.skip {
		r.Left++
	}
	if t.since != 0 {
		r.Oldest = max(r.Oldest, now.Unix()-t.since)
	}
}
