package archiveprune

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Policy is what holds for the archive of one list. Its zero Keeps remove nothing.
type Policy struct {
	List     string // as the tree calls it, in lower case
	Address  string // in full, as far as it is known, else ""
	Table    string // the NAME of the [archive.lists."NAME"] that is about it, or ""
	KeepHTML Keep   // never longer than KeepMbox
	KeepMbox Keep
	HTMLFrom string // who says so, for people: "--keep-html", "the directory" and the like
	MboxFrom string
	Undated  Undated
}

// Override puts what the command line says of the whole run over the settings.
func (s *Settings) Override(o *Options) {
	if o.Layout != "" {
		s.Layout = layout.Layout(o.Layout)
	}
	if o.Compress != "" {
		s.Compress = Compression(o.Compress)
	}
	s.ScrubAddresses = s.ScrubAddresses || o.Scrub
	if o.TrashDays != AsConfigured {
		s.TrashDays = o.TrashDays
	}
}

// in are the settings for what is in one tree: without the [archive.lists] of others.
func (s *Settings) in(tree string) *Settings {
	there := *s
	there.Lists = maps.Clone(s.Lists)
	maps.DeleteFunc(there.Lists, func(_ string, l ListSettings) bool { return l.Tree != "" && l.Tree != tree })
	return &there
}

// inOneTree says whether a list, by its address, is in one tree only, as [archive.lists] says.
func (s *Settings) inOneTree(address string) bool {
	for name, l := range s.Lists {
		if l.Tree != "" && (name == address || l.Address == address) {
			return true
		}
	}
	return false
}

// Policy is that of the list that a tree calls name: flags, else
// [archive.lists], else its entry in the directory, else [archive]. The error, of kind
// diag.Refused, says why nothing of it may be changed; if it wraps ErrUnlisted
// the policy is whole all the same, else it keeps everything.
func (s *Settings) Policy(o *Options, name string, standing *Standing) (*Policy, error) {
	p := &Policy{List: strings.ToLower(name), Undated: s.Undated}
	entry, err := s.identify(p, standing)
	if errors.Is(err, ErrUnlisted) && p.Table != "" {
		err = nil // the admin knows it
	}
	if err != nil && !errors.Is(err, ErrUnlisted) {
		return p, err
	}
	if unclear := s.weigh(o, p, entry); unclear != nil {
		p.KeepHTML, p.KeepMbox = Forever, Forever
		return p, unclear
	}
	return p, err
}

// identify finds which list it is: its address, its table, its entry.
func (s *Settings) identify(p *Policy, standing *Standing) (*directory.List, error) {
	if isAddress(p.List) {
		p.Address = p.List
	}
	if own, named := s.Lists[p.List]; named && own.Address != "" {
		p.Address = own.Address
		if own.Tree == "" && len(s.Trees) > 1 && standing.several(p.List) {
			return nil, diag.Refused.Errorf("list %q: the directory has two, and each of %d trees may have either", p.List, len(s.Trees)).
				WithHint("set tree in [archive.lists.%q] of rplan.toml", p.List)
		}
	}
	if named := s.tables(p); p.Address == "" && len(named) == 1 && isAddress(named[0]) && s.Lists[named[0]].Tree != "" {
		p.Address = named[0]
	}
	known := p.List
	if p.Address != "" {
		known = p.Address
	}
	entry, refused := standing.Of(known)
	if entry != nil {
		p.Address = entry.Address
	}
	tables := s.tables(p)
	if len(tables) > 1 {
		return nil, diag.Refused.Errorf("list %q: [archive.lists.%q] and [archive.lists.%q] can both be about it", p.List, tables[0], tables[1]).
			WithHint("keep one of them, or set tree in each where they are in two; set address in [archive.lists.%q] of rplan.toml if the tree has the local part only", p.List)
	}
	if len(tables) == 1 {
		p.Table = tables[0]
		if p.Address == "" && isAddress(p.Table) {
			p.Address = p.Table
		}
	}
	return entry, refused
}

// tables are the names of those sections that can be about the list, sorted.
func (s *Settings) tables(p *Policy) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		if name == p.List || name == p.Address || p.Address == "" && called(name, p.List) {
			names = append(names, name)
		}
	}
	return names
}

// told is a time to keep something, as somebody says it; "" where they do not.
type told struct{ from, text string }

// weigh takes what the most particular of all says.
func (s *Settings) weigh(o *Options, p *Policy, entry *directory.List) error {
	table, where := s.Lists[p.Table], fmt.Sprintf("[archive.lists.%q]", p.Table)
	var atEntry directory.List
	if entry != nil {
		atEntry = *entry
	}
	html := []told{{"--keep-html", o.KeepHTML}, {where, textOf(table.KeepHTML)}, {theDirectory, atEntry.KeepHTML}, {"[archive]", s.KeepHTML.String()}}
	mbox := []told{{"--keep-mbox", o.KeepMbox}, {where, textOf(table.KeepMbox)}, {theDirectory, atEntry.KeepMbox}, {"[archive]", s.KeepMbox.String()}}
	var err error
	if p.KeepHTML, p.HTMLFrom, err = firstOf(p.List, "keep-html", html); err != nil {
		return err
	}
	if p.KeepMbox, p.MboxFrom, err = firstOf(p.List, "keep-mbox", mbox); err != nil {
		return err
	}
	if p.KeepHTML.Outlasts(p.KeepMbox) {
		if p.HTMLFrom == p.MboxFrom && p.HTMLFrom == theDirectory {
			return diag.Refused.Errorf("list %q: keep-html %q of its entry can be longer than keep-mbox %q: pages would show messages that are gone", p.List, p.KeepHTML, p.KeepMbox)
		}
		p.KeepHTML, p.HTMLFrom = p.KeepMbox, "keep-mbox of "+p.MboxFrom
	}
	for _, undated := range []Undated{table.Undated, Undated(o.Undated)} {
		if undated != "" {
			p.Undated = undated
		}
	}
	return nil
}

const theDirectory = "the directory"

// firstOf is the first that says anything. What cannot be read is no reason to ask the next one.
func firstOf(list, what string, all []told) (Keep, string, error) {
	for _, t := range all {
		if t.text == "" {
			continue
		}
		k, err := ParseKeep(t.text)
		if err != nil {
			return Forever, "", diag.Refused.Errorf("list %q: %s of %s cannot be read", list, what, t.from).
				WithHint("correct its entry, or set %s in [archive.lists.%q] of rplan.toml", what, list)
		}
		return k, t.from, nil
	}
	return Forever, "nobody", nil
}

func textOf(k *Keep) string {
	if k == nil {
		return ""
	}
	return k.String()
}

// Unused are the names of those [archive.lists] that are about none of the
// archives that were found: one that is misspelt protects nothing.
func (s *Settings) Unused(found []*Policy) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		if !slices.ContainsFunc(found, func(p *Policy) bool { return p.Table == name }) {
			names = append(names, name)
		}
	}
	return names
}
