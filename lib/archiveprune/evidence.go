package archiveprune

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"rplan/lib/app"
	"rplan/lib/archiveprune/layout"
	"rplan/lib/mbox"
)

// evidence is what an archive's sources hold: what pages are proven by.
type evidence struct {
	sources  []source
	messages int
	bytes    int64 // of messages, once decompressed
	ids      map[digest]tally
	unnamed  map[digest]tally // messages without Message-ID, by their layout.Key
	parts    map[digest]tally // decoded parts that are an attachment's content, by SHA-256
	damage   []string         // why nothing of this archive may go
}

// source is one file with messages.
type source struct {
	file     *layout.File
	plain    bool // an mbox that is not compressed
	messages []message
}

// message is what is remembered of one: retention needs no more.
type message struct {
	mbox.Range
	body     int64
	date     int64 // in seconds since 1970, by the rule for dates; noDate
	dating   mbox.Dating
	doubtful bool
}

// noDate is the date of a message that has none.
const noDate = int64(-1) << 62

// tally counts messages of one name.
type tally struct {
	count  int
	newest int64 // date of the newest of them; noDate if one of them has none
	dating mbox.Dating
	place  place // of the first
}

// named is the key of a Message-ID, or of a layout.Key.
func named(id string) digest { return sha256.Sum256([]byte(id)) }

// place is where a message is.
type place struct {
	source int
	offset int64
}

func (t tally) with(m message, at place) tally {
	switch {
	case t.count == 0:
		t = tally{newest: m.date, dating: m.dating, place: at}
	case t.newest != noDate && (m.date == noDate || m.date > t.newest):
		t.newest, t.dating = m.date, m.dating
	}
	t.count++
	return t
}

// gatherer fills evidence.
type gatherer struct {
	*evidence
	root     *os.Root
	now      time.Time
	received bool           // a message without a date has that of its From_ line
	progress func(at int64) // bytes of messages read so far
	env      *app.Env       // who waits
}

func newEvidence() *evidence {
	return &evidence{ids: map[digest]tally{}, unnamed: map[digest]tally{}, parts: map[digest]tally{}}
}

// read reads all sources of an archive. Damage is no error: it is in the evidence.
func (g *gatherer) read(ctx context.Context, a *layout.Archive) error {
	for i := range a.Files {
		f := &a.Files[i]
		if f.Kind != layout.Mbox && f.Kind != layout.Message {
			continue
		}
		err := g.source(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			g.damage = append(g.damage, fmt.Sprintf("%s: %v", f.Path, err))
		}
	}
	return nil
}

func (g *gatherer) source(ctx context.Context, f *layout.File) error {
	file, err := layout.Open(g.root, *f)
	if err != nil {
		return err
	}
	defer file.Close()
	g.sources = append(g.sources, source{file: f})
	if f.Kind == layout.Message {
		m, err := mbox.ReadMessage(file, f.Size, g.now)
		if err != nil {
			return err
		}
		g.add(m)
		return nil
	}
	r, err := mbox.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	g.sources[len(g.sources)-1].plain = r == io.ReadCloser(file)
	scanner := mbox.NewScanner(r, g.now)
	scanner.Fields = true
	for {
		m, err := scanner.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		g.add(m)
		if g.messages%256 == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			g.progress(g.bytes)
		}
	}
}

// add takes a message of the last source.
func (g *gatherer) add(m mbox.Message) {
	last := len(g.sources) - 1
	kept := message{Range: m.Range, body: m.Body, date: noDate, dating: m.Dating, doubtful: m.Doubt != ""}
	switch {
	case m.Dating == mbox.Dated:
		kept.date = m.Date.Unix()
	case g.received && !m.Received.IsZero() && m.Received.Before(g.now.Add(24*time.Hour)):
		kept.date, kept.dating = m.Received.Unix(), mbox.Dated
	}
	at := place{last, m.Start}
	if m.ID != "" {
		key := named(m.ID)
		g.ids[key] = g.ids[key].with(kept, at)
	} else if text := layout.Key(m.Author, m.DateField, m.Subject); text != "" {
		key := named(text)
		g.unnamed[key] = g.unnamed[key].with(kept, at)
	}
	g.sources[last].messages = append(g.sources[last].messages, kept)
	g.messages++
	g.bytes += m.Size()
}

// find looks in the sources for what attachments, of these sizes, hold.
func (g *gatherer) find(ctx context.Context, sizes map[int64]bool) error {
	if len(sizes) == 0 {
		return nil
	}
	progress := g.env.Progress("MB searched for attachments") // it takes longer than all else
	defer progress.Done()
	at := int64(0)
	for i := range g.sources {
		err := g.partsOf(ctx, i, sizes, func(read int64) {
			at += read
			progress.Show(int(at>>20), int(g.bytes>>20))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) partsOf(ctx context.Context, i int, sizes map[int64]bool, progress func(int64)) error {
	s := &g.sources[i]
	file, err := layout.Open(g.root, *s.file)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	if s.file.Kind == layout.Mbox {
		open, err := mbox.Open(file)
		if err != nil {
			return err
		}
		defer open.Close()
		r = open
	}
	r = bufio.NewReaderSize(r, 256<<10) // most messages are small
	p := parts{wanted: sizes}
	for _, m := range s.messages {
		p.found = func(d digest) { g.parts[d] = g.parts[d].with(m, place{i, m.Start}) }
		one := io.LimitReader(r, m.Size())
		p.read(one)
		if _, err := io.Copy(io.Discard, one); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress(m.Size())
	}
	return nil
}

// contentOf is the SHA-256 of a file.
func contentOf(root *os.Root, f *layout.File) (d digest, err error) {
	file, err := layout.Open(root, *f)
	if err != nil {
		return d, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return d, err
	}
	return digest(hash.Sum(nil)), nil
}
