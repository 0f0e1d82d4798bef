package links

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// FuzzMemory reads whatever it is given: what it takes is exactly what it would have written.
func FuzzMemory(f *testing.F) {
	for _, seed := range []string{"", columns, columns + "a\tb\tc\td\t0\n", columns + "a\\x09\t\t\t\t-1\nb/\ti\tl\tm\t77\n", columns + "a\tb\tc\td\t0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again := []byte(columns)
		for l, err := range parse(bytes.NewReader(data), "fuzz") {
			if err != nil {
				return
			}
			again = appendLine(again, l)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("%q was read as %q", data, again)
		}
	})
}

// rowIs is all that a line of the map may be.
var rowIs = regexp.MustCompile(`^[A-Za-z0-9%$_.+!*'(),:;@&=/~-]+ (\*|\*expired|[A-Za-z0-9%._~+=@/$!:-]*,(\*,\*|[A-Z2-7]{32},[A-Za-z0-9%._~+=@/$!:-]+))\n$`)

// FuzzLink remembers and publishes links that say anything at all.
func FuzzLink(f *testing.F) {
	f.Add("dev/1.html", "a@x", "dev", "m", int64(0))
	f.Add("dev/ \t\n#\\1.html", "<script>&\"'\x00\n\r%41", "d,ev*", "", int64(-1))
	f.Add("-", "*", ",", "m", int64(9))
	f.Fuzz(func(t *testing.T, page, id, list, mbox string, offset int64) {
		l := Link{page, id, list, mbox, offset}
		if l.tidy() != nil {
			return
		}
		if got, ok := parseLine(string(appendLine(nil, l))); !ok || got != l {
			t.Errorf("%+v became %+v, %v", l, got, ok)
		}
		row := string(appendRow(nil, l.Page, l.value()))
		if !rowIs.MatchString(row) || strings.HasPrefix(row, "#") {
			t.Errorf("%+v is %q in the map", l, row)
		}
	})
}
