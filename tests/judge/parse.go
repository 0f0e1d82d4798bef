package judge

import (
	"fmt"
	"strconv"
	"strings"
)

// parse reads an answer of an IMAP server (RFC 3501 section 9): words, quoted
// strings and literals as strings, lists as slices. A word takes what it has
// in brackets along: BODY[] and BODY[HEADER.FIELDS (X)].
func parse(answer string) ([]any, error) {
	p := parser{strings.TrimSuffix(answer, "\r\n"), 0}
	values, err := p.list(false)
	if err != nil {
		return nil, fmt.Errorf("imap answer %.60q at %d: %w", answer, p.at, err)
	}
	return values, nil
}

type parser struct {
	text string
	at   int
}

func (p *parser) list(inner bool) (values []any, err error) {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ':
			p.at++
		case ')':
			if !inner {
				return nil, fmt.Errorf("unexpected )")
			}
			p.at++
			return values, nil
		case '(':
			p.at++
			sub, err := p.list(true)
			if err != nil {
				return nil, err
			}
			values = append(values, sub)
		default:
			word, err := p.word()
			if err != nil {
				return nil, err
			}
			values = append(values, word)
		}
	}
	if inner {
		return nil, fmt.Errorf("a list does not end")
	}
	return values, nil
}

func (p *parser) word() (string, error) {
	switch p.text[p.at] {
	case '"':
		return p.quoted()
	case '{':
		return p.literal()
	}
	began, depth := p.at, 0
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth <= 0 && strings.IndexByte(` ()`, c) >= 0:
			return p.text[began:p.at], nil
		}
	}
	return p.text[began:], nil
}

func (p *parser) quoted() (string, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; c {
		case '\\':
			if p.at++; p.at < len(p.text) {
				b.WriteByte(p.text[p.at])
			}
		case '"':
			p.at++
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("a quoted string does not end")
}

func (p *parser) literal() (string, error) {
	head, rest, ok := strings.Cut(p.text[p.at+1:], "}\r\n")
	size, err := strconv.Atoi(head)
	if !ok || err != nil || size < 0 || size > len(rest) {
		return "", fmt.Errorf("a literal of %.20q bytes is not whole", head)
	}
	p.at = len(p.text) - len(rest) + size
	return rest[:size], nil
}
