package archiveprune

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/tests/prometheus"
)

// valueOf is that of the one metric with the name and these labels.
func valueOf(t *testing.T, all []prometheus.Sample, name string, labels ...string) float64 {
	t.Helper()
	var found []float64
	for _, m := range all {
		fits := m.Name == "rplan_archive_"+name
		for i := 0; i < len(labels); i += 2 {
			fits = fits && m.Labels[labels[i]] == labels[i+1]
		}
		if fits {
			found = append(found, m.Value)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s %q is there %d times", name, labels, len(found))
	}
	return found[0]
}

func TestMetrics(t *testing.T) {
	now := time.Unix(1795717800, 0)
	awkward := "a\"b\\c\nd{e=\"f\"} 1\xff\u00e9"
	const large = 27<<30 + 1
	all := prometheus.Samples(t, Metrics([]*Result{
		{Tree: "/srv/a", List: "dev", Layout: layout.Pipermail, Messages: 16124, Kinds: map[layout.Kind]Amount{layout.Mbox: {Bytes: 3 << 30}, layout.Page: {Files: 9, Bytes: large}},
			Goes: Amount{Files: 9, Bytes: 25 << 30}, Expired: Amount{Files: 4, Bytes: 1 << 30}, Freed: 24 << 30,
			Reasons: []Reason{{Why: "not in the mbox", Amount: Amount{Files: 7}}, {Why: "no date", Amount: Amount{Files: 2}}}},
		{Tree: "/srv/a", List: awkward, Layout: layout.MHonArc, Reasons: []Reason{{Why: awkward, Amount: Amount{Files: 1}}}, Err: errors.New("no")},
		{Tree: "/srv/b", List: "dev", Layout: layout.Mlmmj, Messages: 5},
		{Tree: "/srv/b", List: "dev", Layout: layout.Mlmmj, Messages: 6, Err: errors.New("no")},
	}, now))
	clean := strings.ToValidUTF8(awkward, "\uFFFD")
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{16124, "messages", []string{"tree", "/srv/a", "list", "dev", "layout", "pipermail"}},
		{3 << 30, "bytes", []string{"list", "dev", "kind", "mbox"}},
		{large, "bytes", []string{"list", "dev", "kind", "page"}},
		{24 << 30, "freed_bytes", []string{"tree", "/srv/a", "list", "dev"}},
		{26 << 30, "prunable_bytes", []string{"tree", "/srv/a", "list", "dev"}},
		{7, "kept_files", []string{"reason", "not in the mbox"}},
		{2, "kept_files", []string{"reason", "no date"}},
		{1, "kept_files", []string{"reason", clean, "list", clean}},
		{0, "failed", []string{"tree", "/srv/a", "list", "dev"}},
		{1, "failed", []string{"list", clean}},
		{11, "messages", []string{"tree", "/srv/b"}}, // two in one tree are one
		{1, "failed", []string{"tree", "/srv/b"}},
		{2, "failures", nil},
		{1795717800, "last_run_timestamp_seconds", nil},
	} {
		if got := valueOf(t, all, c.name, c.labels...); got != c.want {
			t.Errorf("%s %q is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	seen := map[string]bool{}
	for _, m := range all {
		series := fmt.Sprint(m.Name, m.Labels)
		if seen[series] {
			t.Errorf("%s is there twice", series)
		}
		seen[series] = true
	}
}

func TestMetricsOfNothing(t *testing.T) {
	all := prometheus.Samples(t, Metrics(nil, time.Unix(0, 0)))
	if len(all) != 2 || valueOf(t, all, "failures") != 0 {
		t.Errorf("%+v", all)
	}
}
