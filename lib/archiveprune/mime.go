package archiveprune

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// digest is a SHA-256.
type digest [sha256.Size]byte

// What bounds the reading of a hostile message.
const (
	maxDepth  = 20      // multiparts in multiparts
	maxParts  = 10_000  // of one message
	maxHeader = 1 << 20 // bytes, as the parser keeps them all in memory
)

// parts finds the decoded content of a message's parts among what is wanted.
type parts struct {
	wanted map[int64]bool // sizes in bytes: only a part of such a size is worth a digest
	found  func(digest)
	left   int
	buffer []byte
}

// read looks through one message, from its header on. What cannot be decoded is not found.
func (p *parts) read(message io.Reader) {
	m, err := mail.ReadMessage(bufio.NewReader(message))
	if err != nil {
		return
	}
	p.left = maxParts
	p.part(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, 0)
}

func (p *parts) part(contentType, encoding string, body io.Reader, depth int) {
	p.left--
	if p.left < 0 || depth > maxDepth {
		return
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind = ""
	}
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" {
		r := multipart.NewReader(body, params["boundary"])
		for p.left > 0 {
			part, err := r.NextRawPart()
			if err != nil {
				return
			}
			p.part(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part, depth+1)
		}
		return
	}
	p.content(decoded(encoding, body))
}

// decoded undoes a Content-Transfer-Encoding (RFC 2045 section 6).
func decoded(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}

// content takes the digest of what r gives, if it is of a wanted size.
func (p *parts) content(r io.Reader) {
	if p.buffer == nil {
		p.buffer = make([]byte, 64<<10)
	}
	hash := sha256.New()
	var size int64
	for {
		n, err := r.Read(p.buffer)
		hash.Write(p.buffer[:n])
		size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return
		}
	}
	if p.wanted[size] {
		p.found(digest(hash.Sum(nil)))
	}
}
