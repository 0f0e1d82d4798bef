// Package imap is a client for IMAP (RFC 3501), as small as tests need, which
// sees all that a server says.
package imap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Session is a session with a server.
type Session struct {
	// Status is what the server said to the last command: OK and what follows.
	Status string

	conn io.ReadWriteCloser
	r    *bufio.Reader
	tag  int
}

// ErrRefused is the cause of an error when the server answered NO or BAD.
var ErrRefused = errors.New("refused")

// New reads the greeting.
func New(conn io.ReadWriteCloser) (*Session, error) {
	s := &Session{conn: conn, r: bufio.NewReader(conn)}
	if _, err := s.r.ReadString('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the session.
func (s *Session) Close() { s.conn.Close() }

var literal = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// Command sends a command and returns the untagged answers, each with its literals in place.
func (s *Session) Command(format string, args ...any) ([]string, error) {
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

func (s *Session) answer() (string, error) {
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
func (s *Session) Messages(mailbox string) ([]string, error) {
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
func (s *Session) Append(mailbox, message string) error {
	_, err := s.Command("APPEND %q {%d+}\r\n%s", mailbox, len(message), message) // RFC 7888
	return err
}
