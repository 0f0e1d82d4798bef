package mail

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A contact's owner gets the message; nobody, not even by a report, learns who that is.
func TestContact(t *testing.T) {
	run(t)
	send(t, letter("to-the-owner"), "www.example.org@contact.example.net")
	got := arrives(t, "/var/vmail", "alice@example.org", "to-the-owner")
	if strings.Contains(got, "alice@") || strings.Contains(got, "al@") {
		t.Errorf("the owner's address is in the message:\n%s", got)
	}
	// One owner has a mailbox on one node, the other a copy too.
	listen(t, "[fd77::4]:24").refuse("450 4.2.0 no room")
	for site, owner := range map[string]string{"down": "dora@example.org", "far": "six@example.org"} {
		send(t, letter("owner-of-"+site), site+".example.org@contact.example.net")
		queued(t, owner)
		if id := queueID(t, owner); !strings.Contains(postcat(t, id), "owner-of-"+site) || !neverReported(postcat(t, id), owner) {
			t.Errorf("the blind copy for %s would be reported on:\n%s", owner, postcat(t, id))
		}
	}
	deliveryID(t, copyArrives(t, "/var/vmail", "six@example.org", "owner-of-far"))
	if err := command("postsuper", "-d", "ALL"); err != nil {
		t.Fatal(err)
	}
}

// queueID is that of the newest message which waits for the recipient.
func queueID(t *testing.T, recipient string) string {
	t.Helper()
	ids, err := output("sh", "-c", `postqueue -j | sed -n '/`+recipient+`/s/.*"queue_id": "\([^"]*\)".*/\1/p'`)
	all := strings.Fields(ids)
	if err != nil || len(all) == 0 {
		t.Fatalf("%q waits for %s: %v", all, recipient, err)
	}
	return slices.Max(all)
}

func postcat(t *testing.T, id string) string {
	t.Helper()
	text, err := output("postcat", "-ebhvq", id)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// neverReported says whether a queue file has NOTIFY=NEVER for a recipient: 1 in dsn_mask.h, before the recipient it is about.
func neverReported(text, recipient string) bool {
	return regexp.MustCompile(`\nnamed_attribute: notify_flags=1\noriginal_recipient: .*\nrecipient: ` + regexp.QuoteMeta(recipient) + `\n`).MatchString(text)
}
