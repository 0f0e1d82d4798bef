package source

import "bytes"

// Scopes of a search (RFC 4511 section 4.5.1.2).
const (
	scopeBase byte = iota
	scopeOne
	scopeSub
)

// canonicalDN appends a form of dn (RFC 4514) in which DNs that differ only in
// case, escapes or spaces around separators are the same bytes, and in which
// every "," separates. It accepts anything: what is no DN gets some form that
// no other DN has.
func canonicalDN[T string | []byte](dst []byte, dn T) []byte {
	for i := 0; i < len(dn); {
		// The type, up to "=", and then the value, up to "," or "+".
		dst, i = canonicalPart(dst, dn, i, '=', '=')
		if i < len(dn) && dn[i] == '=' {
			dst = append(dst, '=')
			dst, i = canonicalPart(dst, dn, i+1, ',', '+')
		}
		if i < len(dn) {
			dst = append(dst, dn[i])
			i++
		}
	}
	return dst
}

// canonicalPart appends dn from i up to one of two separators, and returns where that is.
func canonicalPart[T string | []byte](dst []byte, dn T, i int, sep1, sep2 byte) ([]byte, int) {
	for i < len(dn) && dn[i] == ' ' {
		i++
	}
	end := len(dst) // behind the last byte that is not a space without a backslash
	for i < len(dn) && dn[i] != sep1 && dn[i] != sep2 {
		c, escaped := dn[i], dn[i] == '\\' && i+1 < len(dn)
		i++
		if escaped {
			c = dn[i]
			i++
			if hi, lo := unhex(c), -1; hi >= 0 && i < len(dn) {
				if lo = unhex(dn[i]); lo >= 0 {
					c = byte(hi<<4 | lo)
					i++
				}
			}
		}
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case c <= ' ' || c == ',' || c == '+' || c == '=' || c == '\\':
			dst = append(dst, '\\', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
		if c != ' ' || escaped {
			end = len(dst)
		}
	}
	return dst[:end], i
}

const hexDigits = "0123456789abcdef"

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// inScope says whether a search from base finds dn; both are canonical.
func inScope(dn, base []byte, scope byte) bool {
	rest, ok := bytes.CutSuffix(dn, base)
	if !ok || len(rest) == 0 {
		return ok && scope != scopeOne
	}
	if len(base) > 0 {
		if rest, ok = bytes.CutSuffix(rest, []byte(",")); !ok {
			return false
		}
	}
	return scope == scopeSub || scope == scopeOne && bytes.IndexByte(rest, ',') < 0
}
