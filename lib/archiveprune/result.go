package archiveprune

import "rplan/lib/archiveprune/layout"

// Amount is a number of files and their bytes.
type Amount struct {
	Files int
	Bytes int64
}

// Reason is why files stay, and how many.
type Reason struct {
	Why string
	Amount
}

// Result is what was found in the archive of a list, and done to it.
type Result struct {
	Tree     string
	List     string
	Layout   layout.Layout
	Messages int
	Kinds    map[layout.Kind]Amount
	Goes     Amount   // files that are no messages
	Stays    Amount   // the rest of them
	Reasons  []Reason // of those that stay
	Expired  Amount   // messages that are too old
	Freed    int64    // bytes out of sight; the trash still has them
	Err      error
}
