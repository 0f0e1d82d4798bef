package archiveprune

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"rplan/lib/app"
	"rplan/lib/archiveprune/layout"
	"rplan/lib/diag"
	"rplan/lib/mbox"
)

// evidence is what an archive's sources hold: what pages are proven by.
type evidence struct {
	sources  []source
	messages int
	bytes    int64 // of messages, once decompressed
	ids      map[digest]tally
	unnamed  map[digest]tally // messages without Message-ID, by their layout.Key
	torn     map[digest]bool  // other messages, of which bytes may be missing: they prove nothing
	parts    map[digest]tally // decoded parts that are an attachment's content, by SHA-256
	damage   []string         // why nothing of this archive may go
}

// message is what is remembered of one: retention needs no more.
type message struct {
	mbox.Range
	body     int64
	date     int64 // in seconds since 1970, by the rule for dates; noDate
	dating   dating
	doubtful bool
	ends     bool // it is the last of its mbox
	cut      bool // and may lack its end: no empty line comes after it, or none but that of its header
}

// dating is an mbox.Dating in little room: there may be a million.
type dating uint8

var datings = []mbox.Dating{mbox.Dated, mbox.Undated, mbox.Unparsable, mbox.Future}

func datingOf(d mbox.Dating) dating { return dating(slices.Index(datings, d)) }

func (d dating) String() string { return string(datings[d]) }

// noDate is the date of a message that has none.
const noDate = int64(-1) << 62

// tally counts messages of one name.
type tally struct {
	count  int32
	dating dating
	newest int64 // date of the newest of them; noDate if one of them has none
	came   int64 // when the first of them came in, by its From_ line, in seconds since 1970; noDate if one of them does not say
	place  place // of the first
	ends   bool  // one of them is the last of its mbox
	cut    bool  // and may lack its end
}

// tardy is how much older than its message's arrival a page may be: MHonArc can set a page's mtime to the message's date.
const tardy = 30 * 24 * time.Hour

// late says whether all of these messages came in when what shows one of them, a file with this mtime, had long been made.
// It shows another message then, of which a sender has taken the Message-ID.
func (t tally) late(made time.Time) bool {
	return t.came != noDate && time.Unix(t.came, 0).After(made.Add(tardy))
}

// named is the name of a Message-ID, and keyed that of a layout.Key: whoever chooses an ID cannot have it equal a key.
func named(id string) digest  { return sha256.Sum256([]byte("<" + id)) }
func keyed(key string) digest { return sha256.Sum256([]byte(key)) }

// place is where a message is.
type place struct {
	source int
	offset int64
}

// with adds a message that came in at a time, if not zero.
func (t tally) with(m message, at place, came time.Time) tally {
	in := noDate
	if !came.IsZero() {
		in = came.Unix()
	}
	switch {
	case t.count == 0:
		t = tally{newest: m.date, dating: m.dating, came: in, place: at}
	case t.newest != noDate && (m.date == noDate || m.date > t.newest):
		t.newest, t.dating = m.date, m.dating
	}
	t.came = min(t.came, in)
	t.count++
	t.ends, t.cut = t.ends || m.ends, t.cut || m.cut
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
	return &evidence{ids: map[digest]tally{}, unnamed: map[digest]tally{}, torn: map[digest]bool{}, parts: map[digest]tally{}}
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
			if n := len(g.sources); n > 0 && g.sources[n-1].file == f {
				g.sources[n-1].damaged = true
			}
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
	info, err := file.Stat()
	if err != nil {
		return err
	}
	g.sources = append(g.sources, source{file: f, opened: info})
	if f.Kind == layout.Message {
		m, err := mbox.ReadMessage(file, f.Size, g.now)
		if err != nil {
			return err
		}
		g.add(m, nil)
		return nil
	}
	r, err := mbox.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	g.sources[len(g.sources)-1].plain = r == io.ReadCloser(file)
	return g.mbox(ctx, newWitness(r))
}

// mbox takes the messages of one.
func (g *gatherer) mbox(ctx context.Context, r *witness) error {
	scanner := mbox.NewScanner(r, g.now)
	scanner.Fields = true
	var last mbox.Message // which is added when it is known whether another comes after it
	for n := 0; ; n++ {
		m, err := scanner.Next()
		if n > 0 && err == nil {
			g.add(last, nil)
		} else if n > 0 && err == io.EOF {
			g.add(last, r)
		}
		if err == io.EOF {
			return r.damage(&last)
		}
		if err != nil {
			return err
		}
		last = m
		if n%256 == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			g.progress(g.bytes)
		}
	}
}

// add takes a message of the last source, with what saw its end if it is the last in it.
func (g *gatherer) add(m mbox.Message, end *witness) {
	last := len(g.sources) - 1
	if !g.sources[last].plain { // what is compressed ends as whole as it was
		end = nil
	}
	kept := message{Range: m.Range, body: m.Body, date: noDate, dating: datingOf(m.Dating), doubtful: m.Doubt != "",
		ends: end != nil, cut: end != nil && (!end.emptyLine() || m.Body == m.End)}
	switch {
	case m.Dating == mbox.Dated:
		kept.date = m.Date.Unix()
	case g.received && !m.Received.IsZero() && m.Received.Before(g.now.Add(24*time.Hour)):
		kept.date, kept.dating = m.Received.Unix(), datingOf(mbox.Dated)
	}
	at := place{last, m.Start}
	of, key, any := g.ids, named(m.ID), true
	if m.ID == "" {
		text := layout.Key(m.Author, m.DateField, m.Subject)
		of, key, any = g.unnamed, keyed(text), text != ""
	}
	switch {
	case any && m.Torn:
		g.torn[key] = true
	case any:
		of[key] = of[key].with(kept, at, m.Received)
	}
	g.sources[last].messages = append(g.sources[last].messages, kept)
	g.messages++
	g.bytes += m.Size()
}

// errChanged is for a source that is not what was read.
var errChanged = errors.New("it was changed since it was read")

// changed says whether somebody has written to what is damaged since it was opened.
func (e *evidence) changed(root *os.Root) bool {
	return slices.ContainsFunc(e.sources, func(s source) bool {
		if !s.damaged {
			return false
		}
		now, err := root.Lstat(s.file.Path)
		return err == nil && (now.Size() != s.opened.Size() || !now.ModTime().Equal(s.opened.ModTime()))
	})
}

// stillThere makes sure that the sources are what was read, but for mail that came in since.
func (e *evidence) stillThere(root *os.Root) error {
	for i := range e.sources {
		s := &e.sources[i]
		same, err := s.same(root)
		if err == nil && !same {
			err = errChanged
		}
		if err != nil {
			return diag.TryAgain.Errorf("%q: %w", s.file.Path, err).WithHint("nothing was removed; the next run reads it anew")
		}
	}
	return nil
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
	p := parts{wanted: sizes}
	err := s.each(g.root, func(m *message, text io.Reader) bool {
		p.found = func(d digest) { g.parts[d] = g.parts[d].with(*m, place{i, m.Start}, time.Time{}) }
		if m.body-m.Start <= maxHeader {
			p.read(text)
		}
		progress(m.Size())
		return ctx.Err() == nil
	})
	return errors.Join(err, ctx.Err())
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
