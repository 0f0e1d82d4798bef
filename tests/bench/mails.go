package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// mails writes an mbox of about size bytes, as a mailing list of many years has it: short texts, texts with HTML
// beside them, attachments; 14 KB a mail. It is the same each time.
func mails(path string, size int64) (messages int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	m := mailer{rand.New(rand.NewPCG(1, 2))}
	for at := time.Date(2004, 1, 1, 8, 0, 0, 0, time.UTC); size > 0; messages++ {
		text := m.mail(at, messages)
		size -= int64(len(text))
		if _, err := w.WriteString(text); err != nil {
			return 0, err
		}
		at = at.Add(time.Duration(m.IntN(2*3600)) * time.Second)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	return messages, f.Close()
}

type mailer struct{ *rand.Rand }

func (m mailer) mail(at time.Time, n int) string {
	var b strings.Builder
	sender := fmt.Sprintf("member%d@example%d.org", m.IntN(400), m.IntN(30))
	fmt.Fprintf(&b, "From %s %s\n", sender, at.Format(time.ANSIC))
	for hop := range 2 + m.IntN(5) {
		fmt.Fprintf(&b, "Received: from mx%d.example.net (mx%[1]d.example.net [192.0.2.%d])\n\tby lists.example.org (Postfix) with ESMTPS id %s\n\tfor <dev@lists.example.org>; %s\n",
			hop, m.IntN(255), m.code(11), at.Format(time.RFC1123Z))
	}
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2020;\n\th=from:to:subject:date; bh=%s;\n", m.code(44))
	for range 5 {
		fmt.Fprintf(&b, "\t %s\n", m.code(66))
	}
	fmt.Fprintf(&b, "From: %s <%s>\nTo: dev@lists.example.org\nSubject: %s\nDate: %s\nMessage-ID: <%s.%d@example.org>\nIn-Reply-To: <%s@example.org>\n",
		m.words(2), sender, m.words(6), at.In(time.FixedZone("", 3600*(m.IntN(14)-7))).Format(time.RFC1123Z), m.code(20), n, m.code(20))
	b.WriteString("MIME-Version: 1.0\nX-BeenThere: dev@lists.example.org\nX-Mailman-Version: 2.1.29\nPrecedence: list\nList-Id: Development <dev.lists.example.org>\n")
	for _, field := range []string{"Unsubscribe", "Archive", "Post", "Help", "Subscribe"} {
		fmt.Fprintf(&b, "List-%s: <https://lists.example.org/mailman/listinfo/dev>,\n\t<mailto:dev-request@lists.example.org?subject=%[1]s>\n", field)
	}
	switch kind := m.IntN(20); {
	case kind < 14:
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\n\n%s", m.text(500+m.IntN(6000)))
	case kind < 18:
		size := 800 + m.IntN(8000)
		fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n%s\n--b\nContent-Type: text/html\n\n<html><body>\n<p>%s</p>\n</body></html>\n--b--\n",
			m.text(size), strings.ReplaceAll(m.text(size*2), "\n\n", "</p>\n<p>"))
	default:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n%s\n--b\nContent-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n", m.text(1000))
		data := make([]byte, 8000+m.IntN(80_000))
		for i := 0; i+8 <= len(data); i += 8 {
			binary.LittleEndian.PutUint64(data[i:], m.Uint64())
		}
		for code := base64.StdEncoding.EncodeToString(data); len(code) > 0; {
			line := code[:min(76, len(code))]
			code = code[len(line):]
			b.WriteString(line + "\n")
		}
		b.WriteString("--b--\n")
	}
	b.WriteString("\n")
	return b.String()
}

// text has lines of some 70 characters, some of them quoted, now and then with "From " in it.
func (m mailer) text(size int) string {
	var b strings.Builder
	for b.Len() < size {
		quote := []string{"", "", "> ", "> > "}[m.IntN(4)]
		for range 1 + m.IntN(8) {
			b.WriteString(quote + m.words(11) + "\n")
		}
		if m.IntN(10) == 0 {
			b.WriteString(quote + m.words(4) + ". From " + m.words(6) + "\n>From " + m.words(8) + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

var vocabulary = strings.Fields("the of and to in a is that for it as was with be by on not he his but at are this have which or her had they you " +
	"server mailing list node domain archive message Friday please directory release version patch Linux disk meeting collective tomorrow")

func (m mailer) words(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(vocabulary[m.IntN(len(vocabulary))])
	}
	return b.String()
}

func (m mailer) code(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	code := make([]byte, n)
	for i := range code {
		code[i] = alphabet[m.IntN(64)]
	}
	return string(code)
}
