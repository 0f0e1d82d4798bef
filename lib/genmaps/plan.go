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
)

// plan is what a run is about to do: found by reading only, shown by a dry
// run, carried out by a publisher.
type plan struct {
	maps    string // the maps directory
	files   []render.File
	changes []*change
	removed []string // published files that belong to no map any more, relative to maps
}

// change is a file that is new or differs from what is published.
type change struct {
	render.File
	mapfile.Difference
	lost []string // of a guarded map: the first keys that would vanish
}

// maxLost is how many keys a refusal names.
const maxLost = 20

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
	before *state // what the last run left
	now    time.Time
	show   func(f render.File, line []byte) // is told each line of the diff; may be nil
}

func (p *planner) plan(files []render.File) (*plan, error) {
	out := &plan{maps: p.maps, files: files}
	for i, f := range files {
		c := &change{File: f}
		var err error
		if f.Rows != nil {
			err = p.compareRows(c)
		} else {
			err = p.compareText(c)
			out.files[i].Text = c.Text
		}
		if err != nil {
			return nil, err
		}
		if !c.None() || !p.published(f) || p.unsure(f) {
			out.changes = append(out.changes, c)
		}
	}
	out.removed = strays(files, p.before)
	return out, nil
}

// published says whether every file of f is there; one that the service's tool made may have been lost.
func (p *planner) published(f render.File) bool {
	return !slices.ContainsFunc(paths(f), func(path string) bool {
		_, err := os.Stat(filepath.Join(p.maps, path))
		return err != nil
	})
}

// unsure says whether a killed run may have left a table that does not go with its text.
func (p *planner) unsure(f render.File) bool {
	s := p.before.Services[f.Service]
	return f.Format == render.LMDB && s != nil && s.Unsettled
}

func (p *planner) compareRows(c *change) error {
	old, err := mapfile.Open(filepath.Join(p.maps, paths(c.File)[0]), c.Format)
	if err == nil {
		defer old.Close()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		c.Difference, err = mapfile.Compare(old, c.Rows, func(op mapfile.Op, key, was, is string) { p.row(c, op, key, was, is) })
	}
	if diag.KindOf(err) == diag.BadData {
		// No service can read what is published either: all rows are new.
		c.lost = nil
		c.Difference, err = mapfile.Compare(nil, c.Rows, func(mapfile.Op, string, string, string) {})
	}
	if err != nil {
		return diag.CantCreate.Errorf("comparing with the published map: %w", err)
	}
	return nil
}

// row notes one row that differs.
func (p *planner) row(c *change, op mapfile.Op, key, was, is string) {
	if op == mapfile.Remove && c.Guarded && len(c.lost) < maxLost {
		c.lost = append(c.lost, key)
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

func (p *planner) compareText(c *change) error {
	old, err := os.ReadFile(filepath.Join(p.maps, paths(c.File)[0]))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diag.CantCreate.Errorf("comparing with the published file: %w", err)
	}
	if c.Format == render.Zone {
		c.Text = render.WithSerial(c.Text, old, p.now)
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

// strays are the files that an earlier run published for one of the rendered services and this one does not.
func strays(files []render.File, before *state) []string {
	belongs := map[string]bool{}
	rendered := map[string]bool{}
	for _, f := range files {
		rendered[f.Service] = true
		for _, path := range paths(f) {
			belongs[path] = true
		}
	}
	var strays []string
	for service := range rendered {
		if s := before.Services[service]; s != nil {
			for path := range s.Files {
				if !belongs[path] {
					strays = append(strays, path)
				}
			}
		}
	}
	slices.Sort(strays)
	return strays
}
