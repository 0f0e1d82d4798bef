package merge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"rplan/lib/diag"
	"rplan/lib/lock"
)

// Server is this node's side of a conversation with another node, which may do
// with the mailboxes that both have what a merge needs, and no more.
type Server struct {
	Store Store
	State string                     // directory of records and locks
	Peer  string                     // who asks
	Has   func(address string) error // nil for a mailbox that both nodes have and the peer is active for; asked again and again
	All   func(use func(address string) error) error

	mu     sync.Mutex // of what follows, and of Has
	opened local
	held   *lock.Lock
	over   error  // why the peer may not go on with the mailbox that was opened
	child  *child // a doveadm sync on it that is under way
}

// Mail answers requests until there are no more.
func (s *Server) Mail(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer s.shut()
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(ctx) })
	defer watch.Wait()
	defer stop()
	w := bufio.NewWriterSize(out, 1<<16)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	send := func(a *answer) error { return enc.Encode(a) }
	for requests := newLines(in); ; {
		var r request
		requests.left = maxLine
		err := requests.next(&r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return diag.BadData.Errorf("what node %q asks: %w", s.Peer, err)
		}
		end := &answer{End: true}
		var broken error
		if r.Do == "dsync" {
			err, broken = s.dsync(ctx, requests, out)
		} else {
			s.mu.Lock()
			err = s.answer(ctx, &r, send)
			s.mu.Unlock()
		}
		if err != nil {
			end.Error, end.Kind = err.Error(), int(diag.KindOf(err))
		}
		if broken == nil {
			broken = errors.Join(send(end), w.Flush())
		}
		if broken != nil {
			return diag.TryAgain.Errorf("answering node %q: %w", s.Peer, broken)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// watched is how often the peer's right is looked at.
const watched = time.Second

// watch lets go of the mailbox when the peer is not the active node any more, which
// it does not say if it was lost: its connection may seem to live for a long time.
func (s *Server) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watched):
		}
		s.mu.Lock()
		if s.held != nil {
			if err := s.Has(s.opened.address); err != nil {
				s.over = err
				if s.child != nil {
					s.child.stop()
					<-s.child.gone
				}
				s.shut()
			}
		}
		s.mu.Unlock()
	}
}

func (s *Server) answer(ctx context.Context, r *request, send func(*answer) error) error {
	switch {
	case r.Do == "stamps":
		stamp := func(address string) error {
			st, err := s.Store.stamp(address)
			if err != nil {
				st = Stamp{Real: "unreadable"} // who then merges it is told why, and the others go on
			}
			if st == (Stamp{}) {
				return nil
			}
			return send(&answer{Address: address, Stamp: &st})
		}
		return s.All(func(address string) error {
			if len(r.Only) > 0 && !slices.Contains(r.Only, address) {
				return nil
			}
			return stamp(address)
		})
	case r.Do == "open":
		return s.open(ctx, r.Address)
	case r.Do == "close":
		s.shut()
		return nil
	case s.held == nil:
		return s.goOn()
	case r.Do == "list":
		v, err := s.opened.list(ctx)
		if err != nil {
			return err
		}
		rec, err := loadRecord(s.State, s.opened.address)
		if err != nil {
			return err
		}
		v.Left = rec.Left
		return v.items(send)
	case r.Do == "folders":
		all, err := s.opened.folders(ctx)
		for folder, guid := range all {
			err = errors.Join(err, send(&answer{Folder: folder, GUID: guid}))
		}
		return err
	case r.Do == "step" && r.Step != nil:
		if err := s.goOn(); err != nil {
			return err
		}
		return s.opened.do(ctx, *r.Step)
	case r.Do == "note":
		if err := s.goOn(); err != nil {
			return err
		}
		return s.note(r.Gone, r.IDs)
	case r.Do == "deleted":
		return s.deleted(r.IDs, send)
	case r.Do == "traces":
		return s.traces(r.IDs, send)
	case r.Do == "equal":
		if err := s.goOn(); err != nil {
			return err
		}
		return s.equal()
	case r.Do == "stamp":
		st, err := s.opened.stamp(ctx)
		if err != nil {
			return err
		}
		return send(&answer{Stamp: &st})
	}
	return diag.BadData.Errorf("no request of rp-failover's: %.40q", r.Do)
}

// open takes the lock of a mailbox: so only one merge of it is at work, also where
// two nodes take themselves for the active one.
func (s *Server) open(ctx context.Context, address string) error {
	s.shut()
	s.over = nil
	if !isAddress(address) {
		return diag.BadData.Errorf("no address of a mailbox: %.80q", address)
	}
	if err := s.Has(address); err != nil {
		return err
	}
	held, err := lockMailbox(ctx, s.State, address, busyFor)
	if err != nil {
		return err
	}
	s.held, s.opened = held, local{s.Store, address}
	return nil
}

// note remembers deliveries that the user deleted on the active node, and those
// that it sets aside, for the day on which this one is it and still has copies of them.
func (s *Server) note(gone deletions, aside []string) error {
	if !areIDs(slices.Concat(aside, slices.Collect(maps.Keys(gone)))) {
		return diag.BadData.Errorf("these are no delivery ids")
	}
	rec, err := loadRecord(s.State, s.opened.address)
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	for id, d := range gone {
		if !rec.Gone.has(id) {
			rec.Gone[id] = deletion{min(max(d.At, 0), now), now}
		}
	}
	for _, id := range aside {
		rec.Aside[id] = now
	}
	return rec.save(s.State, s.opened.address)
}

// deleted says which of some deliveries the user deleted, as this node's last passes found.
func (s *Server) deleted(ids []string, send func(*answer) error) error {
	if !areIDs(ids) {
		return diag.BadData.Errorf("these are no delivery ids")
	}
	rec, err := loadRecord(s.State, s.opened.address)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if d, known := rec.Gone[id]; known {
			err = errors.Join(err, send(&answer{ID: id, At: d.At}))
		}
	}
	return err
}

// traces are what this node's logs have of messages that left folders.
func (s *Server) traces(guids []string, send func(*answer) error) error {
	if len(guids) > mostIDs || slices.ContainsFunc(guids, func(g string) bool { return !isGUID(g) }) {
		return diag.BadData.Errorf("these are no GUIDs")
	}
	rec, err := loadRecord(s.State, s.opened.address)
	if err != nil {
		return err
	}
	found, err := s.Store.traces(s.opened.address, guids, rec.Peers[s.Peer].Ends)
	for _, t := range found {
		err = errors.Join(err, send(&answer{Trace: &t}))
	}
	return err
}

// served forgets when both sides were last equal as this node saw it, and what lay where before a merge of its own that
// broke off: the peer, which is the active one now, makes them so.
func (s *Server) served() error {
	rec, err := loadRecord(s.State, s.opened.address)
	if err != nil {
		return err
	}
	peer, known := rec.Peers[s.Peer]
	if peer.Ends == nil && len(rec.Were)+len(rec.Twins) == 0 {
		return nil
	}
	rec.Were, rec.Twins = nil, nil
	if peer.Ends = nil; known {
		rec.Peers[s.Peer] = peer
	}
	return rec.save(s.State, s.opened.address)
}

// equal is said by the active node when both sides are: what users removed before is over.
func (s *Server) equal() error {
	rec, err := loadRecord(s.State, s.opened.address)
	if err != nil || len(rec.Left) == 0 {
		return err
	}
	rec.Left = nil
	return rec.save(s.State, s.opened.address)
}

func areIDs(ids []string) bool {
	return len(ids) <= 2*mostIDs && !slices.ContainsFunc(ids, func(id string) bool { return id == "" || deliveryID(id) != id })
}

// goOn says why the peer may not change the mailbox that it opened, if it may not.
func (s *Server) goOn() error {
	switch {
	case s.held == nil && s.over != nil:
		return s.over
	case s.held == nil:
		return diag.BadData.Errorf("no mailbox is open")
	}
	return s.Has(s.opened.address)
}

func (s *Server) shut() {
	if s.held != nil {
		s.held.Release()
		s.held = nil
	}
}

// lockPath is beside the record of the mailbox.
func lockPath(state, address string) string { return recordPath(state, address) + ".lock" }

// busyFor is how long a merge waits for another one of the same mailbox.
const busyFor = 2 * time.Second

func lockMailbox(ctx context.Context, state, address string, wait time.Duration) (*lock.Lock, error) {
	path := lockPath(state, address)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, diag.CantCreate.Errorf("making room for records of mailboxes: %w", err)
	}
	held, err := lock.Acquire(ctx, path, wait)
	if diag.KindOf(err) == diag.TryAgain {
		return nil, diag.TryAgain.Errorf("the mailbox of %q is being merged already: %w", address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the mailbox of %q: %w", address, err)
	}
	return held, nil
}
