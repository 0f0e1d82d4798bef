package render

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"rplan/lib/directory"
)

// dnsRecord makes a record of "kind value value", a field each; values of one field are joined with ",".
func dnsRecord(kind directory.Kind, fields ...string) *directory.Record {
	r := &directory.Record{}
	r.Reset(kind)
	r.DN = []byte("rplan=" + fields[0])
	for i, field := range fields {
		for value := range strings.SplitSeq(field, ",") {
			if value != "" {
				r.Values[i] = append(r.Values[i], []byte(value))
			}
		}
	}
	return r
}

func dnsInput(t *testing.T, states [3]string, more ...*directory.Record) *Input {
	t.Helper()
	network := directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}
	b := directory.NewBuilder(network)
	for _, r := range append([]*directory.Record{
		dnsRecord(directory.KindNode, "n1", states[0], "10.77.0.1", "192.0.2.1,2001:db8::1", "mx,web,dns"),
		dnsRecord(directory.KindNode, "n2", states[1], "10.77.0.2", "192.0.2.2", "mx,web,dns"),
		dnsRecord(directory.KindNode, "n3", states[2], "10.77.0.3", "192.0.2.3", "imap"),
		dnsRecord(directory.KindDomain, "example.net", "dns"),
		dnsRecord(directory.KindDomain, "example.org", ""),
		dnsRecord(directory.KindDomain, "choir.example", "mail"),
		dnsRecord(directory.KindSite, "www.example.org", "example.org,www.elsewhere.example", "everywhere"),
	}, more...) {
		b.Add(r)
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return &Input{Snapshot: s, Self: s.Node("n1"), Network: network, Settings: Defaults(), Maps: "/var/lib/rplan/maps"}
}

var allUp = [3]string{"up", "up", "up"}

// dnsFile is the text of one file, which must be there.
func dnsFile(t *testing.T, in *Input, name string) string {
	t.Helper()
	for _, f := range DNS(in) {
		if f.Name == name {
			if f.Service != "dns" || !f.Reload {
				t.Errorf("%s: service %q, reload %v", name, f.Service, f.Reload)
			}
			return strings.ReplaceAll(string(f.Text), "\t", " ")
		}
	}
	t.Fatalf("no file %q", name)
	return ""
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
	}
}

const zoneOrg = `; Made by rp-genmaps from the directory. What is changed here is lost.
$ORIGIN example.org.
$TTL 120
example.org. 120 IN SOA n1.nodes.example.net. hostmaster.example.org. %SERIAL% 300 60 1209600 120
example.org. 120 IN NS n1.nodes.example.net.
example.org. 120 IN NS n2.nodes.example.net.
example.org. 120 IN MX 10 n1.nodes.example.net.
example.org. 120 IN MX 10 n2.nodes.example.net.
example.org. 120 IN A 192.0.2.1
example.org. 120 IN A 192.0.2.2
example.org. 120 IN AAAA 2001:db8::1
www.example.org. 120 IN A 192.0.2.1
www.example.org. 120 IN A 192.0.2.2
www.example.org. 120 IN AAAA 2001:db8::1
`

// zoneNet has the names of the nodes, n3's too, and the MX of the contact domain.
const zoneNet = `; Made by rp-genmaps from the directory. What is changed here is lost.
$ORIGIN example.net.
$TTL 120
example.net. 120 IN SOA n1.nodes.example.net. hostmaster.example.net. %SERIAL% 300 60 1209600 120
*.n1.nodes.example.net. 120 IN A 192.0.2.1
*.n1.nodes.example.net. 120 IN AAAA 2001:db8::1
*.n2.nodes.example.net. 120 IN A 192.0.2.2
*.n3.nodes.example.net. 120 IN A 192.0.2.3
contact.example.net. 120 IN MX 10 n1.nodes.example.net.
contact.example.net. 120 IN MX 10 n2.nodes.example.net.
example.net. 120 IN NS n1.nodes.example.net.
example.net. 120 IN NS n2.nodes.example.net.
n1.nodes.example.net. 120 IN A 192.0.2.1
n1.nodes.example.net. 120 IN AAAA 2001:db8::1
n2.nodes.example.net. 120 IN A 192.0.2.2
n3.nodes.example.net. 120 IN A 192.0.2.3
`

func TestZones(t *testing.T) {
	in := dnsInput(t, allUp)
	equal(t, "example.org", dnsFile(t, in, "example.org.zone"), zoneOrg)
	equal(t, "example.net", dnsFile(t, in, "example.net.zone"), zoneNet)
	if files := DNS(in); len(files) != 3 {
		t.Errorf("%d files, want two zones and their list", len(files))
	}
}

// A state changes the answers, never the node names and name servers.
func TestZoneStates(t *testing.T) {
	without := func(zone string, records ...string) string {
		for _, r := range records {
			zone = regexp.MustCompile("(?m)^.* "+regexp.QuoteMeta(r)+"\n").ReplaceAllString(zone, "")
		}
		return zone
	}
	out2 := without(zoneOrg, "MX 10 n2.nodes.example.net.", "A 192.0.2.2")
	for _, c := range []struct {
		states [3]string
		org    string
	}{
		{[3]string{"up", "out", "up"}, out2},
		{[3]string{"up", "draining", "up"}, out2},
		{[3]string{"up", "returning", "out"}, out2},
		{[3]string{"out", "draining", "up"}, without(zoneOrg, "MX 10 n1.nodes.example.net.", "A 192.0.2.1", "AAAA 2001:db8::1")},
		{[3]string{"out", "out", "out"}, zoneOrg},
		{[3]string{"up", "evicted", "up"}, without(out2, "NS n2.nodes.example.net.")},
	} {
		in := dnsInput(t, c.states)
		equal(t, fmt.Sprint("example.org with ", c.states), dnsFile(t, in, "example.org.zone"), c.org)
		net := zoneNet
		if c.states[1] == "evicted" {
			net = without(net, "NS n2.nodes.example.net.", "A 192.0.2.2")
		}
		if c.org != zoneOrg {
			for _, name := range []string{"n1", "n2"} {
				if mx := "MX 10 " + name + ".nodes.example.net."; !strings.Contains(c.org, mx) {
					net = without(net, mx)
				}
			}
		}
		equal(t, fmt.Sprint("example.net with ", c.states), dnsFile(t, in, "example.net.zone"), net)
	}
}

// A zone within a zone is delegated, with the addresses that lead to it.
func TestDelegation(t *testing.T) {
	in := dnsInput(t, allUp, dnsRecord(directory.KindDomain, "nodes.example.net", "dns"))
	parent, child := dnsFile(t, in, "example.net.zone"), dnsFile(t, in, "nodes.example.net.zone")
	for _, want := range []string{"\nnodes.example.net. 120 IN NS n1.nodes.example.net.\n", "\nn2.nodes.example.net. 120 IN A 192.0.2.2\n"} {
		if !strings.Contains(parent, want) || !strings.Contains(child, want) {
			t.Errorf("%q is missing in\n%s\nor\n%s", want, parent, child)
		}
	}
	if strings.Contains(parent, "n3") || strings.Contains(parent, "*") {
		t.Errorf("names of the inner zone are in the outer:\n%s", parent)
	}
}

func TestExtras(t *testing.T) {
	in := dnsInput(t, allUp, dnsRecord(directory.KindSite, "shop.example.org", "cloud.example.org,own.example.org", "everywhere"))
	in.Local.ZoneExtras = map[string][]byte{"example.org": []byte("\tTXT \"v=spf1 mx -all\"\nshop 1h IN A 203.0.113.9\n" +
		"cloud.example.org. cname elsewhere.example.\nown CAA 0 issue \"ca.example\"")}
	in.Settings.DNS.Contact = "dns.admin+x@example.net"
	zone := dnsFile(t, in, "example.org.zone")
	if want := "%SERIAL% 300 60 1209600 120\n; The admin's own records.\n TXT"; !strings.Contains(zone, want) {
		t.Errorf("the extras do not follow the SOA:\n%s", zone)
	}
	if !strings.Contains(zone, " dns\\046admin\\043x.example.net. %SERIAL%") {
		t.Errorf("the contact is not in the SOA:\n%s", zone)
	}
	for _, host := range []string{"shop", "cloud"} {
		if strings.Contains(zone, "\n"+host+".example.org. 120 IN A") {
			t.Errorf("a site takes the admin's name %q:\n%s", host, zone)
		}
	}
	if !strings.Contains(zone, "\nown.example.org. 120 IN A 192.0.2.1\n") {
		t.Errorf("a name with a CAA record has no address:\n%s", zone)
	}
}

// An included file has neither SOA nor NS nor directives, which would go on after its end.
func TestIncludes(t *testing.T) {
	in := dnsInput(t, allUp)
	in.Settings.DNS.Whole = false
	in.Local.ZoneExtras = map[string][]byte{"example.org": []byte("x A 192.0.2.9\n")}
	head, rest, _ := strings.Cut(zoneOrg, "$ORIGIN")
	_, rest, _ = strings.Cut(rest, "MX")
	equal(t, "example.org.inc", dnsFile(t, in, "example.org.inc"), head+"example.org. 120 IN MX"+rest)
	if n := len(DNS(in)); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
}

func TestZoneList(t *testing.T) {
	const head = " Made by rp-genmaps from the directory. What is changed here is lost.\n"
	for server, want := range map[string]string{
		"knot": "#" + head + `zone:
  - domain: example.net
    file: "/var/lib/rplan/maps/dns/example.net.zone"
    zonefile-sync: -1
  - domain: example.org
    file: "/var/lib/rplan/maps/dns/example.org.zone"
    zonefile-sync: -1
`,
		"bind": "//" + head + `zone "example.net" { type primary; file "/var/lib/rplan/maps/dns/example.net.zone"; };
zone "example.org" { type primary; file "/var/lib/rplan/maps/dns/example.org.zone"; };
`,
		"nsd": "#" + head + `zone:
 name: example.net
 zonefile: "/var/lib/rplan/maps/dns/example.net.zone"
 include-pattern: "rplan"
zone:
 name: example.org
 zonefile: "/var/lib/rplan/maps/dns/example.org.zone"
 include-pattern: "rplan"
`,
	} {
		in := dnsInput(t, allUp)
		in.Settings.DNS.Server = server
		equal(t, server, dnsFile(t, in, "zones.conf"), want)
	}
}

// Whatever an entry holds, each line of each file is one that the renderer means to write.
func TestHostileZones(t *testing.T) {
	const name = `(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+`
	line := regexp.MustCompile(`^(; [^\n]*|\$ORIGIN ` + name + `|\$TTL 120|` +
		name + ` 120 IN (SOA ` + name + ` ` + name + ` %SERIAL% 300 60 1209600 120|NS ` + name + `|MX 10 ` + name + `|A [0-9.]+|AAAA [0-9a-f:]+))$`)
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "www", ".", "-", "\n", "\r", " ", "\t", ";", "(", ")", "\"", "\\", "$INCLUDE /etc/passwd", "*", "@", "%SERIAL%",
		"\x00", "\xff", "é", "_", "example.org", ".example.org", "nodes.example.net", "IN A 192.0.2.66", "/", "..", "{", "}"}
	hostile := func() string {
		var b strings.Builder
		for range 1 + random.IntN(5) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 300 {
		var more []*directory.Record
		for range 10 {
			more = append(more, dnsRecord(directory.KindDomain, hostile(), hostile()), dnsRecord(directory.KindDomain, hostile(), ""),
				dnsRecord(directory.KindSite, hostile()+".example.org", hostile()+","+hostile()+".example.net", "everywhere"))
		}
		in := dnsInput(t, allUp, more...)
		for _, f := range DNS(in) {
			if strings.ContainsAny(f.Name, "/\n ") || f.Name[0] == '.' {
				t.Fatalf("file name %q", f.Name)
			}
			if f.Format != Zone {
				continue
			}
			for l := range strings.Lines(strings.ReplaceAll(string(f.Text), "\t", " ")) {
				if !line.MatchString(strings.TrimSuffix(l, "\n")) {
					t.Fatalf("%s has the line %q", f.Name, l)
				}
			}
		}
	}
}

func TestSerial(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const unix = uint32(1_800_000_000)
	for _, c := range []struct{ old, want uint32 }{
		{0, unix},
		{2026030101, 2026030102}, // a date, ahead of the clock
		{unix - 1, unix},
		{unix, unix + 1},
		{unix + 7, unix + 8},
		{unix + 1<<31, unix + 1<<31 + 1}, // as far from the clock as can be: RFC 1982 does not say which is greater
		{unix + 1<<31 + 1, unix},
		{1<<32 - 1, unix}, // the clock has wrapped round
		{unix + 1<<31 - 1, unix + 1<<31},
	} {
		got := Serial(c.old, now)
		if got != c.want {
			t.Errorf("Serial(%d) is %d, want %d", c.old, got, c.want)
		}
		if int32(got-c.old) <= 0 {
			t.Errorf("%d does not follow %d", got, c.old)
		}
	}
	if got := Serial(1<<32-1, time.Unix(1<<32-5, 0)); got != 0 {
		t.Errorf("after the last serial comes %d, want 0", got)
	}
}

func TestWithSerial(t *testing.T) {
	text := []byte("; x\na. 1 IN SOA m. r. %SERIAL% 1 2 3 4\nTXT %SERIAL%\n")
	first := WithSerial(text, nil, time.Unix(1000, 0))
	equal(t, "a new zone", string(first), "; x\na. 1 IN SOA m. r. 1000 1 2 3 4\nTXT %SERIAL%\n")
	equal(t, "an unchanged zone", string(WithSerial(text, first, time.Unix(2000, 0))), string(first))
	text = append(text, "b. A 192.0.2.1\n"...)
	changed := WithSerial(text, first, time.Unix(500, 0))
	if serial, ok := SerialOf(changed); !ok || serial != 1001 {
		t.Errorf("with a clock that went back, the serial is %d, want 1001", serial)
	}
	for _, damaged := range []string{"", "SOA", "a. 1 IN SOA m. r. x 1 2", "a. 1 IN SOA m. r. 4294967296 1 2", "a. 1 IN SOA m. r. -1 1 2"} {
		if serial, ok := SerialOf([]byte(damaged)); ok {
			t.Errorf("serial %d in %q", serial, damaged)
		}
	}
}
