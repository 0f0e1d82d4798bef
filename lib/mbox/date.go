package mbox

import "time"

// maxDate is the length in bytes of the longest Date that is read.
const maxDate = 512

// ParseDate reads the value of a Date field, and gives it as UTC. It knows RFC 5322
// section 3.3 with the obsolete forms of section 4.3 (years of two and three digits, zones
// by name, comments anywhere), and forms that leave no doubt either: asctime(3), RFC 850,
// ISO 8601, English names in full, a month before its day. A zone that is absent or
// unknown counts as UTC, as section 4.3 has it: the time may then be half a day off.
//
// It is not ok with a day that the month does not have, names of months in other
// languages, months as numbers but for ISO 8601, am and pm, years before 1900, zones
// beyond 14:59 hours. The name of the weekday is not looked at.
func ParseDate(text string) (date time.Time, ok bool) {
	return parseDate([]byte(text))
}

func parseDate(text []byte) (time.Time, bool) {
	if len(text) > maxDate {
		return time.Time{}, false
	}
	d := dateReader{text: text}
	word := d.word()
	if len(word) > 0 && (d.take(',') || weekdays[prefix(word)]) {
		d.take(',')
		word = d.word()
	}
	if len(word) > 0 {
		d.month = months[lower(word)]
		d.monthFirst()
	} else {
		d.dayFirst()
	}
	if d.skip(); d.wrong || d.at < len(d.text) {
		return time.Time{}, false
	}
	return d.date()
}

// dateReader goes through the text of a date once, from left to right.
type dateReader struct {
	text  []byte
	at    int
	wrong bool // it is no date

	year, day            int
	month                time.Month
	hour, minute, second int
	zone                 int // minutes east of UTC
}

// dayFirst reads "2 Jan 2006 15:04:05 -0700", the same with dashes, and "2006-01-02 15:04:05".
func (d *dateReader) dayFirst() {
	n, digits := d.number()
	if digits == 4 && d.take('-') {
		d.year = n
		month, width := d.number()
		d.month = time.Month(month)
		d.require(width == 2 && d.take('-'))
		d.day, width = d.number()
		d.require(width == 2)
		if c := d.peek(); c == 'T' || c == 't' {
			d.at++
		}
	} else {
		d.require(digits == 1 || digits == 2)
		d.day = n
		d.take('-')
		d.month = months[lower(d.word())]
		if !d.take('-') {
			d.take(',')
		}
		d.setYear(d.number())
	}
	d.clock(d.number())
	d.zones()
}

// monthFirst reads, after the month, "2 15:04:05 MST 2006" and "2, 2006 15:04:05 -0700".
func (d *dateReader) monthFirst() {
	var digits int
	d.day, digits = d.number()
	d.require(digits == 1 || digits == 2)
	d.take(',')
	n, digits := d.number()
	if d.peek() == ':' {
		d.clock(n, digits)
		d.zones()
		d.setYear(d.number())
	} else {
		d.setYear(n, digits)
		d.clock(d.number())
	}
	d.zones()
}

func (d *dateReader) setYear(n, digits int) {
	switch {
	case digits == 2 && n < 50:
		n += 2000
	case digits == 2 || digits == 3:
		n += 1900
	default:
		d.require(digits == 4)
	}
	d.year = n
}

// clock reads the time of day, after its hour.
func (d *dateReader) clock(hour, digits int) {
	d.hour = hour
	d.require(digits == 1 || digits == 2)
	d.require(d.take(':'))
	d.minute, digits = d.number()
	d.require(digits == 2)
	if d.take(':') {
		d.second, digits = d.number()
		d.require(digits == 2)
		if d.at < len(d.text) && d.text[d.at] == '.' { // fractions, in ISO 8601
			d.at++
			d.number()
		}
	}
}

// zones reads what there is of "-0700", "MST" and "GMT-0700": a number says more than a name.
func (d *dateReader) zones() {
	for number := false; ; {
		switch c := d.peek(); {
		case c == '+' || c == '-':
			d.at++
			n, digits := d.number()
			hours, minutes := n/100, n%100
			if digits == 2 && d.take(':') {
				hours = n
				minutes, digits = d.number()
				digits += 2
			}
			d.require(digits == 4 && hours <= 14 && minutes < 60 && !number)
			d.zone, number = hours*60+minutes, true
			if c == '-' {
				d.zone = -d.zone
			}
		case letter(c):
			name := lower(d.word())
			d.require(name[5] == 0 && name != token{'a', 'm'} && name != token{'p', 'm'})
			if east, known := zones[name]; known && !number {
				d.zone = east
			}
		default:
			return
		}
		if d.wrong {
			return
		}
	}
}

func (d *dateReader) date() (time.Time, bool) {
	if d.year < 1900 || d.month < time.January || d.month > time.December || d.day < 1 ||
		d.hour > 23 || d.minute > 59 || d.second > 60 { // 60: a leap second
		return time.Time{}, false
	}
	if d.day > 28 && time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC).Month() != d.month {
		return time.Time{}, false
	}
	return time.Date(d.year, d.month, d.day, d.hour, d.minute-d.zone, d.second, 0, time.UTC), true
}

func (d *dateReader) require(ok bool) {
	if !ok {
		d.wrong = true
	}
}

// skip steps over blanks, line ends and comments, which may lie within each other. One
// that is not closed goes to the end.
func (d *dateReader) skip() {
	depth := 0
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth > 0 && c == '\\':
			d.at++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return
		}
	}
	d.at = len(d.text) // a backslash may have been the last
}

// peek is the next byte of interest, or 0.
func (d *dateReader) peek() byte {
	if d.skip(); d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *dateReader) take(c byte) bool {
	if d.peek() != c || c == 0 {
		return false
	}
	d.at++
	return true
}

// number reads digits, of which those beyond the ninth do not count.
func (d *dateReader) number() (value, digits int) {
	for d.skip(); d.at < len(d.text) && digit(d.text[d.at]); d.at++ {
		if digits++; digits < 10 {
			value = value*10 + int(d.text[d.at]-'0')
		}
	}
	return value, digits
}

func (d *dateReader) word() []byte {
	d.skip()
	start := d.at
	for d.at < len(d.text) && letter(d.text[d.at]) {
		d.at++
	}
	return d.text[start:d.at]
}

func digit(c byte) bool  { return c-'0' < 10 }
func letter(c byte) bool { return (c|0x20)-'a' < 26 || c >= 0x80 }
