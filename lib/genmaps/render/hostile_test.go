package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

// untrusted are the values that people choose for their own entries.
type untrusted struct{ address, alias, target, site, siteAlias, root, list, contact []byte }

// tree builds a snapshot of fixed nodes and domains and one entry of each kind with these values.
func tree(u untrusted) *directory.Snapshot {
	network := directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}
	b := directory.NewBuilder(network)
	add := func(kind directory.Kind, dn string, fields map[directory.Field][]byte) {
		var r directory.Record
		r.Reset(kind)
		r.DN = []byte(dn)
		for f, v := range fields {
			if v != nil {
				r.Values[f] = append(r.Values[f], v)
			}
		}
		b.Add(&r)
	}
	for i := 1; i <= 2; i++ {
		var r directory.Record
		r.Reset(directory.KindNode)
		r.DN = fmt.Appendf(nil, "cn=n%d", i)
		r.Values[directory.NodeName] = [][]byte{fmt.Appendf(nil, "n%d", i)}
		r.Values[directory.NodeState] = [][]byte{[]byte("up")}
		r.Values[directory.NodeVPN] = [][]byte{fmt.Appendf(nil, "10.77.0.%d", i)}
		r.Values[directory.NodePublic] = [][]byte{fmt.Appendf(nil, "192.0.2.%d", i)}
		for _, role := range strings.Fields("mx imap web lists dns mirror") {
			r.Values[directory.NodeRoles] = append(r.Values[directory.NodeRoles], []byte(role))
		}
		b.Add(&r)
	}
	for _, name := range []string{"example.org", "example.net"} {
		add(directory.KindDomain, "dc="+name, map[directory.Field][]byte{directory.DomainName: []byte(name)})
	}
	placement := []byte("n1_n2")
	add(directory.KindMailbox, "cn=m", map[directory.Field][]byte{
		directory.MailboxAddress: u.address, directory.MailboxAliases: u.alias, directory.MailboxPlacement: placement})
	add(directory.KindForward, "cn=f", map[directory.Field][]byte{
		directory.ForwardAddress: []byte("forward@example.org"), directory.ForwardTargets: u.target})
	add(directory.KindSite, "cn=s", map[directory.Field][]byte{
		directory.SiteName: u.site, directory.SiteAliases: u.siteAlias, directory.SiteRoot: u.root,
		directory.SiteMode: []byte("proxy"), directory.SitePlacement: placement, directory.SiteContact: u.contact})
	add(directory.KindList, "cn=l", map[directory.Field][]byte{directory.ListAddress: u.list, directory.ListNode: []byte("n1")})
	s, _, err := b.Snapshot()
	if err != nil {
		panic(err)
	}
	return s
}

// tame replaces each value that the model took by a harmless one of the same
// use, and leaves out those that it did not take.
func tame(s *directory.Snapshot) untrusted {
	var u untrusted
	address := func(was, name string) []byte {
		_, domain, _ := strings.Cut(was, "@")
		if d := s.Domain(domain); d != nil {
			return []byte(name + "@example.org")
		}
		return []byte(name + "@far.example")
	}
	host := func(was, name string) []byte {
		if zone := s.ZoneOf(was); zone != nil {
			return []byte(name + "." + zone.Name)
		}
		return []byte(name + ".far.example")
	}
	for _, m := range s.Mailboxes {
		u.address = address(m.Address, "tame")
		if len(m.Aliases) > 0 {
			u.alias = address(m.Aliases[0], "tame-alias")
		}
	}
	for _, f := range s.Forwards {
		u.target = address(f.Targets[0], "tame")
		if r, ok := s.Resolve(f.Targets[0]); ok && r.List != nil {
			u.target = []byte("tame-list@example.org")
		}
	}
	for _, x := range s.Sites {
		u.site, u.root = host(x.Name, "tame"), []byte("tame-root")
		if len(x.Aliases) > 0 {
			u.siteAlias = host(x.Aliases[0], "tame-alias")
		}
		if x.Contact != "" {
			u.contact = address(x.Contact, "tame")
			if r, ok := s.Resolve(x.Contact); ok && r.List != nil {
				u.contact = []byte("tame-list@example.org")
			} else if ok && r.Forward != nil {
				u.contact = []byte("forward@example.org")
			}
		}
	}
	for _, l := range s.Lists {
		u.list = address(l.Address, "tame-list")
	}
	return u
}

// shape is how a node's files look when the words themselves do not count: for
// each line its first word and how many words, quotes and brackets it has.
func shape(s *directory.Snapshot, node string) []string {
	in := &Input{Snapshot: s, Self: s.Node(node), Settings: Defaults(), Maps: "/maps",
		Network: directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}}
	var lines []string
	for _, r := range All {
		for _, f := range r.Files(in) {
			if f.Rows != nil {
				for key, value := range f.Rows {
					lines = append(lines, fmt.Sprintf("%s/%s %s", f.Service, f.Name, outline(key+" "+value)))
				}
				continue
			}
			for line := range bytes.Lines(f.Text) {
				first := ""
				if words := strings.Fields(string(line)); len(words) > 0 && f.Service == "apache" {
					first = words[0]
				}
				lines = append(lines, fmt.Sprintf("%s/%s %s %s", f.Service, f.Name, first, outline(string(line))))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// outline keeps what gives a line its meaning: blanks, quotes, and every byte that is no part of a name.
func outline(line string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x7f && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-=~&@/", r)) {
			return -1
		}
		return r
	}, strings.TrimSuffix(line, "\n"))
}

func checkShape(t *testing.T, u untrusted) {
	t.Helper()
	hostile := tree(u)
	harmless := tree(tame(hostile))
	for _, node := range []string{"n1", "n2"} {
		got, want := shape(hostile, node), shape(harmless, node)
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("%q: the files of %s have a line\n%s\nwhere harmless values give\n%s", u, node, got[i], want[i])
				}
			}
			t.Fatalf("%q: the files of %s have %d lines, with harmless values %d", u, node, len(got), len(want))
		}
	}
}

// No value that people choose can add a line, a word or a sign to any file.
func FuzzNoValueChangesTheShape(f *testing.F) {
	for _, v := range []string{
		"alice@example.org", "a\nb@example.org", "\"q\"@example.org", "%{REMOTE_ADDR}@example.org", "a@example.org\x00", "$(id)@example.org",
		"cafe.example.org", "cafe.example.org\nServerAlias *", "*.example.org", "cafe.example.org:80", "</VirtualHost>", "example.org", "ns.example.org",
		"../../etc", "x/y", "x y", "\xff\xfe", "postmaster@example.org", "forward@example.org", strings.Repeat("a", 70) + "@example.org",
	} {
		b := []byte(v)
		f.Add(b, b, b, b, b, b, b, b)
		f.Add([]byte("m@example.org"), b, b, []byte("s.example.org"), b, b, []byte("l@example.org"), b)
	}
	f.Fuzz(func(t *testing.T, address, alias, target, site, siteAlias, root, list, contact []byte) {
		checkShape(t, untrusted{address, alias, target, site, siteAlias, root, list, contact})
	})
}
