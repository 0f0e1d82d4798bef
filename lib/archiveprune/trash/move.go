package trash

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
)

// Moved is what went into the trash.
type Moved struct {
	Files, Bytes int64
	Stayed       Notes // of the plan, and what came between
}

// Move moves what the plan says: whole directories, then sifted ones, then the rest
// of the files, as progress hears. What is not as it was listed stays, and so does a
// directory in which something is that was not listed. On an error, or when ctx
// ends, what is in the trash by then is right, and Moved says what that is.
func (r *Run) Move(ctx context.Context, progress func(files, bytes int64)) (Moved, error) {
	m := &mover{Run: r, from: near{root: r.t.root}, progress: progress}
	defer m.close()
	before := r.moved
	err := m.all(ctx)
	m.out.Files, m.out.Bytes = r.moved.files-before.files, r.moved.bytes-before.bytes
	return m.out, err
}

// mover is a Move under way.
type mover struct {
	*Run
	from     near
	into     string // a directory of the tree
	twin     *os.File
	out      Moved
	progress func(files, bytes int64)
}

func (m *mover) close() {
	m.from.close()
	if m.twin != nil {
		m.twin.Close()
	}
}

func (m *mover) all(ctx context.Context) error {
	for _, p := range m.plan.Dirs {
		if err := m.stop(ctx, m.dirUnit(ctx, p)); err != nil {
			return err
		}
	}
	for _, p := range m.plan.Sifts {
		if err := m.stop(ctx, m.sift(ctx, p)); err != nil {
			return err
		}
	}
	last, covered := "", false
	for i := range m.plan.Files {
		p := m.plan.Files[i].Path
		if d := path.Dir(p); d != last {
			last, covered = d, m.sifts[d] || within(m.dirs, d) != ""
		}
		if covered {
			continue
		}
		if err := m.file(&m.plan.Files[i]); err != nil {
			return err
		}
		if i%every == 0 {
			if err := m.stop(ctx, nil); err != nil {
				return err
			}
		}
	}
	return m.stop(ctx, nil)
}

// stop is called between steps.
func (m *mover) stop(ctx context.Context, err error) error {
	if m.progress != nil {
		m.progress(m.moved.files, m.moved.bytes)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// file moves one file.
func (m *mover) file(f *layout.File) error {
	dir, name := path.Dir(f.Path), path.Base(f.Path)
	from, err := m.from.open(dir)
	if err != nil {
		return m.stays(f.Path, err)
	}
	st, err := lstat(from, name)
	if err != nil {
		return m.stays(f.Path, err)
	}
	if diff := listedAs(f).differs(&st); diff != "" {
		m.out.Stayed.add(f.Path, diff)
		return nil
	}
	if m.twin == nil || m.into != dir {
		if m.twin != nil {
			m.twin.Close()
		}
		if m.twin, err = twin(m.t.root, m.files, dir); err != nil {
			return m.stays(f.Path, err)
		}
		m.into = dir
	}
	if err := moveTo(from, name, m.twin, name); err != nil {
		return m.stays(f.Path, err)
	}
	st, err = lstat(m.twin, name)
	if diff := "is gone"; err != nil || listedAs(f).differs(&st) != "" {
		if err == nil {
			diff = listedAs(f).differs(&st)
			err = moveTo(m.twin, name, from, name)
		}
		if err != nil {
			return diag.Failed.Errorf("%q %s, and is in %q now: %w", m.t.name(f.Path), diff, m.twin.Name(), err)
		}
		m.out.Stayed.add(f.Path, diff)
		return nil
	}
	m.moved.add(f.Size)
	return nil
}

// stays notes what concerns one path only; any other error ends the run.
func (m *mover) stays(p string, err error) error {
	if passed(err) || err == unix.EEXIST {
		m.out.Stayed.add(p, why(err))
		return nil
	}
	return diag.CantCreate.Errorf("cannot move %q to the trash: %w", m.t.name(p), cause(err)).
		WithHint("what is moved is in run %q, and can be undone", m.id)
}

// onebyone moves the files of a directory where it cannot be moved itself.
func (m *mover) onebyone(ctx context.Context, p string) error {
	files := below(m.plan.Files, p)
	for i := range files {
		if m.sifts[p] && path.Dir(files[i].Path) != p {
			continue // it is no part of this one
		}
		if err := m.file(&files[i]); err != nil {
			return err
		}
		if i%every == 0 {
			if err := m.stop(ctx, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// below are those of sorted files that lie below a directory.
func below(files []layout.File, dir string) []layout.File {
	at := func(p string) int {
		i, _ := slices.BinarySearchFunc(files, p, func(f layout.File, p string) int { return strings.Compare(f.Path, p) })
		return i
	}
	return files[at(dir+"/"):at(dir+"0")] // "0" comes after "/"
}

// find is the listed file at a path, nil if there is none.
func find(files []layout.File, p string) *layout.File {
	i, ok := slices.BinarySearchFunc(files, p, func(f layout.File, p string) int { return strings.Compare(f.Path, p) })
	if !ok {
		return nil
	}
	return &files[i]
}

// dirUnit moves a directory by one rename, and has it back if something is in it that was not listed.
func (m *mover) dirUnit(ctx context.Context, p string) error {
	from, name, err := openParent(m.t.root, p)
	if err != nil {
		return m.stays(p, err)
	}
	defer from.Close()
	dir, err := openDir(from, name)
	if err != nil {
		return m.stays(p, err)
	}
	defer dir.Close()
	to, err := twin(m.t.root, m.files, path.Dir(p))
	if err != nil {
		return m.stays(p, err)
	}
	defer to.Close()
	switch err := moveTo(from, name, to, name); err {
	case nil:
	case unix.EEXIST, unix.EXDEV: // some of it is in the trash already; overlayfs and quotas
		return m.onebyone(ctx, p)
	default:
		return m.stays(p, err)
	}
	called(m.renamed)
	found := scanned{}
	if same(dir, to, name) {
		found.scan(dir, p, m.plan.Files)
	} else {
		found.strangers = append(found.strangers, layout.Left{Path: p, Why: "was exchanged while it was moved"})
	}
	if len(found.strangers) == 0 {
		m.moved.files += found.files
		m.moved.bytes += found.bytes
		if lost := below(m.plan.Files, p); int64(len(lost)) > found.files {
			m.vanished(dir, p, lost)
		}
		return nil
	}
	return m.haveBack(to, from, name, p, found)
}

// haveBack renames a directory back in which there are strangers, or at least brings those back.
func (m *mover) haveBack(to, from *os.File, name, p string, found scanned) error {
	m.out.Stayed.add(p, "something is in it that was not listed as it is")
	for _, s := range found.strangers {
		m.out.Stayed.add(s.Path, s.Why)
	}
	switch err := moveTo(to, name, from, name); err {
	case nil:
	case unix.EEXIST: // somebody made it again
		m.out.Stayed.join(found.bringBack(m.t, m.dir))
		m.moved.files += found.files
		m.moved.bytes += found.bytes
	default:
		return diag.Failed.Errorf("cannot move %q back from %q: %w", m.t.name(p), to.Name(), err).WithHint("run the command again")
	}
	return nil
}

// vanished names the listed files that were not in a directory any more.
func (m *mover) vanished(dir *os.File, p string, files []layout.File) {
	in := near{root: dir}
	defer in.close()
	for i := range files {
		rel := strings.TrimPrefix(files[i].Path, p+"/")
		d, err := in.open(path.Dir(rel))
		if err == nil {
			_, err = lstat(d, path.Base(rel))
		}
		if err != nil {
			m.out.Stayed.add(files[i].Path, why(err))
		}
	}
}

// same tells whether name in a directory is the one that is open.
func same(dir, in *os.File, name string) bool {
	var is unix.Stat_t
	st, err := lstat(in, name)
	return err == nil && unix.Fstat(int(dir.Fd()), &is) == nil && st.Ino == is.Ino && st.Dev == is.Dev
}
