package failover

import (
	"fmt"
	"strings"
)

// columns is what every terminal has.
const columns = 80

// table lines up columns: numbers, such as 3 or 4/0/4, to the right, others
// to the left, and clips what is wider than 80 columns.
func table(indent string, rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := indent
		for i, cell := range row {
			if i > 0 {
				line += "  "
			}
			if numeric(rows, i) {
				line += fmt.Sprintf("%*s", widths[i], cell)
			} else {
				line += fmt.Sprintf("%-*s", widths[i], cell)
			}
		}
		b.WriteString(clip(strings.TrimRight(line, " "), columns-1) + "\n")
	}
	return b.String()
}

// numeric says whether a column has numbers below its head.
func numeric(rows [][]string, column int) bool {
	some := false
	for _, row := range rows[min(1, len(rows)):] {
		if column < len(row) && row[column] != "" {
			if strings.Trim(row[column], "0123456789/") != "" {
				return false
			}
			some = true
		}
	}
	return some
}

// clip shortens text that does not fit.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-3], "") + "..."
}

// bar draws parts of a whole, each with its own sign, most characters wide. A
// part that is there at all is at least one sign.
func bar(most, whole int, parts ...part) string {
	var b strings.Builder
	for _, p := range parts {
		n := 0
		if whole > 0 {
			n = (p.n*most + whole/2) / whole
		}
		if p.n > 0 {
			n = max(n, 1)
		}
		b.WriteString(strings.Repeat(p.sign, min(n, most-min(most, b.Len()))))
	}
	return b.String()
}

type part struct {
	n    int
	sign string
}

// wrapped is text in lines that fit, the first behind a word of its own or
// nothing, and the others further in.
func wrapped(indent, text string) string {
	var b strings.Builder
	line := indent
	for i, w := range strings.Fields(text) {
		switch {
		case i == 0:
			line += w
		case len(line)+1+len(w) >= columns:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", max(2, len(indent))) + w
		default:
			line += " " + w
		}
	}
	return b.String() + line + "\n"
}

// bytesLeft is a number of bytes as a person reads it.
func bytesLeft(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if value < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", value, units[unit])
	}
	return fmt.Sprintf("%.0f %s", value, units[unit])
}
