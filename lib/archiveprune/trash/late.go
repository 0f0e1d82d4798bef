package trash

import (
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	mail "rplan/lib/mbox"
)

// Late is mbox.Late for live, the file at path p, and old, whose place it took: it does the same, under the same locks,
// and lets an undo know. After an error the next Lock tries it again. Of a file that Replace put into the trash, from is what Replace and Late brought over until now.
func (r *Run) Late(p string, live, old *os.File, from int64) (size int64, err error) {
	if !r.keeps(p, old) {
		return mail.Late(live, old, from)
	}
	return r.bring(p, live, old, func(from int64) (int64, error) { return mail.Late(live, old, from) })
}

// bring has what was written to a replaced file added to its replacement. The journal says that before and after: an
// undo of a run that was killed in between looks at the replacement.
func (r *Run) bring(p string, live, old *os.File, add func(from int64) (size int64, err error)) (size int64, err error) {
	defer func() { r.missing = r.missing || err != nil }()
	from := r.brought[p]
	was, err := old.Stat()
	if err != nil || was.Size() <= from {
		return from, err
	}
	end, err := live.Stat()
	if err != nil {
		return from, err
	}
	keeps := r.keeps(p, old) // and not a copy
	if keeps {
		if err := note(r.journal, record{verb: "late", identity: identity{size: was.Size()}, new: content{size: end.Size()}, path: p}); err != nil {
			return from, err
		}
	}
	size, err = add(from)
	if err != nil {
		return from, err
	}
	r.brought[p] = size
	if !keeps {
		return size, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(old.Fd()), &st); err != nil {
		return size, os.NewSyscallError("fstat", err)
	}
	id := identityOf(&st)
	id.size = size
	return size, note(r.journal, record{verb: "grown", identity: id, path: p})
}

// keeps tells whether a file is the one that the run keeps for a path.
func (r *Run) keeps(p string, old *os.File) bool {
	in, name, err := openParent(r.dir, path.Join(oldDir, p))
	if err != nil {
		return false
	}
	defer in.Close()
	return same(old, in, name)
}

// brings tells whether a file has, at an offset, what is from one to another offset in an old one, after the
// empty lines that mbox.Late may have put before it.
func brings(f *os.File, at int64, old *os.File, from, to int64) bool {
	for range 3 {
		if equal(f, at, old, from, to-from) {
			return true
		}
		var c [1]byte
		if _, err := f.ReadAt(c[:], at); err != nil || c[0] != '\n' {
			return false
		}
		at++
	}
	return false
}

// catchUp copies what comes after offset in one file to the end of another.
func catchUp(from *os.File, offset int64, to *os.File) (int64, error) {
	info, err := from.Stat()
	if err != nil || info.Size() <= offset {
		return 0, err
	}
	n, err := io.Copy(to, io.NewSectionReader(from, offset, info.Size()-offset))
	if err == nil && n > 0 {
		err = to.Sync()
	}
	return n, err
}

// copyOf makes out a copy of a file, with its owner and mode, on the disk.
func copyOf(out, of *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(of.Fd()), &st); err != nil {
		return err
	}
	n, err := io.Copy(out, io.NewSectionReader(of, 0, st.Size))
	if err == nil && n != st.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && (st.Uid != uint32(os.Geteuid()) || st.Gid != uint32(os.Getegid())) {
		err = unix.Fchown(int(out.Fd()), int(st.Uid), int(st.Gid))
	}
	if err == nil {
		err = unix.Fchmod(int(out.Fd()), st.Mode&0o777)
	}
	if err == nil {
		err = out.Sync()
	}
	return cause(err)
}
