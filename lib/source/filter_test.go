package source

import (
	"strings"
	"testing"
)

// attributes gives entries with the values of a text such as "cn=a cn=b sn=c".
func attributes(p *plan, text string) [][][]byte {
	for pair := range strings.FieldsSeq(text) {
		name, _, _ := strings.Cut(pair, "=")
		p.number(name)
	}
	e := p.newEntry()
	for pair := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(pair, "=")
		e.values[p.number(name)] = append(e.values[p.number(name)], []byte(value))
	}
	return e.values
}

func compile(t testing.TB, p *plan, text string) filter {
	t.Helper()
	b, err := compileFilter(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	f, rest, err := parseFilter(b, func(a []byte) int { return p.number(string(a)) }, 0)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%s: %v, %q", text, err, rest)
	}
	return f
}

func TestFilter(t *testing.T) {
	const entry = "objectClass=top objectClass=qmailUser mail=alice@example.org deliveryMode=nolocal cn=Alice_Example"
	for text, want := range map[string]bool{
		"(objectClass=qmailuser)":              true,
		"(OBJECTCLASS=QMAILUSER)":              true,
		"(objectClass=*)":                      true,
		"(objectClass=person)":                 false,
		"(sn=*)":                               false,
		"(!(sn=*))":                            true,
		"(!(sn=x))":                            true,
		"(!(mail=*))":                          false,
		"(&(objectClass=qmailUser)(mail=*))":   true,
		"(&(objectClass=qmailUser)(sn=*))":     false,
		"(&)":                                  true,
		"(|)":                                  false,
		"(|(sn=x)(mail=alice@example.org))":    true,
		"(|(sn=x)(sn=y))":                      false,
		"(&(mail=*)(!(deliveryMode=noLocal)))": false,
		"(mail=*@example.org)":                 true,
		"(mail=ALICE@*)":                       true,
		"(mail=*ice*)":                         true,
		"(mail=a*e@*.org)":                     true,
		"(mail=a*z@*.org)":                     false,
		"(mail=*alice@example.org*)":           true,
		"(mail=alice@*alice@example.org)":      false,
		`(mail=alice\40example.org)`:           true,
		`(mail=\2a)`:                           false,
		"(&(|(cn=x)(cn=alice_*))(!(|(sn=*)(mail=bob@*))))":  true,
		"(!(&(objectClass=qmailUser)(mail=*@example.com)))": true,
	} {
		p := &plan{numbers: map[string]int{}}
		f := compile(t, p, text)
		if got := f.match(attributes(p, entry)); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
	for _, text := range []string{"(a>=1)", "(a<=1)", "(a~=x)", "(a:caseExactMatch:=x)", "(&(b=c)(a>=1))"} {
		b, err := compileFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := parseFilter(b, func([]byte) int { return 0 }, 0); err == nil {
			t.Errorf("%s passes", text)
		}
	}
}

// Neither a filter as somebody wrote it nor its bytes make the evaluator fail.
func FuzzFilter(f *testing.F) {
	f.Add("(&(a=b)(!(c=*)))", []byte("\xa3\x06\x04\x01a\x04\x01b"), "a=b")
	f.Add("(a=x*y*z)", []byte("\xa2\x00"), "a=xyz c=d")
	f.Add("(|)", []byte("\xa4\x07\x04\x01a\x30\x02\x80\x00"), "a=")
	f.Fuzz(func(t *testing.T, text string, raw []byte, entry string) {
		b, err := compileFilter(text)
		if err != nil {
			b = nil
		}
		for _, b := range [][]byte{b, raw} {
			p := &plan{numbers: map[string]int{}}
			parsed, _, err := parseFilter(b, func(a []byte) int { return p.number(string(a)) }, 0)
			if err != nil {
				continue
			}
			values := attributes(p, entry)
			not := filter{op: 2, sub: []filter{parsed}}
			if parsed.match(values) == not.match(values) {
				t.Fatalf("%q and its negation are both %v", b, parsed.match(values))
			}
		}
	})
}
