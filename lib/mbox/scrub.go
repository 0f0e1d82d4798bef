package mbox

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// Scrubbed is the word that Scrub leaves where there was an address. It is valid where a
// domain or an address literal is.
const Scrubbed = "scrubbed"

// Scrub takes the IP addresses out of a message's trace fields: Received, what webmail and
// filters say of the client (X-Originating-IP and its kin), the results of SPF and of
// other checks, and ARC's copies of them. Each address gives way to the word Scrubbed, and
// so does a host name beside it that spells it; a field that says nothing else is dropped. All
// other bytes stay, and what is not an address by its place: dates, ids and versions. The
// From_ line stays, and whatever follows the first empty line.
//
// Removed is the number of addresses and names. If it is 0, out is header. Doing it again
// changes nothing. A signature over such a field (DKIM, ARC) does not hold afterwards.
func Scrub(header []byte) (out []byte, removed int) {
	for {
		next, n := scrubOnce(header)
		if n == 0 {
			return header, removed
		}
		// With an address gone, what was beside it may stand by itself.
		header, removed = next, removed+n
	}
}

// longestWord is how far back a word is looked at, and mostAddresses how many different addresses of a
// field are looked for in names: both are more than any program writes.
const longestWord, mostAddresses = 256, 16

func scrubOnce(header []byte) (out []byte, removed int) {
	done := 0 // what is before it is in out
	for at := 0; at < len(header); {
		end := fieldEnd(header, at)
		field := header[at:end]
		if len(bytes.TrimRight(field, "\r\n")) == 0 {
			break // the header's end
		}
		if name, value, ok := splitField(field); ok && (at > 0 || !bytes.HasPrefix(field, []byte("From "))) {
			if spans := found(name, field, value); len(spans) > 0 {
				removed += len(spans)
				out = append(out, header[done:at]...)
				if !isNothingElse(field[value:], spans, value) {
					out = replace(out, field, spans)
				}
				done = end
			}
		}
		at = end
	}
	if removed == 0 {
		return header, 0
	}
	return append(out, header[done:]...), removed
}

// fieldEnd is the end of the field, folded lines included, that begins at an offset.
func fieldEnd(header []byte, at int) int {
	first := at
	for {
		n := bytes.IndexByte(header[at:], '\n')
		if n < 0 {
			return len(header)
		}
		at += n + 1
		if empty := len(bytes.TrimRight(header[first:at], "\r\n")) == 0; empty || at == len(header) || header[at] != ' ' && header[at] != '\t' {
			return at
		}
	}
}

// splitField is a field's name in lower case and the offset of its value.
func splitField(field []byte) (name string, value int, ok bool) {
	colon := bytes.IndexByte(field, ':')
	if colon < 1 || colon > 100 {
		return "", 0, false
	}
	text := strings.TrimRight(string(field[:colon]), " \t") // RFC 5322 section 4.5
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", 0, false
	}
	return strings.ToLower(text), colon + 1, true
}

// isNothingElse tells whether a value is the addresses and punctuation.
func isNothingElse(value []byte, spans []span, offset int) bool {
	at := 0
	for _, s := range append(spans, span{offset + len(value), 0}) {
		if len(bytes.Trim(value[at:s.start-offset], " \t\r\n[](){}<>\"',;")) > 0 {
			return false
		}
		at = s.end - offset
	}
	return true
}

func replace(out, field []byte, spans []span) []byte {
	at := 0
	for _, s := range spans {
		out = append(append(out, field[at:s.start]...), Scrubbed...)
		at = s.end
	}
	return append(out, field[at:]...)
}

// found are the addresses in a field, and the names that spell them, in order.
func found(name string, field []byte, value int) []span {
	kind := kindOf(name)
	if kind == other {
		return nil
	}
	by := byWord(field, value)
	var spans []span
	var addrs []netip.Addr
	for i := value; i < len(field); i++ {
		end := addressAt(field, i)
		if end == 0 || isNumber(field[:i]) || kind == trace && by > 0 && i > by && !isHost(field, i, end, by) {
			continue
		}
		if a, ok := parse(field[i:end]); ok && len(addrs) < mostAddresses && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
		start := i
		if hasSuffixFold(field[:i], "ipv6:") {
			start -= len("ipv6:")
		}
		spans = append(spans, span{start, end})
		i = end - 1
	}
	if len(addrs) == 0 {
		return spans
	}
	client := span{value, len(field)}
	if kind == trace && by > 0 {
		client.end = by
	}
	spans = append(spans, namesOf(field, client, addrs, spans)...)
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	return spans
}

// parse reads an address that was found, without the port that may be a part of it.
func parse(text []byte) (netip.Addr, bool) {
	if end, ok := octets(text, 0); ok {
		text = text[:end]
	}
	a, err := netip.ParseAddr(string(text))
	return a, err == nil
}

// namesOf are the host names in a piece of a field that spell one of the addresses, and are not in spans.
func namesOf(field []byte, piece span, addrs []netip.Addr, spans []span) (names []span) {
	taken := 0
	for i := piece.start; i < piece.end; i++ {
		for taken < len(spans) && spans[taken].end <= i {
			taken++
		}
		if taken < len(spans) && i >= spans[taken].start {
			i = spans[taken].end - 1
			continue
		}
		if !isLetter(field[i]) && !isDigit(field[i]) || inName(field[i-1]) {
			continue
		}
		end := i
		for end < len(field) && inName(field[end]) {
			end++
		}
		for end > i && field[end-1] == '.' {
			end--
		}
		free := taken == len(spans) || end <= spans[taken].start
		if free && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return spells(field[i:end], a) }) {
			names = append(names, span{i, end})
		}
		i = end - 1
	}
	return names
}

// byWord is the offset of the word "by" outside of comments: what is before it is said of
// the client, and what follows of the server and its programs. It is 0 if there is none.
func byWord(field []byte, value int) int {
	depth, inside := 0, 0
	for i := value; i+3 < len(field); i++ {
		switch field[i] {
		case '(':
			depth++
		case ')':
			depth = max(0, depth-1)
		}
		if isSpace(field[i]) && field[i+1]|0x20 == 'b' && field[i+2]|0x20 == 'y' && isSpace(field[i+3]) {
			if depth == 0 {
				return i + 1
			}
			if inside == 0 {
				inside = i + 1
			}
		}
	}
	if depth > 0 {
		return inside // a comment that never ends
	}
	return 0
}

// isNumber tells whether what b ends with says that an id or a version follows.
func isNumber(b []byte) bool {
	word, _ := lastWord(b)
	switch strings.ToLower(word) {
	case "id", "v", "ver", "version", "release", "build":
		return true
	}
	return false
}

// isHost tells whether the address from start to end is one by its place behind "by": there are
// versions too, which look the same ("with Microsoft SMTP Server id 8.1.240.5", "(NAVGW 2.5.2.12)").
func isHost(field []byte, start, end, by int) bool {
	before := field[:start]
	switch last := before[len(before)-1]; {
	case bytes.IndexByte(field[start:end], ':') >= 0:
		return true // versions have no colons
	case last == '[' || last == '@' || last == '=' || last == '?':
		return true
	case last == '(' && end < len(field) && field[end] == ')':
		// The host after "by" has its address so, and qmail-scanner writes RC:0(192.0.2.1).
		outer := before[:len(before)-1]
		host, at := lastWord(outer)
		second, _ := lastWord(outer[:at])
		return strings.Contains(host, "RC:") || strings.EqualFold(second, "by") && at > by
	}
	word, _ := lastWord(before)
	switch strings.ToLower(word) {
	case "by", "from", "via", "for", "on", "at", "to", "is", "ip", "address", "host", "client", "peer", "helo", "ehlo", "lhlo":
		return true
	}
	return false
}

// lastWord is the last word of b, white space and opening marks behind it left out, and its offset.
// No word that matters is longer than longestWord; archives are not to be trusted.
func lastWord(b []byte) (string, int) {
	end := len(b)
	for end > 0 && (isSpace(b[end-1]) || strings.IndexByte("\"'<=(", b[end-1]) >= 0) {
		end--
	}
	start := end
	for start > max(0, end-longestWord) && !isSpace(b[start-1]) && strings.IndexByte("()<>\"',;=", b[start-1]) < 0 {
		start--
	}
	return string(b[start:end]), start
}
