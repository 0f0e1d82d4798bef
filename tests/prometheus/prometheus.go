// Package prometheus reads text files of metrics as Prometheus does.
package prometheus

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"rplan/tests/need"
)

// reader is the parser of Prometheus' client for Python, which raises at what is no metric. It prints
// "name labels value" in the order of the file.
const reader = `import json, sys
from prometheus_client.parser import text_fd_to_metric_families
rows = []
for family in text_fd_to_metric_families(sys.stdin):
    assert family.type == "gauge" and family.documentation, family
    for s in family.samples:
        rows.append({"Name": s.name, "Labels": s.labels, "Value": s.value})
json.dump(rows, sys.stdout)
`

// Sample is one metric.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Samples are those of a text, all of which must be gauges with a line of help.
func Samples(t testing.TB, text []byte) (all []Sample) {
	t.Helper()
	python := need.Program(t, "/usr/bin/python3") // Debian's, which has Debian's modules
	need.File(t, "/usr/lib/python3/dist-packages/prometheus_client/parser.py")
	cmd := exec.Command(python, "-I", "-c", reader)
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s\n%s", exit.Stderr, text)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}
