package render

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestAddressOwners(t *testing.T) {
	const zone = `$TTL 300
@	MX 10 mail
	IN A 192.0.2.1
www 300 IN CNAME @ ; comment
Mail.Example.ORG. IN 1h aaaa 2001:db8::1
text TXT "; A ( " ; A
	60 A 192.0.2.2
wide ( 
  IN A
  192.0.2.3 )
key TXT ( "a"
A A A )
esc\;aped TXT x
only TXT A
$ORIGIN sub.example.org.
x A 192.0.2.4
$ORIGIN deep
y CNAME x
$INCLUDE other A
last	A	192.0.2.5`
	got := slices.Sorted(maps.Keys(addressOwners([]byte(zone), "example.org")))
	want := []string{"example.org", "last.deep.sub.example.org", "mail.example.org", "text.example.org", "wide.example.org",
		"www.example.org", "x.sub.example.org", "y.deep.sub.example.org"}
	if !slices.Equal(got, want) {
		t.Errorf("owners are %q, want %q", got, want)
	}
}

func FuzzAddressOwners(f *testing.F) {
	for _, seed := range []string{"", "a A 1", " A", "$ORIGIN", "a ( A", ")))", "\"", "\\", "a\\", "@ 1 IN A", "$ORIGIN .\na A x", "a IN", "a \x00 A"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for owner := range addressOwners(text, "example.org") {
			if owner != strings.ToLower(owner) {
				t.Errorf("owner %q is not in lower case", owner)
			}
		}
	})
}
