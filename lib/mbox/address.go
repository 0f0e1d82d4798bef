package mbox

import (
	"bytes"
	"net/netip"
	"strings"
)

// addressAt is where the IP address that begins at b[i] ends, or 0 if none stands there
// by itself: not part of a longer number, name or version.
func addressAt(b []byte, i int) int {
	c := b[i]
	if !isHex(c) && c != ':' {
		return 0
	}
	if end := v6At(b, i); end > 0 {
		return end
	}
	return v4At(b, i)
}

// v4At knows four octets, leading zeros or not, and in brackets a port behind them too.
func v4At(b []byte, i int) int {
	if i > 0 && !strings.ContainsRune(" \t\r\n([<{\"'=@,;:|?!>", rune(b[i-1])) {
		return 0
	}
	end, ok := octets(b, i)
	if !ok || end == len(b) {
		return end
	}
	bracketed := i > 0 && b[i-1] == '['
	switch rest := b[end:]; {
	case strings.ContainsRune(" \t\r\n)]>}\"',;:|?!(", rune(rest[0])):
		return end
	case rest[0] == '/' && (bracketed || digits(rest[1:]) > 0):
		return end
	case rest[0] == '.' && bracketed: // [192.0.2.1.4321]
		if n := digits(rest[1:]); n > 0 && n+1 < len(rest) && rest[n+1] == ']' {
			return end + 1 + n
		}
		return 0
	case rest[0] == '.' && (len(rest) == 1 || !inName(rest[1])): // the end of a sentence
		return end
	}
	return 0
}

// octets is the end of the dotted quad at b[i].
func octets(b []byte, i int) (end int, ok bool) {
	for part := range 4 {
		if part > 0 {
			if i == len(b) || b[i] != '.' {
				return 0, false
			}
			i++
		}
		n, value := digits(b[i:]), 0
		if n < 1 || n > 3 {
			return 0, false
		}
		for _, c := range b[i : i+n] {
			value = value*10 + int(c-'0')
		}
		if value > 255 {
			return 0, false
		}
		i += n
	}
	return i, true
}

// longestV6 is the length of an IPv6 address that ends as an IPv4 one, and more than any other has.
const longestV6 = len("0000:0000:0000:0000:0000:0000:255.255.255.255")

// v6At knows all of RFC 4291 section 2.2, and a zone behind it. Outside of brackets an
// address has a digit, as "dead::beef" may also be a name in a program.
func v6At(b []byte, i int) int {
	if i > 0 && !strings.ContainsRune(" \t\r\n([<{\"'=@,;|?!>", rune(b[i-1])) && !labelled(b[:i]) {
		return 0
	}
	end := i
	for end < len(b) && end-i <= longestV6+1 && (isHex(b[end]) || b[end] == ':' || b[end] == '.') {
		end++
	}
	if end < len(b) && inName(b[end]) || bytes.Count(b[i:end], []byte{':'}) < 2 {
		return 0
	}
	bracketed := i > 0 && b[i-1] == '[' || hasSuffixFold(b[:i], "ipv6:")
	for n := end; n > i && n >= end-1; n-- { // a colon or full stop behind it is not its own
		a, err := netip.ParseAddr(string(b[i:n]))
		if err != nil || !a.Is6() || a.IsUnspecified() || n < end && isHex(b[n]) {
			continue
		}
		if !bracketed && !bytes.ContainsAny(b[i:n], "0123456789") {
			return 0
		}
		if n+1 < len(b) && b[n] == '%' && inName(b[n+1]) {
			for n++; n < len(b) && inName(b[n]); n++ {
			}
		}
		return n
	}
	return 0
}

// labelled tells whether b ends with a word and a colon, such as "IPv6:" or "CIP:", that is
// no part of an IPv6 address.
func labelled(b []byte) bool {
	word, ok := bytes.CutSuffix(b, []byte{':'})
	if !ok {
		return false
	}
	for i := len(word) - 1; i >= max(0, len(word)-longestWord) && (isLetter(word[i]) || isDigit(word[i])); i-- {
		if !isHex(word[i]) {
			return true
		}
	}
	return false
}

// spells tells whether a host name holds the address, as those that providers give to
// their customers do: 4.3.2.1.pool.example, dyn-192-000-002-001.example, pc0000201.example.
func spells(name []byte, a netip.Addr) bool {
	if a = a.Unmap(); !a.Is4() {
		return false
	}
	quad := a.As4()
	var numbers [][]byte
	for at := 0; at < len(name); {
		n := digits(name[at:])
		if n > 0 {
			numbers = append(numbers, name[at:at+n])
		}
		at += n + 1
	}
	for i := 0; i+4 <= len(numbers); i++ {
		forth, back := true, true
		for part, text := range numbers[i : i+4] {
			forth = forth && isOctet(text, quad[part])
			back = back && isOctet(text, quad[3-part])
		}
		if forth || back {
			return true
		}
	}
	const hex = "0123456789abcdef"
	var word []byte
	for _, octet := range quad {
		word = append(word, hex[octet>>4], hex[octet&15])
	}
	for at := 0; at+len(word) <= len(name); at++ {
		end := at + len(word)
		if bytes.EqualFold(name[at:end], word) && (at == 0 || !isHex(name[at-1])) && (end == len(name) || !isHex(name[end])) {
			return true
		}
	}
	return false
}

func isOctet(text []byte, value byte) bool {
	text = bytes.TrimLeft(text, "0")
	n := 0
	for _, c := range text {
		n = n*10 + int(c-'0')
	}
	return len(text) <= 3 && n == int(value)
}

func digits(b []byte) (n int) {
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// inName tells whether c may be part of a host name.
func inName(c byte) bool { return isLetter(c) || isDigit(c) || c == '.' || c == '-' || c == '_' }

func hasSuffixFold(b []byte, suffix string) bool {
	return len(b) >= len(suffix) && strings.EqualFold(string(b[len(b)-len(suffix):]), suffix)
}
