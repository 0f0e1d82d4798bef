package failover

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/failover/merge"
)

// journal is what an interrupted change leaves for the run that goes on with
// it. Where it is lost, the state in the directory still says where to go on.
type journal struct {
	Verb    string       `json:"verb"`
	Node    string       `json:"node"`
	Lost    bool         `json:"lost"`
	Reason  string       `json:"reason"`
	By      string       `json:"by"`
	Started time.Time    `json:"started"`
	Step    string       `json:"step"`   // that was begun last
	Merged  merge.Report `json:"merged"` // so far

	path string // "" in a dry run: nothing is written
}

func journalPath(c *configuration, node string) string {
	return filepath.Join(c.failover.State, "change-"+node+".json")
}

// loadJournal is nil where no change was interrupted. One that cannot be read is as good as none.
func loadJournal(c *configuration, node string) *journal {
	path := journalPath(c, node)
	text, err := os.ReadFile(path)
	j := &journal{}
	if err != nil || json.Unmarshal(text, j) != nil || j.Node != node {
		return nil
	}
	j.path = path
	return j
}

// begin notes the step that comes next.
func (j *journal) begin(step string) error {
	j.Step = step
	if j.path == "" {
		return nil
	}
	text, err := json.MarshalIndent(j, "", " ")
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteFile(j.path, append(text, '\n'), 0o600)
	return err
}

// end forgets the change, as it is done.
func (j *journal) end() error {
	if j.path == "" {
		return nil
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diag.CantCreate.Errorf("removing the journal: %w", err)
	}
	return nil
}
