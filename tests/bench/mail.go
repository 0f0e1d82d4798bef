package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"rplan/tests/lab"
)

// New mails in a large mailbox: rp-failover against the doveadm sync that it calls.

// newMails is how many come between two passes.
const newMails = 20

// mail measures with each of Dovecot's formats.
func mail(ctx context.Context, programs, disk string, runs, messages int, formats []string) error {
	dir, kind, err := diskDirectory(disk)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("\n%d new mails in a mailbox of %d, two nodes with their mail on %s; median of %d\n%-10s %-58s %10s %10s %7s\n",
		newMails, messages, kind, runs, "format", "what", "rplan", "peer", "ratio")
	for _, format := range formats {
		if err := mailFormat(ctx, programs, filepath.Join(dir, format), runs, messages, format); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

const ours, theirs = "ours@" + lab.Domain, "theirs@" + lab.Domain

// several is how many mailboxes a pass has changed in, where more than one is measured.
const several = 5

// users are those mailboxes, of which the first is the one by itself.
func users(first string) []string {
	all := []string{first}
	for i := 2; i <= several; i++ {
		all = append(all, strings.Replace(first, "@", fmt.Sprint(i, "@"), 1))
	}
	return all
}

func mailFormat(ctx context.Context, programs, disk string, runs, messages int, format string) error {
	p, err := newPair(ctx, programs, disk, runs, append(users(ours), users(theirs)...))
	if err != nil {
		return err
	}
	defer p.lab.Down()
	if err := p.format(format); err != nil {
		return err
	}
	if err := p.fill(messages); err != nil {
		return err
	}
	quick := []string{"rp-failover", "sync", "--mailbox", ours}
	whole := []string{"rp-failover", "sync", "--all", "--mailbox", ours}
	many, each := []string{"rp-failover", "sync", "--jobs", "1"}, []string{"/bin/sh", "-ec", ""}
	for i := range several {
		many = append(many, "--mailbox", users(ours)[i])
		each[2] += strings.Join(p.bare(users(theirs)[i], true), " ") + "\n"
	}
	programsOf := []struct {
		users []string
		argv  []string
		all   []time.Duration
	}{
		{[]string{ours}, quick, nil}, {[]string{theirs}, p.bare(theirs, true), nil}, {[]string{ours}, whole, nil},
		{[]string{theirs}, p.bare(theirs, false), nil}, {users(ours), many, nil}, {users(theirs), each, nil},
	}
	for i := range p.runs + 1 { // the first opens the connections, and is not counted
		for k := range programsOf {
			it := &programsOf[k]
			for _, user := range it.users {
				if err := p.deliver(user, newMails); err != nil {
					return err
				}
			}
			took, _, err := p.timed(p.active(), it.argv...)
			if err != nil {
				return err
			}
			for _, user := range it.users {
				if err := p.settled(format, user, it.argv); err != nil {
					return err
				}
			}
			if i > 0 {
				it.all = append(it.all, took)
			}
		}
	}
	var m []time.Duration
	for _, it := range programsOf {
		m = append(m, middle(it.all))
	}
	row := func(what string, mine, peer time.Duration) {
		fmt.Printf("%-10s %-58s %9.2fs %9.2fs %6.2fx\n", format, what, mine.Seconds(), peer.Seconds(), mine.Seconds()/peer.Seconds())
	}
	row("a pass, against doveadm sync -f by the same kind of ssh", m[0], m[1])
	row("  against one that opens a connection of its own", m[0], m[3])
	row(fmt.Sprintf("a pass over %d such mailboxes, against as many doveadm sync", several), m[4], m[5])
	row("a pass that compares all messages (--all)", m[2], m[1])
	return nil
}

// settled fails unless both nodes have the same messages, at the latest after
// another run, which it speaks of.
func (p *pair) settled(format, user string, argv []string) error {
	why := p.same(user)
	if why == nil {
		return nil
	}
	if _, _, err := p.timed(p.active(), argv...); err != nil {
		return err
	}
	if err := p.same(user); err != nil {
		return err
	}
	fmt.Printf("%-10s   note: after %s, %v; another run set it right\n", format, strings.Join(argv[:2], " "), why)
	return nil
}

// static is how contrib/dovecot finds mailboxes.
var static = regexp.MustCompile(`driver = static\n *args = uid=vmail .*`)

// format has the nodes keep mailboxes in another one of Dovecot's formats, but for the copies.
func (p *pair) format(format string) error {
	if format == "sdbox" {
		return nil
	}
	const conf, userdb = "/etc/dovecot/dovecot.conf", "driver = passwd-file\n  args = username_format=%Lu /etc/dovecot/users-%{if;%{lport};==;10024;copies;mail}"
	for _, n := range p.lab.Nodes {
		text, err := n.Read(conf)
		if err != nil {
			return err
		}
		changed := static.ReplaceAllLiteralString(text, userdb)
		if changed == text {
			return fmt.Errorf("contrib/dovecot has no longer the line that is to be changed")
		}
		files := map[string]string{conf: changed}
		for file, location := range map[string]string{"mail": format + ":~/mail", "copies": "sdbox:~/copies"} {
			for _, user := range append(users(ours), users(theirs)...) {
				local, domain, _ := strings.Cut(user, "@")
				files["/etc/dovecot/users-"+file] += fmt.Sprintf("%s::vmail:vmail::/var/vmail/%s/%s::userdb_mail=%s\n", user, domain, local, location)
			}
		}
		for file, text := range files {
			err = errors.Join(err, n.Write(file, text))
		}
		if err != nil {
			return err
		}
		if _, err := n.Run(p.ctx, "doveadm", "reload"); err != nil {
			return err
		}
	}
	return nil
}

// fill makes one mailbox, on both nodes, and others that are copies of it.
func (p *pair) fill(messages int) error {
	source := filepath.Join(p.disk, "source")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(source, sub), 0o755); err != nil {
			return err
		}
	}
	for i := range messages {
		p.words++
		if err := os.WriteFile(filepath.Join(source, "cur", fmt.Sprintf("%d.bench:2,S", i)), []byte(letter(p.words)), 0o644); err != nil {
			return err
		}
	}
	twin := "cd /var/vmail/" + lab.Domain
	for _, user := range append(users(ours)[1:], users(theirs)...) {
		local, _, _ := strings.Cut(user, "@")
		twin += "; cp -a ours " + local
	}
	for _, step := range []struct {
		node *lab.Node
		argv []string
	}{
		{p.active(), []string{"/bin/sh", "-ec", "chmod -R a+rwX " + source}},
		{p.active(), []string{"doveadm", "import", "-u", ours, "maildir:" + source, "", "ALL"}},
		{p.active(), []string{"rp-failover", "sync", "--all", "--mailbox", ours}},
		{p.active(), []string{"/bin/sh", "-ec", twin}},
		{p.standby(), []string{"/bin/sh", "-ec", twin}},
		{p.active(), p.bare(theirs, true)},
	} {
		if _, err := step.node.Run(p.ctx, step.argv...); err != nil {
			return err
		}
	}
	for _, user := range append(users(ours), users(theirs)...) {
		n, err := p.messages(p.standby(), user)
		if err == nil && n != messages {
			err = fmt.Errorf("%s has %d messages, not %d", user, n, messages)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
