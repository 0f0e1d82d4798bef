package source

import (
	"bytes"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestCanonicalDN(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"ou=nodes,dc=example,dc=net", "OU=Nodes, DC = Example ,dc=net"},
		{`cn=a\,b,dc=x`, `cn=a\2Cb,dc=x`},
		{`cn=a\,b,dc=x`, `cn=a\2cb,dc=x`},
		{`cn=a\+b+sn=c,dc=x`, `CN = a\2Bb + SN = C,dc=x`},
		{`cn=\ a\ ,dc=x`, `cn= \20a\20 ,dc=x`},
		{`cn=a b,dc=x`, `cn=a\20b , dc=x`},
		{`cn=\41,dc=x`, `cn=a,dc=x`},
		{`cn=a=b,dc=x`, `cn=a\=b,dc=x`},
	} {
		if a, b := canonicalDN(nil, c.a), canonicalDN(nil, c.b); !bytes.Equal(a, b) {
			t.Errorf("%q becomes %q, %q becomes %q", c.a, a, c.b, b)
		}
	}
	for _, c := range []struct{ a, b string }{
		{`cn=a\,dc=x`, `cn=a,dc=x`}, {`cn=a+b=c`, `cn=a\+b=c`}, {"cn=a", "cn=b"}, {`cn=a\ `, "cn=a"}, {"cn=a,", "cn=a"},
	} {
		if a, b := canonicalDN(nil, c.a), canonicalDN(nil, c.b); bytes.Equal(a, b) {
			t.Errorf("%q and %q both become %q", c.a, c.b, a)
		}
	}
}

func TestInScope(t *testing.T) {
	for _, c := range []struct {
		dn, base       string
		self, one, sub bool
	}{
		{"ou=x,dc=net", "ou=x,dc=net", true, false, true},
		{"OU=X, DC=NET", "ou=x,dc=net", true, false, true},
		{"cn=a,ou=x,dc=net", "ou=x,dc=net", false, true, true},
		{"cn=a+sn=b,ou=x,dc=net", "ou=x,dc=net", false, true, true},
		{`cn=a\,b,ou=x,dc=net`, "ou=x,dc=net", false, true, true},
		{"cn=b,cn=a,ou=x,dc=net", "ou=x,dc=net", false, false, true},
		{"cn=aou=x,dc=net", "ou=x,dc=net", false, false, false},
		{`cn=a\,ou=x,dc=net`, "ou=x,dc=net", false, false, false},
		{"dc=net", "ou=x,dc=net", false, false, false},
		{"dc=net", "", false, true, true},
		{"ou=x,dc=net", "", false, false, true},
	} {
		dn, base := canonicalDN(nil, c.dn), canonicalDN(nil, c.base)
		for scope, want := range []bool{c.self, c.one, c.sub} {
			if got := inScope(dn, base, byte(scope)); got != want {
				t.Errorf("%q in %q, scope %d: %v", c.dn, c.base, scope, got)
			}
		}
	}
}

// The canonical form is its own, and DNs that go-ldap finds equal have the same.
func FuzzDN(f *testing.F) {
	f.Add("cn=a\\2C,DC=x", "CN=a\\,,dc=X")
	f.Add("cn= a + sn=b ,dc=x", "cn=a+sn=b,dc=x")
	f.Add("\\", "cn=\\20")
	f.Fuzz(func(t *testing.T, a, b string) {
		once := canonicalDN(nil, a)
		if twice := canonicalDN(nil, once); !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q becomes %q", a, once, twice)
		}
		x, errX := ldap.ParseDN(a)
		y, errY := ldap.ParseDN(b)
		if errX != nil || errY != nil || !bytes.Equal(once, canonicalDN(nil, b)) {
			return
		}
		if !x.EqualFold(y) {
			t.Fatalf("%q and %q are not equal, and both become %q", a, b, once)
		}
	})
}
