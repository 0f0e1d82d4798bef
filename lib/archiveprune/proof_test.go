package archiveprune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/archiveprune/layout"
	"rplan/tests/archive"
)

// proofDay is when the runs of these tests are.
var proofDay = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// proofTree is a tree of Mailman 2 with one list, and how it is pruned.
type proofTree struct {
	*archive.PipermailTree
	t      *testing.T
	path   string // of the tree
	stdout bytes.Buffer
	now    time.Time
}

// newProofTree has n ordinary mails of 2003.
func newProofTree(t *testing.T, n int, o archive.PipermailOptions) *proofTree {
	t.Helper()
	return newProofTreeOf(t, archive.Make{Seed: 4, N: n, Plain: true, Every: 24 * time.Hour}, o)
}

func newProofTreeOf(t *testing.T, m archive.Make, o archive.PipermailOptions) *proofTree {
	t.Helper()
	dir := t.TempDir()
	made, err := archive.Pipermail(dir, "dev", m.Mails(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &proofTree{PipermailTree: made, t: t, path: filepath.Join(dir, "archives/private"), now: proofDay}
}

// in is a path from where the archive was made, as one from the tree's top.
func (p *proofTree) in(made string) string { return strings.TrimPrefix(made, "archives/private/") }

func (p *proofTree) file(made string) string { return filepath.Join(p.path, p.in(made)) }

// change rewrites a file in place.
func (p *proofTree) change(made string, change func(old []byte) []byte) {
	p.t.Helper()
	old, err := os.ReadFile(p.file(made))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.file(made), change(old), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *proofTree) add(made, text string) {
	p.t.Helper()
	p.change(made, func(old []byte) []byte { return append(old, text...) })
}

func (p *proofTree) has(made string) bool {
	_, err := os.Lstat(p.file(made))
	return err == nil
}

// setting is rplan.toml with more lines for [archive].
func (p *proofTree) setting(lines ...string) string {
	p.t.Helper()
	toml := filepath.Join(p.t.TempDir(), "rplan.toml")
	text := fmt.Sprintf("[archive]\ntrees = [%q]\nmailman-locks = %q\n%s\n", p.path, p.t.TempDir(), strings.Join(lines, "\n"))
	if err := os.WriteFile(toml, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return toml
}

// run is a run of the command. It gives what --json prints.
func (p *proofTree) run(o Options) ([]*Result, error) {
	p.t.Helper()
	if o.Config == "" {
		o.Config = p.setting()
	}
	o.JSON, o.TrashDays = true, AsConfigured
	p.stdout.Reset()
	env := &app.Env{Stdout: &p.stdout, Stderr: p.t.Output(), Now: func() time.Time { return p.now }}
	err := Run(p.t.Context(), env, o)
	var results []*Result
	if p.stdout.Len() > 0 && !o.Undo {
		if wrong := json.Unmarshal(p.stdout.Bytes(), &results); wrong != nil {
			p.t.Fatalf("%v\n%s", wrong, p.stdout.Bytes())
		}
	}
	return results, err
}

// stays says why files stay, by path.
func (p *proofTree) stays(o Options) map[string]string {
	p.t.Helper()
	results, err := p.run(o)
	if err != nil {
		p.t.Fatal(err)
	}
	why := map[string]string{}
	for _, r := range results {
		for _, reason := range r.Reasons {
			for _, named := range reason.Paths {
				file, _, _ := strings.Cut(named, ": ")
				why[file] = reason.Why
			}
		}
	}
	return why
}

// engine is the runner of a run that may change the tree, the tree, and the plan for its only archive.
func (p *proofTree) engine() (*runner, *tree, *plan, *Policy) {
	p.t.Helper()
	c, err := Load(p.setting())
	if err != nil {
		p.t.Fatal(err)
	}
	o := Options{Apply: true, TrashDays: AsConfigured}
	env := &app.Env{Stdout: p.t.Output(), Stderr: p.t.Output(), Now: func() time.Time { return p.now }}
	r := &runner{env: env, o: o, c: c, now: p.now, found: map[string]bool{}}
	t, err := r.open(p.t.Context(), p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(t.close)
	policy, err := c.Policy(&o, "dev", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	plan, err := r.look(p.t.Context(), t, &t.archives[0], policy)
	if err != nil {
		p.t.Fatal(err)
	}
	return r, t, plan, policy
}

// going are the paths of what a plan removes.
func (p *plan) going(kind layout.Kind) (paths []string) {
	for i := range p.verdicts {
		if v := &p.verdicts[i]; v.goes() && v.file.Kind == kind {
			paths = append(paths, v.file.Path)
		}
	}
	return paths
}

// What was proven must still be so when pages go: minutes can lie between.
func TestSourceChangesAfterProof(t *testing.T) {
	const mail = "From a@example.org  Thu Nov 26 11:00:00 2026\nDate: Thu, 26 Nov 2026 11:00:00 +0000\n\nnew\n\n"
	for name, c := range map[string]struct {
		change func(p *proofTree)
		goes   bool
	}{
		"nothing":  {func(*proofTree) {}, true},
		"new mail": {func(p *proofTree) { p.add(p.Mbox, mail) }, true},
		"emptied":  {func(p *proofTree) { p.change(p.Mbox, func([]byte) []byte { return nil }) }, false},
		"replaced by an empty one": {func(p *proofTree) {
			os.Rename(p.file(p.Mbox), p.file(p.Mbox)+".1")
			os.WriteFile(p.file(p.Mbox), nil, 0o644)
		}, false},
		"replaced by a symlink": {func(p *proofTree) {
			os.Rename(p.file(p.Mbox), p.file(p.Mbox)+".1")
			os.Symlink(p.file(p.Mbox)+".1", p.file(p.Mbox))
		}, false},
		"gone": {func(p *proofTree) { os.Remove(p.file(p.Mbox)) }, false},
		"cut":  {func(p *proofTree) { p.change(p.Mbox, func(old []byte) []byte { return old[:len(old)/2] }) }, false},
		"written over": {func(p *proofTree) {
			p.change(p.Mbox, func(old []byte) []byte { return bytes.Repeat([]byte("x"), len(old)) })
		}, false},
		"another, and longer": {func(p *proofTree) {
			p.change(p.Mbox, func(old []byte) []byte { return bytes.Repeat([]byte(mail), len(old)/len(mail)+9) })
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProofTree(t, 5, archive.PipermailOptions{})
			r, tree, plan, policy := p.engine()
			if n := len(plan.going(layout.Page)); n != 5 {
				t.Fatalf("%d of 5 pages would go", n)
			}
			c.change(p)
			err := r.apply(context.Background(), tree, plan, policy, plan.result(p.path))
			if gone := !p.has(p.Pages[0].Path); gone != c.goes || (err == nil) != c.goes {
				t.Errorf("pages gone: %v, with %v", gone, err)
			}
		})
	}
}

// A mail whose end is lost in the mbox is whole in its page only.
func TestTornMessages(t *testing.T) {
	for name, c := range map[string]struct {
		tear func(mbox []byte, second int) []byte // second is where the second of three mails begins
		stay []int
	}{
		"nothing":       {func(b []byte, _ int) []byte { return b }, nil},
		"in the header": {func(b []byte, at int) []byte { return b[:at+bytes.Index(b[at:], []byte("\n\n"))+1] }, []int{0, 1, 2}}, // the mbox is damaged
		"in the header, then": {func(b []byte, at int) []byte {
			return slices.Concat(b[:at+bytes.Index(b[at:], []byte("\n\n"))+1], b[second(b, at):])
		}, []int{1}},
		"in a line, then": {func(b []byte, at int) []byte { return slices.Concat(b[:second(b, at)-20], b[second(b, at):]) }, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProofTreeOf(t, archive.Make{Seed: 4, N: 3, Plain: true, Bare: true}, archive.PipermailOptions{})
			p.change(p.Mbox, func(old []byte) []byte { return c.tear(old, second(old, 0)) })
			stays := p.stays(Options{})
			for i, page := range p.Pages {
				if _, is := stays[p.in(page.Path)]; is != slices.Contains(c.stay, i) {
					t.Errorf("page %d stays: %v", i, is)
				}
			}
		})
	}
}

// second is where the next mail begins after the one at an offset.
func second(mbox []byte, at int) int { return at + 1 + bytes.Index(mbox[at+1:], []byte("\nFrom ")) + 1 }

// A month's text has as many messages of an ID as the mbox, or it has one that is nowhere else.
func TestTextWithMoreThanTheMbox(t *testing.T) {
	const another = "\nFrom a at example.org  Fri Jan  3 11:00:00 2003\nFrom: a at example.org (A)\nDate: Fri, 3 Jan 2003 11:00:00 +0000\nSubject: another\nMessage-ID: <%s>\n\nIt is nowhere else.\n\n"
	for name, c := range map[string]struct {
		change func(text []byte, id string) []byte
		why    string
	}{
		"nothing":           {func(b []byte, _ string) []byte { return b }, ""},
		"the same ID":       {func(b []byte, id string) []byte { return fmt.Appendf(b, another, id) }, whyText},
		"in another's line": {func(b []byte, id string) []byte { return fmt.Appendf(bytes.TrimSpace(b), another[1:], id) }, whyText},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProofTree(t, 3, archive.PipermailOptions{})
			text := p.HTML + "/2003-January.txt"
			p.change(text, func(old []byte) []byte { return c.change(old, p.Pages[0].ID) })
			if why := p.stays(Options{})[p.in(text)]; why != c.why {
				t.Errorf("it stays as %q, not as %q", why, c.why)
			}
		})
	}
}

// Everybody can read the Message-ID of a page in it, and send a mail of that ID. It does not prove a page that is older
// than its arrival, nor a month as text.
func TestForgedMessageID(t *testing.T) {
	forged := func(id string) string {
		return "From evil@example.org  Wed Nov 25 10:00:00 2026\nFrom: evil@example.org\nSubject: forged\nDate: Thu, 2 Jan 2003 10:00:00 +0000\nMessage-ID: <" + id + ">\n\nnothing\n\n"
	}
	old := proofDay.AddDate(-20, 0, 0)
	p := newProofTree(t, 3, archive.PipermailOptions{Missing: func(i int, _ archive.Mail) bool { return i == 1 }})
	p.add(p.Mbox, forged(p.Pages[1].ID))
	text := p.HTML + "/2003-January.txt"
	for _, made := range []string{p.Pages[0].Path, p.Pages[1].Path, text} {
		if err := os.Chtimes(p.file(made), old, old); err != nil {
			t.Fatal(err)
		}
	}
	stays := p.stays(Options{})
	for made, want := range map[string]string{p.Pages[0].Path: "", p.Pages[1].Path: whyLate, p.Pages[2].Path: ""} {
		if got := stays[p.in(made)]; got != want {
			t.Errorf("%s stays as %q, not as %q", made, got, want)
		}
	}
	if err := os.Remove(p.file(p.Pages[1].Path)); err != nil {
		t.Fatal(err)
	}
	if got := p.stays(Options{})[p.in(text)]; got != whyText {
		t.Errorf("%s stays as %q", text, got)
	}

	m, made := mhonarcProof(t, archive.Make{Seed: 4, N: 3, Plain: true})
	page := "dev/msg00000.html"
	m.change(m.Mbox, func(b []byte) []byte { return append(b[second(b, 0):], forged(made.Pages["msg00000.html"])...) })
	if err := os.Chtimes(m.file(page), old, old); err != nil {
		t.Fatal(err)
	}
	if got := m.stays(Options{})[page]; got != whyLate {
		t.Errorf("%s stays as %q", page, got)
	}
}
