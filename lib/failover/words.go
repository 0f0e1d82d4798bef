package failover

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"rplan/lib/directory"
)

// String is counts in words, without what there is none of.
func (c counts) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		unit string
	}{{c.Mailboxes, "mailbox"}, {c.Sites, "site"}, {c.Lists, "list"}} {
		if p.n > 0 {
			parts = append(parts, plural(p.n, p.unit))
		}
	}
	switch len(parts) {
	case 0:
		return "nothing"
	case 1:
		return parts[0]
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func plural(n int, unit string) string { return fmt.Sprintf("%d %s", n, word(n, unit)) }

// word is unit for n of them.
func word(n int, unit string) string {
	switch {
	case n == 1:
		return unit
	case strings.HasSuffix(unit, "x"):
		return unit + "es"
	}
	return unit + "s"
}

// some are the first of many names.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// remarks are what is known of a node's state, to stand behind it.
func remarks(n *directory.Node) string {
	text := ""
	if !n.Since.IsZero() {
		text += " since " + stamp(n.Since)
	}
	if n.By != "" {
		text += ", by "
	} else if n.Reason != "" {
		text += " "
	}
	return text + who(n.By, n.Reason)
}

// who is by whom a state was changed, and why: "ada (a new disk)".
func who(by, reason string) string {
	switch {
	case reason == "":
		return by
	case by == "":
		return "(" + reason + ")"
	}
	return by + " (" + reason + ")"
}

// stamp is a time as everybody reads it, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// ago is a duration to the precision that a person wants.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func quoted(name string) string { return strconv.Quote(name) }
