package archiveprune

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/archive"
)

// Who watches the numbers, or reads the JSON, is told of all that failed.
func TestFailuresAreCounted(t *testing.T) {
	p := newProofTree(t, 3, archive.PipermailOptions{})
	metrics := filepath.Join(t.TempDir(), "prune.prom")
	config := p.setting()
	toml, _ := os.ReadFile(config)
	missing := filepath.Join(t.TempDir(), "missing")
	os.WriteFile(config, []byte(strings.Replace(string(toml), "trees = [", `trees = ["`+missing+`", `, 1)), 0o600)

	results, err := p.run(Options{Config: config, Metrics: metrics})
	if diag.KindOf(err) != diag.Partial {
		t.Errorf("a tree that is missing: %v", err)
	}
	if len(results) != 2 || results[0].Tree != missing || results[0].Error == "" || results[1].List != "dev" || results[1].Error != "" {
		t.Errorf("JSON: %s", p.stdout.String())
	}
	if said := text(results, false); strings.Count(said, "\n") < 2 || strings.Contains(said, missing) {
		t.Errorf("report of lists:\n%s", said)
	}
	got, _ := os.ReadFile(metrics)
	if !strings.Contains(string(got), "rplan_archive_failures 1\n") {
		t.Errorf("metrics:\n%s", got)
	}
}

func TestEmptyJSON(t *testing.T) {
	p := newProofTree(t, 1, archive.PipermailOptions{})
	if _, err := p.run(Options{Args: []string{"other"}}); diag.KindOf(err) != diag.Usage {
		t.Error(err)
	}
	if got := strings.TrimSpace(p.stdout.String()); got != "[]" || text(nil, false) != "" {
		t.Errorf("without a list: %s", got)
	}
	if _, err := p.run(Options{KeepHTML: "0"}); err != nil {
		t.Error(err)
	}
	if got := p.stdout.String(); strings.Contains(got, "null") {
		t.Errorf("null: %s", got)
	}
}
