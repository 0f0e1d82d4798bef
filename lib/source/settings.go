package source

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Settings are the table [directory] of rplan.toml.
type Settings struct {
	// URLs are where the directory can be read, tried in this order: the local
	// replica first. ldapi:/// is the socket of Debian's slapd, another is
	// ldapi://%2Fpath%2Fof%2Fsocket; ldap://HOST[:PORT]; ldaps://HOST[:PORT];
	// ldif:FILE.
	URLs []string `toml:"urls"`
	// Base is the DN below which everything is.
	Base string `toml:"base"`
	// BindDN is whom to log in as; "" is SASL EXTERNAL (the process's user) on
	// ldapi:// and anonymous elsewhere.
	BindDN string `toml:"bind-dn"`
	// PasswordFile holds BindDN's password, which others must not be able to
	// read. A name without a slash is a systemd credential.
	PasswordFile string `toml:"password-file"`
	// CAFile has the certificates (PEM) that the server's must be signed by;
	// "" is what the system trusts.
	CAFile string `toml:"ca-file"`
	// StartTLS encrypts ldap:// connections (RFC 4511 section 4.14).
	StartTLS bool `toml:"starttls"`
	// Timeout is the longest that reading from one server may take.
	Timeout time.Duration `toml:"timeout"`

	Node    Mapping `toml:"node"`
	Domain  Mapping `toml:"domain"`
	Mailbox Mapping `toml:"mailbox"`
	Forward Mapping `toml:"forward"`
	Site    Mapping `toml:"site"`
	List    Mapping `toml:"list"`
}

// OfNodes are the settings to read the nodes only, which takes no longer with a million users.
func (s Settings) OfNodes() Settings {
	for _, kind := range []directory.Kind{directory.KindDomain, directory.KindMailbox, directory.KindForward, directory.KindSite, directory.KindList} {
		s.mapping(kind).Filter = ""
	}
	return s
}

// OfLists are the settings to read what a list's standing follows from: the lists,
// the nodes, and the domains, without which no list's address counts.
func (s Settings) OfLists() Settings {
	for _, kind := range []directory.Kind{directory.KindMailbox, directory.KindForward, directory.KindSite} {
		s.mapping(kind).Filter = ""
	}
	return s
}

// Mapping says where entries of one kind are and which attribute is which
// field. Fields have the names of directory.Kind.Fields.
type Mapping struct {
	// Base is the DN below which the entries are; Settings.Base is put behind
	// it unless it is there already.
	Base string `toml:"base"`
	// Scope is "sub" (Base and all below it), "one" (what is directly below
	// it) or "base" (it alone).
	Scope string `toml:"scope"`
	// Filter selects the entries (RFC 4515). "" means there are none of this kind.
	Filter string `toml:"filter"`
	// Attributes has the attribute of each field; "" for a field without one.
	Attributes map[string]string `toml:"attributes"`
	// Values translates, for a field, values of the directory into rplan's,
	// such as {noaccess = "suspended"}. Case does not matter; a value that is
	// not in the table stays as it is.
	Values map[string]map[string]string `toml:"values"`
	// Default is, for a field, the value of entries that have none.
	Default map[string]string `toml:"default"`
}

// Defaults are the settings for a directory in rplan's own schema
// (contrib/ldap) whose slapd runs on this machine. Base has no default.
func Defaults() Settings {
	kind := func(branch, class string, attributes ...string) Mapping {
		m := Mapping{
			Base: "ou=" + branch, Scope: "sub", Filter: "(objectClass=" + class + ")",
			Attributes: map[string]string{}, Values: map[string]map[string]string{}, Default: map[string]string{},
		}
		for i := 0; i < len(attributes); i += 2 {
			m.Attributes[attributes[i]] = attributes[i+1]
		}
		return m
	}
	return Settings{
		URLs:     []string{"ldapi:///"},
		StartTLS: true,
		Timeout:  2 * time.Minute,
		Node: kind("nodes", "rplanNode", "name", "rplanNodeName", "state", "rplanState", "vpn-address", "rplanVpnAddress",
			"public-address", "rplanPublicAddress", "role", "rplanRole", "ring", "rplanRing", "class", "rplanClass",
			"vpn-key", "rplanVpnKey", "ssh-key", "rplanSshKey",
			"reason", "rplanStateReason", "since", "rplanStateSince", "by", "rplanStateBy"),
		Domain: kind("domains", "rplanDomain", "name", "rplanDomainName", "service", "rplanDomainService"),
		Mailbox: kind("mailboxes", "rplanMailbox", "address", "rplanAddress", "alias", "rplanAlias",
			"placement", "rplanPlacement", "status", "rplanStatus", "delivery", "rplanDelivery"),
		Forward: kind("forwards", "rplanForward", "address", "rplanAddress", "target", "rplanTarget"),
		Site: kind("sites", "rplanSite", "name", "rplanSiteName", "alias", "rplanSiteAlias", "mode", "rplanSiteMode",
			"placement", "rplanPlacement", "document-root", "rplanDocumentRoot", "contact", "rplanContact"),
		List: kind("lists", "rplanList", "address", "rplanAddress", "manager", "rplanListManager",
			"candidate", "rplanListCandidate", "node", "rplanActiveNode", "owner", "rplanListOwner", "epoch", "rplanEpoch",
			"keep-html", "rplanKeepHtml", "keep-mbox", "rplanKeepMbox"),
	}
}

// mapping is the part of the settings that is about one kind.
func (s *Settings) mapping(k directory.Kind) *Mapping {
	return [directory.NumKinds]*Mapping{&s.Node, &s.Domain, &s.Mailbox, &s.Forward, &s.Site, &s.List}[k]
}

// check refuses what no mapping can mean, naming the key of rplan.toml.
func (m *Mapping) check(k directory.Kind) error {
	key := "directory." + k.String()
	named := map[string][]string{
		"attributes": slices.Sorted(maps.Keys(m.Attributes)),
		"values":     slices.Sorted(maps.Keys(m.Values)),
		"default":    slices.Sorted(maps.Keys(m.Default)),
	}
	for _, table := range []string{"attributes", "values", "default"} {
		for _, field := range named[table] {
			if !slices.Contains(k.Fields(), field) {
				return diag.Config.Errorf("%s.%s: a %s has no field %q", key, table, k, field).
					WithHint("the fields are %s", strings.Join(k.Fields(), ", "))
			}
		}
	}
	for _, field := range named["attributes"] {
		if a := m.Attributes[field]; a != "" && (!isAttribute(a) || len(a) > maxAttribute) {
			return diag.Config.Errorf("%s.attributes.%s: %q is no attribute name", key, field, a)
		}
	}
	if first := k.Fields()[0]; m.Attributes[first] == "" {
		return diag.Config.Errorf("%s.attributes.%s: without it a %s has no name", key, first, k)
	}
	return nil
}

// isAttribute says whether s can be an attribute's name or OID without
// options (RFC 4512 section 2.5).
func isAttribute[T string | []byte](s T) bool {
	for i := range len(s) {
		c := s[i] | 0x20 // lower case; "." and digits and "-" have the bit already
		if letter := 'a' <= c && c <= 'z'; !letter && (s[i] < '0' || s[i] > '9') && (i == 0 || s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return len(s) > 0
}

// maxAttribute is the longest name, in bytes, of an attribute that a field can have.
const maxAttribute = 64

var scopes = map[string]byte{"base": scopeBase, "one": scopeOne, "sub": scopeSub}

func (m *Mapping) scope(k directory.Kind) (byte, error) {
	scope, ok := scopes[m.Scope]
	if !ok {
		return 0, diag.Config.Errorf("directory.%s.scope: %q is not one of base, one, sub", k, m.Scope)
	}
	return scope, nil
}

// below is dn with base behind it, unless it ends in base already.
func below(dn, base string) string {
	if dn == "" {
		return base
	}
	if base == "" || inScope(canonicalDN(nil, dn), canonicalDN(nil, base), scopeSub) {
		return dn
	}
	return fmt.Sprintf("%s,%s", dn, base)
}
