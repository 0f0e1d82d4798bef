package genmaps

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"rplan/lib/directory"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/lib/source"
)

// report is what a run did, as --json prints it.
type report struct {
	Node      string         `json:"node"`
	Unchanged bool           `json:"unchanged"` // nothing was read: version and inputs are those of the last run
	Version   source.Version `json:"version"`   // of the directory, for all maps
	States    source.Version `json:"states"`    // and for what follows the nodes' states
	URL       string         `json:"url,omitempty"`
	Changes   []changeReport `json:"changes"`
	Removed   []string       `json:"removed"`
	Problems  []problem      `json:"problems"`
}

type changeReport struct {
	File string `json:"file"`
	mapfile.Difference
}

type problem struct {
	DNs    []string `json:"dns"`
	Text   string   `json:"text"`
	Notice bool     `json:"notice"` // nothing was left out
	line   string   // for people
}

// maxProblems is how many warnings a run prints; --json has all of them.
const maxProblems = 100

func (r *report) addProblems(problems []directory.Problem) {
	for _, p := range problems {
		r.Problems = append(r.Problems, problem{DNs: p.DNs, Text: p.Text, Notice: p.Notice, line: p.Kind() + ": " + p.String()})
	}
}

// shownProblems are the warnings to print.
func (r *report) shownProblems() []string {
	var lines []string
	for i, p := range r.Problems {
		if i == maxProblems {
			return append(lines, fmt.Sprintf("and %d more; --json lists all", len(r.Problems)-i))
		}
		lines = append(lines, p.line)
	}
	return lines
}

// leftOut counts the problems that left something out of the maps.
func (r *report) leftOut() (n int) {
	for _, p := range r.Problems {
		if !p.Notice {
			n++
		}
	}
	return n
}

func (r *report) addPlan(p *plan) {
	for _, c := range p.changes {
		r.Changes = append(r.Changes, changeReport{paths(c.File)[0], c.Difference})
	}
	r.Removed = append(r.Removed, p.removed...)
}

func (r *report) summary() string {
	if r.Unchanged {
		return "nothing changed since the last run"
	}
	var rows int
	for _, c := range r.Changes {
		rows += c.Added + c.Removed + c.Changed
	}
	return fmt.Sprintf("%d rows in %d files changed, %d files removed, read from %s", rows, len(r.Changes), len(r.Removed), r.URL)
}

// nothingToDo is what a dry run says then.
const nothingToDo = "nothing would change"

// dry is the publisher of a dry run: it says what a live one would do.
type dry struct {
	out   io.Writer
	quiet bool // the plan is shown in another form
}

func (d dry) publish(_ context.Context, p *plan) error {
	if d.quiet {
		return nil
	}
	for _, c := range p.changes {
		fmt.Fprintf(d.out, "would write %s: %d rows, %d added, %d removed, %d changed\n",
			paths(c.File)[0], c.Total, c.Added, c.Removed, c.Changed)
	}
	for _, path := range p.removed {
		fmt.Fprintf(d.out, "would remove %s\n", path)
	}
	return nil
}

// diffPrinter prints lines of a unified diff, each file's under its own header.
func diffPrinter(out *bufio.Writer, maps string) func(render.File, []byte) {
	last := ""
	return func(f render.File, line []byte) {
		if path := paths(f)[0]; path != last {
			last = path
			fmt.Fprintf(out, "--- %s/%s\n+++ %s (new)\n", maps, path, path)
		}
		out.Write(line)
	}
}
