package rebuild

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
	"rplan/lib/run"
)

const (
	hidden = ".rplan"   // of a tree
	prefix = "rebuild-" // of a workshop's name in it
	pages  = "pages"    // in a workshop
)

// workshop is a directory in which pages are made. Who works there holds an flock(2) on it.
type workshop struct {
	above *os.Root // TREE/.rplan
	name  string
	root  *os.Root
	dir   *os.File // root, opened and locked
}

// newWorkshop makes one, and removes those of killed processes.
func newWorkshop(tree *os.Root) (*workshop, error) {
	err := tree.Mkdir(hidden, 0o755)
	if err == nil {
		err = tree.Chmod(hidden, 0o755) // Apache reads maps there, whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, diag.CantCreate.Errorf("%w", err)
	}
	above, err := descend(tree, hidden)
	if err != nil {
		return nil, err
	}
	w := &workshop{above: above, name: prefix + rand.Text()}
	err = sweep(above)
	if err == nil {
		err = above.Mkdir(w.name, 0o700)
	}
	if err == nil {
		w.root, err = above.OpenRoot(w.name)
	}
	if err == nil {
		w.dir, err = w.root.Open(".")
	}
	if err == nil {
		err = syscall.Flock(int(w.dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		w.close()
		return nil, diag.CantCreate.Errorf("cannot make a directory in %q: %w", above.Name(), err)
	}
	return w, nil
}

// sweep removes the workshops that nobody works in. The mhonarc of a killed process may still do so, to
// no effect: its directory is gone, and no other has the name.
func sweep(above *os.Root) error {
	entries, err := fs.ReadDir(above.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.IsDir() {
			continue
		}
		dir, err := above.Open(e.Name())
		if err != nil {
			continue // just removed
		}
		if syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			for range 10 { // against one who still writes there; what is left then is for the next time
				if above.RemoveAll(e.Name()) == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		dir.Close()
	}
	return nil
}

// close removes the workshop.
func (w *workshop) close() error {
	defer w.above.Close()
	err := w.above.RemoveAll(w.name)
	if w.dir != nil {
		w.dir.Close()
	}
	if w.root != nil {
		w.root.Close()
	}
	return err
}

// convert has mhonarc make pages of the messages, and tells how many there are of these.
func (w *workshop) convert(ctx context.Context, o Options) (messages int, err error) {
	// No line of a mail is this one, so none begins a message that is none.
	separator := "From rplan-" + rand.Text()
	if messages, err = w.feed(o, separator); err != nil {
		return messages, err
	}
	for name, text := range map[string][]byte{"mrc": resources, "rplan.pl": filters} {
		if err := w.root.WriteFile(name, text, 0o600); err != nil {
			return messages, diag.CantCreate.Errorf("%w", err)
		}
	}
	if err := w.root.Mkdir(pages, 0o755); err != nil {
		return messages, diag.CantCreate.Errorf("%w", err)
	}
	argv := []string{mhonarc, "-quiet", "-nolock", "-perlinc", ".", "-rcfile", "mrc", "-outdir", pages, "-dbfile", "../db",
		"-msgsep", "^" + separator + " ", "-title", title(o.Title), "-ttitle", title(o.Title) + ": threads"}
	if o.HideAddresses {
		argv = append(argv, "-spammode")
	}
	result, err := run.Run(ctx, run.Cmd{Argv: append(argv, "mbox"), Dir: fmt.Sprintf("/proc/self/fd/%d", w.dir.Fd()),
		Env: []string{"HOME=/nonexistent", "M2H_RCFILE=", "M2H_DEFRCFILE="}, Timeout: cmp.Or(o.Timeout, DefaultTimeout)})
	if err != nil {
		return messages, w.blame(err)
	}
	// Ended by a signal, it exits with 0. The database is what it writes last.
	if _, err := w.root.Lstat("db"); err != nil {
		return messages, w.blame(fmt.Errorf("mhonarc stopped before its end: %q", bytes.TrimSpace(result.Stderr)))
	}
	return messages, nil
}

// blame is an error for what went wrong in the workshop: a full disk has a kind of its own.
func (w *workshop) blame(err error) error {
	var disk unix.Statfs_t
	if unix.Fstatfs(int(w.dir.Fd()), &disk) == nil && disk.Bavail*uint64(disk.Bsize) < 64<<10 {
		return diag.CantCreate.Errorf("cannot make pages: the disk is full: %w", err)
	}
	return fmt.Errorf("cannot make pages: %w", err)
}

// feed writes the messages to a file for mhonarc.
func (w *workshop) feed(o Options, separator string) (n int, err error) {
	f, err := w.root.OpenFile("mbox", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, diag.CantCreate.Errorf("%w", err)
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 256<<10)
	in := bufio.NewReaderSize(nil, 64<<10)
	for message, err := range o.Messages {
		if err != nil {
			return n, err
		}
		n++
		in.Reset(message)
		if start, _ := in.Peek(5); bytes.Equal(start, []byte("From ")) {
			if err := skipLine(in); err != nil {
				return n, err
			}
		}
		fmt.Fprintf(out, "%s x\n", separator)
		reader := &failing{Reader: in}
		if _, err := io.Copy(out, reader); err != nil {
			if reader.err != nil {
				return n, reader.err
			}
			return n, w.blame(err)
		}
		out.WriteString("\n\n") // ends its header, if it has nothing else
	}
	if err := out.Flush(); err != nil {
		return n, w.blame(err)
	}
	return n, nil
}

// failing tells an error of reading from one of writing.
type failing struct {
	*bufio.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func (f *failing) WriteTo(to io.Writer) (int64, error) {
	return io.Copy(to, struct{ io.Reader }{f})
}

func skipLine(in *bufio.Reader) error {
	for {
		_, err := in.ReadSlice('\n')
		if err == nil || err == io.EOF {
			return nil
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// end is how a page ends that was written to its end; an index has a comment after it.
const end = "</html>\n"

// inspect counts what was made, and looks whether it is whole: mhonarc does not notice a full disk.
func (w *workshop) inspect(r *Result) error {
	err := fs.WalkDir(w.root.FS(), pages, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("mhonarc made %q, which is no regular file", name)
		}
		r.Files++
		r.Bytes += info.Size()
		if path.Ext(name) != ".html" {
			return nil
		}
		if strings.HasPrefix(path.Base(name), "msg") {
			r.Pages++
		}
		return w.whole(name, info.Size())
	})
	if err != nil {
		return w.blame(err)
	}
	return nil
}

func (w *workshop) whole(name string, size int64) error {
	f, err := w.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	last, err := io.ReadAll(io.NewSectionReader(f, max(0, size-64), 64))
	if err == nil && (!bytes.Contains(last, []byte(end)) || last[len(last)-1] != '\n') {
		err = fmt.Errorf("mhonarc wrote only a part of %q", path.Base(name))
	}
	return err
}
