package archiveprune

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// family is one metric, as a text file for Prometheus has it.
type family struct {
	name, help string
	values     map[string]float64 // by labels
}

func newFamily(name, help string) *family { return &family{name, help, map[string]float64{}} }

// add sums up: two archives of one list in one tree are one to whom looks at the numbers.
func (f *family) add(value float64, labels ...string) {
	var b strings.Builder
	for i := 0; i < len(labels); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s="%s"`, labels[i], labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")))
	}
	f.values[b.String()] += value
}

// labelEscapes are those of the text format: names of lists are of directories, and so may be anything.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Metrics are the results of a run that ended now, in the text format of
// Prometheus (exposition format 0.0.4), for node_exporter's textfile collector.
func Metrics(results []*Result, now time.Time) []byte {
	messages := newFamily("messages", "Messages in the archive.")
	size := newFamily("bytes", "Size of the archive before the run, by what the files are for.")
	freed := newFamily("freed_bytes", "Bytes that the last run took out of the archive, into the trash or for good.")
	goes := newFamily("prunable_bytes", "Bytes of pages and messages that went, or in a report would go.")
	kept := newFamily("kept_files", "Files that are no messages and stay, by why.")
	failed := newFamily("failed", "1 where nothing, or not all, was done, else 0.")
	failures := newFamily("failures", "Archives where nothing, or not all, was done.")
	last := newFamily("last_run_timestamp_seconds", "When the last run ended.")

	failures.add(0)
	last.add(float64(now.Unix()))
	for _, r := range results {
		of := []string{"tree", r.Tree, "list", r.List, "layout", string(r.Layout)}
		messages.add(float64(r.Messages), of...)
		for kind, amount := range r.Kinds {
			size.add(float64(amount.Bytes), append(slices.Clone(of), "kind", string(kind))...)
		}
		freed.add(float64(r.Freed), of...)
		goes.add(float64(r.Goes.Bytes+r.Expired.Bytes), of...)
		for _, reason := range r.Reasons {
			kept.add(float64(reason.Files), append(slices.Clone(of), "reason", reason.Why)...)
		}
		failed.add(0, of...)
		if r.Err != nil {
			failures.add(1)
			failed.add(1, of...)
		}
	}
	var b strings.Builder
	for _, f := range []*family{messages, size, freed, goes, kept, failed, failures, last} {
		f.write(&b)
	}
	return []byte(b.String())
}

// write leaves out a family without values, which some readers take amiss.
func (f *family) write(b *strings.Builder) {
	if len(f.values) == 0 {
		return
	}
	name := "rplan_archive_" + f.name
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, f.help, name)
	for _, labels := range slices.Sorted(maps.Keys(f.values)) {
		value := fmt.Sprintf("%.0f", f.values[labels])
		if labels == "" {
			fmt.Fprintf(b, "%s %s\n", name, value)
		} else {
			fmt.Fprintf(b, "%s{%s} %s\n", name, labels, value)
		}
	}
}
