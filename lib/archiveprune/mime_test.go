package archiveprune

import (
	"runtime"
	"strings"
	"testing"

	"rplan/tests/archive"
)

// Attachments are sought in each message: one that is all header must not fill the memory.
func TestPartsOfAMessageThatIsAllHeader(t *testing.T) {
	p := newProofTree(t, 40, archive.PipermailOptions{})
	if len(p.Files) == 0 {
		t.Fatal("no attachments")
	}
	p.add(p.Mbox, "From a@example.org  Thu Nov 26 11:00:00 2026\nX-Long: "+strings.Repeat("x", 64<<20)+"\n\nbody\n\n")
	before := allocated()
	stays := p.stays(Options{})
	if used := allocated() - before; used > 40<<20 {
		t.Errorf("it took %d MB", used>>20)
	}
	for _, file := range p.Files {
		if _, is := stays[p.in(file.Path)]; is == file.Exact {
			t.Errorf("%s stays: %v", file.Path, is)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
