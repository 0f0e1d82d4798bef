package archiveprune

import (
	"errors"
	"strconv"
	"time"

	"rplan/lib/directory"
)

// Keep is how long something is kept. Its zero value is for ever, so that what
// nobody has set removes nothing.
type Keep struct {
	count int  // of units
	unit  byte // 'd', 'w', 'm' or 'y'; '0' for not at all, 0 for ever
}

// Forever is to keep it.
var Forever = Keep{}

// ParseKeep reads "90d", "8w", "18m" (months), "5y", "forever" or "0", in the form of directory.CheckKeep.
func ParseKeep(text string) (Keep, error) {
	text, err := directory.CheckKeep(text)
	if err != nil {
		return Forever, err
	}
	switch text {
	case "forever":
		return Forever, nil
	case "0":
		return Keep{0, '0'}, nil
	}
	last := len(text) - 1
	count, err := strconv.Atoi(text[:last])
	if err != nil {
		return Forever, errors.New("not a number of days, weeks, months or years")
	}
	return Keep{count, text[last]}, nil
}

// mustKeep is ParseKeep of a default.
func mustKeep(text string) Keep {
	k, err := ParseKeep(text)
	if err != nil {
		panic(err) // of a constant
	}
	return k
}

func (k Keep) String() string {
	switch k.unit {
	case 0:
		return "forever"
	case '0':
		return "0"
	}
	return strconv.Itoa(k.count) + string(rune(k.unit))
}

// UnmarshalText is ParseKeep, for rplan.toml.
func (k *Keep) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKeep(string(text))
	return err
}

// MarshalText is String, for JSON.
func (k Keep) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Before is the moment before which things go, in UTC; it is false where none
// goes. It is the beginning of the day so long before now's, so that all runs of
// a day agree, and never a later day than the calendar has: one month before
// 31 March is 28 February. Kept for "0", all goes that is older than now.
func (k Keep) Before(now time.Time) (moment time.Time, any bool) {
	now = now.UTC()
	year, month, day := now.Date()
	switch k.unit {
	case 0:
		return time.Time{}, false
	case '0':
		return now, true
	case 'd':
		moment = time.Date(year, month, day-k.count, 0, 0, 0, 0, time.UTC)
	case 'w':
		moment = time.Date(year, month, day-7*k.count, 0, 0, 0, 0, time.UTC)
	case 'm', 'y':
		first := time.Date(year, month-time.Month(k.months()), 1, 0, 0, 0, 0, time.UTC)
		last := first.AddDate(0, 1, -1).Day()
		moment = first.AddDate(0, 0, min(day, last)-1)
	}
	if moment.Year() < 1 {
		return time.Time{}, false // nothing is so old
	}
	return moment, true
}

// months is the length of what is counted in them, else 0.
func (k Keep) months() int {
	switch k.unit {
	case 'm':
		return k.count
	case 'y':
		return 12 * k.count
	}
	return 0
}

// days is the length of what is counted in them, else 0.
func (k Keep) days() int {
	switch k.unit {
	case 'd':
		return k.count
	case 'w':
		return 7 * k.count
	}
	return 0
}

// Outlasts says whether what is kept for k can, on some day, be there longer
// than what is kept for other. Months and days are compared with a margin, as
// months differ.
func (k Keep) Outlasts(other Keep) bool {
	switch {
	case k == other, other == Forever, k.unit == '0':
		return false
	case k == Forever, other.unit == '0':
		return true
	case k.months() > 0 && other.months() > 0:
		return k.months() > other.months()
	}
	// 146097 days are 4800 months, and no row of months is off by more than margin from that.
	const margin = 3
	most, least := k.days(), other.days()
	if n := k.months(); n > 0 {
		most = n*146097/4800 + 1 + margin
	}
	if n := other.months(); n > 0 {
		least = n*146097/4800 - margin
	}
	return most > least
}
