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

// carries is the picture: # is a mailbox's active copy, - its second one.
func (v *overview) carries() string {
	const most = 20
	whole := 1
	for _, n := range v.Nodes {
		whole = max(whole, n.Active.Mailboxes+n.Standby.Mailboxes)
	}
	rows := [][]string{{"", "node", "state", "# active, - second", "active", "second", "sites", "lists"}}
	for _, n := range v.Nodes {
		rows = append(rows, []string{v.mark(&n), clip(n.Name, 12), n.State,
			bar(most, whole, part{n.Active.Mailboxes, "#"}, part{n.Standby.Mailboxes, "-"}),
			fmt.Sprint(n.Active.Mailboxes), fmt.Sprint(n.Standby.Mailboxes), fmt.Sprint(n.Active.Sites), fmt.Sprint(n.Active.Lists)})
	}
	if u := v.Unserved; !u.none() {
		rows = append(rows, []string{"!", "nobody", "", bar(most, whole, part{u.Mailboxes, "!"}), fmt.Sprint(u.Mailboxes), "", fmt.Sprint(u.Sites), fmt.Sprint(u.Lists)})
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
		rows = append(rows, []string{"", clip(n.Name, 12), n.directory(), mapsAge(r), unmerged(r), diskFree(r), queued(r)})
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

func unmerged(r *NodeReport) string {
	switch {
	case r.Sync == nil:
		return "never merged"
	case r.Sync.Oldest > 0:
		return "for " + ago(seconds(float64(r.Sync.Oldest)))
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
