package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// writeDatabase writes database/VOLUME-{date,author,subject,article,thread}: dictionaries as Python 2's marshal writes them,
// from tuples to Message-IDs, and from Message-IDs to pickled articles.
func (p *pipermail) writeDatabase(v *volume) error {
	for _, kind := range []string{"date", "author", "subject", "thread"} {
		err := p.create("database/"+v.name+"-"+kind, func(w *bufio.Writer) {
			w.WriteByte('{')
			for _, e := range v.index(kind) {
				key := e.key[:3]
				if key[2] == "" {
					key = key[:2]
				}
				w.WriteByte('(')
				binary.Write(w, binary.LittleEndian, int32(len(key)))
				for _, k := range key {
					marshal(w, k)
				}
				marshal(w, e.id)
			}
			w.WriteByte('0')
		})
		if err != nil {
			return err
		}
	}
	return p.create("database/"+v.name+"-article", func(w *bufio.Writer) {
		w.WriteByte('{')
		for _, a := range v.all {
			if v.byID[a.msgid] == a {
				marshal(w, a.msgid)
				marshal(w, string(p.pickle(a)))
			}
		}
		w.WriteByte('0')
	})
}

// marshal writes a string of bytes, or of Unicode if it is not ASCII.
func marshal(w *bufio.Writer, s string) {
	kind := byte('s')
	if !isASCII(s) {
		kind = 'u'
	}
	w.WriteByte(kind)
	binary.Write(w, binary.LittleEndian, int32(len(s)))
	w.WriteString(s)
}

// pickled writes a dictionary in protocol 0: strings, ints, lists of strings, nil.
func pickled(b *bytes.Buffer, pairs ...any) {
	b.WriteString("(d")
	for i := 0; i < len(pairs); i += 2 {
		pickledValue(b, pairs[i])
		pickledValue(b, pairs[i+1])
		b.WriteByte('s')
	}
}

func pickledValue(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteByte('N')
	case int:
		fmt.Fprintf(b, "I%d\n", v)
	case string:
		if isASCII(v) {
			fmt.Fprintf(b, "S%s\n", strconv.QuoteToASCII(v))
			return
		}
		b.WriteByte('V')
		for _, r := range v {
			switch {
			case r == '\\' || r == '\n':
				fmt.Fprintf(b, `\u%04x`, r)
			case r < 0x80:
				b.WriteRune(r)
			case r > 0xffff:
				fmt.Fprintf(b, `\U%08x`, r)
			default:
				fmt.Fprintf(b, `\u%04x`, r)
			}
		}
		b.WriteByte('\n')
	case []string:
		b.WriteString("(l")
		for _, s := range v {
			pickledValue(b, s)
			b.WriteByte('a')
		}
	}
}

// pickle is an instance of HyperArch's Article, without its body.
func (p *pipermail) pickle(a *article) []byte {
	var b bytes.Buffer
	b.WriteString("(iMailman.Archiver.HyperArch\nArticle\n")
	references := []string{}
	if a.inReplyTo != "" {
		references = append(references, a.inReplyTo)
	}
	pickled(&b, "sequence", a.seq, "msgid", a.msgid, "_message_id", a.idField, "subject", printable(a.rawSubject), "author", printable(a.rawAuthor), "email", a.email,
		"date", fmt.Sprintf("%011d", a.date.Unix()), "datestr", a.dateField, "fromdate", a.date.Format(time.ANSIC),
		"in_reply_to", a.inReplyTo, "_in_reply_to", a.inReplyTo, "references", references, "threadKey", a.threadKey, "filename", a.name(),
		"ctype", "text/plain", "cenc", "8bit", "_lang", p.language(), "__listname", p.list, "parentID", nil, "body", []string{})
	b.WriteString("b.")
	return b.Bytes()
}

// printable keeps a raw header field a valid string of a pickle.
func printable(s string) string { return strings.ToValidUTF8(s, "?") }

func (p *pipermail) language() string {
	if p.o.German {
		return "de"
	}
	return "en"
}

// writeState writes pipermail.pck, the pickled dictionary that numbering goes on from.
func (p *pipermail) writeState() error {
	var b bytes.Buffer
	pickled(&b, "archives", p.tree.Volumes, "_dirty_archives", []string{}, "sequence", len(p.tree.Pages), "update_TOC", 0,
		"basedir", "/var/lib/mailman/"+p.tree.HTML, "lang", p.language(), "type", "Thread", "depth", 0,
		"archivedate", p.last.Format(time.ANSIC), "version", "0.09 (Mailman edition)")
	b.WriteByte('.')
	return p.create("pipermail.pck", func(w *bufio.Writer) { w.Write(b.Bytes()) })
}
