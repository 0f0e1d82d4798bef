package directory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSites(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=alice", "alice@example.org")
	c.mailbox("cn=gone", "gone@example.org", "status=suspended")
	site := func(dn, name string, fields ...string) {
		c.add("site", dn, append([]string{"name=" + name, "placement=n1_n2"}, fields...)...)
	}
	site("@1 cn=a", "a.example.org", "alias=www.example.org", "contact=alice@example.org", "mode=proxy", "document-root=x/y")
	site("@2 cn=b", "b.example.org", "alias=www.example.org", "alias=a.example.org", "alias=b.example.org", "contact=gone@example.org")
	site("@3 cn=a2", "a.example.org")
	site("cn=steal", "n1.nodes.example.net")
	site("cn=dots", "d.example.org", "document-root=../../etc")
	c.add("site", "cn=all", "name=all.example.org", "mode=everywhere")
	s, problems := c.snapshot()
	if len(s.Sites) != 3 {
		t.Errorf("sites %+v", s.Sites)
	}
	if a := s.SiteOf("www.example.org"); a == nil || a.DN != "cn=a" || a.Mode != Proxy || a.Root != "x/y" || a.Contact != "alice@example.org" {
		t.Errorf("site a: %+v", a)
	}
	if b := s.SiteOf("b.example.org"); b == nil || len(b.Aliases) != 0 || b.Contact != "" || b.Root != "b.example.org" {
		t.Errorf("site b: %+v", b)
	}
	wantProblem(t, problems, `"cn=b", "cn=a"`, `host name "www.example.org" is claimed by both: "cn=a" keeps it`)
	wantProblem(t, problems, `"cn=b", "cn=a"`, `host name "a.example.org"`)
	wantProblem(t, problems, `"cn=b": contact "gone@example.org"`, "suspended")
	wantProblem(t, problems, `"cn=a2", "cn=a"`, "has two entries")
	wantProblem(t, problems, `"cn=steal"`, "names in nodes.example.net belong to the nodes")
	wantProblem(t, problems, `"cn=dots"`, `document-root "../../etc"`)
}

func (c *collective) site(dn, name string, fields ...string) {
	c.add("site", dn, append([]string{"name=" + name, "mode=everywhere"}, fields...)...)
}

// No site shows the files of another, whichever way its document root comes to them.
func TestNoSiteReachesTheFilesOfAnother(t *testing.T) {
	for _, theirs := range []string{"victim", "victim/www", "victim/www/private", "victim/www/private/keys", "victim/other"} {
		for _, dn := range []string{"@9 cn=mallory", "cn=mallory"} {
			c := newCollective(t)
			c.site("@1 cn=victim", "victim.example.org", "document-root=victim/www/private")
			c.site("@2 cn=far", "far.example.org", "document-root=victim/other/far")
			c.site(dn, "mallory.example.org", "document-root="+theirs)
			s, problems := c.snapshot()
			if len(s.Sites) != 2 || s.SiteOf("mallory.example.org") != nil {
				t.Errorf("root %q: %+v", theirs, s.Sites)
			}
			keeper := "cn=victim"
			if theirs == "victim/other" {
				keeper = "cn=far"
			}
			wantProblem(t, problems, `"cn=mallory", "`+keeper+`": document root "`+theirs+`" of site "mallory.example.org"`, `"`+keeper+`" keeps its files to itself`)
		}
	}
}

// A directory is compared part by part, and large letters are others than small ones.
func TestDocumentRootsThatOnlyLookAlike(t *testing.T) {
	c := newCollective(t)
	for i, root := range []string{"a/b", "a/bc", "A/b", "a/B", "a-b", "ab"} {
		c.site(fmt.Sprintf("@%d cn=%d", i+1, i), fmt.Sprintf("s%d.example.org", i), "document-root="+root)
	}
	if s, problems := c.snapshot(); len(s.Sites) != 6 || problems != nil {
		t.Errorf("%d sites, problems %q", len(s.Sites), problems)
	}
}

// A root that is not said is the name, and is as good a claim as one that is.
func TestADocumentRootThatIsTheNameOfAnother(t *testing.T) {
	c := newCollective(t)
	c.site("@2 cn=mallory", "mallory.example.org", "document-root=shop.example.org")
	c.site("@1 cn=shop", "shop.example.org")
	s, problems := c.snapshot()
	if len(s.Sites) != 1 || s.Sites[0].DN != "cn=shop" {
		t.Errorf("sites %+v", s.Sites)
	}
	wantProblem(t, problems, `"cn=mallory", "cn=shop"`, `document root "shop.example.org"`)
}

// A newer site's main name does not take the alias of an older one; left out, it claims nothing else.
func TestAMainNameTakesNoOlderAlias(t *testing.T) {
	sites := [][]string{
		{"@1 cn=old", "old.example.org", "alias=www.example.org"},
		{"@2 cn=new", "www.example.org", "alias=free.example.org", "document-root=shared"},
		{"@3 cn=late", "late.example.org", "alias=free.example.org", "document-root=shared"},
		{"@4 cn=later", "free.example.org"},
		{"@5 cn=own", "own.example.org", "alias=late.example.org"},
	}
	for turn := range sites {
		c := newCollective(t)
		for i := range sites {
			site := sites[(i+turn)%len(sites)]
			c.site(site[0], site[1], site[2:]...)
		}
		s, problems := c.snapshot()
		for host, dn := range map[string]string{"www.example.org": "cn=old", "free.example.org": "cn=late", "late.example.org": "cn=late", "own.example.org": "cn=own"} {
			if site := s.SiteOf(host); site == nil || site.DN != dn {
				t.Errorf("turn %d: %s is %+v, want %s", turn, host, site, dn)
			}
		}
		if len(s.Sites) != 3 || !slices.IsSortedFunc(s.Sites, func(x, y Site) int { return strings.Compare(x.Name, y.Name) }) {
			t.Errorf("turn %d: sites %+v", turn, s.Sites)
		}
		wantProblem(t, problems, `"cn=new", "cn=old": host name "www.example.org"`, "is left out")
		wantProblem(t, problems, `"cn=later", "cn=late": host name "free.example.org"`, "is left out")
		wantProblem(t, problems, `"cn=own", "cn=late": host name "late.example.org"`)
	}
}

// What is sent to a contact address comes to a mailbox here, and no program answers it.
func TestContactsEndInAMailboxHere(t *testing.T) {
	c := newCollective(t)
	c.mailbox("cn=alice", "alice@example.org", "alias=al@example.org")
	c.add("list", "cn=talk", "address=talk@example.org", "manager=mailman3", "node=n1")
	c.forward("press", "talk@example.org", "alice@example.org")
	c.forward("office", "press@example.org")
	c.forward("team", "al@example.org", "bob@far.example")
	c.forward("moved", "bob@far.example")
	c.forward("moved2", "moved@example.org")
	contacts := map[string]string{
		"alice@example.org": "", "al+x@example.org": "", "team@example.org": "",
		"talk@example.org": "mailing list", "talk-request@example.org": "mailing list", "talk+x@example.org": "mailing list",
		"press@example.org": "mailing list", "office@example.org": "mailing list",
		"bob@far.example": "elsewhere", "moved@example.org": "elsewhere", "moved2@example.org": "elsewhere",
	}
	host := func(contact string) string { return strings.NewReplacer("+", "-", "@", ".").Replace(contact) }
	for contact := range contacts {
		c.site("cn="+contact, host(contact), "contact="+contact)
	}
	s, problems := c.snapshot()
	for contact, why := range contacts {
		if site := s.SiteOf(host(contact)); (site.Contact == contact) != (why == "") {
			t.Errorf("%s: contact %q", contact, site.Contact)
		}
		if why != "" {
			wantProblem(t, problems, `"cn=`+contact+`": contact "`+contact+`"`, why, "a contact address must end in a mailbox here")
		}
	}
}

// A host name that reads as an IP address would take what comes for that address.
func TestSiteNamesThatAreNumbers(t *testing.T) {
	c := newCollective(t)
	for _, name := range []string{"192.0.2.1", "127.1", "www.1", "0x7f.0x1"} {
		c.site("cn="+name, name)
	}
	c.site("cn=ok", "1.2.example.org", "alias=192.0.2.2")
	s, problems := c.snapshot()
	if len(s.Sites) != 1 || s.Sites[0].Name != "1.2.example.org" || len(s.Sites[0].Aliases) != 0 {
		t.Errorf("sites %+v", s.Sites)
	}
	if len(problems) != 5 {
		t.Errorf("problems %q", problems)
	}
}
