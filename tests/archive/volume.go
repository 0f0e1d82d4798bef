package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// volume is the directory of a month, or of another period.
type volume struct {
	name, label string // "2003-January", "January 2003"
	start       time.Time
	all         []*article          // as they came
	byID        map[string]*article // what indexes show for that Message-ID
	bySubject   map[string]*article // the oldest of each subject
}

// entry is a line of an index.
type entry struct {
	key [3]string
	id  string
}

// volume is the one that t is in.
func (p *pipermail) volume(t time.Time) *volume {
	t = t.UTC()
	v := &volume{byID: map[string]*article{}, bySubject: map[string]*article{}}
	v.start = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	switch p.o.Period {
	case "year":
		v.start = time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		v.name = t.Format("2006")
		v.label = v.name
	case "quarter":
		q := (int(t.Month()) + 2) / 3
		v.start = time.Date(t.Year(), time.Month(3*q-2), 1, 0, 0, 0, 0, time.UTC)
		v.name = fmt.Sprintf("%04dq%d", t.Year(), q)
		v.label = fmt.Sprintf("%s %s %d", p.say(ordinals[q-1]), p.say("quarter"), t.Year())
	case "week":
		v.start = day.AddDate(0, 0, -(int(t.Weekday())+6)%7)
		v.name = v.start.Format("Week-of-Mon-20060102")
		v.label = fmt.Sprintf("%s %d %s %d", p.say("The Week Of Monday"), v.start.Day(), p.say(v.start.Month().String()), v.start.Year())
	case "day":
		v.start = day
		v.name = t.Format("20060102")
		v.label = fmt.Sprintf("%d %s %d", t.Day(), p.say(t.Month().String()), t.Year())
	default:
		month := t.Month().String()
		v.label = fmt.Sprintf("%s %d", p.say(month), t.Year())
		if p.o.GermanDirs {
			month = german[month]
		}
		v.name = fmt.Sprintf("%04d-%s", t.Year(), month)
	}
	if known := p.volumes[v.name]; known != nil {
		return known
	}
	p.volumes[v.name] = v
	p.tree.Volumes = append(p.tree.Volumes, v.name)
	return v
}

// add files a under its thread.
func (v *volume) add(a *article) {
	parent := v.byID[a.inReplyTo]
	if parent == nil {
		parent = v.bySubject[a.stripped]
	}
	own := fmt.Sprintf("%011d.%d-", a.date.Unix(), a.seq)
	if a.threadKey = own; parent != nil {
		a.threadKey = parent.threadKey + own
	}
	v.all = append(v.all, a)
	if parent != nil {
		parent.cached = true
	}
	if first := v.byID[a.msgid]; first == nil || !first.cached {
		v.byID[a.msgid] = a
	}
	if first := v.bySubject[a.stripped]; first == nil || a.date.Before(first.date) {
		v.bySubject[a.stripped] = a
	}
}

// index is the order of an index, with the keys of Mailman's database.
func (v *volume) index(kind string) []entry {
	var list []entry
	for _, a := range v.all {
		date := fmt.Sprintf("%011d", a.date.Unix())
		e := entry{id: a.msgid}
		switch kind {
		case "date":
			e.key = [3]string{date, a.msgid}
		case "author":
			e.key = [3]string{lastFirst(a.author), date, a.msgid}
		case "subject":
			e.key = [3]string{a.stripped, date, a.msgid}
		case "thread":
			e.key = [3]string{v.byID[a.msgid].threadKey, a.msgid} // made anew from what is shown
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return slices.Compare(a.key[:], b.key[:]) })
	return slices.Compact(list)
}

// lastFirst turns "Bob van der Berg" into "Berg van der, Bob".
func lastFirst(name string) string {
	words := strings.Fields(name)
	if len(words) < 2 || strings.Contains(name, ",") {
		return name
	}
	i := len(words) - 1
	for i > 1 && strings.ToLower(words[i-1]) == words[i-1] {
		i--
	}
	last := len(words) - 1
	return strings.Join(append([]string{words[last]}, words[i:last]...), " ") + ", " + strings.Join(words[:i], " ")
}

// writeVolumes writes the volumes, as many at a time as there are processors: most of the work is to make files.
func (p *pipermail) writeVolumes() error {
	errs := make([]error, len(p.tree.Volumes))
	var wait sync.WaitGroup
	turn := make(chan bool, runtime.NumCPU())
	for i, name := range p.tree.Volumes {
		wait.Go(func() {
			turn <- true
			errs[i] = p.writeVolume(p.volumes[name])
			<-turn
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (p *pipermail) writeVolume(v *volume) error {
	if err := os.MkdirAll(p.path(v.name), 0o775); err != nil {
		return err
	}
	threads := v.index("thread")
	for i, e := range threads {
		var prev, next *article
		if i > 0 {
			prev = v.byID[threads[i-1].id]
		}
		if i+1 < len(threads) {
			next = v.byID[threads[i+1].id]
		}
		if err := p.writePage(v, v.byID[e.id], prev, next); err != nil {
			return err
		}
	}
	for _, a := range v.all {
		if v.byID[a.msgid] != a {
			if err := p.writePage(v, a, nil, nil); err != nil {
				return err
			}
		}
	}
	for _, kind := range []string{"date", "subject", "author", "thread"} {
		if err := p.writeIndex(v, kind); err != nil {
			return err
		}
	}
	if err := os.Symlink("thread.html", p.path(v.name+"/index.html")); err != nil {
		return err
	}
	return cmp.Or(p.writeText(v), p.writeDatabase(v))
}

// writeIndex writes VOLUME/KIND.html.
func (p *pipermail) writeIndex(v *volume, kind string) error {
	list := v.index(kind)
	dates := v.index("date")
	first, last := v.byID[dates[0].id].date, v.byID[dates[len(dates)-1].id].date
	return p.create(v.name+"/"+kind+".html", func(w *bufio.Writer) {
		refs := p.sortedBy(kind)
		fmt.Fprintf(w, indexHead, p.list, p.quote(v.label), p.sayHTML(kind), p.o.Charset, p.sayHTML("Messages sorted by:"), refs, p.o.Host, p.list,
			p.sayHTML("Starting:"), p.ctime(first), p.sayHTML("Ending:"), p.ctime(last), p.sayHTML("Messages:"), len(dates))
		depth := 0
		for _, e := range list {
			a := v.byID[e.id]
			if kind == "thread" {
				to := min(strings.Count(a.threadKey, "-")-1, 3)
				w.WriteString(strings.Repeat("</UL>\n", max(depth-to, 0)) + strings.Repeat("<UL>\n", max(to-depth, 0)))
				fmt.Fprintf(w, "<!--%d %s -->\n", to, a.threadKey)
				depth = to
			}
			fmt.Fprintf(w, indexEntry, a.name(), p.quote(p.obscure(a.subject)), a.seq, p.quote(a.author))
		}
		w.WriteString(strings.Repeat("</UL>\n", depth))
		fmt.Fprintf(w, indexFoot, p.sayHTML("Last message date:"), p.ctime(last), p.sayHTML("Archived on:"), p.ctime(p.last),
			p.sayHTML("Messages sorted by:"), refs, p.o.Host, p.list)
	})
}

// writeText writes VOLUME.txt and VOLUME.txt.gz.
func (p *pipermail) writeText(v *volume) error {
	text := func(w io.Writer) {
		for _, a := range v.all {
			fmt.Fprintf(w, "From %s  %s\nFrom: %s (%s)\nDate: %s\nSubject: %s\n", a.email, a.date.Format(time.ANSIC), a.email, a.rawAuthor, a.dateField, a.rawSubject)
			if a.inReplyTo != "" {
				fmt.Fprintf(w, "In-Reply-To: <%s>\nReferences: <%s>\n", a.inReplyTo, a.inReplyTo)
			}
			fmt.Fprintf(w, "Message-ID: %s\n\n", a.idField)
			w.Write(p.encode(p.obscure(p.shown(a)), func(rune) string { return "?" }))
			io.WriteString(w, "\n")
		}
	}
	if !p.o.OnlyGzip {
		if err := p.create(v.name+".txt", func(w *bufio.Writer) { text(w) }); err != nil {
			return err
		}
	}
	return p.create(v.name+".txt.gz", func(w *bufio.Writer) {
		z := gzip.NewWriter(w)
		text(z)
		z.Close()
	})
}

// create writes a file; a bufio.Writer remembers that it failed.
func (p *pipermail) create(name string, write func(*bufio.Writer)) error {
	f, err := os.Create(filepath.FromSlash(p.path(name)))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	write(w)
	return cmp.Or(w.Flush(), f.Close())
}

// writeTOC writes index.html, the newest volume first.
func (p *pipermail) writeTOC() error {
	names := slices.SortedFunc(slices.Values(p.tree.Volumes), func(a, b string) int {
		return cmp.Or(p.volumes[b].start.Compare(p.volumes[a].start), cmp.Compare(b, a))
	})
	if len(names) == 0 {
		return p.create("index.html", func(w *bufio.Writer) { fmt.Fprintf(w, emptyTOC, p.list, p.list, p.o.Host, p.list) })
	}
	return p.create("index.html", func(w *bufio.Writer) {
		var b bytes.Buffer
		for _, name := range names {
			text, kind := name+".txt.gz", p.sayHTML("Gzip'd Text")
			info, _ := os.Stat(p.path(text))
			fmt.Fprintf(&b, tocEntry, p.quote(p.volumes[name].label), name, p.sayHTML("Thread"), name, p.sayHTML("Subject"), name, p.sayHTML("Author"), name, p.sayHTML("Date"),
				text, kind, sizeof(info.Size()))
		}
		info, _ := os.Stat(filepath.Join(p.dir, p.tree.Mbox))
		fmt.Fprintf(w, toc, p.list, p.o.Charset, p.list, p.o.Host, p.list, p.list, p.list, sizeof(info.Size()), &b)
	})
}

func sizeof(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf(" %d bytes ", n)
	case n < 1_000_000:
		return fmt.Sprintf(" %d KB ", n/1000)
	}
	return fmt.Sprintf(" %d MB ", n/1_000_000)
}
