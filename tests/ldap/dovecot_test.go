package ldap

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

// A node of an outer ring logs users in at a server of ring 0, by the lines
// for it in contrib/dovecot/rplan-ldap.conf.ext, also when the first is away.
func TestLoginFromAnOuterRing(t *testing.T) {
	need.Root(t)
	cert := certificate(t)
	from := slapd.Run(t, slapd.Options{ACL: true, LDIF: directory(t), NoSync: true, TLS: cert})
	dir := t.TempDir()
	text := regexp.MustCompile(`(?m)^#([a-z_]+ = )`).ReplaceAllString(read(t, slapd.Contrib("../dovecot/rplan-ldap.conf.ext")), "$1")
	args := filepath.Join(dir, "ldap.conf.ext")
	write(t, args, strings.NewReplacer("ldap://n1.example.net ldap://n2.example.net", "ldap://127.0.0.1:1 "+from.URL(),
		"/etc/ldap/tls/ca.pem", cert.CA, node("n1"), node("imap1"), "REPLACE-ME", password).Replace(text))
	conf := dovecot(t, dir, "auth_mechanisms = plain\npassdb {\n  driver = ldap\n  args = "+args+"\n}\n")

	login := func(user, secret string) string {
		out, err := exec.Command(need.Program(t, "doveadm"), "-c", conf, "auth", "test", user, secret).CombinedOutput()
		return fmt.Sprint(err == nil, " ", string(out))
	}
	eventually(t, "bob logs in", func() bool { return strings.HasPrefix(login("bob@example.org", password), "true") })
	if got := login("bob@example.org", password); !strings.Contains(got, "placement=n2_n1") {
		t.Errorf("bob's login: %s, want his placement", got)
	}
	must(t, modify(bind(t, from, service("ada")), mailbox("alice"), "rplanStatus", "suspended"))
	for user, secret := range map[string]string{"bob@example.org": "wrong", "alice@example.org": password, "nobody@example.org": password} {
		if got := login(user, secret); !strings.Contains(got, "auth failed") {
			t.Errorf("login of %s: %s", user, got)
		}
	}
}

// alone is a Dovecot without listeners. As root it reads the certificates of a
// test; without the penalty, failures are told at once.
const alone = `
protocols =
ssl = no
auth_failure_delay = 0
service auth {
  user = root
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`

// dovecot runs until the test ends, with no listener but sockets in dir, and
// returns its configuration.
func dovecot(t *testing.T, dir, settings string) string {
	t.Helper()
	conf := filepath.Join(dir, "dovecot.conf")
	write(t, conf, alone+"base_dir = "+filepath.Join(dir, "run")+"\nstate_dir = "+dir+
		"\nlog_path = "+filepath.Join(dir, "log")+"\ninstance_name = "+filepath.Base(dir)+"\n"+settings)
	var said bytes.Buffer
	cmd := exec.Command(need.Program(t, "dovecot"), "-F", "-c", conf)
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("dovecot: %s%s", said.String(), read(t, filepath.Join(dir, "log")))
		}
	})
	return conf
}
