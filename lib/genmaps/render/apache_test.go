package render

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

var update = flag.Bool("update", false, "write the golden files anew")

var nodeStates = []string{"up", "draining", "out", "returning", "evicted"}

// apacheInput is four nodes, of which n4 is a mirror only and has IPv6 in the VPN, and a site of every mode.
func apacheInput(t *testing.T, self string, states map[string]string, more ...*directory.Record) *Input {
	t.Helper()
	node := func(name, vpn, roles string) *directory.Record {
		state := states[name]
		if state == "" {
			state = "up"
		}
		return dnsRecord(directory.KindNode, name, state, vpn, "", roles)
	}
	network := directory.Network{NodesDomain: "nodes.example.net"}
	b := directory.NewBuilder(network)
	for _, r := range append([]*directory.Record{
		node("n1", "10.77.0.1", "mx,web"),
		node("n2", "10.77.0.2", "web,mirror"),
		node("n3", "10.77.0.3", "web"),
		node("n4", "fd77::4", "mirror"),
		node("n5", "10.77.0.5", "mx"),
		dnsRecord(directory.KindSite, "www.example.org", "example.org", "redirect", "n1_n2"),
		dnsRecord(directory.KindSite, "shop.example.org", "store.example.org", "proxy", "n2_n3", "shops/one"),
		dnsRecord(directory.KindSite, "news.example.org", "", "everywhere"),
		dnsRecord(directory.KindSite, "video.example.org", "", "mirror"),
		dnsRecord(directory.KindSite, "forum.example.org", "", "application", "n1_n3"),
		dnsRecord(directory.KindSite, "lost.example.org", "", "proxy", "n9"),
	}, more...) {
		b.Add(r)
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	certificates := map[string]bool{self + ".nodes.example.net": true, "www.example.org": true, "shop.example.org": true, "stranger.example": true}
	return &Input{Snapshot: s, Self: s.Node(self), Network: network, Settings: Defaults(), Local: Local{Certificates: certificates}}
}

// text is what a file holds, rows as lines.
func (f File) text() []byte {
	if f.Rows == nil {
		return f.Text
	}
	var b bytes.Buffer
	for key, value := range f.Rows {
		fmt.Fprintf(&b, "%s %s\n", key, value)
	}
	return b.Bytes()
}

func TestApacheGolden(t *testing.T) {
	for _, self := range []string{"n1", "n4"} {
		for _, f := range Apache(apacheInput(t, self, map[string]string{"n3": "out"})) {
			golden := filepath.Join("testdata", "apache", self, f.Name+".golden")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, f.text(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.text(), want) {
				t.Errorf("%s on %s is\n%s\nwant\n%s", f.Name, self, f.text(), want)
			}
			isMap := !strings.HasSuffix(f.Name, ".conf")
			if f.Service != "apache" || f.Reload == isMap || f.Guarded != (f.Name == "sites") {
				t.Errorf("%s: service %q, reload %v, guarded %v", f.Name, f.Service, f.Reload, f.Guarded)
			}
		}
	}
}

// A node's state is in the two small maps only, whichever node's and whichever state.
func TestApacheStates(t *testing.T) {
	small := []string{"placements", "mirrors"}
	for _, self := range []string{"n1", "n2", "n4"} {
		before := Apache(apacheInput(t, self, nil))
		for _, node := range []string{"n1", "n2", "n3", "n4", "n5"} {
			for _, state := range nodeStates {
				after := Apache(apacheInput(t, self, map[string]string{node: state}))
				if len(after) != len(before) {
					t.Fatalf("%d files, not %d", len(after), len(before))
				}
				for i, f := range after {
					if f.Name != before[i].Name || !slices.Contains(small, f.Name) && !bytes.Equal(f.text(), before[i].text()) {
						t.Errorf("%s: %s %s changes %s", self, node, state, f.Name)
					}
				}
			}
		}
	}
}

func TestApachePlacements(t *testing.T) {
	const all = "@web n1/10.77.0.1\nn1 n1/10.77.0.1\nn1_n2 n1/10.77.0.1\nn1_n3 n1/10.77.0.1\nn1_n3/n1 n1/10.77.0.1\nn1_n3/n3 n3/10.77.0.3\n" +
		"n2 n2/10.77.0.2\nn2_n3 n2/10.77.0.2\nn3 n3/10.77.0.3\n"
	for _, c := range []struct {
		states           map[string]string
		placements, live string
	}{
		{nil, all, "live n2|n4\n"},
		{map[string]string{"n1": "draining", "n2": "draining"}, strings.Replace(all, "@web n1/10.77.0.1", "@web n3/10.77.0.3", 1), "live n4\n"},
		{map[string]string{"n1": "out"}, "@web n2/10.77.0.2\nn1_n2 n2/10.77.0.2\nn1_n3 n3/10.77.0.3\nn1_n3/n3 n3/10.77.0.3\n" +
			"n2 n2/10.77.0.2\nn2_n3 n2/10.77.0.2\nn3 n3/10.77.0.3\n", "live n2|n4\n"},
		{map[string]string{"n1": "returning", "n2": "evicted", "n3": "out", "n4": "out"}, "", ""},
	} {
		files := map[string]string{}
		for _, f := range Apache(apacheInput(t, "n1", c.states)) {
			files[f.Name] = string(f.text())
		}
		equal(t, fmt.Sprintf("placements at %v", c.states), files["placements"], c.placements)
		equal(t, fmt.Sprintf("mirrors at %v", c.states), files["mirrors"], c.live)
	}
}

// With many sites the map is one that Apache need not read from its start, and its name goes with it.
func TestApacheSitesMap(t *testing.T) {
	var many []*directory.Record
	for i := range dbmRows {
		many = append(many, dnsRecord(directory.KindSite, fmt.Sprintf("s%04d.example.org", i), "", "everywhere"))
	}
	for _, c := range []struct {
		more   []*directory.Record
		format Format
		name   string
	}{
		{nil, TextMap, `RewriteMap sites "txt:${RPLAN_MAPS}/sites"`},
		{many, DBM, `RewriteMap sites "dbm=db:${RPLAN_MAPS}/sites.db"`},
	} {
		for _, f := range Apache(apacheInput(t, "n1", nil, c.more...)) {
			if f.Name == "sites" && f.Format != c.format {
				t.Errorf("the format of %d and some rows is %d", len(c.more), f.Format)
			}
			if f.Name == "rplan.conf" && !strings.Contains(string(f.Text), c.name) {
				t.Errorf("rplan.conf has no line %s", c.name)
			}
		}
	}
}

// Apache cuts no row: the longest that the model lets through is shorter than what it reads.
func TestApacheLongRows(t *testing.T) {
	label := strings.Repeat("x", 63)
	nodes := []string{label, label[1:] + "1", label[2:] + "2", "n1"}
	host := strings.Join([]string{label, label, label, label[:53], "example"}, ".")
	alias := "y" + host[1:]
	in := apacheInput(t, "n1", nil, dnsRecord(directory.KindSite, host, alias+",short.example", "application", strings.Join(nodes, "_")))
	rows := map[string]bool{}
	for _, f := range Apache(in) {
		if f.Rows == nil {
			continue
		}
		for key, value := range f.Rows {
			rows[key] = true
			if len(key)+len(value)+2 > maxMapLine {
				t.Errorf("a row of %s has %d bytes", f.Name, len(key)+len(value)+2)
			}
		}
	}
	if !rows[host] || !rows[alias] || !rows["short.example"] {
		t.Errorf("long host %v, long alias %v, short alias %v", rows[host], rows[alias], rows["short.example"])
	}
}

// Without any certificate there is no TLS; without the node's own, host names of nobody get one of a site.
func TestApacheCertificates(t *testing.T) {
	in := apacheInput(t, "n1", nil)
	conf := func() string {
		var all strings.Builder
		for _, f := range Apache(in) {
			if f.Rows == nil {
				all.Write(f.Text)
			}
		}
		return all.String()
	}
	in.Local.Certificates = map[string]bool{"www.example.org": true}
	if got := strings.Count(conf(), `SSLCertificateFile "/etc/letsencrypt/live/www.example.org/fullchain.pem"`); got != 2 {
		t.Errorf("the site's certificate is used %d times, want 2: for the site and for unknown names", got)
	}
	in.Local.Certificates = nil
	if text := conf(); strings.Contains(text, "SSL") || strings.Contains(text, "443") {
		t.Errorf("TLS without a certificate:\n%s", text)
	}
}

func TestApachePorts(t *testing.T) {
	in := apacheInput(t, "n1", nil)
	in.Settings.Apache.HTTPPort, in.Settings.Apache.HTTPSPort, in.Settings.Apache.VPNPort = 8001, 8002, 8003
	in.Self.VPN = netip.MustParseAddr("fd77::1")
	files := map[string]string{}
	for _, f := range Apache(in) {
		files[f.Name] = string(f.text())
	}
	for _, c := range [][2]string{
		{"rplan.conf", "\nListen [fd77::1]:8003\n"},
		{"rplan.conf", "\n<VirtualHost [fd77::1]:8003>\n"},
		{"rplan.conf", "\n<VirtualHost *:8001>\n"},
		{"rplan.conf", "\n<VirtualHost *:8002>\n"},
		{"rplan.conf", "\n<Proxy \"http://[fd77::4]:8003\">\n"},
		{"rplan.conf", "\n    SetEnvIf Request_URI ^ RPLAN_PORT=:8002\n"},
		{"vhosts.conf", " RPLAN_SITE=www.example.org RPLAN_HERE=yes RPLAN_PORT=:8001\n"},
		{"vhosts.conf", "\n    ProxyPassReverse \"/\" \"http://store.example.org:8002/\"\n"},
	} {
		if !strings.Contains(files[c[0]], c[1]) {
			t.Errorf("%s has no %q", c[0], c[1])
		}
	}
}

// What people write into their own entries opens nothing: such a site is left out, and all else is as without it.
func TestApacheHostile(t *testing.T) {
	want := Apache(apacheInput(t, "n1", nil))
	for _, evil := range []string{
		"evil.example\n</VirtualHost>", "evil.example\r\nListen 1", "evil.example n2_n1", "evil\".example", "evil.example\x00", "%{HTTP_HOST}.example",
		"${sites:x}.example", "$1.example", "evil.example/../..", "*.example", "_default_:80", "evil.example:80", "nodes.example.net", "x.n2.nodes.example.net",
		"évil.example", "evil.example\xff", strings.Repeat("e", 1<<20) + ".example", "[E=RPLAN_HERE:yes].example", "@web", "evil.example|n1",
	} {
		hosts := dnsRecord(directory.KindSite, "evil.example", "", "everywhere")
		hosts.Values[directory.SiteName][0] = []byte(evil)
		placed := dnsRecord(directory.KindSite, "evil.example", "", "proxy", "n1")
		placed.Values[directory.SitePlacement][0] = []byte("n1_" + evil)
		rooted := dnsRecord(directory.KindSite, "evil.example", "", "everywhere", "", "x")
		rooted.Values[directory.SiteRoot][0] = []byte("../" + evil)
		for i, f := range Apache(apacheInput(t, "n1", nil, hosts, placed, rooted)) {
			if !bytes.Equal(f.text(), want[i].text()) {
				t.Errorf("%.60q changes %s", evil, f.Name)
			}
		}
		named := dnsRecord(directory.KindSite, "good.example", "", "everywhere")
		named.Values[directory.SiteAliases] = [][]byte{[]byte(evil)}
		good := dnsRecord(directory.KindSite, "good.example", "", "everywhere")
		without := Apache(apacheInput(t, "n1", nil, good))
		for i, f := range Apache(apacheInput(t, "n1", nil, named)) {
			if !bytes.Equal(f.text(), without[i].text()) {
				t.Errorf("the alias %.60q changes %s", evil, f.Name)
			}
		}
	}
}
