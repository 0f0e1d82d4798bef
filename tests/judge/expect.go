package judge

import (
	"maps"
	"slices"
	"time"
)

// set is a set of folders or flags.
type set map[string]bool

func of(words ...string) set {
	s := set{}
	for _, w := range words {
		s[w] = true
	}
	return s
}

// item is one message that a user should have, or may have.
type item struct {
	folders set // any of which is right
	must    set // flags it has
	may     set // flags it may have besides
	maybe   bool
	deleted bool

	been     set // folders it was in since it was last merged
	merged   set // flags it had then
	unmerged set // those it had got since then, at the last division
}

func newItem(e Event, folder string) *item {
	return &item{folders: of(folder), been: of(folder), must: of(e.Flags...), may: set{}, maybe: e.Maybe, merged: set{}}
}

// letter is all that a user has of one token.
type letter struct {
	items   []*item
	sum     string
	taken   int  // how often a server took it, for certain or not
	certain bool // it arrived
	erased  bool // or one of its copies was, perhaps: else one must be left
	divided bool
	apart   bool      // and not merged since
	again   int       // how often its user filed it from the inbox though they had filed all there was: they were shown it twice
	copies  []leaving // of which some were made while the sides were apart
	gone    []leaving // of items meanwhile
}

// leaving is when something was taken from a folder.
type leaving struct {
	folder string
	at     time.Time
}

// account is what one user should see.
type account struct {
	letters map[string]*letter
	folders map[string]bool   // those they made; true for those that must be there
	merged  set               // those that both nodes had
	renamed map[string]string // to what those were that are not there any more
	acts    int
}

// accounts follows the events, by user. Servers may show a message before
// the one who sent it has the reply, so arrivals come first.
func accounts(events []Event) map[string]*account {
	all := map[string]*account{}
	for _, arrivals := range []bool{true, false} {
		for _, e := range events {
			a := all[e.User]
			if a == nil {
				a = &account{letters: map[string]*letter{}, folders: map[string]bool{}, merged: set{}, renamed: map[string]string{}}
				all[e.User] = a
			}
			if arrivals == (e.Act == Accepted) {
				a.follow(e)
			}
		}
	}
	return all
}

func (a *account) follow(e Event) {
	if e.Act != Accepted && e.Act != Divided && e.Act != Merged {
		a.acts++
	}
	switch e.Act {
	case Accepted:
		a.arrive(e, "INBOX")
	case Appended:
		a.arrive(e, e.Folder)
	case Created:
		a.folders[e.Folder] = a.folders[e.Folder] || !e.Maybe
		delete(a.renamed, e.Folder)
	case Renamed:
		a.rename(e)
	case Divided:
		a.divide()
	case Merged:
		a.merge()
	default:
		if l := a.letters[e.Token]; l != nil {
			l.follow(e)
		}
	}
}

func (a *account) arrive(e Event, folder string) {
	l := a.letters[e.Token]
	if l == nil {
		l = &letter{sum: e.Sum}
		a.letters[e.Token] = l
	}
	l.items = append(l.items, newItem(e, folder))
	l.certain = l.certain || !e.Maybe
	if e.Act == Accepted {
		l.taken++
	}
}

func (a *account) rename(e Event) {
	a.folders[e.To] = !e.Maybe
	if now, twice := a.renamed[e.Folder]; twice { // on two sides that did not know of each other: one of the names is left
		a.folders[now], a.folders[e.To] = false, false
		for _, l := range a.letters {
			for _, i := range l.items {
				if i.folders[now] {
					i.folders[e.To] = true
				}
			}
		}
	}
	delete(a.merged, e.Folder)
	if a.folders[e.Folder] = false; !e.Maybe {
		delete(a.folders, e.Folder)
		a.renamed[e.Folder] = e.To
	}
	for _, l := range a.letters {
		for _, i := range l.items {
			if !i.folders[e.Folder] {
				continue
			}
			if !e.Maybe {
				delete(i.folders, e.Folder)
			}
			i.folders[e.To], i.been[e.To] = true, true
		}
	}
}

func (a *account) divide() {
	for folder := range a.folders {
		a.folders[folder] = a.folders[folder] && a.merged[folder] // else it may bear an earlier name
	}
	for _, l := range a.letters {
		l.divided, l.apart = true, true
		for _, i := range l.items {
			maps.Copy(i.folders, i.been)
			i.unmerged = maps.Clone(i.must)
			maps.DeleteFunc(i.unmerged, func(f string, _ bool) bool { return i.merged[f] })
		}
	}
}

func (a *account) merge() {
	for folder, must := range a.folders {
		a.merged[folder] = must
	}
	for _, l := range a.letters {
		l.apart = false
		for _, i := range l.items {
			i.been, i.merged = maps.Clone(i.folders), maps.Clone(i.must)
		}
	}
}

func (l *letter) follow(e Event) {
	i := l.at(e.Folder)
	if i.deleted { // it was back, and in use again
		i.deleted, i.maybe = false, true
		maps.Copy(i.may, i.must) // it may be another instance
		i.must = set{}
		i.folders[e.Folder], i.been[e.Folder] = true, true
	}
	if l.apart && e.Act == Copied {
		l.copies = append(l.copies, leaving{e.Folder, e.At})
	}
	if l.apart && (e.Act == Moved || e.Act == Deleted) {
		l.gone = append(l.gone, leaving{e.Folder, e.At})
	}
	switch e.Act {
	case Flagged:
		for _, f := range e.Flags {
			if e.Maybe {
				i.may[f] = true
			} else {
				i.must[f] = true
			}
			if l.divided && f != `\Deleted` { // which of a user's copies is the twin of what came back, nothing tells
				for _, o := range l.items {
					o.may[f] = true
				}
			}
		}
	case Cleared:
		for _, f := range e.Flags {
			delete(i.must, f)
			i.may[f] = true
		}
	case Moved:
		if e.Folder == "INBOX" && !i.folders["INBOX"] && !e.Maybe {
			l.again++
		}
		if e.Folder != e.To {
			l.meet(i, e.To)
		}
		l.move(i, e)
	case Copied:
		c := newItem(Event{Maybe: e.Maybe}, e.To)
		maps.Copy(c.may, i.must)
		maps.Copy(c.may, i.may)
		l.meet(c, e.To)
		l.items = append(l.items, c)
	case Deleted:
		l.erased = true
		// Who deletes what they moved elsewhere was shown it twice, or still in the old place.
		if e.Maybe || !i.folders[e.Folder] {
			i.maybe = true
		} else {
			i.deleted = true
			i.folders = set{}
		}
	}
}

// meet is for an item that comes to where another one of the letter is already: two of
// one delivery in a folder become one, with the flags of both. So do two of what the user
// stored, if they were put there on two sides.
func (l *letter) meet(i *item, folder string) {
	if l.taken > 1 || l.taken == 0 && !l.divided {
		return
	}
	for _, o := range l.items {
		if o != i && !o.deleted && o.folders[folder] {
			i.maybe = i.maybe || !o.maybe
			for _, flags := range []set{i.must, i.may} {
				maps.Copy(o.may, flags)
			}
			for _, flags := range []set{o.must, o.may} {
				maps.Copy(i.may, flags)
			}
		}
	}
}

// move follows a message to another folder. A move is a copy and a deletion:
// one that was cut short may leave both. What a divided side did not know of
// the message does not come along.
func (l *letter) move(i *item, e Event) {
	for f := range i.unmerged {
		delete(i.must, f)
		i.may[f] = true
	}
	switch known := len(i.folders) == 1 && i.folders[e.Folder]; {
	case e.Maybe:
		i.folders[e.To] = true
		second := newItem(Event{Maybe: true}, e.To)
		second.folders[e.Folder] = true
		maps.Copy(second.may, i.must)
		maps.Copy(second.may, i.may)
		l.items = append(l.items, second)
	case known:
		i.folders = of(e.To)
	default:
		i.folders[e.To] = true
	}
	i.been[e.To] = true
}

// at is the item that a user means by this token in this folder. First comes what is there, then
// what was there before the sides were divided, as one of them may still show it, then one that they see where
// the ledger does not know it; in each case what is certain before what may be.
func (l *letter) at(folder string) *item {
	rank := func(i *item) int {
		r := 0
		switch {
		case i.folders[folder]:
		case l.divided && i.been[folder]:
			r += 8
		default:
			r += 24
		}
		if i.deleted {
			r += 12
		}
		if i.maybe {
			r += 2
		}
		if len(i.folders) > 1 {
			r++
		}
		return r
	}
	return slices.MinFunc(l.items, func(a, b *item) int { return rank(a) - rank(b) })
}

// least and most are how many messages of the token there should be.
func (l *letter) least() (n int) {
	for _, i := range l.items {
		if !i.deleted && !i.maybe {
			n++
		}
	}
	if n > 1 && l.likeMoves() > 1 {
		n--
	}
	if l.certain && !l.erased {
		n = max(n, 1)
	}
	return n
}

// likeMoves are how many of the copies that were made while the sides were apart look like the moves of a mail program,
// which copies and deletes: of two that were made on both sides, one goes.
func (l *letter) likeMoves() (n int) {
	const within = 11 * time.Second
	for _, made := range l.copies {
		if slices.ContainsFunc(l.gone, func(g leaving) bool { return g.folder == made.folder && g.at.Sub(made.at).Abs() < within }) {
			n++
		}
	}
	return n
}

func (l *letter) most() (n int) {
	for _, i := range l.items {
		if !i.deleted {
			n++
		}
	}
	return n
}

func (l *letter) deleted() int { return len(l.items) - l.most() }
