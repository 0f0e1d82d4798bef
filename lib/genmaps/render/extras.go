package render

import "strings"

// addressOwners are the host names for which a zone file (RFC 1035 section 5) has an address or a
// CNAME, in lower case without the final dot. Files that it includes are not looked into.
func addressOwners(text []byte, origin string) map[string]bool {
	owners := map[string]bool{}
	owner, depth := origin, 0
	var record []string // the words of one record, which parentheses spread over lines
	var same bool       // it goes without an owner: it has that of the record before
	for line := range strings.Lines(string(text)) {
		words, opened := zoneWords(line)
		if depth == 0 {
			record, same = nil, strings.IndexAny(line, " \t") == 0
		}
		record = append(record, words...)
		if depth = max(depth+opened, 0); depth > 0 || len(record) == 0 {
			continue
		}
		if strings.EqualFold(record[0], "$ORIGIN") && len(record) > 1 {
			origin = absolute(record[1], origin)
			continue
		}
		if !same {
			owner, record = absolute(record[0], origin), record[1:]
		}
		if givesAddress(record) {
			owners[owner] = true
		}
	}
	return owners
}

// zoneWords splits a line without its comment and counts the parentheses that it leaves open.
// Quoted strings and escapes need no more care than to hide what looks like either.
func zoneWords(line string) (words []string, open int) {
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
		}
		word.Reset()
	}
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			word.WriteByte(c)
			i++ // the byte after it means nothing
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			flush()
			return words, open
		case c == '(':
			flush()
			open++
		case c == ')':
			flush()
			open--
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			flush()
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return words, open
}

// givesAddress looks for the type among the words after an owner: a TTL and a class may stand before it.
func givesAddress(words []string) bool {
	for _, word := range words[:min(len(words), 3)] {
		switch upper := strings.ToUpper(word); {
		case upper == "A" || upper == "AAAA" || upper == "CNAME":
			return true
		case upper != "IN" && (word[0] < '0' || word[0] > '9'):
			return false
		}
	}
	return false
}

func absolute(name, origin string) string {
	name = strings.ToLower(name)
	switch {
	case name == "@":
		return origin
	case strings.HasSuffix(name, "."):
		return strings.TrimSuffix(name, ".")
	default:
		return strings.TrimSuffix(name+"."+origin, ".")
	}
}
