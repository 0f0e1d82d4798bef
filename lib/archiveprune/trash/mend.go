package trash

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// Mended is a run that was killed, and what was done about it.
type Mended struct {
	Run, List string
	Did       string // a sentence about the run, for people
	Stayed    Notes
}

// mend puts everything that killed runs left in between to where it belongs: into
// the trash what was listed, back to its place what was not.
func (t *Tree) mend(ctx context.Context) ([]Mended, error) {
	names, err := t.names()
	if err != nil {
		return nil, err
	}
	var all []Mended
	for _, name := range names {
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		run, err := openDir(t.trash, name)
		if err != nil {
			continue // Runs names it
		}
		m, err := t.mendRun(ctx, run, name)
		run.Close()
		if err != nil {
			return all, err
		}
		if m.Did != "" {
			all = append(all, m)
		}
	}
	return all, nil
}

func (t *Tree) mendRun(ctx context.Context, run *os.File, name string) (Mended, error) {
	m := Mended{Run: name}
	if _, err := lstat(run, journalName); err == unix.ENOENT {
		if t.forget(name) {
			m.Did = "was cut short before it moved anything: it is forgotten"
		}
		return m, nil
	}
	i, err := info(run, name)
	if err != nil {
		return m, nil // Runs names it
	}
	m.List = i.List
	switch i.State {
	case Undoing:
		m.Did = "was being undone: undo it again, and that goes on"
	case Emptying:
		m.Did = "was being emptied: the next emptying goes on"
	case Moving:
		var left count
		late := error(nil)
		if left, m.Stayed, late, err = t.finish(ctx, run); err != nil && diag.KindOf(err) != diag.BadData {
			return m, err
		} else if err != nil {
			m.Did = "was cut short and cannot be mended, so that it can be undone and not emptied: " + err.Error()
			return m, nil
		}
		if late != nil {
			m.Did = "was cut short, and can be undone; what came late to a file that it replaced has to wait for the next run: " + late.Error()
			return m, nil
		}
		if left == (count{}) && t.forget(name) {
			m.Did = "was cut short before anything was in the trash: it is forgotten"
			return m, nil
		}
		j, err := openJournal(run)
		if err != nil {
			return m, t.cannotWrite(name, err)
		}
		defer j.Close()
		m.Did = "was cut short: what it had moved is in the trash, and can be undone"
		return m, note(j, record{verb: "ended", files: left.files, bytes: left.bytes})
	}
	return m, nil
}

// finish makes what a run had moved when it was killed what it could have ended with. Late is why that is not all.
func (t *Tree) finish(ctx context.Context, run *os.File) (left count, stay Notes, late, err error) {
	var files []layout.File
	var dirs []string
	var replaced replacements
	sifted := ""
	err = readJournal(run, true, func(r record) error {
		switch r.verb {
		case "file", "link":
			files = append(files, r.file(r.path))
		case "dir":
			dirs = append(dirs, r.path)
		case "replace", "late", "grown":
			replaced.add(r)
		case "exchange":
			sifted = r.path
		}
		return nil
	})
	if err != nil {
		return left, stay, nil, err
	}
	if !slices.IsSortedFunc(files, func(a, b layout.File) int { return compare(a.Path, b.Path) }) {
		return left, stay, nil, diag.BadData.Errorf("journal %q is not sorted", path.Join(run.Name(), journalName))
	}
	if sifted != "" {
		if _, stay, err = t.settle(run, sifted, files, nil); err != nil {
			return left, stay, nil, err
		}
	}
	for _, p := range dirs {
		t.recheck(run, p, files, &stay)
	}
	if in, err := openDir(run, filesDir); err == nil {
		defer in.Close()
		rest := scanned{}
		rest.scan(in, "", files)
		stay.join(rest.bringBack(t, run))
		left = rest.count
	}
	for _, u := range replaced.list {
		u.t, u.run = t, run
		size, kept, err := u.halfway(ctx)
		u.close()
		if kept {
			left.add(size)
		}
		late = errors.Join(late, err)
	}
	return left, stay, late, nil
}

// recheck has a directory back that had been moved and not yet looked through, if something is in it that was not listed.
func (t *Tree) recheck(run *os.File, p string, files []layout.File, stay *Notes) {
	in, name, err := openParent(run, path.Join(filesDir, p))
	if err != nil {
		return
	}
	defer in.Close()
	dir, err := openDir(in, name)
	if err != nil {
		return
	}
	defer dir.Close()
	found := scanned{}
	found.scan(dir, p, files)
	if len(found.strangers) == 0 {
		return
	}
	to, err := openDir(t.root, path.Dir(p))
	if err != nil {
		return
	}
	defer to.Close()
	if moveTo(in, name, to, name) == nil {
		stay.add(p, "something is in it that was not listed as it is")
	}
}

// halfway removes what was to take a file's place and did not, and what a file that did not give way has in the trash;
// else it says how large the file in the trash is, sees to its second name, and brings over what came late to it.
func (u *unreplacing) halfway(ctx context.Context) (size int64, kept bool, err error) {
	there, err := u.open(nil)
	if err != nil || !there {
		return u.was.Size, there, nil // an undo says why
	}
	if u.needless() {
		return u.was.Size, u.drop() != nil, nil
	}
	u.twice()
	if u.now == nil || u.was.Ino != u.inode {
		return u.was.Size, true, nil
	}
	if u.look(); u.was.Size > u.grown {
		err = u.bringLate(ctx)
	}
	return u.was.Size, true, err
}

// bringLate is Late for a run that was killed before it came to that.
func (u *unreplacing) bringLate(ctx context.Context) error {
	if err := u.hold(ctx); err != nil {
		return err
	}
	live, err := openAt(u.dir, path.Base(u.path), unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer live.Close()
	journal, err := openJournal(u.run)
	if err != nil {
		return err
	}
	defer journal.Close()
	r := &Run{t: u.t, dir: u.run, journal: journal, brought: map[string]int64{u.path: u.grown}}
	_, err = r.Late(u.path, live, u.old, u.grown)
	return err
}
