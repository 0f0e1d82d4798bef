package mail

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/genmaps/render"
)

// imaps is where a user comes in.
const imaps = public + ":993"

func TestLoginEndsOnTheActiveNode(t *testing.T) {
	run(t)
	send(t, letter("only-on-n1"), "alice@example.org")
	send(t, letter("only-on-n2"), "carol@example.org")
	arrives(t, "/var/vmail", "alice@example.org", "only-on-n1")
	arrives(t, "/var/vmail2", "carol@example.org", "only-on-n2")
	for user, subject := range map[string]string{"alice@example.org": "only-on-n1", "carol@example.org": "only-on-n2"} {
		local, _, _ := strings.Cut(user, "@")
		c := imapTo(t, client, imaps)
		if got := c.login(t, strings.ToUpper(user), "pw-"+local); !strings.HasPrefix(got, "a OK") {
			t.Fatalf("%s: %s", user, got)
		}
		c.do(t, "SELECT INBOX")
		found := c.do(t, "SEARCH SUBJECT "+subject)
		if found[0] == "* SEARCH" {
			t.Errorf("%s does not see %q: %q", user, subject, found)
		}
		// The other node sees a node, not the user's address.
		if who, err := output("doveadm", "-c", "/etc/dovecot/n2.conf", "who"); err != nil ||
			strings.Contains(who, client) || strings.Contains(who, user) != (user == "carol@example.org") {
			t.Errorf("%s: on n2 there are\n%s%v", user, who, err)
		}
		c.do(t, "LOGOUT")
	}
	for _, user := range []string{"erin", "frida&co=x"} { // erin's first node is out
		if got := imapTo(t, client, imaps).login(t, user+"@example.org", "pw-"+user); !strings.HasPrefix(got, "a OK") {
			t.Errorf("%s: %s", user, got)
		}
	}
}

// Only who gave the right password hears "later" instead of "no".
func TestRefusedLogins(t *testing.T) {
	run(t)
	const no, later = "a NO [AUTHENTICATIONFAILED] ", "a NO [UNAVAILABLE] Account is temporarily unavailable."
	for _, x := range []struct{ user, password, to, want string }{
		{"alice@example.org", "wrong", imaps, no},
		{"alice@example.org", "", imaps, no},
		{"carol@example.org", "wrong", imaps, no},
		{"carol@example.org", "wrong", otherVPN + ":10143", no},
		{"al@example.org", "pw-alice", imaps, no},
		{"alice", "pw-alice", imaps, no},
		{"*@example.org", "pw-alice", imaps, no},
		{"é@example.org", "pw-alice", imaps, no}, // no value that an rplanAddress can have
		{"", "pw-alice", imaps, no},
		{"alice@example.org", "pw-mallory", imaps, no}, // of an entry that claims her address
		{"carol@example.org", "pw-mallory", imaps, no}, // likewise
		{"carol@example.org+description=mine", "pw-mallory", imaps, no},
		{"carol@example.org,ou=mailboxes", "pw-carol", imaps, no},
		{"bob@example.org", "pw-bob", imaps, no},                 // suspended
		{"bob@example.org", "pw-bob", vpn + ":10143", no},        //
		{"newcomer@example.org", "pw-newcomer", imaps, no},       // no row has this placement
		{"evil@example.org", "pw-evil", imaps, no},               // nor this one
		{"dora@example.org", "pw-dora", imaps, later},            // no node serves it
		{"dora@example.org", "wrong", imaps, no},                 //
		{"dora@example.org", "pw-dora", vpn + ":10143", later},   //
		{"carol@example.org", "pw-carol", vpn + ":10143", later}, // handed over to the wrong node
		{"six@example.org", "pw-six", vpn + ":10143", later},     // likewise
		{"alice@example.org", "pw-alice", vpn + ":10143", "a OK"},
	} {
		from := elsewhere()
		t.Run(x.user+" "+x.password, func(t *testing.T) {
			if got := imapTo(t, from, x.to).login(t, x.user, x.password); !strings.HasPrefix(got, x.want) {
				t.Errorf("at %s: %s, want %s", x.to, got, x.want)
			}
		})
	}
}

// A row with an IPv6 address leads there, in spite of its colons.
func TestProxyByIPv6(t *testing.T) {
	run(t)
	l, err := net.Listen("tcp", "[fd77::4]:10143")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	arrived := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
		}
		arrived <- err
	}()
	c := imapTo(t, client, imaps)
	if _, err := fmt.Fprint(c.conn, "a LOGIN six@example.org pw-six\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-arrived:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("nobody came")
	}
}

// rp-genmaps checks the file that it makes for Dovecot by itself, before it is included anywhere.
func TestNodeConfIsValid(t *testing.T) {
	run(t)
	out, err := output("doveconf", "-n", "-c", mapsDir+"/dovecot/node.conf")
	if err != nil || !strings.Contains(out, "address = 10.77.0.1") || strings.Contains(out, "Error") {
		t.Errorf("%s%v", out, err)
	}
}

// Both dialects of the shipped file have the ports of rp-genmaps' defaults in them.
func TestShippedPorts(t *testing.T) {
	defaults := render.Defaults().Dovecot
	for name, conditions := range map[string][]string{
		"dovecot.conf":     {"%%{if;%%{lport};==;%d;proxied;placements}", "%%{if;%%{lport};==;%d;copies;mail}"},
		"dovecot-2.4.conf": {`%%{local_port | if("==", %d, "proxied", "placements")}`, `%%{local_port | if("==", %d, "copies", "mail")}`},
	} {
		text, err := os.ReadFile(contrib("dovecot/" + name))
		if err != nil {
			t.Fatal(err)
		}
		for i, port := range []int{defaults.IMAPPort, defaults.CopiesPort} {
			if want := fmt.Sprintf(conditions[i], port); !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}

// Each of two nodes believes that the other one serves carol. The login fails after the few hand-overs of
// login_proxy_max_reconnects; with one table for all logins there were 200.
func TestStaleTablesMakeNoLoop(t *testing.T) {
	n := run(t)
	t.Cleanup(func() {
		if err := n.publishAll(); err != nil {
			t.Error(err)
		}
	})
	if err := publish(snapshot(map[string]string{"n1": "up", "n2": "out", "n3": "out", "n4": "up"}), "n2", mapsDir+"2"); err != nil {
		t.Fatal(err)
	}
	before := connections(t)
	if got := imapTo(t, elsewhere(), imaps).login(t, "carol@example.org", "pw-carol"); !strings.HasPrefix(got, "a NO [UNAVAILABLE]") {
		t.Errorf("the login ends with %s", got)
	}
	if n := connections(t) - before; n < 2 || n > 6 {
		t.Errorf("there were %d connections, want that of the user and one to five to n2", n)
	}
}

// connections counts those that were ever accepted in this network namespace.
func connections(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var heads []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != "Tcp:" {
			continue
		}
		if at := slices.Index(heads, "PassiveOpens"); at > 0 {
			n, err := strconv.Atoi(fields[at])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		heads = fields
	}
	t.Fatal("no PassiveOpens in /proc/net/snmp")
	return 0
}

func TestLoginsFollowTheTableWithoutRestart(t *testing.T) {
	n := run(t)
	send(t, letter("before"), "carol@example.org")
	arrives(t, "/var/vmail2", "carol@example.org", "before")
	login := func() *imap {
		c := imapTo(t, client, imaps)
		if got := c.login(t, "carol@example.org", "pw-carol"); !strings.HasPrefix(got, "a OK") {
			t.Fatal(got)
		}
		return c
	}
	sees := func() bool {
		c := login()
		c.do(t, "SELECT INBOX")
		return c.do(t, "SEARCH SUBJECT before")[0] != "* SEARCH"
	}
	if !sees() {
		t.Error("carol is not on n2")
	}
	n.states(t, map[string]string{"n1": "up", "n2": "out", "n3": "out", "n4": "up"})
	// Dovecot looks for a new table once a second.
	eventually(t, "carol on n1", func() bool { return !sees() })
}

// From the moment a node is evicted nobody logs in there, and Dovecot holds no hash to go on with.
func TestEvictedNodeLogsNobodyIn(t *testing.T) {
	n := run(t)
	root, err := n.slapd.Bind(n.slapd.RootDN, n.slapd.RootPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	state := func(to string) {
		request := ldap.NewModifyRequest(nodeDN, nil)
		request.Replace("rplanState", []string{to})
		if err := root.Modify(request); err != nil {
			t.Fatal(err)
		}
	}
	login := func() string { return imapTo(t, elsewhere(), imaps).login(t, "alice@example.org", "pw-alice") }
	if got := login(); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	t.Cleanup(func() {
		state("up")
		eventually(t, "a login", func() bool { return strings.HasPrefix(login(), "a OK") })
	})
	state("evicted")
	if got := login(); strings.HasPrefix(got, "a OK") {
		t.Error("alice logs in on an evicted node")
	}
}

// Without slapd nobody can log in, and is told to come back; mail still arrives.
func TestDirectoryDown(t *testing.T) {
	n := run(t)
	if err := n.slapd.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.slapd.Start(); err != nil {
			t.Fatal(err)
		}
		// Dovecot notices at the first login after it.
		eventually(t, "a login", func() bool {
			return strings.HasPrefix(imapTo(t, elsewhere(), imaps).login(t, "alice@example.org", "pw-alice"), "a OK")
		})
	})
	if got := imapTo(t, elsewhere(), imaps).login(t, "alice@example.org", "pw-alice"); !strings.HasPrefix(got, "a NO [UNAVAILABLE]") {
		t.Error(got)
	}
	send(t, letter("no-directory"), "alice@example.org")
	arrives(t, "/var/vmail", "alice@example.org", "no-directory")
}
