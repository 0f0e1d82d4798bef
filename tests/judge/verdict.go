package judge

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Sides are what the two nodes of a user have. The standby's is nil where it is not to be looked at.
type Sides struct{ Active, Standby Box }

// Finding is one thing that is not as it should be.
type Finding struct {
	User  string `json:"user"`
	What  string `json:"what"`
	Token string `json:"token,omitempty"`
	Kept  bool   `json:"kept,omitempty"` // of what is lost: the other side has it
}

func (f Finding) String() string { return f.User + ": " + f.What }

// Verdict is what the judge says of a scenario.
type Verdict struct {
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	Counts
	Accepted int           `json:"accepted"`
	Acts     int           `json:"acts"`
	Outage   Outage        `json:"outage"`
	Took     time.Duration `json:"took"` // nanoseconds

	Lost        []Finding `json:"lost"`        // accepted, not deleted, and not on the active side
	Doubled     []Finding `json:"doubled"`     // once more than the user's own copies explain
	Filed       []Finding `json:"filed"`       // the same, but the user was shown both in the inbox and put each elsewhere
	Resurrected []Finding `json:"resurrected"` // deleted by the user, and there
	Flags       []Finding `json:"flags"`       // not what the user set
	Folders     []Finding `json:"folders"`     // not where the user put it; or no such folder
	Damaged     []Finding `json:"damaged"`     // not what was sent, or nobody's
	Sides       []Finding `json:"sides"`       // differences between the two nodes
}

// Judge compares the ledger with what these users have.
func Judge(l *Ledger, boxes map[string]Sides) *Verdict {
	v := &Verdict{Counts: l.Counts(), Outage: l.Outage()}
	events := l.Events()
	if len(events) > 0 {
		v.Took = time.Since(events[0].At)
	}
	for _, e := range events {
		if e.Act == Accepted && !e.Maybe {
			v.Accepted++
		}
	}
	all := accounts(events)
	for _, user := range slices.Sorted(maps.Keys(boxes)) {
		a := all[user]
		if a == nil {
			a = &account{}
		}
		v.Acts += a.acts
		c := court{v: v, user: user, account: a, Sides: boxes[user]}
		c.letters()
		c.folders()
		c.doubles(c.Active)
		if c.Standby != nil {
			c.doubles(c.Standby)
			c.compare()
		}
	}
	return v
}

// court is the judge at one user's.
type court struct {
	v       *Verdict
	user    string
	account *account
	Sides
}

func (c *court) find(in *[]Finding, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	*in = append(*in, Finding{User: c.user, What: what, Token: token.FindString(what)})
}

// seen is a message where it was found.
type seen struct {
	Message
	folder string
}

// byToken are a side's messages.
func byToken(box Box) map[string][]seen {
	all := map[string][]seen{}
	for _, folder := range slices.Sorted(maps.Keys(box)) {
		for _, m := range box[folder].Messages {
			all[m.Token] = append(all[m.Token], seen{m, folder})
		}
	}
	return all
}

func places(found []seen) string {
	var all []string
	for _, s := range found {
		all = append(all, fmt.Sprintf("%s %d", s.folder, s.UID))
	}
	if len(all) == 0 {
		return "nowhere"
	}
	return strings.Join(all, ", ")
}

func (c *court) letters() {
	active, standby := byToken(c.Active), byToken(c.Standby)
	for _, token := range slices.Sorted(maps.Keys(active)) {
		if c.account.letters[token] == nil {
			c.find(&c.v.Damaged, "%q in %s was not sent to this user", token, places(active[token]))
		}
	}
	for _, token := range slices.Sorted(maps.Keys(c.account.letters)) {
		l, found := c.account.letters[token], active[token]
		least, most := l.least(), l.most()
		if len(found) < least {
			c.find(&c.v.Lost, "%s is in %s, want %d; on the standby in %s", token, places(found), least, places(standby[token]))
			c.v.Lost[len(c.v.Lost)-1].Kept = different(found, standby[token]) >= least
		}
		back := min(max(len(found)-most, 0), l.deleted())
		if back > 0 {
			c.find(&c.v.Resurrected, "%s was deleted and is in %s", token, places(found))
		}
		switch excess := len(found) - back - most; {
		case excess <= 0:
		case excess <= l.again && distinct(found) && !slices.ContainsFunc(found, func(s seen) bool { return s.folder == "INBOX" }):
			c.find(&c.v.Filed, "%s is in %s, want %d", token, places(found), most)
		default:
			c.find(&c.v.Doubled, "%s is in %s, want %d", token, places(found), most)
		}
		c.match(token, l, found)
	}
}

// distinct says whether each was delivered by itself.
func distinct(found []seen) bool {
	all := map[string]bool{}
	for _, s := range found {
		all[s.GUID] = true
	}
	return len(all) == len(found)
}

// different is how many different messages two sides have between them.
func different(sides ...[]seen) int {
	all := map[[2]string]bool{}
	for _, side := range sides {
		for _, s := range side {
			all[[2]string{s.GUID, s.folder}] = true
		}
	}
	return len(all)
}

// match finds for each message the item that it is, and compares.
func (c *court) match(token string, l *letter, found []seen) {
	left := slices.DeleteFunc(slices.Clone(l.items), func(i *item) bool { return i.deleted })
	slices.SortStableFunc(left, func(a, b *item) int {
		return cmp.Or(len(a.folders)-len(b.folders), certainFirst(a, b))
	})
	for _, s := range found {
		if s.Sum != l.sum {
			c.find(&c.v.Damaged, "%s in %s %d is not what was sent", token, s.folder, s.UID)
		}
		at := slices.IndexFunc(left, func(i *item) bool { return i.folders[s.folder] })
		if at < 0 {
			if len(left) > 0 {
				c.find(&c.v.Folders, "%s is in %s, want %s", token, s.folder, words(left[0].folders))
				left = left[1:]
			}
			continue
		}
		i := left[at]
		left = slices.Delete(left, at, at+1)
		for _, f := range slices.Sorted(maps.Keys(i.must)) {
			if !slices.Contains(s.Flags, f) {
				c.find(&c.v.Flags, "%s in %s %d is without %s", token, s.folder, s.UID, f)
			}
		}
		for _, f := range s.Flags {
			if !i.must[f] && !i.may[f] {
				c.find(&c.v.Flags, "%s in %s %d has %s", token, s.folder, s.UID, f)
			}
		}
	}
}

func certainFirst(a, b *item) int {
	switch {
	case a.maybe == b.maybe:
		return 0
	case b.maybe:
		return -1
	}
	return 1
}

func words(s set) string { return strings.Join(slices.Sorted(maps.Keys(s)), " or ") }

// folders looks for the folders that the user made, and for others.
func (c *court) folders() {
	for _, folder := range slices.Sorted(maps.Keys(c.account.folders)) {
		if _, ok := c.Active[folder]; !ok && c.account.folders[folder] {
			c.find(&c.v.Folders, "there is no folder %q", folder)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(c.Active)) {
		if _, ok := c.account.folders[folder]; !ok && folder != "INBOX" {
			c.find(&c.v.Folders, "there is a folder %q", folder)
		}
	}
}

// doubles looks for a delivery that is in a folder twice.
func (c *court) doubles(box Box) {
	for _, folder := range slices.Sorted(maps.Keys(box)) {
		first := map[[2]string]uint32{}
		for _, m := range box[folder].Messages {
			id := [2]string{m.Delivery, m.Token} // a sender may write an id of their own
			if uid, twice := first[id]; twice && m.Delivery != "" {
				c.find(&c.v.Doubled, "delivery %s is in %s as %d and %d", m.Delivery, folder, uid, m.UID)
			}
			first[id] = m.UID
		}
	}
}

// compare finds what differs between the two sides.
func (c *court) compare() {
	names := maps.Clone(c.Active)
	maps.Copy(names, c.Standby)
	for _, folder := range slices.Sorted(maps.Keys(names)) {
		a, there := c.Active[folder]
		s, too := c.Standby[folder]
		switch {
		case !there:
			c.find(&c.v.Sides, "folder %q is on the standby only", folder)
		case !too:
			c.find(&c.v.Sides, "folder %q is on the active side only", folder)
		case a.Validity != s.Validity:
			c.find(&c.v.Sides, "UIDVALIDITY of %q is %s and %s", folder, a.Validity, s.Validity)
		default:
			c.compareFolder(folder, a, s)
		}
	}
}

func (c *court) compareFolder(folder string, active, standby Folder) {
	other := map[uint32]Message{}
	for _, m := range standby.Messages {
		other[m.UID] = m
	}
	for _, m := range active.Messages {
		o, ok := other[m.UID]
		delete(other, m.UID)
		switch {
		case !ok:
			c.find(&c.v.Sides, "%s %d (%s) is on the active side only", folder, m.UID, m.Token)
		case m.GUID != o.GUID || m.Token != o.Token:
			c.find(&c.v.Sides, "%s %d is %s (%s) and %s (%s)", folder, m.UID, m.GUID, m.Token, o.GUID, o.Token)
		case !slices.Equal(m.Flags, o.Flags):
			c.find(&c.v.Sides, "%s %d (%s) has %q and %q", folder, m.UID, m.Token, m.Flags, o.Flags)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(other)) {
		c.find(&c.v.Sides, "%s %d (%s) is on the standby only", folder, uid, other[uid].Token)
	}
}
