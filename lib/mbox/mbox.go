// Package mbox reads and rewrites mbox files (mbox(5), RFC 4155) by byte
// ranges: what it keeps, it keeps byte for byte, damage included.
//
// A message begins at a From_ line: "From ", an address and a date as of
// asctime(3), at the start of the file or after an empty line. It also begins
// at one that comes after another line, if a header follows: Mailman 2 leaves
// out the empty line where a message has no final newline. Any other line
// that begins with "From " belongs to the message before it. Where a From_
// line lacks its empty line or its header, or another line might have been
// meant to begin a message all the same, the messages that it touches are in
// Doubt, and nobody may remove them.
package mbox

import "time"

// Range is the bytes of a file from Start up to End, exclusive.
type Range struct{ Start, End int64 }

// Size is the length of the range in bytes.
func (r Range) Size() int64 { return r.End - r.Start }

// Dating says where a message's date is from, or why there is none.
type Dating string

const (
	Dated      Dating = ""        // by its Date field
	Undated    Dating = "no date" // without a Date field
	Unparsable Dating = "a date that cannot be read"
	Future     Dating = "a date to come" // more than a day after the scan began
)

// Message is where a message is, and what its header says of it.
type Message struct {
	Range               // from its From_ line up to the next one, or to the end of the file
	Body      int64     // offset of the body, after the header's empty line; End if there is none
	ID        string    // of Message-ID, without angle brackets; "" if it has none
	Date      time.Time // UTC; zero unless Dated
	Dating    Dating
	Received  time.Time // the date of its From_ line, as UTC; zero if that cannot be read
	Author    string    // From, unfolded and raw; only if the Scanner was asked for Fields
	Subject   string    // Subject, likewise
	DateField string    // Date, likewise
	Torn      bool      // bytes of it may be missing: its header has no end, or another message goes on in one of its lines
	Doubt     string    // why its bounds are not sure, such as `a line "From " at 123`; "" when they are
}

// Census sums up what a Scanner has found.
type Census struct {
	Messages int
	Undated  int   // those that are not Dated
	Doubtful int   // those with a Doubt
	Size     int64 // bytes of all messages
	NULs     int64 // bytes that are zero, in all that was read: a wart, and no damage in itself
}
