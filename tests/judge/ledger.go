// Package judge says whether a collective kept its promise to its members:
// no mail lost, none doubled, none that comes back, each where its owner put
// it and marked as its owner marked it, on both of its nodes. It knows only
// what was sent and what users did, from the Ledger, and what mailboxes hold,
// by IMAP; it shares no code with rplan.
package judge

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Act is what a user did, or what was done to their mailbox.
type Act string

// The acts. Those on a message name it by its token and the folder where the user saw it.
const (
	Accepted Act = "accepted" // a server took a message for the user, by SMTP
	Appended Act = "appended" // the user stored a message in Folder
	Flagged  Act = "flagged"
	Cleared  Act = "cleared" // of Flags
	Moved    Act = "moved"   // from Folder to To
	Copied   Act = "copied"  // from Folder to To
	Deleted  Act = "deleted" // for good
	Created  Act = "created" // Folder
	Renamed  Act = "renamed" // Folder became To
	// Divided is when the user's active node was lost with whatever was not merged yet: what they did in the last
	// moments before may not be seen until it is back, and what they do meanwhile is done without it.
	Divided Act = "divided"
	// Merged is when all that the user did is on both nodes.
	Merged Act = "merged"
)

// Event is an act that the server confirmed or, if it is Maybe, whose answer
// never came: then it happened or did not, and either is right.
type Event struct {
	At     time.Time `json:"at"`
	User   string    `json:"user"`
	Act    Act       `json:"act"`
	Token  string    `json:"token,omitempty"`
	Folder string    `json:"folder,omitempty"`
	To     string    `json:"to,omitempty"`
	Flags  []string  `json:"flags,omitempty"`
	Sum    string    `json:"sum,omitempty"` // of an arrival's body
	Maybe  bool      `json:"maybe,omitempty"`
}

// Counts are what the ledger keeps no event of.
type Counts struct {
	Sent        int `json:"sent"`        // messages handed to any server until one took them, or until the end
	Refused     int `json:"refused"`     // logins that were answered NO
	Unavailable int `json:"unavailable"` // logins that were answered NO [UNAVAILABLE]
	Unreachable int `json:"unreachable"` // logins that met no server
	Broken      int `json:"broken"`      // sessions that ended before their user wanted
	Worked      int `json:"worked"`      // tries, see Tried, that did
	Rejected    int `json:"rejected"`    // messages refused for good
	Pages       int `json:"pages"`
	PagesFailed int `json:"pages_failed"`
}

// Ledger is the book of a scenario. Many may write into it at once; the
// events of one user must be written in their order, but for Accepted.
type Ledger struct {
	mu      sync.Mutex
	events  []Event
	counts  Counts
	failing map[string]time.Time // since when, by user
	outage  Outage
}

// Outage is the longest time for which a user could do nothing.
type Outage struct {
	User string        `json:"user"`
	Took time.Duration `json:"took"` // nanoseconds
}

// Write adds an event.
func (l *Ledger) Write(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	l.events = append(l.events, e)
}

// Count adds to the counts.
func (l *Ledger) Count(add func(*Counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.counts)
}

// Tried writes down that a user tried to log in, or to go on in a session, and how that ended, in whatever way it
// failed: an outage is from the beginning of the first try that failed to the end of the next that worked.
func (l *Ledger) Tried(user string, began, ended time.Time, worked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, failing := l.failing[user]
	switch {
	case worked:
		l.counts.Worked++
		delete(l.failing, user)
	case !failing:
		if l.failing == nil {
			l.failing = map[string]time.Time{}
		}
		l.failing[user], since = began, began
	}
	if took := ended.Sub(since); (failing || !worked) && took > l.outage.Took {
		l.outage = Outage{user, took}
	}
}

// Outage is the longest of any user so far.
func (l *Ledger) Outage() Outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outage
}

// Divide writes down that the active node of these users was lost.
func (l *Ledger) Divide(users ...string) {
	for _, user := range users {
		l.Write(Event{User: user, Act: Divided})
	}
}

// Merge writes down that all of what these users did is on both of their nodes.
func (l *Ledger) Merge(users ...string) {
	for _, user := range users {
		l.Write(Event{User: user, Act: Merged})
	}
}

// Events are a copy of all so far.
func (l *Ledger) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

// History is all that is written down about a finding's message, or about the
// user's folders if it is about none.
func (l *Ledger) History(f Finding) (history []Event) {
	for _, e := range l.Events() {
		about := e.Token == f.Token && e.Act != Created && e.Act != Renamed
		if f.Token == "" {
			about = e.Act == Created || e.Act == Renamed
		}
		if e.User == f.User && (about || e.Act == Divided || e.Act == Merged || e.Act == Renamed) {
			history = append(history, e)
		}
	}
	return history
}

// String is the event as a line of a history.
func (e Event) String() string {
	s := fmt.Sprintf("%s %s %s", e.At.UTC().Format("15:04:05.000"), e.Act, e.Folder)
	if e.To != "" {
		s += " to " + e.To
	}
	if len(e.Flags) > 0 {
		s += " " + strings.Join(e.Flags, " ")
	}
	if e.Maybe {
		s += ", perhaps"
	}
	return s
}

// Counts are those so far.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}
