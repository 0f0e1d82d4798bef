// Package postfix runs a Postfix of a test's own, without the network, that delivers to one mbox.
package postfix

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rplan/tests/need"
)

// The services that a message to a file needs.
const masterCf = `
postlog  unix-dgram n - n - 1 postlogd
pickup   unix n - n 1 1 pickup
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 1 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
flush    unix n - n 0 0 flush
proxymap unix - - n - - proxymap
error    unix - - n - - error
retry    unix - - n - - error
local    unix - n n - - local
`

// Postfix is one that runs until the end of the test.
type Postfix struct {
	Mbox  string
	Owner int // of the mbox

	t   *testing.T
	dir string
}

// Start starts one, with the locks of mailbox_delivery_lock (postconf(5)). The mbox, and its directory, become the user's
// whom it delivers as; it is a new one if none is named.
func Start(t *testing.T, locks, mbox string) *Postfix {
	t.Helper()
	need.Root(t)
	need.Program(t, "postfix", "sendmail")
	dir, err := os.MkdirTemp("", "rplan-postfix") // with a path that is short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	nobody, err1 := user.Lookup("nobody")
	daemon, err2 := user.Lookup("postfix")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	daemonUID, _ := strconv.Atoi(daemon.Uid)
	if mbox == "" {
		mbox = filepath.Join(dir, "list", "mbox")
	}
	p := &Postfix{mbox, uid, t, dir}
	for _, d := range []string{"queue", "data", "conf", "list"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf(`
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = list.test
mydestination = list.test
inet_interfaces = loopback-only
local_recipient_maps =
alias_maps = inline:{archive=%[2]s, postmaster=/dev/null}
alias_database =
allow_mail_to_files = alias
mailbox_delivery_lock = %[3]s
deliver_lock_delay = 1s
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
maillog_file = %[1]s/maillog
maillog_file_prefixes = /tmp, /var/tmp
`, dir, p.Mbox, locks)
	err = errors.Join(
		os.Chmod(dir, 0o755),
		os.Chown(filepath.Join(dir, "data"), daemonUID, -1),
		os.WriteFile(filepath.Join(dir, "conf", "main.cf"), []byte(main), 0o644),
		os.WriteFile(filepath.Join(dir, "conf", "master.cf"), []byte(masterCf), 0o644),
		p.own())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.do("stop").Run() })
	if out, err := p.do("start").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return p
}

// own gives the mbox and its directory to who writes it, and lets him come there.
func (p *Postfix) own() error {
	f, err := os.OpenFile(p.Mbox, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	f.Close()
	for up := filepath.Dir(p.Mbox); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err == nil {
			err = os.Chmod(up, info.Mode()|0o111)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.Chown(p.Mbox, p.Owner, -1), os.Chown(filepath.Dir(p.Mbox), p.Owner, -1))
}

func (p *Postfix) do(what string) *exec.Cmd {
	return exec.Command(need.Program(p.t, "postfix"), "-c", filepath.Join(p.dir, "conf"), what)
}

// Appends is a program that sends messages, and ends when all are delivered or sent back.
func (p *Postfix) Appends(count int) *exec.Cmd {
	script := `n=0
	while [ $n -lt $3 ]; do
		printf 'Message-ID: <%s@writer>\n\nx\n' $n | "$1" -C "$2/conf" -f postmaster@list.test archive@list.test || exit
		n=$((n + 1))
		sleep 0.05
	done
	while [ "$(grep -c 'to=<archive@.*status=[sb]' "$2/maillog")" -lt $3 ]; do sleep 0.1; done`
	return exec.Command("sh", "-c", script, "sh", need.Program(p.t, "sendmail"), p.dir, fmt.Sprint(count))
}

// Log are the lines of the log with a text.
func (p *Postfix) Log(text string) (lines []string) {
	b, err := os.ReadFile(filepath.Join(p.dir, "maillog"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}
