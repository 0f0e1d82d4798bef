// Package merge makes the two halves of a mailbox one. Each message is
// delivered twice: on the active node into the user's folders, on the standby
// as a blind copy into a store of its own, "copies". The standby's folders
// change only by doveadm sync, so that whoever has to move to the standby finds
// the same messages with the same UIDs and flags there.
//
// One pass over a mailbox: compare what both sides have (view.go), decide
// what would become a double or must not be lost (plan.go), do that, run
// doveadm sync, compare again; what of the copies is now in a folder, is
// purged. At every step each message is in at least the places it was in
// before, so whatever stops a pass, the next one goes on.
//
// Most passes are short: where both sides were seen to be equal and only the
// active one was used since, doveadm sync alone carries the change over, unless
// more messages than copies came.
package merge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rplan/lib/diag"
)

// side is one node's half of a mailbox.
type side interface {
	stamp(context.Context) (Stamp, error)
	list(context.Context) (*View, error)
	folders(context.Context) (map[string]string, error) // GUIDs by name
	do(context.Context, step) error
}

// otherSide is another node's, which has a record of its own for the day on
// which it is the active one.
type otherSide interface {
	side
	note(gone deletions, aside []string) error             // what it is to know of
	deleted(ids []string) (at map[string]int64, err error) // which of these deliveries it knows to be deleted
	traces(guids []string) ([]trace, error)                // of messages, by GUIDs as logs have them
	equal() error                                          // it need not remember what was removed before
}

// Task is a mailbox to merge.
type Task struct {
	Address string
	Peer    string   // the node to merge with, or "" where there is none now
	Others  []string // all other nodes of the mailbox's placement
	Hold    bool     // leave copies as they are: a node that has their twins was taken away just now, and is to be merged with
	Overlap bool     // a node changed its state just now: users may be at work on both sides
}

// outcome is what came of one.
type outcome struct {
	repaired, adopted, recovered int
	changed                      bool // something had to be done
	moving                       bool // it was in use all the time
}

// merger is one pass over one mailbox.
type merger struct {
	task   Task
	active local
	other  otherSide                                               // nil without a peer
	join   func(ctx context.Context, state string) (string, error) // doveadm sync, see local.sync
	record *record
	both   bool // the other side too was used since they were last equal
	save   func() error
	now    func() time.Time
	step   func(string)      // is told each step; a test stops there
	seen   map[string]bool   // delivery ids that were in a folder since the pass began
	set    map[string]bool   // delivery ids that this pass set aside
	told   map[string]bool   // ids of deletions that the other side knows
	before Stamp             // how the active side looked before the last list, or the last doveadm sync
	ends   map[string]logEnd // and where its logs ended
	beyond Stamp             // how the other side looked before the last list
	tree   string            // of the active side's folders at the last doveadm sync before this pass
	theirs map[string]bool   // GUIDs of what only the other side had before the last doveadm sync
	names  folderNames       // if somebody asked since the last list
	joined bool              // doveadm sync ran in this pass
	listed listed            // what it found the first time
	still  bool              // nothing changed on either side while the last list was made
	calm   int               // rounds on end in which it had nothing in its way
	unlike string            // a difference of the sides in the last list
	out    outcome
}

// folderNames are the folders of both sides, GUIDs by name, there being nil without another.
type folderNames struct{ here, there map[string]string }

// divided says whether users were at work on both sides since they were last equal, or may be now.
func (m *merger) divided() bool { return m.both || m.task.Overlap }

// rounds is how often a mailbox is compared in one pass, and enough how often,
// if all went well each time but somebody always changes something.
const (
	rounds = 10
	enough = 4
)

// errMoving is for a mailbox that did not hold still.
var errMoving = diag.TryAgain.Errorf("it changes faster than it can be merged")

// full compares the sides and makes them equal. A mailbox that is never seen
// so, because it is in use, is left to the next pass with all that it had
// when this one began on both sides.
func (m *merger) full(ctx context.Context) error {
	for n := range rounds {
		if n == oddRound && m.other != nil {
			if err := m.rename(ctx); err != nil {
				return err
			}
		}
		here, there, unlike := m.before.Real, m.beyond.Real, m.unlike
		equal, err := m.round(ctx)
		if err != nil || equal {
			return err
		}
		if m.calm >= enough && n > oddRound {
			if unlike != "" && m.unlike != "" && here == m.before.Real && there == m.beyond.Real {
				return diag.Failed.Errorf("doveadm sync leaves the two sides different: %s", m.unlike)
			}
			m.out.moving = true
			m.out.recovered += len(m.theirs) // but for what its user deletes just now
			return m.carried(ctx, false)
		}
	}
	return errMoving
}

// oddRound is the first that most mailboxes do not come to.
const oddRound = 2

// rename gives folders of the other side the GUIDs of the active side's, where
// doveadm sync does not come to an end without.
func (m *merger) rename(ctx context.Context) error {
	m.names = folderNames{} // doveadm sync came after the last list
	here, there, err := m.folders(ctx)
	if err != nil {
		return err
	}
	return m.steps(ctx, "standby", m.other, rename(here, there))
}

// stamps are how both sides look, there being empty without another.
func (m *merger) stamps(ctx context.Context) (here, there Stamp, err error) {
	if here, err = m.active.stamp(ctx); err == nil && m.other != nil {
		there, err = m.other.stamp(ctx)
	}
	return here, there, err
}

// folders are those of both sides as they were after the last list, asked for once.
func (m *merger) folders(ctx context.Context) (here, there map[string]string, err error) {
	if m.names.here != nil {
		return m.names.here, m.names.there, nil
	}
	if here, err = m.active.folders(ctx); err == nil && m.other != nil {
		there, err = m.other.folders(ctx)
	}
	if err == nil {
		m.names = folderNames{here, there}
	}
	return here, there, err
}

// round is one comparison, what it asks for, and one doveadm sync. It says
// whether both sides are equal, with nothing left to do.
func (m *merger) round(ctx context.Context) (bool, error) {
	here, there, err := m.stamps(ctx)
	if err != nil {
		return false, err
	}
	m.before, m.beyond = here, there
	if m.ends, err = m.active.ends(); err != nil {
		return false, err
	}
	a, o, p, err := m.look(ctx)
	if err != nil {
		return false, err
	}
	if o != nil {
		m.countRecovered(a, o)
	}
	if o != nil && m.both {
		if kept, err := m.keep(ctx, a, o); kept || err != nil {
			return false, err
		}
	}
	if o != nil && m.divided() {
		if done, err := m.surplus(ctx, a, o); done || err != nil {
			return false, err
		}
		if err := m.apart(ctx, a, o); err != nil {
			return false, err
		}
	}
	if err := m.share(o); err != nil {
		return false, err
	}
	peer := m.record.Peers[m.task.Peer]
	known := m.joined || !m.both && !peer.Again // else folders may differ in what difference does not see, such as their names
	if m.unlike = ""; o != nil {
		m.unlike = difference(a, o)
	}
	rested := peer.Local == m.before.Real || m.calm+1 >= enough && o != nil && cased(a, o) // which doveadm sync changes for ever
	if p.empty() && (o == nil || known && m.unlike == "") && rested {
		return true, m.finish(ctx, a, o)
	}
	m.out.changed = true
	if err := m.remember(p.aside, p.twin, p.gone, p.took); err != nil {
		return false, err
	}
	m.out.repaired += p.doubles
	m.out.adopted += p.adopted
	if err := m.steps(ctx, "active", m.active, p.active.steps); err != nil {
		return false, err
	}
	if o == nil {
		if !p.empty() {
			return false, nil
		}
		return true, m.finish(ctx, a, nil)
	}
	if err := m.steps(ctx, "standby", m.other, p.other.steps); err != nil {
		return false, err
	}
	if m.listed.active == nil && m.divided() {
		here, there, err := m.folders(ctx)
		if err != nil {
			return false, err
		}
		m.listed = newListed(a, o, here, there)
	}
	err = m.sync(ctx, "")
	if m.calm++; err != nil || !p.empty() {
		m.calm = 0
	}
	if errors.Is(err, errAgain) {
		err = nil
	}
	return false, err
}

func (m *merger) steps(ctx context.Context, where string, s side, steps []step) error {
	for _, st := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.step(fmt.Sprintf("%s on the %s side: %d", st.Op, where, len(st.UIDs)))
		if err := s.do(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// sync runs doveadm sync, on all messages without a state, and notes what it found on this side before it.
func (m *merger) sync(ctx context.Context, state string) error {
	m.step("doveadm sync")
	m.joined = true
	known := state != ""
	state, err := m.join(ctx, state)
	if err != nil && known && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errAgain, err) // it may be the state that is wrong, after a crash of Dovecot
	}
	for name, other := range m.record.Peers { // what comes from one node is no news by the numbers in another's state
		other.State = ""
		m.record.Peers[name] = other
	}
	peer := m.record.Peers[m.task.Peer]
	if peer.Local, peer.State = m.before.Real, state; err != nil {
		peer.Local, peer.State = "", "" // so that the next pass looks again
	}
	m.record.Peers[m.task.Peer] = peer
	return err
}

// finish expunges what was deleted, purges the copies that are not needed any more
// and records that the sides are equal. A list that was made while the user moved things is no ground
// to purge anything. What a user did after the stamps from before the lists, on either side, is for the next pass.
func (m *merger) finish(ctx context.Context, a, o *View) error {
	if err := m.forget(ctx, a, o); err != nil {
		return err
	}
	after, err := m.active.stamp(ctx)
	if err != nil {
		return err
	}
	still := after.Real == m.before.Real
	if still {
		if err := m.endTwins(a.Copies); err != nil {
			return err
		}
		if err := m.steps(ctx, "active", m.active, cleanup(a, m.record.Gone)); err != nil {
			return err
		}
	}
	now := m.now()
	m.record.Local, m.record.Stuck = m.before.Real, false
	if o != nil || len(m.task.Others) == 0 {
		m.record.Since, m.record.Why = 0, ""
	}
	if o != nil {
		m.record.Were, m.record.Twins, m.record.Left = nil, nil, nil
		if len(o.Left) > 0 {
			if err := m.other.equal(); err != nil {
				return err
			}
		}
		if still {
			if err := m.steps(ctx, "standby", m.other, cleanup(o, m.record.Gone)); err != nil {
				return err
			}
		}
		peer := m.record.Peers[m.task.Peer]
		again := m.joined && (m.both || m.before.Tree != m.tree || peer.Local != m.before.Real)
		m.record.Peers[m.task.Peer] = peerRecord{
			Local: m.before.Real, Remote: m.beyond.Real, Equal: true, At: now.Unix(),
			State: peer.State, Tree: m.before.Tree, Again: again, Boot: boot(), Ends: m.ends,
		}
	}
	m.record.prune(m.task.Others, now)
	return m.save()
}

// quick carries over what changed on the active side, where nothing else can have:
// so doveadm sync needs to look at what changed since the last one only. If the
// active side has other folders, doveadm sync looks at all
// there is, now and in the next pass: the first time it takes the subscription of a
// folder that was renamed for that of the new name.
func (m *merger) quick(ctx context.Context) error {
	m.out.changed = true
	peer := m.record.Peers[m.task.Peer]
	again := m.before.Tree != m.tree
	if again || peer.Again {
		peer.State = ""
	}
	if err := m.sync(ctx, peer.State); err != nil {
		return err
	}
	m.record.Left = nil
	return m.carried(ctx, again)
}

// carried records that the other side has all that this one had before the last
// doveadm sync, and nothing else: unless its users may be at work there too, which
// only a comparison tells. again is for folders that doveadm sync has to look at once more.
func (m *merger) carried(ctx context.Context, again bool) error {
	there, err := m.other.stamp(ctx)
	if err != nil {
		return err
	}
	peer := m.record.Peers[m.task.Peer]
	peer.Remote, peer.Equal, peer.Lacked = there.Real, !m.task.Overlap, len(m.theirs) > 0
	peer.Tree, peer.Again, peer.Boot, peer.Ends = m.before.Tree, again, boot(), m.ends
	m.record.Twins = nil
	m.record.Peers[m.task.Peer] = peer
	m.record.Local, m.record.Since, m.record.Why, m.record.Stuck = peer.Local, 0, "", false
	return m.save()
}
