package directory

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The parsers below are the only way by which a directory value enters the
// model. What they let through cannot hold a white space, quote, control byte,
// backslash, "%", "$", "<", ";" or "..": nothing that ends a row, a directive
// or a path in any file that rplan writes. parseWords is the exception: its
// text is for people, and goes into no file of a service.

const (
	maxLocal     = 64  // RFC 5321 section 4.5.3.1.1
	maxHost      = 253 // RFC 1035 section 3.1, in text
	maxLabel     = 63
	maxPlacement = 8   // nodes in a placement
	maxPlaceName = 200 // bytes; LMDB keeps keys up to 511, of which a map needs some for itself
	maxPath      = 200
	maxKey       = 4096
	maxWords     = 500 // bytes
)

func isAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
func isWord(c byte) bool  { return isAlnum(c) || 'A' <= c && c <= 'Z' }

// parseLabel reads one DNS label (RFC 1123 section 2.1), lower-cased.
func parseLabel(v []byte) (string, error) {
	if len(v) == 0 || len(v) > maxLabel {
		return "", fmt.Errorf("a label has 1 to %d characters", maxLabel)
	}
	s := lower(v)
	for i := range len(s) {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0 || i == len(s)-1) {
			return "", errors.New("a label has letters, digits and inner hyphens only")
		}
	}
	return s, nil
}

// parseHost reads a host name of two or more labels, lower-cased, without a final dot.
func parseHost(v []byte) (string, error) {
	if len(v) > maxHost {
		return "", fmt.Errorf("a host name has at most %d characters", maxHost)
	}
	s := lower(v)
	if err := checkHost(s); err != nil {
		return "", err
	}
	return s, nil
}

func checkHost(s string) error {
	start, labels := 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !isAlnum(s[i]) && s[i] != '-' {
				return errors.New("a host name has letters, digits, hyphens and dots only")
			}
			continue
		}
		if n := i - start; n == 0 || n > maxLabel || s[start] == '-' || s[i-1] == '-' {
			return errors.New("a label of a host name is empty, too long, or begins or ends with a hyphen")
		}
		start = i + 1
		labels++
	}
	if labels < 2 {
		return errors.New("a host name has at least two labels")
	}
	return nil
}

// parseAddress reads a mail address, lower-cased. The local part is narrower
// than RFC 5321 allows: letters, digits and . _ + - = ~ & that neither begin
// nor end with a dot or begin with a hyphen, which is what mail programs and
// command lines agree on.
func parseAddress(v []byte) (string, error) {
	if len(v) > maxLocal+1+maxHost {
		return "", errors.New("the address is too long")
	}
	s := lower(v)
	at := strings.IndexByte(s, '@')
	if at <= 0 {
		return "", errors.New("an address is local@domain")
	}
	if at > maxLocal {
		return "", fmt.Errorf("the part before the @ has at most %d characters", maxLocal)
	}
	for i := range at {
		switch c := s[i]; {
		case isAlnum(c), c == '_', c == '+' && i > 0, c == '=' && i > 0, c == '~' && i > 0, c == '&' && i > 0, c == '-' && i > 0:
		case c == '.' && i > 0 && i < at-1 && s[i-1] != '.':
		default:
			return "", errors.New("the part before the @ has a character, or a dot or sign in a place, that rplan does not accept")
		}
	}
	if err := checkHost(s[at+1:]); err != nil {
		return "", err
	}
	if len(s)-at-1 > maxHost {
		return "", fmt.Errorf("a host name has at most %d characters", maxHost)
	}
	return s, nil
}

// parsePlacement reads node names joined with "_", in order of preference.
func parsePlacement(v []byte) (*Placement, error) {
	if len(v) > maxPlaceName {
		return nil, fmt.Errorf("a placement has at most %d characters", maxPlaceName)
	}
	p := &Placement{}
	for name := range strings.SplitSeq(string(v), "_") {
		node, err := parseLabel([]byte(name))
		if err != nil {
			return nil, fmt.Errorf("a placement is node names joined with \"_\": %w", err)
		}
		if slices.Contains(p.Nodes, node) {
			return nil, fmt.Errorf("node %q is there twice", node)
		}
		p.Nodes = append(p.Nodes, node)
	}
	if len(p.Nodes) > maxPlacement {
		return nil, fmt.Errorf("a placement has at most %d nodes", maxPlacement)
	}
	p.Name = strings.Join(p.Nodes, "_")
	return p, nil
}

// parsePath reads a relative path whose parts begin with a letter, digit or "_".
func parsePath(v []byte) (string, error) {
	if len(v) == 0 || len(v) > maxPath {
		return "", fmt.Errorf("a document root has 1 to %d characters", maxPath)
	}
	for part := range strings.SplitSeq(string(v), "/") {
		for i, c := range []byte(part) {
			if !isWord(c) && c != '_' && (i == 0 || c != '.' && c != '-') {
				return "", errors.New("a document root is a relative path; its parts have letters, digits and _ . - and begin with no dot")
			}
		}
		if part == "" || strings.Contains(part, "..") {
			return "", errors.New("a document root is a relative path without empty parts and without \"..\"")
		}
	}
	return string(v), nil
}

func parseAddr(v []byte) (netip.Addr, error) {
	a, err := netip.ParseAddr(string(v[:min(len(v), 64)]))
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, errors.New("not the IP address of one host")
	}
	return a, nil
}

// parseKey reads a public key in one line of printable ASCII without quotes.
func parseKey(v []byte) (string, error) {
	if len(v) == 0 || len(v) > maxKey {
		return "", fmt.Errorf("a key has 1 to %d characters", maxKey)
	}
	for _, c := range v {
		if !isWord(c) && !strings.ContainsRune(" +/=@._-", rune(c)) {
			return "", errors.New("a key is one line of base64, with its type and comment")
		}
	}
	return string(v), nil
}

// sshKeys are the types of public keys that a node may have in SSH (PROTOCOL and PROTOCOL.u2f of OpenSSH).
var sshKeys = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// parseSSHKey reads a public key as in a .pub file, and drops its comment. It
// becomes part of a line that lets somebody in as root, so nothing may stand
// before its type, and it must be a key all through.
func parseSSHKey(v []byte) (string, error) {
	if len(v) == 0 || len(v) > maxKey || slices.ContainsFunc(v, func(c byte) bool { return c < ' ' || c == 0x7f }) {
		return "", fmt.Errorf("an SSH key is one line of 1 to %d characters", maxKey)
	}
	kind, rest, _ := strings.Cut(string(v), " ")
	data, _, _ := strings.Cut(rest, " ")
	if !slices.Contains(sshKeys, kind) {
		return "", fmt.Errorf("an SSH key begins with its type, one of %s", strings.Join(sshKeys, ", "))
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(data)
	if err != nil {
		return "", errors.New("what follows the type of an SSH key is base64")
	}
	if !isSSHKey(blob, kind) {
		return "", fmt.Errorf("that is no whole SSH key of the type %s", kind)
	}
	return kind + " " + data, nil
}

// isSSHKey says whether blob is made of strings (RFC 4251, section 5), the
// first of which is the type and more follow (RFC 4253, section 6.6).
func isSSHKey(blob []byte, kind string) bool {
	for fields := 0; ; fields++ {
		if len(blob) == 0 {
			return fields > 1
		}
		if len(blob) < 4 {
			return false
		}
		size := binary.BigEndian.Uint32(blob)
		blob = blob[4:]
		if uint64(size) > uint64(len(blob)) || fields == 0 && string(blob[:size]) != kind {
			return false
		}
		blob = blob[size:]
	}
}

func parseNumber(v []byte, limit int64) (int64, error) {
	n, err := strconv.ParseUint(string(v[:min(len(v), 24)]), 10, 63)
	if err != nil || int64(n) > limit {
		return 0, fmt.Errorf("not a number from 0 to %d", limit)
	}
	return int64(n), nil
}

// maxKeep is the longest that a time to keep something is, in digits.
const maxKeep = 4

// parseKeep reads how long something is kept, lower-cased: "forever", "0", or a
// number from 1 to 9999 without zeros before it and d, w, m or y behind it, for
// days, weeks, months or years.
func parseKeep(v []byte) (string, error) {
	s := lower(v[:min(len(v), 64)])
	if s == "forever" || s == "0" {
		return s, nil
	}
	last := len(s) - 1
	if last < 1 || last > maxKeep || s[0] == '0' || !strings.ContainsRune("dwmy", rune(s[last])) ||
		strings.ContainsFunc(s[:last], func(r rune) bool { return r < '0' || r > '9' }) {
		return "", errors.New("not a time to keep something such as 90d, 8w, 18m (months), 5y, forever or 0")
	}
	return s, nil
}

// CheckKeep returns a time to keep something, as a list's entry may have it, in
// lower case, or says why it is none.
func CheckKeep(text string) (string, error) { return parseKeep([]byte(text)) }

// parseWords reads a line of text for people, which cannot steer a terminal.
func parseWords(v []byte) (string, error) {
	if len(v) > maxWords {
		return "", fmt.Errorf("more than %d bytes", maxWords)
	}
	if !utf8.Valid(v) || strings.IndexFunc(string(v), func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return "", errors.New("not one line of text")
	}
	return string(v), nil
}

// CheckWords says why a text for people is not shown, if that is so.
func CheckWords(text string) error {
	_, err := parseWords([]byte(text))
	return err
}

// parseMoment reads a time such as 2026-03-01T12:00:00Z (RFC 3339).
func parseMoment(v []byte) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, string(v[:min(len(v), 64)]))
	if err != nil {
		return time.Time{}, errors.New("not a time such as 2026-03-01T12:00:00Z")
	}
	return t.UTC(), nil
}

// parseEnum finds v among names; its index is the constant of that name.
func parseEnum(v []byte, names []string) (uint8, error) {
	for i, name := range names {
		if strings.EqualFold(string(v[:min(len(v), 64)]), name) {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("not one of %s", strings.Join(names, ", "))
}

// lower is v as a string with A-Z folded; other bytes stay for the parser to refuse.
func lower(v []byte) string {
	for _, c := range v {
		if 'A' <= c && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, string(v))
		}
	}
	return string(v)
}

// show is an untrusted value for a message: quoted, cut to a length one can read.
func show[T string | []byte](v T) string {
	const most = 120
	if len(v) > most {
		return strconv.QuoteToASCII(string(v[:most])) + fmt.Sprintf(" (first %d of %d bytes)", most, len(v))
	}
	return strconv.QuoteToASCII(string(v))
}
