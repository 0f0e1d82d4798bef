package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"rplan/tests/imap"
)

// Login opens a session over TLS with a node for a user, from the visitor.
func (l *Lab) Login(ctx context.Context, at *Node, user, password string) (*imap.Session, error) {
	conn, err := l.Visitor.Dial(ctx, "tcp", net.JoinHostPort(at.Public[0].String(), "993"))
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	s, err := imap.New(tls.Client(conn, &tls.Config{InsecureSkipVerify: true})) // a certificate of the lab's own
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("imap at %s: %w", at.Name, err)
	}
	if _, err := s.Command("LOGIN %q %q", user, password); err != nil {
		conn.Close()
		return nil, fmt.Errorf("imap at %s: login of %q: %w", at.Name, user, err)
	}
	return s, nil
}

// IMAP opens a session with what the node itself keeps for a user, whichever node serves them.
func (n *Node) IMAP(ctx context.Context, user string) (*imap.Session, error) {
	ctx, end := context.WithCancel(ctx)
	cmd := n.Command(ctx, "doveadm", "exec", "imap", "-u", user)
	in, err := cmd.StdinPipe()
	if err != nil {
		end()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		end()
		return nil, err
	}
	s, err := imap.New(&process{out, in, func() error {
		end()
		_ = cmd.Wait() // it was killed
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("imap of %q on %s: %w", user, n.Name, err)
	}
	return s, nil
}

// process is a program that is talked to by its standard input and output.
type process struct {
	io.Reader
	io.Writer
	end func() error
}

func (p *process) Close() error { return p.end() }
