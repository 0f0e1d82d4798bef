package directory

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is something in the directory that was left out, or is not as it should be.
type Problem struct {
	DNs    []string // the entries it is about
	Keys   []string // the addresses, host names and other names it is about, as --explain takes them
	Text   string
	Notice bool // nothing was left out by mistake of an entry: it waits for a state or an admin to change
}

// IsAbout says whether the problem is about one of the keys, or about an entry that is called so.
func (p Problem) IsAbout(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		return slices.Contains(p.Keys, key) || slices.ContainsFunc(p.DNs, func(dn string) bool { return isCalled(dn, key) })
	})
}

func (p Problem) String() string {
	var b strings.Builder
	for i, dn := range p.DNs {
		if i == maxNamed {
			fmt.Fprintf(&b, " and %d more", len(p.DNs)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(show(dn))
	}
	return b.String() + ": " + p.Text
}

// Kind is what a message about the problem begins with: "warning", or "note" where nothing was left out.
func (p Problem) Kind() string {
	if p.Notice {
		return "note"
	}
	return "warning"
}

// maxNamed is how many DNs or values a message names.
const maxNamed = 3

// report tells what one entry lost.
func (b *Builder) report(dn string, keys []string, format string, args ...any) {
	b.problems = append(b.problems, Problem{DNs: []string{dn}, Keys: keys, Text: fmt.Sprintf(format, args...)})
}

// conflict reports that two entries claim a name.
func (b *Builder) conflict(name, keeper, loser, format string, args ...any) {
	b.problems = append(b.problems, Problem{DNs: []string{loser, keeper}, Keys: []string{name}, Text: fmt.Sprintf(format, args...)})
}

func (b *Builder) notice(dns, keys []string, format string, args ...any) {
	b.problems = append(b.problems, Problem{DNs: dns, Keys: keys, Text: fmt.Sprintf(format, args...), Notice: true})
}
