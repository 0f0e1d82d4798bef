package archiveprune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/rebuild"
	"rplan/lib/diag"
)

// rebuild makes pages again: of a month into LIST/YYYY-MM, of all months each into its own.
func (r *runner) rebuild(ctx context.Context) error {
	made := 0
	err := r.each(ctx, func(t *tree, a *layout.Archive, policy *Policy, refused error) error {
		if refused != nil {
			return refused
		}
		if a.Layout == layout.Mlmmj || a.Layout == layout.Mailman3 { // which it would not be any more, with pages in it
			return diag.Refused.Errorf("list %q: an archive of %s has no pages", a.List, a.Layout).
				WithHint("mhonarc(1) can make some of it in a directory elsewhere")
		}
		g := r.gatherer(t, policy, func(int64) {})
		if err := g.read(ctx, a); err != nil {
			return err
		}
		for _, damage := range g.damage {
			fmt.Fprintf(r.env.Stderr, "%s\n", damage)
		}
		n, err := r.months(ctx, t, a, g.evidence)
		made += n
		return err
	})
	if r.o.JSON {
		if failed := r.env.PrintJSON(r.rebuilt); err == nil {
			err = failed
		}
	}
	if err == nil && made == 0 {
		return diag.Refused.Errorf("list %q has no message of %s", r.o.Args[0], r.o.Month())
	}
	return err
}

// Rebuilt is a month whose pages were made again.
type Rebuilt struct {
	Tree  string `json:"tree"`
	List  string `json:"list"`
	Month string `json:"month"` // YYYY-MM, or "undated"
	Dir   string `json:"dir"`
	rebuild.Result
}

// months makes the pages of the months that are asked for, as far as they have messages. What fails for one does
// not keep back the others.
func (r *runner) months(ctx context.Context, t *tree, a *layout.Archive, e *evidence) (made int, err error) {
	of := map[string]bool{}
	var names []string
	var errs []error
	for s := range e.sources {
		for _, m := range e.sources[s].messages {
			if month := m.month(); !of[month] && (r.o.Month() == "" || month == r.o.Month()) {
				of[month] = true
				names = append(names, month)
			}
		}
	}
	for _, month := range names {
		done, err := rebuild.Rebuild(ctx, rebuild.Options{
			Tree: t.root, Dest: path.Join(a.Dir, month), Title: a.List + " " + month,
			Messages: r.messages(t, e, month), Replace: true, HideAddresses: true,
		})
		if ctx.Err() != nil {
			return made, ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", month, err))
			continue
		}
		made++
		r.rebuilt = append(r.rebuilt, Rebuilt{t.path, a.List, month, path.Join(a.Dir, month), done})
		if r.o.JSON {
			continue
		}
		fmt.Fprintf(r.env.Stdout, "%s: %s of %s, %s\n", path.Join(t.path, a.Dir, month),
			count(done.Pages, "page", "pages"), count(done.Messages, "message", "messages"), size(done.Bytes))
	}
	err = errors.Join(errs...)
	switch {
	case err != nil && made > 0:
		err = diag.Partial.Errorf("list %q: %w", a.List, err)
	case len(errs) > 0:
		err = diag.KindOf(errs[0]).Errorf("list %q: %w", a.List, err).WithHint("%s", diag.HintOf(errs[0]))
	}
	return made, err
}

// undatedMonth is where messages without a date go.
const undatedMonth = "undated"

// month is the one that it is of, as YYYY-MM.
func (m *message) month() string {
	if m.date == noDate {
		return undatedMonth
	}
	return time.Unix(m.date, 0).UTC().Format("2006-01")
}

// messages are those of a month, from all sources.
func (r *runner) messages(t *tree, e *evidence, month string) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for s := range e.sources {
			if more := r.messagesOf(t, &e.sources[s], month, yield); !more {
				return
			}
		}
	}
}

// messagesOf yields the messages of a month from one source, and says whether more are wanted.
func (r *runner) messagesOf(t *tree, s *source, month string, yield func(io.Reader, error) bool) bool {
	if !slices.ContainsFunc(s.messages, func(m message) bool { return m.month() == month }) {
		return true
	}
	more := true
	err := s.each(t.root, func(m *message, text io.Reader) bool {
		if m.month() == month {
			more = yield(text, nil)
		}
		return more
	})
	if err != nil {
		return yield(nil, err)
	}
	return more
}
