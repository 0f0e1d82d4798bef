package source

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"
)

// filter is a search filter (RFC 4515) that can be applied to an entry of an
// LDIF file. It knows no schema: case is ignored, an attribute's subtypes and
// an object class's superclasses are not looked up, and an attribute that is
// absent makes a comparison false, as in slapd.
type filter struct {
	op        int // of ldap.FilterMap
	sub       []filter
	attribute int
	value     []byte
	parts     []part
}

// part is one piece of a substring filter, in lower case.
type part struct {
	where byte // ldap.FilterSubstringsInitial, Any or Final
	text  []byte
}

// compileFilter is the filter as a search request has it.
func compileFilter(text string) ([]byte, error) {
	packet, err := ldap.CompileFilter(text)
	if err != nil {
		return nil, err
	}
	return packet.Bytes(), nil
}

// maxDepth bounds how deep filters are nested.
const maxDepth = 100

var errFilter = errors.New("the filter is broken, or nested too deep")

// parseFilter reads the first filter of b, as compileFilter makes it. number
// gives an attribute the number by which entries have its values.
func parseFilter(b []byte, number func(attribute []byte) int, depth int) (f filter, rest []byte, err error) {
	tag, content, rest, ok := cut(b)
	if !ok || depth > maxDepth {
		return f, nil, errFilter
	}
	f.op = int(tag & 0x1f)
	switch f.op {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for len(content) > 0 {
			var sub filter
			if sub, content, err = parseFilter(content, number, depth+1); err != nil {
				return f, nil, err
			}
			f.sub = append(f.sub, sub)
		}
		ok = f.op != ldap.FilterNot || len(f.sub) == 1
	case ldap.FilterPresent:
		f.attribute = number(content)
	case ldap.FilterEqualityMatch:
		var name []byte
		name, content, ok = cutTag(content, tagString)
		f.attribute = number(name)
		if ok {
			f.value, _, ok = cutTag(content, tagString)
		}
	case ldap.FilterSubstrings:
		var name []byte
		name, content, ok = cutTag(content, tagString)
		f.attribute = number(name)
		if ok {
			ok = f.parseParts(content)
		}
	default:
		return f, nil, fmt.Errorf("an LDIF file cannot be searched with %q", ldap.FilterMap[uint64(f.op)])
	}
	if !ok {
		return f, nil, errFilter
	}
	return f, rest, nil
}

func (f *filter) parseParts(b []byte) bool {
	list, _, ok := cutTag(b, tagSequence)
	for ok && len(list) > 0 {
		var tag byte
		var text []byte
		if tag, text, list, ok = cut(list); ok {
			f.parts = append(f.parts, part{tag & 0x1f, bytes.ToLower(text)})
		}
	}
	return ok
}

// match says whether an entry with these values, by number of attribute, passes.
func (f *filter) match(values [][][]byte) bool {
	switch f.op {
	case ldap.FilterAnd:
		for i := range f.sub {
			if !f.sub[i].match(values) {
				return false
			}
		}
		return true
	case ldap.FilterOr:
		for i := range f.sub {
			if f.sub[i].match(values) {
				return true
			}
		}
		return false
	case ldap.FilterNot:
		return !f.sub[0].match(values)
	}
	for _, v := range values[f.attribute] {
		if f.op == ldap.FilterPresent || f.op == ldap.FilterEqualityMatch && bytes.EqualFold(v, f.value) ||
			f.op == ldap.FilterSubstrings && f.matchParts(bytes.ToLower(v)) {
			return true
		}
	}
	return false
}

func (f *filter) matchParts(v []byte) bool {
	for _, p := range f.parts {
		var ok bool
		switch p.where {
		case ldap.FilterSubstringsInitial:
			v, ok = bytes.CutPrefix(v, p.text)
		case ldap.FilterSubstringsFinal:
			v, ok = bytes.CutSuffix(v, p.text)
		default:
			_, v, ok = bytes.Cut(v, p.text)
		}
		if !ok {
			return false
		}
	}
	return true
}
