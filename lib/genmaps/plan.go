package genmaps

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"rplan/lib/diag"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/lib/published"
)

// plan is what a run is about to do with one service: found by reading only,
// shown by a dry run, carried out by a publisher.
type plan struct {
	maps    string // the maps directory
	service string
	files   []render.File // all of the service
	changes []*change
	removed []string // published files that belong to no map any more, relative to maps
	zones   loss     // of all zones together
	held    bool     // other changes of the service were refused
	part    bool     // other files of the service were not looked at
}

// urgent is the part of a refused plan that goes out all the same: a loss or a
// bad zone must not keep users on a node that is gone.
func (p *plan) urgent() *plan {
	part := &plan{maps: p.maps, service: p.service, files: p.files, held: true, part: p.part}
	for _, c := range p.changes {
		if c.Urgent {
			part.changes = append(part.changes, c)
		}
	}
	return part
}

// change is a file that is new, differs from what is published, or was touched since it was.
type change struct {
	render.File
	mapfile.Difference
	loss loss // of a guarded table
}

// paths are what a rendered file is published as, relative to the maps directory.
func paths(f render.File) []string {
	names := mapfile.Names(f.Name, f.Format)
	for i := range names {
		names[i] = filepath.Join(f.Service, names[i])
	}
	return names
}

// planner compares rendered files with published ones.
type planner struct {
	maps   string
	before *published.State // what the last run left
	force  bool             // take every file for a changed one
	now    time.Time
	show   func(f render.File, line []byte) // is told each line of the diff; may be nil
	part   func(f render.File) bool         // the files to look at; nil is all of them
}

// plan compares the files of a service.
func (p *planner) plan(service string, files []render.File) (*plan, error) {
	out := &plan{maps: p.maps, service: service, files: files, part: p.part != nil}
	for i, f := range files {
		if out.part && !p.part(f) {
			continue
		}
		c := &change{File: f}
		var err error
		if f.Rows != nil {
			err = p.compareRows(c)
		} else {
			err = p.compareText(c, &out.zones)
			out.files[i].Text = c.Text
		}
		if err != nil {
			return nil, err
		}
		if !c.None() || !p.intact(f) {
			out.changes = append(out.changes, c)
		}
	}
	if out.part {
		return out, nil
	}
	out.removed = strays(service, files, p.before)
	return out, p.countRemovedZones(out)
}

// intact says whether what is published for f is what a run left there: a table
// that a tool built may not go with its text after a kill, or was changed by hand.
func (p *planner) intact(f render.File) bool {
	return !p.force && !slices.ContainsFunc(paths(f), func(path string) bool {
		return !p.before.Services[f.Service].Intact(p.maps, path)
	})
}

// published opens what is there for f, in the format that it has now or, after
// a change of the settings, had before.
func (p *planner) published(f render.File) (*mapfile.Reader, error) {
	for _, format := range []render.Format{f.Format, render.CDB, render.TextMap} {
		name := filepath.Join(p.maps, f.Service, mapfile.Names(f.Name, format)[0])
		old, err := mapfile.Open(name, format)
		if !errors.Is(err, fs.ErrNotExist) {
			return old, err
		}
	}
	return nil, nil
}

func (p *planner) compareRows(c *change) error {
	old, err := p.published(c.File)
	if old != nil {
		defer old.Close()
	}
	if err == nil {
		c.Difference, err = mapfile.Compare(old, c.Rows, func(op mapfile.Op, key, was, is string) { p.row(c, op, key, was, is) })
		c.loss.of = c.Total - c.Added + c.Removed
	}
	if diag.KindOf(err) == diag.BadData {
		// No service can read what is published either: all rows are new.
		c.loss = loss{}
		c.Difference, err = mapfile.Compare(nil, c.Rows, func(mapfile.Op, string, string, string) {})
	}
	if err != nil {
		return diag.CantCreate.Errorf("comparing with the published map: %w", err)
	}
	return nil
}

// row notes one row that differs.
func (p *planner) row(c *change, op mapfile.Op, key, was, is string) {
	if op == mapfile.Remove {
		c.loss.add(key)
	}
	if p.show == nil {
		return
	}
	if op != mapfile.Add {
		p.show(c.File, []byte("-"+mapfile.Line(key, was)+"\n"))
	}
	if op != mapfile.Remove {
		p.show(c.File, []byte("+"+mapfile.Line(key, is)+"\n"))
	}
}

func (p *planner) compareText(c *change, zones *loss) error {
	old, err := os.ReadFile(filepath.Join(p.maps, paths(c.File)[0]))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diag.CantCreate.Errorf("comparing with the published file: %w", err)
	}
	if c.Format == render.Zone {
		c.Text = render.WithSerial(c.Text, old, p.now)
		zones.compare(zoneNames(old), zoneNames(c.Text))
	}
	c.Total = bytes.Count(c.Text, []byte("\n"))
	for line := range bytes.Lines(diff.Diff("", old, "", c.Text)) {
		switch {
		case bytes.HasPrefix(line, []byte("diff ")), bytes.HasPrefix(line, []byte("---")), bytes.HasPrefix(line, []byte("+++")):
			continue
		case line[0] == '+':
			c.Added++
		case line[0] == '-':
			c.Removed++
		}
		if p.show != nil {
			p.show(c.File, line)
		}
	}
	return nil
}

// strays are the files that an earlier run published for the service and this one does not.
func strays(service string, files []render.File, before *published.State) []string {
	belongs := map[string]bool{}
	for _, f := range files {
		for _, path := range paths(f) {
			belongs[path] = true
		}
	}
	var strays []string
	if s := before.Services[service]; s != nil {
		for path := range s.Files {
			if !belongs[path] {
				strays = append(strays, path)
			}
		}
	}
	slices.Sort(strays)
	return strays
}
