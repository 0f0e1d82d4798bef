package merge

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"rplan/lib/diag"
)

func TestRoundTrip(t *testing.T) {
	v := &View{
		Real:    []Message{real(inbox, 1, "g<&>\u2028", "Q1.mx", "$Label1", `\Seen`), real(archive, 4294967295, "1795.M1P2.host,S=1,W=2", "")},
		Copies:  []Message{blind(3, "Q3.mx", grace)},
		Deleted: []Message{blind(4, "", 0)},
		Dropped: []string{archive},
		Left:    map[string][]int64{"1795.M1P2.host,S=1,W=2": {1, 2}, "g": {3}},
	}
	if back, err := carried(v); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%+v arrives as %+v, %v", v, back, err)
	}
}

func TestLines(t *testing.T) {
	long := `{"error":"` + strings.Repeat("x", maxLine) + `"}` + "\n"
	for why, c := range map[string]struct {
		text string
		want error
	}{
		"a line":               {`{"end":true}` + "\n", nil},
		"nothing":              {"", io.EOF},
		"a cut line":           {`{"end":true`, io.ErrUnexpectedEOF},
		"a line without end":   {`{"end":true}`, io.ErrUnexpectedEOF},
		"too long":             {long, errProtocol},
		"no JSON":              {"Welcome to n2!\n", errProtocol},
		"an empty line":        {"\n", errProtocol},
		"a word of the future": {`{"colour":"red"}` + "\n", errProtocol},
		"another type":         {`{"end":"yes"}` + "\n", errProtocol},
	} {
		var a answer
		if err := newLines(strings.NewReader(c.text)).next(&a); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", why, err, c.want)
		}
	}
	in := newLines(strings.NewReader(strings.Repeat(`{"end":true}`+"\n", 10)))
	in.left = 50
	var a answer
	var err error
	for n := 0; err == nil; n++ {
		if err = in.next(&a); n > 4 {
			t.Fatal("an answer without end is read for ever")
		}
	}
	if !errors.Is(err, errProtocol) {
		t.Error(err)
	}
}

// TestTold: what another node says went wrong is of few kinds, and steers no terminal.
func TestTold(t *testing.T) {
	a := &answer{End: true, Error: "no\x1b[31m\u009b\n" + strings.Repeat("é", 3000), Kind: int(diag.TryAgain)}
	err := a.err()
	if diag.KindOf(err) != diag.TryAgain || strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 3000 {
		t.Errorf("%q", err)
	}
	for _, kind := range []diag.Kind{diag.Usage, diag.Config, 0, -1, 9999} {
		if err := (&answer{Error: "x", Kind: int(kind)}).err(); diag.KindOf(err) != diag.Failed {
			t.Errorf("%v: %v", kind, diag.KindOf(err))
		}
	}
	if (&answer{End: true}).err() != nil {
		t.Error("no error is one")
	}
}

// FuzzAnswer: whatever another node sends, what is taken from it can be planned
// with, and no step of that plan is one that this node refuses itself.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"in":"real","m":{"b":"` + inbox + `","u":1,"g":"g","f":"$x \\Seen","i":"Q1.mx"}}` + "\n" + `{"in":"copies","m":{"u":1,"g":"h","i":"Q2.mx","s":5}}` + "\n"))
	f.Add([]byte(`{"in":"dropped","g":"` + inbox + `"}` + "\n" + `{"in":"deleted","m":{"u":1,"g":"h"}}` + "\n"))
	f.Add([]byte(`{"in":"left","g":"g","at":5}` + "\n" + `{"in":"left","g":"","at":5}` + "\n" + `{"in":"left","g":"g","at":-1}` + "\n"))
	f.Add([]byte(`{"end":true,"error":"no","kind":75}` + "\n"))
	f.Add([]byte(`{"in":"real","m":{"b":"INBOX","u":1,"g":"g"}}` + "\n" + `{"n":"x"`))
	active := &View{Real: []Message{real(inbox, 1, "x", "Q1.mx"), real(archive, 1, "g", "Q2.mx")}, Copies: []Message{blind(1, "Q3.mx", 0)}}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, other := newLines(strings.NewReader(string(text))), &View{}
		for {
			var a answer
			if in.next(&a) != nil {
				break
			}
			_ = a.err()
			_ = other.add(&a)
		}
		if back, err := carried(other); err != nil || !reflect.DeepEqual(back, other) {
			t.Fatalf("%+v arrives as %+v, %v", other, back, err)
		}
		p := prepare(active, other, deletions{"Q4.mx": {1, 1}}, circumstances{late: func(Message) bool { return true }, both: true})
		p.deletions(active, other, map[string]adoption{"Q1.mx": {"g", 1}}, map[string]int64{"Q1.mx": 1}, now)
		for _, s := range slices.Concat(p.active.steps, p.other.steps, cleanup(other, nil)) {
			if err := s.check(); err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
		}
		difference(active, other)
		partedNow(active, other)
		_ = words(p.active.steps)
	})
}
