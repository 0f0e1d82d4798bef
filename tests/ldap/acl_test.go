package ldap

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

// sight is which attributes of the entries below each branch someone sees;
// nothing is no entry.
type sight struct {
	nodes, domains, mailboxes, forwards, sites, lists, services string
}

const (
	nodePublic = "description objectClass rplanClass rplanNodeName rplanPublicAddress rplanRing rplanRole" +
		" rplanState rplanStateReason rplanVpnAddress"
	domainAll      = "objectClass rplanDomainName rplanDomainService"
	mailboxRouting = "objectClass rplanAddress rplanAlias rplanDelivery rplanPlacement rplanStatus"
	mailboxAll     = "cn description displayName " + mailboxRouting + " userPassword"
	forwardAll     = "objectClass rplanAddress rplanTarget"
	siteNames      = "objectClass rplanPlacement rplanSiteAlias rplanSiteMode rplanSiteName"
	listAll        = "objectClass rplanActiveNode rplanAddress rplanEpoch rplanKeepHtml rplanKeepMbox rplanListCandidate rplanListManager rplanListOwner"
	serviceAll     = "cn description member memberURL objectClass userPassword"
)

var (
	everything = sight{nodePublic + " userPassword", domainAll, mailboxAll, forwardAll,
		"objectClass rplanContact rplanDocumentRoot rplanPlacement rplanSiteAlias rplanSiteMode rplanSiteName", listAll, serviceAll}
	mx = sight{nodes: nodePublic, domains: domainAll, mailboxes: mailboxRouting, forwards: forwardAll,
		sites: "objectClass rplanContact rplanPlacement rplanSiteAlias rplanSiteMode rplanSiteName", lists: listAll}
	web = sight{nodes: nodePublic,
		sites: "objectClass rplanDocumentRoot rplanPlacement rplanSiteAlias rplanSiteMode rplanSiteName"}
)

func TestWhatEachNodeSees(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	whole := view(t, bind(t, s, s.RootDN), base)
	for _, c := range []struct {
		name string
		want sight
	}{
		{node("n1"), everything},
		{node("out0"), everything}, // it must come back
		{service("ada"), everything},
		{node("n2"), everything},
		{node("all1"), sight{nodePublic, domainAll, mailboxRouting, forwardAll, everything.sites, listAll, ""}}, // mx, web and more
		{node("mx1"), mx},
		{node("mxout1"), mx},
		{node("imap1"), sight{nodes: nodePublic, mailboxes: mailboxRouting}},
		{node("web2"), web},
		{node("mirror2"), web},
		{node("lists1"), sight{nodes: nodePublic, lists: listAll}},
		{node("dns2"), sight{nodes: nodePublic, domains: domainAll, sites: siteNames}},
		{node("none2"), sight{nodes: nodePublic}},
		{node("noring"), sight{nodes: nodePublic}},
		{service("authenticator"), sight{mailboxes: mailboxAll}},
		{"", sight{}},
	} {
		t.Run(c.name, func(t *testing.T) { checkSight(t, bind(t, s, c.name), whole, c.want) })
	}
}

// checkSight compares what a connection sees with what it should: of each
// branch all entries or none, with the true values.
func checkSight(t *testing.T, conn *ldap.Conn, whole map[string][]string, want sight) {
	t.Helper()
	fields := reflect.ValueOf(want)
	for i := range fields.NumField() {
		branch := fields.Type().Field(i).Name
		below := ",ou=" + branch + "," + base
		expected := map[string][]string{}
		attributes := strings.Fields(fields.Field(i).String())
		for dn, lines := range whole {
			if strings.HasSuffix(dn, below) && len(attributes) > 0 {
				expected[dn] = keep(lines, attributes)
			}
		}
		seen := view(t, conn, "ou="+branch+","+base)
		delete(seen, "ou="+branch+","+base)
		if !reflect.DeepEqual(seen, expected) {
			t.Errorf("ou=%s: sees\n%q\nwant\n%q", branch, seen, expected)
		}
	}
}

// keep is the lines "attribute: value" of the attributes.
func keep(lines, attributes []string) []string {
	kept := []string{}
	for _, line := range lines {
		if name, _, _ := strings.Cut(line, ":"); slices.Contains(attributes, name) {
			kept = append(kept, line)
		}
	}
	return kept
}

// A user sees the own entry without the password, even the hash.
func TestWhatAUserSees(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	conn := bind(t, s, mailbox("bob"))
	want := map[string][]string{mailbox("bob"): {"cn: Bob", "description: pays in spring", "objectClass: rplanMailbox",
		"rplanAddress: bob@example.org", "rplanDelivery: one", "rplanPlacement: n2_n1", "rplanStatus: active"}}
	if seen := view(t, conn, mailbox("bob")); !reflect.DeepEqual(seen, want) {
		t.Errorf("sees of the own entry\n%q\nwant\n%q", seen, want)
	}
	for _, dn := range []string{base, "ou=mailboxes," + base, mailbox("alice"), node("n1"), service("ada")} {
		if seen := view(t, conn, dn); len(seen) > 0 {
			t.Errorf("sees of %q %q, want nothing", dn, seen)
		}
	}
}

// What replication needs is readable, who changed an entry is not.
func TestOperationalAttributes(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	for dn, want := range map[string][]string{
		node("mx1"): {"createTimestamp", "entryCSN", "entryUUID", "modifyTimestamp", "structuralObjectClass"},
		node("n1"):  {"createTimestamp", "creatorsName", "entryCSN", "entryUUID", "modifiersName", "modifyTimestamp", "structuralObjectClass"},
	} {
		result, err := bind(t, s, dn).Search(ldap.NewSearchRequest(mailbox("bob"), ldap.ScopeBaseObject, ldap.NeverDerefAliases,
			0, 0, false, "(objectClass=*)", []string{"createTimestamp", "creatorsName", "entryCSN", "entryUUID",
				"modifiersName", "modifyTimestamp", "structuralObjectClass"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, attribute := range result.Entries[0].Attributes {
			got = append(got, attribute.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q sees %q, want %q", dn, got, want)
		}
	}
}

// A filter or a comparison must not tell what a search does not show.
func TestNoGuessing(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	for _, dn := range []string{"", mailbox("bob"), mailbox("alice"), node("mx1"), node("imap1"), node("web2")} {
		conn := bind(t, s, dn)
		for _, target := range []string{mailbox("bob"), node("n1"), service("authenticator")} {
			if matched, err := conn.Compare(target, "userPassword", hash); err == nil {
				t.Errorf("%q compares the password of %q: %v", dn, target, matched)
			}
		}
		result, err := conn.Search(ldap.NewSearchRequest("ou=mailboxes,"+base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
			0, 0, false, "(|(userPassword="+hash+")(cn=Bob))", []string{"1.1"}, nil))
		if err == nil && len(result.Entries) > 0 {
			t.Errorf("%q finds %q by its password or name", dn, result.Entries[0].DN)
		}
	}
	if matched, err := bind(t, s, service("authenticator")).Compare(mailbox("bob"), "userPassword", hash); err != nil || !matched {
		t.Errorf("the authenticator compares a password: %v, %v", matched, err)
	}
}

// An evicted node cannot log in, and a connection it has open goes blind.
func TestEviction(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	for _, name := range []string{"evicted0", "evicted1"} {
		if _, err := s.Bind(node(name), password); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Errorf("bind as %q: %v, want invalid credentials", name, err)
		}
	}
	admin := bind(t, s, service("ada"))
	for _, name := range []string{"n1", "mx1"} {
		conn := bind(t, s, node(name))
		if len(view(t, conn, base)) == 0 {
			t.Fatalf("%q sees nothing before its eviction", name)
		}
		for _, state := range []string{"draining", "out", "returning"} {
			must(t, modify(admin, node(name), "rplanState", state))
			if len(view(t, conn, base)) == 0 {
				t.Errorf("%q sees nothing when %s", name, state)
			}
		}
		must(t, modify(admin, node(name), "rplanState", "evicted"))
		for _, dn := range []string{base, "ou=mailboxes," + base, node(name), mailbox("bob")} {
			if seen := view(t, conn, dn); len(seen) > 0 {
				t.Errorf("%q sees of %q %q after its eviction", name, dn, seen)
			}
		}
		for dn, attribute := range map[string]string{mailbox("bob"): "rplanPlacement", node("n1"): "rplanState"} {
			if matched, err := conn.Compare(dn, attribute, "n2_n1"); err == nil {
				t.Errorf("%q compares %s of %q after its eviction: %v", name, attribute, dn, matched)
			}
		}
	}
}

func TestNobodyWrites(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	root := bind(t, s, s.RootDN)
	before := view(t, root, base)
	for _, dn := range []string{"", node("n1"), node("mx1"), node("web2"), service("authenticator"), mailbox("bob")} {
		conn := bind(t, s, dn)
		attempts := map[string]error{
			"add":              add(conn, "eve"),
			"delete":           conn.Del(ldap.NewDelRequest(mailbox("alice"), nil)),
			"rename":           conn.ModifyDN(ldap.NewModifyDNRequest(mailbox("bob"), "rplanAddress=eve@example.org", true, "")),
			"another password": modify(conn, mailbox("alice"), "userPassword", "x"),
			"become an admin":  modify(conn, service("admins"), "member", mailbox("bob")),
			"any attribute":    modify(conn, mailbox("bob"), "objectClass", "rplanMailbox", "extensibleObject"),
			"widen a group":    modify(conn, service("ring0"), "memberURL", "ldap:///"+base+"??sub?"),
		}
		for _, attribute := range []string{"rplanAddress", "rplanAlias", "rplanPlacement", "rplanStatus", "rplanDelivery", "cn", "displayName", "description"} {
			attempts["bob's "+attribute] = modify(conn, mailbox("bob"), attribute, "x")
		}
		for _, name := range []string{"n1", "mx1", "web2"} {
			for attribute, value := range map[string]string{"rplanState": "up", "rplanRing": "0", "rplanRole": "mx", "userPassword": "x"} {
				attempts[name+"'s "+attribute] = modify(conn, node(name), attribute, value)
			}
		}
		for what, err := range attempts {
			if !ldap.IsErrorAnyOf(err, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject, ldap.LDAPResultStrongAuthRequired) {
				t.Errorf("%q: %s: %v, want no access", dn, what, err)
			}
		}
	}
	if after := view(t, root, base); !reflect.DeepEqual(after, before) {
		t.Errorf("the directory changed from\n%q\nto\n%q", before, after)
	}
}

// A user may set the own password, and slapd stores a hash.
func TestOwnPassword(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, Provider: true, LDIF: directory(t), NoSync: true})
	conn := bind(t, s, mailbox("bob"))
	if _, err := conn.PasswordModify(ldap.NewPasswordModifyRequest("", password, "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bind(mailbox("bob"), password); err == nil {
		t.Error("the old password still works")
	}
	fresh, err := s.Bind(mailbox("bob"), "new")
	if err != nil {
		t.Fatal(err)
	}
	fresh.Close()
	stored := keep(view(t, bind(t, s, service("authenticator")), mailbox("bob"))[mailbox("bob")], []string{"userPassword"})
	if len(stored) != 1 || !strings.HasPrefix(stored[0], "userPassword: {CRYPT}$6$") {
		t.Errorf("stored is %q, want one SHA-512 hash", stored)
	}
	must(t, modify(conn, mailbox("bob"), "userPassword", hash))
}

// No user, not even an admin, gives a mailbox a password whose check holds up the servers of all.
func TestPasswordsThatStopServers(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, Provider: true, LDIF: directory(t), NoSync: true})
	before := view(t, bind(t, s, s.RootDN), mailbox("bob"))
	for _, dn := range []string{mailbox("bob"), service("ada"), s.RootDN} {
		conn := bind(t, s, dn)
		for what, values := range map[string][]string{
			"rounds":         {"{CRYPT}$6$rounds=999999999$0123456789abcdef$" + hash[len(hash)-86:]},
			"yescrypt":       {"{CRYPT}$y$jFT$0123456789abcdef$" + hash[len(hash)-43:]},
			"megabytes":      {strings.Repeat("x", 1<<20)},
			"a long hash":    {hash + strings.Repeat("x", 1<<20)},
			"a second line":  {hash + "\n"},
			"two passwords":  {hash, strings.Replace(hash, "0123", "3210", 1)},
			"in the clear":   {"new"},
			"another scheme": {"{SSHA}dW5zYWx0ZWQ="},
			"a letter":       {strings.ToLower(hash)},
		} {
			if err := modify(conn, mailbox("bob"), "userPassword", values...); !ldap.IsErrorWithCode(err, ldap.LDAPResultConstraintViolation) {
				t.Errorf("%q sets %s: %v, want a constraint violation", dn, what, err)
			}
		}
		request := ldap.NewModifyRequest(mailbox("bob"), nil)
		request.Add("userPassword", []string{strings.Replace(hash, "0123", "3210", 1)})
		if err := conn.Modify(request); err == nil {
			t.Errorf("%q adds a second password", dn)
		}
	}
	if after := view(t, bind(t, s, s.RootDN), mailbox("bob")); !reflect.DeepEqual(after, before) {
		t.Errorf("the entry changed from\n%q\nto\n%q", before, after)
	}
}

// Admins and root of the machine write everything.
func TestWhoWrites(t *testing.T) {
	need.Root(t)
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true})
	local := bind(t, s, "")
	must(t, local.ExternalBind())
	for _, conn := range []*ldap.Conn{bind(t, s, service("ada")), local} {
		must(t, add(conn, "eve"))
		must(t, modify(conn, node("n2"), "rplanState", "out"))
		must(t, modify(conn, mailbox("eve"), "userPassword", "x"))
		must(t, modify(conn, service("admins"), "member", service("ada")))
		must(t, conn.Del(ldap.NewDelRequest(mailbox("eve"), nil)))
	}
	checkSight(t, local, view(t, bind(t, s, s.RootDN), base), everything)
}

// Who reads the tree gets it whole, however many entries there are.
func TestLimits(t *testing.T) {
	need.Root(t)
	s := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true, SizeLimit: 5})
	root := bind(t, s, s.RootDN)
	for i := range 20 {
		must(t, add(root, strings.Repeat("x", i+1)))
	}
	must(t, modify(root, service("admins"), "member", mailbox("bob")))
	local := bind(t, s, "")
	must(t, local.ExternalBind())
	for name, conn := range map[string]*ldap.Conn{"ring 0": bind(t, s, node("n1")), "mx": bind(t, s, node("mx1")),
		"authenticator": bind(t, s, service("authenticator")), "an admin who is a user": bind(t, s, mailbox("bob")), "local root": local} {
		if n := len(view(t, conn, "ou=mailboxes,"+base)); n < 22 {
			t.Errorf("%s gets %d mailboxes, want 22", name, n)
		}
	}
}
