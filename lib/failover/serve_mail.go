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
	states := &recent{read: func() (*source.Result, error) { return readNodes(ctx, s.config) }, now: s.now}
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
			return states.active(string(placement), peer, s.self)
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

// recent is what the directory said of the nodes a moment ago.
type recent struct {
	read  func() (*source.Result, error)
	now   func() time.Time
	known *source.Result
	at    time.Time
}

// active is nil if the peer is the active node of a placement. One that was lost
// and comes back takes itself for it until its directory has caught up; by then its
// users have arranged their mail elsewhere, and that must not be undone.
func (r *recent) active(placement, peer, self string) error {
	const moment = time.Second
	if r.known == nil || r.now().Sub(r.at) >= moment {
		var err error
		if r.known, err = r.read(); err != nil {
			r.known = nil
			return err
		}
		r.at = r.now()
	}
	p := &directory.Placement{Name: placement, Nodes: strings.Split(placement, "_")}
	if active := p.Active(r.known.Snapshot.StateOf); active != peer {
		return diag.TryAgain.Errorf("%q is not the active node of placement %s, %s is, by the directory of %q", peer, placement, cmp.Or(active, "none"), self).
			WithHint("one of the two directories is behind; rp-failover status shows which")
	}
	return nil
}

func (s *server) answerMail(ctx context.Context, q asked) error {
	return s.mergeServer(ctx, q.peer).Mail(ctx, q.stdin, q.stdout)
}

// answerDsync becomes doveadm.
func (s *server) answerDsync(ctx context.Context, q asked) error {
	return s.mergeServer(ctx, q.peer).Dsync(q.args[0])
}
