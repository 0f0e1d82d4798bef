package judge

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Table prints verdicts, one a line.
func Table(w io.Writer, verdicts ...*Verdict) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\tseed\tsent\taccepted\tacts\tlost\tdoubled\tfiled\tback\tflags\tfolders\tdamaged\tsides\t"+
		"logins refused\tunavailable\tunreachable\tbroken\tworked\toutage\tpages failed\tseconds\t")
	for _, v := range verdicts {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t", v.Scenario, v.Seed, v.Sent, v.Accepted, v.Acts)
		for _, found := range v.findings() {
			fmt.Fprintf(t, "%d\t", len(found.all))
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%.0f\t%d of %d\t%.0f\t\n", v.Refused, v.Unavailable, v.Unreachable, v.Broken, v.Worked,
			v.Outage.Took.Seconds(), v.PagesFailed, v.Pages, v.Took.Seconds())
	}
	return t.Flush()
}

// JSON prints verdicts with all they found, one a line.
func JSON(w io.Writer, verdicts ...*Verdict) error {
	e := json.NewEncoder(w)
	for _, v := range verdicts {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

type findings struct {
	name string
	all  []Finding
}

func (v *Verdict) findings() []findings {
	return []findings{{"lost", v.Lost}, {"doubled", v.Doubled}, {"filed", v.Filed}, {"resurrected", v.Resurrected}, {"flags", v.Flags},
		{"folders", v.Folders}, {"damaged", v.Damaged}, {"sides", v.Sides}}
}

// Details are the first findings of each kind, one a line.
func (v *Verdict) Details(most int) string {
	var b strings.Builder
	for _, found := range v.findings() {
		for i, f := range found.all {
			if i == most {
				fmt.Fprintf(&b, "%s: and %d more\n", found.name, len(found.all)-most)
				break
			}
			fmt.Fprintf(&b, "%s: %s\n", found.name, f)
		}
	}
	return b.String()
}

// Histories tell how some of the findings that are about one side came to be.
func (v *Verdict) Histories(l *Ledger, most int) string {
	var b strings.Builder
	for _, found := range v.findings() {
		for i, f := range found.all {
			if i == most || found.name == "sides" {
				break
			}
			fmt.Fprintf(&b, "%s: %s\n", found.name, f)
			for _, e := range l.History(f) {
				fmt.Fprintf(&b, "    %s\n", e)
			}
		}
	}
	return b.String()
}

// Limits are how many findings of a kind a scenario may have, and how many seconds an
// outage may last; what it does not name must be 0. A negative number is no limit.
// Of "acts", and of tries that "worked", it says how many there must be at least.
type Limits map[string]int

// Wrong is what the verdict holds against the collective, or "".
func (v *Verdict) Wrong(l Limits) string {
	var wrong []string
	for _, found := range v.findings() {
		if limit := l[found.name]; limit >= 0 && len(found.all) > limit {
			wrong = append(wrong, fmt.Sprintf("%d %s", len(found.all), found.name))
		}
	}
	for name, count := range map[string]int{"refused": v.Refused, "unavailable": v.Unavailable, "rejected": v.Rejected, "pages": v.PagesFailed} {
		if limit := l[name]; limit >= 0 && count > limit {
			wrong = append(wrong, fmt.Sprintf("%d %s", count, name))
		}
	}
	if limit := l["outage"]; limit >= 0 && v.Outage.Took > time.Duration(limit)*time.Second {
		wrong = append(wrong, fmt.Sprintf("an outage of %.1f s for %s", v.Outage.Took.Seconds(), v.Outage.User))
	}
	for name, count := range map[string]int{"acts": v.Acts, "worked": v.Worked} {
		if count < l[name] {
			wrong = append(wrong, fmt.Sprintf("only %d %s", count, name))
		}
	}
	slices.Sort(wrong)
	return strings.Join(wrong, ", ")
}
