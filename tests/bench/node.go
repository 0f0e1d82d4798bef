package main

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rplan/lib/ssh"
	"rplan/tests/lab"
)

// pair are two nodes of a lab whose mail lies on a real disk.
type pair struct {
	ctx   context.Context
	lab   *lab.Lab
	disk  string // a directory on that disk, which the nodes see too
	runs  int
	words int // of mails, so that no two are alike
}

// realDisk says what file system a directory is on, and refuses what is memory.
func realDisk(dir string) (string, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "", err
	}
	switch fs.Type {
	case 0x01021994, 0x794c7630: // statfs(2)
		return "", fmt.Errorf("%s is on a tmpfs or an overlay: name a directory on a disk with -disk", dir)
	case 0xef53:
		return "ext4", nil
	case 0x58465342:
		return "xfs", nil
	case 0x9123683e:
		return "btrfs", nil
	}
	return fmt.Sprintf("file system %#x", fs.Type), nil
}

// newPair starts two nodes with further users n1_n2, who are called so.
func newPair(ctx context.Context, programs, disk string, runs int, users []string) (*pair, error) {
	var b strings.Builder
	for _, user := range users {
		fmt.Fprintf(&b, "dn: rplanAddress=%s,ou=mailboxes,%s\nobjectClass: rplanMailbox\nrplanAddress: %[1]s\nrplanPlacement: n1_n2\n"+
			"rplanStatus: active\nrplanDelivery: both\nuserPassword: {CRYPT}*\n\n", user, lab.BaseDN)
	}
	l, err := lab.Up(ctx, lab.Config{Nodes: 2, LDIF: b.String(), Programs: programs})
	if err != nil {
		return nil, err
	}
	p := &pair{ctx: ctx, lab: l, disk: disk, runs: runs}
	if err := p.prepare(); err != nil {
		l.Down()
		return nil, err
	}
	return p, nil
}

func (p *pair) active() *lab.Node  { return p.lab.Nodes[0] }
func (p *pair) standby() *lab.Node { return p.lab.Nodes[1] }

// sh runs a script on a node.
func (p *pair) sh(n *lab.Node, script string) (string, error) {
	return n.Run(p.ctx, "/bin/sh", "-ec", script)
}

// prepare puts the mail and rp-failover's records on the disk, and lets n1's root into n2 with a key of its own, for the peer.
func (p *pair) prepare() error {
	for _, n := range p.lab.Nodes {
		if _, err := p.sh(n, fmt.Sprintf(`
			mkdir -p %[1]s/%[2]s/vmail %[1]s/%[2]s/state /var/vmail /var/lib/rplan/failover
			chown vmail:vmail %[1]s/%[2]s/vmail
			mount --bind %[1]s/%[2]s/vmail /var/vmail
			mount --bind %[1]s/%[2]s/state /var/lib/rplan/failover
			chmod 700 /var/lib/rplan/failover`, p.disk, n.Name)); err != nil {
			return err
		}
	}
	key, err := p.sh(p.active(), "mkdir -p -m 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id; cat /root/.ssh/id.pub")
	if err == nil {
		_, err = p.standby().RunInput(p.ctx, key, "/bin/sh", "-ec", "mkdir -p -m 700 /root/.ssh; cat >/root/.ssh/authorized_keys")
	}
	return err
}

// bare is doveadm sync of a mailbox, through ssh with rp-failover's options.
func (p *pair) bare(user string, multiplexed bool) []string {
	client := &ssh.Client{Key: "/root/.ssh/id", KnownHosts: "/var/lib/rplan/maps/ssh/known_hosts"}
	if multiplexed {
		client.ControlDir = "/root/.ssh"
	}
	return append([]string{"doveadm", "sync", "-f", "-u", user}, client.Argv(p.standby().VPN, "doveadm", "dsync-server", "-u", user)...)
}

// timed runs a command on a node. doveadm sync may say with 2 that there is more to do, which is an error here.
func (p *pair) timed(n *lab.Node, argv ...string) (time.Duration, string, error) {
	start := time.Now()
	out, err := n.Run(p.ctx, argv...)
	return time.Since(start), out, err
}

// deliver has LMTP servers take mails, in one session: what Postfix's lmtp and copy do.
func (p *pair) deliver(user string, count int) error {
	for _, to := range []struct {
		node *lab.Node
		port string
	}{{p.active(), "24"}, {p.standby(), "10024"}} {
		raw, err := to.node.Dial(p.ctx, "tcp", net.JoinHostPort(to.node.VPN.String(), to.port))
		if err != nil {
			return err
		}
		conn := textproto.NewConn(raw)
		err = lmtp(conn, user, p.words, count)
		conn.Close()
		if err != nil {
			return fmt.Errorf("mail for %s at %s: %w", user, to.node.Name, err)
		}
	}
	p.words += count
	return nil
}

func lmtp(c *textproto.Conn, user string, first, count int) error {
	say := func(code int, format string, args ...any) error {
		if format != "" {
			if err := c.PrintfLine(format, args...); err != nil {
				return err
			}
		}
		_, _, err := c.ReadResponse(code)
		return err
	}
	if err := say(220, ""); err != nil {
		return err
	}
	if err := say(250, "LHLO bench"); err != nil {
		return err
	}
	for i := range count {
		for _, step := range []struct {
			code int
			line string
		}{{250, "MAIL FROM:<sender@elsewhere.example>"}, {250, "RCPT TO:<" + user + ">"}, {354, "DATA"}} {
			if err := say(step.code, "%s", step.line); err != nil {
				return err
			}
		}
		w := c.DotWriter()
		fmt.Fprint(w, letter(first+i))
		if err := w.Close(); err != nil {
			return err
		}
		if err := say(250, ""); err != nil {
			return err
		}
	}
	return nil
}

// letter is a mail of about 4 KB.
func letter(i int) string {
	return fmt.Sprintf("X-RPlan-ID: Q%d.n1.nodes.example.net\nFrom: sender@elsewhere.example\nSubject: number %[1]d\nMessage-ID: <%[1]d@elsewhere.example>\n\n%s",
		i, strings.Repeat("Forty-odd letters to the line, and so on.\n", 95))
}

// messages counts what a node has in a user's folders.
func (p *pair) messages(n *lab.Node, user string) (int, error) {
	out, err := n.Run(p.ctx, "doveadm", "-f", "flow", "mailbox", "status", "-t", "-u", user, "messages", "*")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(out), "messages="))
}

// same fails unless both nodes have as many messages of a user.
func (p *pair) same(user string) error {
	here, err := p.messages(p.active(), user)
	if err != nil {
		return err
	}
	there, err := p.messages(p.standby(), user)
	if err == nil && here != there {
		err = fmt.Errorf("%s has %d messages on n1 and %d on n2", user, here, there)
	}
	return err
}

func middle(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}

// diskDirectory is made for this run.
func diskDirectory(below string) (dir, kind string, err error) {
	if err := os.MkdirAll(below, 0o755); err != nil {
		return "", "", err
	}
	if below, err = filepath.Abs(below); err != nil {
		return "", "", err
	}
	if kind, err = realDisk(below); err != nil {
		return "", "", err
	}
	dir, err = os.MkdirTemp(below, "")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	return dir, kind, err
}
