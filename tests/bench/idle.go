package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/tests/lab"
)

// Mailboxes in which nothing happens: how long it takes to see that.

// sampled is how many of them the peer synchronizes.
const sampled = 40

func idle(ctx context.Context, programs, disk string, runs, mailboxes int) error {
	dir, kind, err := diskDirectory(disk)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var users []string
	for i := range mailboxes {
		users = append(users, fmt.Sprintf("idle%05d@%s", i, lab.Domain))
	}
	p, err := newPair(ctx, programs, dir, runs, users)
	if err != nil {
		return err
	}
	defer p.lab.Down()
	fmt.Printf("\n%d idle mailboxes, two nodes with their mail on %s; median of %d\n", mailboxes, kind, runs)
	if err := p.spread(users); err != nil {
		return err
	}
	if err := p.idlePasses(users); err != nil {
		return err
	}
	return p.lose()
}

// spread makes one mailbox on both nodes, and of it all the others, with the records that a pass over each would have left.
func (p *pair) spread(users []string) error {
	if err := p.deliver(users[0], 5); err != nil {
		return err
	}
	if _, err := p.active().Run(p.ctx, "rp-failover", "sync", "--all", "--mailbox", users[0]); err != nil {
		return err
	}
	first, _, _ := strings.Cut(users[0], "@")
	for _, n := range p.lab.Nodes {
		script := fmt.Sprintf("cd /var/vmail/%s; for i in $(seq 1 %d); do cp -a %s $(printf 'idle%%05d' $i); done; sync -f .", lab.Domain, len(users)-1, first)
		if _, err := p.sh(n, script); err != nil {
			return err
		}
	}
	here, err := p.stamps(p.active(), "n2")
	if err != nil {
		return err
	}
	there, err := p.stamps(p.standby(), "n1")
	if err != nil {
		return err
	}
	for _, user := range users {
		if here[user] == "" || there[user] == "" {
			return fmt.Errorf("%s is not on both nodes", user)
		}
		local, domain, _ := strings.Cut(user, "@")
		record := fmt.Sprintf(`{"local":%q,"peers":{"n2":{"local":%[1]q,"remote":%q,"equal":true,"at":%d}}}`, here[user], there[user], time.Now().Unix())
		if err := p.active().Write(filepath.Join("/var/lib/rplan/failover/mailboxes", domain, local+".json"), record+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// stamps asks a node as the peer does.
func (p *pair) stamps(n *lab.Node, peer string) (map[string]string, error) {
	out, err := n.RunInput(p.ctx, `{"do":"stamps"}`+"\n", "env", "SSH_ORIGINAL_COMMAND=mail", "rp-failover", "serve", peer)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		var a struct {
			A string
			T struct{ R string }
		}
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			return nil, err
		}
		all[a.A] = a.T.R
	}
	return all, nil
}

func (p *pair) idlePasses(users []string) error {
	var ours, found, synced []time.Duration
	for i := range p.runs + 1 {
		took, merged, err := p.pass()
		if err == nil && merged != 0 {
			err = fmt.Errorf("a pass with nothing to do merged %d mailboxes", merged)
		}
		if err != nil {
			return err
		}
		walked, err := p.find()
		if err != nil {
			return err
		}
		each, err := p.sample(users)
		if err != nil {
			return err
		}
		if i > 0 { // the first fills the cache
			ours, found, synced = append(ours, took), append(found, walked), append(synced, each)
		}
	}
	n := float64(len(users))
	mine, find, bare := middle(ours).Seconds(), middle(found).Seconds(), middle(synced).Seconds()*n
	fmt.Printf("%-58s %9.2fs, %.0f mailboxes a second\n", "a pass of rp-failover sync", mine, n/mine)
	fmt.Printf("%-58s %9.2fs %6.2fx\n", "find over the trees of both nodes at once", find, mine/find)
	fmt.Printf("%-58s %9.2fs %6.4fx, %.1f mailboxes a second\n", fmt.Sprintf("doveadm sync -f one by one (from %d of them)", sampled), bare, mine/bare, n/bare)
	if err := p.deliver(users[len(users)/2], 1); err != nil {
		return err
	}
	_, merged, err := p.pass()
	if err == nil && merged != 1 {
		err = fmt.Errorf("after one mail, a pass merged %d mailboxes", merged)
	}
	return err
}

// pass is one over all mailboxes.
func (p *pair) pass() (took time.Duration, merged int, err error) {
	took, out, err := p.timed(p.active(), "rp-failover", "sync", "--json")
	var report struct{ Merged int }
	if err == nil {
		err = json.Unmarshal([]byte(out), &report)
	}
	return took, report.Merged, err
}

// find walks through the mail of both nodes.
func (p *pair) find() (time.Duration, error) {
	errs := make([]error, len(p.lab.Nodes))
	start := time.Now()
	var both sync.WaitGroup
	for i, n := range p.lab.Nodes {
		both.Go(func() { _, errs[i] = p.sh(n, "find /var/vmail -printf '%s %T@\\n' >/dev/null") })
	}
	both.Wait()
	return time.Since(start), joined(errs)
}

func joined(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sample is the time that doveadm sync takes for one mailbox.
func (p *pair) sample(users []string) (time.Duration, error) {
	start := time.Now()
	for i := range sampled {
		// Not the one whose record is looked at below: doveadm sync leaves a mailbox that is equal as it is.
		if _, err := p.active().Run(p.ctx, p.bare(users[i*(len(users)-1)/sampled], true)...); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / sampled, nil
}

// lose takes the standby out as lost, and counts what that writes to the directory.
func (p *pair) lose() error {
	before, err := p.writes()
	if err != nil {
		return err
	}
	took, _, err := p.timed(p.active(), "rp-failover", "out", "--lost", "--yes", "--reason", "bench", "n2")
	var exit *exec.ExitError
	if partial := errors.As(err, &exit) && exit.ExitCode() == int(diag.Partial); err != nil && !partial { // whether n2 is waited for, is chance
		return err
	}
	after, err := p.writes()
	if err == nil {
		fmt.Printf("%-58s %9.2fs, %d writes to the directory\n", "rp-failover out --lost n2, all of it", took.Seconds(), after-before)
	}
	return err
}

// writes counts the entries of the provider's log.
func (p *pair) writes() (int, error) {
	conn, err := p.lab.Provider().LDAP()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest("cn=log", ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=auditWriteObject)", []string{"reqType"}, nil))
	if err != nil {
		return 0, err
	}
	return len(result.Entries), nil
}
