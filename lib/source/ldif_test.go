package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/tests/slapd"
)

// settings are the defaults for these URLs and the example tree.
func settings(urls ...string) Settings {
	s := Defaults()
	s.URLs, s.Base = urls, slapd.Suffix
	return s
}

func testPlan(t testing.TB) *plan {
	t.Helper()
	s := settings("ldif:x")
	p, err := newPlan(&s, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// show is all of a record that the model sees, as text.
func show(r *directory.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %d", r.Kind, r.DN, r.Created)
	for i, field := range r.Kind.Fields() {
		for _, v := range r.Values[i] {
			fmt.Fprintf(&b, " %s=%q", field, v)
		}
	}
	return b.String()
}

// parse reads LDIF as a file would be read.
func parse(p *plan, r io.Reader) (records []string, problems []directory.Problem, err error) {
	problems, err = newLDIF("x.ldif", r, p).records(func(r *directory.Record) { records = append(records, show(r)) })
	return records, problems, err
}

const node = "dn: rplanNodeName=n1,ou=nodes,dc=example,dc=net\nobjectClass: rplanNode\nrplanNodeName: n1\n"

// Each text is the same entry, written in another way.
func TestLDIFForms(t *testing.T) {
	want := []string{`node rplanNodeName=n1,ou=nodes,dc=example,dc=net 0 name="n1"`}
	b64 := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"plain":              node,
		"empty line at end":  node + "\n",
		"empty lines before": "\n\n" + node,
		"version":            "version: 1\n" + node,
		"version apart":      "version: 1\n\n" + node,
		"comments":           "# a\n#b\n continues: the comment\n" + strings.ReplaceAll(node, "\nobj", "\n# c\nobj") + "# d\n",
		"CRLF":               strings.ReplaceAll(node, "\n", "\r\n"),
		"no spaces":          strings.ReplaceAll(node, ": ", ":"),
		"more spaces":        strings.ReplaceAll(node, ": ", ":   "),
		"base64": "dn:: " + b64([]byte("rplanNodeName=n1,ou=nodes,dc=example,dc=net")) +
			"\nobjectClass:: " + b64([]byte("rplanNode")) + "\nrplanNodeName::" + b64([]byte("n1")) + "\n",
		"folded":            strings.ReplaceAll(node, "node", "no\n de"),
		"folded everywhere": "d\n n: rplanNodeName=n1,ou=nodes,dc=example,dc=\n net\nobjectClass\n : rplanNode\nrplanNodeName: \n n1\n",
		"folded, CRLF":      strings.ReplaceAll(strings.ReplaceAll(node, "node", "no\n de"), "\n", "\r\n"),
		"folded base64":     strings.ReplaceAll(node, "ame: n1", "ame:: bj\n E=\n "),
		"names in any case": strings.ReplaceAll(strings.ReplaceAll(node, "objectClass", "OBJECTclass"), "rplanNodeName: ", "RPLANNODENAME: "),
		"class in any case": strings.ReplaceAll(node, "rplanNode\n", "RPLANnode\n"),
		"long name":         node + strings.Repeat("x", 100) + ": y\n",
		"others":            node + "userPassword:: e1NTSEF9\nx-other;binary:: AAA=\nrplanNodeName;lang-de: n2\n1.2.3: x\n",
		"other entries":     "dn: dc=example,dc=net\ndc: example\n\n" + node + "\ndn: cn=n1,dc=elsewhere\nobjectClass: rplanNode\nrplanNodeName: n1\n",
	} {
		for reader, r := range map[string]io.Reader{"": strings.NewReader(text), " by bytes": iotest.OneByteReader(strings.NewReader(text))} {
			got, problems, err := parse(testPlan(t), r)
			if err != nil || problems != nil || !slices.Equal(got, want) {
				t.Errorf("%s%s: got %q, %v, %v, want %q", name, reader, got, problems, err, want)
			}
		}
	}
}

// Each text is refused, with the line where it goes wrong.
func TestLDIFRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.TrimSuffix(node, "\n"), "x.ldif:3: the file ends in the middle of a line"},
		{strings.TrimSuffix(node, "e: n1\n"), "x.ldif:3: the file ends in the middle of a line"},
		{node + " ", "x.ldif:4: the file ends in the middle of a line"},
		{node + "rplanClass:: AAA\n", "x.ldif:4: this is not base64: "},
		{node + "userPassword:: AAA\n", "x.ldif:4: this is not base64: "},
		{node + "jpegPhoto:: AA\n AA!\n", "x.ldif:4: this is not base64: "},
		{"dn: a=b\n", "x.ldif:1: entry \"a=b\" has no attributes"},
		{"dn: a=b\n\n" + node, "x.ldif:2: entry \"a=b\" has no attributes"},
		{"objectClass: rplanNode\n", "x.ldif:1: an entry begins with \"dn:\""},
		{node + "\nobjectClass: rplanNode\n", "x.ldif:5: an entry begins with \"dn:\""},
		{node + "\nversion: 1\n", "x.ldif:5: an entry begins with \"dn:\""},
		{node + "dn: a=b\na: b\n", "x.ldif:4: a second \"dn:\" in an entry"},
		{node + "rplanClass small\n", "x.ldif:4: this is no line of LDIF"},
		{node + "-\n", "x.ldif:4: this is no line of LDIF"},
		{node + ": x\n", "x.ldif:4: this is no line of LDIF"},
		{node + "a b: x\n", "x.ldif:4: this is no line of LDIF"},
		{node + "\n continued: nothing\n", "x.ldif:5: this line continues an empty one"},
		{" " + node, "x.ldif:1: an entry begins with \"dn:\""},
		{node + "rplanClass: sm\x00all\n", "x.ldif:4: a NUL or a carriage return inside a line"},
		{node + "rplanClass: sm\rall\n", "x.ldif:4: a NUL or a carriage return inside a line"},
		{node + "rplanClass:< file:///etc/passwd\n", "x.ldif:4: values are not fetched from URLs (\":<\")"},
		{"dn:< file:///etc/passwd\na: b\n", "x.ldif:1: values are not fetched from URLs (\":<\")"},
		{"dn: a=b\nchangetype: delete\n", "x.ldif:2: this is a change; only entries can be read"},
		{"dn: a=b\nChangeType: modify\nadd: x\nx: y\n-\n", "x.ldif:2: this is a change; only entries can be read"},
		{"\x7fELF\x02\x01\x01\n", "x.ldif:1: an entry begins with \"dn:\""},
	} {
		for _, text := range []string{c.text, strings.ReplaceAll(c.text, "\n", "\r\n")} {
			_, _, err := parse(testPlan(t), strings.NewReader(text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || diag.KindOf(err) != diag.BadData {
				t.Errorf("%q: %v, want %s", text, err, c.want)
			}
		}
	}
}

// Wherever a file is cut off, except at the end of a line, that is an error.
func TestLDIFCut(t *testing.T) {
	text, err := os.ReadFile(slapd.Contrib("tree.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(text); i++ {
		if _, _, err := parse(testPlan(t), bytes.NewReader(text[:i])); err == nil && text[i-1] != '\n' {
			t.Fatalf("cut off behind %q is not noticed", text[max(0, i-40):i])
		}
	}
}

// An entry may be as large as maxEntry; a larger one is left out, and alone.
func TestLDIFLarge(t *testing.T) {
	mailbox := func(name, value string) string {
		return "dn: rplanAddress=" + name + ",ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: " + name + "\nrplanAlias: " + value + "\n\n"
	}
	mega := strings.Repeat("x", 1<<20)
	text := mailbox("a@example.org", mega) + mailbox("b@example.org", strings.Repeat(mega, 17)) +
		mailbox("c@example.org", strings.Repeat(mega+"\n ", 17)) + mailbox("d@example.org", strings.Repeat(mega+"\nrplanAlias: ", 17)) + mailbox("e@example.org", "f@example.org")
	records, problems, err := parse(testPlan(t), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 2 || !strings.Contains(records[0], mega) || !strings.Contains(records[1], "f@example.org") {
		t.Errorf("%d records", len(records))
	}
	if len(problems) != 3 || problems[0].String() != `"rplanAddress=b@example.org,ou=mailboxes,dc=example,dc=net": the entry has more than 16 MiB; the mailbox is left out` {
		t.Errorf("problems: %v", problems)
	}
	if _, _, err := parse(testPlan(t), strings.NewReader(node+"rplanClass: "+strings.Repeat(mega, 17)+"\n")); !errors.Is(err, directory.ErrNode) {
		t.Errorf("a node that is too large: %v", err)
	}
}

func TestLDIFReadError(t *testing.T) {
	boom := errors.New("boom")
	_, _, err := parse(testPlan(t), io.MultiReader(strings.NewReader(node), iotest.ErrReader(boom)))
	if !errors.Is(err, boom) || diag.KindOf(err) != diag.TryAgain {
		t.Errorf("error is %v", err)
	}
}

// The shipped tree, by way of a file.
func TestLDIFFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree.ldif")
	text, err := os.ReadFile(slapd.Contrib("tree.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	write := func() {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	src := open(t, settings("ldif:"+path))
	r, err := src.Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r)
	v, err := src.Version(context.Background())
	if err != nil || !v.Same(r.Version) || len(v) != len("sha256:")+64 {
		t.Errorf("version is %q, %v, and was %q", v, err, r.Version)
	}
	text = append(text, '\n')
	write()
	if w, err := src.Version(context.Background()); err != nil || w.Same(v) || w.Older(v) {
		t.Errorf("version of a changed file is %q, %v, and was %q", w, err, v)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := src.Read(ctx, directory.Network{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	src = open(t, settings("ldif:"+path+".not"))
	if _, err := src.Read(context.Background(), directory.Network{}); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), path+".not") {
		t.Errorf("a file that is not there: %v", err)
	}
	readError(t, settings("ldif:"+filepath.Dir(path)), diag.Config, "is not a regular file")
}

func open(t testing.TB, s Settings) *Source {
	t.Helper()
	src, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// checkTree looks at each kind of entry of contrib/ldap/tree.ldif.
func checkTree(t *testing.T, r *Result) {
	t.Helper()
	s := r.Snapshot
	if len(s.Nodes) != 2 || len(s.Domains) != 2 || len(s.Mailboxes) != 1 || len(s.Forwards) != 3 || len(s.Sites) != 1 || len(s.Lists) != 1 {
		t.Fatalf("snapshot is %+v", s)
	}
	if n := s.Node("n1"); n == nil || n.Public[0].String() != "192.0.2.1" || !n.Roles.Has(directory.MX) || n.Class != "large" {
		t.Errorf("node is %+v", n)
	}
	if m := s.Mailboxes[0]; m.Address != "alice@example.org" || m.Placement.Name != "n1_n2" || !slices.Equal(m.Aliases, []string{"al@example.org"}) {
		t.Errorf("mailbox is %+v", m)
	}
	if x := s.Sites[0]; x.Root != "example.org/www" || x.Contact != "alice@example.org" {
		t.Errorf("site is %+v", x)
	}
	if l := s.Lists[0]; l.Node != "n1" || l.Epoch != 1 || l.KeepHTML != "90d" || l.KeepMbox != "5y" {
		t.Errorf("list is %+v", l)
	}
	for _, p := range r.Problems {
		t.Errorf("problem: %s", p)
	}
}

func FuzzLDIF(f *testing.F) {
	f.Add([]byte(node))
	f.Add([]byte("version: 1\r\n\r\ndn:: YT1i\r\nobjectClass: rplanN\r\n ode\r\n"))
	f.Add([]byte("# c\n d\ndn: x=y,ou=mailboxes,dc=example,dc=net\nobjectclass: rplanMailbox\nrplanAlias;x: a\nrplanAlias:: gA==\ncreateTimestamp: 20260101000000Z\n"))
	f.Add([]byte("dn: \n a\nx:< y\n"))
	p := testPlan(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		records, _, err := parse(p, bytes.NewReader(text))
		again, _, errAgain := parse(p, iotest.OneByteReader(bytes.NewReader(text)))
		if !slices.Equal(records, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("read at once: %q, %v; by bytes: %q, %v", records, err, again, errAgain)
		}
		if err != nil && diag.KindOf(err) != diag.BadData {
			t.Fatalf("error is %v", err)
		}
		// Empty lines and comments at the end change nothing.
		if err == nil {
			more := append(slices.Clone(text), "\n\n# end\n"...)
			if again, _, err := parse(p, bytes.NewReader(more)); err != nil || !slices.Equal(records, again) {
				t.Fatalf("with empty lines at the end: %q, %v", again, err)
			}
		}
	})
}

func BenchmarkLDIF(b *testing.B) {
	var text bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&text, "dn: rplanAddress=u%d@example.org,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: u%[1]d@example.org\n"+
			"rplanAlias: alias%[1]d@example.org\nrplanPlacement: n1_n2\nrplanStatus: active\nuserPassword:: e1NTSEF9YWJjZGVmZ2hpamtsbW5vcA==\nstructuralObjectClass: rplanMailbox\n"+
			"entryUUID: 6f8e5a0a-0b6c-1040-8f5f-%012[1]d\ncreatorsName: cn=admin,dc=example,dc=net\ncreateTimestamp: 20260101000000Z\n"+
			"entryCSN: 20260101000000.000000Z#000000#000#000000\nmodifiersName: cn=admin,dc=example,dc=net\nmodifyTimestamp: 20260101000000Z\n\n", i)
	}
	p := testPlan(b)
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newLDIF("x", bytes.NewReader(text.Bytes()), p).records(func(*directory.Record) {}); err != nil {
			b.Fatal(err)
		}
	}
}
