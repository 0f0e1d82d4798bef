package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/tests/need"
	"rplan/tests/slapd"
)

const (
	ada  = "cn=ada,ou=services," + slapd.Suffix
	two  = "rplanNodeName=n2,ou=nodes," + slapd.Suffix
	pass = "pw"
)

// people is the tree in which everybody's password is pass.
func people(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(slapd.Contrib("tree.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	return []string{write(t, "tree.ldif", strings.ReplaceAll(string(text), "{REPLACE-ME}", pass)), slapd.Contrib("groups.ldif")}
}

func runProvider(t *testing.T, cert *slapd.Certificate) *slapd.Server {
	t.Helper()
	return slapd.Run(t, slapd.Options{ACL: true, Provider: true, TLS: cert, LDIF: people(t)})
}

// writer writes as dn, or as this process's user where there is none.
func writer(t *testing.T, url, dn string) *Writer {
	t.Helper()
	s := settings(url)
	if dn != "" {
		s.BindDN, s.PasswordFile = dn, write(t, "password", pass)
	}
	w, err := NewWriter(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// stateOf reads one node at the provider.
func stateOf(t *testing.T, w *Writer, name string) NodeState {
	t.Helper()
	states, version, err := w.States(context.Background())
	if err != nil || version == "" {
		t.Fatalf("version %q, %v", version, err)
	}
	for _, s := range states {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no %q in %v", name, states)
	return NodeState{}
}

func change(state directory.State, by string) Change {
	return Change{State: state, Since: time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("", 3600)), Reason: "a new disk", By: by}
}

// logged is how often the provider's log says that something was written, which must be one entry.
func logged(t *testing.T, s *slapd.Server, dn string) int {
	t.Helper()
	dns, err := s.Writes()
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range dns {
		if written != dn {
			t.Errorf("%q was written", written)
		}
	}
	return len(dns)
}

// A provider that is killed after a write comes back with its version.
func TestWriteThenKill(t *testing.T) {
	need.Root(t)
	s := runProvider(t, nil)
	w := writer(t, s.LDAPI(), "")
	version, err := w.Write(t.Context(), stateOf(t, w, "n2"), change(directory.Draining, "ada"))
	if err == nil {
		err = errors.Join(s.Kill(), s.Start())
	}
	if err != nil {
		t.Fatal(err)
	}
	if now, err := open(t, settings(s.LDAPI())).Version(t.Context()); err != nil || now != version || version == "" {
		t.Errorf("version %q after the write, and %q after the kill; %v", version, now, err)
	}
}

// A state change is one write, with all that people want to know of it.
func TestWrite(t *testing.T) {
	need.Root(t)
	s := runProvider(t, nil)
	for i, dn := range []string{"", ada} {
		w := writer(t, s.LDAPI(), dn)
		was := stateOf(t, w, "n2")
		before, err := open(t, settings(s.LDAPI())).Version(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		by := fmt.Sprintf("admin %d", i)
		version, err := w.Write(context.Background(), was, change(directory.Draining, by))
		if err != nil || !before.Older(version) {
			t.Fatalf("version %q after %q, %v", version, before, err)
		}
		r, err := open(t, settings(s.LDAPI())).Read(context.Background(), directory.Network{})
		if err != nil {
			t.Fatal(err)
		}
		n := r.Snapshot.Node("n2")
		if n.State != directory.Draining || n.Since.Format(time.RFC3339) != "2026-03-01T12:00:00Z" || n.Reason != "a new disk" || n.By != by || r.Version != version {
			t.Errorf("node %+v at %q, want %q", n, r.Version, version)
		}
		now := stateOf(t, w, "n2")
		if !now.Later(&was) || was.Later(&now) {
			t.Errorf("%q is not later than %q", now.csn, was.csn)
		}
		if n := logged(t, s, two); n != i+1 {
			t.Errorf("%d writes for %d changes", n, i+1)
		}
	}
	w := writer(t, s.LDAPI(), ada)
	bare := change(directory.Out, "")
	bare.Reason = ""
	if _, err := w.Write(context.Background(), stateOf(t, w, "n2"), bare); err != nil {
		t.Fatal(err)
	}
	if n := stateOf(t, w, "n2"); n.State != directory.Out || n.Reason != "" || n.By != "" {
		t.Errorf("node is %+v", n)
	}
}

// Of many who saw the same, one wins; all others learn who it was.
func TestRace(t *testing.T) {
	s := runProvider(t, nil)
	w := writer(t, s.LDAPI(), ada)
	was := stateOf(t, w, "n2")
	const writers = 8
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			_, errs[i] = writer(t, s.LDAPI(), ada).Write(context.Background(), was, change(directory.Draining, fmt.Sprint(i)))
		})
	}
	all.Wait()
	winner := stateOf(t, w, "n2").By
	for i, err := range errs {
		if fmt.Sprint(i) == winner {
			if err != nil {
				t.Errorf("the winner is told %v", err)
			}
			continue
		}
		want := `node "n2" was changed meanwhile: it is draining since 2026-03-01T12:00:00Z, by ` + winner + " (a new disk)"
		if err == nil || err.Error() != want || diag.KindOf(err) != diag.Refused || diag.HintOf(err) == "" {
			t.Errorf("writer %d is told %v, want %s", i, err, want)
		}
		if changed, ok := errors.AsType[*Changed](err); !ok || changed.Now.State != directory.Draining {
			t.Errorf("writer %d cannot tell what it is now: %v", i, err)
		}
	}
	if n := logged(t, s, two); n != 1 {
		t.Errorf("%d writes", n)
	}
}

// A replica sends who writes on to the provider, by StartTLS with the admin's password.
func TestReplicaSendsOn(t *testing.T) {
	cert := certificate(t)
	s := runProvider(t, cert)
	replica := slapd.Run(t, slapd.Options{ACL: true, TLS: cert, Consumer: &slapd.Consumer{Provider: s.URL(), BindDN: two, Password: pass, CA: cert.CA}})
	set := settings(replica.LDAPI())
	set.CAFile = cert.CA
	src := open(t, set)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v, err := src.Version(context.Background()); err == nil && v != "" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the replica stays empty: %v", err)
		}
	}
	if os.Geteuid() == 0 {
		w, err := NewWriter(set, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = w.States(context.Background())
		want := replica.LDAPI() + " keeps a copy only; " + s.URL() + " takes the writes"
		if err == nil || err.Error() != want || diag.KindOf(err) != diag.Config || !strings.Contains(diag.HintOf(err), "as root, or set admin-dn and admin-password-file in [failover]; if that machine is lost: ") {
			t.Errorf("without a password: %v, hint %q; want %s", err, diag.HintOf(err), want)
		}
	}
	set.BindDN, set.PasswordFile = ada, write(t, "password", pass)
	set.PasswordFile = "" // typed
	w, err := NewWriter(set, []byte(pass))
	if err != nil {
		t.Fatal(err)
	}
	was := stateOf(t, w, "n2")
	if _, err := w.Write(context.Background(), was, change(directory.Draining, "ada")); err != nil {
		t.Fatal(err)
	}
	if n := logged(t, s, two); n != 1 {
		t.Errorf("%d writes", n)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.States(context.Background()); err == nil || diag.KindOf(err) != diag.TryAgain || !strings.Contains(err.Error(), s.URL()) {
		t.Errorf("with the provider down: %v", err)
	}
}

// Nodes write nothing, not even their own state.
func TestNoRights(t *testing.T) {
	s := runProvider(t, nil)
	w := writer(t, s.LDAPI(), two)
	_, err := w.Write(context.Background(), stateOf(t, w, "n2"), change(directory.Up, "n2"))
	want := s.LDAPI() + `: insufficient access rights at writing that node "n2" is up`
	if err == nil || err.Error() != want || diag.KindOf(err) != diag.Config || !strings.Contains(diag.HintOf(err), "admin-dn") {
		t.Errorf("a node is told %v (hint %q), want %s", err, diag.HintOf(err), want)
	}
	if n := logged(t, s, two); n != 0 {
		t.Errorf("%d writes", n)
	}
}

// A directory with other names keeps them.
func TestWriteThroughTheMapping(t *testing.T) {
	s := slapd.Run(t, slapd.Options{LDIF: people(t)})
	set := settings(s.LDAPI())
	set.BindDN, set.PasswordFile = s.RootDN, write(t, "password", s.RootPassword)
	set.Node.Attributes["state"], set.Node.Attributes["since"], set.Node.Attributes["by"] = "rplanClass", "", "description"
	set.Node.Values["state"] = map[string]string{"large": "up", "small": "out"}
	w, err := NewWriter(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []directory.State{directory.Up, directory.Out, directory.Draining} {
		states, _, err := w.States(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(context.Background(), states[1], change(to, "ada")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(context.Background(), states[1], change(to, "bob")); err == nil {
			t.Errorf("a second write of %s goes through", to)
		}
	}
	conn, err := s.Bind(s.RootDN, s.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest(two, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	e := result.Entries[0]
	if e.GetAttributeValue("rplanClass") != "draining" || e.GetAttributeValue("description") != "ada" || e.GetAttributeValue("rplanState") != "out" {
		e.PrettyPrint(2)
		t.Error("the entry is not as it should be")
	}
}

func TestWriterRefused(t *testing.T) {
	if _, err := NewWriter(settings("ldif:/x"), nil); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), "written to a server only") {
		t.Errorf("an LDIF file: %v", err)
	}
	for url, want := range map[string]string{"http://x": `failover.write-urls: "http://x" is no URL`, "ldap://10.0.0.1": "failover.admin-dn: there is no password"} {
		set := settings(url)
		set.BindDN, set.StartTLS = ada, false
		if _, err := NewWriter(set, nil); url != "http://x" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
		if _, err := NewWriter(set, []byte(pass)); diag.KindOf(err) != diag.Config || !strings.HasPrefix(err.Error(), "failover.write-urls: ") {
			t.Errorf("%s: %v", url, err)
		}
	}
	s := runProvider(t, nil)
	set := settings(s.LDAPI())
	set.BindDN = ada
	wrong, err := NewWriter(set, []byte("not it"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := wrong.States(context.Background()); diag.KindOf(err) != diag.Config || diag.HintOf(err) != "check admin-dn in [failover] and its password" {
		t.Errorf("a wrong password: %v, hint %q", err, diag.HintOf(err))
	}
	w := writer(t, "ldapi://%2Fno%2Fsuch", "")
	_, _, err = w.States(context.Background())
	for _, want := range []string{"is slapd running", `; if that machine is lost: /usr/share/doc/rplan/contrib/ldap/README.md, "The provider is lost"`} {
		if diag.KindOf(err) != diag.TryAgain || !strings.Contains(diag.HintOf(err), want) {
			t.Errorf("no server: %v, hint %q", err, diag.HintOf(err))
		}
	}
}
