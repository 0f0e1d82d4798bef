package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
)

// Reply is what an SMTP server says to a command (RFC 5321 section 4.2).
type Reply struct {
	Code int
	Text string // lines joined by \n
}

// Accepted says whether the reply is positive.
func (r Reply) Accepted() bool { return r.Code/100 == 2 }

func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Code, r.Text) }

// ErrUnanswered is the cause of an error when the message was sent whole and
// the answer did not come: the server may have taken it or not.
var ErrUnanswered = errors.New("no answer to the message")

// SendMail hands a message to a node from the visitor. Its replies are one
// for each recipient and, if one was accepted, one for the message, whose
// lines end with \n. An error
// means that there was no regular conversation.
func (l *Lab) SendMail(ctx context.Context, to *Node, from string, rcpts []string, message string) (replies []Reply, err error) {
	conn, err := l.Visitor.Dial(ctx, "tcp", net.JoinHostPort(to.Public[0].String(), "25"))
	if err != nil {
		return nil, err
	}
	c := textproto.NewConn(conn)
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	for _, step := range []struct {
		send string
		want int
	}{{"", 220}, {"EHLO visitor.example", 250}, {"MAIL FROM:<" + from + ">", 250}} {
		if err := expect(c, step.send, step.want); err != nil {
			return nil, fmt.Errorf("smtp to %s: %q: %w", to.Name, step.send, err)
		}
	}
	accepted := false
	for _, rcpt := range rcpts {
		reply, err := say(c, "RCPT TO:<"+rcpt+">")
		if err != nil {
			return replies, err
		}
		accepted = accepted || reply.Accepted()
		replies = append(replies, reply)
	}
	if accepted {
		if err := expect(c, "DATA", 354); err != nil {
			return replies, err
		}
		w := c.DotWriter()
		_, failed := w.Write([]byte(message))
		if err := errors.Join(failed, w.Close()); err != nil {
			return replies, errors.Join(ErrUnanswered, err) // what the kernel took may arrive
		}
		reply, err := read(c)
		if err != nil {
			return replies, errors.Join(ErrUnanswered, err)
		}
		replies = append(replies, reply)
	}
	_, err = say(c, "QUIT")
	return replies, err
}

func expect(c *textproto.Conn, line string, code int) error {
	if line != "" {
		if err := c.PrintfLine("%s", line); err != nil {
			return err
		}
	}
	_, _, err := c.ReadResponse(code)
	return err
}

func say(c *textproto.Conn, line string) (Reply, error) {
	if err := c.PrintfLine("%s", line); err != nil {
		return Reply{}, err
	}
	return read(c)
}

func read(c *textproto.Conn) (Reply, error) {
	code, text, err := c.ReadResponse(0)
	return Reply{code, text}, err
}
