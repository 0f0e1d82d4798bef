package slapd

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func search(t *testing.T, conn *ldap.Conn, base string) int {
	t.Helper()
	result, err := conn.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return len(result.Entries)
}

func bind(t *testing.T, s *Server) *ldap.Conn {
	t.Helper()
	conn, err := s.Bind(s.RootDN, s.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// What was written survives a stop, a crash and a pause.
func TestLifecycle(t *testing.T) {
	s := Run(t, Options{LDIF: []string{Contrib("tree.ldif")}})
	if err := bind(t, s).Add(&ldap.AddRequest{DN: "ou=x," + s.BaseDN, Attributes: []ldap.Attribute{
		{Type: "objectClass", Vals: []string{"organizationalUnit"}}, {Type: "ou", Vals: []string{"x"}}}}); err != nil {
		t.Fatal(err)
	}
	url := s.URL()
	for _, end := range []func() error{s.Stop, s.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if s.PID() != 0 {
			t.Errorf("PID is %d after the end", s.PID())
		}
		if _, err := s.Bind("", ""); err == nil {
			t.Error("a dead server answers")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if s.URL() != url {
			t.Errorf("the address changed from %q to %q", url, s.URL())
		}
		if n := search(t, bind(t, s), "ou=x,"+s.BaseDN); n != 1 {
			t.Errorf("%d entries after a restart, want 1", n)
		}
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.answers(); err == nil {
		t.Error("a paused server answers")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := s.answers(); err != nil {
		t.Error(err)
	}
	// A paused server must not hang the end of a test.
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	schema := filepath.Join(dir, "x.schema")
	ldif := filepath.Join(dir, "x.ldif")
	write(t, schema, "attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'xQuota' SUP name )\n")
	write(t, ldif, "dn: o=other\nobjectClass: organization\no: other\n")
	s := Run(t, Options{Suffix: "o=other", RootDN: "cn=boss,o=other", RootPassword: "pw",
		LDIF: []string{ldif}, Schema: []string{schema}, MaxSize: 1 << 24, NoSync: true, SizeLimit: 1,
		Global: "idletimeout 600", Database: "index o eq"})
	if s.RootDN != "cn=boss,o=other" || s.BaseDN != "o=other" {
		t.Errorf("root is %q of %q", s.RootDN, s.BaseDN)
	}
	if n := search(t, bind(t, s), "o=other"); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	conn, err := s.Bind("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest("cn=Subschema", ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=*)", []string{"attributeTypes"}, nil))
	if err != nil || !strings.Contains(strings.Join(result.Entries[0].GetAttributeValues("attributeTypes"), "\n"), "xQuota") {
		t.Errorf("the extra schema is not loaded: %v", err)
	}
}

func TestTLS(t *testing.T) {
	cert, err := NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := cert.Pool()
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	s := Run(t, Options{TLS: cert, LDIF: []string{Contrib("tree.ldif")}})

	conn, err := ldap.DialURL(s.LDAPS(), ldap.DialWithTLSConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Errorf("bind by ldaps: %v", err)
	}

	plain, err := ldap.DialURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Bind(s.RootDN, s.RootPassword); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("bind without TLS: %v, want confidentiality required", err)
	}
	if err := plain.StartTLS(config); err != nil {
		t.Fatal(err)
	}
	if err := plain.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Errorf("bind after StartTLS: %v", err)
	}
	if _, err := s.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Errorf("bind on the local socket: %v", err)
	}
}

// A server that cannot start says why, and leaves nothing.
func TestNewFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ldif := filepath.Join(dir, "x.ldif")
	write(t, ldif, "dn: ou=x,"+Suffix+"\nobjectClass: nonsense\n")
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{Global: "nonsense on"}, "nonsense"},
		{Options{URLs: []string{"ldap://192.0.2.1:1"}}, "Cannot assign requested address"},
		{Options{LDIF: []string{ldif}}, "x.ldif"},
		{Options{Schema: []string{"/no/such.schema"}}, "/no/such.schema"},
	} {
		s, err := New(c.options)
		if err == nil {
			t.Errorf("%+v starts", c.options)
			_ = s.Close()
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %q, want %q in it", err, c.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "slapd*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
