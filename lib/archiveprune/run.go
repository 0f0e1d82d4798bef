// Package archiveprune is rp-archive-prune(8): it deletes what a mailing list's archive
// can have made again from its messages, once it has proven that it can, and
// messages that are too old.
package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/app"
	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/links"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// runner is one call of the command.
type runner struct {
	env      *app.Env
	o        Options
	c        *Configuration
	standing *Standing
	now      time.Time
	results  []*Result
	undone   []Undone
	rebuilt  []Rebuilt
	policies []*Policy
	found    map[string]bool // of the lists that were asked for
	done     int             // lists for which all was done
}

// Run does what the command line says.
func Run(ctx context.Context, env *app.Env, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := Load(o.Config)
	if err != nil {
		return err
	}
	c.Override(&o)
	r := &runner{env: env, o: o, c: c, now: env.Now(), results: []*Result{}, found: map[string]bool{}}
	if r.standing, err = c.ReadStanding(ctx); err != nil {
		return err
	}
	if r.standing != nil {
		for _, passed := range r.standing.Passed {
			fmt.Fprintf(env.Stderr, "the directory was read elsewhere: %v\n", passed)
		}
	}
	switch {
	case o.Undo:
		return r.undo(ctx)
	case o.Rebuild:
		return r.rebuild(ctx)
	}
	return r.prune(ctx)
}

// tree is one of the directories that archives are looked for in.
type tree struct {
	path     string
	root     *os.Root
	trash    *trash.Tree // only of a run that changes something
	killed   bool        // a run before this one was, and left something
	archives []layout.Archive

	newest time.Time // about when somebody last wrote to any of them, once clock has looked (dated)
	dated  bool
	doubt  bool // the clock may be wrong
}

func (t *tree) close() {
	if t.trash != nil {
		t.trash.Close()
	}
	t.root.Close()
}

// open looks what is in a tree. A tree that is damaged in part is used for the rest, with an error.
func (r *runner) open(ctx context.Context, path string) (*tree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, diag.Failed.Errorf("cannot open tree %q: %w", path, errors.Unwrap(err)).
			WithHint("trees of [archive] in rplan.toml are where archives are looked for")
	}
	t := &tree{path: path, root: root}
	if r.o.Changes() {
		if t.trash, err = trash.Open(path); err == nil {
			err = r.lock(ctx, t)
		}
		if err != nil {
			t.close()
			return nil, err
		}
	}
	archives, left, err := layout.Find(root, r.c.Layout)
	if !r.o.Changes() && len(r.o.Args) == 0 { // what no list's part of the report can name
		for _, l := range left {
			fmt.Fprintf(r.env.Stderr, "%s: %s\n", harmless(filepath.Join(path, l.Path)), harmless(l.Why))
		}
	}
	for _, a := range archives {
		r.sweep(t, &a)
		if r.asked(a.List) {
			t.archives = append(t.archives, a)
		}
	}
	return t, err
}

// sweep forgets what a killed run was about to put in a file's place, and removes it in a run that changes something:
// that one has the tree to itself.
func (r *runner) sweep(t *tree, a *layout.Archive) {
	a.Files = slices.DeleteFunc(a.Files, func(f layout.File) bool {
		name := path.Base(f.Path)
		ours := strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".rplan-new") // the latter is atomicfile's
		if ours && r.o.Changes() {
			_ = t.root.Remove(f.Path)
		}
		return ours
	})
}

// lock lets nobody else change the tree, and says what a killed run had left. That may have moved messages, and not said so to links.
func (r *runner) lock(ctx context.Context, t *tree) error {
	t.trash.Settle = settling
	t.trash.Hold = func(ctx context.Context, p string, old *os.File) (func(), error) { return r.hold(ctx, t, p, old) }
	mended, err := t.trash.Lock(ctx)
	for _, m := range mended {
		fmt.Fprintf(r.env.Stderr, "%s: %s\n", m.Run, m.Did)
		r.stayed(m.Stayed)
		t.killed = true
		if failed := r.follow(ctx, t, m.List, nil); failed != nil {
			fmt.Fprintln(r.env.Stderr, failed)
		}
	}
	return err
}

// stayed names what could not be moved.
func (r *runner) stayed(n trash.Notes) {
	for _, l := range n.Named {
		fmt.Fprintf(r.env.Stderr, "%s: %s\n", harmless(l.Path), l.Why)
	}
	if n.More > 0 {
		fmt.Fprintf(r.env.Stderr, "and %d more\n", n.More)
	}
}

// asked says whether the command line may be about what a tree calls list.
func (r *runner) asked(list string) bool {
	names, list := r.o.Lists(), strings.ToLower(list)
	return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return called(list, name) || called(name, list) })
}

// meant says whether it is, now that the list's address may be known, and remembers that there is one.
func (r *runner) meant(policy *Policy) bool {
	names := r.o.Lists()
	i := slices.IndexFunc(names, func(name string) bool {
		if isAddress(name) && (policy.Address != "" || r.c.inOneTree(name)) {
			return name == policy.Address
		}
		return called(policy.List, name) || called(name, policy.List)
	})
	if i >= 0 {
		r.found[names[i]] = true
	}
	return i >= 0 || len(names) == 0
}

// missing is the error for lists that no tree has.
func (r *runner) missing() error {
	for _, name := range r.o.Lists() {
		if !r.found[name] {
			return diag.Usage.Errorf("no tree has an archive of the list %q", name).
				WithHint("trees of [archive] in rplan.toml are where archives are looked for; without a list, all of them are reported")
		}
	}
	return nil
}

// each calls f for each archive that the run is about, with what holds for its list, and the reason why nothing of
// it may be changed. What fails for one does not stop the others.
func (r *runner) each(ctx context.Context, f func(*tree, *layout.Archive, *Policy, error) error) error {
	var errs []error
	looked := true // into all trees
	for _, path := range r.c.Trees {
		t, err := r.open(ctx, path)
		errs = append(errs, r.failing(path, err))
		if t == nil {
			looked = false
			continue
		}
		for i := 0; i < len(t.archives) && ctx.Err() == nil; i++ {
			a := &t.archives[i]
			policy, refused := r.c.in(path).Policy(&r.o, a.List, r.standing)
			r.policies = append(r.policies, policy)
			if !r.meant(policy) {
				continue
			}
			err := f(t, a, policy, refused)
			if errs = append(errs, err); err == nil {
				r.done++
			}
		}
		if r.o.Apply && ctx.Err() == nil {
			errs = append(errs, r.failing(path, r.finish(ctx, t)))
		}
		t.close()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if looked {
		errs = append(errs, r.missing())
	}
	return r.together(errs)
}

// failing has the results tell of what went wrong for a whole tree.
func (r *runner) failing(tree string, err error) error {
	if err != nil {
		result := newResult(tree, &layout.Archive{})
		result.Err, result.Error = err, err.Error()
		r.results = append(r.results, result)
	}
	return err
}

// together is one error for several. It is partial where something else was done, or if they are of several kinds.
func (r *runner) together(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	kind, hints := diag.KindOf(errs[0]), []string{}
	for _, err := range errs {
		if diag.KindOf(err) != kind {
			kind = diag.Partial
		}
		if hint := diag.HintOf(err); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	if r.done > 0 {
		kind = diag.Partial
	}
	err := kind.Errorf("%w", errors.Join(errs...))
	if len(hints) == 1 {
		err = err.WithHint("%s", hints[0])
	}
	return err
}

// finish is for the end of a tree: links of pages that went are published, and the trash emptied.
func (r *runner) finish(ctx context.Context, t *tree) error {
	_, err := links.Publish(ctx, t.root)
	if t.doubt { // then nobody knows how old the trash is either
		return err
	}
	progress := r.env.Progress("files deleted")
	defer progress.Done()
	before := r.env.Now().AddDate(0, 0, -r.c.TrashDays).Add(time.Second) // this run's own, with --trash-days 0
	emptied, failed := t.trash.Empty(ctx, before, func(i trash.Info) bool { return r.asked(i.List) }, func(files, _ int64) { progress.Show(int(files), 0) })
	for _, e := range emptied {
		r.stayed(e.Stayed)
	}
	return errors.Join(err, failed)
}

// prune reports all archives, and with --apply removes what can go.
func (r *runner) prune(ctx context.Context) error {
	err := r.each(ctx, func(t *tree, a *layout.Archive, policy *Policy, refused error) error {
		result, err := r.archive(ctx, t, a, policy, refused)
		r.results = append(r.results, result)
		if err != nil {
			result.Err, result.Error = err, err.Error()
		}
		return err
	})
	for _, name := range r.c.Unused(r.policies) {
		if len(r.o.Args) == 0 && ctx.Err() == nil {
			fmt.Fprintf(r.env.Stderr, "[archive.lists.%q] of rplan.toml is about no archive that was found\n", name)
		}
	}
	if r.o.Metrics != "" && ctx.Err() == nil {
		if _, failed := atomicfile.WriteFile(r.o.Metrics, Metrics(r.results, r.env.Now()), 0o644); failed != nil {
			err = r.together([]error{err, failed})
		}
	}
	return r.report(err)
}

// report prints the results. With --apply and nobody at the terminal, what went well goes without saying.
func (r *runner) report(err error) error {
	if r.o.JSON {
		if failed := r.env.PrintJSON(r.results); failed != nil {
			return r.together([]error{err, failed})
		}
		return err
	}
	if len(r.results) > 0 && (!r.o.Apply || r.env.Width > 0) {
		fmt.Fprint(r.env.Stdout, text(r.results, r.o.Apply))
	}
	return err
}
