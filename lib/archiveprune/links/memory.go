package links

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// The memory is a line a link, in ascending order of pages, below a line with the names of
// the columns. Bytes that would break a line or steer a terminal are \xNN, and so is "\".
const columns = "page\tid\tlist\tmbox\toffset\n"

// maxLine is more than any line of the memory has, all of it escaped.
const maxLine = 64 << 10

// Read yields the links of the memory at path (Path, or where a copy of it was put aside),
// by page; none if there is no such file. It ends with the first error.
func Read(tree *os.Root, path string) rows {
	return func(yield func(Link, error) bool) {
		f, err := openFile(tree, path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Link{}, err)
			return
		}
		defer f.Close()
		for l, err := range parse(f, f.Name()) {
			if !yield(l, err) {
				return
			}
		}
	}
}

// openFile opens a regular file; a symbolic link is none.
func openFile(tree *os.Root, name string) (*os.File, error) {
	there, err := tree.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !there.Mode().IsRegular() {
		return nil, diag.BadData.Errorf("%q is no regular file", path.Join(tree.Name(), name))
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	if here, err := f.Stat(); err != nil || !os.SameFile(there, here) {
		f.Close()
		return nil, diag.TryAgain.Errorf("%q changed while it was opened", path.Join(tree.Name(), name))
	}
	return f, nil
}

// parse reads a memory; name is for errors.
func parse(r io.Reader, name string) rows {
	return func(yield func(Link, error) bool) {
		in := bufio.NewReaderSize(r, maxLine)
		page := ""
		for n := 1; ; n++ {
			line, err := in.ReadSlice('\n')
			if err == io.EOF && len(line) == 0 && n > 1 {
				return
			}
			if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
				yield(Link{}, fmt.Errorf("reading %q: %w", name, err))
				return
			}
			if n == 1 && string(line) == columns {
				continue
			}
			l, ok := parseLine(string(line))
			if n == 1 || !ok || l.Page <= page {
				yield(Link{}, diag.BadData.Errorf("%q, line %d: not a link, or not in order of pages", name, n))
				return
			}
			page = l.Page
			if !yield(l, nil) {
				return
			}
		}
	}
}

// parseLine is the link of a line, if appendLine wrote it.
func parseLine(line string) (l Link, ok bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	if len(fields) != 5 {
		return l, false
	}
	for i, to := range []*string{&l.Page, &l.ID, &l.List, &l.Mbox} {
		if *to, ok = unescape(fields[i]); !ok {
			return l, false
		}
	}
	var err error
	l.Offset, err = strconv.ParseInt(fields[4], 10, 64)
	return l, err == nil && l.tidy() == nil && string(appendLine(nil, l)) == line
}

func appendLine(b []byte, l Link) []byte {
	for _, field := range []string{l.Page, l.ID, l.List, l.Mbox} {
		b = append(escape(b, field), '\t')
	}
	return append(strconv.AppendInt(b, l.Offset, 10), '\n')
}

func escape(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c == '\\' || c == 0x7f {
			b = fmt.Appendf(b, `\x%02x`, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var b []byte
	for s != "" {
		before, after, escaped := strings.Cut(s, `\x`)
		b, s = append(b, before...), after
		if !escaped {
			break
		}
		if len(after) < 2 {
			return "", false
		}
		c, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			return "", false
		}
		b, s = append(b, byte(c)), after[2:]
	}
	return string(b), true
}

// rewrite replaces the memory by what change makes of it, unless that is the same.
func rewrite(tree *os.Root, change func(old rows) rows) error {
	dir, err := enter(tree)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := path.Base(Path)
	f, err := atomicfile.CreateIn(dir, name, 0o640) // it names the messages of private lists too
	if err != nil {
		return err
	}
	defer f.Abort()
	out := bufio.NewWriterSize(f, 256<<10)
	if _, err := out.WriteString(columns); err != nil {
		return err
	}
	var line []byte
	for l, err := range change(Read(dir, name)) {
		if err != nil {
			return err
		}
		line = appendLine(line[:0], l)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if same(dir, name, f.File()) {
		return nil
	}
	return f.Commit()
}

// same tells whether a file has the bytes of another, which are in memory still as a rule.
func same(dir *os.Root, name string, as *os.File) bool {
	old, err := openFile(dir, name)
	if err != nil {
		return false
	}
	defer old.Close()
	a, err1 := old.Stat()
	b, err2 := as.Stat()
	if err1 != nil || err2 != nil || a.Size() != b.Size() {
		return false
	}
	was, is := bufio.NewReaderSize(old, 256<<10), bufio.NewReaderSize(io.NewSectionReader(as, 0, b.Size()), 256<<10)
	for {
		x, err1 := was.ReadByte()
		y, err2 := is.ReadByte()
		if err1 != nil || err2 != nil {
			return err1 == io.EOF && err2 == io.EOF
		}
		if x != y {
			return false
		}
	}
}

// enter opens Dir, and makes it if need be.
func enter(tree *os.Root) (*os.Root, error) {
	shown := path.Join(tree.Name(), Dir)
	err := tree.Mkdir(Dir, 0o755)
	if err == nil {
		err = tree.Chmod(Dir, 0o755) // Apache passes through, whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, diag.CantCreate.Errorf("cannot make %q: %w", shown, err)
	}
	there, err := tree.Lstat(Dir)
	if err == nil && !there.IsDir() {
		return nil, diag.CantCreate.Errorf("%q is no directory", shown)
	}
	if err != nil {
		return nil, diag.CantCreate.Errorf("%w", err)
	}
	dir, err := tree.OpenRoot(Dir)
	if err != nil {
		return nil, diag.CantCreate.Errorf("%w", err)
	}
	if here, err := dir.Stat("."); err != nil || !os.SameFile(there, here) {
		dir.Close()
		return nil, diag.CantCreate.Errorf("%q changed while it was opened", shown)
	}
	return dir, nil
}
