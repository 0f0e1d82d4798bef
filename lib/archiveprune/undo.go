package archiveprune

import (
	"context"
	"fmt"
	"strings"

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
			errs = append(errs, diag.Usage.Errorf("nothing of the list %q is in the trash", name).
				WithHint("what was removed is there for trash-days, see rplan.toml(5)"))
		}
	}
	return together(errs)
}

func (r *runner) undoTree(ctx context.Context, path string) error {
	t, err := trash.Open(path)
	if err != nil {
		return err
	}
	defer t.Close()
	runs, left, err := t.Runs(0)
	if err != nil {
		return err
	}
	for _, l := range left {
		fmt.Fprintf(r.env.Stderr, "%s: %s\n", harmless(l.Path), l.Why)
	}
	if len(runs) == 0 {
		return nil
	}
	if err := r.lock(ctx, &tree{path: path, trash: t}); err != nil {
		return err
	}
	if err := r.allowed(runs); err != nil {
		return err
	}
	undone, err := t.Undo(ctx, func(i trash.Info) bool { return r.asked(i.List) })
	stayed := 0
	for _, u := range undone {
		fmt.Fprintf(r.env.Stdout, "%s: %s back, %s\n", u.Run, count(int(u.Files), "file is", "files are"), size(u.Bytes))
		r.stayed(u.Stayed)
		stayed += u.Stayed.Len()
	}
	if err == nil && stayed > 0 {
		err = diag.Partial.Errorf("tree %q: %s did not come back", path, count(stayed, "file", "files"))
	}
	return err
}

// allowed refuses if a list that would be changed is active on another node.
func (r *runner) allowed(runs []trash.Info) error {
	var errs []error
	seen := map[string]bool{}
	for _, i := range runs {
		list := strings.ToLower(i.List)
		if seen[list] || !r.asked(list) {
			continue
		}
		seen[list] = true
		if _, err := r.c.Policy(&r.o, list, r.standing); err != nil {
			errs = append(errs, err)
		}
	}
	return together(errs)
}
