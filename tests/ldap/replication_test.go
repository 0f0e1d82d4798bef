package ldap

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

func provider(t *testing.T) *slapd.Server {
	t.Helper()
	return slapd.Run(t, slapd.Options{ACL: true, Provider: true, LDIF: directory(t), NoSync: true})
}

func consumer(t *testing.T, from *slapd.Server, name string) *slapd.Server {
	t.Helper()
	return slapd.Run(t, slapd.Options{ACL: true, NoSync: true,
		Consumer: &slapd.Consumer{Provider: from.URL(), BindDN: node(name), Password: password}})
}

// replica is the whole of what a server holds, with what replication compares.
func replica(t *testing.T, s *slapd.Server, dn string) map[string][]string {
	t.Helper()
	conn, err := s.Bind(dn, map[bool]string{true: s.RootPassword, false: password}[dn == s.RootDN])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return view(t, conn, base, "entryUUID", "entryCSN", "structuralObjectClass", "createTimestamp", "modifyTimestamp")
}

// synced waits until a consumer holds just what the provider shows its node.
func synced(t *testing.T, from, to *slapd.Server, name string) map[string][]string {
	t.Helper()
	var want, got map[string][]string
	defer func() {
		if t.Failed() {
			t.Logf("%s holds\n%q\nwant\n%q", name, got, want)
		}
	}()
	eventually(t, name+" holds what its node may read, and no more", func() bool {
		want, got = replica(t, from, node(name)), replica(t, to, to.RootDN)
		return reflect.DeepEqual(got, want)
	})
	return got
}

func TestReplicationByRing(t *testing.T) {
	from := provider(t)
	admin := bind(t, from, service("ada"))
	secret := func(held map[string][]string) bool {
		return strings.Contains(fmt.Sprint(held), "userPassword")
	}
	consumers := map[string]*slapd.Server{}
	for _, name := range []string{"n1", "mx1", "web2", "none2"} {
		consumers[name] = consumer(t, from, name)
		held := synced(t, from, consumers[name], name)
		if secret(held) != (name == "n1") {
			t.Errorf("%s holds passwords: %v", name, secret(held))
		}
		_, holds := held[mailbox("bob")]
		if want := name == "n1" || name == "mx1"; holds != want {
			t.Errorf("%s holds a mailbox: %v, want %v", name, holds, want)
		}
	}
	must(t, add(admin, "carol"))
	must(t, modify(admin, mailbox("bob"), "rplanPlacement", "n1_n2"))
	must(t, modify(admin, mailbox("bob"), "userPassword", strings.Replace(hash, "0123", "3210", 1)))
	must(t, modify(admin, node("n2"), "rplanState", "draining"))
	must(t, admin.Del(ldap.NewDelRequest(mailbox("alice"), nil)))
	must(t, admin.ModifyDN(ldap.NewModifyDNRequest("rplanSiteName=www.example.org,ou=sites,"+base, "rplanSiteName=example.com", true, "")))
	for name, to := range consumers {
		held := synced(t, from, to, name)
		if !slices.Contains(held[node("n2")], "rplanState: draining") {
			t.Errorf("%s holds of n2 %q, want the new state", name, held[node("n2")])
		}
	}
}

// A consumer that was away catches up, deletions too, also when the provider
// restarted meanwhile.
func TestCatchUp(t *testing.T) {
	from := provider(t)
	to := consumer(t, from, "mx1")
	synced(t, from, to, "mx1")
	must(t, to.Stop())
	admin := bind(t, from, service("ada"))
	must(t, add(admin, "carol"))
	must(t, admin.Del(ldap.NewDelRequest(mailbox("alice"), nil)))
	must(t, from.Stop())
	must(t, from.Start())
	must(t, to.Start())
	synced(t, from, to, "mx1")
}

// A provider that is killed does not come back with an older contextCSN than
// its consumers have: the checkpoint of syncprov is what writes it.
func TestKilledProvider(t *testing.T) {
	from := provider(t)
	to := consumer(t, from, "n1")
	must(t, modify(bind(t, from, service("ada")), node("n2"), "rplanState", "out"))
	synced(t, from, to, "n1")
	csn := func(s *slapd.Server) string {
		t.Helper()
		conn, err := s.Bind(s.RootDN, s.RootPassword)
		must(t, err)
		defer conn.Close()
		result, err := conn.Search(ldap.NewSearchRequest(base, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"contextCSN"}, nil))
		must(t, err)
		return result.Entries[0].GetAttributeValue("contextCSN")
	}
	before := csn(to)
	must(t, from.Kill())
	must(t, from.Start())
	if after := csn(from); before == "" || after != before {
		t.Errorf("the provider came back at %q, and its consumer is at %q", after, before)
	}
}

// changes are the DNs and the UUIDs of deleted entries that a provider tells
// the node mx1 about mailboxes since a cookie, and the next cookie.
func changes(t *testing.T, from *slapd.Server, cookie []byte) (changed, deleted []string, next []byte) {
	t.Helper()
	response := bind(t, from, node("mx1")).Syncrepl(context.Background(), ldap.NewSearchRequest("ou=mailboxes,"+base,
		ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=rplanMailbox)", []string{"rplanAddress"}, nil),
		16, ldap.SyncRequestModeRefreshOnly, cookie, false)
	for response.Next() {
		if entry := response.Entry(); entry != nil {
			changed = append(changed, entry.DN)
		}
		for _, control := range response.Controls() {
			switch c := control.(type) {
			case *ldap.ControlSyncDone:
				next = c.Cookie
			case *ldap.ControlSyncInfo:
				if c.SyncIdSet == nil || !c.SyncIdSet.RefreshDeletes {
					t.Errorf("unexpected sync info, such as of a comparison of all entries: %+v", c)
					continue
				}
				for _, id := range c.SyncIdSet.SyncUUIDs {
					deleted = append(deleted, id.String())
				}
			}
		}
	}
	must(t, response.Err())
	return changed, deleted, next
}

// The provider answers a consumer that was away with what changed and no more,
// also after a restart: the access log works as session log.
func TestSessionLog(t *testing.T) {
	for form, from := range map[string]*slapd.Server{"slapd.conf": provider(t), "cn=config": filled(t)} {
		admin := bind(t, from, service("ada"))
		must(t, modify(admin, node("n2"), "rplanState", "out")) // the log begins with the first change
		changed, _, cookie := changes(t, from, nil)
		if len(changed) != 2 || len(cookie) == 0 {
			t.Fatalf("%s: first poll: %q, cookie %q", form, changed, cookie)
		}
		result, err := admin.Search(ldap.NewSearchRequest(mailbox("alice"), ldap.ScopeBaseObject, ldap.NeverDerefAliases,
			0, 0, false, "(objectClass=*)", []string{"entryUUID"}, nil))
		must(t, err)
		alice := result.Entries[0].GetAttributeValue("entryUUID")
		must(t, add(admin, "carol"))
		must(t, admin.Del(ldap.NewDelRequest(mailbox("alice"), nil)))
		for _, when := range []string{"at once", "after a restart"} {
			changed, deleted, _ := changes(t, from, cookie)
			if !slices.Equal(changed, []string{mailbox("carol")}) || !slices.Equal(deleted, []string{alice}) {
				t.Errorf("%s, %s: changed %q, deleted %q; want carol, and alice %q", form, when, changed, deleted, alice)
			}
			must(t, from.Stop())
			must(t, from.Start())
		}
	}
}

// The log holds every secret: nobody but root of the machine reads it.
func TestLogIsSecret(t *testing.T) {
	need.Root(t)
	from := provider(t)
	must(t, modify(bind(t, from, service("ada")), mailbox("alice"), "userPassword", strings.Replace(hash, "0123", "3210", 1)))
	for _, dn := range []string{"", node("n1"), node("mx1"), service("authenticator"), service("ada"), mailbox("bob")} {
		if seen := view(t, bind(t, from, dn), "cn=log"); len(seen) > 0 {
			t.Errorf("%q reads the log: %q", dn, seen)
		}
	}
	local := bind(t, from, "")
	must(t, local.ExternalBind())
	if seen := view(t, local, "cn=log"); !strings.Contains(fmt.Sprint(seen), "reqDN: "+mailbox("alice")) {
		t.Errorf("the log lacks the change: %q", seen)
	}
}

// An evicted node gets no change more, on the connection it has open too.
func TestEvictedConsumer(t *testing.T) {
	from := provider(t)
	to, witness := consumer(t, from, "mx1"), consumer(t, from, "n2")
	synced(t, from, to, "mx1")
	admin := bind(t, from, service("ada"))
	must(t, modify(admin, node("mx1"), "rplanState", "evicted"))
	must(t, add(admin, "carol"))
	synced(t, from, witness, "n2") // the change has travelled
	must(t, add(admin, "dave"))
	synced(t, from, witness, "n2")
	held := replica(t, to, to.RootDN)
	for _, name := range []string{"carol", "dave"} {
		if _, holds := held[mailbox(name)]; holds {
			t.Errorf("the evicted node got %q", mailbox(name))
		}
	}
}

// A node with a new role or ring gets what it may now read by a reload, as
// README.md has it: stop, remove the data, start.
func TestReload(t *testing.T) {
	from := provider(t)
	to := consumer(t, from, "web2")
	synced(t, from, to, "web2")
	must(t, modify(bind(t, from, service("ada")), node("web2"), "rplanRole", "imap"))
	must(t, to.Stop())
	removeData(t, filepath.Join(to.Dir, "db"))
	must(t, to.Start())
	held := synced(t, from, to, "web2")
	if _, holds := held[mailbox("bob")]; !holds {
		t.Error("the reloaded node lacks what its new role needs")
	}
}

// A consumer sends who writes on to the provider.
func TestReferral(t *testing.T) {
	from := provider(t)
	to := consumer(t, from, "n1")
	synced(t, from, to, "n1")
	err := add(bind(t, to, service("ada")), "carol")
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultReferral) {
		t.Errorf("a write at a consumer: %v, want a referral", err)
	}
	must(t, from.Stop())
	bind(t, to, mailbox("bob")) // the consumer logs users in without the provider
}

// The shipped TLS lines: passwords and changes cross the network encrypted,
// from a provider whose certificate is checked.
func TestReplicationByTLS(t *testing.T) {
	good, err := slapd.NewCertificate(t.TempDir())
	must(t, err)
	other, err := slapd.NewCertificate(t.TempDir())
	must(t, err)
	from := slapd.Run(t, slapd.Options{ACL: true, Provider: true, LDIF: directory(t), NoSync: true, TLS: good})
	run := func(ca string) *slapd.Server {
		return slapd.Run(t, slapd.Options{ACL: true, NoSync: true, LogLevel: "sync",
			Consumer: &slapd.Consumer{Provider: from.URL(), BindDN: node("mx1"), Password: password, CA: ca}})
	}
	synced(t, from, run(good.CA), "mx1")
	fooled := run(other.CA)
	eventually(t, "a provider that is not known is refused", func() bool {
		return strings.Contains(read(t, fooled.LogPath()), "ldap_start_tls failed")
	})
	if held := replica(t, fooled, fooled.RootDN); len(held) > 0 {
		t.Errorf("a consumer took %d entries from a provider it does not know", len(held))
	}
}
