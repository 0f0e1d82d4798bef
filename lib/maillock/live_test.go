package maillock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rplan/lib/mbox"
)

// live is an mbox to which another process appends while messages are cut out of it.
type live struct {
	t     *testing.T
	path  string
	take  func() []*Lock // the locks as the writer has them
	owner int            // of the mbox
	cut   []byte         // all that was cut
	olds  []old
}

// old is a file whose place another took.
type old struct {
	path string
	from int64 // its size when that was seen the last time
}

func release(locks []*Lock) {
	for i := len(locks) - 1; i >= 0; i-- {
		locks[i].Release()
	}
}

// messages are the ranges of the messages. In these tests no body has a line that begins with "From ".
func messages(text []byte) (list []mbox.Range) {
	for at := 0; at < len(text); {
		end := len(text)
		if n := bytes.Index(text[at+1:], []byte("\nFrom ")); n >= 0 {
			end = at + n + 2
		}
		list = append(list, mbox.Range{Start: int64(at), End: int64(end)})
		at = end
	}
	return list
}

// prune cuts each third message, as a run of the command does.
func (l *live) prune(round int) {
	l.t.Helper()
	locks := l.take()
	defer release(locks)
	src, err := os.Open(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer src.Close()
	text, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	var cut []mbox.Range
	for i, r := range messages(text) {
		if (i+round)%3 == 0 {
			cut = append(cut, r)
			l.cut = append(l.cut, text[r.Start:r.End]...)
		}
	}
	fresh := l.path + ".new"
	out, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		l.t.Fatal(err)
	}
	defer out.Close()
	if err := errors.Join(out.Chown(l.owner, -1), mbox.Cut(out, src, int64(len(text)), cut)); err != nil {
		l.t.Fatal(err)
	}
	for _, lock := range locks {
		if err := lock.Check(); err != nil {
			l.t.Fatal(err)
		}
	}
	kept := fmt.Sprintf("%s.old%d", l.path, round)
	if err := exchange(fresh, l.path, kept); err != nil {
		l.t.Fatal(err)
	}
	l.olds = append(l.olds, old{kept, int64(len(text))})
}

// exchange puts a new file in the place of the one at path, which is kept. Postfix opens the file before it locks it,
// bounces the message if the file has two names then, and takes the file for another one, so that it tries again
// later, if it has none or two when it is locked: so the old one gets its second name when it is not the mbox any more.
func exchange(fresh, path, kept string) error {
	err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	return errors.Join(err, os.Rename(fresh, kept), os.Link(kept, kept+".again"))
}

// late brings over what came to the old files.
func (l *live) late() (found int) {
	l.t.Helper()
	locks := l.take()
	defer release(locks)
	to, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer to.Close()
	for i, o := range l.olds {
		lock, err := Fcntl(context.Background(), o.path, long)
		if err != nil {
			l.t.Fatal(err)
		}
		size, err := mbox.Late(to, lock.File(), o.from)
		lock.Release()
		if err != nil {
			l.t.Fatal(err)
		}
		if size > o.from {
			found++
		}
		l.olds[i].from = size
	}
	return found
}

// run prunes until the writer has written all, and then counts.
func (l *live) run(writer *exec.Cmd, count int) (found int) {
	l.t.Helper()
	writer.Stderr = os.Stderr
	if err := writer.Start(); err != nil {
		l.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- writer.Wait() }()
	rounds := 0
	for end := false; !end; rounds++ {
		select {
		case err := <-done:
			if err != nil {
				l.t.Fatal(err)
			}
			end = true
		case <-time.After(3 * time.Millisecond):
			l.prune(rounds)
		}
		if rounds%10 == 0 || end {
			found += l.late()
		}
	}
	text, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	seen := map[string]int{}
	for _, id := range regexp.MustCompile(`(?m)^Message-ID: <(\d+)@writer>$`).FindAllSubmatch(append(text, l.cut...), -1) {
		seen[string(id[1])]++
	}
	for n := range count {
		if seen[fmt.Sprint(n)] != 1 {
			l.t.Errorf("message %d is there %d times", n, seen[fmt.Sprint(n)])
		}
	}
	l.t.Logf("%d messages, %d prunes, %d times something came late", count, rounds, found)
	if rounds < 100 {
		l.t.Errorf("there were only %d prunes", rounds)
	}
	return found
}

const liveMessages = 500

func TestPythonAppendsDuringPrunes(t *testing.T) {
	dir := scene(t)
	l := live{t: t, path: filepath.Join(dir, "mbox"), owner: os.Geteuid()}
	l.take = func() []*Lock { return []*Lock{must(t, "dotlock", dir, long), must(t, "fcntl", dir, long)} }
	if l.run(python(t, "mbox.py", "append", l.path, fmt.Sprint(liveMessages)), liveMessages) == 0 {
		t.Error("nothing came late, so that was not tried")
	}
}

func TestMailmanAppendsDuringPrunes(t *testing.T) {
	dir := scene(t)
	l := live{t: t, path: filepath.Join(dir, "mbox"), owner: os.Geteuid()}
	l.take = func() []*Lock { return []*Lock{must(t, "mailman", dir, long)} }
	if found := l.run(python(t, "mailman.py", "append", filepath.Join(dir, "dev.lock"), l.path, fmt.Sprint(liveMessages)), liveMessages); found > 0 {
		t.Errorf("Mailman, which opens the mbox under its lock, wrote %d times to an old one", found)
	}
}
