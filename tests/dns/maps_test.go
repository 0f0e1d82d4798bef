// Package dns tests the zones that rp-genmaps renders in the real servers and their checkers.
package dns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"rplan/lib/directory"
	"rplan/lib/genmaps/render"
)

// collective is a small network whose zones are published in a directory.
type collective struct {
	maps   string
	server string            // as [genmaps.dns] has it
	states map[string]string // of the nodes; up unless said
	more   []string          // further domains with DNS
	extras map[string][]byte
	clock  time.Time
	parts  bool // not whole zones
}

func newCollective(t *testing.T, server string) *collective {
	t.Helper()
	c := &collective{maps: t.TempDir(), server: server, states: map[string]string{}, clock: time.Unix(1_800_000_000, 0)}
	if err := os.MkdirAll(filepath.Join(c.maps, "dns"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

func record(kind directory.Kind, values map[directory.Field][]string) *directory.Record {
	r := &directory.Record{}
	r.Reset(kind)
	r.DN = []byte("rplan=x")
	for field, list := range values {
		for _, value := range list {
			r.Values[field] = append(r.Values[field], []byte(value))
		}
	}
	return r
}

func (c *collective) snapshot(t *testing.T, network directory.Network) *directory.Snapshot {
	t.Helper()
	b := directory.NewBuilder(network)
	for _, n := range []struct {
		name, vpn     string
		public, roles []string
	}{
		{"n1", "10.77.0.1", []string{"192.0.2.1", "2001:db8::1"}, []string{"mx", "web", "dns"}},
		{"n2", "10.77.0.2", []string{"192.0.2.2"}, []string{"mx", "web", "dns"}},
		{"n3", "10.77.0.3", []string{"192.0.2.3"}, []string{"web"}},
	} {
		state := c.states[n.name]
		if state == "" {
			state = "up"
		}
		b.Add(record(directory.KindNode, map[directory.Field][]string{directory.NodeName: {n.name}, directory.NodeState: {state},
			directory.NodeVPN: {n.vpn}, directory.NodePublic: n.public, directory.NodeRoles: n.roles}))
	}
	for _, name := range append([]string{"example.net", "example.org"}, c.more...) {
		b.Add(record(directory.KindDomain, map[directory.Field][]string{directory.DomainName: {name}}))
	}
	b.Add(record(directory.KindDomain, map[directory.Field][]string{directory.DomainName: {"nodes.example.net"}, directory.DomainServices: {"dns"}}))
	b.Add(record(directory.KindSite, map[directory.Field][]string{directory.SiteName: {"www.example.org"},
		directory.SiteAliases: {"example.org"}, directory.SiteMode: {"everywhere"}}))
	s, problems, err := b.Snapshot()
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return s
}

// publish writes what changed, as rp-genmaps does: by rename, with a new serial.
func (c *collective) publish(t *testing.T) {
	t.Helper()
	network := directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}
	s := c.snapshot(t, network)
	in := &render.Input{Snapshot: s, Self: s.Node("n1"), Network: network, Settings: render.Defaults(), Maps: c.maps}
	in.Settings.DNS.Server, in.Settings.DNS.Whole = c.server, !c.parts
	in.Local.ZoneExtras = c.extras
	for _, f := range render.DNS(in) {
		path := filepath.Join(c.maps, f.Service, f.Name)
		published, _ := os.ReadFile(path)
		text := f.Text
		if f.Format == render.Zone {
			text = render.WithSerial(f.Text, published, c.clock)
		}
		if string(text) == string(published) {
			continue
		}
		write(t, path+".new", string(text))
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *collective) zone(name string) string { return filepath.Join(c.maps, "dns", name+".zone") }

func (c *collective) read(t *testing.T, zone string) string {
	t.Helper()
	text, err := os.ReadFile(c.zone(zone))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
