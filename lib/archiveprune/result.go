package archiveprune

import (
	"cmp"
	"slices"

	"rplan/lib/archiveprune/layout"
)

// Amount is a number of files (or messages) and their bytes.
type Amount struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) { a.Files++; a.Bytes += bytes }

// Reason is why something stays, and what: the paths, from the tree's top, each perhaps
// with more of the reason behind ": ".
type Reason struct {
	Why string `json:"why"`
	Amount
	Paths []string `json:"paths,omitempty"` // of what somebody may want to look at
}

// Result is what was found in the archive of a list, and done to it.
type Result struct {
	List     string                 `json:"list"` // "" where something failed for the whole tree
	Layout   layout.Layout          `json:"layout"`
	Tree     string                 `json:"tree"`
	Dir      string                 `json:"dir"`
	Messages int                    `json:"messages"`
	Kinds    map[layout.Kind]Amount `json:"kinds"`
	Goes     Amount                 `json:"goes"`           // files
	Stays    Amount                 `json:"stays"`          // what is no source: files, and what is passed over
	Reasons  []Reason               `json:"reasons"`        // of those
	Expired  Amount                 `json:"expired"`        // messages that are too old
	Kept     map[string]int         `json:"kept,omitempty"` // messages that would be, and why they stay
	Moved    Amount                 `json:"moved"`          // messages of closed months, to be compressed
	Scrubbed Scrubbed               `json:"scrubbed"`
	Damage   []string               `json:"damage,omitempty"`
	Done     bool                   `json:"done"`  // with --apply, all that goes went
	Freed    int64                  `json:"freed"` // bytes, out of sight; the trash still has them
	Notes    []string               `json:"notes,omitempty"`
	Err      error                  `json:"-"`
	Error    string                 `json:"error,omitempty"`
}

// Scrubbed says how many addresses were taken out of how many messages.
type Scrubbed struct {
	Messages  int `json:"messages"`
	Addresses int `json:"addresses"`
}

func newResult(tree string, a *layout.Archive) *Result {
	return &Result{List: a.List, Layout: a.Layout, Tree: tree, Dir: a.Dir, Kinds: map[layout.Kind]Amount{}, Reasons: []Reason{}}
}

// result sums a plan up.
func (p *plan) result(tree string) *Result {
	r := newResult(tree, p.archive)
	r.Messages, r.Kept, r.Damage = p.evidence.messages, p.kept, p.evidence.damage
	for i := range p.archive.Files {
		f := &p.archive.Files[i]
		a := r.Kinds[f.Kind]
		a.add(f.Size)
		r.Kinds[f.Kind] = a
	}
	p.judged(r)
	for s, months := range p.closed {
		for _, numbers := range months {
			for _, n := range numbers {
				r.Moved.add(p.evidence.sources[s].messages[n].Size())
			}
		}
	}
	for s, numbers := range p.expired {
		for _, n := range numbers {
			r.Expired.add(p.evidence.sources[s].messages[n].Size())
		}
	}
	return r
}

// judged adds what the verdicts come to.
func (p *plan) judged(r *Result) {
	reasons := map[string]*Reason{}
	stays := func(path string, size int64, why, detail string) {
		r.Stays.add(size)
		if reasons[why] == nil {
			reasons[why] = &Reason{Why: why}
		}
		reasons[why].add(size)
		if !slices.Contains([]string{whyYoung, whyForever, whyPages, whyRebuilt, whyNumbers}, why) {
			reasons[why].Paths = append(reasons[why].Paths, path+after(detail))
		}
	}
	for i := range p.verdicts {
		v := &p.verdicts[i]
		if v.goes() {
			r.Goes.add(v.file.Size)
			continue
		}
		stays(v.file.Path, v.file.Size, v.why, v.detail)
	}
	for _, l := range p.archive.Left {
		stays(l.Path, 0, whyPassed, l.Why)
	}
	for _, reason := range reasons {
		r.Reasons = append(r.Reasons, *reason)
	}
	slices.SortFunc(r.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Files, a.Files), cmp.Compare(a.Why, b.Why))
	})
}

func after(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}
