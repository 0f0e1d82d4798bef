package archiveprune

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/tests/need"
)

// asPrometheus reads a text file with the parser of Prometheus' client for Python, which raises at
// what is no metric, and prints "name labels value" in the order of the file.
const asPrometheus = `import json, sys
from prometheus_client.parser import text_fd_to_metric_families
rows = []
for family in text_fd_to_metric_families(sys.stdin):
    assert family.type == "gauge" and family.documentation, family
    for s in family.samples:
        rows.append([s.name, s.labels, s.value])
json.dump(rows, sys.stdout)
`

// metric is one, as the parser read it.
type metric struct {
	name   string
	labels map[string]string
	value  float64
}

func parsed(t *testing.T, text []byte) (all []metric) {
	t.Helper()
	python := need.Program(t, "/usr/bin/python3") // Debian's, which has Debian's modules
	need.File(t, "/usr/lib/python3/dist-packages/prometheus_client/parser.py")
	cmd := exec.Command(python, "-I", "-c", asPrometheus)
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s\n%s", exit.Stderr, text)
	} else if err != nil {
		t.Fatal(err)
	}
	var rows [][3]json.RawMessage
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		var m metric
		for i, to := range []any{&m.name, &m.labels, &m.value} {
			if err := json.Unmarshal(row[i], to); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, m)
	}
	return all
}

// valueOf is that of the one metric with the name and these labels.
func valueOf(t *testing.T, all []metric, name string, labels ...string) float64 {
	t.Helper()
	var found []float64
	for _, m := range all {
		fits := m.name == "rplan_archive_"+name
		for i := 0; i < len(labels); i += 2 {
			fits = fits && m.labels[labels[i]] == labels[i+1]
		}
		if fits {
			found = append(found, m.value)
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
	all := parsed(t, Metrics([]*Result{
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
		series := fmt.Sprint(m.name, m.labels)
		if seen[series] {
			t.Errorf("%s is there twice", series)
		}
		seen[series] = true
	}
}

func TestMetricsOfNothing(t *testing.T) {
	all := parsed(t, Metrics(nil, time.Unix(0, 0)))
	if len(all) != 2 || valueOf(t, all, "failures") != 0 {
		t.Errorf("%+v", all)
	}
}
