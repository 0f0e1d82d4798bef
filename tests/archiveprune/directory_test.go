package archiveprune

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/archive"
	"rplan/tests/need"
	"rplan/tests/slapd"
)

// collective is a directory with nodes n1 and n2, and lists: dev and quick are active on n1, ops on n2. It has no list called lost.
const collective = `dn: dc=example,dc=net
objectClass: dcObject
objectClass: organization
dc: example
o: The collective

dn: ou=nodes,dc=example,dc=net
objectClass: organizationalUnit
ou: nodes

dn: ou=domains,dc=example,dc=net
objectClass: organizationalUnit
ou: domains

dn: ou=lists,dc=example,dc=net
objectClass: organizationalUnit
ou: lists

dn: rplanDomainName=example.org,ou=domains,dc=example,dc=net
objectClass: rplanDomain
rplanDomainName: example.org
rplanDomainService: mail

dn: rplanNodeName=n1,ou=nodes,dc=example,dc=net
objectClass: rplanNode
rplanNodeName: n1
rplanState: up
rplanRing: 0
rplanRole: lists
rplanVpnAddress: 10.77.0.1

dn: rplanNodeName=n2,ou=nodes,dc=example,dc=net
objectClass: rplanNode
rplanNodeName: n2
rplanState: up
rplanRing: 0
rplanRole: lists
rplanVpnAddress: 10.77.0.2

dn: rplanAddress=dev@example.org,ou=lists,dc=example,dc=net
objectClass: rplanList
rplanAddress: dev@example.org
rplanListManager: mlmmj
rplanListCandidate: n1
rplanListCandidate: n2
rplanActiveNode: n1
rplanEpoch: 1

dn: rplanAddress=quick@example.org,ou=lists,dc=example,dc=net
objectClass: rplanList
rplanAddress: quick@example.org
rplanListManager: mlmmj
rplanListCandidate: n1
rplanActiveNode: n1
rplanEpoch: 1
rplanKeepHtml: 30d
rplanKeepMbox: 60d

dn: rplanAddress=ops@example.org,ou=lists,dc=example,dc=net
objectClass: rplanList
rplanAddress: ops@example.org
rplanListManager: mlmmj
rplanListCandidate: n1
rplanListCandidate: n2
rplanActiveNode: n2
rplanEpoch: 1
`

// withDirectory is node n1 with a real slapd, and archives of four lists.
func withDirectory(t *testing.T) (*node, *slapd.Server) {
	need.Program(t, "slapd", "slapadd")
	n := newNode(t, "", "archives/private")
	n.write("directory.ldif", collective)
	server := slapd.Run(t, slapd.Options{LDIF: []string{n.path("directory.ldif")}, NoSync: true})
	for i, list := range []string{"dev", "quick", "ops", "lost"} {
		mails := archive.Make{Seed: uint64(50 + i), N: 50, Start: time.Now().Add(-150 * day), Every: 72 * time.Hour, Plain: true}.Mails()
		_, err := archive.Pipermail(n.dir, list, mails, archive.PipermailOptions{})
		n.must(err)
	}
	text := n.read("rplan.toml")
	n.write("rplan.toml", fmt.Sprintf("node = \"n1\"\n[network]\nnodes-domain = \"nodes.example.net\"\ncontact-domain = \"contact.example.net\"\n"+
		"[directory]\nurls = [%q]\nbase = %q\ntimeout = \"2s\"\n%s", server.LDAPI(), server.BaseDN, text))
	return n, server
}

// of are the files of one list.
func of(files map[string]string, list string) map[string]string {
	some := map[string]string{}
	for name, text := range files {
		if strings.HasPrefix(name, list+"/") || strings.HasPrefix(name, list+".mbox/") {
			some[name] = text
		}
	}
	return some
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	n, server := withDirectory(t)
	before := n.files("archives/private")
	unchanged := func(lists ...string) {
		t.Helper()
		now := n.files("archives/private")
		for _, list := range lists {
			n.same(of(before, list), of(now, list))
		}
	}

	// A report has them all; what it could not do, it says.
	r := n.report(3)
	if len(r) != 4 || r["dev"].Goes.Files == 0 || r["lost"].Goes.Files == 0 || !slices.Contains(r["lost"].Notes, "the directory has no such list: --apply changes nothing of it") {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r["ops"].Error, `is active on node "n2"`) || r["ops"].Goes.Files != 0 {
		t.Errorf("%+v", r["ops"])
	}
	unchanged("dev", "quick", "ops", "lost")

	// Alone it is refused, and so is what is not in the directory, whatever is to be done with it.
	for _, args := range [][]string{{"--apply", "ops"}, {"--apply", "ops@example.org"}, {"--apply", "--keep-html", "0", "ops"}, {"--rebuild", "ops"}} {
		n.prune(2, `list "ops" is active on node "n2"`, args...)
	}
	for _, args := range [][]string{{"--apply", "lost"}, {"--apply", "--keep-mbox", "0", "lost"}, {"--rebuild", "lost"}} {
		n.prune(2, `list "lost": the directory has no such list`, args...)
	}
	unchanged("dev", "quick", "ops", "lost")

	// With others it keeps back only itself.
	s := n.prune(3, `list "ops" is active on node "n2"`, "--apply")
	if !strings.Contains(s.stderr, `list "lost": the directory has no such list`) {
		t.Errorf("--apply says %q", s.stderr)
	}
	unchanged("ops", "lost")
	now := n.files("archives/private")
	n.checkAges("dev", before, now, 90, 0)
	n.checkAges("quick", before, now, 30, 60) // as its entry says

	// Active here, it is this node's.
	setList(t, server, "ops", "rplanActiveNode", "n1")
	setList(t, server, "dev", "rplanActiveNode", "n2")
	n.prune(0, "", "--apply", "ops")
	n.checkAges("ops", before, n.files("archives/private"), 90, 0)
	n.prune(2, `list "dev" is active on node "n2"`, "--undo", "dev")
	n.prune(3, `list "dev" is active on node "n2"`, "--undo")
	unchanged("ops")
	if now := n.files("archives/private"); len(of(now, "dev")) == len(of(before, "dev")) {
		t.Error("dev, which is active elsewhere, was brought back")
	}
}

// A directory that does not answer says nothing of any list.
func TestDirectoryIsDown(t *testing.T) {
	n, server := withDirectory(t)
	before := n.files("archives/private")
	for _, down := range []func() error{server.Pause, func() error { return server.Kill() }} {
		if err := down(); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"--apply", "dev"}, {"--rebuild", "dev"}, {"--undo"}} {
			n.prune(75, server.LDAPI(), args...)
		}
		n.same(before, n.files("archives/private"))
		if _, err := os.Stat(n.path("archives/private/.rplan")); err == nil {
			t.Error("something was made in the tree")
		}
	}
	n.must(server.Start())
	n.prune(0, "", "--apply", "dev")

	// Without a section [directory] there is nobody to ask.
	text := n.read("rplan.toml")
	n.write("rplan.toml", text[strings.Index(text, "[archive]"):])
	n.must(server.Stop())
	n.apply()
	n.checkAges("lost", before, n.files("archives/private"), 90, 0)
}

func setList(t *testing.T, server *slapd.Server, list, attribute, value string) {
	t.Helper()
	conn, err := server.Bind(server.RootDN, server.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := ldap.NewModifyRequest("rplanAddress="+list+"@example.org,ou=lists,"+server.BaseDN, nil)
	m.Replace(attribute, []string{value})
	if err := conn.Modify(m); err != nil {
		t.Fatal(err)
	}
}

// checkAges fails unless a list has pages of the last days only, and messages of the last, or all with 0. Its mails are
// three days apart.
func (n *node) checkAges(list string, before, after map[string]string, html, mbox int) {
	n.Helper()
	pages, messages := 0, strings.Count(of(after, list)[list+".mbox/"+list+".mbox"], "\nMessage-ID: ")
	for name := range of(after, list) {
		if base := name[strings.LastIndex(name, "/")+1:]; len(base) == len("000000.html") && strings.HasPrefix(base, "0") {
			pages++
		}
	}
	if want := html / 3; pages < want-1 || pages > want+1 {
		n.Errorf("%s: %d pages stayed, want about %d", list, pages, want)
	}
	want := 50
	if mbox > 0 {
		want = mbox / 3
	}
	if messages < want-1 || messages > want+1 || mbox == 0 && messages != want {
		n.Errorf("%s: %d messages stayed, want about %d", list, messages, want)
	}
	if len(of(before, list)) == 0 {
		n.Errorf("%s was not there", list)
	}
}
