package mbox

import (
	"bytes"
	"time"
)

const (
	maxFrom  = 4 << 10 // bytes of the longest From_ line
	maxName  = 128     // bytes of the longest name of a header field, where one is looked for
	fromWord = "From "
)

// fromLine says whether line, which begins with "From ", is a From_ line. Its date is
// zero where it is none that there is, or in another language.
//
// There are many forms (RFC 4155 has only the first), and these are what c-client and mutt
// take for one, and UnixMailbox's strict pattern in Python 2, which Mailman 2 uses:
//
//	From alice@example.org Thu Jan  1 15:04:05 2009
//	From alice at example.org  Thu Jan  1 15:04 2009
//	From - Thu Jan  1 15:04:05 CET 2009
//	From "a b"@example.org Thu Jan  1 15:04:05 2009 +0100 remote from example.net
func fromLine(line []byte) (received time.Time, ok bool) {
	var before [3]span // the words that come before
	for at := len(fromWord); ; {
		word := nextWord(line, at)
		if word.end == word.start {
			return time.Time{}, false
		}
		if clockShaped(word.of(line)) && dayShaped(before[2].of(line)) && nameShaped(before[1].of(line)) && nameShaped(before[0].of(line)) {
			if end, ok := yearAndZones(line, word.end); ok {
				received, _ = parseDate(line[before[1].start:end])
				return received, true
			}
		}
		before[0], before[1], before[2] = before[1], before[2], word
		at = word.end
	}
}

// yearAndZones reads what comes after the time of day: [zone] year [zone] [remote from host],
// where a zone may be two words, such as "MET DST". It gives the end of the date.
func yearAndZones(line []byte, at int) (end int, ok bool) {
	const zoneWords = 2
	year, words := false, 0
	for end = at; ; end = at {
		w := nextWord(line, at)
		word := w.of(line)
		at = w.end
		switch {
		case len(word) == 0 || year && string(word) == "remote" && string(nextWord(line, at).of(line)) == "from":
			return end, year
		case !year && yearShaped(word):
			year, words = true, 0
		case zoneShaped(word) && words < zoneWords:
			words++
		default:
			return 0, false
		}
	}
}

// span is a place in a line, end exclusive.
type span struct{ start, end int }

func (s span) of(line []byte) []byte { return line[s.start:s.end] }

// nextWord is the first word from at on; it is empty at the end of the line.
func nextWord(line []byte, at int) span {
	for at < len(line) && blank(line[at]) {
		at++
	}
	start := at
	for at < len(line) && !blank(line[at]) {
		at++
	}
	return span{start, at}
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// clockShaped says whether word is like 9:05, 09:05 or 09:05:59.
func clockShaped(word []byte) bool {
	if len(word) < 4 || !digit(word[0]) {
		return false
	}
	if word[1] == ':' {
		word = word[1:]
	} else if digit(word[1]) {
		word = word[2:]
	}
	minutes := func(w []byte) bool { return w[0] == ':' && digit(w[1]) && digit(w[2]) }
	return len(word) == 3 && minutes(word) || len(word) == 6 && minutes(word) && minutes(word[3:])
}

func dayShaped(word []byte) bool {
	return len(word) == 1 && digit(word[0]) || len(word) == 2 && digit(word[0]) && digit(word[1])
}

// nameShaped is for weekdays and months, of any language.
func nameShaped(word []byte) bool {
	return len(word) == 3 && letter(word[0]) && letter(word[1]) && letter(word[2])
}

func yearShaped(word []byte) bool {
	return len(word) == 4 && dayShaped(word[:2]) && dayShaped(word[2:])
}

func zoneShaped(word []byte) bool {
	return len(word) <= 32 && (letter(word[0]) || len(word) > 1 && (word[0] == '+' || word[0] == '-' || word[0] == '('))
}

// startsField says whether text begins like a header: with the name of a field and a
// colon, or with the ">From " that some programs make of an older From_ line.
func startsField(text []byte) bool {
	for i, c := range text[:min(len(text), maxName)] {
		switch {
		case c == ':':
			return i > 0
		case c == ' ' || c == '\t': // RFC 5322 section 4.5 lets blanks stand before the colon
			rest := bytes.TrimLeft(text[i:min(len(text), maxName)], " \t")
			return i > 0 && len(rest) > 0 && rest[0] == ':' || bytes.HasPrefix(text, []byte(">"+fromWord))
		case c < 33 || c > 126:
			return false
		}
	}
	return false
}
