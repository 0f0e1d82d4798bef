package source

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

// What is told while reading are entries that were read, of one place at a time.
func TestProgress(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "%srplanState: up\nrplanVpnAddress: 10.77.0.1\n\n", node)
	for i := range 2*progressStep + 1 {
		fmt.Fprintf(&text, "dn: rplanDomainName=d%d.example,ou=domains,dc=example,dc=net\nobjectClass: rplanDomain\nrplanDomainName: d%d.example\n\n", i, i)
	}
	dir := t.TempDir()
	whole, cut := filepath.Join(dir, "whole.ldif"), filepath.Join(dir, "cut.ldif")
	for path, content := range map[string]string{whole: text.String(), cut: text.String() + "no LDIF"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := open(t, settings("ldif:"+cut, "ldif:"+whole))
	var told []int
	src.OnProgress = func(done int) { told = append(told, done) }
	r, err := src.Read(t.Context(), directory.Network{})
	if err != nil || len(r.Passed) != 1 {
		t.Fatalf("%v, passed %v", err, r)
	}
	if want := []int{progressStep, 2 * progressStep, progressStep, 2 * progressStep}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
