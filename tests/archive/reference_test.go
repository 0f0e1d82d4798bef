package archive

import (
	"bytes"
	"math"
	"testing"
	"time"
)

func TestReference(t *testing.T) {
	dir, want := t.TempDir(), int64(1<<20)
	began := time.Now()
	tree, s, err := Reference(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KB of mbox, %d KB of HTML, %d KB of disk, %d files in %v", s.Mbox>>10, s.HTML>>10, s.Disk>>10, s.Files, time.Since(began))
	if ratio := float64(s.HTML) / float64(s.Mbox); math.Abs(ratio-9) > 0.6 {
		t.Errorf("the ratio is %.1f", ratio)
	}
	if off := float64(s.Mbox)/float64(want) - 1; math.Abs(off) > 0.05 {
		t.Errorf("the mbox is %.0f %% too large", 100*off)
	}
	if n := goMbox(t, bytes.NewReader(read(t, dir, tree.Mbox))); n != len(tree.Pages) || s.Files < n {
		t.Errorf("%d mails, %d pages, %d files", n, len(tree.Pages), s.Files)
	}
}
