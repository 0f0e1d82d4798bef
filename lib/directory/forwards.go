package directory

import (
	"slices"
	"sort"
	"strings"
)

// checkForwards leaves out targets that lead nowhere: local addresses that
// nobody answers for, and ways back to the forward itself. A forward without
// a target left is left out whole, which may in turn leave others without one.
func (b *Builder) checkForwards() {
	s := &b.snap
	b.cutLoops()
	gone := map[string]bool{}
	for again := true; again; {
		again = false
		for i := range s.Forwards {
			f := &s.Forwards[i]
			if gone[f.Address] {
				continue
			}
			f.Targets = slices.DeleteFunc(f.Targets, func(t string) bool {
				if !gone[t] && s.exists(t) {
					return false
				}
				b.report("target %s does not exist here; it is left out", f.DN, show(t))
				return true
			})
			if len(f.Targets) == 0 {
				b.report("forward %s has no target that can be reached; it is left out", f.DN, show(f.Address))
				gone[f.Address] = true
				again = true
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	s.Forwards = slices.DeleteFunc(s.Forwards, func(f Forward) bool { return gone[f.Address] })
	s.claims = s.collectClaims()
	s.claims = slices.CompactFunc(s.claims, func(a, b claim) bool { return a.address == b.address })
}

// cutLoops removes every target by which a forward comes back to itself.
func (b *Builder) cutLoops() {
	s := &b.snap
	ring := s.rings()
	for i := range s.Forwards {
		f := &s.Forwards[i]
		f.Targets = slices.DeleteFunc(f.Targets, func(t string) bool {
			r, ok := s.Resolve(t)
			if !ok || r.Forward == nil {
				return false
			}
			j := r.Forward.index(s)
			if ring[i] != ring[j] {
				return false
			}
			b.conflict("forward %s leads back to itself by way of %s; that target is left out", s.Forwards[j].DN, f.DN, show(f.Address), show(t))
			return true
		})
	}
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
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return s.Recipient(local + "@" + domain)
}
