package archiveprune

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/mbox"
)

// ofMonth is an mbox of one month only.
var ofMonth = regexp.MustCompile(`-\d{4}-\d{2}(-\d{2})?\.mbox$`)

// monthsBeside is how the names begin of the files that an mbox's months are compressed into, in its directory: with
// the list's name, where the directory is not that of this mbox alone. Of an mbox of another name, and of one that
// is a month itself, none is.
func monthsBeside(mbox string) (prefix string, any bool) {
	name := path.Base(mbox)
	list, is := strings.CutSuffix(name, ".mbox")
	switch {
	case name == "mbox", is && path.Base(path.Dir(mbox)) == name:
		return "", true
	case !is || list == "" || ofMonth.MatchString(name):
		return "", false
	}
	return list + "-", true
}

// packMbox has closed months compressed, if there are any.
func (w *rewriting) packMbox(ctx context.Context, s int) (changed bool, err error) {
	if len(w.plan.closed[s]) == 0 {
		return false, nil
	}
	return w.with(ctx, w.plan.evidence.sources[s].file, func(file *os.File, p *plan) (bool, error) {
		return w.pack(file, p)
	})
}

// pack moves closed months out of an mbox, each into its own file beside it. First they are there, and then
// they are taken out: who is killed in between finds them there already.
func (w *rewriting) pack(file *os.File, p *plan) (changed bool, err error) {
	months, s := p.closed[0], &p.evidence.sources[0]
	if len(months) == 0 {
		return false, nil
	}
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	dir, err := w.tree.root.OpenRoot(path.Dir(s.file.Path))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	all := slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(months))...)))
	src, ranges := file, s.ranges(all)
	if w.c.ScrubAddresses {
		if src, ranges, err = w.scrubbed(file, s, all); err != nil {
			return false, err
		}
		defer src.Close()
	}
	at := map[int]mbox.Range{}
	for i, n := range all {
		at[n] = ranges[i]
	}
	prefix, _ := monthsBeside(s.file.Path)
	if err := w.packMonths(dir, prefix, src, months, at, mbox.LikeFile(info)); err != nil {
		return false, err
	}
	out, err := atomicfile.CreateIn(dir, path.Base(s.file.Path), info.Mode().Perm())
	if err != nil {
		return false, err
	}
	defer out.Abort()
	if err := mbox.Cut(out, file, s.size(), s.ranges(all)); err != nil {
		return false, err
	}
	if err := w.check(); err != nil {
		return false, err
	}
	if err := out.Commit(); err != nil {
		return false, err
	}
	return true, w.replaced(file, s.file.Path, s.file.Size)
}

// packMonths makes the files of months, from where their messages are in src.
func (w *rewriting) packMonths(dir *os.Root, prefix string, src *os.File, months map[string][]int, at map[int]mbox.Range, like mbox.Like) error {
	files := map[mbox.Format]map[string][]mbox.Range{mbox.Gzip: {}, mbox.Zstd: {}}
	for month, numbers := range months {
		name := prefix + month + ".mbox"
		format := mbox.Format(w.c.Compress)
		for other := range files { // what there is of a month is added to, whatever it is compressed with
			if _, err := dir.Lstat(name + other.Ext()); err == nil {
				format = other
			}
		}
		var ranges []mbox.Range
		for _, n := range numbers {
			ranges = append(ranges, at[n])
		}
		files[format][name+format.Ext()] = ranges
	}
	for format, of := range files {
		done, err := mbox.PackAll(dir, of, like, format, src)
		if err != nil {
			return err
		}
		for _, d := range done {
			w.result.Freed += d.Bytes - (d.After - d.Before)
		}
	}
	return nil
}

// scrubbed are some messages of a source, without addresses in their headers, in a file without a name, and where they are in it.
func (w *rewriting) scrubbed(file *os.File, s *source, numbers []int) (*os.File, []mbox.Range, error) {
	var others []int
	for n, next := 0, numbers; n < len(s.messages); n++ {
		if len(next) > 0 && next[0] == n {
			next = next[1:]
		} else {
			others = append(others, n)
		}
	}
	temp, err := unnamed(w.tree, s)
	if err != nil {
		return nil, nil, err
	}
	done, err := mbox.ScrubFile(temp, file, s.size(), s.ranges(others), s.headers())
	if err != nil {
		temp.Close()
		return nil, nil, noRoom(s, err)
	}
	w.result.scrubs(s, done)
	var ranges []mbox.Range
	for scanner := mbox.NewScanner(io.NewSectionReader(temp, 0, 1<<62), w.now); err == nil; {
		var m mbox.Message
		if m, err = scanner.Next(); err == nil {
			ranges = append(ranges, m.Range)
		}
	}
	if err == io.EOF && len(ranges) == len(numbers) {
		return temp, ranges, nil
	}
	temp.Close()
	return nil, nil, diag.Failed.Errorf("%q: without addresses %d messages are %d: %w", s.file.Path, len(numbers), len(ranges), err)
}

// unnamed is a file without a name, where a source is.
func unnamed(t *tree, s *source) (*os.File, error) {
	temp, err := t.root.OpenFile(path.Dir(s.file.Path), os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot write beside %q: %w", s.file.Path, errors.Unwrap(err))
	}
	return temp, nil
}
