package archiveprune

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"rplan/lib/directory"
)

func utc(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestBefore(t *testing.T) {
	for _, c := range []struct{ keep, now, want string }{
		{"1d", "2026-03-01 00:00", "2026-02-28 00:00"},
		{"90d", "2026-11-26 18:30", "2026-08-28 00:00"},
		{"8w", "2026-11-26 23:59", "2026-10-01 00:00"},
		{"1m", "2026-03-31 12:00", "2026-02-28 00:00"},
		{"1m", "2024-03-30 12:00", "2024-02-29 00:00"},
		{"18m", "2026-01-15 12:00", "2024-07-15 00:00"},
		{"1y", "2024-02-29 01:00", "2023-02-28 00:00"},
		{"4y", "2028-02-29 01:00", "2024-02-29 00:00"},
		{"5y", "2026-11-26 00:00", "2021-11-26 00:00"},
		{"0", "2026-11-26 18:30", "2026-11-26 18:30"},
		{"2025y", "2026-11-26 18:30", "0001-11-26 00:00"},
		{"2026y", "2026-11-26 18:30", ""},
		{"9999y", "2026-11-26 18:30", ""},
		{"forever", "2026-11-26 18:30", ""},
	} {
		got, some := mustKeep(c.keep).Before(utc(c.now))
		if c.want == "" {
			if some || !got.IsZero() {
				t.Errorf("%s at %s: %v, %v", c.keep, c.now, got, some)
			}
		} else if !some || !got.Equal(utc(c.want)) || got.Location() != time.UTC {
			t.Errorf("%s at %s: %v, %v, want %s", c.keep, c.now, got, some, c.want)
		}
	}
	if moment, some := (Keep{}).Before(utc("2026-11-26 18:30")); some {
		t.Errorf("what nobody set removes what is before %v", moment)
	}
	// It is the day in UTC that counts, wherever the machine is.
	east := time.FixedZone("east", 14*3600)
	if got, _ := mustKeep("1d").Before(time.Date(2026, 3, 2, 1, 0, 0, 0, east)); !got.Equal(utc("2026-02-28 00:00")) {
		t.Error(got)
	}
}

// someKeep is any Keep, and mostly one that somebody would write.
func someKeep(r *rand.Rand) Keep {
	switch r.IntN(12) {
	case 0:
		return Forever
	case 1:
		return mustKeep("0")
	}
	return Keep{1 + r.IntN([]int{3, 30, 400, 9999}[r.IntN(4)]), "dwmy"[r.IntN(4)]}
}

func someTime(r *rand.Rand) time.Time {
	return time.Unix(r.Int64N(200*366*24*3600), r.Int64N(1e9)).UTC() // up to 2170
}

// TestBeforeIsMonotone: as time goes by nothing comes back, and what is kept
// longer goes no earlier. What the words say is what the calendar does.
func TestBeforeIsMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		k, now := someKeep(r), someTime(r)
		moment, some := k.Before(now)
		if !some {
			continue
		}
		if moment.After(now) {
			t.Fatalf("%s at %v: %v is to come", k, now, moment)
		}
		later := now.Add(time.Duration(r.Int64N(int64([]time.Duration{time.Second, 40 * time.Hour, 9000 * time.Hour}[r.IntN(3)]))))
		if after, _ := k.Before(later); after.Before(moment) {
			t.Fatalf("%s: %v at %v, but %v at %v", k, moment, now, after, later)
		}
		if longer := (Keep{k.count + 1, k.unit}); k.unit != '0' {
			if earlier, some := longer.Before(now); some && !earlier.Before(moment) {
				t.Fatalf("%s at %v: %v, not before %v of %s", longer, now, earlier, moment, k)
			}
		}
		midnight := now.Truncate(24 * time.Hour)
		switch days := midnight.Sub(moment).Hours() / 24; k.unit {
		case 'd', 'w':
			if int(days) != k.days() || days != float64(int(days)) {
				t.Fatalf("%s at %v: %v, %v days", k, now, moment, days)
			}
		case 'm', 'y':
			months := (now.Year()-moment.Year())*12 + int(now.Month()) - int(moment.Month())
			if months != k.months() || moment.Day() > now.Day() || moment.Day() < now.Day() && moment.AddDate(0, 0, 1).Day() != 1 {
				t.Fatalf("%s at %v: %v", k, now, moment)
			}
		}
	}
}

// TestOutlasts: where it says no, there is no day on which it is wrong, and
// where a unit is the same it says no more than that.
func TestOutlasts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	said := map[bool]int{}
	for range 300_000 {
		k, other, now := someKeep(r), someKeep(r), someTime(r)
		if r.IntN(2) == 0 && other.months() > 0 { // days near to so many months
			k = Keep{max(1, other.months()*146097/4800-6+r.IntN(12)), 'd'}
		} else if r.IntN(2) == 0 && k.months() > 0 {
			other = Keep{max(1, k.months()*146097/4800-6+r.IntN(12)), 'd'}
		}
		outlasts := k.Outlasts(other)
		said[outlasts]++
		ours, some := k.Before(now)
		theirs, any := other.Before(now)
		if !outlasts && any && (!some || ours.Before(theirs)) {
			t.Fatalf("at %v what is kept for %s is from %v on, for %s from %v on", now, k, ours, other, theirs)
		}
		if outlasts && k.unit == other.unit && k.count <= other.count {
			t.Fatalf("%s outlasts %s", k, other)
		}
	}
	if said[true] < 10_000 || said[false] < 10_000 {
		t.Error(said)
	}
	for _, c := range []struct {
		k, other string
		want     bool
	}{
		{"forever", "forever", false}, {"forever", "5y", true}, {"5y", "forever", false}, {"12m", "1y", false}, {"13m", "1y", true}, {"7d", "1w", false},
		{"8d", "1w", true}, {"1w", "7d", false}, {"0", "1d", false}, {"1d", "0", true}, {"0", "0", false}, {"forever", "0", true}, {"90d", "1y", false},
		{"90d", "5y", false}, {"1y", "90d", true}, {"30d", "1m", true}, {"1m", "30d", true}, {"4w", "2m", false}, {"1m", "60d", false},
	} {
		if got := mustKeep(c.k).Outlasts(mustKeep(c.other)); got != c.want {
			t.Errorf("%s, %s: %v", c.k, c.other, got)
		}
	}
}

func TestKeepAsText(t *testing.T) {
	var of struct{ A, B Keep }
	if err := json.Unmarshal([]byte(`{"A":"18M","B":"forever"}`), &of); err != nil || of.A != (Keep{18, 'm'}) || of.B != Forever {
		t.Errorf("%v, %v", of, err)
	}
	if text, err := json.Marshal(of); err != nil || string(text) != `{"A":"18m","B":"forever"}` {
		t.Errorf("%s, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"90"}`), &of); err == nil {
		t.Errorf("%v", of)
	}
}

// FuzzKeep: what the directory lets through is a time, and nothing else is one.
func FuzzKeep(f *testing.F) {
	for _, seed := range []string{"90d", "8W", "18m", "5y", "forever", "0", "", "00", "1", "-1d", "9999y", "10000d", "1 d", "\u0661d", directory.Unreadable} {
		f.Add(seed)
	}
	now := utc("2026-11-26 18:30")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKeep(text)
		canonical, refused := directory.CheckKeep(text)
		if (err == nil) != (refused == nil) {
			t.Fatalf("%q: %v here, %v in the directory", text, err, refused)
		}
		if err != nil {
			if k != Forever {
				t.Fatalf("%q is refused, and removes: %v", text, k)
			}
			return
		}
		if again, err := ParseKeep(k.String()); err != nil || again != k || k.String() != canonical {
			t.Fatalf("%q is %q, and that %q, %v", text, k, again, err)
		}
		if moment, some := k.Before(now); some && (moment.After(now) || moment.Year() < 1) {
			t.Fatalf("%q: before %v", text, moment)
		}
	})
}
