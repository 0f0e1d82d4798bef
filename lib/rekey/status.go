package rekey

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rplan/lib/store"
)

// Report is what status says.
type Report struct {
	ID     string    `json:"id"`
	Epoch  int       `json:"epoch"`
	Date   time.Time `json:"date"`
	By     string    `json:"by"`
	Admins []admin   `json:"admins"`
	Disks  []sealing `json:"disks"`
}

type admin struct {
	Name        string `json:"name"`
	Recipients  int    `json:"recipients"`
	Fingerprint string `json:"fingerprint,omitempty"` // of the key that signs
}

type sealing struct {
	Node     string   `json:"node"`
	Disk     string   `json:"disk"`
	Admins   []string `json:"admins"`
	State    string   `json:"state"` // see the constants
	Enrolled bool     `json:"enrolled"`
}

const (
	isSealed  = "sealed"
	notSealed = "none"
	notForAll = "not for all" // who may open it
	forOthers = "for others"  // too: rp-rekey seal seals it anew
)

// status says who and what is in the store, and what is left to do.
func (c *command) status(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	r := report(s)
	if c.JSON {
		return c.env.PrintJSON(r)
	}
	fmt.Fprintf(c.env.Stdout, "store %s, epoch %d, signed by %s on %s\n\n", r.ID, r.Epoch, r.By, r.Date.Local().Format("2 January 2006 15:04"))
	w := tabwriter.NewWriter(c.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADMIN\tRECIPIENTS\tSIGNS WITH")
	for _, a := range r.Admins {
		fmt.Fprintf(w, "%s\t%d\t%s\n", a.Name, a.Recipients, cmp.Or(a.Fingerprint, "-"))
	}
	if len(r.Disks) > 0 {
		fmt.Fprintln(w, "\nNODE\tDISK\tPASSPHRASE\tENROLLED\tADMINS")
	}
	for _, d := range r.Disks {
		enrolled := "no"
		if d.Enrolled {
			enrolled = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Node, d.Disk, d.State, enrolled, strings.Join(d.Admins, " "))
	}
	return w.Flush()
}

// contains says whether all of some are among all.
func contains(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func report(s *store.Store) *Report {
	r := &Report{ID: s.ID(), Epoch: s.Epoch, Date: s.Date, By: s.By, Admins: []admin{}, Disks: []sealing{}}
	prints := map[string]string{}
	for _, signer := range s.Signers() {
		prints[signer.Admin] = signer.Fingerprint()
	}
	for _, name := range slices.Sorted(maps.Keys(s.Admins)) {
		r.Admins = append(r.Admins, admin{name, len(s.Admins[name].Recipients), prints[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		n := s.Nodes[name]
		for i := range n.Disks {
			d := &n.Disks[i]
			state := isSealed
			if file, have := s.Sealed(name, d.Name); file == nil {
				state = notSealed
			} else if want := recipientsOf(s, d); !contains(have, want) {
				state = notForAll
			} else if !contains(want, have) {
				state = forOthers
			}
			r.Disks = append(r.Disks, sealing{name, d.Name, d.Admins, state, s.Baseline(name) != nil})
		}
	}
	return r
}
