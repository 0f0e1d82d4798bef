package merge

import (
	"fmt"
	"time"

	"rplan/lib/diag"
)

// Report is what came of a pass. Left are mailboxes of which one node may lack what the other had
// when the pass began: those that failed, were locked or have no reachable peer.
type Report struct {
	Mailboxes   int      `json:"mailboxes"`             // for which this node is active
	Merged      int      `json:"merged"`                // had changed
	Repaired    int      `json:"repaired"`              // deliveries that were there twice
	Adopted     int      `json:"adopted"`               // copies that became messages
	Recovered   int      `json:"recovered"`             // messages that only the other node had
	Failed      int      `json:"failed"`                //
	Busy        int      `json:"busy"`                  // in use all the time, so that they were never seen to be equal, or locked by another merge
	Skipped     int      `json:"skipped"`               // the other node is out or cannot be reached
	Left        int      `json:"left"`                  //
	Oldest      int64    `json:"oldest_unmerged"`       // age in seconds of the oldest change that is on one node only
	Seconds     float64  `json:"seconds"`               // that it took
	Unreachable []string `json:"unreachable,omitempty"` // nodes
	Why         []string `json:"why,omitempty"`         // of what failed, the first: "ADDRESS: ERROR"
}

// mostWhy is how many failures a report tells: most have the same cause.
const mostWhy = 5

// Add counts another pass, over other mailboxes.
func (r *Report) Add(more *Report) {
	r.Mailboxes += more.Mailboxes
	r.did(more)
	r.Failed += more.Failed
	r.Busy += more.Busy
	r.Skipped += more.Skipped
	r.Left += more.Left
	r.Oldest = max(r.Oldest, more.Oldest)
	r.Unreachable = append(r.Unreachable, more.Unreachable...)
	r.Why = some(append(r.Why, more.Why...))
}

// Again counts another pass over the same mailboxes: of what is left, it says all.
func (r *Report) Again(more *Report) {
	r.did(more)
	r.Mailboxes = max(r.Mailboxes, more.Mailboxes)
	r.Failed, r.Busy, r.Skipped, r.Left = more.Failed, more.Busy, more.Skipped, more.Left
	r.Oldest, r.Unreachable, r.Why = more.Oldest, more.Unreachable, more.Why
}

func (r *Report) did(more *Report) {
	r.Merged += more.Merged
	r.Repaired += more.Repaired
	r.Adopted += more.Adopted
	r.Recovered += more.Recovered
	r.Seconds += more.Seconds
}

// some are the first reasons of many.
func some(why []string) []string { return why[:min(len(why), mostWhy)] }

func (r *Report) add(address string, t *result, now time.Time) {
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
	if t.err != nil {
		r.Why = some(append(r.Why, fmt.Sprintf("%s: %v", address, t.err)))
	}
	if t.skip && t.err == nil {
		r.Skipped++
	}
	if t.err != nil || t.skip {
		r.Left++
	}
	if t.since != 0 {
		r.Oldest = max(r.Oldest, now.Unix()-t.since)
	}
}
