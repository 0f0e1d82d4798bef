package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// IMAP is a session with a server (RFC 3501), as small as the scenarios need.
type IMAP struct {
	// Status is what the server said to the last command: OK and what follows.
	Status string

	conn io.ReadWriteCloser
	r    *bufio.Reader
	tag  int
}

// ErrRefused is the cause of an error when the server answered NO or BAD.
var ErrRefused = errors.New("refused")

// Login opens a session over TLS with a node for a user, from the visitor.
func (l *Lab) Login(ctx context.Context, at *Node, user, password string) (*IMAP, error) {
	conn, err := l.Visitor.Dial(ctx, "tcp", net.JoinHostPort(at.Public[0].String(), "993"))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	s, err := newIMAP(tls.Client(conn, &tls.Config{InsecureSkipVerify: true})) // a certificate of the lab's own
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
func (n *Node) IMAP(ctx context.Context, user string) (*IMAP, error) {
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
	s, err := newIMAP(&process{out, in, func() error {
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

// newIMAP reads the greeting.
func newIMAP(conn io.ReadWriteCloser) (*IMAP, error) {
	s := &IMAP{conn: conn, r: bufio.NewReader(conn)}
	if _, err := s.r.ReadString('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the session.
func (s *IMAP) Close() { s.conn.Close() }

var literal = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// Command sends a command and returns the untagged answers, each with its literals in place.
func (s *IMAP) Command(format string, args ...any) ([]string, error) {
	s.tag++
	tag := fmt.Sprintf("a%d ", s.tag)
	if _, err := fmt.Fprintf(s.conn, tag+format+"\r\n", args...); err != nil {
		return nil, err
	}
	var answers []string
	for {
		answer, err := s.answer()
		if err != nil {
			return answers, err
		}
		status, tagged := strings.CutPrefix(answer, tag)
		if !tagged {
			answers = append(answers, answer)
			continue
		}
		s.Status = strings.TrimSpace(status)
		if !strings.HasPrefix(s.Status, "OK") {
			return answers, fmt.Errorf("%w: %s", ErrRefused, s.Status)
		}
		return answers, nil
	}
}

func (s *IMAP) answer() (string, error) {
	var b strings.Builder
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		size := literal.FindStringSubmatch(line)
		if size == nil {
			return b.String(), nil
		}
		n, err := strconv.ParseInt(size[1], 10, 64)
		if err != nil {
			return "", err
		}
		if _, err := io.CopyN(&b, s.r, n); err != nil {
			return "", err
		}
	}
}

// Messages are the texts of all messages in a mailbox, with the FETCH answers around them.
func (s *IMAP) Messages(mailbox string) ([]string, error) {
	if _, err := s.Command("EXAMINE %q", mailbox); err != nil {
		return nil, err
	}
	answers, err := s.Command("UID FETCH 1:* (BODY.PEEK[])")
	var messages []string
	for _, answer := range answers {
		if strings.Contains(answer, " FETCH (") {
			messages = append(messages, answer)
		}
	}
	return messages, err
}

// Append stores a message in a mailbox.
func (s *IMAP) Append(mailbox, message string) error {
	_, err := s.Command("APPEND %q {%d+}\r\n%s", mailbox, len(message), message) // RFC 7888
	return err
}
