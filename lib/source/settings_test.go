package source

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Every field of every kind has an attribute by default.
func TestDefaults(t *testing.T) {
	s := settings("ldapi:///", "ldif:x")
	if _, err := New(s); err != nil {
		t.Fatal(err)
	}
	for kind := range directory.NumKinds {
		for _, field := range kind.Fields() {
			if s.mapping(kind).Attributes[field] == "" {
				t.Errorf("field %q of a %s has no attribute", field, kind)
			}
		}
	}
}

// The settings say what is wrong with them, by key.
func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct{ toml, want string }{
		{`urls = []`, "directory.urls: there is none"},
		{`base = ""`, "directory.base: it is missing"},
		{`timeout = "0s"`, `directory.timeout: "0s" is no time to wait`},
		{`bind-dn = "cn=x"`, "directory.bind-dn and directory.password-file: one is of no use without the other"},
		{`password-file = "/x"`, "directory.bind-dn and directory.password-file: one is of no use without the other"},
		{`urls = ["http://x"]`, `directory.urls: "http://x" is no URL of a directory`},
		{`urls = ["ldap://"]`, `directory.urls: "ldap://" is no URL of a directory`},
		{`urls = ["ldap://x/dc=net"]`, `directory.urls: "ldap://x/dc=net" is no URL of a directory`},
		{`urls = ["ldap://user:pw@x"]`, `directory.urls: "ldap://user:pw@x" is no URL of a directory`},
		{`urls = ["ldapi://%ZZ"]`, `directory.urls: "ldapi://%ZZ" is no URL of a directory`},
		{`urls = ["ldif:"]`, `directory.urls: "ldif:" names no file`},
		{"urls = [\"ldap://x\"]\nstarttls = false\nbind-dn = \"cn=x\"\npassword-file = \"/x\"",
			`directory.urls: the password would cross the network in the clear to "ldap://x"`},
		{"urls = [\"ldap://10.0.0.1:389\"]\nstarttls = false\nbind-dn = \"cn=x\"\npassword-file = \"/x\"",
			`directory.urls: the password would cross the network in the clear to "ldap://10.0.0.1:389"`},
		{`mailbox.attributes = {adress = "mail"}`, `directory.mailbox.attributes: a mailbox has no field "adress"`},
		{`mailbox.values = {state = {a = "b"}}`, `directory.mailbox.values: a mailbox has no field "state"`},
		{`site.default = {target = "b"}`, `directory.site.default: a site has no field "target"`},
		{`list.attributes = {owner = "two words"}`, `directory.list.attributes.owner: "two words" is no attribute name`},
		{`list.attributes = {address = ""}`, `directory.list.attributes.address: without it a list has no name`},
		{`forward.scope = "deep"`, `directory.forward.scope: "deep" is not one of base, one, sub`},
		{`domain.filter = "objectClass=x"`, `directory.domain.filter: "objectClass=x": `},
		{`domain.filter = "(objectClass=x"`, `directory.domain.filter: "(objectClass=x": `},
		{"urls = [\"ldif:x\"]\ndomain.filter = \"(a>=1)\"", `directory.domain.filter: "(a>=1)": an LDIF file cannot be searched with "Greater Or Equal"`},
	} {
		s := settings("ldapi:///")
		if _, err := toml.Decode(c.toml, &s); err != nil {
			t.Errorf("%s: %v", c.toml, err)
			continue
		}
		if _, err := New(s); err == nil || !strings.HasPrefix(err.Error(), c.want) || diag.KindOf(err) != diag.Config {
			t.Errorf("%s: %v, want %s", c.toml, err, c.want)
		}
	}
}

func TestSettingsAccepted(t *testing.T) {
	for _, text := range []string{
		`urls = ["ldapi://", "ldapi:///", "ldapi://%2Frun%2Fldapi", "ldapi://%2Frun%2Fldapi/", "ldap://x", "ldap://x/", "ldaps://[::1]:99"]`,
		"urls = [\"ldap://127.0.0.1\", \"ldap://[::1]\", \"ldap://localhost:3\"]\nstarttls = false\nbind-dn = \"cn=x\"\npassword-file = \"/x\"",
		"urls = [\"ldap://10.0.0.1\"]\nstarttls = false",
		`list.filter = ""`,
		`timeout = "5m"`,
	} {
		s := settings("ldapi:///")
		if _, err := toml.Decode(text, &s); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if _, err := New(s); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A table of the file changes what it names, and leaves the rest of the defaults.
func TestSettingsMerge(t *testing.T) {
	s := settings("ldapi:///")
	if _, err := toml.Decode("timeout = \"5m\"\n[mailbox]\nattributes = {address = \"mail\", alias = \"\"}\n", &s); err != nil {
		t.Fatal(err)
	}
	if s.Timeout != 5*time.Minute || s.Mailbox.Attributes["address"] != "mail" || s.Mailbox.Attributes["placement"] != "rplanPlacement" || s.Mailbox.Base != "ou=mailboxes" {
		t.Errorf("settings are %+v", s)
	}
	p, err := newPlan(&s, false)
	if err != nil {
		t.Fatal(err)
	}
	want := "createTimestamp mail rplanPlacement rplanStatus rplanDelivery"
	if k := p.kinds[directory.KindMailbox]; strings.Join(k.attributes, " ") != want || k.base != "ou=mailboxes,dc=example,dc=net" {
		t.Errorf("plan is %+v", k)
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct{ dn, base, want string }{
		{"ou=x", "dc=net", "ou=x,dc=net"},
		{"ou=x,dc=net", "dc=net", "ou=x,dc=net"},
		{"ou=x, DC=Net", "dc=net", "ou=x, DC=Net"},
		{"", "dc=net", "dc=net"},
		{"dc=net", "dc=net", "dc=net"},
		{"ou=dc=net", "dc=net", "ou=dc=net,dc=net"},
	} {
		if got := below(c.dn, c.base); got != c.want {
			t.Errorf("%q below %q is %q", c.dn, c.base, got)
		}
	}
}

func TestVersion(t *testing.T) {
	csn := func(csns ...string) Version {
		var b [][]byte
		for _, c := range csns {
			b = append(b, []byte(c))
		}
		return newVersion(b)
	}
	const (
		a1 = "20260101000000.000000Z#000000#001#000000"
		a2 = "20260101000000.000001Z#000000#001#000000"
		b1 = "20250101000000.000000Z#000000#002#000000"
	)
	for _, c := range []struct {
		v, w        Version
		same, older bool
	}{
		{csn(a1), csn(a1), true, false},
		{csn(a1), csn(a2), false, true},
		{csn(a2), csn(a1), false, false},
		{csn(a1, b1), csn(b1, a1), true, false},
		{csn(a2), csn(a1, b1), false, true}, // nothing of server 2
		{csn(a2, b1), csn(a2), false, false},
		{csn(a1, b1), csn(a2, b1), false, true},
		{"", "", false, false},
		{"", csn(a1), false, true}, // a replica that has not yet got everything
		{csn(a1), "", false, false},
		{"sha256:00", csn(a1), false, false},
		{csn(a1), "sha256:00", false, false},
		{"sha256:00", "sha256:11", false, false},
		{csn("nonsense\n"), csn("nonsense\n"), false, false},
	} {
		if got := c.v.Same(c.w); got != c.same {
			t.Errorf("%q same as %q: %v", c.v, c.w, got)
		}
		if got := c.v.Older(c.w); got != c.older {
			t.Errorf("%q older than %q: %v", c.v, c.w, got)
		}
	}
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	path("credential", "secret\n", 0o440)
	for name, want := range map[string]string{
		path("a", "secret", 0o600):       "secret",
		path("b", "secret\n", 0o400):     "secret",
		path("c", "secret\r\n", 0o640):   "secret",
		path("d", " sec ret \n", 0o600):  " sec ret ",
		path("e", "sécret\x00\n", 0o600): "sécret\x00",
		"credential":                     "secret",
	} {
		if got, err := readPassword(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	foreign := path("foreign", "secret", 0o600)
	group := path("group", "secret", 0o640)
	if os.Geteuid() == 0 {
		for name, ids := range map[string][2]int{foreign: {65534, 0}, group: {0, 65534}} {
			if err := os.Chown(name, ids[0], ids[1]); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		foreign, group = path("f2", "x", 0o604), path("g2", "x", 0o660)
	}
	for name, want := range map[string]string{
		path("m", "secret", 0o644): "others can read",
		path("n", "secret", 0o604): "others can read",
		path("o", "secret", 0o660): "others can read",
		group:                      "others can read",
		foreign:                    "",
		path("p", "", 0o600):       "does not hold one line",
		path("q", "\n", 0o600):     "does not hold one line",
		path("r", "a\nb\n", 0o600): "does not hold one line",
		path("s", strings.Repeat("x", 5000), 0o600): "does not hold one line",
		dir:             "is not a regular file",
		dir + "/absent": "no such file",
		"absent":        "no such file",
	} {
		_, err := readPassword(name)
		if err == nil || !strings.Contains(err.Error(), want) || diag.KindOf(err) != diag.Config || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if want == "others can read" && !strings.HasPrefix(diag.HintOf(err), "chmod 600 ") {
			t.Errorf("%s: hint is %q", name, diag.HintOf(err))
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := readPassword("credential"); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("without credentials: %v", err)
	}
}

func TestLag(t *testing.T) {
	const sid1, sid2 = "#000000#001#000000", "#000000#002#000000"
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int, server string) string {
		return noon.Add(time.Duration(seconds)*time.Second).Format("20060102150405.000000Z") + server
	}
	for _, c := range []struct {
		replica, provider string
		lag               time.Duration
		divided           bool
	}{
		{at(0, sid1), at(0, sid1), 0, false},
		{at(0, sid1), at(50, sid1), 10 * time.Second, false},
		{at(0, sid1), at(70, sid1), 1, false}, // by the provider's clock that is still to come
		{at(50, sid1), at(0, sid1), 0, true},  // restored from a backup
		{at(0, sid1) + "," + at(9, sid2), at(30, sid1), 30 * time.Second, true},
		{at(0, sid1), at(0, sid1) + "," + at(20, sid2), 40 * time.Second, false},
	} {
		replica, provider := Version("csn:"+c.replica), Version("csn:"+c.provider)
		if lag, divided := replica.Lag(provider, noon.Add(time.Minute)), replica.Divided(provider); lag != c.lag || divided != c.divided {
			t.Errorf("%q behind %q: %v, %v; want %v, %v", replica, provider, lag, divided, c.lag, c.divided)
		}
	}
	if lag := Version("").Lag("csn:"+Version(at(0, sid1)), noon.Add(time.Minute)); lag != time.Minute {
		t.Errorf("an empty replica lags %v", lag)
	}
}

// What is read for the lists has them as the whole directory has them, and no user.
func TestOfLists(t *testing.T) {
	s := Defaults()
	s.Base, s.URLs = "dc=example,dc=net", []string{"ldif:../../contrib/example/collective.ldif"}
	read := func(s Settings) *directory.Snapshot {
		src, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := src.Read(context.Background(), directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Snapshot
	}
	all, lists := read(s), read(s.OfLists())
	if len(lists.Lists) == 0 || !reflect.DeepEqual(lists.Lists, all.Lists) || !reflect.DeepEqual(lists.Nodes, all.Nodes) {
		t.Errorf("%+v, not %+v", lists.Lists, all.Lists)
	}
	if n := len(lists.Mailboxes) + len(lists.Forwards) + len(lists.Sites); n > 0 || len(all.Mailboxes) == 0 || s.Mailbox.Filter == "" {
		t.Errorf("%d users and sites", n)
	}
}
