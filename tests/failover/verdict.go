package failover

import (
	"maps"
	"slices"
	"strings"

	"rplan/tests/imap"
	"rplan/tests/judge"
	"rplan/tests/lab"
)

// standbyNode is where a user's copies go now, nil if nowhere.
func (w *world) standbyNode(u lab.User) *lab.Node {
	active := false
	for _, name := range u.Placement {
		switch {
		case w.absent[name]:
		case active:
			return w.Node(name)
		default:
			active = true
		}
	}
	return nil
}

// sides reads what the nodes have for each user: the one that serves, through
// a login at any node, and the standby.
func (w *world) sides(standby func(lab.User) *lab.Node) map[string]judge.Sides {
	w.Helper()
	all := map[string]judge.Sides{}
	for _, u := range w.users {
		if u.Suspended {
			continue
		}
		var sides judge.Sides
		at := w.present()[w.r.IntN(len(w.present()))]
		w.eventually(func() (err error) {
			sides.Active, err = read(func() (*imap.Session, error) { return w.Login(w.ctx, at, u.Address, lab.Password(u.Address)) })
			return err
		})
		if n := standby(u); n != nil {
			w.eventually(func() (err error) {
				sides.Standby, err = read(func() (*imap.Session, error) { return n.IMAP(w.ctx, u.Address) })
				return err
			})
		}
		all[u.Address] = sides
	}
	return all
}

func read(open func() (*imap.Session, error)) (judge.Box, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return judge.Read(s)
}

// verdict asks the judge. What the limits do not name must not be.
func (w *world) verdict(limits judge.Limits) *judge.Verdict {
	w.Helper()
	return w.hold(judge.Judge(w.ledger, w.sides(w.standbyNode)), limits)
}

// longest is how many seconds a user may be kept out where nothing is cut or killed. A
// reconnect takes one; but the machine that tests run on may have too much to do.
const longest = 60

// hold sets what all scenarios have in common: a user whose node is cut off is kept out until it is
// out, and as long again; and something must have gone on.
func (w *world) hold(v *judge.Verdict, limits judge.Limits) *judge.Verdict {
	w.Helper()
	limits = maps.Clone(limits)
	limits["outage"] += longest + int(2*w.blackout.Seconds())
	limits["acts"], limits["worked"] = len(w.users), len(w.users)
	v.Scenario, v.Seed = w.Name(), w.seed
	w.verdicts = append(w.verdicts, v)
	var table strings.Builder
	w.ok(judge.Table(&table, v))
	w.Logf("the judge:\n%s", &table)
	if wrong := v.Wrong(limits); wrong != "" { // only then the rest: a CI keeps little of what is said
		w.Errorf("the judge found %s:\n%show it came to be:\n%s", wrong, v.Details(10), v.Histories(w.ledger, 5))
		traced := map[string]bool{}
		for _, f := range append(slices.Clone(v.Lost), v.Doubled...) {
			if !f.Kept && !traced[f.User] {
				w.Logf("what merges did to the mailbox of %s:\n%s", f.User, w.trail(f.User))
				traced[f.User] = true
			}
		}
		w.Logf("Dovecot's last errors:\n%s", w.errors())
	}
	return v
}

// onlyOn is the verdict while a node is away whose last moments were not
// merged: what is lost must be on its disk, or waiting in its queue; and these tokens are on its disk and lost.
func (w *world) onlyOn(away *lab.Node, tokens ...string) {
	w.Helper()
	sides := w.sides(func(u lab.User) *lab.Node {
		if slices.Contains(u.Placement, away.Name) {
			return away
		}
		return nil
	})
	// Of the rest, little can be said as long as a part is missing. A move that was being merged
	// when the node went shows in both folders until it is back.
	v := w.hold(judge.Judge(w.ledger, sides), judge.Limits{"lost": -1, "resurrected": -1, "flags": -1, "folders": -1, "sides": -1, "unavailable": -1, "pages": -1, "filed": -1, "doubled": 1})
	queued, err := away.Run(w.ctx, "/bin/sh", "-c", "grep -rhaoE 'judge-[0-9a-z]{13}' /var/spool/postfix; true")
	w.ok(err)
	for _, lost := range v.Lost {
		if !lost.Kept && !strings.Contains(queued, lost.Token) {
			w.Errorf("%s: nor does %s have it", lost, away.Name)
		}
	}
	for _, token := range tokens {
		if !slices.ContainsFunc(v.Lost, func(f judge.Finding) bool { return f.Token == token && f.Kept }) {
			w.Errorf("%s was on %s only, and is not among what is lost", token, away.Name)
		}
	}
	w.Logf("%d messages are on %s only until it comes back", len(v.Lost), away.Name)
}
