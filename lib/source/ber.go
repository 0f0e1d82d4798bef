package source

// The part of BER (X.690) that LDAP uses (RFC 4511 section 5.1): tags of one
// byte, definite lengths.
const (
	tagBoolean    = 0x01
	tagInteger    = 0x02
	tagString     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31

	opBind              = 0x60
	opBindResponse      = 0x61
	opUnbind            = 0x42
	opSearch            = 0x63
	opSearchEntry       = 0x64
	opSearchDone        = 0x65
	opSearchReference   = 0x73
	opExtended          = 0x77
	opExtendedResponse  = 0x78
	opIntermediate      = 0x79
	tagSimplePassword   = 0x80
	tagSASL             = 0xa3
	tagExtendedName     = 0x80
	tagResponseReferral = 0xa3
)

// header reads an element's tag and length: it is n bytes long behind its
// first head bytes. ok is false where b ends too early or is not BER; whether
// the n bytes are there is for the caller to see.
func header(b []byte) (tag byte, head, n int, ok bool) {
	if len(b) < 2 {
		return 0, 0, 0, false
	}
	tag, head, n = b[0], 2, int(b[1])
	if n < 0x80 {
		return tag, head, n, true
	}
	octets := n - 0x80
	if octets == 0 || octets > 4 || len(b) < 2+octets {
		return 0, 0, 0, false
	}
	n = 0
	for _, c := range b[2 : 2+octets] {
		n = n<<8 | int(c)
	}
	return tag, head + octets, n, 0 <= n && n <= 1<<31-1
}

// cut takes the first element off b; ok is false if it is not there whole.
func cut(b []byte) (tag byte, content, rest []byte, ok bool) {
	tag, head, n, ok := header(b)
	if !ok || n > len(b)-head {
		return 0, nil, nil, false
	}
	return tag, b[head : head+n], b[head+n:], true
}

// cutTag is cut for an element that must have this tag.
func cutTag(b []byte, want byte) (content, rest []byte, ok bool) {
	tag, content, rest, ok := cut(b)
	return content, rest, ok && tag == want
}

// parseInteger reads the content of an integer that is not negative.
func parseInteger(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 4 || b[0] >= 0x80 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n, true
}

// element makes an element of its parts.
func element[T string | []byte](tag byte, parts ...T) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n+6)
	if b = append(b, tag); n < 0x80 {
		b = append(b, byte(n))
	} else {
		b = append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// number makes an integer or enumeration that is not negative, in the fewest bytes.
func number(tag byte, n int32) []byte {
	b := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	for len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		b = b[1:]
	}
	return element(tag, b)
}
