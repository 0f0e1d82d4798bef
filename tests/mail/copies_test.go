package mail

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const n2conf = "/etc/dovecot/n2.conf"

// copied are the second copies with this subject that a user has in the mail directory of a node.
func copied(vmail, address, subject string) []string {
	return stored(vmail, address, "copies", subject)
}

// copyArrives waits for one second copy with this subject, and returns it.
func copyArrives(t *testing.T, vmail, address, subject string) string {
	t.Helper()
	var found []string
	eventually(t, "the copy of "+subject+" for "+address, func() bool { found = copied(vmail, address, subject); return len(found) > 0 })
	if len(found) > 1 {
		t.Fatalf("the copy of %q came %d times for %s", subject, len(found), address)
	}
	return found[0]
}

// deliveryID is that of a stored message: of several headers of that name the first.
func deliveryID(t *testing.T, message string) string {
	t.Helper()
	head, _, _ := strings.Cut(message, "\n\n")
	_, after, found := strings.Cut("\n"+head, "\nX-RPlan-ID: ")
	id, _, _ := strings.Cut(after, "\n")
	if !found || !regexp.MustCompile(`^[0-9A-Za-z]{10,}\.n1\.nodes\.example\.net$`).MatchString(id) {
		t.Errorf("the delivery id is %q in\n%s", id, head)
	}
	return id
}

// bothHave waits for the message on the active node and its copy on the standby, and compares their ids.
func bothHave(t *testing.T, address, active, standby, subject string) string {
	t.Helper()
	message, copied := arrives(t, active, address, subject), copyArrives(t, standby, address, subject)
	id := deliveryID(t, message)
	if other := deliveryID(t, copied); other != id {
		t.Errorf("%s for %s has the ids %s and %s", subject, address, id, other)
	}
	if content := func(m string) string {
		_, m, _ = strings.Cut(m, "Return-Path: ") // all of it: by other sizes, merges would take one for an upload
		return m[:strings.LastIndex(m, "From here.")]
	}; content(message) != content(copied) {
		t.Errorf("the copy of %s differs:\n%s\n%s", subject, message, copied)
	}
	return id
}

// settled waits until nothing for these addresses is on its way.
func settled(t *testing.T, subject string) {
	t.Helper()
	eventually(t, "an end to "+subject, func() bool {
		out, err := output("postqueue", "-j")
		return err == nil && !strings.Contains(out, `"active"`) && !strings.Contains(out, `"incoming"`) && !strings.Contains(out, `"maildrop"`)
	})
}

func TestEachMessageIsStoredTwice(t *testing.T) {
	run(t)
	one, two := "/var/vmail", "/var/vmail2"
	send(t, letter("two-of-it"), "alice@example.org")
	id := bothHave(t, "alice@example.org", one, two, "two-of-it")
	send(t, letter("for-n2"), "CAROL@example.org")
	bothHave(t, "carol@example.org", two, one, "for-n2")
	send(t, letter("tagged-copy"), "alice+tag@example.org")
	bothHave(t, "alice@example.org", one, two, "tagged-copy")
	send(t, letter("odd-copy"), "frida&co=x@example.org")
	bothHave(t, "frida&co=x@example.org", one, two, "odd-copy")
	send(t, letter("alias-copy"), "AL@example.org", "alice@example.org")
	bothHave(t, "alice@example.org", one, two, "alias-copy")
	send(t, letter("contact-copy"), "www.example.org@contact.example.net")
	bothHave(t, "alice@example.org", one, two, "contact-copy")
	if other := deliveryID(t, arrives(t, one, "alice@example.org", "contact-copy")); other == id {
		t.Errorf("two messages have the id %s", id)
	}
	// By a group in a group: each of its mailboxes has one message, and one copy.
	send(t, letter("nested-copy"), "all@example.org", "office@example.org", "alice@example.org")
	bothHave(t, "alice@example.org", one, two, "nested-copy")
	bothHave(t, "carol@example.org", two, one, "nested-copy")
	deliveryID(t, arrives(t, one, "uno@example.org", "nested-copy"))
	deliveryID(t, arrives(t, one, "erin@example.org", "nested-copy"))
	// From a program on the node, as cron does, and without a line in the message.
	if err := command("sh", "-c", "echo 'Subject: by-sendmail\n\nFrom here.' | sendmail -f root alice@example.org"); err != nil {
		t.Fatal(err)
	}
	bothHave(t, "alice@example.org", one, two, "by-sendmail")
}

// A mailbox that wants one copy, has one node, or whose other node is out has one message only.
func TestStoredOnce(t *testing.T) {
	run(t)
	for _, address := range []string{"uno@example.org", "erin@example.org"} {
		send(t, letter("just-one"), address)
		deliveryID(t, arrives(t, "/var/vmail", address, "just-one"))
	}
	send(t, letter("not-for-alice"), "alice+uno@example.org") // whose row would be that of alice+tag@
	arrives(t, "/var/vmail", "uno@example.org", "not-for-alice")
	settled(t, "just-one")
	for _, vmail := range []string{"/var/vmail", "/var/vmail2"} {
		for _, address := range []string{"uno@example.org", "erin@example.org", "alice@example.org"} {
			if found := slices.Concat(copied(vmail, address, "just-one"), copied(vmail, address, "not-for-alice")); found != nil {
				t.Errorf("%s has a copy in %s:\n%s", address, vmail, found[0])
			}
		}
	}
}

// While one of two nodes is out, the other has the only message, in the user's own mailbox, and nothing waits.
func TestCopiesFollowTheStates(t *testing.T) {
	n := run(t)
	for _, x := range []struct {
		subject, active string
		states          map[string]string
	}{
		{"standby-out", "/var/vmail", map[string]string{"n1": "up", "n2": "out", "n3": "out", "n4": "up"}},
		{"primary-out", "/var/vmail2", map[string]string{"n1": "out", "n2": "up", "n3": "out", "n4": "up"}},
		{"primary-returns", "/var/vmail2", map[string]string{"n1": "returning", "n2": "up", "n3": "out", "n4": "up"}},
	} {
		n.states(t, x.states)
		send(t, letter(x.subject), "alice@example.org")
		arrives(t, x.active, "alice@example.org", x.subject)
		settled(t, x.subject)
		for _, vmail := range []string{"/var/vmail", "/var/vmail2"} {
			if len(copied(vmail, "alice@example.org", x.subject)) > 0 || vmail != x.active && len(inbox(vmail, "alice@example.org", x.subject)) > 0 {
				t.Errorf("%s: there is a message in %s", x.subject, vmail)
			}
		}
	}
	n.states(t, map[string]string{"n1": "draining", "n2": "draining", "n3": "out", "n4": "up"})
	send(t, letter("both-drain"), "alice@example.org")
	bothHave(t, "alice@example.org", "/var/vmail", "/var/vmail2", "both-drain")
	if out, _ := output("postqueue", "-p"); strings.Contains(out, "alice@example.org.") {
		t.Errorf("copies wait:\n%s", out)
	}
}

// What a sender writes into the header counts for nothing, and does not stay.
func TestForgedDeliveryID(t *testing.T) {
	run(t)
	forged := "X-RPlan-ID: FORGEDFORGED.n1.nodes.example.net\r\nx-rplan-id:\r\n more.of.it\r\n" +
		"Received: by n1.nodes.example.net (Postfix) with ESMTP id 1111111111; Mon, 02 Mar 2026 10:00:00 +0000\r\n"
	send(t, forged+letter("forged"), "alice@example.org")
	id := bothHave(t, "alice@example.org", "/var/vmail", "/var/vmail2", "forged")
	got := arrives(t, "/var/vmail", "alice@example.org", "forged")
	if strings.Contains(got, "FORGED") || strings.Contains(got, "more.of.it") || strings.HasPrefix(id, "1111") {
		t.Errorf("the id is %s, in\n%s", id, got)
	}
}

// doveadm sees the copies, a user never does.
func TestCopiesAreOutOfSight(t *testing.T) {
	run(t)
	send(t, letter("unseen"), "alice@example.org")
	id := bothHave(t, "alice@example.org", "/var/vmail", "/var/vmail2", "unseen")
	fetch := func(conf, mailbox string) string {
		out, err := output("doveadm", "-c", conf, "-f", "json", "fetch", "-u", "alice@example.org", "mailbox hdr.x-rplan-id", "mailbox", mailbox, "all")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if all := fetch(n2conf, "*"); strings.Contains(all, id) {
		t.Errorf("the copy is among alice's mail on n2: %s", all)
	}
	if copies := fetch(n2conf, "rplan-copies/*"); !strings.Contains(copies, `{"mailbox":"rplan-copies/INBOX","hdr.x-rplan-id":"`+id+`"}`) {
		t.Errorf("the copies on n2 are %s", copies)
	}
	c := imapTo(t, client, imaps)
	if got := c.login(t, "alice@example.org", "pw-alice"); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	for _, line := range []string{`LIST "" *`, `LSUB "" *`, `LIST "" %`, "NAMESPACE"} {
		if got := strings.Join(c.do(t, line), "\n"); strings.Contains(got, "copies") || strings.Contains(got, "deleted") {
			t.Errorf("%s shows %s", line, got)
		}
	}
	if got := c.do(t, "STATUS rplan-copies/INBOX (MESSAGES)"); !strings.HasPrefix(got[len(got)-1], "a NO") {
		t.Errorf("copies can be opened: %q", got)
	}
}

// What a user deletes is remembered for a while, also if somebody else has got the same mail, of which Dovecot
// keeps one file; what is moved is there too, and where it was moved to.
func TestDeletedMailIsRemembered(t *testing.T) {
	run(t)
	const user = "erin@example.org"
	for _, subject := range []string{"is-deleted", "is-moved", "is-copied"} {
		send(t, letter(subject), user, "alice@example.org")
		arrives(t, "/var/vmail", user, subject)
	}
	c := imapTo(t, client, imaps)
	if got := c.login(t, user, "pw-erin"); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	c.do(t, "CREATE Kept")
	c.do(t, "SELECT INBOX")
	uid := func(subject string) string {
		found := strings.Fields(c.do(t, "UID SEARCH SUBJECT "+subject)[0])
		return found[len(found)-1]
	}
	for _, line := range []string{
		"UID STORE " + uid("is-deleted") + ` +FLAGS (\Deleted)`, "EXPUNGE",
		"UID MOVE " + uid("is-moved") + " Kept",
		"UID COPY " + uid("is-copied") + " Kept", "UID STORE " + uid("is-copied") + ` +FLAGS (\Deleted)`, "EXPUNGE",
	} {
		if got := c.do(t, line); !strings.HasPrefix(got[len(got)-1], "a OK") {
			t.Fatalf("%s: %q", line, got)
		}
	}
	out, err := output("doveadm", "-f", "json", "fetch", "-u", user, "mailbox hdr.subject", "mailbox", "rplan-deleted/*", "all")
	for _, subject := range []string{"is-deleted", "is-moved", "is-copied"} {
		if want := `{"mailbox":"rplan-deleted/INBOX","hdr.subject":"` + subject + `"}`; err != nil || !strings.Contains(out, want) {
			t.Errorf("deleted are %s%v, want %s", out, err, want)
		}
	}
	out, err = output("doveadm", "-f", "json", "fetch", "-u", user, "mailbox hdr.subject", "mailbox", "*", "all")
	for _, subject := range []string{"is-moved", "is-copied"} {
		if want := `{"mailbox":"Kept","hdr.subject":"` + subject + `"}`; err != nil || !strings.Contains(out, want) {
			t.Errorf("erin has %s%v, want %s", out, err, want)
		}
	}
	if strings.Contains(out, "is-deleted") {
		t.Errorf("erin has %s", out)
	}
}

// A purge by doveadm, which is how nodes keep each other equal, is no deletion by the user.
func TestDoveadmRemembersNothing(t *testing.T) {
	run(t)
	send(t, letter("purged"), "frida&co=x@example.org")
	arrives(t, "/var/vmail", "frida&co=x@example.org", "purged")
	if err := command("doveadm", "expunge", "-u", "frida&co=x@example.org", "mailbox", "INBOX", "subject", "purged"); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob("/var/vmail/example.org/frida&co=x/deleted/mailboxes/*/dbox-Mails/u.*"); found != nil {
		t.Errorf("remembered is %q", found)
	}
}
