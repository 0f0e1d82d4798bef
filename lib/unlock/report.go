package unlock

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"rplan/lib/diag"
)

// Report is what is printed for machines.
type Report struct {
	Node         string        `json:"node"`
	Where        string        `json:"where,omitempty"`
	Verdict      Verdict       `json:"verdict,omitempty"`
	Observations []Observation `json:"observations"`
	Disks        []Result      `json:"disks,omitempty"`
	Error        string        `json:"error,omitempty"` // of one node of several
}

// Result is what became of one disk.
type Result struct {
	Disk    string  `json:"disk"`
	Outcome Outcome `json:"outcome"`
}

// report prints the table, and is an error for a node that is suspicious.
func (c *command) report(r *Reading, verdict Verdict, all []Observation) error {
	c.result = Report{Node: c.Node, Where: r.Where, Verdict: verdict, Observations: all}
	switch {
	case c.JSON:
		if err := c.env.PrintJSON(c.result); err != nil {
			return err
		}
	case verdict != Clean || c.env.Terminal: // cron mails what is printed
		c.table(c.env.Stdout, r, verdict, all)
	}
	if verdict == Suspicious {
		return diag.Suspicious.Errorf("node %q is suspicious. No passphrase was sent", c.Node).
			WithHint("find out what the grave lines mean before anything else; --override WHY unlocks it all the same, and notes that its passphrases have to be replaced")
	}
	return nil
}

func (c *command) table(to io.Writer, r *Reading, verdict Verdict, all []Observation) {
	fmt.Fprintf(to, "node %s, in its %s: %s\n", c.Node, r.Where, strings.ToUpper(string(verdict)))
	observations(to, all)
}

// observations are printed with the gravest first.
func observations(to io.Writer, all []Observation) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Observation) int { return rank(b.Weight) - rank(a.Weight) })
	for _, o := range sorted {
		fmt.Fprintf(w, "%s\t%s\t%s\texpected: %s\n", o.Weight, o.What, o.Seen, o.Expected)
	}
	_ = w.Flush()
}

func rank(w Weight) int { return slices.Index([]Weight{Fine, Announced, Grave}, w) }

// sure has the admin type the name of the node, for which the question has a place.
func (c *command) sure(ctx context.Context, question string) error {
	env := c.env
	if c.shared != nil {
		c.shared.turn.Lock()
		defer c.shared.turn.Unlock()
		env = c.shared.env
	}
	sure, err := env.Confirm(ctx, fmt.Sprintf(question+" type %[1]q: ", c.Node), c.Node)
	if err == nil && !sure {
		err = diag.Refused.Errorf("you did not type %q: nothing was done", c.Node)
	}
	return err
}
