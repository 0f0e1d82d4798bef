package directory

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// forwards is what is known of the forwards while it is decided which of them
// stand. One without a target left has fallen, and answers for nothing.
type forwards struct {
	s    *Snapshot
	from [][]way  // by forward: the ways that lead to it, each from a target that its forward still has
	lost [][]loss // by forward: the targets it lost
	fell []int    // those whose ways are still to be looked at again
	away []int    // by forward: how many of its targets are elsewhere in the world
}

// maxAway is how many targets elsewhere a forward has at most: more would make it
// an amplifier of other people's mail, and cost the nodes their good name.
const maxAway = 100

// way is a target of a forward.
type way struct {
	forward int
	target  string
}

// loss is a target that was left out.
type loss struct {
	target, why string
	notice      bool   // it comes from a state, not from a mistake
	dn          string // the entry that the target leads to; "" for none
}

// checkForwards leaves out targets that lead nowhere: local addresses that
// nobody answers for or that are suspended, ways back to the forward itself, and
// more than maxAway of those elsewhere. A forward without a target left is left out whole, which may in turn
// leave others without one. Each forward gets one Problem.
func (b *Builder) checkForwards() {
	n := len(b.snap.Forwards)
	f := &forwards{s: &b.snap, from: make([][]way, n), lost: make([][]loss, n), away: make([]int, n)}
	for i := range f.s.Forwards {
		for _, t := range slices.Clone(f.s.Forwards[i].Targets) {
			f.follow(way{i, t})
		}
	}
	f.settle()
	for f.cutLoops() {
		f.settle()
	}
	for i := range f.s.Forwards {
		b.reportForward(&f.s.Forwards[i], f.lost[i])
	}
	f.remove()
}

// follow looks where a way leads now.
func (f *forwards) follow(w way) {
	r, found := f.s.Resolve(w.target)
	switch {
	case !found && f.s.exists(w.target): // elsewhere in the world
		if f.away[w.forward]++; f.away[w.forward] > maxAway {
			f.drop(w, loss{target: w.target, why: fmt.Sprintf("is elsewhere, where a forward has at most %d targets", maxAway)})
		}
	case !found && (f.isForward(w.target) || f.isForward(untagged(w.target))):
		f.drop(w, loss{target: w.target, why: "is left out itself"})
	case !found:
		f.drop(w, loss{target: w.target, why: "does not exist here"})
	case r.Mailbox != nil && r.Mailbox.Status == Suspended:
		f.drop(w, loss{target: w.target, why: "is suspended", notice: true})
	case r.Forward != nil:
		i := r.Forward.index(f.s)
		f.from[i] = append(f.from[i], w)
	}
}

// isForward says whether a forward has this address, fallen or not.
func (f *forwards) isForward(address string) bool {
	return find(f.s.Forwards, address, func(f *Forward) string { return f.Address }) != nil
}

// drop takes a target from its forward, which falls with its last one.
func (f *forwards) drop(w way, l loss) {
	forward := &f.s.Forwards[w.forward]
	forward.Targets = slices.DeleteFunc(forward.Targets, func(t string) bool { return t == w.target })
	f.lost[w.forward] = append(f.lost[w.forward], l)
	if len(forward.Targets) == 0 {
		f.fell = append(f.fell, w.forward)
	}
}

// settle looks again at every way to a forward that fell.
func (f *forwards) settle() {
	for len(f.fell) > 0 {
		i := f.fell[len(f.fell)-1]
		f.fell = f.fell[:len(f.fell)-1]
		ways := f.from[i]
		f.from[i] = nil
		for _, w := range ways {
			f.follow(w)
		}
	}
}

// cutLoops takes every target by which a forward comes back to itself, and
// says whether there were any. Other loops may show when a forward has fallen
// and what it was sent is taken by another, as user+tag@ is by user@.
func (f *forwards) cutLoops() (cut bool) {
	ring := f.s.rings()
	for j := range f.from {
		f.from[j] = slices.DeleteFunc(f.from[j], func(w way) bool {
			if ring[w.forward] != ring[j] {
				return false
			}
			cut = true
			f.drop(w, loss{target: w.target, why: "leads back to it", dn: f.s.Forwards[j].DN})
			return true
		})
	}
	return cut
}

// remove takes the fallen forwards and their claims out of the snapshot.
func (f *forwards) remove() {
	s := f.s
	now := make([]uint32, len(s.Forwards)) // where each that stands will be
	n := uint32(0)
	for i := range s.Forwards {
		now[i] = n
		if len(s.Forwards[i].Targets) > 0 {
			n++
		}
	}
	s.claims = slices.DeleteFunc(s.claims, func(c claim) bool { return !s.answers(&c) })
	for i := range s.claims {
		if c := &s.claims[i]; c.use == UseForward {
			c.index = now[c.index]
		}
	}
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool { return len(f.Targets) == 0 })
}

// reportForward tells what a forward has lost, and whether it stands.
func (b *Builder) reportForward(f *Forward, lost []loss) {
	fallen := len(f.Targets) == 0
	if len(lost) == 0 && !fallen {
		return
	}
	p := Problem{DNs: []string{f.DN}, Keys: []string{f.Address}, Notice: len(lost) > 0}
	var why []string
	for i, l := range lost {
		p.Notice = p.Notice && l.notice
		p.Keys = append(p.Keys, l.target)
		if i < maxNamed {
			why = append(why, fmt.Sprintf("target %s %s", show(l.target), l.why))
		}
		if l.dn != "" && !slices.Contains(p.DNs, l.dn) {
			p.DNs = append(p.DNs, l.dn)
		}
	}
	if more := len(lost) - maxNamed; more > 0 {
		why = append(why, fmt.Sprintf("and %d more", more))
	}
	switch {
	case len(lost) == 0:
		p.Text = fmt.Sprintf("forward %s has no target; it is left out", show(f.Address))
	case fallen:
		p.Text = fmt.Sprintf("forward %s is left out, as no target is left: %s", show(f.Address), strings.Join(why, ", "))
	default:
		p.Text = fmt.Sprintf("left out of forward %s: %s", show(f.Address), strings.Join(why, ", "))
	}
	b.problems = append(b.problems, p)
}

func (f *Forward) index(s *Snapshot) int {
	i, _ := sort.Find(len(s.Forwards), func(i int) int { return strings.Compare(f.Address, s.Forwards[i].Address) })
	return i
}

// rings numbers the forwards so that two have the same number when mail goes
// round between them (Tarjan's strongly connected components).
func (s *Snapshot) rings() []int {
	n := len(s.Forwards)
	order, low, ring := make([]int, n), make([]int, n), make([]int, n)
	var open []int
	count, rings := 0, 0
	var visit func(v int)
	visit = func(v int) {
		count++
		order[v], low[v] = count, count
		open = append(open, v)
		for _, target := range s.Forwards[v].Targets {
			r, ok := s.Resolve(target)
			if !ok || r.Forward == nil {
				continue
			}
			w := r.Forward.index(s)
			if order[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if ring[w] == 0 {
				low[v] = min(low[v], order[w])
			}
		}
		if low[v] < order[v] {
			return
		}
		rings++
		for ring[v] == 0 {
			ring[open[len(open)-1]] = rings
			open = open[:len(open)-1]
		}
	}
	for v := range n {
		if order[v] == 0 {
			visit(v)
		}
	}
	return ring
}

// exists says whether mail to address can go anywhere: it is not ours, or an entry answers for it.
func (s *Snapshot) exists(address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	if d := s.Domain(domain); d == nil || !d.Mail {
		return true
	}
	_, ok := s.Resolve(address)
	return ok
}

// Resolve is Recipient, and where nobody answers for user+tag@domain, for
// user@domain, as Postfix looks addresses up (recipient_delimiter in postconf(5)).
func (s *Snapshot) Resolve(address string) (Recipient, bool) {
	if r, ok := s.Recipient(address); ok {
		return r, true
	}
	return s.Recipient(untagged(address))
}

// untagged is user@domain for user+tag@domain.
func untagged(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}
