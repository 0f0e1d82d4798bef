package mbox

import "time"

// token is a word in lower case, filled up with zeros. Words that do not fit are none that is known.
type token [12]byte

func lower(word []byte) (t token) {
	if len(word) > len(t) {
		return token{'?'}
	}
	for i, c := range word {
		if c-'A' < 26 {
			c |= 0x20
		}
		t[i] = c
	}
	return t
}

// prefix is the first three letters of a word.
func prefix(word []byte) token { return lower(word[:min(3, len(word))]) }

func tokens[V any](of map[string]V) map[token]V {
	all := make(map[token]V, len(of))
	for name, v := range of {
		all[lower([]byte(name))] = v
	}
	return all
}

var weekdays = tokens(map[string]bool{"mon": true, "tue": true, "wed": true, "thu": true, "fri": true, "sat": true, "sun": true})

// months has the English names, short and in full.
var months = func() map[token]time.Month {
	all := tokens(map[string]time.Month{"sept": time.September})
	for m := time.January; m <= time.December; m++ {
		all[lower([]byte(m.String()))], all[lower([]byte(m.String()[:3]))] = m, m
	}
	return all
}()

// zones are names that mean one thing, in minutes east of UTC: those of RFC 5322 section
// 4.3, then others that mail has. IST, for one, is a zone in India, Ireland and Israel.
var zones = tokens(map[string]int{
	"ut": 0, "gmt": 0, "utc": 0, "z": 0,
	"est": -5 * 60, "edt": -4 * 60, "cst": -6 * 60, "cdt": -5 * 60, "mst": -7 * 60, "mdt": -6 * 60, "pst": -8 * 60, "pdt": -7 * 60,
	"wet": 0, "west": 60, "bst": 60, "cet": 60, "cest": 120, "met": 60, "mest": 120, "mez": 60, "mesz": 120, "eet": 120, "eest": 180,
	"msk": 180, "msd": 240, "sast": 120, "hkt": 8 * 60, "sgt": 8 * 60, "awst": 8 * 60, "jst": 9 * 60, "kst": 9 * 60,
	"aest": 10 * 60, "aedt": 11 * 60, "nzst": 12 * 60, "nzdt": 13 * 60,
	"nst": -(3*60 + 30), "ndt": -(2*60 + 30), "akst": -9 * 60, "akdt": -8 * 60, "hst": -10 * 60,
})
