package merge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rplan/lib/failover/merge"
	"rplan/tests/imap"
)

// formats are those of the users' mailboxes. A user's domain is the format.
var formats = []string{"sdbox", "mdbox", "maildir"}

// player is the user of that format who is in the games.
func player(i int) string { return "player@" + formats[i] }

// Where the nodes' things are.
func store(node string) merge.Store {
	return merge.Store{Home: "/var/vmail/" + node + "/%d/%n", Mail: "mail"}
}
func state(node string) string    { return "/var/lib/rplan/" + node }
func programs(node string) string { return "/run/programs/" + node }
func conf(node string) string     { return "/run/" + node + ".conf" }
func address(node string) string {
	return map[string]string{"n1": "10.77.0.1", "n2": "10.77.0.2"}[node]
}

const isolate = `
mount --make-rprivate /
mount -t proc proc /proc
cp -a /etc/passwd /etc/group /tmp
mount -t tmpfs tmpfs /var
mount -t tmpfs tmpfs /run
ln -s /run /var/run
mkdir -p /var/lib/rplan /var/vmail /var/tmp /run/etc
cp -a /etc/passwd /etc/group /run/etc
echo 'vmail:x:799:799::/var/vmail:/usr/sbin/nologin' >>/run/etc/passwd
echo 'vmail:x:799:' >>/run/etc/group
mount --bind /run/etc/passwd /etc/passwd
mount --bind /run/etc/group /etc/group
chown 799:799 /var/vmail
hostname mergetest
ip link set lo up
ip address add 10.77.0.1/32 dev lo
ip address add 10.77.0.2/32 dev lo
`

func start() error {
	if err := command("/bin/sh", "-ec", isolate); err != nil {
		return err
	}
	for _, node := range []string{"n1", "n2"} {
		err := os.MkdirAll(programs(node), 0o755)
		for _, program := range []string{"doveadm", "dovecot"} {
			script := fmt.Sprintf("#!/bin/sh\nexec /usr/bin/%s -c %s \"$@\"\n", program, conf(node))
			if program == "dovecot" {
				script = strings.Replace(script, "/usr/bin", "/usr/sbin", 1)
			}
			err = errors.Join(err, os.WriteFile(filepath.Join(programs(node), program), []byte(script), 0o755))
		}
		text, wrong := configuration(node)
		err = errors.Join(err, wrong, os.WriteFile(conf(node), []byte(text), 0o644))
		if err == nil {
			err = command(filepath.Join(programs(node), "dovecot"))
		}
		if err == nil {
			err = await(net.JoinHostPort(address(node), "10024"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// source is the configuration that nodes have.
const source = "../../contrib/dovecot/dovecot.conf"

// configuration is contrib's, but for who may log in: anybody may.
func configuration(node string) (string, error) {
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	conf := string(text)
	for _, change := range [][3]string{
		{"!include", "\n", listeners},
		{"ssl = required", "disable_plaintext_auth = yes\n", "ssl = no\ndisable_plaintext_auth = no\n"},
		{"passdb {", "userdb {", "passdb {\n  driver = static\n  args = nopassword=y\n}\nuserdb {"},
		{"/var/vmail/%Ld", " allow_all_users", "/var/vmail/NODE/%Ld/%Ln mail=%{if;%{lport};==;10024;sdbox;%Ld}:~/%{if;%{lport};==;10024;copies;mail} allow_all_users"},
		{"mail_location = ", "\n", ""},
		{"service auth {", "\n}\n", ""},
		{"log_path = /dev/null", "login_log_format_elements", "log_path = /run/NODE.log\nlogin_log_format_elements"},
	} {
		before, rest, found := strings.Cut(conf, change[0])
		_, after, ends := strings.Cut(rest, change[1])
		if !found || !ends {
			return "", fmt.Errorf("%s has no %q up to %q", source, change[0], change[1])
		}
		conf = before + change[2] + after
	}
	return strings.NewReplacer("NODE", node, "ADDRESS", address(node)).Replace(conf), nil
}

const listeners = `
base_dir = /run/dovecot-NODE
state_dir = /var/lib/dovecot-NODE
instance_name = NODE
service lmtp {
  inet_listener lmtp {
    address = ADDRESS
    port = 24
  }
  inet_listener copies {
    address = ADDRESS
    port = 10024
  }
}
service imap-login {
  inet_listener imap {
    address = ADDRESS
    port = 143
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  client_limit = 2000
}
`

func command(argv ...string) error {
	file, err := os.CreateTemp("", "out")
	if err != nil {
		return err
	}
	defer file.Close()
	defer os.Remove(file.Name())
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = file, file // a daemon keeps a pipe open
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(file.Name())
		return fmt.Errorf("%q: %w: %s", argv[0], err, text)
	}
	return nil
}

func await(address string) error {
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
	}
	return err
}

// deliver hands a message to a node's LMTP server; port 24 is for the active node, 10024 for copies.
func deliver(node, port, to, message string) error {
	c, err := textproto.Dial("tcp", net.JoinHostPort(address(node), port))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []struct {
		say  string
		want int
	}{{"", 220}, {"LHLO test", 250}, {"MAIL FROM:<sender@elsewhere.example>", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}} {
		if step.say != "" {
			if err := c.PrintfLine("%s", step.say); err != nil {
				return err
			}
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			return fmt.Errorf("lmtp to %s: %q: %w", node, step.say, err)
		}
	}
	w := c.DotWriter()
	if _, err := io.WriteString(w, message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, _, err = c.ReadResponse(250)
	return err
}

// login opens a user's session with a node.
func login(node, user string) (*imap.Session, error) {
	conn, err := net.Dial("tcp", net.JoinHostPort(address(node), "143"))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	s, err := imap.New(conn)
	if err == nil {
		_, err = s.Command("LOGIN %s x", user)
	}
	return s, err
}
