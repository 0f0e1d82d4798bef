package archiveprune

import (
	"bytes"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/lib/mbox"
)

const (
	silence  = 366 * 24 * time.Hour // after which it is odd that nobody has written to any list
	tailSize = 256 << 10            // bytes at the end of an mbox in which its newest message is sought
)

// clock says whether messages may be removed for their age, or why this machine's clock is in doubt: what is too old is so by
// that clock alone, and after a battery failed or an NTP server went mad all messages would be. What senders say of
// today is another opinion. Who names a list has looked, and is trusted.
func (r *runner) clock(t *tree, p *plan) error {
	if len(r.o.Lists()) > 0 || !p.removesMessages() {
		return nil
	}
	if !t.dated {
		for i := range t.archives {
			t.newest = later(t.newest, lastWritten(t, &t.archives[i], r.now))
		}
		t.dated = true
	}
	newest := later(t.newest, p.evidence.newest())
	if r.now.Sub(newest) < silence {
		return nil
	}
	return diag.Refused.Errorf("list %q: messages are too old if it is %s, as the clock says, but none of this tree is from after %s",
		p.archive.List, r.now.UTC().Format(time.DateOnly), newest.UTC().Format(time.DateOnly)).
		WithHint("set the clock; if it is right, name the lists that nobody writes to any more: rp-archive-prune --apply %s", p.archive.List)
}

// removesMessages says whether any message is too old to be kept.
func (p *plan) removesMessages() bool {
	for _, numbers := range p.expired {
		if len(numbers) > 0 {
			return true
		}
	}
	return false
}

// newest is the date of the newest message; a file has none that is newer than itself.
func (e *evidence) newest() (at time.Time) {
	for s := range e.sources {
		of := noDate
		for i := range e.sources[s].messages {
			of = max(of, e.sources[s].messages[i].date)
		}
		if of != noDate {
			at = later(at, earlier(time.Unix(of, 0), e.sources[s].file.ModTime))
		}
	}
	return at
}

// lastWritten is about when somebody last wrote to a list; zero if that cannot be told. Of messages in files of their
// own it looks at the newest file.
func lastWritten(t *tree, a *layout.Archive, now time.Time) (at time.Time) {
	var message *layout.File
	for i := range a.Files {
		f := &a.Files[i]
		switch {
		case f.Kind == layout.Message && (message == nil || f.ModTime.After(message.ModTime)):
			message = f
		case f.Kind == layout.Mbox:
			at = later(at, earlier(lastDate(t, f, now), f.ModTime))
		}
	}
	if message != nil {
		at = later(at, earlier(lastDate(t, message, now), message.ModTime))
	}
	return at
}

// lastDate is the newest date at the end of a file of messages that is not compressed, or zero.
func lastDate(t *tree, f *layout.File, now time.Time) (at time.Time) {
	file, err := layout.Open(t.root, *f)
	if err != nil {
		return at
	}
	defer file.Close()
	if f.Kind == layout.Message {
		m, err := mbox.ReadMessage(file, f.Size, now)
		if err != nil {
			return at
		}
		return m.Date
	}
	tail := make([]byte, min(f.Size, tailSize))
	n, _ := file.ReadAt(tail, f.Size-int64(len(tail)))
	tail = tail[:n]
	if f.Size > tailSize { // it begins within a message
		_, tail, _ = bytes.Cut(tail, []byte("\n\nFrom "))
		tail = append([]byte("From "), tail...)
	}
	scanner := mbox.NewScanner(bytes.NewReader(tail), now)
	for {
		m, err := scanner.Next()
		if err != nil {
			return at
		}
		at = later(at, m.Date)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
