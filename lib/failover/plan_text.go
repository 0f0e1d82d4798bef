package failover

import (
	"fmt"
	"strings"
)

// text is the plan as an admin reads it before saying yes, in 80 columns.
func (p *plan) text() string {
	var b strings.Builder
	b.WriteString(p.title() + "\n")
	if p.Verb == "admit" {
		b.WriteString(wrapped("", fmt.Sprintf("Node %s may come back under its name, as a machine that is trusted again. It stays out until rp-failover in %s.", p.Node, p.Node)))
		b.WriteString("\n" + wrapped("", "From then on all nodes let in whoever has the keys and the password of its entry. "+
			"Go on only if rplanSshKey, rplanVpnKey and userPassword there are new: with the old ones, whoever took the machine is back."))
		return b.String()
	}
	b.WriteString("\n" + p.movesText())
	b.WriteString(p.carriersText())
	if len(p.Lists) > 0 {
		b.WriteString("\n" + wrapped("", fmt.Sprintf("%s on %s until somebody moves %s (man rp-failover, LISTS): %s",
			verbFor(len(p.Lists), "list", "stays", "stay"), p.Node, itThem(len(p.Lists)), some(p.Lists))))
	}
	if p.Lost && p.Single > 0 {
		b.WriteString("\n" + wrapped("", fmt.Sprintf("%s one copy of new mail only (delivery one): what was not merged yet is on the disk of %s and nowhere else.",
			verbFor(p.Single, "mailbox", "keeps", "keep"), p.Node)))
	}
	for _, r := range p.Refusals {
		how := "refused by"
		if r.Insisted {
			how = "done in spite of"
		}
		b.WriteString("\n" + wrapped("", fmt.Sprintf("%s %s: %s", how, r.Guard, r.Text)))
	}
	return b.String()
}

func (p *plan) title() string {
	way := []string{p.From}
	switch {
	case p.Verb == "out" && !p.Lost && p.From == "up":
		way = append(way, "draining")
	case p.Verb == "in" && p.From == "out":
		way = append(way, "returning")
	}
	if p.From != p.To {
		way = append(way, p.To)
	}
	name := p.Verb
	if p.Verb == "out" && p.Lost {
		name += " --lost"
	}
	return fmt.Sprintf("%s %s: %s", name, p.Node, strings.Join(way, " -> "))
}

// movesText is who goes where, by placement.
func (p *plan) movesText() string {
	const most = 12 // rows, lest the rest leaves the screen
	rows := [][]string{{"placement", "mailboxes", "sites", "go"}}
	for _, m := range p.Unserved {
		rows = append(rows, []string{clip(m.Placement, 30), fmt.Sprint(m.Mailboxes), fmt.Sprint(m.Sites), nodeOr(m.From) + " -> NOBODY"})
	}
	for i, m := range p.Moves {
		if i == most {
			rows = append(rows, []string{fmt.Sprintf("and %d more", len(p.Moves)-i)})
			break
		}
		rows = append(rows, []string{clip(m.Placement, 30), fmt.Sprint(m.Mailboxes), fmt.Sprint(m.Sites), nodeOr(m.From) + " -> " + m.To})
	}
	if len(rows) == 1 {
		return "Nobody moves.\n"
	}
	return table("", rows)
}

func nodeOr(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

// carriersText shows what the others carry: # now, + what comes, - what goes.
func (p *plan) carriersText() string {
	if len(p.Carriers) == 0 {
		return ""
	}
	whole := 1
	for _, c := range p.Carriers {
		whole = max(whole, c.Mailboxes, c.Then)
	}
	rows := [][]string{{"node", "mailboxes", "then", "", ""}}
	for _, c := range p.Carriers {
		stay, grow, shrink := min(c.Mailboxes, c.Then), max(0, c.Then-c.Mailboxes), max(0, c.Mailboxes-c.Then)
		health := "does not answer"
		if c.Answers {
			health = "answers"
			if c.Free >= 0 {
				health = fmt.Sprintf("%.0f%% of its disk free", c.Free)
			}
		}
		rows = append(rows, []string{c.Node, fmt.Sprint(c.Mailboxes), fmt.Sprint(c.Then),
			fmt.Sprintf("%-24s", bar(24, whole, part{stay, "#"}, part{grow, "+"}, part{shrink, "-"})), health})
	}
	return "\n" + table("", rows)
}

// verbFor is "1 list stays" or "2 lists stay".
func verbFor(n int, unit, one, many string) string {
	if n == 1 {
		return plural(n, unit) + " " + one
	}
	return plural(n, unit) + " " + many
}

func itThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
