package source

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// session is one connection to an LDAP server, with one request at a time.
//
// It exists because of the million entries that must be read as fast as slapd
// sends them: go-ldap makes hundreds of objects of each. For writes, where
// nothing of the kind matters, ldap.NewConn can take over conn between two
// requests, bound as it is.
type session struct {
	conn net.Conn
	in   *bufio.Reader
	id   int32  // of the last request
	used int    // bytes of in that the last message takes
	big  []byte // scratch: a message that does not fit into in
}

// window is how much is read at once, and the largest message that is not copied.
const window = 1 << 18

var (
	errLost     = errors.New("connection lost")
	errProtocol = errors.New("the answer is not LDAP")
)

func newSession(conn net.Conn) *session {
	return &session{conn: conn, in: bufio.NewReaderSize(conn, window)}
}

// endWith makes all reads and writes fail once ctx is done, until the returned function is called.
func (s *session) endWith(ctx context.Context) (free func()) {
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// close says goodbye, which slapd's log likes better, and closes the connection.
func (s *session) close() {
	_ = s.send(element(opUnbind, ""))
	_ = s.conn.Close()
}

// send sends a request under the next message id.
func (s *session) send(op []byte) error {
	s.id++
	_, err := s.conn.Write(element(tagSequence, number(tagInteger, s.id), op))
	return err
}

// message is an answer to the last request. Its bytes are valid until the next is read.
type message struct {
	op    byte
	body  []byte
	whole bool // if not, it has more than maxEntry bytes, and body only the first
}

// receive reads the next answer to the last request.
func (s *session) receive() (message, error) {
	frame, whole, err := s.frame()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errLost
		}
		return message{}, err
	}
	id, rest, ok := cutTag(frame, tagInteger)
	n, okID := parseInteger(id)
	op, head, size, okOp := header(rest)
	if !ok || !okID || !okOp || whole && size > len(rest)-head {
		return message{}, errProtocol
	}
	body := rest[head:]
	if whole {
		body = body[:size]
	}
	switch {
	case n == int(s.id):
		return message{op, body, whole}, nil
	case n == 0 && op == opExtendedResponse:
		// RFC 4511 section 4.4.1: the server says why it hangs up.
		if r := parseResult(body); r != nil {
			return message{}, r
		}
		return message{}, errLost
	}
	return message{}, errProtocol
}

// frame reads what is inside the next LDAPMessage. Of one that is too large it
// is only the beginning, and whole is false.
func (s *session) frame() (content []byte, whole bool, err error) {
	if _, err := s.in.Discard(s.used); err != nil {
		return nil, false, err
	}
	s.used = 0
	b, err := s.in.Peek(2)
	if err != nil {
		return nil, false, err
	}
	if extra := int(b[1]) - 0x80; extra > 0 && extra <= 4 {
		if b, err = s.in.Peek(2 + extra); err != nil {
			return nil, false, err
		}
	}
	tag, head, n, ok := header(b)
	if !ok || tag != tagSequence {
		return nil, false, errProtocol
	}
	switch {
	case head+n <= window:
		s.used = head + n
		b, err = s.in.Peek(s.used)
		return b[min(head, len(b)):], true, err
	case n <= maxEntry:
		_, _ = s.in.Discard(head)
		if cap(s.big) < n {
			s.big = make([]byte, n)
		}
		_, err = io.ReadFull(s.in, s.big[:n])
		return s.big[:n], true, err
	}
	s.used = head + n
	b, err = s.in.Peek(window)
	return b[min(head, len(b)):], false, err
}

// startTLS asks the server to (RFC 4511 section 4.14); encrypt must follow.
func (s *session) startTLS() error {
	if err := s.send(element(opExtended, element(tagExtendedName, "1.3.6.1.4.1.1466.20037"))); err != nil {
		return err
	}
	if err := s.result(opExtendedResponse); err != nil {
		return err
	}
	// What came in the clear behind the answer could be anybody's.
	if s.in.Buffered() > s.used {
		return errProtocol
	}
	return nil
}

// encrypt goes over to TLS.
func (s *session) encrypt(ctx context.Context, config *tls.Config) error {
	secure := tls.Client(s.conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	s.conn, s.used = secure, 0
	s.in.Reset(secure)
	return nil
}

// bind logs in; auth is an AuthenticationChoice (RFC 4511 section 4.2).
func (s *session) bind(dn string, auth []byte) error {
	if err := s.send(element(opBind, number(tagInteger, 3), element(tagString, dn), auth)); err != nil {
		return err
	}
	return s.result(opBindResponse)
}

// result reads the one answer of a request that has no other.
func (s *session) result(op byte) error {
	m, err := s.receive()
	if err != nil {
		return err
	}
	r := parseResult(m.body)
	if m.op != op || r == nil {
		return errProtocol
	}
	return r.orNil()
}
