package merge

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// record is what one pass leaves for the next, a file for each mailbox. To lose
// it costs a full comparison and the memory of what was deleted, no message.
type record struct {
	Local string                `json:"local,omitempty"` // digest of this side when it was last looked at alone
	Since int64                 `json:"since,omitempty"` // the oldest change that is not merged; 0 if there is none
	Why   string                `json:"why,omitempty"`   // it could not be
	Peers map[string]peerRecord `json:"peers,omitempty"` // by node
	Gone  deletions             `json:"gone,omitempty"`
	Aside map[string]int64      `json:"aside,omitempty"` // what a merge set aside, by delivery id, and when
	Took  map[string]adoption   `json:"took,omitempty"`  // copies that became messages here, by delivery id; their twins may still come
	Were  map[string]moved      `json:"apart,omitempty"` // messages, by GUID, that lay in different folders before the last doveadm sync
	Left  map[string][]int64    `json:"left,omitempty"`  // when users removed instances, by GUID, of messages that have others; since both sides were equal
	Twins map[string]twin       `json:"twins,omitempty"` // messages that were in the inbox here, by delivery id, and other ones on the other side; as long as a merge lasts
	Stuck bool                  `json:"stuck,omitempty"` // the last pass with another node failed
}

// deletions are what users deleted, by delivery id.
type deletions map[string]deletion

// deletion is when a user deleted a message, and when this node took note of it,
// in seconds since 1970.
type deletion struct {
	At    int64 `json:"at"`
	Noted int64 `json:"noted"`
}

func (d deletions) has(id string) bool {
	_, ok := d[id]
	return ok
}

// adoption is a copy that became a message, and when.
type adoption struct {
	GUID string `json:"guid"`
	At   int64  `json:"at"`
}

// is says whether a message in the inbox is that one, and has been there since.
func (a adoption) is(m Message) bool {
	const slowly = 10 // seconds that the step may have taken
	return m.GUID == a.GUID && m.Saved <= a.At+slowly
}

// peerRecord is where the mailbox stands with another node.
type peerRecord struct {
	Local  string            `json:"local"`            // digest of this side before the last doveadm sync
	Remote string            `json:"remote"`           // digest of the other after it
	Equal  bool              `json:"equal"`            // both were seen to be equal, since when only this side was used
	At     int64             `json:"at"`               // of the last comparison that found them equal, in seconds since 1970
	State  string            `json:"state,omitempty"`  // doveadm sync's own, after it had nothing in its way
	Tree   string            `json:"tree,omitempty"`   // digest of this side's folders before the last doveadm sync, or at a comparison after it
	Again  bool              `json:"again,omitempty"`  // that had changed: doveadm sync has to look once more
	Boot   string            `json:"boot,omitempty"`   // of this machine when that was
	Ends   map[string]logEnd `json:"ends,omitempty"`   // where this side's logs ended before the last doveadm sync; nil also if the other node has been the active one since
	Lacked bool              `json:"lacked,omitempty"` // in the last list this side had not all of the other's: what doveadm sync brought nobody compared
}

// boot is another one after each start of the machine (random(4), boot_id).
var boot = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
})

func recordPath(state, address string) string {
	local, domain, _ := strings.Cut(address, "@")
	return filepath.Join(state, "mailboxes", domain, local)
}

// loadRecord returns an empty one where there is none or it cannot be read.
func loadRecord(state, address string) (*record, error) {
	r := &record{}
	text, err := os.ReadFile(recordPath(state, address) + ".json")
	switch {
	case err == nil:
		if json.Unmarshal(text, r) != nil {
			r = &record{}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, diag.Failed.Errorf("the record of mailbox %q: %w", address, err)
	}
	if r.Peers == nil {
		r.Peers = map[string]peerRecord{}
	}
	if r.Gone == nil {
		r.Gone = deletions{}
	}
	if r.Took == nil {
		r.Took = map[string]adoption{}
	}
	maps.DeleteFunc(r.Left, func(_ string, at []int64) bool { return len(at) == 0 })
	if r.Aside == nil {
		r.Aside = map[string]int64{}
	}
	return r, nil
}

func (r *record) save(state, address string) error {
	r.expire(time.Now())
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := recordPath(state, address) + ".json"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diag.CantCreate.Errorf("making room for records of mailboxes: %w", err)
	}
	_, err = atomicfile.WriteFile(path, append(text, '\n'), 0o600)
	return err
}

// remembered is how long a deletion is remembered after all nodes of the
// placement know of it: a copy may lie in some Postfix's queue for five days
// (maximal_queue_lifetime in postconf(5)).
const remembered = 6 * 24 * time.Hour

// prune drops what no node can have a message of any more that does not know it:
// others are the other nodes of the mailbox's placement.
func (r *record) prune(others []string, now time.Time) {
	r.drop(func(since int64) bool {
		known := now.Unix()-since > int64(remembered/time.Second)
		for _, node := range others {
			known = known && r.Peers[node].At > since
		}
		return known
	})
}

// drop forgets what is over, by the time at which it was noted.
func (r *record) drop(over func(since int64) bool) {
	maps.DeleteFunc(r.Gone, func(_ string, d deletion) bool { return over(d.Noted) })
	maps.DeleteFunc(r.Aside, func(_ string, at int64) bool { return over(at) })
	maps.DeleteFunc(r.Took, func(_ string, a adoption) bool { return over(a.At) })
	maps.DeleteFunc(r.Left, func(_ string, at []int64) bool { return over(slices.Max(at)) })
}

// lifetime is how long anything is remembered, also on a node that is always the
// standby, and of a node that never comes back.
const lifetime = 60 * 24 * time.Hour

func (r *record) expire(now time.Time) {
	old := now.Add(-lifetime).Unix()
	r.drop(func(since int64) bool { return since < old })
}

// adopted is when a copy last became a message.
func (r *record) adopted() (last int64) {
	for _, a := range r.Took {
		last = max(last, a.At)
	}
	return last
}

// need is how much a mailbox asks for.
type need uint8

const (
	nothing need = iota
	quick        // doveadm sync alone
	full
)

// settle is how long copies may lie on the other side before a comparison is worth
// it that clears them away. What a user deleted does not wait: it would be back if
// the node were lost.
const settle = time.Minute

// usedThere says whether the other side's folders are not as the last doveadm sync left them.
func (r *record) usedThere(peer string, there Stamp) bool {
	known, ok := r.Peers[peer]
	return there.Real != "" && (!ok || !known.Equal || known.Remote != there.Real)
}

// needs says what to do about a mailbox with these stamps. To be tidy is to
// clear copies and deleted messages away at once, before users move.
func (r *record) needs(task Task, here, there Stamp, now time.Time, tidy bool) need {
	peer, known := r.Peers[task.Peer]
	switch {
	case here.Copies > 0, here.Deleted > 0:
		return full
	case task.Peer == "":
		if here.Real != r.Local {
			return full
		}
		return nothing
	case !known && here == Stamp{} && there == Stamp{}:
		return nothing
	case !known, !peer.Equal, peer.Remote != there.Real, peer.Local == "" && here.Real != "", here.Real == "" && there.Real != "", there.Copies > 0 && (tidy || now.Sub(time.Unix(there.OldestCopy, 0)).Abs() > settle):
		return full
	case peer.Lacked:
		return full
	case peer.Local == here.Real && !peer.Again:
		return nothing
	case task.Overlap:
		return full
	case peer.Boot != boot():
		return full // what was not on the disk yet when the power went, only the other node has
	case now.Unix()-r.adopted() < int64(remembered/time.Second):
		return full // the other half of what was adopted may come out of a queue
	}
	return quick
}

// redelivered says whether a message may have come to the inbox a second time: whose answer was lost with a node, or on
// the way, is delivered again, without the copy that it had. So more messages came than copies did. With as many, the copies
// soon ask for a comparison themselves.
func (r *record) redelivered(here local, peer string, there Stamp) bool {
	n, known := here.store.arrived(here.address, r.Peers[peer].Ends)
	return !known || n > there.Copies
}
