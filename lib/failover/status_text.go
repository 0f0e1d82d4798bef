package failover

import (
	"fmt"
	"strings"

	"rplan/lib/directory"
)

// text is the overview in 80 columns: who carries what, how the nodes are,
// and what is amiss. A line that needs a look begins with "!".
func (v *overview) text() string {
	var b strings.Builder
	b.WriteString(v.carries())
	b.WriteString("\n" + v.history())
	b.WriteString("\n" + v.health())
	if len(v.Problems) == 0 {
		b.WriteString("\nAll is well.\n")
		return b.String()
	}
	b.WriteString("\n")
	for _, p := range v.Problems {
		b.WriteString(wrapped("! ", p))
	}
	return b.String()
}

// carries is the picture, and behind it the numbers.
func (v *overview) carries() string {
	const most = 20 // signs of a bar, if there is room
	spare := columns - 1
	for line := range strings.Lines(table("", v.burdens(0))) {
		spare = min(spare, columns-len(line))
	}
	return table("", v.burdens(min(most, spare))) + "  # active, - standby; the numbers are primary/standby/active\n"
}

// burdens are the rows of the picture: # is a mailbox's active copy, - its second one, ! one that nobody serves.
func (v *overview) burdens(most int) [][]string {
	whole := 1
	for _, n := range v.Nodes {
		whole = max(whole, n.Active.Mailboxes+n.Standby.Mailboxes)
	}
	rows := [][]string{{"", "node", "state", "", "mailboxes", "sites", "lists"}}
	for _, n := range v.Nodes {
		three := func(of func(counts) int) string {
			return fmt.Sprintf("%d/%d/%d", of(n.Primary), of(n.Standby), of(n.Active))
		}
		rows = append(rows, []string{v.mark(&n), clip(n.Name, 12), n.State,
			bar(most, whole, part{n.Active.Mailboxes, "#"}, part{n.Standby.Mailboxes, "-"}),
			three(func(c counts) int { return c.Mailboxes }), three(func(c counts) int { return c.Sites }), three(func(c counts) int { return c.Lists })})
	}
	if u := v.Unserved; !u.none() {
		rows = append(rows, []string{"!", "nobody", "", bar(most, whole, part{u.Mailboxes, "!"}), fmt.Sprint(u.Mailboxes), fmt.Sprint(u.Sites), fmt.Sprint(u.Lists)})
	}
	return rows
}

// history is what the nodes are for, and how they came to be in their states. A
// reason that leaves the line is clipped: of a node that is away, it is among the problems.
func (v *overview) history() string {
	rows := [][]string{{"", "node", "roles", "since (UTC)", "by whom (and why)"}}
	for _, n := range v.Nodes {
		since := "-"
		if !n.Since.IsZero() {
			since = n.Since.UTC().Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{v.mark(&n), clip(n.Name, 12), n.Roles, since, who(n.By, n.Reason)})
	}
	return table("", rows)
}

// mark is "!" for a node that is not up, or up and silent.
func (v *overview) mark(n *nodeStatus) string {
	if n.State != directory.Up.String() || n.Error != "" {
		return "!"
	}
	return ""
}

// health is what the nodes say of themselves.
func (v *overview) health() string {
	rows := [][]string{{"", "node", "directory", "maps", "unmerged", "disk free", "queue"}}
	var silent []string
	for _, n := range v.Nodes {
		r := n.Report
		if r == nil {
			if n.Error != "" {
				silent = append(silent, wrapped("! ", n.Name+" does not answer: "+n.Error))
			}
			continue
		}
		rows = append(rows, []string{"", clip(n.Name, 12), n.directory(), mapsAge(r), n.unmerged(), diskFree(r), queued(r)})
	}
	text := strings.Join(silent, "")
	if len(rows) > 1 {
		text = table("", rows) + text
	}
	return text
}

func (n *nodeStatus) directory() string {
	switch {
	case n.Report.Directory == "":
		return "down"
	case n.Divided:
		return "divided"
	case n.Lag > 0:
		return ago(seconds(n.Lag)) + " behind"
	}
	return "current"
}

func (n *nodeStatus) unmerged() string {
	sync := n.Report.Sync
	switch {
	case !n.merges:
		return "-"
	case sync == nil:
		return "never merged"
	case sync.Oldest > 0:
		return "for " + ago(seconds(float64(sync.Oldest)))
	}
	return "none"
}

func diskFree(r *NodeReport) string {
	if f := r.fullest(); f >= 0 {
		return fmt.Sprintf("%.0f%%", f)
	}
	return "?"
}

func queued(r *NodeReport) string {
	if r.Queue < 0 {
		return "-"
	}
	return fmt.Sprint(r.Queue)
}
