package render

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rplan/lib/directory"
)

// The SOA's timers in seconds (RFC 1035 section 3.3.13), for secondaries. They are told of changes by
// NOTIFY; the first two are for those that missed it, and low since a change is often a node's end.
// The last is long, since secondaries may have to answer while no node can be reached (RFC 1912 section 2.2).
const (
	soaRefresh = 300
	soaRetry   = 60
	soaExpire  = 14 * 24 * 3600
)

// DNS makes a zone for each domain that the directory gives DNS, and the list of the zones for the
// server's own configuration. With Settings.DNS.Whole off, it makes the records for the admin's own
// zones to include. Answers leave out nodes that are not up; names of nodes and NS records do not change with it.
func DNS(in *Input) []File {
	z := &zones{in: in, records: map[string][]record{}}
	if in.Settings.DNS.Whole {
		z.addServers()
	}
	z.addMail()
	z.addSites()
	z.addNodes()
	var files []File
	for i := range in.Snapshot.Domains {
		if d := &in.Snapshot.Domains[i]; d.DNS {
			files = append(files, z.file(d.Name))
		}
	}
	if in.Settings.DNS.Whole {
		files = append(files, zoneList(in))
	}
	return files
}

// record is one resource record; its owner and the names in data are absolute.
type record struct {
	owner string
	kind  recordKind
	data  string
}

type recordKind uint8

const (
	typeNS recordKind = iota
	typeMX
	typeA
	typeAAAA
)

func (k recordKind) String() string { return [...]string{"NS", "MX", "A", "AAAA"}[k] }

func compareRecords(a, b record) int {
	if c := strings.Compare(a.owner, b.owner); c != 0 {
		return c
	}
	if a.kind != b.kind {
		return int(a.kind) - int(b.kind)
	}
	return strings.Compare(a.data, b.data)
}

// zones collects records by the domain in whose zone they belong.
type zones struct {
	in      *Input
	records map[string][]record
}

// add puts a record into the zone that encloses its owner, if there is one.
func (z *zones) add(owner string, kind recordKind, data string) {
	if d := z.in.Snapshot.ZoneOf(owner); d != nil {
		z.records[d.Name] = append(z.records[d.Name], record{owner, kind, data})
	}
}

func (z *zones) addAddresses(owner string, nodes []*directory.Node) {
	for _, n := range nodes {
		for _, ip := range n.Public {
			z.add(owner, addressType(ip), ip.String())
		}
	}
}

func addressType(ip netip.Addr) recordKind {
	if ip.Is4() {
		return typeA
	}
	return typeAAAA
}

// host is a node's public name.
func (z *zones) host(n *directory.Node) string { return n.Name + "." + z.in.Network.NodesDomain }

// servers are the nodes that answer for the zones, whatever their state, but for those that were taken away.
func (z *zones) servers() []*directory.Node {
	var servers []*directory.Node
	for i := range z.in.Snapshot.Nodes {
		if n := &z.in.Snapshot.Nodes[i]; n.Roles.Has(directory.DNS) && n.State != directory.Evicted && len(n.Public) > 0 {
			servers = append(servers, n)
		}
	}
	return servers
}

// addServers makes the NS records of each zone, and in the zone around it, if that is ours too, the
// delegation: the NS records again, with the addresses of those whose names lie below the cut (glue, RFC 1034 section 4.2.1).
func (z *zones) addServers() {
	for i := range z.in.Snapshot.Domains {
		d := &z.in.Snapshot.Domains[i]
		if !d.DNS {
			continue
		}
		_, rest, _ := strings.Cut(d.Name, ".")
		parent := z.in.Snapshot.ZoneOf(rest)
		for _, n := range z.servers() {
			ns := record{d.Name, typeNS, z.host(n) + "."}
			z.records[d.Name] = append(z.records[d.Name], ns)
			if parent == nil {
				continue
			}
			z.records[parent.Name] = append(z.records[parent.Name], ns)
			if !below(z.host(n), d.Name) {
				continue
			}
			for _, ip := range n.Public {
				z.records[parent.Name] = append(z.records[parent.Name], record{z.host(n), addressType(ip), ip.String()})
			}
		}
	}
}

// below says whether host is domain or lies in it.
func below(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// addMail gives each domain with mail the same set of MX records. Those of equal preference share the
// work, and a sender tries all of them (RFC 5321 section 5.1).
func (z *zones) addMail() {
	var domains []string
	for i := range z.in.Snapshot.Domains {
		if d := &z.in.Snapshot.Domains[i]; d.Mail {
			domains = append(domains, d.Name)
		}
	}
	if contact := z.in.Network.ContactDomain; contact != "" {
		domains = append(domains, contact)
	}
	for _, domain := range domains {
		for _, n := range z.in.Snapshot.Live(directory.MX) {
			if len(n.Public) > 0 {
				z.add(domain, typeMX, "10 "+z.host(n)+".")
			}
		}
	}
}

// addSites points each host name of each site at all web nodes: any of them takes any visitor. A name
// for which the admin keeps an address or a CNAME by hand stays the admin's, whatever a site's owner claims.
func (z *zones) addSites() {
	web := z.in.Snapshot.Live(directory.Web)
	taken := map[string]map[string]bool{}
	for i := range z.in.Snapshot.Sites {
		for _, host := range z.in.Snapshot.Sites[i].Hosts() {
			d := z.in.Snapshot.ZoneOf(host)
			if d == nil {
				continue
			}
			if taken[d.Name] == nil {
				taken[d.Name] = addressOwners(z.extras(d.Name), d.Name)
			}
			if !taken[d.Name][host] {
				z.addAddresses(host, web)
			}
		}
	}
}

// addNodes gives each node its name, and all names below it: sites shown by one node are WORD.NODE.NODES-DOMAIN.
func (z *zones) addNodes() {
	for i := range z.in.Snapshot.Nodes {
		if n := &z.in.Snapshot.Nodes[i]; n.State != directory.Evicted {
			z.addAddresses(z.host(n), []*directory.Node{n})
			z.addAddresses("*."+z.host(n), []*directory.Node{n})
		}
	}
}

// extras are the admin's records for a zone that is made whole; an included file leaves them where they are.
func (z *zones) extras(domain string) []byte {
	if !z.in.Settings.DNS.Whole {
		return nil
	}
	return z.in.Local.ZoneExtras[domain]
}

func (z *zones) file(domain string) File {
	ttl := z.in.Settings.DNS.TTL
	var b bytes.Buffer
	fmt.Fprintf(&b, "; Made by rp-genmaps from the directory. What is changed here is lost.\n")
	if z.in.Settings.DNS.Whole {
		fmt.Fprintf(&b, "$ORIGIN %s.\n$TTL %d\n", domain, ttl)
		fmt.Fprintf(&b, "%s.\t%d\tIN\tSOA\t%s\n", domain, ttl, z.soa(domain))
	}
	// Before all others, so that a line that names no owner continues the zone's own name.
	if extras := z.extras(domain); len(extras) > 0 {
		fmt.Fprintf(&b, "; The admin's own records.\n%s\n; From the directory.\n", bytes.TrimRight(extras, "\n"))
	}
	records := z.records[domain]
	slices.SortFunc(records, compareRecords)
	for _, r := range slices.Compact(records) {
		fmt.Fprintf(&b, "%s.\t%d\tIN\t%s\t%s\n", r.owner, ttl, r.kind, r.data)
	}
	if !z.in.Settings.DNS.Whole {
		return document("dns", domain+".inc", &b)
	}
	return File{Service: "dns", Name: zoneFile(domain), Format: Zone, Text: b.Bytes(), Reload: true}
}

func zoneFile(domain string) string { return domain + ".zone" }

// soa is the data of the SOA record. Its last number is how long resolvers remember that a name does
// not exist (RFC 2308): as long as they remember one that does.
func (z *zones) soa(domain string) string {
	first := z.in.Self
	if servers := z.servers(); len(servers) > 0 {
		first = servers[0]
	}
	return fmt.Sprintf("%s. %s %s %d %d %d %d", z.host(first), responsible(z.in.Settings.DNS.Contact, domain),
		serialMark, soaRefresh, soaRetry, soaExpire, z.in.Settings.DNS.TTL)
}

// responsible is the address of who answers for the zone, as a domain name whose first label is the
// local part (RFC 1035 section 8).
func responsible(contact, domain string) string {
	local, host, ok := strings.Cut(contact, "@")
	if !ok {
		local, host = "hostmaster", domain
	}
	var b strings.Builder
	for _, c := range []byte(local) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "\\%03d", c)
		}
	}
	return b.String() + "." + host + "."
}
