package mbox

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"time"

	"rplan/lib/diag"
)

// skipKnown drops as many of the first messages as the file ends with.
func (p *packer) skipKnown(old *os.File) error {
	there, err := p.digests(old)
	if diag.KindOf(err) == diag.BadData {
		return nil // it is no mbox, and so holds none
	}
	if err != nil {
		return err
	}
	var d digester
	come := make([]digest, len(p.ranges))
	for i, r := range p.ranges {
		body, err := bodyOf(io.NewSectionReader(p.src, r.Start, r.Size()), r.Size())
		if err != nil {
			return err
		}
		if come[i], err = d.message(io.NewSectionReader(p.src, r.Start, r.Size()), body); err != nil {
			return err
		}
	}
	n := overlap(there, come)
	for _, r := range p.ranges[:n] {
		p.done.Bytes -= r.Size()
	}
	p.ranges = p.ranges[n:]
	p.done.Messages -= n
	p.done.Already = len(p.ranges) == 0
	return nil
}

// overlap is how many of the first of come are the last that are there.
func overlap(there, come []digest) int {
	for n := min(len(there), len(come)); n > 0; n-- {
		if slices.Equal(there[len(there)-n:], come[:n]) {
			return n
		}
	}
	return 0
}

// digests are those of all messages of a compressed file.
func (p *packer) digests(file io.ReaderAt) (all []digest, err error) {
	open := func() (io.ReadCloser, error) { return decompress(io.NewSectionReader(file, 0, p.done.Before), p.f) }
	z, err := open()
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var messages []Message
	for scanner := NewScanner(z, time.Now()); ; {
		m, err := scanner.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		messages = append(messages, Message{Range: m.Range, Body: m.Body})
	}
	again, err := open()
	if err != nil {
		return nil, err
	}
	defer again.Close()
	var d digester
	for _, m := range messages {
		one, err := d.message(io.LimitReader(again, m.Size()), m.Body-m.Start)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// bodyOf is the offset of the body in what is one message.
func bodyOf(r io.Reader, size int64) (int64, error) {
	m, err := ReadMessage(r, size, time.Now())
	return m.Body, err
}

type digest [sha256.Size]byte

// digester makes digests of messages. Two that differ in what Scrub takes out, or in the empty lines
// at their end, have the same.
type digester struct{ header, buf []byte }

// message is the digest of one, whose body begins at an offset. It reads it to its end.
func (d *digester) message(r io.Reader, body int64) (sum digest, err error) {
	if d.buf == nil {
		d.buf = make([]byte, 64<<10)
	}
	hash := sha256.New()
	end := &bareEnd{w: hash}
	if body <= longestHeader {
		d.header = slices.Grow(d.header[:0], int(body))[:body]
		if _, err := io.ReadFull(r, d.header); err != nil {
			return sum, err
		}
		header, _ := Scrub(d.header)
		end.Write(header)
	}
	if _, err := io.CopyBuffer(end, r, d.buf); err != nil {
		return sum, err
	}
	return digest(hash.Sum(nil)), nil
}

// bareEnd passes on all but the ends of lines at the very end.
type bareEnd struct {
	w    io.Writer
	held []byte
}

func (e *bareEnd) Write(b []byte) (int, error) {
	if text := bytes.TrimRight(b, "\r\n"); len(text) > 0 {
		e.w.Write(e.held)
		e.w.Write(text)
		e.held = append(e.held[:0], b[len(text):]...)
	} else {
		e.held = append(e.held, b...)
	}
	return len(b), nil
}
