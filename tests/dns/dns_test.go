package dns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/need"
)

var kinds = []string{"knot", "bind", "nsd"}

// expect asks until the answer is the wanted lines in any order; a server may take a moment to have read a change.
func (s *server) expect(t *testing.T, want string, args ...string) {
	t.Helper()
	lines := strings.Split(want, "\n")
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = strings.Split(s.dig(t, append(args, "+short")...), "\n")
		slices.Sort(got)
		if slices.Equal(got, lines) {
			return
		}
	}
	t.Errorf("%s: dig %q gives %q, want %q", s.kind, args, got, lines)
}

// status is the RCODE of an answer.
func (s *server) status(t *testing.T, args ...string) string {
	t.Helper()
	_, rest, _ := strings.Cut(s.dig(t, args...), "status: ")
	status, _, _ := strings.Cut(rest, ",")
	return status
}

func (s *server) serial(t *testing.T, zone string) string {
	t.Helper()
	words := strings.Fields(s.dig(t, "+short", zone, "SOA"))
	if len(words) != 7 {
		t.Fatalf("%s: SOA of %s is %q", s.kind, zone, words)
	}
	return words[2]
}

func each(t *testing.T, test func(t *testing.T, c *collective)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			need.Program(t, programs[kind][0], programs[kind][1], "dig")
			c := newCollective(t, kind)
			c.publish(t)
			test(t, c)
		})
	}
}

func TestAnswers(t *testing.T) {
	each(t, func(t *testing.T, c *collective) {
		s := start(t, c.server, c.maps, "")
		s.expect(t, "n1.nodes.example.net. hostmaster.example.org. 1800000000 300 60 1209600 120", "example.org", "SOA")
		for _, zone := range []string{"example.org", "example.net", "nodes.example.net"} {
			s.expect(t, "n1.nodes.example.net.\nn2.nodes.example.net.", zone, "NS")
		}
		for _, domain := range []string{"example.org", "example.net", "contact.example.net"} {
			s.expect(t, "10 n1.nodes.example.net.\n10 n2.nodes.example.net.", domain, "MX")
		}
		for _, host := range []string{"example.org", "www.example.org"} {
			s.expect(t, "192.0.2.1\n192.0.2.2\n192.0.2.3", host, "A")
			s.expect(t, "2001:db8::1", host, "AAAA")
		}
		for _, host := range []string{"n3.nodes.example.net", "any.thing.n3.nodes.example.net"} {
			s.expect(t, "192.0.2.3", host, "A")
		}
		for _, host := range []string{"n4.nodes.example.net", "none.example.org"} {
			if got := s.status(t, host, "A"); got != "NXDOMAIN" {
				t.Errorf("%s is %s, want NXDOMAIN", host, got)
			}
		}
		if got := s.status(t, "elsewhere.example", "A"); got != "REFUSED" {
			t.Errorf("a domain of others is %s, want REFUSED", got)
		}
	})
}

// What a node's end changes is served after a reload, with a serial by which secondaries see it.
func TestReload(t *testing.T) {
	each(t, func(t *testing.T, c *collective) {
		s := start(t, c.server, c.maps, "")
		s.expect(t, "192.0.2.1\n192.0.2.2\n192.0.2.3", "www.example.org", "A")
		c.states["n2"] = "out"
		c.clock = c.clock.Add(time.Minute)
		c.publish(t)
		s.reload(t)
		s.expect(t, "192.0.2.1\n192.0.2.3", "www.example.org", "A")
		s.expect(t, "10 n1.nodes.example.net.", "example.org", "MX")
		s.expect(t, "192.0.2.2", "n2.nodes.example.net", "A")
		s.expect(t, "n1.nodes.example.net.\nn2.nodes.example.net.", "example.org", "NS")
		if got := s.serial(t, "example.org"); got != "1800000060" {
			t.Errorf("serial of a changed zone is %s", got)
		}
		if got := s.serial(t, "nodes.example.net"); got != "1800000000" {
			t.Errorf("serial of an unchanged zone is %s", got)
		}

		// Back at once, within the same second: servers that look at a file's time must see it too.
		delete(c.states, "n2")
		c.more = []string{"new.example"}
		c.publish(t)
		s.reload(t)
		s.expect(t, "192.0.2.1\n192.0.2.2\n192.0.2.3", "www.example.org", "A")
		s.expect(t, "n1.nodes.example.net.\nn2.nodes.example.net.", "new.example", "NS")
		if got := s.serial(t, "example.org"); got != "1800000061" {
			t.Errorf("serial after two changes in a second is %s", got)
		}

		c.more = nil
		c.publish(t)
		s.reload(t)
		s.expect(t, "", "new.example", "NS")
	})
}

// checkers read a zone without serving it.
func checkers(zone, file string) [][]string {
	return [][]string{
		{"named-checkzone", "-i", "local", zone, file},
		{"kzonecheck", "-o", zone, file},
		{"nsd-checkzone", zone, file},
	}
}

func TestCheckers(t *testing.T) {
	for _, program := range []string{"named-checkzone", "kzonecheck", "nsd-checkzone"} {
		need.Program(t, program)
	}
	c := newCollective(t, "knot")
	c.extras = map[string][]byte{"example.org": []byte("@ TXT \"v=spf1 mx -all\"\nftp CNAME www\n")}
	c.publish(t)
	for _, zone := range []string{"example.org", "example.net", "nodes.example.net"} {
		for _, args := range checkers(zone, c.zone(zone)) {
			if out, err := exec.Command(need.Program(t, args[0]), args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%q: %v: %s", args, err, out)
			}
		}
	}
	// A CNAME beside the MX records of the zone.
	c.extras["example.org"] = []byte("@ CNAME elsewhere.example.\n")
	c.publish(t)
	for _, args := range checkers("example.org", c.zone("example.org")) {
		if out, err := exec.Command(need.Program(t, args[0]), args[1:]...).CombinedOutput(); err == nil {
			t.Errorf("%q passes a CNAME beside other records: %s", args, out)
		}
	}
}

// Nobody gets a whole zone, and no address of who asks for one is written.
func TestNothingIsGivenAway(t *testing.T) {
	each(t, func(t *testing.T, c *collective) {
		s := start(t, c.server, c.maps, "")
		s.expect(t, "10 n1.nodes.example.net.\n10 n2.nodes.example.net.", "example.org", "MX")
		for _, zone := range []string{"example.org", "nodes.example.net"} {
			if got := s.dig(t, zone, "AXFR"); !strings.Contains(got, "Transfer failed") {
				t.Errorf("%s gives %s to anybody:\n%s", c.server, zone, got)
			}
		}
		if c.server != "bind" { // the log of the other two is the test's own
			return
		}
		if log, err := os.ReadFile(s.path("log")); err != nil || strings.Contains(string(log), "client @") {
			t.Errorf("the log, %v:\n%s", err, log)
		}
	})
}

// A server that follows another sees each change by its serial.
func TestSecondary(t *testing.T) {
	need.Program(t, "knotd", "knotc", "dig")
	c := newCollective(t, "knot")
	c.publish(t)
	primary := start(t, "knot", c.maps, `
acl:
  - id: friends
    address: 127.0.0.1
    action: transfer
template:
  - id: default
    acl: friends
`)
	secondary := start(t, "knot", "", fmt.Sprintf(`
remote:
  - id: primary
    address: 127.0.0.1@%d
zone:
  - domain: example.org
    master: primary
    storage: DIR
`, primary.port))
	secondary.expect(t, "10 n1.nodes.example.net.\n10 n2.nodes.example.net.", "example.org", "MX")
	c.states["n1"] = "out"
	c.publish(t)
	primary.reload(t)
	primary.expect(t, "10 n2.nodes.example.net.", "example.org", "MX")
	if _, err := secondary.run("zone-refresh", "example.org"); err != nil {
		t.Fatal(err)
	}
	secondary.expect(t, "10 n2.nodes.example.net.", "example.org", "MX")
	if p, s := primary.serial(t, "example.org"), secondary.serial(t, "example.org"); p != s || p != "1800000001" {
		t.Errorf("serials are %s and %s, want 1800000001", p, s)
	}
}

// Knot signs the zones and then counts serials itself, above ours or not.
func TestSigned(t *testing.T) {
	need.Program(t, "knotd", "knotc", "dig")
	c := newCollective(t, "knot")
	c.publish(t)
	published := c.read(t, "example.org")
	s := start(t, "knot", c.maps, `
template:
  - id: default
    dnssec-signing: on
    zonefile-load: difference-no-serial
    journal-content: all
`)
	signed := func() bool { return strings.Contains(s.dig(t, "+dnssec", "www.example.org", "A"), "RRSIG") }
	for deadline := time.Now().Add(patience); !signed() && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if !signed() {
		t.Fatal("the zone is not signed")
	}
	before := s.serial(t, "example.org")
	c.states["n2"] = "out"
	c.publish(t)
	changed := c.read(t, "example.org")
	s.reload(t)
	s.expect(t, "192.0.2.1\n192.0.2.3", "www.example.org", "A", "+nodnssec")
	if after := s.serial(t, "example.org"); after <= before || len(after) != len(before) {
		t.Errorf("serial went from %s to %s", before, after)
	}
	if !signed() {
		t.Error("the changed zone is not signed")
	}
	if now := c.read(t, "example.org"); now != changed || now == published {
		t.Errorf("the server wrote to the published file:\n%s", now)
	}
}

// The admin's own zone file includes the records, and Knot counts the serials.
func TestInclude(t *testing.T) {
	need.Program(t, "knotd", "knotc", "dig")
	c := newCollective(t, "knot")
	c.parts = true
	c.publish(t)
	own := filepath.Join(t.TempDir(), "example.org.zone")
	write(t, own, `@ 3600 SOA n1.nodes.example.net. hostmaster 1 300 60 1209600 120
@ 3600 NS n1.nodes.example.net.
$INCLUDE `+c.maps+`/dns/example.org.inc
own 3600 A 192.0.2.99
`)
	s := start(t, "knot", "", fmt.Sprintf(`
zone:
  - domain: example.org
    file: %s
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
`, own))
	s.expect(t, "192.0.2.99", "own.example.org", "A")
	s.expect(t, "10 n1.nodes.example.net.\n10 n2.nodes.example.net.", "example.org", "MX")
	before := s.serial(t, "example.org")
	c.states["n2"] = "out"
	c.publish(t)
	// "reload" looks at the time of the zone file only, and that of what it includes is not it.
	if _, err := s.run("zone-reload"); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "10 n1.nodes.example.net.", "example.org", "MX")
	if after := s.serial(t, "example.org"); after <= before || len(after) != len(before) {
		t.Errorf("serial went from %s to %s", before, after)
	}
}

// What the shipped files show in comments is right as well.
func TestExamples(t *testing.T) {
	for kind, check := range map[string][]string{"knot": {"knotc", "-c", "FILE", "conf-check"}, "nsd": {"nsd-checkconf", "FILE"}} {
		program := need.Program(t, check[0])
		c := newCollective(t, kind)
		c.publish(t)
		text, err := os.ReadFile(filepath.Join("../../contrib/dns", shipped[kind]))
		if err != nil {
			t.Fatal(err)
		}
		all := regexp.MustCompile(`(?m)^#(\w+:|  |\t)`).ReplaceAllString(string(text), "$1")
		if all == string(text) {
			t.Errorf("%s has no examples", shipped[kind])
		}
		file := filepath.Join(t.TempDir(), "conf")
		write(t, file, strings.ReplaceAll(all, "/var/lib/rplan/maps", c.maps))
		args := slices.Clone(check[1:])
		args[slices.Index(args, "FILE")] = file
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("%s with its examples: %v: %s", shipped[kind], err, out)
		}
	}
}

// An included file that changed is read by BIND and NSD too, but nothing raises the serial.
func TestIncludeSerial(t *testing.T) {
	for _, kind := range []string{"bind", "nsd"} {
		need.Program(t, programs[kind][0], programs[kind][1], "dig")
		c := newCollective(t, kind)
		c.parts = true
		c.publish(t)
		own := filepath.Join(t.TempDir(), "example.org.zone")
		write(t, own, "@ 3600 SOA n1.nodes.example.net. hostmaster 1 300 60 1209600 120\n@ 3600 NS n1.nodes.example.net.\n"+
			"$INCLUDE "+c.maps+"/dns/example.org.inc\n")
		s := start(t, kind, "", map[string]string{
			"bind": options.Replace(`options { directory "/var/cache/bind"; listen-on { any; }; listen-on-v6 { any; }; notify no; };`) +
				fmt.Sprintf("\nzone example.org { type primary; file %q; };\n", own),
			"nsd": fmt.Sprintf("zone:\n\tname: example.org\n\tzonefile: %q\n", own),
		}[kind])
		c.states["n2"] = "out"
		c.publish(t)
		if kind == "nsd" { // which looks at the time of the zone file only
			if err := os.Chtimes(own, time.Time{}, time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		s.reload(t)
		s.expect(t, "10 n1.nodes.example.net.", "example.org", "MX")
		if serial := s.serial(t, "example.org"); serial != "1" {
			t.Errorf("%s: serial is %s", kind, serial)
		}
	}
}
