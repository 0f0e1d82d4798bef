package mail

import (
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"rplan/tests/need"
)

// mailmanPort is where Mailman takes mail.
const mailmanPort = vpn + ":8024"

// idle are the runners that no test waits for: each costs a second at the start.
var idle = strings.Fields("archive bounces digest nntp rest retry task")

// startMailman starts Mailman with the shipped file and the list that the directory has.
func startMailman(t *testing.T) {
	t.Helper()
	need.Program(t, "mailman")
	if _, err := os.Stat("/run/mailman3/master.pid"); err == nil {
		return
	}
	text, err := os.ReadFile(contrib("mailman3/mailman.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, runner := range idle {
		text = append(text, "[runner."+runner+"]\nstart: no\n"...)
	}
	if err := os.WriteFile("/etc/mailman3/mailman.cfg", text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"mailman-wrapper", "create", "-d", "-o", "alice@example.org", "talk@example.org"},
		{"mailman-wrapper", "start"},
	} {
		if err := command(argv...); err != nil {
			t.Fatal(err)
		}
	}
	if err := await(mailmanPort); err != nil {
		t.Fatal(err)
	}
}

// joins makes carol a member of the list, by mail alone, unless she is one.
func joins(t *testing.T) {
	t.Helper()
	const question, welcome = "Your confirmation is needed to join the talk@example.org", `Welcome to the "Talk" mailing list`
	if inbox("/var/vmail2", "carol@example.org", welcome) != nil {
		return
	}
	writes(t, "let-me-in", "talk-join@example.org")
	_, after, _ := strings.Cut(arrives(t, "/var/vmail2", "carol@example.org", question), "\nFrom: ")
	confirm, _, _ := strings.Cut(after, "\n")
	if !strings.HasPrefix(confirm, "talk-confirm+") {
		t.Fatalf("the question is from %q", confirm)
	}
	writes(t, "yes", confirm)
	arrives(t, "/var/vmail2", "carol@example.org", welcome)
}

// writes hands a message by carol to the node.
func writes(t *testing.T, subject string, recipients ...string) {
	t.Helper()
	post := strings.NewReplacer(outsider, "carol@example.org", "someone@elsewhere.example", recipients[0]).Replace(letter(subject))
	deliver(t, smtpTo(t, client, public+":25"), "carol@example.org", post, recipients...)
}

// A post comes to the list on n1, and back to its member on n2.
func TestMailman3(t *testing.T) {
	run(t)
	startMailman(t)
	joins(t)
	writes(t, "to-mailman", "Talk@Example.ORG")
	got := arrives(t, "/var/vmail2", "carol@example.org", "[Talk] to-mailman")
	if !strings.Contains(got, "\nList-Id: <talk.example.org>\n") || strings.Contains(got, client) {
		t.Errorf("carol got\n%s", got)
	}
	if out, err := output("find", "/var/log/mailman3", "-type", "f"); err != nil || out != "" {
		t.Errorf("there are logs: %s%v", out, err)
	}
}

// What rp-genmaps lets in at the door are the very addresses that Mailman has.
func TestMailman3Addresses(t *testing.T) {
	run(t)
	startMailman(t)
	addresses := []string{"talk@example.org", "Talk-Request@Example.ORG", "talk-confirm+123abc@example.org", "talk-bounces+carol=example.org@example.org"}
	for _, service := range strings.Fields("bounces confirm join leave owner request subscribe unsubscribe") {
		addresses = append(addresses, "talk-"+service+"@example.org")
	}
	strangers := []string{"ghost@example.org", "ghost-request@example.org", "ghost-confirm+123abc@example.org", "talk-nothing@example.org", "talk-request@example.net"}

	door := smtpTo(t, client, public+":25")
	if err := door.Mail("carol@example.org"); err != nil {
		t.Fatal(err)
	}
	mailman := lmtpTo(t, mailmanPort)
	for _, address := range addresses {
		if got := reply(door.Rcpt(address)); got != "250" {
			t.Errorf("%s at the door: %s", address, got)
		}
		if got := say(mailman, 250, "RCPT TO:<"+address+">"); got != "250" {
			t.Errorf("%s at Mailman: %s", address, got)
		}
	}
	for _, address := range strangers {
		if got := reply(door.Rcpt(address)); !strings.HasPrefix(got, "550 5.1.1") {
			t.Errorf("%s at the door: %s", address, got)
		}
		if got := say(mailman, 250, "RCPT TO:<"+address+">"); !strings.HasPrefix(got, "550") {
			t.Errorf("%s at Mailman: %s", address, got)
		}
	}

	// Through both: what Mailman refused would stay in the queue.
	writes(t, "to-all-services", addresses...)
	arrives(t, "/var/vmail", "alice@example.org", "to-all-services") // as the owner
	eventually(t, "an empty queue", func() bool {
		queue, err := output("postqueue", "-j")
		return err == nil && !strings.Contains(queue, "talk")
	})
	if holding(t, "to-all-services", "/var/lib/mailman3") == nil { // the one for talk-bounces
		t.Error("Mailman does not keep the message where this test looks")
	}
	if found := holding(t, client, "/var/lib/mailman3", "/var/log/mailman3", "/run/mailman3"); found != nil {
		t.Errorf("Mailman wrote the client's address into %q", found)
	}
}

// lmtpTo opens an LMTP session and begins a message.
func lmtpTo(t *testing.T, to string) *textproto.Conn {
	t.Helper()
	c, err := smtp.NewClient(dial(t, vpn, to), "mailman")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"LHLO n1", "MAIL FROM:<carol@example.org>"} {
		if got := say(c.Text, 250, line); got != "250" {
			t.Fatalf("%s: %s", line, got)
		}
	}
	return c.Text
}

// say sends a line, and returns the answer as reply does.
func say(c *textproto.Conn, want int, line string) string {
	id, err := c.Cmd("%s", line)
	if err == nil {
		c.StartResponse(id)
		defer c.EndResponse(id)
		_, _, err = c.ReadResponse(want)
	}
	return reply(err)
}
