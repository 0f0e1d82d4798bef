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
	"rplan/lib/maillock"
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
	return r.together(errs)
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
	root, err := os.OpenRoot(path)
	if err != nil {
		return diag.Failed.Errorf("cannot open tree %q: %w", path, errors.Unwrap(err))
	}
	defer root.Close()
	whole := &tree{path: path, root: root, trash: t}
	if err := r.lock(ctx, whole); err != nil {
		return err
	}
	allowed, refused := r.allowed(runs)
	locks, err := r.lockAll(ctx, whole, allowed)
	if err != nil {
		return errors.Join(append(refused, err)...)
	}
	undone, err := t.Undo(ctx, func(i trash.Info) bool { return allowed[i.List] })
	release(locks)
	stayed, back := 0, map[string]bool{}
	for _, u := range undone {
		fmt.Fprintf(r.env.Stdout, "%s: %s back, %s\n", u.Run, count(int(u.Files), "file is", "files are"), size(u.Bytes))
		r.stayed(u.Stayed)
		stayed += u.Stayed.Len()
		back[u.List] = true
	}
	for _, list := range slices.Sorted(maps.Keys(back)) {
		if failed := r.follow(ctx, whole, list, nil); failed != nil && err == nil {
			err = failed
		}
	}
	if err == nil && stayed > 0 {
		err = diag.Partial.Errorf("tree %q: %s did not come back", path, count(stayed, "file", "files"))
	}
	return errors.Join(append(refused, err)...)
}

// lockAll takes the locks of all programs that write to what there is of some lists.
func (r *runner) lockAll(ctx context.Context, t *tree, lists map[string]bool) (held []*maillock.Lock, err error) {
	archives, _, err := layout.Find(t.root, r.c.Layout)
	if err != nil && diag.KindOf(err) != diag.Partial && diag.KindOf(err) != diag.Refused {
		return nil, err
	}
	add := func(more []*maillock.Lock, failed error) { held, err = append(held, more...), failed }
	err = nil
	for i := range archives {
		a := &archives[i]
		if !lists[a.List] {
			continue
		}
		add(r.lockArchive(ctx, t, a))
		for f := range a.Files {
			if a.Files[f].Kind == layout.Mbox && err == nil {
				add(t.lockMbox(ctx, a.Files[f].Path))
			}
		}
		if err != nil {
			release(held)
			return nil, err
		}
	}
	return held, nil
}

// allowed are the lists of which something is in the trash and is to come back, and the reasons why others
// may not be changed here. What a list's entry says of retention does not matter, nor that it has none any more.
func (r *runner) allowed(runs []trash.Info) (lists map[string]bool, refused []error) {
	lists = map[string]bool{}
	for _, i := range runs {
		if _, seen := lists[i.List]; seen || !r.asked(i.List) {
			continue
		}
		policy := &Policy{List: strings.ToLower(i.List)}
		_, err := r.c.identify(policy, r.standing)
		if !r.meant(policy) {
			continue
		}
		lists[i.List] = err == nil || errors.Is(err, ErrUnlisted)
		if lists[i.List] {
			r.done++
		} else {
			refused = append(refused, err)
		}
	}
	return lists, refused
}
