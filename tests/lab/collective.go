package lab

import (
	"crypto/sha1" // {SSHA} is what slapd makes by default
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

const (
	// BaseDN is the base of the lab's directory, as in contrib/ldap.
	BaseDN = "dc=example,dc=net"
	// NodesDomain is where the nodes' public names are: n1.nodes.example.net.
	NodesDomain = "nodes.example.net"
	// ContactDomain holds the contact addresses of the sites.
	ContactDomain = "contact.example.net"
	// Domain is that of the users, sites and lists of the lab.
	Domain = "example.org"
)

var vpnPrefix = netip.MustParsePrefix("10.77.0.0/24")

// User is one of the lab's mailboxes.
type User struct {
	Address   string
	Alias     string
	Placement []string // node names in order
	Suspended bool
}

// Active is the node that serves the user while all nodes are up.
func (u User) Active() string { return u.Placement[0] }

// Standby is the node that serves the user when Active is out.
func (u User) Standby() string { return u.Placement[1] }

// Password is the password of whoever has this address or name in the lab.
func Password(of string) string {
	sum := sha256.Sum256([]byte("rplan lab " + of))
	return hex.EncodeToString(sum[:5])
}

var userNames = strings.Fields(`alice bob carol dave erin frank grace heidi ivan judy kim lee mallory niaj olivia
	peggy quinn rupert sybil trent`)

// Users are 20 mailboxes, spread over all ordered pairs of the nodes in turn,
// and one more, sid, which is suspended.
func Users(nodes int) []User {
	var pairs [][]string
	for step := 1; step < nodes; step++ {
		for i := range nodes {
			pairs = append(pairs, []string{nodeName(i), nodeName((i + step) % nodes)})
		}
	}
	var users []User
	for i, name := range append(userNames, "sid") {
		users = append(users, User{name + "@" + Domain, name + ".alias@" + Domain, pairs[i%len(pairs)], name == "sid"})
	}
	return users
}

// Site is one of the lab's web sites; its name says how it is reached.
type Site struct{ Host, Mode, Placement string }

// Sites are one for each mode, and a second for redirect and proxy that lives elsewhere.
func Sites() []Site {
	return []Site{
		{"redirect." + Domain, "redirect", "n1_n2"},
		{"redirect2." + Domain, "redirect", "n2_n1"},
		{"proxy." + Domain, "proxy", "n1_n2"},
		{"proxy2." + Domain, "proxy", "n2_n1"},
		{"everywhere." + Domain, "everywhere", ""},
		{"mirror." + Domain, "mirror", ""},
		{"application." + Domain, "application", "n1_n2"},
	}
}

// lists are the lab's mailing lists, one for each manager, with the nodes they are active on.
var lists = []struct{ Address, Manager, Active string }{
	{"news@" + Domain, "mlmmj", "n1"},
	{"talk@" + Domain, "mailman3", "n2"},
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

func nodeVPN(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}) }

// nodePublic are addresses from networks kept for documentation (RFC 5737,
// RFC 3849); odd and even nodes are with different providers.
func nodePublic(i int) []netip.Addr {
	v4 := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	if i%2 == 1 {
		v4 = netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
	}
	return []netip.Addr{v4, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))}
}

// NodeDN is the directory entry of a node.
func NodeDN(name string) string { return "rplanNodeName=" + name + ",ou=nodes," + BaseDN }

// Collective is the lab's directory as LDIF, without contrib/ldap/groups.ldif,
// of nodes with these public host keys.
func Collective(hostKeys []string) string {
	nodes := len(hostKeys)
	var b ldif
	b.entry(BaseDN, "objectClass", "dcObject", "objectClass", "organization", "dc", "example", "o", "The collective of the lab")
	for _, ou := range []string{"nodes", "domains", "mailboxes", "forwards", "sites", "lists", "services"} {
		b.entry("ou="+ou+","+BaseDN, "objectClass", "organizationalUnit", "ou", ou)
	}
	for _, name := range []string{"authenticator", "ada"} {
		b.entry("cn="+name+",ou=services,"+BaseDN, "objectClass", "organizationalRole", "objectClass", "simpleSecurityObject",
			"cn", name, "userPassword", ssha(Password(name)))
	}
	b.entry("cn=admins,ou=services,"+BaseDN, "objectClass", "groupOfNames", "cn", "admins", "member", "cn=ada,ou=services,"+BaseDN)
	for i, key := range hostKeys {
		b.node(i, key)
	}
	for _, domain := range []string{"example.net", Domain} {
		b.entry("rplanDomainName="+domain+",ou=domains,"+BaseDN, "objectClass", "rplanDomain", "rplanDomainName", domain)
	}
	for _, u := range Users(nodes) {
		b.user(u)
	}
	b.forward("team@"+Domain, "alice@"+Domain, "bob.alias@"+Domain)
	b.forward("away@"+Domain, "someone@elsewhere.example")
	for _, s := range Sites() {
		b.site(s)
	}
	for _, l := range lists {
		b.entry("rplanAddress="+l.Address+",ou=lists,"+BaseDN, "objectClass", "rplanList", "rplanAddress", l.Address,
			"rplanListManager", l.Manager, "rplanListCandidate", "n1", "rplanListCandidate", "n2", "rplanActiveNode", l.Active,
			"rplanListOwner", "alice@"+Domain, "rplanEpoch", "1")
	}
	return b.String()
}

// ldif collects entries whose values are all plain (RFC 2849, SAFE-STRING).
type ldif struct{ strings.Builder }

func (b *ldif) entry(dn string, pairs ...string) {
	fmt.Fprintf(b, "dn: %s\n", dn)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(b, "%s: %s\n", pairs[i], pairs[i+1])
	}
	b.WriteString("\n")
}

func (b *ldif) node(i int, hostKey string) {
	name := nodeName(i)
	pairs := []string{"objectClass", "rplanNode", "rplanNodeName", name, "rplanState", "up", "rplanRing", "0",
		"rplanVpnAddress", nodeVPN(i).String(), "rplanSshKey", hostKey, "userPassword", ssha(Password(name))}
	for _, addr := range nodePublic(i) {
		pairs = append(pairs, "rplanPublicAddress", addr.String())
	}
	for _, role := range []string{"mx", "imap", "web", "lists", "dns", "mirror"} {
		pairs = append(pairs, "rplanRole", role)
	}
	b.entry(NodeDN(name), pairs...)
}

func (b *ldif) user(u User) {
	b.entry("rplanAddress="+u.Address+",ou=mailboxes,"+BaseDN, "objectClass", "rplanMailbox", "rplanAddress", u.Address,
		"rplanAlias", u.Alias, "rplanPlacement", strings.Join(u.Placement, "_"),
		"rplanStatus", map[bool]string{false: "active", true: "suspended"}[u.Suspended], "userPassword", ssha(Password(u.Address)))
}

func (b *ldif) forward(address string, targets ...string) {
	pairs := []string{"objectClass", "rplanForward", "rplanAddress", address}
	for _, target := range targets {
		pairs = append(pairs, "rplanTarget", target)
	}
	b.entry("rplanAddress="+address+",ou=forwards,"+BaseDN, pairs...)
}

func (b *ldif) site(s Site) {
	pairs := []string{"objectClass", "rplanSite", "rplanSiteName", s.Host, "rplanSiteAlias", "www." + s.Host,
		"rplanSiteMode", s.Mode, "rplanDocumentRoot", s.Host, "rplanContact", "alice@" + Domain}
	if s.Placement != "" {
		pairs = append(pairs, "rplanPlacement", s.Placement)
	}
	b.entry("rplanSiteName="+s.Host+",ou=sites,"+BaseDN, pairs...)
}

// ssha is a password as slapd stores it, salted by itself so that the tree is the same each time.
func ssha(password string) string {
	salt := sha256.Sum256([]byte(password))
	sum := sha1.Sum(append([]byte(password), salt[:8]...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt[:8]...))
}
