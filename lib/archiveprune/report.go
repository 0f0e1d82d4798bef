package archiveprune

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rplan/lib/archiveprune/layout"
)

// mostPaths are named of each reason; --json has them all.
const mostPaths = 5

// text is the report of all lists: a table, and below it what stays and why. What failed for a whole tree
// is an error of the run, and said at its end.
func text(results []*Result, applied bool) string {
	results = slices.DeleteFunc(slices.Clone(results), func(r *Result) bool { return r.List == "" })
	if len(results) == 0 {
		return ""
	}
	goes, went := "would go", func(r *Result) int64 { return r.Goes.Bytes + r.Expired.Bytes }
	if applied {
		goes, went = "gone", func(r *Result) int64 { return r.Freed }
	}
	rows := [][]string{{"list", "layout", "messages", "mbox", "pages", "attachments", goes, "stays"}}
	for _, r := range results {
		rows = append(rows, []string{harmless(r.List), string(r.Layout), fmt.Sprint(r.Messages),
			size(r.sum(layout.Mbox, layout.Message)), size(r.sum(layout.Page, layout.Index, layout.Text, layout.Database)),
			size(r.sum(layout.Attachment)), size(went(r)), size(r.Stays.Bytes)})
	}
	var b strings.Builder
	b.WriteString(table(rows))
	for _, r := range results {
		if details := r.details(); details != "" {
			fmt.Fprintf(&b, "\n%s:\n%s", harmless(r.List), details)
		}
	}
	return b.String()
}

// sum is the size of all files of these kinds.
func (r *Result) sum(kinds ...layout.Kind) (bytes int64) {
	for _, k := range kinds {
		bytes += r.Kinds[k].Bytes
	}
	return bytes
}

// details are the lines below the table, of one list.
func (r *Result) details() string {
	var b strings.Builder
	if r.Error != "" {
		fmt.Fprintf(&b, "! %s\n", harmless(strings.ReplaceAll(r.Error, "\n", "; ")))
	}
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "! %s\n", harmless(d))
	}
	if r.Expired.Files > 0 {
		fmt.Fprintf(&b, "  %s too old to be kept, %s\n", count(r.Expired.Files, "message", "messages"), size(r.Expired.Bytes))
	}
	for _, why := range slices.Sorted(maps.Keys(r.Kept)) {
		fmt.Fprintf(&b, "  %s kept: %s\n", count(r.Kept[why], "message", "messages"), why)
	}
	if r.Moved.Files > 0 {
		fmt.Fprintf(&b, "  %s of closed months, %s, to be compressed\n", count(r.Moved.Files, "message", "messages"), size(r.Moved.Bytes))
	}
	if r.Scrubbed.Addresses > 0 {
		fmt.Fprintf(&b, "  %s in %s\n", count(r.Scrubbed.Addresses, "client address", "client addresses"), count(r.Scrubbed.Messages, "message", "messages"))
	}
	for _, reason := range r.Reasons {
		stay := "stay"
		if reason.Files == 1 {
			stay = "stays"
		}
		fmt.Fprintf(&b, "  %s, %s, %s: %s\n", count(reason.Files, "file", "files"), size(reason.Bytes), stay, reason.Why)
		name(&b, reason.Paths)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  %s\n", harmless(note))
	}
	return b.String()
}

// name writes a line for each of the first paths.
func name(b *strings.Builder, paths []string) {
	for i, path := range paths {
		if i == mostPaths {
			fmt.Fprintf(b, "      and %d more, which --json names\n", len(paths)-i)
			return
		}
		fmt.Fprintf(b, "      %s\n", harmless(path))
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// size is a number of bytes for people.
func size(bytes int64) string {
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if bytes < 10_000 || unit == "GB" {
			return fmt.Sprintf("%d %s", bytes, unit)
		}
		bytes = (bytes + 500) / 1000
	}
	return ""
}

// harmless is a name, or a text with one in it, without what may steer a terminal or make a line of its own.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// table sets rows in columns, the first two to the left and the others to the right.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i >= 2 {
				cell = pad + cell
			} else {
				cell += pad
			}
			line.WriteString(cell + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
