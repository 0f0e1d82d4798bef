package archiveprune

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
)

// mhonarcProof has a list's pages by MHonArc beside its mbox; attachments are in a directory for each page.
func mhonarcProof(t *testing.T, m archive.Make) (*proofTree, *archive.MHonArcTree) {
	t.Helper()
	p := &proofTree{PipermailTree: &archive.PipermailTree{Mbox: "dev.mbox", HTML: "dev"}, t: t, path: t.TempDir(), now: proofDay}
	f, err := os.Create(filepath.Join(p.path, "dev.mbox"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := archive.WriteMbox(f, m.Mails(), archive.Mangled); err != nil {
		t.Fatal(err)
	}
	return p, archive.MHonArc(t, f.Name(), filepath.Join(p.path, "dev"), archive.MHonArcOptions{Named: true})
}

// A page that stays keeps its attachments, also where the page leads to a directory of them.
func TestAttachmentsOfAPageThatStays(t *testing.T) {
	p, made := mhonarcProof(t, archive.Make{Seed: 4, N: 60, Plain: true, Every: 24 * time.Hour})
	if len(made.Files) < 3 {
		t.Fatalf("only %d attachments", len(made.Files))
	}
	its := made.Files[0]
	page := "dev/" + filepath.Dir(its) + ".html"
	p.change(page, func(old []byte) []byte {
		return bytes.Replace(old, []byte("<!--X-Message-Id: "), []byte("<!--X-Message-Id: not"), 1)
	})
	stays := p.stays(Options{})
	if stays[page] != whyUnproven {
		t.Fatalf("page %q stays as %q", page, stays[page])
	}
	for _, file := range made.Files {
		want := ""
		if strings.HasPrefix(file, filepath.Dir(its)+"/") {
			want = whyLinked
		}
		if got := stays["dev/"+file]; got != want {
			t.Errorf("%s stays as %q, not as %q", file, got, want)
		}
	}
}
