package failover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"rplan/tests/judge"
	"rplan/tests/lab"
	"rplan/tests/need"
)

type scenario struct {
	name string
	run  func(*world)
}

// scenarios are those that `make test` tries, and `make soak` in long versions.
var scenarios = []scenario{
	{"planned", planned},
	{"lost", lost},
	{"empty disk", emptyDisk},
	{"stale replica", staleReplica},
	{"wrong clock", wrongClock},
	{"stale maps", staleMaps},
	{"kills out", killsOut},
	{"kills lost", killsLost},
	{"kills in", killsIn},
	{"kills sync", killsSync},
	{"full disk", fullDisk},
	{"guards", guards},
}

// chosen are all, or the one that RPLAN_SCENARIO names.
func chosen(t *testing.T) []scenario {
	only := os.Getenv("RPLAN_SCENARIO")
	list := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return only != "" && s.name != only })
	if len(list) == 0 {
		t.Fatalf("RPLAN_SCENARIO: there is no scenario %q", only)
	}
	return list
}

// TestScenarios kills at every step, not at some, if RPLAN_EVERY is set.
func TestScenarios(t *testing.T) {
	programs, size := build(t), short
	size.every = os.Getenv("RPLAN_EVERY") != ""
	for _, s := range chosen(t) {
		t.Run(s.name, func(t *testing.T) { s.run(newWorld(t, programs, size, seed(t))) })
	}
}

// TestSoak goes through the long scenarios again and again, for as many minutes as RPLAN_SOAK says.
func TestSoak(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("RPLAN_SOAK"), 64)
	if err != nil {
		t.Skip("RPLAN_SOAK is no number of minutes; see make soak")
	}
	programs, scenarios := build(t), chosen(t)
	first := int(seed(t) % uint64(len(scenarios))) // or the last would have no turn
	t.Logf("%q is first", scenarios[first].name)
	var verdicts []*judge.Verdict
	for i, end := first, time.Now().Add(time.Duration(minutes*float64(time.Minute))); time.Now().Before(end); i++ {
		s := scenarios[i%len(scenarios)]
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t, programs, long, seed(t))
			defer func() { verdicts = append(verdicts, w.verdicts...) }()
			s.run(w)
		})
	}
	if err := judge.Table(os.Stdout, verdicts...); err != nil {
		t.Error(err)
	}
	if path := os.Getenv("RPLAN_VERDICTS"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := judge.JSON(f, verdicts...); err != nil {
			t.Error(err)
		}
	}
}

// seed is RPLAN_SEED, to see a run again, or another each time.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("RPLAN_SEED")
	if text == "" {
		return uint64(rand.Uint32())
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("RPLAN_SEED: %w", err))
	}
	return number
}

// build makes the programs, which all scenarios share.
func build(t *testing.T) string {
	t.Helper()
	lab.Need(t)
	need.File(t, "../../cmd/rp-failover")
	programs := t.TempDir()
	if err := lab.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	need.File(t, filepath.Join(programs, "rp-failover"))
	return programs
}
