package archiveprune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/tests/archive"
)

// runDay is when the runs of these tests are.
var runDay = time.Date(2026, 11, 26, 4, 41, 0, 0, time.UTC)

// pipermailScene is a tree of Mailman 2 whose truth is known, and a configuration for it.
type pipermailScene struct {
	testing.TB
	dir   string // what archive.Pipermail was given
	tree  string // the tree of the configuration
	truth *archive.PipermailTree
	mails []archive.Mail
	now   time.Time
}

// newPipermail makes the archive of the list dev.
func newPipermail(t testing.TB, m archive.Make, o archive.PipermailOptions) *pipermailScene {
	t.Helper()
	s := &pipermailScene{TB: t, dir: t.TempDir(), now: runDay}
	s.tree = filepath.Join(s.dir, "archives/private")
	s.mails, s.truth = s.list("dev", m, o)
	s.ok(os.Mkdir(filepath.Join(s.dir, "locks"), 0o775))
	s.configure("")
	return s
}

// list makes the archive of a list.
func (s *pipermailScene) list(name string, m archive.Make, o archive.PipermailOptions) ([]archive.Mail, *archive.PipermailTree) {
	s.Helper()
	mails := slices.Collect(m.Mails())
	truth, err := archive.Pipermail(s.dir, name, slices.Values(mails), o)
	s.ok(err)
	last := time.Date(2026, 1, 1, 0, 0, 0, 123_456_000, time.UTC)
	for _, m := range mails { // no page is older than its message
		last = later(last, m.Arrived)
	}
	made := unix.NsecToTimeval(last.UnixNano())
	s.ok(filepath.WalkDir(filepath.Join(s.dir, truth.HTML), func(at string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			err = unix.Lutimes(at, []unix.Timeval{made, made})
		}
		return err
	}))
	return mails, truth
}

// everyWart is a number of mails among which is each wart.
func everyWart() int { return 2*len(archive.Warts()) + 6 }

func (s *pipermailScene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// configure writes rplan.toml, with more lines for its [archive].
func (s *pipermailScene) configure(more string) {
	s.Helper()
	text := fmt.Sprintf("[archive]\ntrees = [%q]\nmailman-locks = %q\n%s\n", s.tree, filepath.Join(s.dir, "locks"), more)
	s.ok(os.WriteFile(s.config(), []byte(text), 0o644))
}

func (s *pipermailScene) config() string { return filepath.Join(s.dir, "rplan.toml") }

// at is where a path is that the truth has, or one from the tree's top.
func (s *pipermailScene) at(p string) string {
	if strings.HasPrefix(p, "archives/") {
		return filepath.Join(s.dir, p)
	}
	return filepath.Join(s.tree, p)
}

func (s *pipermailScene) there(p string) bool {
	_, err := os.Lstat(s.at(p))
	return err == nil
}

func (s *pipermailScene) read(p string) []byte {
	s.Helper()
	b, err := os.ReadFile(s.at(p))
	s.ok(err)
	return b
}

func (s *pipermailScene) write(p string, b []byte) {
	s.Helper()
	s.ok(os.WriteFile(s.at(p), b, 0o664))
}

// ending is how a run ended.
type ending struct {
	code           int
	stdout, stderr string
}

func (r ending) String() string {
	return fmt.Sprintf("exit %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// run is the command, of which the options' zero values are not given.
func (s *pipermailScene) run(o Options) ending {
	s.Helper()
	return runWith(s.Context(), s.config(), s.now, o)
}

func runWith(ctx context.Context, config string, now time.Time, o Options) ending {
	var out, errs bytes.Buffer
	o.Config = config
	switch o.TrashDays { // 0 is not given here
	case 0:
		o.TrashDays = AsConfigured
	case emptyAtOnce:
		o.TrashDays = 0
	}
	env := &app.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return now }}
	err := Run(ctx, env, o)
	if err != nil {
		fmt.Fprintln(&errs, err)
	}
	if hint := diag.HintOf(err); hint != "" {
		fmt.Fprintln(&errs, "hint:", hint)
	}
	return ending{diag.ExitCode(err), out.String(), errs.String()}
}

// emptyAtOnce stands for --trash-days 0.
const emptyAtOnce = -100

// want runs the command and wants this exit code.
func (s *pipermailScene) want(code int, o Options) ending {
	s.Helper()
	got := s.run(o)
	if got.code != code {
		s.Fatalf("%+v: want exit %d: %s", o, code, got)
	}
	return got
}

// results are those of a run with --json.
func (s *pipermailScene) results(code int, o Options) []Result {
	s.Helper()
	o.JSON = true
	got := s.want(code, o)
	var all []Result
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
		s.Fatalf("%v: %s", err, got)
	}
	return all
}

// result is that of the one list.
func (s *pipermailScene) result(code int, o Options) Result {
	s.Helper()
	all := s.results(code, o)
	if len(all) != 1 {
		s.Fatalf("%+v", all)
	}
	return all[0]
}

// picture is all that is in a directory: names, modes, owners, times, content and where symlinks lead.
type picture map[string]string

// picture leaves out what rplan keeps for itself, and the times of directories.
func (s *pipermailScene) picture() picture {
	s.Helper()
	all := picture{}
	s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p, _ := filepath.Rel(s.dir, at)
		if e.Name() == ".rplan" && e.IsDir() {
			return fs.SkipDir
		}
		if p == "rplan.toml" {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		all[p] = fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			all[p] += fmt.Sprintf(" %d inode %d of %d %q", info.ModTime().UnixNano(), st.Ino, st.Nlink, b)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			all[p] += fmt.Sprintf(" %d to %s", info.ModTime().UnixNano(), to)
		}
		return nil
	}))
	return all
}

// is compares the directory with a picture of it.
func (s *pipermailScene) is(want picture) {
	s.Helper()
	got := s.picture()
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got[p] != want[p] {
			s.Errorf("%s is %.200q, was %.200q", p, got[p], want[p])
		}
	}
	for p := range got {
		if _, was := want[p]; !was {
			s.Errorf("%s is new", p)
		}
	}
}

// gone are the paths of a picture that another one does not have, from the scene's directory.
func (before picture) gone(after picture) (paths []string) {
	for p := range before {
		if _, is := after[p]; !is {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// page is the one at a path, if there is one.
func (s *pipermailScene) page(p string) (archive.Page, bool) {
	i := slices.IndexFunc(s.truth.Pages, func(page archive.Page) bool { return page.Path == p })
	if i < 0 {
		return archive.Page{}, false
	}
	return s.truth.Pages[i], true
}
