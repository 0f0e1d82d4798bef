package mail

import (
	"fmt"
	"strings"

	"rplan/lib/directory"
)

var network = directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}

// nodePassword is that of n1, which is in the outer ring: its role is all that Dovecot needs.
const nodePassword = "a-word-of-dovecot"

const nodeDN = "rplanNodeName=n1,ou=nodes,dc=example,dc=net"

// nodes are the states in which the collective begins.
var nodes = map[string]string{"n1": "up", "n2": "up", "n3": "out", "n4": "up"}

var vpnOf = map[string]string{"n1": vpn, "n2": otherVPN, "n3": "10.77.0.3", "n4": "fd77::4"}

// mailboxes are the users; each one's password is "pw-" and the part before the @.
var mailboxes = []struct{ address, placement, status, alias, delivery string }{
	{"alice@example.org", "n1_n2", "active", "al@example.org", ""},
	{"bob@example.org", "n1_n2", "suspended", "bobby@example.org", ""},
	{"carol@example.org", "n2_n1", "active", "", ""},
	{"dora@example.org", "n3", "active", "", ""},
	{"erin@example.org", "n3_n1", "active", "", ""},
	{"frida&co=x@example.org", "n1_n2", "active", "", ""},
	{"six@example.org", "n4_n1", "active", "", ""},
	{"wanda@example.org", "n1_n4", "active", "", ""},
	{"uno@example.org", "n1_n2", "active", "alice+uno@example.org", "one"},
}

func record(kind directory.Kind, dn string, values ...[]string) *directory.Record {
	r := &directory.Record{Kind: kind, DN: []byte(dn)}
	for field, vs := range values {
		for _, v := range vs {
			if v != "" {
				r.Values[field] = append(r.Values[field], []byte(v))
			}
		}
	}
	return r
}

// snapshot is the collective with its nodes in these states.
func snapshot(states map[string]string) *directory.Snapshot {
	b := directory.NewBuilder(network)
	one := func(v string) []string { return []string{v} }
	for name, state := range states {
		b.Add(record(directory.KindNode, name, one(name), one(state), one(vpnOf[name]), nil, []string{"mx", "imap", "lists"}))
	}
	b.Add(record(directory.KindDomain, "example.org", one("example.org"), one("mail")))
	b.Add(record(directory.KindDomain, "example.net", one("example.net"), one("mail")))
	for _, m := range mailboxes {
		b.Add(record(directory.KindMailbox, m.address, one(m.address), one(m.alias), one(m.placement), one(m.status), one(m.delivery)))
	}
	b.Add(record(directory.KindForward, "office", one("office@example.org"), []string{"alice@example.org", "carol@example.org"}))
	b.Add(record(directory.KindForward, "all", one("all@example.org"), []string{"office@example.org", "al@example.org", "uno@example.org", "erin@example.org"}))
	b.Add(record(directory.KindForward, "abroad", one("abroad@example.org"), []string{"alice@example.org", "friend@elsewhere.example"}))
	b.Add(record(directory.KindForward, "root", one("root@example.net"), one("alice@example.org")))
	b.Add(record(directory.KindSite, "www", one("www.example.org"), nil, one("redirect"), one("n1_n2"), nil, one("al@example.org")))
	b.Add(record(directory.KindSite, "down", one("down.example.org"), nil, one("redirect"), one("n1_n2"), nil, one("dora@example.org")))
	b.Add(record(directory.KindSite, "far", one("far.example.org"), nil, one("redirect"), one("n1_n2"), nil, one("six@example.org")))
	b.Add(record(directory.KindList, "news", one("news@example.org"), one("mlmmj"), []string{"n1", "n2"}, one("n1"), one("alice@example.org"), one("1")))
	b.Add(record(directory.KindList, "lost", one("lost@example.org"), one("mlmmj"), one("n1"), one("n1"), nil, one("1")))
	b.Add(record(directory.KindList, "talk", one("talk@example.org"), one("mailman3"), []string{"n1", "n2"}, one("n1"), nil, one("1")))
	b.Add(record(directory.KindList, "old", one("old@example.org"), one("mlmmj"), one("n3"), one("n3"), nil, one("1")))
	b.Add(record(directory.KindList, "nowhere", one("nowhere@example.org"), one("mailman3"), nil, nil, nil, one("1")))
	s, problems, err := b.Snapshot()
	if err != nil {
		panic(fmt.Sprint(problems, err))
	}
	return s
}

// tree is what Dovecot sees of the collective, and users whom rp-genmaps has not seen yet.
func tree() string {
	var b strings.Builder
	b.WriteString("dn: dc=example,dc=net\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n\n")
	for _, ou := range []string{"nodes", "mailboxes", "services"} {
		fmt.Fprintf(&b, "dn: ou=%[1]s,dc=example,dc=net\nobjectClass: organizationalUnit\nou: %[1]s\n\n", ou)
	}
	fmt.Fprintf(&b, "dn: %s\nobjectClass: rplanNode\nrplanNodeName: n1\nrplanState: up\nrplanRing: 1\n"+
		"rplanRole: imap\nuserPassword: %s\n\n", nodeDN, nodePassword)
	entry := func(name, address, placement, status, password string) {
		fmt.Fprintf(&b, "dn: %s,ou=mailboxes,dc=example,dc=net\nobjectClass: rplanMailbox\nrplanAddress: %s\ndescription: mine\n"+
			"rplanPlacement: %s\nrplanStatus: %s\nuserPassword: %s\n\n", name, address, placement, status, password)
	}
	user := func(address, placement, status string) {
		local, _, _ := strings.Cut(address, "@")
		entry("rplanAddress="+address, address, placement, status, "pw-"+local)
	}
	for _, m := range mailboxes {
		user(m.address, m.placement, m.status)
	}
	user("newcomer@example.org", "n2_n4", "active")
	user("evil@example.org", "../n1_n2", "active")
	// Mallory claims what is another's.
	entry("description=mine", "alice@example.org", "n2_n1", "active", "pw-mallory")
	entry("rplanAddress=carol@example.org+description=mine", "carol@example.org", "n1_n2", "active", "pw-mallory")
	return b.String()
}
