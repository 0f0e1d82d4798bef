package failover

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/lab"
)

// TestSize loses one of five nodes that serve 5,000 users: how long until
// mail, logins and pages reach the standby from every node, how much is
// rewritten for it, and how many writes to the directory it takes.
func TestSize(t *testing.T) {
	programs := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	started := time.Now()
	w := quietWorld(ctx, t, lab.Users(5), lab.Config{Nodes: 5, Programs: programs, LDIF: many(t, ctx, 5, 5000)})
	t.Logf("the lab started after %s", time.Since(started).Round(time.Second))
	n := w.Node("n2")
	w.absent[n.Name] = true
	others := w.present()
	before := map[string]map[string]os.FileInfo{}
	for _, o := range others {
		before[o.Name] = publishedFiles(t, o)
	}
	writes := countWrites(t, w.Provider())
	w.ok(n.Cut(ctx))
	w.cron = startCron(ctx, w.Nodes, n)
	defer w.reportCron()

	began := time.Now()
	user := w.users[1] // lives on n2
	if user.Active() != n.Name {
		t.Fatalf("%+v does not live on %s", user, n.Name)
	}
	took := firsts(w, user, others, began)
	w.gone(n)
	t.Logf("out --lost: %s", time.Since(began).Round(time.Millisecond))
	for what, after := range took() {
		if after > time.Minute {
			t.Errorf("%s took %s", what, after)
		}
	}
	if got := countWrites(t, w.Provider()) - writes; got != 1 {
		t.Errorf("%d writes to the directory, want 1", got)
	}
	bytes := map[string]int64{} // by service
	for _, o := range others {
		for path, file := range publishedFiles(t, o) {
			if old := before[o.Name][path]; old == nil || !os.SameFile(old, file) {
				service, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
				bytes[service] += file.Size()
			}
		}
	}
	t.Logf("bytes rewritten on %d nodes: %v", len(others), bytes)
	for _, service := range []string{"postfix", "dovecot", "apache"} { // a zone has a row for each node
		if most := int64(len(others)) * 50_000; bytes[service] > most {
			t.Errorf("%d bytes of %s were rewritten, which is more than small tables have", bytes[service], service)
		}
	}
}

// firsts tries mail, login and page at each node from now on, and tells when
// each first reached somebody who stands in for the lost node.
func firsts(w *world, user lab.User, others []*lab.Node, began time.Time) (wait func() map[string]time.Duration) {
	took := map[string]time.Duration{}
	var mu sync.Mutex
	var all sync.WaitGroup
	first := func(what string, try func(context.Context) error) {
		all.Go(func() {
			var err error
			for w.ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(w.ctx, 6*time.Second)
				err = try(ctx)
				cancel()
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					took[what] = time.Since(began)
					w.Logf("%s: %s", what, took[what].Round(time.Millisecond))
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			w.Errorf("%s: %v", what, err)
		})
	}
	standby := w.Node(user.Standby())
	for _, n := range others {
		first("mail at "+n.Name, func(ctx context.Context) error { return mailArrives(ctx, w, n, standby, user) })
		first("login at "+n.Name, func(ctx context.Context) error {
			s, err := w.Login(ctx, n, user.Address, lab.Password(user.Address))
			if err == nil {
				s.Close()
			}
			return err
		})
		first("page at "+n.Name, func(ctx context.Context) error {
			page, err := w.Get(ctx, n, "http://proxy2."+lab.Domain+"/page")
			if err == nil && !strings.Contains(page.Body, " on n1") {
				err = fmt.Errorf("answered %d %q", page.Status, page.Body)
			}
			return err
		})
	}
	return func() map[string]time.Duration {
		all.Wait()
		return took
	}
}

// mailArrives sends a mail to a node and looks for it on the standby, for a second.
func mailArrives(ctx context.Context, w *world, at, standby *lab.Node, user lab.User) error {
	subject := fmt.Sprintf("at %s, %d", at.Name, time.Now().UnixNano())
	_, err := w.SendMail(ctx, at, "writer@"+lab.Elsewhere, []string{user.Address}, "Subject: "+subject+"\n\nhello\n")
	for try := 0; err == nil && try < 5; try++ {
		var texts []string
		if texts, err = standby.Mailbox(ctx, user.Address); err == nil && strings.Contains(strings.Join(texts, ""), subject) {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err == nil {
		err = fmt.Errorf("%q is not on %s yet", subject, standby.Name)
	}
	return err
}

// many are mailboxes of the generator, in nodes and domains that the lab has.
func many(t *testing.T, ctx context.Context, nodes, users int) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "run", "rplan/contrib/example/generate", "-nodes", fmt.Sprint(nodes), "-mailboxes", fmt.Sprint(users), "-sites", "700", "-lists", "0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for entry := range strings.SplitSeq(string(out), "\n\n") {
		dn, _, _ := strings.Cut(entry, "\n")
		mailbox := strings.Contains(dn, ",ou=mailboxes,")
		domain := strings.Contains(dn, ",ou=domains,") && !strings.Contains(dn, "=example.") && !strings.Contains(dn, "="+lab.ContactDomain+",")
		if mailbox || domain {
			b.WriteString(strings.TrimSpace(entry) + "\n\n")
		}
	}
	return b.String()
}

// countWrites is how many changes the provider's accesslog has.
func countWrites(t *testing.T, provider *lab.Node) int {
	t.Helper()
	conn, err := provider.LDAP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	found, err := conn.Search(ldap.NewSearchRequest("cn=log", ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=auditWriteObject)", []string{"reqDN"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return len(found.Entries)
}

// publishedFiles are the files of a node's maps, by path.
func publishedFiles(t *testing.T, n *lab.Node) map[string]os.FileInfo {
	t.Helper()
	files := map[string]os.FileInfo{}
	dir := n.Path("/var/lib/rplan/maps")
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(strings.TrimPrefix(path, dir), "/.") {
			return err
		}
		files[strings.TrimPrefix(path, dir)], err = entry.Info()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
