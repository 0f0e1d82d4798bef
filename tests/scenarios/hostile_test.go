package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/imap"
	"rplan/tests/lab"
)

// partial is the exit code of a command that left something out and did all else.
const partial = 3

// breakouts are values that mean something to one of the programs that read the maps.
var breakouts = []string{
	"x\nalice@example.org n3_n2", "x\r\nroot", "x\x00y", "x y", "x\ty", "x\"y", "x'y", "x\\y", "%u", "%{passdb:placement}", "${placements:n1_n2}", "$(id)", "`id`",
	"../../../../etc/passwd", "/etc/passwd", "|/bin/sh -c id", ":include:/etc/passwd", "x#y", "x;y", "x:y", "x,y", "<VirtualHost *>", "*", "@", "\xff\xfe", "é",
	strings.Repeat("x", 1<<20),
}

// mallorysHash is that of the password "mallory".
const mallorysHash = "{CRYPT}$6$0123456789abcdef$0U/gY.SPMJE0XZDAxqtMPU3XISoVyK1bxZ3S7m/Ac.tW1OwGtMZ90uWrQgjLn6mf3OWa/8iD5STvNrkmXeaIf."

// hostile are entries that nobody should have been able to make, each with one such value, or with a claim to what is another's.
func hostile() []*ldap.AddRequest {
	var all []*ldap.AddRequest
	mailbox := func(address, placement string) {
		all = append(all, entry("mailboxes", "rplanMailbox", "rplanAddress", address, "rplanPlacement", placement))
	}
	site := func(name string, more ...string) {
		all = append(all, entry("sites", "rplanSite", "rplanSiteName", name, more...))
	}
	for i, value := range breakouts {
		fresh := fmt.Sprintf("evil%d", i)
		if len(value) < 1<<16 { // the directory itself takes no longer name
			mailbox(value+"@"+lab.Domain, "n1_n2")
			site(value+"."+lab.Domain, "rplanSiteMode", "redirect", "rplanPlacement", "n1_n2", "rplanDocumentRoot", "x")
			all = append(all, entry("domains", "rplanDomain", "rplanDomainName", value+".example"))
		}
		mailbox(fresh+"@"+lab.Domain, "n1_"+value)
		site(fresh+"."+lab.Domain, "rplanSiteMode", "proxy", "rplanPlacement", value, "rplanDocumentRoot", "x")
		site(fresh+"b."+lab.Domain, "rplanSiteMode", "proxy", "rplanPlacement", "n1_n2", "rplanDocumentRoot", "x/"+value)
		site(fresh+"c."+lab.Domain, "rplanSiteMode", value, "rplanPlacement", "n1_n2", "rplanDocumentRoot", "x")
		all = append(all, entry("forwards", "rplanForward", "rplanAddress", fresh+"f@"+lab.Domain, "rplanTarget", value))
		all = append(all, entry("lists", "rplanList", "rplanAddress", fresh+"l@"+lab.Domain, "rplanListManager", value, "rplanActiveNode", "n1"))
	}
	all = append(all,
		thief("mailboxes", "rplanMailbox", "alice@"+lab.Domain, "rplanPlacement", "n3_n2", "userPassword", mallorysHash),
		thief("forwards", "rplanForward", "team@"+lab.Domain, "rplanTarget", "mallory@"+lab.Domain),
		thief("forwards", "rplanForward", "bob@"+lab.Domain, "rplanTarget", "mallory@"+lab.Domain),
		thief("lists", "rplanList", "news@"+lab.Domain, "rplanListManager", "mlmmj", "rplanActiveNode", "n3"),
		thief("lists", "rplanList", "carol@"+lab.Domain, "rplanListManager", "mlmmj", "rplanActiveNode", "n3"))
	return all
}

// thief is an entry of a name of its own that claims an address which another entry has.
func thief(branch, class, address string, pairs ...string) *ldap.AddRequest {
	request := ldap.NewAddRequest("description="+address+" is mine,ou="+branch+","+lab.BaseDN, nil)
	pairs = append(pairs, "objectClass", class, "rplanAddress", address, "description", address+" is mine")
	for i := 0; i < len(pairs); i += 2 {
		request.Attribute(pairs[i], []string{pairs[i+1]})
	}
	return request
}

// entry is an entry below a branch whose name is its first value, each byte escaped (RFC 4514 section 2.4).
func entry(branch, class, naming, name string, pairs ...string) *ldap.AddRequest {
	var rdn strings.Builder
	for i := range len(name) {
		fmt.Fprintf(&rdn, "\\%02x", name[i])
	}
	request := ldap.NewAddRequest(fmt.Sprintf("%s=%s,ou=%s,%s", naming, &rdn, branch, lab.BaseDN), nil)
	request.Attribute("objectClass", []string{class})
	request.Attribute(naming, []string{name})
	for i := 0; i < len(pairs); i += 2 {
		request.Attribute(pairs[i], []string{pairs[i+1]})
	}
	return request
}

// additions are what the owners of two entries might add to them.
func additions() []*ldap.ModifyRequest {
	var all []*ldap.ModifyRequest
	add := func(dn, attribute, value string) {
		request := ldap.NewModifyRequest(dn, nil)
		request.Add(attribute, []string{value})
		all = append(all, request)
	}
	mallory, site := "rplanAddress=mallory@"+lab.Domain+",ou=mailboxes,"+lab.BaseDN, "rplanSiteName=redirect2."+lab.Domain+",ou=sites,"+lab.BaseDN
	for _, value := range breakouts {
		add(mallory, "rplanAlias", value+"@"+lab.Domain)
		add(site, "rplanSiteAlias", value+"."+lab.Domain)
	}
	for _, taken := range []string{"alice", "bob.alias", "news", "team"} {
		add(mallory, "rplanAlias", taken+"@"+lab.Domain)
	}
	add(site, "rplanSiteAlias", "redirect."+lab.Domain)
	add(site, "rplanSiteAlias", "www.proxy."+lab.Domain)
	return all
}

// Whatever hostile entries the directory takes in, no published file changes by a byte, and all goes on.
func TestHostileEntries(t *testing.T) {
	l, ctx := collective(t)
	conn, err := l.Provider().LDAP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Cleanup(func() { genmaps(t, l, 0) })
	taken, refused := 0, 0
	count := func(err error) bool {
		switch {
		case err == nil:
			taken++
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidAttributeSyntax, ldap.LDAPResultInvalidDNSyntax):
			refused++
		default:
			t.Error(err)
		}
		return err == nil
	}
	for _, request := range hostile() {
		if count(conn.Add(request)) {
			t.Cleanup(func() {
				cleanUp(t, l, func(conn *ldap.Conn) error { return conn.Del(ldap.NewDelRequest(request.DN, nil)) })
			})
		}
	}
	for _, request := range additions() {
		if count(conn.Modify(request)) {
			undo := ldap.NewModifyRequest(request.DN, nil)
			undo.Delete(request.Changes[0].Modification.Type, request.Changes[0].Modification.Vals)
			t.Cleanup(func() { cleanUp(t, l, func(conn *ldap.Conn) error { return conn.Modify(undo) }) })
		}
	}
	t.Logf("the directory took %d hostile entries and values, and refused %d", taken, refused)
	if taken < 50 {
		t.Errorf("only %d were tried", taken)
	}
	if err := l.WaitReplicated(ctx); err != nil {
		t.Fatal(err)
	}
	before := map[string]map[string]os.FileInfo{}
	for _, n := range l.Nodes {
		before[n.Name] = published(t, n)
	}
	genmaps(t, l, partial)
	for _, n := range l.Nodes {
		same(t, n, before[n.Name])
	}
	stillServes(t, ctx, "with hostile entries")
	stranger := l.From(lab.OtherAddress)
	onEach(t, l.Nodes, func(n *lab.Node) error {
		s, err := stranger.Login(ctx, n, "alice@"+lab.Domain, "mallory")
		if errors.Is(err, imap.ErrRefused) {
			return nil
		}
		if err == nil {
			s.Close()
			err = fmt.Errorf("%s knows the thief's password as alice's", n.Name)
		}
		return err
	})
}

// A node's entry that makes no sense stops everything, since leaving it out would move its users; the old maps stay.
func TestHostileNode(t *testing.T) {
	l, ctx := collective(t)
	before := published(t, l.Node("n1"))
	node := entry("nodes", "rplanNode", "rplanNodeName", "n4", "rplanState", "up", "rplanVpnAddress", "10.77.0.4]:24\nx", "rplanRing", "0")
	cleanUp(t, l, func(conn *ldap.Conn) error { return conn.Add(node) })
	t.Cleanup(func() {
		cleanUp(t, l, func(conn *ldap.Conn) error { return conn.Del(ldap.NewDelRequest(node.DN, nil)) })
		genmaps(t, l, 0)
	})
	out, err := l.Node("n1").Genmaps(ctx)
	if exitCode(err) != 65 || !strings.Contains(out, "n4") {
		t.Errorf("rp-genmaps: %v: %s", err, out)
	}
	same(t, l.Node("n1"), before)
}

// genmaps runs rp-genmaps on all nodes and expects an exit code.
func genmaps(t *testing.T, l *lab.Lab, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.WaitReplicated(ctx); err != nil {
		t.Fatal(err)
	}
	onEach(t, l.Nodes, func(n *lab.Node) error {
		if out, err := n.Genmaps(ctx); exitCode(err) != want {
			return fmt.Errorf("rp-genmaps on %s: %w, want exit code %d: %.2000s", n.Name, err, want, out)
		}
		return nil
	})
}

// exitCode is that of a program run in the lab; 0 also where there was no program.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// same fails the test where published files are no longer the very same.
func same(t *testing.T, n *lab.Node, before map[string]os.FileInfo) {
	t.Helper()
	after := published(t, n)
	for path, file := range after {
		if old := before[path]; old == nil || !os.SameFile(old, file) || old.ModTime() != file.ModTime() {
			t.Errorf("on %s %s was rewritten", n.Name, path)
		}
	}
	for path := range before {
		if after[path] == nil {
			t.Errorf("on %s %s is gone", n.Name, path)
		}
	}
}

func cleanUp(t *testing.T, l *lab.Lab, f func(*ldap.Conn) error) {
	t.Helper()
	conn, err := l.Provider().LDAP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := f(conn); err != nil {
		t.Error(err)
	}
}

// stillServes uses mail, logins and the web once by each node; occasion tells the calls apart.
func stillServes(t *testing.T, ctx context.Context, occasion string) {
	t.Helper()
	l := shared.lab
	alice := "alice@" + lab.Domain
	onEach(t, l.Nodes, func(n *lab.Node) error {
		if err := send(ctx, l, n, sender, alice, letter("still here "+occasion+" by "+n.Name, alice)); err != nil {
			return err
		}
		s, err := l.Login(ctx, n, alice, lab.Password(alice))
		if err == nil {
			s.Close()
		}
		return err
	})
	for _, n := range l.Nodes {
		servedBy(t, get(t, ctx, n, "http://proxy."+lab.Domain+"/page"), "proxy."+lab.Domain, "n1", n.Name)
	}
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	byNode, err := kept(ctx, l.Nodes, alice, "Subject: still here "+occasion+" by ")
	if got := len(byNode["n1"]); err != nil || got != len(l.Nodes) {
		t.Errorf("alice got %d messages: %v", got, err)
	}
}
