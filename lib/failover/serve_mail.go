package failover

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/source"
)

// mergeServer lets a peer merge the mailboxes that both nodes have.
func (s *server) mergeServer(ctx context.Context, peer string) *merge.Server {
	maps := s.mapsDir()
	shared := func(placement string) bool {
		nodes := strings.Split(placement, "_")
		return slices.Contains(nodes, peer) && slices.Contains(nodes, s.self)
	}
	return &merge.Server{
		Store: s.config.store(), State: s.config.failover.State, Peer: peer,
		Has: func(address string) error {
			table, err := openMailboxes(maps)
			if err != nil {
				return err
			}
			defer table.Close()
			placement, known, err := table.Get(address)
			if err == nil && (!known || !shared(string(placement))) {
				err = diag.Refused.Errorf("no mailbox %q is on both nodes, %q and %q, by the maps of %q", address, peer, s.self, s.self)
			}
			if err != nil {
				return err
			}
			return s.mayMerge(ctx, string(placement), peer)
		},
		All: func(use func(string) error) error {
			return eachMailbox(maps, func(address, placement string) error {
				if !shared(placement) {
					return nil
				}
				return use(address)
			})
		},
	}
}

// mayMerge is nil if the peer is the active node of a placement. One that was lost
// and comes back takes itself for it until its directory has caught up; by then its
// users have arranged their mail elsewhere, and that must not be undone.
func (s *server) mayMerge(ctx context.Context, placement, peer string) error {
	known, err := s.nodes.get(s.now(), func() (*source.Result, error) { return readNodes(ctx, s.config) })
	if err != nil {
		return err
	}
	p := &directory.Placement{Name: placement, Nodes: strings.Split(placement, "_")}
	if active := p.Active(known.Snapshot.StateOf); active != peer {
		return diag.TryAgain.Errorf("%q is not the active node of placement %s, %s is, by the directory of %q", peer, placement, cmp.Or(active, "none"), s.self).
			WithHint("one of the two directories is behind; rp-failover status shows which")
	}
	return nil
}

// recent is what the directory said of the nodes a moment ago.
type recent struct {
	known *source.Result
	at    time.Time
}

func (r *recent) get(now time.Time, read func() (*source.Result, error)) (*source.Result, error) {
	const moment = time.Second
	if r.known == nil || now.Sub(r.at) >= moment {
		known, err := read()
		if err != nil {
			return nil, err
		}
		r.known, r.at = known, now
	}
	return r.known, nil
}

func (s *server) answerMail(ctx context.Context, q asked) error {
	if err := s.config.makeState(); err != nil {
		return err
	}
	return s.mergeServer(ctx, q.peer).Mail(ctx, q.stdin, q.stdout)
}
