package mbox

import (
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dates are texts and what they mean in UTC; "no" where that is not sure.
var dates = map[string]string{
	"Thu, 1 Jan 2009 15:04:05 +0100":                       "2009-01-01 14:04:05",
	"1 Jan 2009 15:04:05 +0100":                            "2009-01-01 14:04:05",
	"Thu, 01 Jan 2009 15:04 -0000":                         "2009-01-01 15:04:00",
	"\r\n Thu,\r\n\t1 Jan 2009 15:04:05\r\n +0100 (CET)  ": "2009-01-01 14:04:05",
	"Thu(a(b)\\)),1(c)Jan(d)2009(e)15 : 04 : 05(f)+0100":   "2009-01-01 14:04:05",
	"thu, 1 JAN 2009 5:04:05 GMT":                          "2009-01-01 05:04:05",
	"Wed, 31 Dec 2008 23:59:60 +0000":                      "2009-01-01 00:00:00",
	"Thu, 31 Dec 1998 23:30:00 -0100":                      "1999-01-01 00:30:00",
	"Fri, 31 Dec 1999 23:59:59 +0000":                      "1999-12-31 23:59:59",
	"Tue, 19 Jan 2038 03:14:08 +0000":                      "2038-01-19 03:14:08",
	"Thu, 1 Jan 1970 00:00:00 +0000":                       "1970-01-01 00:00:00",
	"Tue, 29 Feb 2000 00:00:00 +0000":                      "2000-02-29 00:00:00",
	// Years of RFC 5322 section 4.3.
	"1 Jan 00 00:00 +0000":   "2000-01-01 00:00:00",
	"1 Jan 49 00:00 +0000":   "2049-01-01 00:00:00",
	"1 Jan 50 00:00 +0000":   "1950-01-01 00:00:00",
	"1 Jan 99 00:00 +0000":   "1999-01-01 00:00:00",
	"1 Jan 100 00:00 +0000":  "2000-01-01 00:00:00",
	"1 Jan 109 00:00 +0000":  "2009-01-01 00:00:00",
	"1 Jan 1900 00:00 +0000": "1900-01-01 00:00:00",
	// Zones.
	"1 Jul 2009 12:00 EST":                "2009-07-01 17:00:00",
	"1 Jul 2009 12:00 edt":                "2009-07-01 16:00:00",
	"1 Jul 2009 12:00 PST":                "2009-07-01 20:00:00",
	"1 Jul 2009 12:00 CEST":               "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 MESZ":               "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 BST":                "2009-07-01 11:00:00",
	"1 Jul 2009 12:00 NST":                "2009-07-01 15:30:00",
	"1 Jul 2009 12:00 Z":                  "2009-07-01 12:00:00",
	"1 Jul 2009 12:00 A":                  "2009-07-01 12:00:00",
	"1 Jul 2009 12:00 IST":                "2009-07-01 12:00:00",
	"1 Jul 2009 12:00":                    "2009-07-01 12:00:00",
	"1 Jul 2009 12:00 CEST +0200":         "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 +0200 CET":          "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 GMT+0200":           "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 +02:00":             "2009-07-01 10:00:00",
	"1 Jul 2009 12:00 +1459":              "2009-06-30 21:01:00",
	"1 Jul 2009 12:00 +0200 (West Europe": "2009-07-01 10:00:00",
	// Other forms that are clear.
	"Thu Jan  1 15:04:05 2009":                   "2009-01-01 15:04:05",
	"Thu Jan 1 15:04:05 EST 2009":                "2009-01-01 20:04:05",
	"Thu Jan 1 15:04:05 2009 -0500":              "2009-01-01 20:04:05",
	"Thu Jan 01 2009 15:04:05 GMT+0400 (Moscow)": "2009-01-01 11:04:05",
	"January 2, 2009 15:04 +0000":                "2009-01-02 15:04:00",
	"Thursday, 01-Jan-09 15:04:05 GMT":           "2009-01-01 15:04:05",
	"Thursday 1 January 2009 15:04:05 +0000":     "2009-01-01 15:04:05",
	"Do, 1 Jan 2009 15:04:05 +0100":              "2009-01-01 14:04:05",
	"jeudi, 1 Sept 2009 15:04:05 +0100":          "2009-09-01 14:04:05",
	"2009-01-02 15:04:05 +0100":                  "2009-01-02 14:04:05",
	"2009-01-02T15:04:05.123456789Z":             "2009-01-02 15:04:05",
	"2009-01-02T15:04:05.5+01:00":                "2009-01-02 14:04:05",
	"Fri, 1 Jan 2009 15:04:05 +0000":             "2009-01-01 15:04:05", // it was a Thursday
	// No dates, or none that is sure.
	"":                                    "no",
	"soon":                                "no",
	"Thu, 30 Feb 2009 15:04:05 +0000":     "no",
	"29 Feb 2009 15:04:05 +0000":          "no",
	"31 Apr 2009 15:04:05 +0000":          "no",
	"0 Jan 2009 15:04:05 +0000":           "no",
	"32 Jan 2009 15:04:05 +0000":          "no",
	"001 Jan 2009 15:04:05 +0000":         "no",
	"Do, 1 Mai 2009 15:04:05 +0000":       "no",
	"1 Dez 2009 15:04:05 +0000":           "no",
	"1 März 2009 15:04:05 +0000":          "no",
	"1 M\xe4r 2009 15:04:05 +0000":        "no",
	"1 janv. 2009 15:04:05 +0000":         "no",
	"1 Janvier 2009 15:04:05 +0000":       "no",
	"1 Okt 2009 15:04:05 +0000":           "no",
	"01/02/2009 15:04:05":                 "no",
	"01.02.2009 15:04:05":                 "no",
	"2009-13-01 15:04:05":                 "no",
	"2009-1-2 15:04:05":                   "no",
	"1 Jan 2009":                          "no",
	"1 Jan 2009 24:00:00 +0000":           "no",
	"1 Jan 2009 12:60:00 +0000":           "no",
	"1 Jan 2009 12:00:61 +0000":           "no",
	"1 Jan 2009 12:5 +0000":               "no",
	"1 Jan 2009 12:05 pm":                 "no",
	"1 Jan 2009 12:05 AM +0000":           "no",
	"1 Jan 2009 12:05 +200":               "no",
	"1 Jan 2009 12:05 +9900":              "no",
	"1 Jan 2009 12:05 +0060":              "no",
	"1 Jan 2009 12:05 +0100 +0200":        "no",
	"1 Jan 2009 12:05 Pacific Daylight":   "no",
	"1 Jan 2009 12:05 +0000 x.":           "no",
	"1 Jan 2009 12:05 +0000 2010":         "no",
	"1 Jan 0009 12:05 +0000":              "no",
	"1 Jan 1899 12:05 +0000":              "no",
	"1 Jan 20090 12:05 +0000":             "no",
	"1 Jan 18446744073709553625 12:05 +0": "no",
	"1 Jan 9 12:05 +0000":                 "no",
	"Jan 2009 12:05 +0000":                "no",
	"(1 Jan 2009 12:05 +0000":             "no",
	"1 Jan 2009 12:05 (\\":                "2009-01-01 12:05:00",
}

func TestParseDate(t *testing.T) {
	for text, want := range dates {
		date, ok := ParseDate(text)
		got := "no"
		if ok {
			got = date.Format(time.DateTime)
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if _, ok := ParseDate("1 Jan 2009 12:05 +0000" + strings.Repeat(" ", maxDate)); ok {
		t.Error("a date of more than maxDate bytes was read")
	}
}

// What net/mail says of the same texts is another thing in these cases.
func TestNetMail(t *testing.T) {
	for text, why := range map[string]string{
		"1 Jul 2009 12:00 CEST": "net/mail knows no zone that the machine is not in, and takes it as UTC: two hours late",
		"1 Jul 2009 12:00 PST":  "so even with those that RFC 5322 lists: eight hours early",
		"1 Jan 50 00:00 +0000":  "years of two digits are 1969 to 2068 by package time, 1950 to 2049 by RFC 5322 section 4.3",
	} {
		theirs, err := mail.ParseDate(text)
		if ours, ok := ParseDate(text); err != nil || !ok || ours.Equal(theirs) {
			t.Errorf("%q is %v, %v by net/mail, %v, %v by us, yet: %s", text, theirs, err, ours, ok, why)
		}
	}
	for text, why := range map[string]string{
		"Thu Jan  1 15:04:05 2009":             "asctime",
		"1 Jan 109 00:00 +0000":                "a year of three digits",
		"Wed, 31 Dec 2008 23:59:60 +0000":      "a leap second, which RFC 5322 section 3.3 allows",
		"Do, 1 Jan 2009 15:04:05 +0100":        "a weekday in German",
		"Thu, 1 January 2009 15:04:05 +0000":   "a month in full",
		"1 Jan 2009 15:04:05 +0100 (West Euro": "a comment that is not closed",
	} {
		if theirs, err := mail.ParseDate(text); err == nil {
			t.Errorf("%q is %v by net/mail, yet it is %s", text, theirs, why)
		}
		if _, ok := ParseDate(text); !ok {
			t.Errorf("%q is not read, %s", text, why)
		}
	}
	for text, why := range map[string]string{
		"1 Jan 0009 12:05 +0000": "RFC 5322 section 3.3 begins in 1900",
		"1 Jan 2009 12:05 +2400": "there is no such zone",
	} {
		if _, err := mail.ParseDate(text); err != nil {
			t.Errorf("%q is not read by net/mail: %v", text, err)
		}
		if ours, ok := ParseDate(text); ok {
			t.Errorf("%q is %v, but %s", text, ours, why)
		}
	}
}

var numeric = regexp.MustCompile(`[0-9]{4} [0-9]{1,2}:[0-9]{2}(:[0-9]{2})? [+-][0-9]{4}$`)

// FuzzDate compares with net/mail: what both read, they read alike, but for zones by name and years of two digits.
func FuzzDate(f *testing.F) {
	for text := range dates {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		date, ok := ParseDate(text)
		if !ok {
			if !date.IsZero() {
				t.Errorf("%q is not ok, but %v", text, date)
			}
			return
		}
		if date.Location() != time.UTC || date.Year() < 1899 || date.Year() > 10000 || date.Nanosecond() != 0 {
			t.Errorf("%q is %v", text, date)
		}
		again, ok := ParseDate(date.Format(time.RFC1123Z))
		if date.Year() >= 1900 && date.Year() < 10000 && (!ok || !again.Equal(date)) {
			t.Errorf("%q is %v, and that is %v, %v", text, date, again, ok)
		}
		theirs, err := mail.ParseDate(text)
		if err == nil && numeric.MatchString(text) && !theirs.Equal(date) {
			t.Errorf("%q is %v, but %v by net/mail", text, date, theirs)
		}
	})
}

func BenchmarkParseDate(b *testing.B) {
	text := []byte(" Thu, 1 Jan 2009 15:04:05 +0100")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseDate(text); !ok {
			b.Fatal("not read")
		}
	}
}
