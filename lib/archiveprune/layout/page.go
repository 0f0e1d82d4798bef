package layout

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"

	"rplan/lib/diag"
)

const (
	blockSize = 64 << 10
	overlap   = 4 << 10 // a mark or a link is never longer
	mostHead  = 1 << 20 // of a page up to where the message begins
	mostLinks = 1 << 10 // to attachments, from one page
)

var errLinks = diag.BadData.Errorf("links to more than %d attachments", mostLinks)

// ReadPage reads a page of an archive of this layout. dir is the directory that it is in, from the tree's top.
// Attachments are named from there too; where MHonArc gave each message a directory for them, that is named.
// A page of Pipermail may also be one that MHonArc has made since.
//
// The ID is what stands between the brackets of the Message-ID field, byte for byte, but without blanks. It is
// "" where the archiver says that there was none, and for Mailman 2.0, which does not name it.
//
// An error of kind diag.BadData says that the page shows no message, or two, or cannot be understood.
// No more than a few MB of memory are used for whatever page.
func ReadPage(r io.Reader, layout Layout, dir string) (Shown, error) {
	if layout != Pipermail && layout != MHonArc {
		return Shown{}, diag.BadData.Errorf("a %s archive has no pages", layout)
	}
	in := buffers.Get().(*buffer)
	defer buffers.Put(in)
	head, by, err := in.head(r)
	if err != nil {
		return Shown{}, err
	}
	if layout == MHonArc && by != MHonArc {
		return Shown{}, diag.BadData.Errorf("names no message: MHonArc did not make it")
	}
	if by == MHonArc {
		shown, err := readMHonArc(head, dir)
		if err != nil {
			return Shown{}, err
		}
		first := true
		err = in.body(mhonarcHead, func(block []byte) error {
			if first && shown.ID == "" {
				shown.Date = shownDate(block, shown.Date)
			}
			first = false
			return nil
		})
		return shown, err
	}
	shown, err := readPipermail(head)
	if err != nil {
		return Shown{}, err
	}
	links := newLinks(dir)
	err = in.body(beginArticle, links.find)
	shown.Attachments = links.paths
	return shown, err
}

// buffer reads a page. Archives have many small ones, for which new memory would cost more than all else.
type buffer struct {
	lines *bufio.Reader
	text  []byte    // the head
	block []byte    // of the body
	rest  io.Reader // the body
}

var buffers = sync.Pool{New: func() any {
	return &buffer{lines: bufio.NewReaderSize(nil, blockSize), block: make([]byte, 0, blockSize+overlap)}
}}

// head reads a page up to where the message begins, and tells who made it. Nothing of the message can look
// like that mark up to there: both archivers escape "<" in what they take from its header.
func (b *buffer) head(r io.Reader) ([]byte, Layout, error) {
	b.lines.Reset(r)
	b.text = b.text[:0]
	for {
		line, err := b.lines.ReadSlice('\n')
		from := max(0, len(b.text)-len(beginArticle)) // a line that is longer than the buffer comes in pieces
		b.text = append(b.text, line...)
		if i := bytes.Index(b.text[from:], []byte("<!--")); i < 0 {
			// Saves most lines the regular expression.
		} else if m := headEnd.FindIndex(b.text[from+i:]); m != nil {
			begin, end := from+i+m[0], from+i+m[1]
			by := Pipermail
			if string(b.text[begin:end]) == mhonarcHead {
				by = MHonArc
			}
			b.rest = io.MultiReader(bytes.NewReader(b.text[end:]), b.lines)
			return b.text[:begin], by, nil
		}
		switch {
		case err == io.EOF:
			return nil, "", diag.BadData.Errorf("names no message: neither pipermail nor MHonArc made it, or it is cut off")
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, "", diag.Failed.Errorf("cannot read the page: %w", err)
		case len(b.text) > mostHead:
			return nil, "", diag.BadData.Errorf("names no message in its first %d bytes", mostHead)
		}
	}
}

// headEnd is the mark after which a page has the message.
var headEnd = regexp.MustCompile(mhonarcHead + "|" + beginArticle)

// body reads the rest of a page in blocks that overlap. If another message begins in it, that is an error.
func (b *buffer) body(begin string, find func(block []byte) error) error {
	block := b.block[:0]
	for {
		n, err := io.ReadFull(b.rest, block[len(block):cap(block)])
		block = block[:len(block)+n]
		if bytes.Contains(block, []byte(begin)) {
			return diag.BadData.Errorf("names two messages: %q is in it twice", begin)
		}
		if err := find(block); err != nil {
			return err
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return diag.Failed.Errorf("cannot read the page: %w", err)
		}
		block = append(block[:0], block[len(block)-overlap:]...)
	}
}

// bare is what is between the first angle brackets of a Message-ID field, or all of it if there are none, without
// blanks, as of mbox.Message.
func bare(field string) string {
	if _, after, ok := strings.Cut(field, "<"); ok {
		if id, _, ok := strings.Cut(after, ">"); ok {
			field = id
		}
	}
	return unblanked.Replace(field)
}

// unblanked leaves out what archivers and mail programs disagree about: where a field was folded.
var unblanked = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")

// utf8Of makes text of a charset valid UTF-8. Of charsets other than ASCII, UTF-8 and Latin-1 only the ASCII
// part can be told; each other byte is U+FFFD, and such text is the same as no other.
func utf8Of(s, charset string) string {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "latin1", "latin-1":
		return latin1(s)
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func latin1(s string) string {
	runes := make([]rune, 0, len(s))
	for _, b := range []byte(s) {
		runes = append(runes, rune(b))
	}
	return string(runes)
}
