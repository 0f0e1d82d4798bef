// Package ldap tries contrib/ldap in real OpenLDAP servers.
package ldap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/slapd"
)

// base is that of contrib/ldap/tree.ldif.
const base = slapd.Suffix

// password is everybody's.
const password = "pw"

// hash is what slapd stores of it, the one form in which a mailbox may have it.
const hash = "{CRYPT}$6$0123456789abcdef$zAYvvEJcrKSqV2KUPTUM1K9eaGv20n9mUjWSDZW0QnwBRk0LSoTIT3PW7mCEa30acQuLwC1rnfhmbdGOSp.jX."

func node(name string) string    { return "rplanNodeName=" + name + ",ou=nodes," + base }
func service(name string) string { return "cn=" + name + ",ou=services," + base }
func mailbox(name string) string { return "rplanAddress=" + name + "@example.org,ou=mailboxes," + base }

// shipped is a file of contrib/ldap in which the admin has replaced what is
// to be replaced; pairs are what else to replace, as for strings.NewReplacer.
func shipped(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(slapd.Contrib(name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	pairs = append(pairs, "{REPLACE-ME}", hash)
	write(t, path, strings.NewReplacer(pairs...).Replace(string(text)))
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// directory is the example tree, its groups, and more nodes and a user.
func directory(t *testing.T) []string {
	t.Helper()
	return []string{shipped(t, "tree.ldif"), slapd.Contrib("groups.ldif"), "testdata/more.ldif"}
}

// bind ends the test when it fails; the connection ends with the test.
func bind(t *testing.T, s *slapd.Server, dn string) *ldap.Conn {
	t.Helper()
	secret := password
	if dn == s.RootDN {
		secret = s.RootPassword
	}
	conn, err := s.Bind(dn, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// view is all that a connection sees below a base: for each DN the lines
// "attribute: value", sorted. The operational attributes named are included.
func view(t *testing.T, conn *ldap.Conn, base string, operational ...string) map[string][]string {
	t.Helper()
	seen := map[string][]string{}
	result, err := conn.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=*)", append([]string{"*"}, operational...), nil))
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights) {
		return seen
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range result.Entries {
		lines := []string{}
		for _, attribute := range entry.Attributes {
			for _, value := range attribute.Values {
				lines = append(lines, attribute.Name+": "+value)
			}
		}
		slices.Sort(lines)
		seen[entry.DN] = lines
	}
	return seen
}

// modify replaces one attribute, or deletes it when no value is given.
func modify(conn *ldap.Conn, dn, attribute string, values ...string) error {
	request := ldap.NewModifyRequest(dn, nil)
	request.Replace(attribute, values)
	return conn.Modify(request)
}

func add(conn *ldap.Conn, name string) error {
	request := ldap.NewAddRequest(mailbox(name), nil)
	request.Attribute("objectClass", []string{"rplanMailbox"})
	request.Attribute("rplanAddress", []string{name + "@example.org"})
	request.Attribute("rplanPlacement", []string{"n1_n2"})
	return conn.Add(request)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, and says what it waited for in vain.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// removeData empties a database directory of slapd.
func removeData(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"data.mdb", "lock.mdb"} {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
}
