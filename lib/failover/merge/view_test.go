package merge

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// printed is a message as doveadm -f json prints it.
func printed(change ...string) string {
	text := `{"mailbox-guid":"` + inbox + `","uid":"7","guid":"g","flags":"\\Seen \\Recent $Label1 \\Seen","date.saved.unixtime":"1700000000","hdr.x-rplan-id":"4abcXYZ.mx1.example.net"}`
	return strings.NewReplacer(change...).Replace(text)
}

func TestParse(t *testing.T) {
	want := Message{Folder: inbox, UID: 7, GUID: "g", Flags: `$Label1 \Seen`, ID: "4abcXYZ.mx1.example.net", Saved: 1700000000}
	got, err := parse([]byte("[" + printed() + "," + printed(`"7"`, `"8"`) + "]\n"))
	if err != nil || len(got) != 2 || got[0] != want || got[1].UID != 8 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, empty := range []string{"", " \n", "[]", "[ ]\n"} {
		if got, err := parse([]byte(empty)); err != nil || got != nil {
			t.Errorf("%q: %v, %v", empty, got, err)
		}
	}
	for why, text := range map[string]string{
		"no list":             printed(),
		"cut in a message":    "[" + printed()[:60],
		"cut behind one":      "[" + printed(),
		"cut behind comma":    "[" + printed() + ",",
		"two lists":           "[" + printed() + "][" + printed() + "]",
		"a word behind":       "[" + printed() + "] fatal",
		"UID 0":               "[" + printed(`"7"`, `"0"`) + "]",
		"a negative UID":      "[" + printed(`"7"`, `"-7"`) + "]",
		"UID of 33 bits":      "[" + printed(`"7"`, `"4294967296"`) + "]",
		"no GUID":             "[" + printed(`"g"`, `""`) + "]",
		"a long GUID":         "[" + printed(`"g"`, `"`+strings.Repeat("g", maxGUID+1)+`"`) + "]",
		"no folder":           "[" + printed(inbox, "") + "]",
		"a folder's name":     "[" + printed(inbox, "INBOX") + "]",
		"a GUID in capital":   "[" + printed(inbox, strings.ToUpper(inbox)) + "]",
		"an error of Dovecot": "doveadm(user): Error: no such user",
	} {
		if got, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", why, got)
		}
	}
}

func TestDeliveryID(t *testing.T) {
	for header, want := range map[string]string{
		"":                                "",
		"4abcXYZ.mx1.example.net":         "4abcXYZ.mx1.example.net",
		"4abc.mx\n5def.evil":              "4abc.mx", // the sender's lies below
		"4abc.mx\r\n5def.evil":            "4abc.mx",
		"\n4abc.mx":                       "",
		"4abc":                            "",
		".mx":                             "",
		"4abc.":                           "",
		"4abc.mx ":                        "",
		"4abc.mx; rm":                     "",
		"4äbc.mx":                         "",
		"4abc.@mx":                        "",
		"4abc.[mx]":                       "",
		"4abc.mx\x00":                     "",
		"a." + strings.Repeat("b", maxID): "",
	} {
		if got := deliveryID(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestIsAddress(t *testing.T) {
	for address, want := range map[string]bool{
		"a@b": true, "alice.x_y-z=q~&@example.org": true,
		"": false, "@b": false, "a@": false, "a": false, "a@b@c": false, "../x@b": false, "a@..": false, ".a@b": false, "-a@b": false, "a@-b": false,
		"a/b@c": false, "A@b": false, "a@b/c": false, "a b@c": false, "a*@c": false, "a%u@c": false, "ä@c": false, "a\x00@c": false, strings.Repeat("a", 320) + "@b": false,
	} {
		if isAddress(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
}

// FuzzParse: whatever doveadm prints, what is taken for a message is one that another node takes too.
func FuzzParse(f *testing.F) {
	f.Add([]byte("[" + printed() + "]"))
	f.Add([]byte("[" + printed() + "," + printed(`"7"`, `"8"`) + "]\n"))
	f.Add([]byte("[" + printed() + "][]"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		messages, err := parse(text)
		if err != nil {
			return
		}
		v := &View{Real: messages}
		back, err := carried(v)
		if err != nil || len(messages) > 0 && !reflect.DeepEqual(back, v) {
			t.Fatalf("%+v arrives as %+v, %v", v, back, err)
		}
		for _, s := range unite([]Message{real(inbox, 1, "g", "")}, flagsOf(messages)) {
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func flagsOf(messages []Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Flags)
	}
	return strings.Join(all, " ")
}

// carried is a view as it arrives at another node.
func carried(v *View) (*View, error) {
	var wire strings.Builder
	enc := json.NewEncoder(&wire)
	enc.SetEscapeHTML(false)
	if err := v.items(func(a *answer) error { return enc.Encode(a) }); err != nil {
		return nil, err
	}
	back, in := &View{}, newLines(strings.NewReader(wire.String()))
	for {
		var a answer
		if err := in.next(&a); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return back, err
		}
		if err := back.add(&a); err != nil {
			return back, err
		}
	}
}
