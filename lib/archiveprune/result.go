package archiveprune

import "rplan/lib/archiveprune/layout"

// Amount is how much something is.
type Amount struct {
	Files int
	Bytes int64
}

// Result is how the archive of one list stands after a run, or would.
type Result struct {
	Tree     string // the directory of [archive] that it is in
	List     string
	Layout   layout.Layout
	Messages int
	Bytes    map[layout.Kind]int64 // of all that was there before, by what it is for
	Goes     Amount                // what is removed, or would be
	Stays    Amount                // the rest
	Freed    int64                 // bytes that are out of the archive now; 0 in a report
	Reasons  map[string]int        // pages that are old enough and stay, by why
	Err      error                 // why nothing, or not all, was done
}
