package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/tests/need"
	"rplan/tests/slapd"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func certificate(t *testing.T, hosts ...string) *slapd.Certificate {
	t.Helper()
	c, err := slapd.NewCertificate(t.TempDir(), hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mailboxes is LDIF of n mailboxes, u0@example.org and so on.
func mailboxes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "dn: rplanAddress=u%d@example.org,ou=mailboxes,%s\nobjectClass: rplanMailbox\nrplanAddress: u%[1]d@example.org\n"+
			"rplanAlias: alias%[1]d@example.org\nrplanPlacement: n1_n2\nrplanStatus: active\nuserPassword: {REPLACE-ME}\n\n", i, slapd.Suffix)
	}
	return b.String()
}

// readError reads what must not be readable.
func readError(t *testing.T, s Settings, kind diag.Kind, want string) {
	t.Helper()
	r, err := open(t, s).Read(context.Background(), directory.Network{})
	if err == nil || r != nil || !strings.Contains(err.Error(), want) || diag.KindOf(err) != kind {
		t.Errorf("%v: %v (kind %d), want %q (kind %d)", s.URLs, err, diag.KindOf(err), want, kind)
	}
}

// All ways to a server, and an LDIF file of what it has, give the same snapshot.
func TestURLs(t *testing.T) {
	cert := certificate(t)
	s := slapd.Run(t, slapd.Options{TLS: cert, Provider: true, LDIF: []string{slapd.Contrib("tree.ldif")}})
	password := write(t, "password", s.RootPassword+"\n")
	dump, err := exec.Command(need.Program(t, "slapcat"), "-f", s.ConfigPath(), "-b", s.BaseDN).Output()
	if err != nil {
		t.Fatal(err)
	}
	var first *Result
	for _, c := range []struct {
		url            string
		bind, starttls bool
	}{
		{s.LDAPI(), false, true},
		{s.LDAPI(), true, true},
		{s.URL(), false, true},
		{s.URL(), true, true},
		{s.URL(), false, false},
		{s.LDAPS(), false, true},
		{s.LDAPS(), true, false},
		{strings.Replace(s.LDAPS(), "127.0.0.1", "localhost", 1), true, false},
		{"ldif:" + write(t, "dump.ldif", string(dump)), false, false},
	} {
		set := settings(c.url)
		set.CAFile, set.StartTLS = cert.CA, c.starttls
		if c.bind {
			set.BindDN, set.PasswordFile = s.RootDN, password
		}
		r, err := open(t, set).Read(context.Background(), directory.Network{})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if first == nil {
			checkTree(t, r)
			first = r
		}
		if !reflect.DeepEqual(r.Snapshot, first.Snapshot) || r.URL != c.url || r.Passed != nil {
			t.Errorf("%s: got %+v", c.url, r)
		}
		if v, err := open(t, set).Version(context.Background()); err != nil || !v.Same(r.Version) {
			t.Errorf("%+v: version is %q, %v, and was %q", c, v, err, r.Version)
		}
	}

	other := certificate(t)
	for _, url := range []string{s.URL(), s.LDAPS()} {
		for _, ca := range []string{other.CA, ""} {
			set := settings(url)
			set.CAFile = ca
			readError(t, set, diag.Config, url+": tls: failed to verify certificate: x509: ")
		}
	}
	set := settings(s.URL())
	set.CAFile = cert.Key
	readError(t, set, diag.Config, "has no certificate in PEM")
	set.CAFile = "/no/such/ca.pem"
	readError(t, set, diag.Config, "directory.ca-file: open /no/such/ca.pem")
	set = settings(strings.Replace(s.URL(), "ldap:", "ldaps:", 1))
	readError(t, set, diag.TryAgain, "at the TLS handshake")

	set = settings(s.LDAPI())
	set.BindDN, set.PasswordFile = s.RootDN, write(t, "wrong", "not it")
	readError(t, set, diag.Config, s.LDAPI()+": invalid credentials at login")
	set = settings(s.URL())
	set.StartTLS, set.BindDN, set.PasswordFile = false, s.RootDN, password
	readError(t, set, diag.Config, s.URL()+": confidentiality required")
}

// A certificate for another name is not the server's.
func TestWrongName(t *testing.T) {
	cert := certificate(t, "n1.example.net")
	s := slapd.Run(t, slapd.Options{TLS: cert, LDIF: []string{slapd.Contrib("tree.ldif")}})
	set := settings(s.LDAPS())
	set.CAFile = cert.CA
	readError(t, set, diag.Config, "x509: ")
}

// A server that does not do TLS is not read in the clear unless that is asked for.
func TestNoTLS(t *testing.T) {
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	set := settings(s.URL())
	readError(t, set, diag.Config, "at StartTLS")
	set.StartTLS = false
	r, err := open(t, set).Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r)
}

// What the server does not send is an error, with how far it got.
func TestLimit(t *testing.T) {
	more := write(t, "more.ldif", mailboxes(600))
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif"), more}})
	readError(t, settings(s.LDAPI()), diag.TryAgain, s.LDAPI()+": size limit exceeded after 500 mailboxes")

	s = slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif"), more}, SizeLimit: -1})
	r, err := open(t, settings(s.LDAPI())).Read(context.Background(), directory.Network{})
	if err != nil || len(r.Snapshot.Mailboxes) != 601 {
		t.Errorf("without limit: %v", err)
	}
}

func TestReferral(t *testing.T) {
	elsewhere := "dn: ou=elsewhere,ou=mailboxes," + slapd.Suffix +
		"\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://n9.example.net/ou=elsewhere," + slapd.Suffix + "\n"
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif"), write(t, "x.ldif", elsewhere)}, Global: "referral ldap://n8.example.net"})
	readError(t, settings(s.LDAPI()), diag.TryAgain, s.LDAPI()+`: referral ("ldap://n9.example.net/ou=elsewhere,dc=example,dc=net??sub") after `)

	set := settings(s.LDAPI())
	set.Base = "dc=example,dc=org"
	readError(t, set, diag.TryAgain, s.LDAPI()+`: referral ("ldap://n8.example.net/dc=example,dc=org??base") at reading contextCSN`)
	set = settings(s.LDAPI())
	set.List.Base = "ou=elsewhere,ou=mailboxes," + slapd.Suffix
	set.Mailbox.Filter = ""
	readError(t, set, diag.TryAgain, `referral ("ldap://n9.example.net/ou=elsewhere,dc=example,dc=net??sub") after 0 lists`)
}

// disturb reads 20,000 mailboxes and does something to the server in the middle.
func disturb(t *testing.T, timeout time.Duration, do func(*slapd.Server) error) (*slapd.Server, error) {
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif"), write(t, "x.ldif", mailboxes(20000))}, SizeLimit: -1, NoSync: true})
	set := settings(s.LDAPI())
	src := open(t, set)
	ctx, cancel := context.WithTimeoutCause(context.Background(), timeout, errors.New("time is over"))
	defer cancel()
	n := 0
	_, _, err := src.places[0].read(ctx, src.plan, func(r *directory.Record) {
		if r.Kind != directory.KindMailbox {
			return
		}
		if n++; n == 100 {
			if err := do(s); err != nil {
				t.Error(err)
			}
		}
	})
	if diag.KindOf(err) != diag.TryAgain {
		t.Errorf("kind is %d", diag.KindOf(err))
	}
	if n < 100 || n >= 20000 || err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf(" after %d mailboxes", n)) {
		t.Errorf("after %d: %v", n, err)
	}
	return s, err
}

func TestServerHangs(t *testing.T) {
	s, err := disturb(t, time.Second, (*slapd.Server).Pause)
	if err == nil || !strings.HasPrefix(err.Error(), s.LDAPI()+": time is over after ") {
		t.Errorf("error is %v", err)
	}
	// It takes connections still, by the kernel; the next server gets its chance.
	second := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	set := settings(s.LDAPI(), second.LDAPI())
	set.Timeout = time.Second
	r, err := open(t, set).Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r)
	if len(r.Passed) != 1 || r.Passed[0].Error() != s.LDAPI()+": timed out (1s) at login" || r.URL != second.LDAPI() {
		t.Errorf("%s, passed %v", r.URL, r.Passed)
	}
}

func TestServerDies(t *testing.T) {
	s, err := disturb(t, time.Minute, (*slapd.Server).Kill)
	if !errors.Is(err, errLost) {
		t.Errorf("error is %v", err)
	}
	// A socket without a server, one that is not there, and one that is.
	second := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	set := settings(s.LDAPI(), "ldapi://%2Fno%2Fsuch", second.LDAPI())
	src := open(t, set)
	r, err := src.Read(context.Background(), directory.Network{})
	if err != nil || r.URL != second.LDAPI() || len(r.Passed) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if v, err := src.Version(context.Background()); err != nil || v != r.Version {
		t.Errorf("version is %q, %v", v, err)
	}
	set = settings(s.LDAPI(), "ldapi://%2Fno%2Fsuch", "ldif:/no/such")
	readError(t, set, diag.TryAgain,
		"the directory cannot be read: "+s.LDAPI()+": dial unix "+filepath.Join(s.Dir, "ldapi")+": connect: connection refused; "+
			"ldapi://%2Fno%2Fsuch: dial unix /no/such: connect: no such file or directory; open /no/such: no such file or directory")
	_, err = open(t, set).Version(context.Background())
	for _, want := range []string{"ldapi://%2Fno%2Fsuch: is slapd running", "; ldif:/no/such: the file is named in directory.urls"} {
		if !strings.Contains(diag.HintOf(err), want) {
			t.Errorf("hint is %q, want %q in it", diag.HintOf(err), want)
		}
	}
}

// A run that is interrupted does not go on to the next server.
func TestInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	set := settings("ldap://"+l.Addr().String(), "ldif:"+slapd.Contrib("tree.ldif"))
	set.StartTLS = false
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	if r, err := open(t, set).Read(ctx, directory.Network{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A base that is not there is an error for the whole and for the nodes, and no entries for the others.
func TestMissing(t *testing.T) {
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	set := settings(s.LDAPI())
	set.Base = "dc=other,dc=example,dc=net"
	readError(t, set, diag.Config, s.LDAPI()+`: there is no "dc=other,dc=example,dc=net"`)
	set = settings(s.LDAPI())
	set.Node.Base = "ou=servers"
	readError(t, set, diag.Config, s.LDAPI()+`: there is no "ou=servers,dc=example,dc=net"`)
	set = settings(s.LDAPI())
	set.List.Base = "ou=absent"
	r, err := open(t, set).Read(context.Background(), directory.Network{})
	if err != nil || len(r.Snapshot.Lists) != 0 || len(r.Snapshot.Mailboxes) != 1 {
		t.Errorf("without lists: %+v, %v", r, err)
	}
	empty := slapd.Run(t, slapd.Options{})
	readError(t, settings(empty.LDAPI()), diag.Config, `there is no "dc=example,dc=net"`)
}

// The version goes on with each write, wherever in the database the base is.
func TestServerVersion(t *testing.T) {
	s := slapd.Run(t, slapd.Options{Provider: true, LDIF: []string{slapd.Contrib("tree.ldif")}})
	conn, err := s.Bind(s.RootDN, s.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	below := settings(s.LDAPI())
	below.Base, below.Node.Base = "ou=nodes,"+slapd.Suffix, ""
	for _, set := range []Settings{settings(s.LDAPI()), below} {
		src := open(t, set)
		version := func() Version {
			t.Helper()
			v, err := src.Version(context.Background())
			if err != nil || v == "" {
				t.Fatalf("version is %q, %v", v, err)
			}
			return v
		}
		before := version()
		if again := version(); !again.Same(before) {
			t.Errorf("version goes from %q to %q with no write", before, again)
		}
		change := ldap.NewModifyRequest("rplanNodeName=n2,ou=nodes,"+slapd.Suffix, nil)
		change.Replace("rplanState", []string{"out"})
		if err := conn.Modify(change); err != nil {
			t.Fatal(err)
		}
		if after := version(); after.Same(before) || !before.Older(after) || after.Older(before) {
			t.Errorf("version goes from %q to %q with a write", before, after)
		}
	}
	// Without syncprov a server does not say.
	plain := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif")}})
	if v, err := open(t, settings(plain.LDAPI())).Version(context.Background()); err != nil || v != "" {
		t.Errorf("version without syncprov: %q, %v", v, err)
	}
}

// Entries as no admin would write them: each is dropped, or a value of it, and the others are as they were.
func TestHostile(t *testing.T) {
	mega := strings.Repeat("x", 1<<20)
	var text strings.Builder
	for i, value := range []string{"rplanAlias: " + mega, "rplanAlias:: AGFAZXhhbXBsZS5vcmc=", "rplanAlias:: /2FAZXhhbXBsZS5vcmc=", "rplanAlias:: YQpiQGV4YW1wbGUub3Jn", "cn: " + mega} {
		fmt.Fprintf(&text, "dn: rplanAddress=h%d@example.org,ou=mailboxes,%s\nobjectClass: rplanMailbox\nrplanAddress: h%[1]d@example.org\nrplanPlacement: n1_n2\n%[3]s\n\n", i, slapd.Suffix, value)
	}
	s := slapd.Run(t, slapd.Options{LDIF: []string{slapd.Contrib("tree.ldif"), write(t, "x.ldif", text.String())}})
	r, err := open(t, settings(s.LDAPI())).Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Snapshot.Mailboxes) != 6 || len(r.Problems) != 4 {
		t.Errorf("%d mailboxes, problems: %v", len(r.Snapshot.Mailboxes), r.Problems)
	}
	for _, m := range r.Snapshot.Mailboxes {
		if m.Address != "alice@example.org" && m.Aliases != nil {
			t.Errorf("aliases: %.100q", m.Aliases)
		}
	}
	dump, err := exec.Command(need.Program(t, "slapcat"), "-f", s.ConfigPath(), "-b", s.BaseDN).Output()
	if err != nil {
		t.Fatal(err)
	}
	again, err := open(t, settings("ldif:"+write(t, "dump.ldif", string(dump)))).Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	byText := func(a, b directory.Problem) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(r.Problems, byText)
	slices.SortFunc(again.Problems, byText)
	if !reflect.DeepEqual(again.Snapshot, r.Snapshot) || !reflect.DeepEqual(again.Problems, r.Problems) {
		t.Errorf("from LDIF: %v", again.Problems)
	}
}

// A node of an outer ring reads what its roles need, and the version, by the access rules that are shipped.
func TestOuterRing(t *testing.T) {
	s := slapd.Run(t, slapd.Options{ACL: true, Provider: true, LDIF: []string{slapd.Contrib("tree.ldif"), slapd.Contrib("groups.ldif")}})
	conn, err := s.Bind(s.RootDN, s.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	set := settings(s.LDAPI())
	set.BindDN, set.PasswordFile = "rplanNodeName=n2,ou=nodes,"+slapd.Suffix, write(t, "password", "n2's own\n")
	change := ldap.NewModifyRequest(set.BindDN, nil)
	change.Replace("userPassword", []string{"n2's own"})
	if err := conn.Modify(change); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, set).Read(context.Background(), directory.Network{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r)
	if r.Version == "" {
		t.Error("the node cannot see contextCSN")
	}
	sites := len(r.Snapshot.Sites)
	for _, role := range []string{"mx", "dns", "web"} {
		outer := ldap.NewModifyRequest(set.BindDN, nil)
		outer.Replace("rplanRing", []string{"2"})
		outer.Replace("rplanRole", []string{role})
		if err := conn.Modify(outer); err != nil {
			t.Fatal(err)
		}
		r, err := open(t, set).Read(context.Background(), directory.Network{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Snapshot.Sites) != sites || sites == 0 {
			t.Errorf("a node of ring 2 with the role %s reads %d sites of %d: %v", role, len(r.Snapshot.Sites), sites, r.Problems)
		}
	}
	evict := ldap.NewModifyRequest(set.BindDN, nil)
	evict.Replace("rplanState", []string{"evicted"})
	if err := conn.Modify(evict); err != nil {
		t.Fatal(err)
	}
	readError(t, set, diag.Config, s.LDAPI()+": invalid credentials at login")
}
