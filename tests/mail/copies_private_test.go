package mail

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// No client can write into the copies, or have reports go there.
func TestCopyAddressesAreTheNodesOwn(t *testing.T) {
	run(t)
	outside := smtpTo(t, client, public+":25")
	user := submission(t, "alice@example.org")
	local := smtpTo(t, "127.0.0.1", "127.0.0.1:25")
	for _, c := range []struct {
		who  string
		from string
		rcpt func(string) error
		mail func(string) error
	}{
		{"outside", outsider, outside.Rcpt, outside.Mail},
		{"user", "alice@example.org", user.Rcpt, user.Mail},
		{"local", outsider, local.Rcpt, local.Mail},
	} {
		if err := c.mail(c.from); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{
			"carol@example.org.n2_n1.copy.invalid", "Carol@Example.ORG.N2_N1.Copy.INVALID", "office@example.org.group.copy.invalid",
			"carol%example.org.n2_n1.copy.invalid@[" + public + "]", "nobody@none.copy.invalid", "x@any.copy.invalid",
		} {
			if got := reply(c.rcpt(address)); !strings.HasPrefix(got, "55") {
				t.Errorf("%s: %s: %s", c.who, address, got)
			}
		}
	}
	sneaky := smtpTo(t, client, public+":25")
	if err := sneaky.Mail("carol@example.org.n2_n1.copy.invalid"); err != nil {
		t.Fatal(err)
	}
	if got := reply(sneaky.Rcpt("alice@example.org")); !strings.HasPrefix(got, "550") {
		t.Errorf("a report would go to a copy: %s", got)
	}
}

// The rest of the world gets a message as it was, without the id.
func TestNoDeliveryIDLeaves(t *testing.T) {
	run(t)
	abroad := smtpSink(t, "127.0.0.1:2525")
	for _, setting := range []string{"relayhost=[127.0.0.1]:2525"} {
		if err := command("postconf", "-e", setting); err != nil {
			t.Fatal(err)
		}
	}
	reload(t)
	t.Cleanup(func() {
		if err := command("postconf", "-X", "relayhost"); err != nil {
			t.Error(err)
		}
		reload(t)
	})
	send(t, "X-RPlan-ID: 4jZfQ907sYz1w.n2.nodes.example.net\r\n"+letter("to-the-world"), "abroad@example.org")
	bothHave(t, "alice@example.org", "/var/vmail", "/var/vmail2", "to-the-world")
	got := abroad.got(t, "to-the-world")
	if strings.Contains(strings.ToLower(got), "rplan") || !strings.Contains(got, "RCPT TO:<friend@elsewhere.example>") {
		t.Errorf("to the world went\n%s", got)
	}
}

// A copy that cannot be delivered is reported to nobody, however the sender asked.
func TestNobodyHearsOfCopies(t *testing.T) {
	n := run(t)
	door := smtpTo(t, client, public+":25")
	if ok, _ := door.Extension("DSN"); ok {
		t.Error("DSN is offered")
	}
	if err := door.Mail(outsider); err != nil {
		t.Fatal(err)
	}
	if got := say(door.Text, 250, "RCPT TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE"); !strings.HasPrefix(got, "5") {
		t.Errorf("a request for reports: %s", got)
	}
	listen(t, "[fd77::4]:10024").refuse("550 5.1.1 no such copy") // the standby of "wanda"
	if err := command("postsuper", "-d", "ALL"); err != nil {
		t.Fatal(err)
	}
	n.states(t, map[string]string{"n1": "up", "n2": "out", "n3": "out", "n4": "up"})
	t.Cleanup(func() {
		if err := command("postconf", "-e", "maximal_queue_lifetime=5d"); err != nil {
			t.Error(err)
		}
		reload(t)
	})
	if err := command("postconf", "-e", "maximal_queue_lifetime=0"); err != nil {
		t.Fatal(err)
	}
	reload(t)
	post := strings.ReplaceAll(letter("copy-fails"), outsider, "alice@example.org")
	if err := command("sh", "-c", fmt.Sprintf("printf '%%s' '%s' | sendmail -N success,failure,delay -f alice@example.org wanda@example.org", strings.ReplaceAll(post, "\r", ""))); err != nil {
		t.Fatal(err)
	}
	arrives(t, "/var/vmail", "wanda@example.org", "copy-fails")
	if err := command("sendmail", "-bv", "-f", "alice@example.org", "wanda@example.org", "far.example.org@contact.example.net"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an empty queue", func() bool {
		queue, err := output("postqueue", "-j")
		return err == nil && queue == ""
	})
	for _, report := range []string{"Undelivered Mail", "Delayed Mail", "Successful Mail Delivery Report", "Mail Delivery Status Report"} {
		for _, got := range inbox("/var/vmail", "alice@example.org", report) {
			if strings.Contains(got, "wanda") || strings.Contains(got, "copy-fails") || strings.Contains(got, ".invalid") {
				t.Errorf("alice hears of copies:\n%s", got)
			}
		}
	}
}

// smtpSink is a sink for SMTP.
func smtpSink(t *testing.T, address string) *sink {
	t.Helper()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Fatalf("%s is taken", address)
	}
	s := listen(t, address)
	s.smtp = true
	return s
}
