package trash

import (
	"bufio"
	"context"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// Plan is what is to go. Every file is named, and only they do.
type Plan struct {
	List  string
	Files []layout.File // sorted by path
	Dirs  []string      // directories that go as a whole, in one rename: all that is in them is in Files
	Sifts []Sift        // other files are renamed one by one
}

// Sift is a directory that changes places with a new one, in which only those of its
// files are that stay.
type Sift struct {
	Dir string
	// Keep names what stays, the list manager's lock included. What is in neither
	// Keep nor Plan.Files stays as well, but is out of sight for an instant.
	Keep []string
}

// Run is one run on one list. Its methods are for one goroutine.
type Run struct {
	t       *Tree
	id      string
	plan    Plan
	sifts   map[string]bool
	dirs    map[string]bool
	dir     *os.File // of the run, in the trash
	files   *os.File
	journal *os.File
	moved   count
	brought map[string]int64 // by path, until where a replaced file's bytes are in its replacement too
	missing bool             // some of them are not and should be

	// For tests: called when a directory has been renamed, when a successor of one is
	// made, when a file has been replaced.
	renamed, linked, replaced func()
}

type count struct{ files, bytes int64 }

func (c *count) add(size int64) { c.files, c.bytes = c.files+1, c.bytes+size }

const (
	filesDir = "files"
	oldDir   = "old"
	againDir = "again"
	siftDir  = "sift"
	freshOld = "restored" // what is made to take a replacement's place
)

// Begin writes down what is to go, and returns when that is safe on the disk; the
// tree is as it was. The Run keeps the plan. End ends it.
func (t *Tree) Begin(ctx context.Context, now time.Time, plan Plan) (*Run, error) {
	if err := t.locked(); err != nil {
		return nil, err
	}
	r := &Run{t: t, plan: plan, dirs: map[string]bool{}, sifts: map[string]bool{}, brought: map[string]int64{}}
	if err := r.checkPlan(); err != nil {
		return nil, err
	}
	if err := r.makeDir(now); err != nil {
		r.close()
		return nil, err
	}
	if err := r.writePlan(ctx, now); err != nil {
		r.close()
		t.forget(r.id)
		return nil, err
	}
	return r, nil
}

// checkPlan refuses what no part of the plan can mean.
func (r *Run) checkPlan() error {
	last := ""
	for i := range r.plan.Files {
		p := r.plan.Files[i].Path
		if !local(p) {
			return diag.Refused.Errorf("%q is no file of the tree %q", p, r.t.path)
		}
		if p <= last {
			return diag.Refused.Errorf("%q comes after %q: the files are not sorted", p, last)
		}
		last = p
	}
	all := slices.Clone(r.plan.Dirs)
	for _, s := range r.plan.Sifts {
		all = append(all, s.Dir)
		r.sifts[s.Dir] = true
		for _, name := range s.Keep {
			if !local(name) || strings.Contains(name, "/") {
				return diag.Refused.Errorf("%q is no name of something in %q", name, r.t.name(s.Dir))
			}
		}
	}
	for _, p := range all {
		if !local(p) {
			return diag.Refused.Errorf("%q is no directory of the tree %q", p, r.t.path)
		}
	}
	for _, p := range r.plan.Dirs {
		r.dirs[p] = true
	}
	twice := len(r.dirs)+len(r.sifts) < len(all)
	for _, p := range all {
		if twice || within(r.dirs, path.Dir(p)) != "" || r.dirs[p] && r.sifts[p] {
			return diag.Refused.Errorf("directories are in the plan twice: %q", p)
		}
	}
	return nil
}

// within is the directory of dirs that p is or lies below, "" if there is none.
func within(dirs map[string]bool, p string) string {
	for ; p != "." && p != "/"; p = path.Dir(p) {
		if dirs[p] {
			return p
		}
	}
	return ""
}

// makeDir makes the run's directory, under a name that is free.
func (r *Run) makeDir(now time.Time) error {
	base := utc(now).Format(stamp) + "-" + safeName(r.plan.List)
	trash := r.t.trash
	for n := 1; ; n++ {
		r.id = base
		if n > 1 {
			r.id += "." + strconv.Itoa(n)
		}
		err := unix.Mkdirat(int(trash.Fd()), r.id, 0o700)
		if err == unix.EEXIST {
			continue
		}
		if err == nil {
			r.dir, err = openDir(trash, r.id)
		}
		if err == nil {
			err = unix.Mkdirat(int(r.dir.Fd()), filesDir, 0o700)
		}
		if err == nil {
			r.files, err = openDir(r.dir, filesDir)
		}
		if err != nil {
			r.close()
			r.t.forget(r.id)
			return r.t.cannotWrite(r.id, err)
		}
		return nil
	}
}

// safeName is a list's name as part of a file's.
func safeName(list string) string {
	list = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("@._+-", c) {
			return c
		}
		return '_'
	}, list)
	return list[:min(len(list), 150)]
}

// writePlan makes the journal. It gets its name when all is in it.
func (r *Run) writePlan(ctx context.Context, now time.Time) error {
	f, err := openAt(r.dir, unfinished, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return r.t.cannotWrite(r.id, err)
	}
	r.journal = f
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	put := func(rec record) {
		line = rec.append(line[:0])
		w.Write(line) // whose error Flush repeats
	}
	put(record{verb: magic, at: now, path: r.plan.List})
	for _, p := range r.plan.Dirs {
		put(record{verb: "dir", path: p})
	}
	for _, s := range r.plan.Sifts {
		put(record{verb: "sift", path: s.Dir})
	}
	var all count
	for i := range r.plan.Files {
		if i%every == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := &r.plan.Files[i]
		put(record{verb: map[bool]string{false: "file", true: "link"}[p.Symlink], identity: listedAs(p), path: p.Path})
		all.add(p.Size)
	}
	put(record{verb: "begun", files: all.files, bytes: all.bytes})
	if err := w.Flush(); err != nil {
		return r.t.cannotWrite(r.id, err)
	}
	for _, step := range []func() error{
		f.Sync,
		func() error { return unix.Renameat(int(r.dir.Fd()), unfinished, int(r.dir.Fd()), journalName) },
		r.dir.Sync,
		r.t.trash.Sync,
	} {
		if err := step(); err != nil {
			return r.t.cannotWrite(r.id, err)
		}
	}
	return nil
}

// ID is the run's name in the trash.
func (r *Run) ID() string { return r.id }

// End says that no more comes. A run that moved nothing leaves nothing.
func (r *Run) End() error {
	defer r.close()
	if holds(r.dir, siftDir) || r.missing || r.grew() {
		return nil // it is as if we had been killed
	}
	if r.moved.files == 0 {
		for _, dir := range []string{filesDir, oldDir, againDir} {
			sweep(r.dir, dir)
		}
	}
	if !holds(r.dir, filesDir) && !holds(r.dir, oldDir) {
		r.t.forget(r.id)
		return nil
	}
	if err := r.files.Sync(); err != nil {
		return r.t.cannotWrite(r.id, err)
	}
	return note(r.journal, record{verb: "ended", files: r.moved.files, bytes: r.moved.bytes})
}

// grew tells whether somebody wrote to a replaced file, and that was not brought over.
func (r *Run) grew() bool {
	for p, size := range r.brought {
		in, name, err := openParent(r.dir, path.Join(oldDir, p))
		if err != nil {
			continue
		}
		st, err := lstat(in, name)
		in.Close()
		if err == nil && st.Size > size {
			return true
		}
	}
	return false
}

func called(f func()) {
	if f != nil {
		f()
	}
}

func (r *Run) close() {
	for _, f := range []*os.File{r.journal, r.files, r.dir} {
		if f != nil {
			f.Close()
		}
	}
}

// forget takes away what a run has in the trash besides files: a journal that nothing needs.
func (t *Tree) forget(id string) bool {
	run, err := openDir(t.trash, id)
	if err != nil {
		return false
	}
	defer run.Close()
	for _, dir := range []string{filesDir, oldDir, siftDir, againDir} {
		sweep(run, dir)
		if holds(run, dir) {
			return false // the journal stays with what it is about
		}
	}
	for _, name := range []string{unfinished, freshOld, journalName} {
		_ = unix.Unlinkat(int(run.Fd()), name, 0)
	}
	return unix.Unlinkat(int(t.trash.Fd()), id, unix.AT_REMOVEDIR) == nil
}

// holds tells whether there is something in the run's directory of this name.
func holds(run *os.File, name string) bool {
	_, err := lstat(run, name)
	return err != unix.ENOENT
}

// sweep removes a directory with the empty directories in it, as far as they are.
func sweep(in *os.File, name string) {
	if unix.Unlinkat(int(in.Fd()), name, unix.AT_REMOVEDIR) == nil {
		return
	}
	d, err := openDir(in, name)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if st, err := lstat(d, n); err == nil && isDirectory(&st) {
			sweep(d, n)
		}
	}
	_ = unix.Unlinkat(int(in.Fd()), name, unix.AT_REMOVEDIR)
}

func (t *Tree) cannotWrite(run string, err error) error {
	if passed(cause(err)) {
		return diag.CantCreate.Errorf("cannot write run %q in %q: %w", run, t.trash.Name(), cause(err))
	}
	return diag.CantCreate.Errorf("cannot write run %q in %q: %w", run, t.trash.Name(), cause(err)).WithHint("make room on its file system, and run the command again")
}
