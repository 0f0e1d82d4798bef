package source

import (
	"bytes"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// maxEntry is the most that an entry may hold, in bytes. What is larger is
// left out, and if it is a node, nothing is read.
const maxEntry = 16 << 20

// plan is the mapping of all kinds, made ready for use.
type plan struct {
	numbers map[string]int // attribute, as the settings spell it and in lower case -> number
	count   int            // of attributes
	kinds   []kindPlan     // those that have a filter
}

// created is the number of createTimestamp, which every plan has.
const created = 0

// kindPlan is the mapping of one kind.
type kindPlan struct {
	kind       directory.Kind
	base       string
	canonical  []byte // base, by canonicalDN
	scope      byte
	filter     string
	request    []byte   // filter, as a search request has it
	match      filter   // filter, as it is applied to LDIF; only where a URL is ldif:
	attributes []string // to ask for
	fields     []fieldPlan
}

// fieldPlan is the mapping of one field.
type fieldPlan struct {
	attribute int               // its number, or -1
	values    map[string][]byte // in the directory, in lower case -> in the model
	fallback  []byte            // of entries without a value; nil for none
}

// entry is an entry as a server or file has it. It is reused: its bytes are
// valid until the next entry is read.
type entry struct {
	dn       []byte
	tooLarge bool // has more than maxEntry bytes; the values are not there
	values   [][][]byte
}

func (p *plan) newEntry() *entry { return &entry{values: make([][][]byte, p.count)} }

func (e *entry) reset() {
	e.dn, e.tooLarge = nil, false
	for i := range e.values {
		e.values[i] = e.values[i][:0]
	}
}

// newPlan checks the mappings. With ldif, filters must be such that an LDIF
// file can be searched with them.
func newPlan(s *Settings, ldif bool) (*plan, error) {
	p := &plan{numbers: map[string]int{}}
	p.number("createTimestamp")
	for kind := range directory.NumKinds {
		m := s.mapping(kind)
		if m.Filter == "" {
			continue
		}
		k, err := p.newKind(kind, m, s.Base)
		if err != nil {
			return nil, err
		}
		if ldif {
			k.match, _, err = parseFilter(k.request, func(a []byte) int { return p.number(string(a)) }, 0)
			if err != nil {
				return nil, diag.Config.Errorf("directory.%s.filter: %q: %w", kind, m.Filter, err)
			}
		}
		p.kinds = append(p.kinds, k)
	}
	return p, nil
}

// number is the number of an attribute; a new one gets the next.
func (p *plan) number(attribute string) int {
	lower := string(bytes.ToLower([]byte(attribute)))
	i, known := p.numbers[lower]
	if !known {
		i = p.count
		p.count++
	}
	p.numbers[attribute], p.numbers[lower] = i, i
	return i
}

// lookup is the number of an attribute as a server or file names it, or -1 for
// one that nobody asked for. One with options (";lang-de") is another attribute.
func (p *plan) lookup(attribute []byte) int {
	if i, ok := p.numbers[string(attribute)]; ok {
		return i
	}
	var lower [maxAttribute]byte
	if len(attribute) > len(lower) {
		return -1
	}
	for i, c := range attribute {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if i, ok := p.numbers[string(lower[:len(attribute)])]; ok {
		return i
	}
	return -1
}

func (p *plan) newKind(kind directory.Kind, m *Mapping, base string) (kindPlan, error) {
	k := kindPlan{kind: kind, base: below(m.Base, base), filter: m.Filter, attributes: []string{"createTimestamp"}}
	if err := m.check(kind); err != nil {
		return k, err
	}
	k.canonical = canonicalDN(nil, k.base)
	var err error
	if k.scope, err = m.scope(kind); err != nil {
		return k, err
	}
	if k.request, err = compileFilter(m.Filter); err != nil {
		return k, diag.Config.Errorf("directory.%s.filter: %q: %w", kind, m.Filter, err)
	}
	asked := map[int]bool{}
	for _, field := range kind.Fields() {
		f := fieldPlan{attribute: -1, values: map[string][]byte{}}
		if name := m.Attributes[field]; name != "" {
			f.attribute = p.number(name)
			if !asked[f.attribute] {
				k.attributes = append(k.attributes, name)
			}
			asked[f.attribute] = true
		}
		for theirs, ours := range m.Values[field] {
			f.values[string(bytes.ToLower([]byte(theirs)))] = []byte(ours)
		}
		if v, ok := m.Default[field]; ok {
			f.fallback = []byte(v)
		}
		k.fields = append(k.fields, f)
	}
	return k, nil
}

// record makes e into r.
func (k *kindPlan) record(e *entry, r *directory.Record) {
	r.Reset(k.kind)
	r.DN = append(r.DN, e.dn...)
	if v := e.values[created]; len(v) > 0 {
		r.Created = parseTime(v[0])
	}
	for i := range k.fields {
		f := &k.fields[i]
		if f.attribute >= 0 {
			for _, v := range e.values[f.attribute] {
				r.Values[i] = append(r.Values[i], f.translate(v))
			}
		}
		if len(r.Values[i]) == 0 && f.fallback != nil {
			r.Values[i] = append(r.Values[i], f.fallback)
		}
	}
}

func (f *fieldPlan) translate(v []byte) []byte {
	const longest = 256 // of a value worth looking up
	if len(f.values) == 0 || len(v) > longest {
		return v
	}
	if ours, ok := f.values[string(bytes.ToLower(v))]; ok {
		return ours
	}
	return v
}

// parseTime reads a GeneralizedTime in UTC (RFC 4517 section 3.3.13) to the
// second, as slapd writes createTimestamp. It is 0 for anything else.
func parseTime(v []byte) int64 {
	const layout = "20060102150405"
	if len(v) <= len(layout) || v[len(v)-1] != 'Z' {
		return 0
	}
	t, err := time.Parse(layout, string(v[:len(layout)]))
	if err != nil {
		return 0
	}
	return t.Unix()
}
