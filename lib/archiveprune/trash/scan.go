package trash

import (
	"context"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"rplan/lib/archiveprune/layout"
)

// scanned is what lies in a directory, set against a list.
type scanned struct {
	count                   // of what is listed, and as it was
	strangers []layout.Left // the rest
}

// scan looks through a directory that stands for p. It follows nothing, and what it
// cannot look into is a stranger.
func (s *scanned) scan(dir *os.File, p string, files []layout.File) {
	stranger := func(p string, err error) {
		s.strangers = append(s.strangers, layout.Left{Path: p, Why: why(err)})
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		stranger(p, cause(err))
	}
	for _, name := range names {
		at := path.Join(p, name)
		st, err := lstat(dir, name)
		switch {
		case err == unix.ENOENT:
		case err != nil:
			stranger(at, err)
		case isDirectory(&st):
			sub, err := openDir(dir, name)
			if err != nil {
				stranger(at, err)
				continue
			}
			s.scan(sub, at, files)
			sub.Close()
		default:
			f := find(files, at)
			if f == nil {
				s.strangers = append(s.strangers, layout.Left{Path: at, Why: "was not listed"})
			} else if diff := listedAs(f).differs(&st); diff != "" {
				s.strangers = append(s.strangers, layout.Left{Path: at, Why: diff})
			} else {
				s.add(st.Size)
			}
		}
	}
}

// bringBack moves the strangers from a run's files to their places, and says which of them stay.
func (s *scanned) bringBack(t *Tree, run *os.File) (stay Notes) {
	for _, l := range s.strangers {
		from, name, err := openParent(run, path.Join(filesDir, l.Path))
		if err != nil {
			stay.add(l.Path, "is in the trash, unlisted, and "+why(err))
			continue
		}
		var here Notes
		files, err := openDir(run, filesDir)
		if err == nil {
			mergeOne(context.Background(), pair{files, t.root}, from, name, l.Path, &here)
			files.Close()
		}
		from.Close()
		for _, n := range here.Named {
			stay.add(n.Path, "is in the trash, unlisted: "+n.Why)
		}
	}
	return stay
}

// pair are two directories with the same paths below them.
type pair struct{ from, to *os.File }

// merge moves all that is in directory p of one to the same place in the other, but
// over nothing; where a directory is in both, what is in it. It notes what stays.
func merge(ctx context.Context, roots pair, p string, stay *Notes) {
	dir, err := openDir(roots.from, p)
	if err != nil {
		if err != unix.ENOENT {
			stay.add(p, why(err))
		}
		return
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		stay.add(p, why(err))
	}
	to, err := twin(roots.from, roots.to, p)
	if err != nil {
		stay.add(p, why(err))
		return
	}
	defer to.Close()
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		if p == "." && name == ours {
			stay.add(name, "is no archive's")
			continue
		}
		mergeName(ctx, roots, dir, to, name, path.Join(p, name), stay)
	}
}

// mergeOne is merge for one name in dir, whose path is p.
func mergeOne(ctx context.Context, roots pair, dir *os.File, name, p string, stay *Notes) {
	to, err := twin(roots.from, roots.to, path.Dir(p))
	if err != nil {
		stay.add(p, why(err))
		return
	}
	defer to.Close()
	mergeName(ctx, roots, dir, to, name, p, stay)
}

func mergeName(ctx context.Context, roots pair, dir, to *os.File, name, p string, stay *Notes) {
	err := moveTo(dir, name, to, name)
	if err == nil || err == unix.ENOENT {
		return
	}
	if err != unix.EEXIST && err != unix.EXDEV {
		stay.add(p, why(err))
		return
	}
	st, err1 := lstat(dir, name)
	there, err2 := lstat(to, name)
	switch {
	case err1 != nil:
		stay.add(p, why(err1))
	case isDirectory(&st) && (err2 != nil || isDirectory(&there)):
		merge(ctx, roots, p, stay)
		_ = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR) // if nothing is left in it
	case err2 != nil:
		stay.add(p, why(err))
	case st.Ino == there.Ino && st.Dev == there.Dev:
		// Two names of one file, of which the other one is where it belongs.
		if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil {
			stay.add(p, why(err))
		}
	default:
		stay.add(p, "something else is at its place")
	}
}
