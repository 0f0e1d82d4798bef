package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
	"rplan/tests/sshd"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// long is a timeout that no test sits through.
const long = time.Minute

// node is a server and a client that it lets in with one forced command.
type node struct {
	Client
	server *sshd.Server
	t      *testing.T
}

// newNode has a server that runs this line of shell whatever it is asked for.
func newNode(t *testing.T, forced string) *node {
	t.Helper()
	n := &node{server: sshd.Start(t, ""), t: t}
	dir := shortDir(t)
	key := sshd.NewKey(t, filepath.Join(dir, "key"), "ed25519")
	n.Client = Client{Key: filepath.Join(dir, "key"), KnownHosts: filepath.Join(dir, "known_hosts"), ControlDir: filepath.Join(dir, "c"), Port: n.server.Port, ConnectTimeout: 2 * time.Second}
	n.know(n.server.HostKey)
	n.server.Write("forced", forced)
	n.server.Write("authorized_keys", `restrict,command="/bin/sh `+sshd.Seen+`/forced" `+key+"\n")
	t.Cleanup(func() { n.Close(context.Background(), loopback) })
	return n
}

func (n *node) know(key string) {
	n.t.Helper()
	if err := os.WriteFile(n.KnownHosts, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", n.Port, key), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// must runs a command that succeeds and returns its output.
func (n *node) must(words ...string) string {
	n.t.Helper()
	result, err := n.Run(n.t.Context(), loopback, nil, 0, long, words...)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(result.Stdout)
}

// master is the process that keeps a connection open, or 0.
func (n *node) master() int {
	n.t.Helper()
	found, _ := exec.Command("pgrep", "-f", "^ssh: "+n.ControlDir+"/").Output()
	pid := 0
	fmt.Sscan(string(found), &pid)
	return pid
}

func (n *node) sockets() []string {
	found, _ := filepath.Glob(n.ControlDir + "/*")
	return found
}

func TestRun(t *testing.T) {
	n := newNode(t, `printf '%s\n' "$SSH_ORIGINAL_COMMAND"; cat; echo aside >&2`)
	result, err := n.Run(t.Context(), loopback, []byte("in\x00put"), 0, long, "sync", "-x", "a&b~c@example.org", "$(reboot)")
	if err != nil || string(result.Stdout) != "sync -x a%26b%7Ec@example.org %24%28reboot%29\nin\x00put" || result.ExitCode != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if got := n.must("-v"); got != "-v\n" {
		t.Errorf("a word with a hyphen became %q", got)
	}
	if got := n.must(strings.Repeat("x", 100000)); len(got) != 100001 {
		t.Errorf("%d bytes of a long word", len(got))
	}
	n.ControlDir = ""
	if got := n.must("status"); got != "status\n" {
		t.Errorf("without a directory for connections: %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	n := newNode(t, `echo data; printf 'wrong\033[1m\r\nthere' >&2; exit "${SSH_ORIGINAL_COMMAND##* }"`)
	for range 2 { // over a new connection and over an open one
		for _, code := range []int{1, 2, 3, 75, 254} {
			result, err := n.Run(t.Context(), loopback, nil, 0, long, "sync", fmt.Sprint(code))
			exit, ok := errors.AsType[*ExitError](err)
			if !ok || exit.Code != code || result.ExitCode != code || string(result.Stdout) != "data\n" ||
				err.Error() != fmt.Sprintf("\"sync\" on 127.0.0.1: exit status %d: wrong?[1m\nthere", code) {
				t.Errorf("exit code %d: %+v, %v", code, result, err)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	n := newNode(t, `case $SSH_ORIGINAL_COMMAND in much) exec yes;; *) echo secret data; exec sleep 1000;; esac`)
	n.Run(t.Context(), loopback, nil, 0, time.Second, "first")
	result, err := n.Run(t.Context(), loopback, nil, 10, long, "much")
	if err == nil || !strings.Contains(err.Error(), "more than 10 bytes of output") || string(result.Stdout) != "y\ny\ny\ny\ny\n" {
		t.Errorf("%q, %v", result.Stdout, err)
	}
	_, err = n.Run(t.Context(), loopback, nil, 0, 300*time.Millisecond, "sleep")
	if !errors.Is(err, run.ErrTimeout) || !errors.Is(err, ErrUnreachable) || diag.KindOf(err) != diag.TryAgain || strings.Contains(err.Error(), "secret") {
		t.Errorf("timeout: %v", err)
	}
	why := errors.New("interrupted by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
	if _, err = n.Run(ctx, loopback, nil, 0, long, "sleep"); !errors.Is(err, why) || strings.Contains(err.Error(), "secret") {
		t.Errorf("cancelled: %v", err)
	}
}

// What is in the way is told apart.
func TestRefusals(t *testing.T) {
	n := newNode(t, "echo in")
	other := filepath.Join(filepath.Dir(n.Key), "other")
	otherKey := sshd.NewKey(t, other, "ed25519")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		change func()
		is     error
		kind   diag.Kind
		words  string
	}{
		"changed host key": {func() { n.know(otherKey) }, ErrHostKey, diag.Config, "but another: @@@"},
		"unknown host key": {func() { n.know("") }, ErrHostKey, diag.Config, "has none of its keys"},
		"no known hosts":   {func() { n.KnownHosts = "/nowhere" }, ErrHostKey, diag.Config, "has none of its keys"},
		"wrong key":        {func() { n.Key = other }, ErrDenied, diag.Config, "Permission denied (publickey"},
		"no key":           {func() { n.Key = "/nowhere" }, ErrDenied, diag.Config, "/nowhere"},
		"open key":         {func() { os.Chmod(n.Key, 0o644) }, ErrDenied, diag.Config, "UNPROTECTED"},
		"nothing there":    {func() { n.Port = closed.Addr().(*net.TCPAddr).Port }, ErrUnreachable, diag.TryAgain, "Connection refused"},
		"silence":          {func() { n.Port = silent.Addr().(*net.TCPAddr).Port }, ErrUnreachable, diag.TryAgain, "timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			was := n.Client
			defer func() { n.Client = was; n.know(n.server.HostKey); os.Chmod(n.Key, 0o600) }()
			c.change()
			start := time.Now()
			_, err := n.Run(t.Context(), loopback, nil, 0, long, "status")
			if !errors.Is(err, c.is) || diag.KindOf(err) != c.kind || !strings.HasPrefix(err.Error(), "127.0.0.1: "+c.is.Error()) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if c.kind == diag.Config && diag.HintOf(err) == "" {
				t.Error("no hint")
			}
		})
	}
	if got := n.must("status"); got != "in\n" {
		t.Errorf("after all that: %q", got)
	}
}

// One connection serves many calls, also at once, and one that has died is replaced.
func TestConnectionIsShared(t *testing.T) {
	n := newNode(t, "echo in")
	n.must("first")
	first := n.master()
	if first == 0 || len(n.sockets()) != 1 {
		t.Fatalf("process %d, sockets %q", first, n.sockets())
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := n.Run(t.Context(), loopback, nil, 0, long, "status"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n.master() != first {
		t.Errorf("process %d took the place of %d", n.master(), first)
	}
	if logins := strings.Count(n.server.Read("log"), "Accepted publickey"); logins >= 20 {
		t.Errorf("%d logins", logins)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.must("after a kill")
	if now := n.master(); now == first || now == 0 {
		t.Errorf("after a kill: process %d", now)
	}
	n.server.Stop()
	if _, err := n.Run(t.Context(), loopback, nil, 0, long, "status"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("the server is gone: %v", err)
	}
}

// The process that keeps the connection open also keeps no caller waiting.
func TestLaterCallsAreFast(t *testing.T) {
	n := newNode(t, "echo in")
	var took []time.Duration
	for range 6 {
		start := time.Now()
		n.must("status")
		took = append(took, time.Since(start))
	}
	t.Log(took)
	if first, fastest := took[0], slices.Min(took[1:]); fastest > first/2 || first > 5*time.Second {
		t.Errorf("the first call took %v, a later one at least %v", first, fastest)
	}
}

// What the host runs hears of it when its caller is gone.
func TestAbandonedCommand(t *testing.T) {
	n := newNode(t, "echo $$ >"+sshd.Seen+"/pid; cat; echo ended >"+sshd.Seen+"/ended")
	n.must("first")
	for range 2 {
		os.Remove(filepath.Join(n.server.Dir, "ended"))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		cmd := exec.CommandContext(ctx, "ssh", n.Argv(loopback, "sync")[1:]...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Run()
		cancel()
		stdin.Close()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(n.server.Dir, "ended")); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the command still waits for its input")
			}
		}
	}
}

func TestFirstCallsAtOnce(t *testing.T) {
	n := newNode(t, "echo in")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if result, err := n.Run(t.Context(), loopback, nil, 0, long, "status"); err != nil || string(result.Stdout) != "in\n" {
				t.Errorf("%q, %v", result.Stdout, err)
			}
		})
	}
	all.Wait()
}

func TestClose(t *testing.T) {
	n := newNode(t, "echo in")
	for range 2 { // the second time there is nothing to close
		if err := n.Close(t.Context(), loopback); err != nil {
			t.Error(err)
		}
	}
	n.must("status")
	if err := n.Close(t.Context(), loopback); err != nil {
		t.Error(err)
	}
	gone(t, n, 3*time.Second)
	n.ControlDir = ""
	if err := n.Close(t.Context(), loopback); err != nil {
		t.Error(err)
	}
}

// Nothing stays, also where nobody closes: not after a kill of the caller, of which the open connection knows nothing.
func TestNothingStays(t *testing.T) {
	if testing.Short() {
		t.Skip("waits as long as an unused connection stays open")
	}
	n := newNode(t, "echo in")
	n.must("status")
	if n.master() == 0 {
		t.Fatal("no connection is open")
	}
	gone(t, n, (persist+5)*time.Second)
}

// gone waits until no connection is open.
func gone(t *testing.T, n *node, most time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		if n.master() == 0 && len(n.sockets()) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d and %q are still there", n.master(), n.sockets())
		}
	}
}

func TestControlDir(t *testing.T) {
	base := shortDir(t)
	c := Client{ControlDir: filepath.Join(base, "new", "c")}
	defer syscall.Umask(syscall.Umask(0o027))
	for range 2 {
		if err := c.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(c.ControlDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, make := range map[string]func(path string) error{
		"open to others, mode 0750": func(path string) error { return os.Mkdir(path, 0o750) },
		"is no directory":           func(path string) error { return os.Symlink(c.ControlDir, path) },
		"belongs to another user":   func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 65534, 65534)) },
	} {
		if os.Geteuid() != 0 && strings.HasPrefix(name, "belongs") {
			continue
		}
		bad := Client{ControlDir: filepath.Join(base, name[:4])}
		if err := make(bad.ControlDir); err != nil {
			t.Fatal(err)
		}
		if err := bad.Prepare(); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := bad.Run(t.Context(), loopback, nil, 0, long); diag.KindOf(err) != diag.Config {
			t.Errorf("%s: it runs: %v", name, err)
		}
	}
	if err := (&Client{ControlDir: "/" + strings.Repeat("x", maxControlDir)}).Prepare(); diag.KindOf(err) != diag.Config {
		t.Errorf("a long path: %v", err)
	}
}

// The longest directory that is accepted has room for ssh's socket.
func TestLongestControlDir(t *testing.T) {
	n := newNode(t, "echo in")
	n.ControlDir += strings.Repeat("x", maxControlDir-len(n.ControlDir))
	n.must("status")
	if n.master() == 0 || len(n.sockets()) != 1 {
		t.Errorf("no connection is open; sockets %q", n.sockets())
	}
}

func TestWords(t *testing.T) {
	for _, words := range [][]string{nil, {"status"}, {"dsync", "a.b+c=d_e-f@example.org"}, {"a b", "c\nd", "%", "é\xff\x00", "'; reboot #", "~root", "$X`x`"}} {
		sent := command(words)
		if strings.Trim(sent, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+=-% ") != "" {
			t.Errorf("%q is sent as %q", words, sent)
		}
		got, err := Words(sent)
		if err != nil || strings.Join(got, "|") != strings.Join(words, "|") {
			t.Errorf("%q arrive as %q, %v", words, got, err)
		}
	}
	for _, bad := range []string{" ", "a  b", " a", "a ", "a\tb", "a\nb", "a;b", "%", "a%4", "%zz", "%+1", "% 1", "a&b", "é", "\xff"} {
		if words, err := Words(bad); diag.KindOf(err) != diag.BadData {
			t.Errorf("%q is read as %q, %v", bad, words, err)
		}
	}
}

// Whatever the caller's own configuration says, the options stand before the host, and nothing after it is one.
func TestArgv(t *testing.T) {
	c := Client{Key: "/k", KnownHosts: "/h", ControlDir: "/c", User: "u", Port: 2222, ConnectTimeout: 1500 * time.Millisecond}
	got := strings.Join(c.Argv(netip.MustParseAddr("fd77::1"), "sync", "n2"), " ")
	for _, want := range []string{"ssh -F /dev/null -T -a -x -i /k -l u -p 2222 ", " -o ConnectTimeout=2 ", " -o UserKnownHostsFile=/h ", " -o ControlPath=/c/%C "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if !strings.HasSuffix(got, " -- fd77::1 sync n2") {
		t.Errorf("it ends otherwise: %s", got)
	}
}
