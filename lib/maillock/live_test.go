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
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
	"rplan/lib/diag"
	"rplan/lib/mbox"
)

// live is an mbox to which another process appends while messages are cut out of it.
type live struct {
	t    *testing.T
	path string
	take func() []*Lock // the locks as the writer has them
	cut  []byte         // all that was cut
	tree *trash.Tree
	olds []old
	lost int // locks
}

// mostLost is how many of its locks Mailman may take for dead ones' by mistake. It does so with one that it finds held,
// and then not there, if it is taken anew in the next moment.
const mostLost = 3

// old is a file whose place another took.
type old struct {
	run  *trash.Run
	path string
	from int64 // its size when that was seen the last time
	cut  int   // how much was cut before
}

// memory is a directory without a disk: prunes sync often, and there have to be many while the writer writes.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "rplan-maillock")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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
	before := len(l.cut)
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
	if err := mbox.Cut(out, src, int64(len(text)), cut); err != nil {
		l.t.Fatal(err)
	}
	info, err := src.Stat()
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := l.tree.Begin(l.t.Context(), time.Now(), trash.Plan{List: "dev"})
	if err != nil {
		l.t.Fatal(err)
	}
	listed := layout.File{Path: "mbox", Size: info.Size(), ModTime: info.ModTime(), Inode: info.Sys().(*syscall.Stat_t).Ino}
	err = r.Replace(listed, "mbox.new", func() error {
		var errs []error
		for _, lock := range locks {
			errs = append(errs, lock.Check())
		}
		return errors.Join(errs...)
	})
	lost := diag.KindOf(err) == diag.TryAgain && strings.Contains(err.Error(), `dev.lock" is lost: `)
	if lost && l.lost < mostLost { // as the program does: it has changed nothing
		l.t.Log(err)
		l.lost++
		l.cut = l.cut[:before]
		if err := errors.Join(os.Remove(fresh), r.End()); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.olds = append(l.olds, old{r, filepath.Join(filepath.Dir(l.path), ".rplan/trash", r.ID(), "old/mbox"), int64(len(text)), before})
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
		size, err := o.run.Late("mbox", to, lock.File(), o.from)
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
	tree, err := trash.Open(filepath.Dir(l.path))
	if err != nil {
		l.t.Fatal(err)
	}
	defer tree.Close()
	if _, err := tree.Lock(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	tree.Hold, tree.Settle = l.hold, 100*time.Millisecond
	l.tree = tree
	writer.Stderr = os.Stderr
	if err := writer.Start(); err != nil {
		l.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- writer.Wait() }()
	rounds := 0
	for end := false; !end; rounds++ {
		pause := 3 * time.Millisecond
		if rounds > enough {
			pause = 50 * time.Millisecond // the writer is to come to an end
		}
		select {
		case err := <-done:
			if err != nil {
				l.t.Fatal(err)
			}
			end = true
		case <-time.After(pause):
			l.prune(rounds)
			if rounds%20 == 3 && len(l.olds) > 0 {
				l.undoLast()
			}
		}
		if rounds%10 == 0 || end {
			found += l.late()
		}
	}
	l.once(count, l.cut)
	l.undo()
	l.once(count, nil)
	l.t.Logf("%d messages, %d prunes, %d times something came late", count, rounds, found)
	if rounds < enough {
		l.t.Errorf("there were only %d prunes", rounds)
	}
	return found
}

// once wants each message to be once in the mbox, or else where.
func (l *live) once(count int, elsewhere []byte) {
	l.t.Helper()
	text, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	seen := map[string]int{}
	for _, id := range regexp.MustCompile(`(?m)^Message-ID: <(\d+)@writer>$`).FindAllSubmatch(append(text, elsewhere...), -1) {
		seen[string(id[1])]++
	}
	for n := range count {
		if seen[fmt.Sprint(n)] != 1 {
			l.t.Errorf("message %d is there %d times", n, seen[fmt.Sprint(n)])
		}
	}
}

// hold takes the locks for an undo.
func (l *live) hold(ctx context.Context, _ string, old *os.File) (func(), error) {
	locks := l.take()
	replaced, err := FcntlReplaced(ctx, old, long)
	if err != nil {
		release(locks)
		return nil, err
	}
	return func() { release(append(locks, replaced)) }, nil
}

// undoLast brings back what the last run cut, while the writer goes on.
func (l *live) undoLast() {
	l.t.Helper()
	last := l.olds[len(l.olds)-1]
	if err := last.run.End(); err != nil {
		l.t.Fatal(err)
	}
	all, err := l.tree.Undo(l.t.Context(), func(i trash.Info) bool { return i.Run == last.run.ID() })
	if err != nil || len(all) != 1 || all[0].Stayed.Len() > 0 {
		l.t.Fatalf("undone %+v, %v", all, err)
	}
	l.cut, l.olds = l.cut[:last.cut], l.olds[:len(l.olds)-1]
}

// undo brings all back that was cut.
func (l *live) undo() {
	l.t.Helper()
	for _, o := range l.olds {
		if err := o.run.End(); err != nil {
			l.t.Fatal(err)
		}
	}
	all, err := l.tree.Undo(l.t.Context(), func(trash.Info) bool { return true })
	if err != nil {
		l.t.Fatal(err)
	}
	for _, u := range all {
		if u.Stayed.Len() > 0 {
			l.t.Errorf("undone %+v", u)
		}
	}
	if len(all) != len(l.olds) {
		l.t.Errorf("%d of %d runs were undone", len(all), len(l.olds))
	}
}

const (
	liveMessages = 500
	enough       = 100 // prunes
)

func TestPythonAppendsDuringPrunes(t *testing.T) {
	dir := sceneIn(t, memory(t))
	l := live{t: t, path: filepath.Join(dir, "mbox")}
	l.take = func() []*Lock { return []*Lock{must(t, "dotlock", dir, long), must(t, "fcntl", dir, long)} }
	if l.run(python(t, "mbox.py", "append", l.path, fmt.Sprint(liveMessages)), liveMessages) == 0 {
		t.Error("nothing came late, so that was not tried")
	}
}

func TestMailmanAppendsDuringPrunes(t *testing.T) {
	dir := sceneIn(t, memory(t))
	l := live{t: t, path: filepath.Join(dir, "mbox")}
	l.take = func() []*Lock { return []*Lock{must(t, "mailman", dir, long)} }
	if found := l.run(python(t, "mailman.py", "append", filepath.Join(dir, "dev.lock"), l.path, fmt.Sprint(liveMessages)), liveMessages); found > 0 {
		t.Errorf("Mailman, which opens the mbox under its lock, wrote %d times to an old one", found)
	}
}
