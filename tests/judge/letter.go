package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"
)

// Letter is a message to send: nothing about it is like another but what
// senders repeat on purpose or by mistake.
type Letter struct {
	Token string
	From  string
	Text  string // lines end with \n
}

// token is how a message says which it is, in its Subject and at the end of its body.
var token = regexp.MustCompile(`judge-[0-9a-z]{13}`)

// NewToken makes a token that no other message has.
func NewToken(r *rand.Rand) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	b := []byte("judge-")
	for range 13 {
		b = append(b, letters[r.IntN(len(letters))])
	}
	return string(b)
}

// NewLetter writes a letter to an address.
func NewLetter(r *rand.Rand, from, to string) Letter {
	l := Letter{Token: NewToken(r), From: from}
	head := []string{"From: <" + from + ">", "To: <" + to + ">", "Subject: about " + l.Token,
		"Date: " + time.Now().UTC().Format(time.RFC1123Z)}
	body := "Dear " + to + ",\n" + strings.Repeat("one thing after another\n", 1+r.IntN(40))
	id := fmt.Sprintf("<%s@mail.example>", l.Token)
	switch r.IntN(12) {
	case 0, 1: // many programs give all their mails the same
		id = "<same@mail.example>"
	case 2: // none
		id = ""
	case 3: // that of one of few, at random
		id = fmt.Sprintf("<again-%d@mail.example>", r.IntN(3))
	case 4:
		body += strings.Repeat(strings.Repeat("a long line ", 80)+"\n", 100+r.IntN(300))
	case 5:
		head = append(head, "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
		body += "Grüße aus Łódź, καλημέρα, こんにちは\n"
	case 6: // somebody tries to pass for a mail that is there already
		head = append(head, "X-RPlan-ID: 4forged000.n1.nodes.example.net")
	case 7: // lines that mean something to one of the programs on the way
		body += "From here on\n.\n..\n>From there\n\n"
	case 8: // the same twice in one message
		head = append(head, "Message-ID: <twice@mail.example>")
	}
	if id != "" {
		head = append(head, "Message-ID: "+id)
	}
	l.Text = strings.Join(head, "\n") + "\n\n" + body + "\n" + l.Token + "\n"
	return l
}

// Sum is that of a message's body, however its lines and its end look.
func Sum(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	_, body, _ := strings.Cut(text, "\n\n")
	sum := sha256.Sum256([]byte(strings.TrimRight(body, "\n")))
	return hex.EncodeToString(sum[:8])
}
