package mail

import (
	"crypto/tls"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

func TestRecipientsAreJudgedAtTheDoor(t *testing.T) {
	run(t)
	c := smtpTo(t, client, public+":25")
	if err := c.Mail(outsider); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ recipient, want string }{
		{"alice@example.org", "250"},
		{"Alice@EXAMPLE.org", "250"},
		{"alice+tag@example.org", "250"},
		{"al@example.org", "250"},
		{"frida&co=x@example.org", "250"},
		{"office@example.org", "250"},
		{"root@example.net", "250"},
		{"www.example.org@contact.example.net", "250"},
		{"news@example.org", "250"},
		{"news+subscribe@example.org", "250"},
		{"talk-request@example.org", "250"},
		{"dora@example.org", "250"},    // no node serves her: the mail waits
		{"old@example.org", "250"},     // likewise this list
		{"nowhere@example.org", "250"}, // and this one
		{"unknown@example.org", "550 5.1.1"},
		{"alice@example.net", "550 5.1.1"},
		{"nosite@contact.example.net", "550 5.1.1"},
		{"news-request@example.org", "550 5.1.1"},
		{"../alice@example.org", "550 5.1.1"},
		{"bob@example.org", "550 5.2.1"},
		{"bob+tag@example.org", "550 5.2.1"},
		{"bobby@example.org", "550 5.2.1"},
		{"alice@elsewhere.example", "554 5.7.1"},
		{"n1_n2@example.org", "550 5.1.1"},
		{"x@[" + public + "]", "550 5.1.1"},
		{"root@[" + vpn + "]", "550 5.1.1"},
	} {
		if got := reply(c.Rcpt(x.recipient)); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %s, want %s", x.recipient, got, x.want)
		}
	}
}

// What arrives for mlmmj is for lists only, and never local.
func TestListsListenerTakesNothingElse(t *testing.T) {
	run(t)
	c := smtpTo(t, vpn, vpn+":10026")
	if err := c.Mail(outsider); err != nil {
		t.Fatal(err)
	}
	for recipient, want := range map[string]string{
		"news@example.org":    "250",
		"alice@example.org":   "450",
		"x@elsewhere.example": "554 5.7.1",
		"x@[" + vpn + "]":     "550 5.1.1",
		"x@[" + public + "]":  "550 5.1.1",
	} {
		if got := reply(c.Rcpt(recipient)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", recipient, got, want)
		}
	}
}

func TestDeliveryRewritesNothing(t *testing.T) {
	run(t)
	six := listen(t, "[fd77::4]:24") // the node of six
	message := letter("as-it-is")
	send(t, message, "Six+Tag@example.org", "alice@example.org")

	want := "RCPT TO:<Six+Tag@example.org>\n"
	got := six.got(t, "as-it-is")
	if !strings.HasPrefix(got, want) {
		t.Errorf("the envelope is %q, want %q", got, want)
	}
	added, rest, _ := strings.Cut(strings.TrimPrefix(got, want), "From: ")
	if "From: "+rest != strings.ReplaceAll(message, "\r\n", "\n") {
		t.Errorf("the message became\n%s", got)
	}
	id, trace, _ := strings.Cut(strings.TrimPrefix(added, "X-RPlan-ID: "), ".n1.nodes.example.net\n")
	if !strings.HasPrefix(trace, "Received: by n1.nodes.example.net (Postfix) with ESMTP id "+id+";") || strings.Count(strings.ReplaceAll(trace, "\n\t", " "), "\n") != 1 {
		t.Errorf("these header lines were added:\n%s", added)
	}
	if stored := arrives(t, "/var/vmail", "alice@example.org", "as-it-is"); !strings.Contains(stored, "\nFrom: "+rest) ||
		strings.Contains(stored, "Delivered-To") || strings.Contains(stored, client) {
		t.Errorf("alice got\n%s", stored)
	}
}

func TestAliasesAndForwards(t *testing.T) {
	run(t)
	send(t, letter("by-alias"), "AL+tag@example.org")
	arrives(t, "/var/vmail", "alice@example.org", "by-alias")
	send(t, letter("by-forward"), "office@example.org", "carol@example.org")
	arrives(t, "/var/vmail", "alice@example.org", "by-forward")
	arrives(t, "/var/vmail2", "carol@example.org", "by-forward")
	send(t, letter("on-the-second"), "erin@example.org")
	arrives(t, "/var/vmail", "erin@example.org", "on-the-second")
	send(t, letter("odd-name"), "frida&co=x@example.org")
	arrives(t, "/var/vmail", "frida&co=x@example.org", "odd-name")
	if err := command("sendmail", "-f", "root", "root@example.net"); err != nil { // an empty message, as cron makes
		t.Error(err)
	}
}

// queued waits until a message for the recipient is deferred, and returns why.
func queued(t *testing.T, recipient string) (reason string) {
	t.Helper()
	eventually(t, "a deferred message for "+recipient, func() bool {
		out, _ := output("postqueue", "-j")
		_, after, found := strings.Cut(out, fmt.Sprintf(`{"address": %q, "delay_reason": "`, recipient))
		reason, _, _ = strings.Cut(after, `"`)
		return found
	})
	return reason
}

// What no node takes waits, with a reason, and goes its way when one does. No daemon is started again.
func TestNothingBounces(t *testing.T) {
	n := run(t)
	six := listen(t, "[fd77::4]:24")
	six.refuse("550 5.1.1 never heard of")
	for recipient, why := range map[string]string{
		"dora@example.org":    "No node of this placement",
		"old@example.org":     "The node of this list",
		"nowhere@example.org": "The node of this list",
		"lost@example.org":    "", // mlmmj has no such list on this node
		"six@example.org":     "This mailbox cannot be reached now",
	} {
		send(t, letter("waits"), recipient)
		if got := queued(t, recipient); !strings.Contains(got, why) {
			t.Errorf("%s: %q, want %q", recipient, got, why)
		}
	}
	if out, _ := output("postqueue", "-p"); strings.Contains(out, "MAILER-DAEMON") {
		t.Errorf("there is a bounce:\n%s", out)
	}
	six.refuse("")
	n.states(t, map[string]string{"n2": "out", "n3": "out", "n1": "out", "n4": "up"})
	send(t, letter("later"), "carol@example.org")
	queued(t, "carol@example.org")
	n.states(t, map[string]string{"n2": "out", "n3": "out", "n1": "up", "n4": "up"})
	eventually(t, "the mail that waited for carol", func() bool {
		_ = command("postqueue", "-f") // again, for a flush during a reload may be lost
		return len(inbox("/var/vmail", "carol@example.org", "later")) > 0
	})
	arrives(t, "/var/vmail", "carol@example.org", "later")
	six.got(t, "waits")
}

// Who gets a report after days learns that the mail did not arrive, and no address or name of the node.
func TestReportsNameNoNode(t *testing.T) {
	run(t)
	listen(t, "[fd77::4]:24").refuse("450 4.2.0 no room")
	settings := func(lifetime string) {
		if err := command("postconf", "-e", "maximal_queue_lifetime="+lifetime); err != nil {
			t.Fatal(err)
		}
		reload(t)
	}
	if err := command("postsuper", "-d", "ALL"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { settings("5d") })
	settings("0")
	deliver(t, smtpTo(t, client, public+":25"), "alice@example.org", letter("never-arrives"), "six@example.org")
	got := arrives(t, "/var/vmail", "alice@example.org", "Undelivered Mail")
	if !strings.Contains(got, "<six@example.org>: This mailbox cannot be reached now") {
		t.Errorf("the report says\n%s", got)
	}
	for _, secret := range []string{"fd77:", "10.77.", "n4"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is in the report:\n%s", secret, got)
		}
	}
}

// states publishes the maps for nodes in these states, and what began when the test ends.
func (n *Node) states(t *testing.T, states map[string]string) {
	t.Helper()
	t.Cleanup(func() {
		if err := n.publishAll(); err != nil {
			t.Error(err)
		}
		reload(t)
	})
	s := snapshot(states)
	for self, dir := range map[string]string{"n1": mapsDir, "n2": mapsDir + "2"} {
		if err := publish(s, self, dir); err != nil {
			t.Fatal(err)
		}
	}
	reload(t)
}

// reload waits until the master process has taken note and started a new queue manager: it can lose count of an
// smtpd that gets its client in just that moment, and then lets nobody else in until that client has gone.
func reload(t *testing.T) {
	t.Helper()
	qmgr := func() string {
		pid, _ := output("pgrep", "-n", "-x", "qmgr")
		return pid
	}
	before := qmgr()
	if err := command("postfix", "reload"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new queue manager", func() bool { now := qmgr(); return now != "" && now != before })
	// One that is told to end before it has done anything counts as broken, and is not started again for a minute.
	time.Sleep(300 * time.Millisecond)
}

// submits opens a session of a user who logs in with this password.
func submits(t *testing.T, from, user, password string) (*smtp.Client, error) {
	t.Helper()
	c := smtpTo(t, from, public+":587")
	if err := c.StartTLS(anyCertificate); err != nil {
		t.Fatal(err)
	}
	return c, c.Auth(smtp.PlainAuth("", user, password, "mx"))
}

// submission is the session of a user.
func submission(t *testing.T, user string) *smtp.Client {
	t.Helper()
	local, _, _ := strings.Cut(user, "@")
	c, err := submits(t, client, user, "pw-"+local)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSubmission(t *testing.T) {
	run(t)
	plain := smtpTo(t, client, public+":587")
	if ok, _ := plain.Extension("AUTH"); ok {
		t.Error("passwords are asked for without TLS")
	}
	if got := reply(plain.Mail("alice@example.org")); !strings.HasPrefix(got, "530") {
		t.Errorf("mail without TLS: %s", got)
	}
	old := smtpTo(t, client, public+":587")
	if err := old.StartTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("a password may come by TLS 1.1")
	}
	session := func(from, user, password string) (*smtp.Client, error) { return submits(t, from, user, password) }
	for _, x := range [][2]string{{"alice@example.org", "wrong"}, {"bob@example.org", "pw-bob"}, {"al@example.org", "pw-alice"}, {"", ""}} {
		if _, err := session(elsewhere(), x[0], x[1]); !strings.HasPrefix(reply(err), "535") {
			t.Errorf("%q: %s, want 535", x, reply(err))
		}
	}
	for _, x := range []struct{ user, sender, want string }{
		{"alice@example.org", "alice@example.org", "250"},
		{"alice@example.org", "al@example.org", "250"},
		{"alice@example.org", "Alice+tag@example.org", "250"},
		{"alice@example.org", "carol@example.org", "553 5.7.1"},
		{"alice@example.org", "bob@example.org", "553 5.7.1"},
		{"alice@example.org", "office@example.org", "553 5.7.1"},
		{"alice@example.org", "someone@elsewhere.example", "553 5.7.1"},
		{"carol@example.org", "carol@example.org", "250"}, // her mailbox is on another node
		{"dora@example.org", "dora@example.org", "250"},   // hers is on none
	} {
		local, _, _ := strings.Cut(x.user, "@")
		c, err := session(client, x.user, "pw-"+local)
		if err == nil {
			if err = c.Mail(x.sender); err == nil {
				err = c.Rcpt("alice@example.org")
			}
		}
		if got := reply(err); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s as %s: %s, want %s", x.user, x.sender, got, x.want)
		}
	}
	c, err := session(client, "alice@example.org", "pw-alice")
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, c, "alice@example.org", letter("submitted"), "carol@example.org")
	if got := arrives(t, "/var/vmail2", "carol@example.org", "submitted"); strings.Contains(got, client) {
		t.Errorf("the message tells where alice was:\n%s", got)
	}
}

// The two steps, as anyone can ask for them.
func TestLookups(t *testing.T) {
	run(t)
	maps := func(big string) string {
		return fmt.Sprintf("pipemap:{cdb:%[1]s/postfix/%[2]s,cdb:%[1]s/postfix/placements}", mapsDir, big)
	}
	for _, x := range [][3]string{
		{"alice@example.org", maps("mailboxes"), "lmtp:inet:[10.77.0.1]:24"},
		{"carol@example.org", maps("mailboxes"), "lmtp:inet:[10.77.0.2]:24"},
		{"erin@example.org", maps("mailboxes"), "lmtp:inet:[10.77.0.1]:24"},
		{"six@example.org", maps("mailboxes"), "lmtp:inet:[fd77::4]:24"},
		{"dora@example.org", maps("mailboxes"), "noroute:4.3.2 No node of this placement is in service; the mail waits"},
		{"news@example.org", maps("lists"), "mlmmj-relay:[10.77.0.1]:10026"},
		{"talk-owner@example.org", maps("lists"), "lmtp:inet:[10.77.0.1]:8024"},
		{".n1_n2.copy.invalid", maps("copyroutes"), "copy:inet:[10.77.0.2]:10024"},
		{".n3_n1.copy.invalid", maps("copyroutes"), "discard:"},
		{".copy.invalid", maps("copyroutes"), "noroute:4.3.2 No way for copies of this placement is known yet; the copy waits"},
		{"www.example.org@contact.example.net", "pipemap:{cdb:" + mapsDir + "/postfix/contacts,static:discard:}", "discard:"},
		{"nobody@example.org", maps("mailboxes"), ""},
		{"office@example.org", "cdb:" + mapsDir + "/postfix/aliases", "alice@example.org,carol@example.org"},
	} {
		got, err := output("postmap", "-q", x[0], x[1])
		if strings.TrimSpace(got) != x[2] || err != nil && x[2] != "" {
			t.Errorf("%s in %s: %q, %v, want %q", x[0], x[1], got, err, x[2])
		}
	}
}
