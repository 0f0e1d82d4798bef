package merge

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"rplan/lib/diag"
)

// Pass is one run over many mailboxes.
type Pass struct {
	Store Store
	State string // directory of records and locks
	Dial  Dial
	Jobs  int  // how many mailboxes at a time
	Adopt bool // only look at mailboxes that have copies on this side
	Tidy  bool // leave no copies and no deleted messages behind, however young
	All   bool // compare every mailbox, whether it seems changed or not
	Dry   bool // only say what would be looked at
	Now   func() time.Time
	Note  func(address, text string) // is told of what could not be merged, and of each step if Steps
	Steps bool                       //
	Shown func(done, total int)      // progress
	step  func(address, what string) // for tests

	spare sessions // that were begun to look
}

type peerState struct {
	stamps map[string]Stamp
	err    error
}

// Run merges what changed. It returns an error only if nothing could be done at
// all; what became of each mailbox is in the report.
func (p *Pass) Run(ctx context.Context, tasks []Task) (*Report, error) {
	began := p.Now()
	r := &Report{Mailboxes: len(tasks)}
	peers := p.look(ctx, tasks)
	defer p.spare.close()
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		if err := peers[name].err; err != nil {
			r.Unreachable = append(r.Unreachable, name)
			r.Why = some(append(r.Why, err.Error()))
			p.Note(name, err.Error())
		}
	}
	var mu sync.Mutex
	done := 0
	queue := make(chan Task)
	var workers sync.WaitGroup
	for range max(p.Jobs, 1) {
		workers.Go(func() {
			w := &worker{Pass: p, sessions: map[string]*session{}}
			defer w.end()
			for task := range queue {
				result := w.task(ctx, task, peers[task.Peer])
				mu.Lock()
				r.add(task.Address, &result, began)
				if done++; p.Shown != nil {
					p.Shown(done, len(tasks))
				}
				mu.Unlock()
			}
		})
	}
	for _, task := range tasks {
		if ctx.Err() != nil {
			break
		}
		queue <- task
	}
	close(queue)
	workers.Wait()
	r.Seconds = p.Now().Sub(began).Seconds()
	return r, ctx.Err()
}

// few is how many mailboxes a peer is asked about one by one, instead of all that it has.
const few = 100

// look asks each peer for the stamps of its mailboxes.
func (p *Pass) look(ctx context.Context, tasks []Task) map[string]peerState {
	peers := map[string]peerState{"": {}}
	with := map[string][]string{} // addresses by peer
	for _, task := range tasks {
		if task.Peer != "" {
			peers[task.Peer] = peerState{}
			with[task.Peer] = append(with[task.Peer], task.Address)
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(peers)) { // the map itself changes meanwhile
		if name == "" {
			continue
		}
		all.Go(func() {
			var state peerState
			s, err := begin(ctx, p.Dial, name)
			if err == nil {
				only := with[name]
				if len(only) > few {
					only = nil
				}
				state.stamps, err = s.stamps(only...)
				p.spare.put(s)
			}
			state.err = err
			mu.Lock()
			defer mu.Unlock()
			peers[name] = state
		})
	}
	all.Wait()
	return peers
}

// result is what became of one task.
type result struct {
	outcome
	did   need
	err   error
	since int64 // of the oldest change that is not merged
	skip  bool
}

// worker merges one mailbox after the other.
type worker struct {
	*Pass
	sessions map[string]*session
}

func (w *worker) end() {
	for _, s := range w.sessions {
		s.close()
	}
}

// task does one mailbox. Where the peer cannot be reached it does what can be
// done on this side alone.
func (w *worker) task(ctx context.Context, task Task, peer peerState) result {
	here, err := w.Store.stamp(task.Address)
	if err != nil {
		return w.failed(task, result{err: err})
	}
	rec, err := loadRecord(w.State, task.Address)
	if err != nil {
		return w.failed(task, result{err: err})
	}
	alone := task.Peer == "" || peer.err != nil
	with := task
	if alone {
		with.Peer = ""
	}
	t := result{skip: alone && len(task.Others) > 0}
	t.did = rec.needs(with, here, peer.stamps[task.Address], w.Now(), w.Tidy)
	if w.All && (here != Stamp{} || peer.stamps[task.Address] != Stamp{}) {
		t.did = full
	}
	if w.Adopt && here.Copies == 0 {
		t.did = nothing
	}
	switch {
	case w.Dry:
		return t
	case t.did != nothing:
		t.outcome, err = w.merge(ctx, with, t.did)
	}
	if err != nil {
		t.err = err
		return w.failed(task, t)
	}
	if t.skip && rec.behind(task.Peer, here) {
		t.since = w.unmerged(task, "no other node to merge with")
	}
	return t
}

// behind says whether this side has what no other node is known to have.
func (r *record) behind(peer string, here Stamp) bool {
	if here.Real == "" {
		return false
	}
	if known, ok := r.Peers[peer]; ok && peer != "" {
		return !known.Equal || known.Local != here.Real
	}
	for _, known := range r.Peers {
		if known.Equal && known.Local == here.Real {
			return false
		}
	}
	return true
}

// failed notes on disk since when a mailbox waits, and why.
func (w *worker) failed(task Task, t result) result {
	w.Note(task.Address, t.err.Error())
	t.since = w.unmerged(task, t.err.Error())
	return t
}

// unmerged leaves the record alone while another pass is at work with it.
func (w *worker) unmerged(task Task, why string) int64 {
	held, err := lockMailbox(context.Background(), w.State, task.Address, 0)
	if err == nil {
		defer held.Release()
	}
	rec, wrong := loadRecord(w.State, task.Address)
	if wrong != nil {
		return w.Now().Unix()
	}
	if err != nil {
		return cmp.Or(rec.Since, w.Now().Unix())
	}
	if rec.Since == 0 {
		rec.Since, rec.Why = w.Now().Unix(), why
		if err := rec.save(w.State, task.Address); err != nil {
			w.Note(task.Address, err.Error())
		}
	}
	return rec.Since
}

// merge does the work on one mailbox, under its lock on both nodes.
func (w *worker) merge(ctx context.Context, task Task, how need) (out outcome, err error) {
	held, err := lockMailbox(ctx, w.State, task.Address, busyFor)
	if err != nil {
		return out, err
	}
	defer held.Release()
	rec, err := loadRecord(w.State, task.Address)
	if err != nil {
		return out, err
	}
	here := local{w.Store, task.Address}
	m := &merger{task: task, active: here, record: rec, now: w.Now, step: w.stepping(task.Address), seen: map[string]bool{}, set: map[string]bool{}, told: map[string]bool{}}
	m.save = func() error { return rec.save(w.State, task.Address) }
	if task.Peer != "" {
		there, err := w.open(ctx, task)
		if err != nil {
			return out, err
		}
		defer there.shut()
		m.other = there
		st, err := there.stamp(ctx)
		if err != nil {
			return out, err
		}
		m.both, m.tree = rec.usedThere(task.Peer, st), rec.Peers[task.Peer].Tree
		if how == quick { // unless something happened since it was decided on
			if m.before, err = here.stamp(ctx); err != nil {
				return out, err
			}
			if m.ends, err = here.ends(); err != nil {
				return out, err
			}
			if how = rec.needs(task, m.before, st, w.Now(), w.Tidy); how == quick && rec.redelivered(here, task.Peer, st) {
				how = full
			}
		}
		m.join = func(ctx context.Context, state string) (string, error) { return there.dsync(ctx, here, state) }
	}
	if how == quick {
		if err = m.quick(ctx); errors.Is(err, errAgain) {
			err = nil
			how = full
		}
	}
	if how == full && err == nil {
		err = m.full(ctx)
	}
	if err != nil {
		err = errors.Join(err, w.distrust(rec, task, diag.KindOf(err) != diag.TryAgain))
	}
	return m.out, err
}

// distrust makes the next pass compare the whole mailbox, after this one broke off.
func (w *worker) distrust(rec *record, task Task, stuck bool) error {
	if task.Peer == "" {
		return nil
	}
	rec.Stuck = stuck
	if peer, known := rec.Peers[task.Peer]; known {
		peer.Equal, peer.State, peer.Ends = false, "", nil
		rec.Peers[task.Peer] = peer
	}
	return rec.save(w.State, task.Address)
}

// open opens the mailbox on the other node, in this worker's session with it.
func (w *worker) open(ctx context.Context, task Task) (*remote, error) {
	s := w.sessions[task.Peer]
	if s == nil || s.lost != nil {
		var err error
		if s = w.spare.take(task.Peer); s == nil {
			s, err = begin(ctx, w.Dial, task.Peer)
		}
		if err != nil {
			return nil, err
		}
		w.sessions[task.Peer] = s
	}
	there := &remote{s}
	return there, there.open(task.Address)
}

func (w *worker) stepping(address string) func(string) {
	return func(what string) {
		if w.step != nil {
			w.step(address, what)
		}
		if w.Steps {
			w.Note(address, what)
		}
	}
}
