package archive

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMHonArcShowsEachIDOnce(t *testing.T) {
	t.Parallel()
	mails := collect(t, Make{Seed: 50, N: all})
	mbox, _ := write(t, mails, Mangled)
	out := t.TempDir()
	tree := MHonArc(t, mbox, out, MHonArcOptions{})
	want, nameless := map[string]bool{}, 0
	for _, m := range mails {
		if m.ID == "" {
			nameless++
		} else {
			want[m.ID] = true
		}
	}
	shown := slices.Sorted(maps.Values(tree.Pages))
	for _, id := range shown {
		if strings.HasSuffix(id, "@NO-ID-FOUND.mhonarc.org") {
			nameless--
		} else if !want[id] {
			t.Errorf("a page shows %q", id)
		}
		delete(want, id)
	}
	if len(want) != 0 || nameless != 0 || len(slices.Compact(shown)) != len(tree.Pages) {
		t.Errorf("no page shows %v; %d mails without ID are not shown", want, nameless)
	}
	if len(tree.Other) != 3 {
		t.Errorf("beside the pages there is %v", tree.Other)
	}
	seen := map[string]bool{"": false}
	left := map[string]int{} // attachments that are not found, by their bytes
	for _, m := range mails {
		for _, a := range m.Attachments {
			if !seen[m.ID] && !strings.HasPrefix(a.Type, "text/") && a.Type != "message/rfc822" {
				left[string(a.Data)]++
			}
		}
		seen[m.ID] = m.ID != ""
	}
	for _, name := range tree.Files {
		left[string(read(t, out, name))]--
	}
	for data, n := range left {
		if n != 0 {
			t.Errorf("an attachment of %d bytes: %d files too few", len(data), n)
		}
	}
}

// In an unmangled mbox a text can begin a page.
func TestMHonArcSplits(t *testing.T) {
	for _, wart := range []string{"from line after an empty line", "from line in a paragraph", "from line like a real one", "from line first in the body"} {
		mails := collect(t, Make{Seed: 54, N: 1, Only: wart, Bare: true})
		for _, q := range []Quoting{Mangled, Unmangled} {
			mbox, _ := write(t, mails, q)
			if n := len(MHonArc(t, mbox, t.TempDir(), MHonArcOptions{}).Pages); n != 1+int(q) {
				t.Errorf("%q, quoted as %d: %d pages of one mail", wart, q, n)
			}
		}
	}
}

// made are the files that MHonArc makes of mails, but for its database.
func made(t *testing.T, mails []Mail, o MHonArcOptions) map[string]string {
	t.Helper()
	mbox, _ := write(t, mails, Mangled)
	out := filepath.Join(t.TempDir(), "out")
	MHonArc(t, mbox, out, o)
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(out), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && name != ".mhonarc.db" {
			files[name] = string(read(t, out, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestMHonArcMakesTheSameAgain(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		make Make
		o    MHonArcOptions
		same bool
	}{
		{"no attachments", Make{Seed: 51, N: 20, Bare: true, Plain: true}, MHonArcOptions{}, true},
		{"attachments", Make{Seed: 51, N: 20, Plain: true}, MHonArcOptions{}, false},
		{"named attachments", Make{Seed: 51, N: all}, MHonArcOptions{Named: true}, true},
	} {
		mails := collect(t, x.make)
		first, again := made(t, mails, x.o), made(t, mails, x.o)
		if maps.Equal(first, again) != x.same {
			for name := range first {
				if again[name] != first[name] {
					t.Logf("%s differs", name)
				}
			}
			t.Errorf("%s: the same files: %v, and it used to be %v", x.name, !x.same, x.same)
		}
	}
	alike := collect(t, Make{Seed: 52, N: 1, Only: "attachments alike"})
	n := 0
	for name, b := range made(t, alike, MHonArcOptions{Named: true}) {
		if strings.Contains(name, "/") {
			if n++; b != string(alike[0].Attachments[2].Data) {
				t.Errorf("%s is not the last", name)
			}
		}
	}
	if n != 1 {
		t.Errorf("three attachments of one name are %d files", n)
	}
}

// With the order of Perl's hashes fixed even the database is the same.
func TestMHonArcDatabase(t *testing.T) {
	t.Setenv("PERL_HASH_SEED", "0")
	mbox, _ := write(t, collect(t, Make{Seed: 53, N: 30, Plain: true}), Mangled)
	var dbs [][]byte
	for range 2 {
		out := t.TempDir()
		MHonArc(t, mbox, out, MHonArcOptions{Named: true})
		dbs = append(dbs, read(t, out, ".mhonarc.db"))
	}
	if !bytes.Equal(dbs[0], dbs[1]) {
		t.Error("two databases of one mbox differ")
	}
}
