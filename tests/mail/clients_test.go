package mail

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// dial connects from one of the test's addresses.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// anyCertificate is what the snakeoil certificate needs.
var anyCertificate = &tls.Config{InsecureSkipVerify: true}

func smtpTo(t *testing.T, from, to string) *smtp.Client {
	t.Helper()
	c, err := smtp.NewClient(dial(t, from, to), "mx")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	return c
}

// reply is the code and text of an SMTP error, or 250.
func reply(err error) string {
	if err == nil {
		return "250"
	}
	var e *textproto.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %s", e.Code, e.Msg)
	}
	return err.Error()
}

// failures counts the logins that are to fail: Dovecot makes each further one from an address wait longer.
var failures int

// elsewhere is an address from which nobody failed yet.
func elsewhere() string {
	failures++
	return fmt.Sprintf("127.9.8.%d", failures)
}

const outsider = "stranger@elsewhere.example"

// send hands a message to the node's MX from outside.
func send(t *testing.T, message string, recipients ...string) {
	t.Helper()
	deliver(t, smtpTo(t, client, public+":25"), outsider, message, recipients...)
}

func deliver(t *testing.T, c *smtp.Client, from, message string, recipients ...string) {
	t.Helper()
	err := c.Mail(from)
	for _, r := range recipients {
		err = errors.Join(err, c.Rcpt(r))
	}
	w, dataErr := c.Data()
	if err = errors.Join(err, dataErr); err != nil {
		t.Fatalf("%v: %v", recipients, err)
	}
	_, err = io.WriteString(w, message)
	if err = errors.Join(err, w.Close(), c.Quit()); err != nil {
		t.Fatalf("%v: %v", recipients, err)
	}
}

// letter is a message whose subject no other has.
func letter(subject string) string {
	return "From: Stranger <" + outsider + ">\r\nTo: Someone <someone@elsewhere.example>\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@elsewhere.example>\r\nX-Odd:  kept   as it is \r\n\r\nHello,\r\n.dot\r\nFrom here.\r\n"
}

// inbox are the messages of a user in the mail directory of a node, as they are stored, with this subject.
func inbox(vmail, address, subject string) []string { return stored(vmail, address, "mail", subject) }

// stored are the messages in the inbox of one of the user's stores.
func stored(vmail, address, store, subject string) []string {
	local, domain, _ := strings.Cut(address, "@")
	files, _ := filepath.Glob(filepath.Join(vmail, domain, local, store, "mailboxes/INBOX/dbox-Mails/u.*"))
	var found []string
	for _, name := range files {
		text, _ := os.ReadFile(name)
		if bytes.Contains(text, []byte("Subject: "+subject)) {
			found = append(found, strings.ReplaceAll(string(text), "\r\n", "\n"))
		}
	}
	return found
}

// arrives waits for one message with this subject, and returns it.
func arrives(t *testing.T, vmail, address, subject string) string {
	t.Helper()
	var found []string
	eventually(t, subject+" for "+address, func() bool { found = inbox(vmail, address, subject); return len(found) > 0 })
	if len(found) > 1 {
		t.Fatalf("%q came %d times for %s", subject, len(found), address)
	}
	return found[0]
}

// sink is an LMTP or SMTP server that keeps what it gets, and refuses recipients when refusal is set.
type sink struct {
	mu       sync.Mutex
	smtp     bool
	refusal  string
	messages []string // "RCPT TO" lines and the message
}

func listen(t *testing.T, address string) *sink {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &sink{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	in, say := bufio.NewReader(conn), func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 sink")
	var recipients []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "RCPT":
			s.mu.Lock()
			refusal := s.refusal
			s.mu.Unlock()
			if refusal != "" {
				say(refusal)
				continue
			}
			recipients = append(recipients, line)
			say("250 ok")
		case "DATA":
			if len(recipients) == 0 {
				say("503 no recipient")
				continue
			}
			say("354 go")
			text, _ := io.ReadAll(textproto.NewReader(in).DotReader())
			s.mu.Lock()
			s.messages = append(s.messages, strings.Join(recipients, "\n")+"\n"+string(text))
			s.mu.Unlock()
			if s.smtp {
				recipients = recipients[:1]
			}
			for range recipients {
				say("250 kept")
			}
			recipients = nil
		case "QUIT":
			say("221 bye")
			return
		case "RSET":
			recipients = nil
			say("250 ok")
		default:
			say("250 ok")
		}
	}
}

func (s *sink) refuse(with string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = with
}

// got waits for the message with this subject.
func (s *sink) got(t *testing.T, subject string) string {
	t.Helper()
	var message string
	eventually(t, subject+" at the sink", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.messages, func(m string) bool { return strings.Contains(m, "Subject: "+subject+"\n") })
		if i >= 0 {
			message = s.messages[i]
		}
		return i >= 0
	})
	return message
}

// imap is a session by TLS; it has said hello.
type imap struct {
	conn net.Conn
	in   *bufio.Reader
}

func imapTo(t *testing.T, from, to string) *imap {
	t.Helper()
	conn := tls.Client(dial(t, from, to), anyCertificate)
	c := &imap{conn, bufio.NewReader(conn)}
	if line, err := c.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Fatalf("greeting of %s: %q, %v", to, line, err)
	}
	return c
}

// do sends a command and returns the answer, the tagged line last.
func (c *imap) do(t *testing.T, line string) (answer []string) {
	t.Helper()
	if _, err := fmt.Fprintf(c.conn, "a %s\r\n", line); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v after %q", line, err, answer)
		}
		answer = append(answer, strings.TrimSpace(got))
		if strings.HasPrefix(got, "a ") {
			return answer
		}
	}
}

func (c *imap) login(t *testing.T, user, password string) string {
	t.Helper()
	answer := c.do(t, fmt.Sprintf("LOGIN %q %q", user, password))
	return answer[len(answer)-1]
}
