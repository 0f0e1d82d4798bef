package archiveprune

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/archiveprune/layout"
	"rplan/tests/archive"
)

func TestReportOfWhatFailed(t *testing.T) {
	r := &Result{List: "dev\x1b[2J", Layout: layout.Pipermail, Goes: Amount{3, 3_000_000}, Expired: Amount{1, 5_000_000}, Freed: 1_000_000,
		Error: "it \x1b[2J failed", Damage: []string{"dev\x1b[2J.mbox: broken"}}
	would, did := text([]*Result{r}, false), text([]*Result{r}, true)
	if !strings.Contains(would, "8000 KB") || strings.Contains(did, "8000 KB") || !strings.Contains(did, "1000 KB") {
		t.Errorf("what went is not what would go:\n%s\n%s", would, did)
	}
	if strings.Contains(would, "\x1b") {
		t.Errorf("it steers the terminal: %q", would)
	}
}

// "There is no mbox" would be hard to believe where a symlink to one is.
func TestReportOfASymlinkedMbox(t *testing.T) {
	p := newProofTree(t, 2, archive.PipermailOptions{})
	away := filepath.Join(t.TempDir(), "dev.mbox")
	if err := errors.Join(os.Rename(p.file(p.Mbox), away), os.Symlink(away, p.file(p.Mbox))); err != nil {
		t.Fatal(err)
	}
	results, err := p.run(Options{})
	if err != nil || len(results) != 1 || results[0].Goes.Files > 0 {
		t.Fatalf("%v: %s", err, p.stdout.Bytes())
	}
	if said := text(results, false); !strings.Contains(said, "dev.mbox/dev.mbox: a symlink to ") || !strings.Contains(said, whyNoSource) {
		t.Errorf("report:\n%s", said)
	}
}
