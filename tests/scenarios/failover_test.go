package scenarios

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/lab"
)

// n2 dies. After one write in the directory and rp-genmaps on the others, what n2 did its standbys do: for mail that
// waits, new mail, logins, visitors and the DNS, with no server restarted, and the same few files rewritten however
// many users there are. Then n2 comes back.
func TestFailover(t *testing.T) {
	l, ctx := collective(t)
	dead, others := l.Node("n2"), []*lab.Node{l.Node("n1"), l.Node("n3")}
	t.Cleanup(func() { restore(t, dead) })
	var moved []lab.User
	for _, u := range activeUsers() {
		if u.Active() == dead.Name {
			moved = append(moved, u)
		}
	}
	if err := dead.Cut(ctx); err != nil {
		t.Fatal(err)
	}
	sendToAll(t, ctx, others, moved, "before")
	eventually(t, ctx, func() error { return waiting(ctx, others, len(moved)) })
	pids := processes(t, others)

	few := switchTo(t, ctx, dead, "out", others)
	sendToAll(t, ctx, others, moved, "after")
	for _, n := range others {
		if _, err := n.Run(ctx, "postqueue", "-f"); err != nil { // else they wait for a minute's end
			t.Fatal(err)
		}
	}
	eventually(t, ctx, func() error { return emptyQueues(ctx, others) })
	for _, u := range moved {
		standby := l.Node(u.Standby())
		for _, when := range []string{"before", "after"} {
			byNode, err := kept(ctx, others, u.Address, "Subject: "+when+" the failover")
			if err != nil {
				t.Fatal(err)
			}
			if got := len(byNode[standby.Name]); got != len(others) || len(byNode) != 1 {
				t.Errorf("%s, now on %s, has mail of %s: %v", u.Address, standby.Name, when, byNode)
			}
		}
		for _, n := range others {
			s, err := l.Login(ctx, n, u.Address, lab.Password(u.Address))
			if err != nil {
				t.Error(err)
				continue
			}
			messages, err := s.Messages("INBOX")
			s.Close()
			if want := 2 * len(others); err != nil || len(messages) < want {
				t.Errorf("%s at %s sees %d messages, want %d: %v", u.Address, n.Name, len(messages), want, err)
			}
		}
	}
	visitorsFollow(t, ctx, others)
	for _, n := range others {
		mx, err := l.Dig(ctx, n, lab.Domain, "MX")
		if want := []string{"10 n1." + lab.NodesDomain + ".", "10 n3." + lab.NodesDomain + "."}; err != nil || !slices.Equal(mx, want) {
			t.Errorf("MX at %s: %q %v, want %q", n.Name, mx, err, want)
		}
	}
	if now := processes(t, others); !maps.Equal(now, pids) {
		t.Errorf("servers were restarted: %v became %v", pids, now)
	}

	switchTo(t, ctx, dead, "up", others)
	addUsers(t, ctx, 1000)
	for _, n := range others {
		if _, err := n.Genmaps(ctx); err != nil {
			t.Fatal(err)
		}
	}
	many := switchTo(t, ctx, dead, "out", others)
	if !maps.Equal(few, many) {
		t.Errorf("rewritten with 20 users\n%v\nwith 1,020\n%v", few, many)
	}
	bytes := int64(0)
	for _, size := range few {
		bytes += size
	}
	t.Logf("a change of state rewrote %d files, %d bytes, on 2 nodes: %v", len(few), bytes, slices.Sorted(maps.Keys(few)))
}

func sendToAll(t *testing.T, ctx context.Context, by []*lab.Node, users []lab.User, when string) {
	t.Helper()
	onEach(t, by, func(n *lab.Node) error {
		for _, u := range users {
			if err := send(ctx, shared.lab, n, sender, u.Address, letter(when+" the failover "+n.Name+" "+u.Address, u.Address)); err != nil {
				return err
			}
		}
		return nil
	})
}

// waiting says when not each of the nodes has tried to deliver this many messages in vain.
func waiting(ctx context.Context, nodes []*lab.Node, messages int) error {
	for _, n := range nodes {
		queue, err := n.Queue(ctx)
		if err != nil {
			return err
		}
		for _, q := range queue {
			if q.Queue != "deferred" {
				return fmt.Errorf("%s still tries %+v", n.Name, q)
			}
		}
		if len(queue) != messages {
			return fmt.Errorf("%s holds %d messages, want %d", n.Name, len(queue), messages)
		}
	}
	return nil
}

// switchTo gives a node a state and runs rp-genmaps on others; the result
// are the sizes of the files that it rewrote there, by node and path.
func switchTo(t *testing.T, ctx context.Context, n *lab.Node, state string, others []*lab.Node) map[string]int64 {
	t.Helper()
	if err := n.SetState(state); err != nil {
		t.Fatal(err)
	}
	if err := shared.lab.WaitReplicated(ctx, others...); err != nil {
		t.Fatal(err)
	}
	rewritten := map[string]int64{}
	for _, other := range others {
		before := published(t, other)
		began := time.Now()
		if out, err := other.Genmaps(ctx); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("rp-genmaps on %s: %s", other.Name, time.Since(began).Round(time.Millisecond))
		for path, file := range published(t, other) {
			if old := before[path]; old == nil || !os.SameFile(old, file) {
				rewritten[other.Name+":"+path] = file.Size()
			}
		}
	}
	return rewritten
}

// published are the files of the maps directory that services read, by path.
func published(t *testing.T, n *lab.Node) map[string]os.FileInfo {
	t.Helper()
	files := map[string]os.FileInfo{}
	err := fs.WalkDir(os.DirFS(n.Path("/var/lib/rplan/maps")), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path, ".") {
			return err
		}
		files[path], err = entry.Info()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// processes are the first processes of all servers, which a restart would change.
func processes(t *testing.T, nodes []*lab.Node) map[string]string {
	t.Helper()
	pids := map[string]string{}
	for _, n := range nodes {
		for _, d := range []lab.Daemon{lab.Slapd, lab.Postfix, lab.Dovecot, lab.Apache, lab.Knot} {
			pid, err := n.PID(d)
			if err != nil || pid == "" {
				t.Fatalf("%s on %s: %q %v", d.Name, n.Name, pid, err)
			}
			pids[n.Name+" "+d.Name] = pid
		}
	}
	return pids
}

// visitorsFollow asks for the sites of n2 while n1 stands in for it.
func visitorsFollow(t *testing.T, ctx context.Context, others []*lab.Node) {
	t.Helper()
	redirect, proxy := "redirect2."+lab.Domain, "proxy2."+lab.Domain
	for _, n := range others {
		servedBy(t, get(t, ctx, n, "http://"+proxy+"/page"), proxy, "n1", proxy+" at "+n.Name)
		page := get(t, ctx, n, "http://"+redirect+"/page")
		if n.Name == "n1" {
			servedBy(t, page, redirect, "n1", redirect)
		} else if to := page.Header.Get("Location"); page.Status != http.StatusFound || !strings.HasPrefix(to, "http://"+redirect+".n1.") {
			t.Errorf("%s at %s: %d to %q", redirect, n.Name, page.Status, to)
		}
		if page := get(t, ctx, n, "http://mirror."+lab.Domain+"/"); strings.Contains(page.Header.Get("Location"), ".n2.") {
			t.Errorf("a visitor is sent to n2: %q", page.Header.Get("Location"))
		}
	}
}

// addUsers adds mailboxes in all placements to the directory.
func addUsers(t *testing.T, ctx context.Context, count int) {
	t.Helper()
	users := lab.Users(3)
	var ldif strings.Builder
	for i := range count {
		fmt.Fprintf(&ldif, "dn: rplanAddress=extra%[1]d@%[2]s,ou=mailboxes,%[3]s\nchangetype: add\nobjectClass: rplanMailbox\n"+
			"rplanAddress: extra%[1]d@%[2]s\nrplanPlacement: %[4]s\n\n", i, lab.Domain, lab.BaseDN, strings.Join(users[i%6].Placement, "_"))
	}
	if _, err := shared.lab.Provider().RunInput(ctx, ldif.String(), "ldapadd", "-QY", "EXTERNAL", "-H", "ldapi:///"); err != nil {
		t.Fatal(err)
	}
	if err := shared.lab.WaitReplicated(ctx, shared.lab.Node("n1"), shared.lab.Node("n3")); err != nil {
		t.Fatal(err)
	}
}

// restore brings a node back as it was, with the maps of the others.
func restore(t *testing.T, n *lab.Node) {
	t.Helper()
	l := shared.lab
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Mend(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.SetState("up"); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx); err != nil {
		t.Fatal(err)
	}
	onEach(t, l.Nodes, func(n *lab.Node) error {
		_, err := n.Genmaps(ctx)
		return err
	})
}
