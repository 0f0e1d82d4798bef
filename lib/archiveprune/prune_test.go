package archiveprune

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/tests/archive"
)

// links.txt is for the web server, and so for everybody on the machine: it names no messages of a list
// whose pages not everybody may read.
func TestLinksOfAPrivateList(t *testing.T) {
	for mode, public := range map[os.FileMode]bool{0o775: true, 0o770: false} {
		p := newProofTree(t, 3, archive.PipermailOptions{})
		if err := os.Chmod(p.file(p.HTML), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := p.run(Options{Apply: true}); err != nil {
			t.Fatal(err)
		}
		page := p.Pages[1]
		links, err := os.ReadFile(filepath.Join(p.path, ".rplan/links.txt"))
		if err != nil || !strings.Contains(string(links), p.in(page.Path)+" ") {
			t.Fatalf("%v:\n%s", err, links)
		}
		if strings.Contains(string(links), page.ID) != public {
			t.Errorf("mode %o: links.txt:\n%s", mode, links)
		}
		memory, err := os.ReadFile(filepath.Join(p.path, ".rplan/links.tsv"))
		if err != nil || !strings.Contains(string(memory), "\t"+p.in(p.Mbox)+"\t") {
			t.Errorf("mode %o: %v:\n%s", mode, err, memory)
		}
	}
}
