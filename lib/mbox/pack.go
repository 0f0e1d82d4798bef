package mbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// Packed says what Pack did to a file.
type Packed struct {
	Path          string
	Messages      int
	Bytes         int64 // of the messages
	Before, After int64 // bytes of the file; Before is 0 if there was none
	Already       bool  // it ended with exactly these messages, as an interrupted run leaves it: nothing was added
}

// PackAll packs ranges of src, such as the messages of closed months, into files of a directory, by their names, one
// after the other. After an error, done are those that are packed; all others are as they were.
func PackAll(dir *os.Root, files map[string][]Range, like Like, f Format, src io.ReaderAt) (done []Packed, err error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p, err := Pack(dir, name, like, f, src, files[name])
		if err != nil {
			return done, err
		}
		done = append(done, p)
	}
	return done, nil
}

// Like is whose a new file is, and its mode.
type Like struct {
	Mode     fs.FileMode
	UID, GID int
}

// LikeFile is as that file is.
func LikeFile(info fs.FileInfo) Like {
	l := Like{info.Mode().Perm(), os.Geteuid(), os.Getegid()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		l.UID, l.GID = int(st.Uid), int(st.Gid)
	}
	return l
}

// Pack adds messages, the ranges of src, to the compressed mbox of this name, or makes it. What
// is there stays byte for byte, with a further gzip member or zstd frame behind it. Where a message does not
// end with an empty line, one is put before the next message, which would be part of it else.
//
// Of the first messages, those that the file ends with are not added again: a run that was interrupted has
// left them, and others may have come since. For this, addresses that Scrub takes out make no difference.
//
// The file is replaced as atomicfile does, and only after it was read back and is, by SHA-256, what was in it and
// then the messages. A file that cannot be read to its end is an error of kind diag.BadData, and stays.
func Pack(dir *os.Root, name string, like Like, f Format, src io.ReaderAt, ranges []Range) (Packed, error) {
	p := packer{dir: dir, name: name, f: f, src: src, ranges: ranges}
	p.done = Packed{Path: filepath.Join(dir.Name(), name), Messages: len(ranges)}
	for _, r := range ranges {
		p.done.Bytes += r.Size()
	}
	old, err := p.look()
	if err != nil {
		return Packed{}, err
	}
	if old != nil {
		defer old.Close()
		if p.done.Already, err = p.isThere(old); err == nil && !p.done.Already && p.old.size > 0 {
			err = p.skipKnown(old)
		}
		if err != nil {
			return Packed{}, err
		}
	}
	if p.done.Bytes == 0 || p.done.Already {
		p.done.After = p.done.Before
		return p.done, nil
	}
	if err := p.write(old, like); err != nil {
		return Packed{}, err
	}
	return p.done, nil
}

type packer struct {
	dir    *os.Root
	name   string
	f      Format
	src    io.ReaderAt
	ranges []Range
	old    content // what is in the file
	done   Packed
}

// look reads the file that is there, if there is one.
func (p *packer) look() (*os.File, error) {
	listed, err := p.dir.Lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var old *os.File
	if err == nil && listed.Mode().IsRegular() {
		old, err = p.dir.Open(p.name)
	}
	if err != nil {
		return nil, diag.CantCreate.Errorf("cannot add to %q: %w", p.done.Path, errors.Unwrap(err))
	}
	if old == nil {
		return nil, diag.CantCreate.Errorf("cannot add to %q: it is no regular file", p.done.Path)
	}
	info, err := old.Stat()
	if err == nil && !os.SameFile(info, listed) {
		err = errors.New("another file took its place in this moment")
	}
	if err == nil {
		p.done.Before = info.Size()
		p.old, _, err = p.read(old, p.done.Before, -1)
	}
	if err != nil {
		old.Close()
		return nil, diag.BadData.Errorf("cannot add to %q: %w", p.done.Path, err).WithHint("see what is wrong with it, or move it away")
	}
	return old, nil
}

// isThere tells whether the file ends with the messages.
func (p *packer) isThere(old *os.File) (bool, error) {
	added, err := p.messages(io.Discard, nil)
	if err != nil || added.size == 0 || added.size > p.old.size {
		return false, err
	}
	_, last, err := p.read(old, p.done.Before, p.old.size-added.size)
	return last.sum() == added.sum(), err
}

// write makes the new file, checks it and puts it at its path.
func (p *packer) write(old *os.File, like Like) error {
	out, err := atomicfile.CreateIn(p.dir, p.name, like.Mode)
	if err != nil {
		return err
	}
	defer out.Abort()
	if old == nil {
		if err := own(out.File(), like); err != nil {
			return diag.CantCreate.Errorf("cannot write %q: %w", p.done.Path, err)
		}
	}
	count := &counter{w: out}
	if old != nil {
		if err := copyRange(count, old, Range{0, p.done.Before}, make([]byte, copyBlock)); err != nil {
			return err
		}
	}
	z, err := Compress(count, p.f)
	if err != nil {
		return err
	}
	added, err := p.messages(z, p.old.last)
	if err != nil {
		z.Close()
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	p.done.After = count.n
	before, after, err := p.read(out, p.done.After, p.old.size)
	if err != nil {
		return diag.Failed.Errorf("reading back what was written for %q: %w", p.done.Path, err)
	}
	if before.sum() != p.old.sum() || after.sum() != added.sum() {
		return diag.Failed.Errorf("what was written for %q is not what can be read back", p.done.Path)
	}
	return out.Commit()
}

// own gives a file to who it is to be like.
func own(f *os.File, like Like) error {
	if is, err := f.Stat(); err != nil || LikeFile(is).UID == like.UID && LikeFile(is).GID == like.GID {
		return err
	}
	if err := f.Chown(like.UID, like.GID); err != nil {
		return fmt.Errorf("chown: %w", errors.Unwrap(err))
	}
	return nil
}

// messages writes the ranges so that they can follow what is before them, which ends with last.
func (p *packer) messages(w io.Writer, last tail) (added content, err error) {
	buf := make([]byte, copyBlock)
	both := io.MultiWriter(w, &added, &last)
	for _, r := range p.ranges {
		if _, err := io.WriteString(both, gap(last)); err != nil {
			return added, err
		}
		if err := copyRange(both, p.src, r, buf); err != nil {
			return added, err
		}
	}
	return added, nil
}

// gap is what makes the next line follow an empty one. Last is the end of what is there.
func gap(last tail) string {
	switch {
	case len(last) == 0, bytes.HasSuffix(last, []byte("\n\n")), bytes.HasSuffix(last, []byte("\n\r\n")):
		return ""
	case bytes.HasSuffix(last, []byte("\n")):
		return "\n"
	}
	return "\n\n"
}

// read decompresses a file: what is up to an offset in its content, or all if that is negative, and the rest.
func (p *packer) read(file io.ReaderAt, size, split int64) (before, after content, err error) {
	if size == 0 {
		return before, after, nil
	}
	z, err := decompress(io.NewSectionReader(file, 0, size), p.f)
	if err != nil {
		return before, after, err
	}
	defer z.Close()
	if split < 0 {
		_, err = io.Copy(&before, z)
		return before, after, err
	}
	if _, err = io.CopyN(&before, z, split); err == nil {
		_, err = io.Copy(&after, z)
	}
	return before, after, err
}

// content is what is remembered of a stream of bytes that was written to it.
type content struct {
	size int64
	last tail
	hash hash.Hash
}

func (c *content) Write(b []byte) (int, error) {
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.hash.Write(b)
	c.size += int64(len(b))
	return c.last.Write(b)
}

// tail is the last bytes of a stream, at most three.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	last := slices.Concat(*t, b[max(0, len(b)-3):])
	*t = last[max(0, len(last)-3):]
	return len(b), nil
}

func (c *content) sum() (sum [sha256.Size]byte) {
	if c.hash == nil {
		return sha256.Sum256(nil)
	}
	return [sha256.Size]byte(c.hash.Sum(nil))
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
