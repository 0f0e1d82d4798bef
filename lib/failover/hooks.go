package failover

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// hooks are run before and after each change of a state.
type hooks interface {
	run(ctx context.Context, when string, f hookFacts) error
}

// hookFacts are what a hook is told, as JSON on its standard input. The words
// that matter most are its arguments too: before or after, NODE FROM TO.
type hookFacts struct {
	When      string    `json:"when"`
	Verb      string    `json:"verb"`
	Node      string    `json:"node"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Lost      bool      `json:"lost"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
	Time      time.Time `json:"time"`
	Mailboxes int       `json:"mailboxes"` // that move
	Sites     int       `json:"sites"`
}

// hookDir are the executables of a directory, as run-parts(8) takes them.
type hookDir string

var hookName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

const hookTime = 2 * time.Minute

// run runs them in the order of their names. Before a change the first that
// fails is an error; after it, all are run.
func (d hookDir) run(ctx context.Context, when string, f hookFacts) error {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diag.Config.Errorf("hooks: %w", err)
	}
	f.When = when
	stdin, err := json.Marshal(f)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range entries {
		path := filepath.Join(string(d), e.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || !hookName.MatchString(e.Name()) {
			continue
		}
		if _, err := run.Run(ctx, run.Cmd{Argv: []string{path, when, f.Node, f.From, f.To}, Stdin: append(stdin, '\n'), Timeout: hookTime}); err != nil {
			failed = errors.Join(failed, err)
			if when == "before" {
				break
			}
		}
	}
	return failed
}
