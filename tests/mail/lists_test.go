package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const spool = "/var/spool/mlmmj/example.org/news"

// makeList is what an admin does on the list's node: mlmmj's own program, then the owner.
func makeList(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(spool); err == nil {
		return
	}
	for _, argv := range [][]string{
		{"sh", "-c", "printf 'example.org\\nalice@example.org\\nen\\nn\\n' | mlmmj-make-ml -L news -s /var/spool/mlmmj/example.org"},
		{"/usr/bin/mlmmj-sub", "-L", spool, "-a", "carol@example.org", "-s"},
		{"/usr/bin/mlmmj-sub", "-L", spool, "-a", "alice@example.org", "-s"},
		{"chown", "-R", "list:list", "/var/spool/mlmmj/example.org"},
	} {
		if err := command(argv...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMlmmj(t *testing.T) {
	run(t)
	makeList(t)
	post := strings.Replace(letter("a-post"), "someone@elsewhere.example", "news@example.org", 1)
	post = strings.Replace(post, outsider, "alice@example.org", 1)
	deliver(t, smtpTo(t, client, public+":25"), "alice@example.org", post, "News@Example.ORG")
	for vmail, user := range map[string]string{"/var/vmail": "alice@example.org", "/var/vmail2": "carol@example.org"} {
		if got := arrives(t, vmail, user, "a-post"); strings.Contains(got, client) {
			t.Errorf("%s learns where the post came from:\n%s", user, got)
		}
	}
	eventually(t, "the post in the archive", func() bool {
		kept, _ := os.ReadFile(filepath.Join(spool, "archive/1"))
		return strings.Contains(string(kept), "a-post")
	})
	if left, _ := filepath.Glob(filepath.Join(spool, "queue/discarded/*")); left != nil {
		t.Errorf("mlmmj threw away %q", left)
	}

	// A command reaches the list with its "+", and the answer reaches the sender.
	deliver(t, smtpTo(t, client, public+":25"), "frida&co=x@example.org",
		strings.Replace(letter("let-me-in"), outsider, "frida&co=x@example.org", 1), "news+subscribe@example.org")
	question := arrives(t, "/var/vmail", "frida&co=x@example.org", "=?utf-8?q?Confirm_subscription")
	_, after, _ := strings.Cut(question, "Reply-To: ")
	confirm, _, _ := strings.Cut(after, "\n")
	deliver(t, smtpTo(t, client, public+":25"), "frida&co=x@example.org", letter("yes"), confirm)
	eventually(t, "the subscription", func() bool {
		return strings.Contains(strings.Join(holding(t, "frida&co=x", filepath.Join(spool, "subscribers.d")), ""), "/f")
	})

	// The housekeeping finds the list, and leaves all to its user.
	cron, err := os.ReadFile(contrib("postfix/mlmmj.cron"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(cron)), "\n")
	fields := strings.SplitN(lines[len(lines)-1], " ", 7)
	if err := command("runuser", "-u", fields[5], "--", "sh", "-c", fields[6]); err != nil {
		t.Error(err)
	}
	if out, err := output("find", spool, "!", "-user", "list"); err != nil || out != "" {
		t.Errorf("not the list's own: %q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(spool, "mlmmj-maintd.lastrun.log")); err != nil {
		t.Error(err)
	}
}

// The listener that feeds mlmmj takes lists only, and from nodes only.
func TestMlmmjListener(t *testing.T) {
	run(t)
	for _, x := range []struct{ from, recipient, want string }{
		{otherVPN, "news@example.org", "250"},
		{otherVPN, "news+bounces-1-x=y@example.org", "250"},
		{otherVPN, "unlisted@example.org", "450 4.1.1"},
		{otherVPN, "alice@example.org", "450 4.1.1"},
		{otherVPN, "../../tmp/x@example.org", "450 4.1.1"},
		{otherVPN, "alice@elsewhere.example", "554 5.7.1"},
		{client, "news@example.org", "554 5.7.1"},
	} {
		c := smtpTo(t, x.from, vpn+":10026")
		err := c.Mail(outsider)
		if err == nil {
			err = c.Rcpt(x.recipient)
		}
		if got := reply(err); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s from %s: %s, want %s", x.recipient, x.from, got, x.want)
		}
	}
}
