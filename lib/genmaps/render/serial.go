package render

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// serialMark stands where a Zone's serial goes.
const serialMark = "%SERIAL%"

// Serial is the one to follow old: the time, or old+1 where that is not the greater in the
// arithmetic of RFC 1982, so that secondaries always see that something changed.
func Serial(old uint32, now time.Time) uint32 {
	if t := uint32(now.Unix()); int32(t-old) > 0 {
		return t
	}
	return old + 1
}

// SerialOf is the serial in a zone that WithSerial made; ok is false if there is none.
func SerialOf(published []byte) (serial uint32, ok bool) {
	for line := range strings.Lines(string(published)) {
		words := strings.Fields(line)
		if len(words) < 7 || words[3] != "SOA" {
			continue
		}
		n, err := strconv.ParseUint(words[6], 10, 32)
		return uint32(n), err == nil
	}
	return 0, false
}

// FillSerial puts a serial into the text of a Zone.
func FillSerial(text []byte, serial uint32) []byte {
	return bytes.Replace(text, []byte(serialMark), strconv.AppendUint(nil, uint64(serial), 10), 1)
}

// WithSerial is the text of a Zone as it is to be published in place of another, or of nil: the
// same bytes if nothing but the serial could differ, else with a serial that follows.
func WithSerial(text, published []byte, now time.Time) []byte {
	old, ok := SerialOf(published)
	if !ok {
		return FillSerial(text, uint32(now.Unix()))
	}
	if same := FillSerial(text, old); bytes.Equal(same, published) {
		return same
	}
	return FillSerial(text, Serial(old, now))
}
