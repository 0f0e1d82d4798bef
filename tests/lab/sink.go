package lab

import (
	"errors"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// Envelope is a message as a Sink got it.
type Envelope struct {
	From string
	To   []string
	Text string
}

// Sink is a mail server that takes everything, by SMTP or LMTP, and keeps it.
type Sink struct {
	listener net.Listener
	mu       sync.Mutex
	got      []Envelope
}

// NewSink starts a sink on a machine, at an IP address and port. The caller closes it.
func NewSink(m *Machine, address string) (*Sink, error) {
	l, err := m.Listen(address)
	if err != nil {
		return nil, err
	}
	s := &Sink{listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go s.serve(conn)
			}
		}
	}()
	return s, nil
}

// Close ends the sink.
func (s *Sink) Close() error { return s.listener.Close() }

// Got are the messages so far for an address.
func (s *Sink) Got(address string) []Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []Envelope
	for _, e := range s.got {
		if slices.Contains(e.To, address) {
			got = append(got, e)
		}
	}
	return got
}

// serve answers one client (RFC 5321; RFC 2033 for LHLO).
func (s *Sink) serve(conn net.Conn) {
	c := textproto.NewConn(conn)
	defer c.Close()
	var e Envelope
	lmtp := false
	err := c.PrintfLine("220 sink")
	for err == nil {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "LHLO":
			lmtp = true
		case "MAIL":
			e = Envelope{From: address(line)}
		case "RCPT":
			e.To = append(e.To, address(line))
		case "DATA":
			err = s.data(c, &e, lmtp)
			continue
		case "QUIT":
			_ = c.PrintfLine("221 bye")
			return
		}
		err = c.PrintfLine("250 ok")
	}
}

// data takes a message; LMTP wants a reply for each recipient.
func (s *Sink) data(c *textproto.Conn, e *Envelope, lmtp bool) error {
	if err := c.PrintfLine("354 go on"); err != nil {
		return err
	}
	text, err := io.ReadAll(c.DotReader())
	if err != nil {
		return err
	}
	e.Text = string(text)
	s.mu.Lock()
	s.got = append(s.got, *e)
	s.mu.Unlock()
	replies := 1
	if lmtp {
		replies = len(e.To)
	}
	for range replies {
		if err := c.PrintfLine("250 kept"); err != nil {
			return err
		}
	}
	return nil
}

func address(line string) string {
	_, rest, _ := strings.Cut(line, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}
