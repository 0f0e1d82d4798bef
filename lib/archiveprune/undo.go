package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/diag"
)

// undo brings back what is in the trash, of all lists or of those that are named. It looks for no
// archive: there may be none left.
func (r *runner) undo(ctx context.Context) error {
	var errs []error
	for _, path := range r.c.Trees {
		if err := r.undoTree(ctx, path); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, name := range r.o.Lists() {
		if !r.found[name] {
			errs = append(errs, diag.Failed.Errorf("nothing of the list %q is in the trash", name).
				WithHint("what was removed is there for trash-days, see rplan.toml(5)"))
		}
	}
	if r.o.JSON {
		errs = append(errs, r.env.PrintJSON(r.undone))
	}
	return r.together(errs)
}

// Undone is a run of which what was in the trash is back.
type Undone struct {
	Tree   string   `json:"tree"`
	List   string   `json:"list"`
	Run    string   `json:"run"`
	Back   Amount   `json:"back"`
	Stayed []string `json:"stayed,omitempty"` // what is still in the trash, and why
}

func (r *runner) undoTree(ctx context.Context, path string) error {
	t, err := trash.Open(path)
	if err != nil {
		return err
	}
	defer t.Close()
	runs, left, err := t.Runs(0)
	if err != nil || len(runs)+len(left) == 0 { // and no trash is made for nothing
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return diag.Failed.Errorf("cannot open tree %q: %w", path, errors.Unwrap(err))
	}
	defer root.Close()
	whole := &tree{path: path, root: root, trash: t}
	if err := r.lock(ctx, whole); err != nil {
		return err
	}
	if whole.killed {
		r.sweepAll(whole)
	}
	if runs, left, err = t.Runs(0); err != nil { // what a killed run left is mended now
		return err
	}
	for _, l := range left {
		fmt.Fprintf(r.env.Stderr, "%s: %s\n", harmless(l.Path), l.Why)
	}
	allowed, refused := r.allowed(path, runs)
	undone, err := t.Undo(ctx, func(i trash.Info) bool { return allowed[i.List] })
	stayed, back := 0, map[string]bool{}
	for _, u := range undone {
		one := Undone{Tree: path, List: u.List, Run: u.Run, Back: Amount{int(u.Files), u.Bytes}}
		for _, l := range u.Stayed.Named {
			one.Stayed = append(one.Stayed, l.Path+": "+l.Why)
		}
		r.undone = append(r.undone, one)
		if !r.o.JSON {
			fmt.Fprintf(r.env.Stdout, "%s: %s back, %s\n", u.Run, count(int(u.Files), "file is", "files are"), size(u.Bytes))
		}
		r.stayed(u.Stayed)
		stayed += u.Stayed.Len()
		back[u.List] = true
	}
	for _, list := range slices.Sorted(maps.Keys(back)) {
		if failed := r.follow(ctx, whole, list, nil); failed != nil && err == nil {
			err = failed
		}
	}
	if err == nil {
		r.done += len(back)
	}
	if err == nil && stayed > 0 {
		err = diag.Partial.Errorf("tree %q: %s did not come back", path, count(stayed, "file", "files"))
	}
	return errors.Join(append(refused, err)...)
}

// sweepAll removes what a killed run left beside the files of what archives there are.
func (r *runner) sweepAll(t *tree) {
	archives, _, _ := layout.Find(t.root, r.c.Layout) // an error says that there is none, or not one
	for i := range archives {
		r.sweep(t, &archives[i])
	}
}

// allowed are the lists of which something is in the trash and is to come back, and the reasons why others
// may not be changed here. What a list's entry says of retention does not matter, nor that it has none any more.
func (r *runner) allowed(tree string, runs []trash.Info) (lists map[string]bool, refused []error) {
	lists = map[string]bool{}
	for _, i := range runs {
		if _, seen := lists[i.List]; seen || !r.asked(i.List) {
			continue
		}
		policy := &Policy{List: strings.ToLower(i.List)}
		_, err := r.c.in(tree).identify(policy, r.standing)
		if !r.meant(policy) {
			continue
		}
		lists[i.List] = err == nil || errors.Is(err, ErrUnlisted)
		if !lists[i.List] {
			refused = append(refused, err)
		}
	}
	return lists, refused
}
