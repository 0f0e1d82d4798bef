package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// canned is a connection on which everything was said before.
type canned struct {
	net.Conn
	io.Reader
}

func (c canned) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c canned) Write(b []byte) (int, error) { return len(b), nil }

// answer is one message to the first request.
func answer(op byte, parts ...[]byte) []byte { return answerTo(1, op, parts...) }

func answerTo(id int32, op byte, parts ...[]byte) []byte {
	return element(tagSequence, number(tagInteger, id), element(op, parts...))
}

func result(code int32, text string) []byte {
	return bytes.Join([][]byte{number(tagEnumerated, code), element(tagString, ""), element(tagString, text)}, nil)
}

// answerEntry is an entry with the values of one attribute.
func answerEntry(dn, attribute string, values ...string) []byte {
	var set []byte
	for _, v := range values {
		set = append(set, element(tagString, v)...)
	}
	list := element(tagSequence, element(tagString, attribute), element(tagSet, set))
	return answer(opSearchEntry, element(tagString, dn), element(tagSequence, list))
}

var success = answer(opSearchDone, result(0, ""))

// hear searches a server that says what is in r.
func hear(p *plan, r io.Reader) (records []string, err error) {
	s := newSession(canned{Reader: r})
	e := p.newEntry()
	var record directory.Record
	k := &p.kinds[directory.KindMailbox]
	err = s.search(search{"", scopeSub, k.request, k.attributes}, func(f found) error {
		if !f.whole {
			records = append(records, "too large: "+string(f.dn))
			return nil
		}
		if err := e.fill(f, p); err != nil {
			return err
		}
		k.record(e, &record)
		records = append(records, show(&record))
		return nil
	})
	return records, err
}

func TestAnswers(t *testing.T) {
	p := testPlan(t)
	entry := answerEntry("dc=x", "rplanAlias", "a", "", strings.Repeat("b", 300))
	const seen = `mailbox dc=x 0 alias="a" alias="" alias="`
	long := func(b []byte) []byte { return append([]byte{b[0], 0x84, 0, 0, 0, b[1]}, b[2:]...) }
	join := func(parts ...[]byte) string { return string(bytes.Join(parts, nil)) }
	for name, c := range map[string]struct {
		said string
		n    int
		err  string
	}{
		"nothing found":       {join(success), 0, ""},
		"two":                 {join(entry, entry, success), 2, ""},
		"lengths in long":     {join(entry, long(success)), 1, ""},
		"intermediate":        {join(answer(opIntermediate), entry, success), 1, ""},
		"no attributes":       {join(answer(opSearchEntry, element(tagString, "dc=x"), element(tagSequence, "")), success), 1, ""},
		"size limit":          {join(entry, answer(opSearchDone, result(4, ""))), 1, "size limit exceeded"},
		"with text":           {join(answer(opSearchDone, result(51, "later\n"))), 0, `busy ("later\n")`},
		"unknown result":      {join(answer(opSearchDone, result(4000, ""))), 0, "LDAP result 4000"},
		"reference":           {join(entry, answer(opSearchReference, element(tagString, "ldap://x"))), 1, `referral ("ldap://x")`},
		"referral":            {join(answer(opSearchDone, result(10, ""), element(tagResponseReferral, element(tagString, "ldap://x")))), 0, `referral ("ldap://x")`},
		"notice":              {join(entry, answerTo(0, opExtendedResponse, result(52, "shutting down"))), 1, `unavailable ("shutting down")`},
		"lost at once":        {"", 0, "connection lost"},
		"lost between":        {join(entry), 1, "connection lost"},
		"lost within":         {join(entry, entry[:len(entry)-1]), 1, "connection lost"},
		"lost within head":    {join(entry, entry[:1]), 1, "connection lost"},
		"other id":            {join(answerTo(2, opSearchDone, result(0, ""))), 0, "the answer is not LDAP"},
		"other operation":     {join(answer(opBindResponse, result(0, ""))), 0, "the answer is not LDAP"},
		"HTTP":                {"HTTP/1.1 400 Bad Request\r\n\r\n", 0, "the answer is not LDAP"},
		"indefinite length":   {"\x30\x80\x02\x01\x01\x65\x00\x00\x00", 0, "the answer is not LDAP"},
		"length of 5 bytes":   {"\x30\x85\x00\x00\x00\x00\x0c", 0, "the answer is not LDAP"},
		"empty message":       {"\x30\x00", 0, "the answer is not LDAP"},
		"empty result":        {join(answer(opSearchDone)), 0, "the answer is not LDAP"},
		"negative id":         {"\x30\x05\x02\x01\xff\x65\x00", 0, "the answer is not LDAP"},
		"entry without lists": {join(answer(opSearchEntry, element(tagString, "dc=x")), success), 0, "the answer is not LDAP"},
		"value too long":      {join(answer(opSearchEntry, element(tagString, "dc=x"), []byte("\x30\x06\x30\x04\x04\x7fab")), success), 0, "the answer is not LDAP"},
		"operation too long":  {"\x30\x05\x02\x01\x01\x64\x7f", 0, "the answer is not LDAP"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.said), iotest.OneByteReader(strings.NewReader(c.said))} {
			records, err := hear(p, r)
			if len(records) != c.n || c.n > 0 && name != "no attributes" && !strings.HasPrefix(records[0], seen) {
				t.Errorf("%s: %q", name, records)
			}
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("%s: error is %v, want %q", name, err, c.err)
			}
		}
	}
}

// A value of some MB comes through; an entry beyond maxEntry is told apart by its DN, and the next is whole again.
func TestAnswersLarge(t *testing.T) {
	sizes := []int{1, window - 100, window, window + 1, 1 << 20, maxEntry - 1000, maxEntry + 1, 3 * maxEntry, 5}
	var said []byte
	for i, n := range sizes {
		said = append(said, answerEntry(fmt.Sprintf("n=%d", i), "rplanAlias", strings.Repeat("x", n))...)
	}
	records, err := hear(testPlan(t), bytes.NewReader(append(said, success...)))
	if err != nil || len(records) != len(sizes) {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for i, n := range sizes {
		want := fmt.Sprintf("mailbox n=%d 0 alias=%q", i, strings.Repeat("x", n))
		if n > maxEntry {
			want = fmt.Sprintf("too large: n=%d", i)
		}
		if records[i] != want {
			t.Errorf("entry with %d bytes: %.100s", n, records[i])
		}
	}
	// One that claims gigabytes and has none costs nothing and is lost.
	if _, err := hear(testPlan(t), strings.NewReader("\x30\x84\x7f\xff\xff\xff\x02\x01\x01")); !errors.Is(err, errLost) {
		t.Errorf("error is %v", err)
	}
}

// A server that says all this to whoever comes, one answer a request.
func pretend(t *testing.T, answers ...[]byte) Settings {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			for _, a := range answers {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write(a)
			}
			conn.Close()
		}
	}()
	set := settings("ldap://" + l.Addr().String())
	set.StartTLS = false
	return set
}

// A mailbox that is too large is a problem of its own, a node that is so stops all.
func TestTooLarge(t *testing.T) {
	csn := answerEntry("dc=example,dc=net", "contextCSN", "20260101000000.000000Z#000000#001#000000")
	csn = append(csn, success...)
	large := func(id int32, dn string) []byte {
		set := element(tagSet, element(tagString, strings.Repeat("x", maxEntry)))
		list := element(tagSequence, element(tagSequence, element(tagString, "rplanAlias"), set))
		return append(answerTo(id, opSearchEntry, element(tagString, dn), list), answerTo(id, opSearchDone, result(0, ""))...)
	}
	done := func(id int32) []byte { return answerTo(id, opSearchDone, result(0, "")) }
	r, err := open(t, pretend(t, csn, done(2), done(3), large(4, "m=large"), done(5), done(6), done(7))).Read(context.Background(), directory.Network{})
	if err != nil || len(r.Problems) != 1 || r.Problems[0].String() != `"m=large": the entry has more than 16 MiB; the mailbox is left out` {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = open(t, pretend(t, csn, large(2, "n=large"))).Read(context.Background(), directory.Network{})
	if !errors.Is(err, directory.ErrNode) || diag.KindOf(err) != diag.BadData || !strings.Contains(err.Error(), `"n=large"`) {
		t.Errorf("error is %v", err)
	}
}

// Words in the clear behind the consent to StartTLS are not taken for the server's.
func TestStartTLSInjection(t *testing.T) {
	consent := answer(opExtendedResponse, result(0, ""))
	s := newSession(canned{Reader: bytes.NewReader(append(consent, success...))})
	if err := s.startTLS(); !errors.Is(err, errProtocol) {
		t.Errorf("error is %v", err)
	}
	s = newSession(canned{Reader: bytes.NewReader(consent)})
	if err := s.startTLS(); err != nil {
		t.Error(err)
	}
	set := pretend(t, consent, []byte("no TLS"))
	set.StartTLS = true
	_, err := open(t, set).Version(context.Background())
	if _, ok := errors.AsType[tls.RecordHeaderError](err); !ok || diag.KindOf(err) != diag.TryAgain {
		t.Errorf("error is %v", err)
	}
}

// Requests are what RFC 4511 and slapd expect, byte by byte.
func TestRequest(t *testing.T) {
	filter, err := compileFilter("(a=b)")
	if err != nil {
		t.Fatal(err)
	}
	const want = "\x63\x25\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\xa3\x06\x04\x01a\x04\x01b\x30\x06\x04\x01y\x04\x01z"
	if got := (search{"dc=x", scopeSub, filter, []string{"y", "z"}}).request(); string(got) != want {
		t.Errorf("request is %q", got)
	}
	for n, want := range map[int32]string{0: "\x02\x01\x00", 127: "\x02\x01\x7f", 128: "\x02\x02\x00\x80", 256: "\x02\x02\x01\x00", 1<<31 - 1: "\x02\x04\x7f\xff\xff\xff"} {
		if got := number(tagInteger, n); string(got) != want {
			t.Errorf("%d is %q", n, got)
		}
	}
}

// No answer makes the reader fail in another way than by an error, and none is read differently in pieces.
func FuzzAnswers(f *testing.F) {
	f.Add(append(answerEntry("dc=x", "rplanAlias", "a", "b"), success...))
	f.Add(append(answerEntry("dc=x", "createTimestamp", "20260101000000Z"), answer(opSearchReference, element(tagString, "ldap://x"))...))
	f.Add(answer(opSearchDone, result(10, "x"), element(tagResponseReferral, element(tagString, "ldap://x"))))
	f.Add(answerTo(0, opExtendedResponse, result(52, "bye")))
	f.Add([]byte("\x30\x84\x7f\xff\xff\xff\x02\x01\x01\x64\x84\x7f\xff\xff\x00\x04\x01x"))
	p := testPlan(f)
	f.Fuzz(func(t *testing.T, said []byte) {
		records, err := hear(p, bytes.NewReader(said))
		again, errAgain := hear(p, iotest.OneByteReader(bytes.NewReader(said)))
		if fmt.Sprint(records, err) != fmt.Sprint(again, errAgain) {
			t.Fatalf("read at once: %q, %v; by bytes: %q, %v", records, err, again, errAgain)
		}
		total := 0
		for _, r := range records {
			total += len(r)
		}
		if total > 100*len(said)+1000 {
			t.Fatalf("%d bytes of records from %d bytes", total, len(said))
		}
	})
}

// BenchmarkAnswers is the way of an entry from the wire into a record.
func BenchmarkAnswers(b *testing.B) {
	var said bytes.Buffer
	for i := range 20000 {
		var list []byte
		for _, pair := range [][2]string{{"rplanAddress", "u%d@example.org"}, {"rplanAlias", "alias%d@example.org"}, {"rplanPlacement", "n1_n2"}, {"rplanStatus", "active"}, {"createTimestamp", "20260101000000Z"}} {
			value, _, _ := strings.Cut(fmt.Sprintf(pair[1], i), "%!")
			list = append(list, element(tagSequence, element(tagString, pair[0]), element(tagSet, element(tagString, value)))...)
		}
		said.Write(answer(opSearchEntry, element(tagString, fmt.Sprintf("rplanAddress=u%d@example.org,ou=mailboxes,dc=example,dc=net", i)), element(tagSequence, list)))
	}
	said.Write(success)
	p := testPlan(b)
	k := &p.kinds[directory.KindMailbox]
	var record directory.Record
	b.SetBytes(int64(said.Len()))
	b.ReportAllocs()
	for b.Loop() {
		s, e := newSession(canned{Reader: bytes.NewReader(said.Bytes())}), p.newEntry()
		err := s.search(search{"", scopeSub, k.request, k.attributes}, func(f found) error {
			err := e.fill(f, p)
			k.record(e, &record)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
