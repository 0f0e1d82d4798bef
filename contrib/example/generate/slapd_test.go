package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/slapd"
)

// slapadd checks every entry against the schema.
func TestSlapd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reference.ldif")
	if err := os.WriteFile(file, text(t, reference), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../collective.ldif", file} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := slapd.Run(t, slapd.Options{LDIF: []string{path}, NoSync: true})
		conn, err := s.Bind(s.RootDN, s.RootPassword)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		result, err := conn.Search(ldap.NewSearchRequest(s.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
			0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(want, []byte("\ndn: ")); len(result.Entries) < n {
			t.Errorf("%s: %d entries of %d", path, len(result.Entries), n)
		}
	}
}
