package unlock

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/store"
	"rplan/tests/need"
)

// desk is an admin's machine, and a node that it can reach by SSH.
type desk struct {
	*machine
	dir       string
	env       app.Env
	out, errs bytes.Buffer
	now       func() time.Time
	boot, sys int // ports of the two systems' sshd
}

// newDesk has a store with the node n1 and these disks, which waits in its initramfs behind dropbear.
func newDesk(t *testing.T, disks ...string) *desk {
	t.Helper()
	return deskOf(t, wait(t, nil, disks...), store.Cryptroot, disks...)
}

// deskOf is that with a node that asks in this way.
func deskOf(t *testing.T, node *machine, unlock string, disks ...string) *desk {
	t.Helper()
	need.Program(t, "ssh", "ssh-keygen", "age-keygen", "dropbear")
	d := &desk{machine: node, dir: t.TempDir(), now: time.Now, boot: port(t), sys: port(t)}
	for _, name := range []string{"admin", "probe", "boot", "sys", "other"} {
		d.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", d.path(name))
	}
	d.run("age-keygen", "-o", d.path("identity"))
	config := fmt.Sprintf("[store]\ndir = %q\nadmin = \"ada\"\nsigning-key = %q\nidentities = [%q]\nstate = %q\n[unlock]\nprobe-key = %q\n",
		d.path("store"), d.path("admin"), d.path("identity"), d.path("state"), d.path("probe"))
	d.ok(os.WriteFile(d.path("rplan.toml"), []byte(config), 0o600))
	d.agent("admin")

	d.store(unlock, disks)
	for _, name := range disks {
		d.seal("n1", name, "secret of "+name)
	}
	d.furnish(disks)
	return d
}

// furnish puts into the node what its sshd and its probe need.
func (d *desk) furnish(disks []string) {
	d.Helper()
	d.put("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	d.put("etc/rplan-probe.conf", "DEVICES='/disk-"+strings.Join(disks, " /disk-")+"'\n")
	d.put("boot/rplan-alive", fmt.Sprint(time.Now().Unix()))
	d.ok(os.Chmod(filepath.Join(d.root, "root"), 0o700))
	keys := d.read("admin.pub") + `command="/usr/lib/rplan/rplan-probe" ` + d.read("probe.pub")
	d.ok(os.WriteFile(filepath.Join(d.root, "root/.ssh/authorized_keys"), []byte(keys), 0o600))
}

func (d *desk) by() *store.Keyring { return &store.Keyring{Admin: "ada", File: d.path("admin")} }

// add puts a node, or another text for one, into the store.
func (d *desk) add(node, text string) {
	d.Helper()
	s, err := d.place().Open(context.Background())
	d.ok(err)
	change, _, err := s.NodeChange(node, []byte(text))
	d.ok(err)
	d.commit(change)
}

// agent starts an SSH agent with a key, as the admin's session has one.
func (d *desk) agent(key string) {
	d.Helper()
	socket := d.path("agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	d.ok(cmd.Start())
	d.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	d.Setenv("SSH_AUTH_SOCK", socket)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := exec.Command("ssh-add", "-q", d.path(key)).Run()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			d.Fatal(err)
		}
	}
}

func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) read(name string) string {
	d.Helper()
	text, err := os.ReadFile(d.path(name))
	d.ok(err)
	return string(text)
}

func (d *desk) run(argv ...string) string {
	d.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		d.Fatalf("%q: %v", argv, err)
	}
	return string(out)
}

func (d *desk) place() *store.Place {
	return &store.Place{Dir: d.path("store"), State: d.path("state"), Now: time.Now}
}

// store makes the store with the node.
func (d *desk) store(unlock string, disks []string) *store.Store {
	d.Helper()
	to := strings.TrimSpace(d.run("age-keygen", "-y", d.path("identity")))
	s, err := d.place().Init(context.Background(), d.by(), &store.Admin{Name: "ada", Recipients: []string{to}, Signer: strings.TrimSpace(d.read("admin.pub"))}, strings.Repeat("ab", 16))
	d.ok(err)
	change, _, err := s.NodeChange("n1", []byte(strings.Replace(d.described(disks...), "[system]", fmt.Sprintf("unlock = %q\n[system]", unlock), 1)))
	d.ok(err)
	s, err = s.Commit(context.Background(), d.by(), change)
	d.ok(err)
	return s
}

// described is the node's file in the store.
func (d *desk) described(disks ...string) string {
	d.Helper()
	text := fmt.Sprintf("[initramfs]\nhost = \"127.0.0.1\"\nport = %d\nhost-keys = [%q]\n[system]\nhost = \"127.0.0.1\"\nport = %d\nhost-keys = [%q]\n",
		d.boot, strings.TrimSpace(d.read("boot.pub")), d.sys, strings.TrimSpace(d.read("sys.pub")))
	for _, name := range disks {
		text += fmt.Sprintf("[[disk]]\nname = %q\nadmins = [\"ada\"]\n", name)
	}
	return text
}

// listens starts dropbear in the node, with a host key, on a port.
func (d *desk) listens(key string, port int) (stop func()) {
	d.Helper()
	// dropbear has a format of its own for private keys.
	converted := filepath.Join(d.root, "etc", key+".key")
	if out, err := exec.Command("dropbearconvert", "openssh", "dropbear", d.path(key), converted).CombinedOutput(); err != nil {
		d.Fatalf("%v: %s", err, out)
	}
	argv := d.inside("/sbin/dropbear", "-F", "-E", "-s", "-j", "-k", "-p", "127.0.0.1:"+strconv.Itoa(port), "-P", "", "-r", "/etc/"+key+".key")
	cmd := exec.Command(argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second // a session may go on, and has it too
	d.ok(cmd.Start())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			d.Fatalf("dropbear does not listen: %v: %s", err, &said)
		}
	}
	pid := ""
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	pid = strings.TrimSpace(string(children))
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			if n, err := strconv.Atoi(pid); err == nil {
				p, _ := os.FindProcess(n)
				_ = p.Kill()
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	d.Cleanup(stop)
	return stop
}

func (d *desk) do(o Options) error {
	d.Helper()
	return d.during(context.Background(), o)
}

// during is do, until the end of ctx.
func (d *desk) during(ctx context.Context, o Options) error {
	d.Helper()
	d.out.Reset()
	d.errs.Reset()
	o.Config = d.path("rplan.toml")
	if !o.All {
		o.Node = "n1"
	}
	d.env.Stdout, d.env.Stderr, d.env.Now = &d.out, &d.errs, d.now
	return Run(ctx, &d.env, o)
}

func (d *desk) refused(err error, kind diag.Kind, words ...string) {
	d.Helper()
	if err == nil || diag.KindOf(err) != kind {
		d.Errorf("error is %v, of kind %d, want %d with %q\n%s%s", err, diag.KindOf(err), kind, words, &d.out, &d.errs)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+diag.HintOf(err)+"\n"+d.out.String()+d.errs.String(), word) {
			d.Errorf("%q is not in %v, %s\n%s%s", word, err, diag.HintOf(err), &d.out, &d.errs)
		}
	}
}

// enrolled notes what the node looks like, as if its system ran: what a probe there says
// differs in one line only.
func (d *desk) enrolled() { d.enrolledAs("n1") }

func (d *desk) enrolledAs(node string) {
	d.Helper()
	argv := d.inside("/bin/sh", "/usr/lib/rplan/rplan-probe")
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	d.ok(err)
	r, err := parseReading(out)
	d.ok(err)
	r.Where = inSystem
	text, err := json.Marshal(r)
	d.ok(err)
	s, err := d.place().Open(context.Background())
	d.ok(err)
	_, err = s.Commit(context.Background(), d.by(), store.BaselineChange(node, text))
	d.ok(err)
}

// comesUp starts the sshd of the system when all disks are open, as the boot would.
func (d *desk) comesUp(disks ...string) {
	go func() {
		for {
			all := true
			for _, name := range disks {
				all = all && d.opened(name)
			}
			if all {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		d.listens("sys", d.sys)
	}()
}

// TestUnlock: two disks, over Debian's dropbear, with the admin's own ssh.
func TestUnlock(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	d.refused(d.do(Options{}), diag.Refused, "never enrolled", "--enrol n1")
	d.enrolled()
	d.ok(d.do(Options{DryRun: true}))
	if d.opened("root") {
		t.Fatal("a dry run opens a disk")
	}
	d.comesUp("root", "data_1")
	if err := d.do(Options{}); err != nil {
		t.Fatalf("%v\n%s%s", err, &d.out, &d.errs)
	}
	if !d.opened("root") || !d.opened("data_1") || !strings.Contains(d.out.String(), "node n1 is up") || !strings.Contains(d.errs.String(), "disk root: open") {
		t.Errorf("%s%s", &d.out, &d.errs)
	}
	entries := d.entries()
	if len(entries) != 1 || entries[0].Verdict != "clean" || entries[0].Result != "open" || entries[0].Rotate || !bytes.Contains(entries[0].Seen, []byte("cmdline")) {
		t.Errorf("%+v", entries)
	}
	d.ok(d.do(Options{})) // it runs: nothing to do
}

// TestRefusals: each of them before anything is sent.
func TestRefusals(t *testing.T) {
	d := newDesk(t, "root")
	d.refused(d.do(Options{Check: true, Enrol: true}), diag.Usage, "one at a time")
	d.refused(d.do(Options{Planned: true}), diag.Usage, "needs a reason")
	d.refused(d.do(Options{Why: "n2"}), diag.Usage, "one node at a time")
	d.enrolled()
	d.refused(d.do(Options{}), diag.TryAgain, "Connection refused")
	stop := d.listens("other", d.boot)
	d.refused(d.do(Options{}), diag.Refused, "another host key", "Nothing was decrypted and nothing sent")
	stop()
	d.listens("boot", d.boot)

	// Off for too long, then announced.
	put(t, filepath.Join(d.root, "boot/rplan-alive"), "1")
	d.now = func() time.Time { return time.Now().Add(8 * time.Minute) }
	d.refused(d.do(Options{}), diag.Suspicious, "SUSPICIOUS", "off for", "at most 8 min", "is suspicious", "--override")
	d.refused(d.do(Options{Check: true}), diag.Suspicious, "SUSPICIOUS")
	d.ok(d.do(Options{Planned: true, Why: "new memory", For: time.Hour}))
	d.refused(d.do(Options{}), diag.Usage, "no terminal", "EXPLAINED", "new memory (ada)")
	d.ok(d.do(Options{DryRun: true, Yes: true}))
	// A failed attempt is no sign of life, and uses no announcement up.

	// Another kernel: no announcement explains that.
	put(t, filepath.Join(d.root, "boot/vmlinuz-6.1"), "another kernel")
	d.refused(d.do(Options{Yes: true}), diag.Suspicious, "/boot/vmlinuz-6.1")

	d.untouched("root", 0)
}

// TestWrongPassphrase: what is in the store is not the disk's. One try is spent, and the attempt is no
// sign that the node ran: what was announced still counts.
func TestWrongPassphrase(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	d.seal("n1", "root", "another one")
	put(t, filepath.Join(d.root, "boot/rplan-alive"), "1")
	d.now = func() time.Time { return time.Now().Add(8 * time.Minute) }
	d.ok(d.do(Options{Planned: true, Why: "new memory", For: time.Hour}))
	for _, want := range []struct {
		kind  diag.Kind
		words []string
	}{
		{diag.Failed, []string{`node "n1", disk "root": wrong passphrase`, "bad password", "not tried again", "EXPLAINED"}},
		{diag.Refused, []string{"has one try left of 3: it is not spent. Nothing was sent", "EXPLAINED"}},
	} {
		d.refused(d.do(Options{Yes: true}), want.kind, want.words...)
		d.spend() // as somebody at the console does
	}
	d.unlocked("root: wrong passphrase")
	if d.opened("root") {
		t.Error("it opened")
	}
}

// spend waits for the next prompt, and spends a try if there are two left.
func (d *desk) spend() {
	d.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if q, ok := d.machine.prompts()["root"]; ok && q.Tried > 0 {
			if q.Tried == 1 {
				d.gives(d.machine.hand(map[string]string{"root": "wrong"}), "root", Wrong)
				continue
			}
			return
		}
	}
	d.Fatal("there is no prompt")
}

// TestOverride: a reason, and a mark that stays.
func TestOverride(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	put(t, filepath.Join(d.root, "boot/vmlinuz-6.1"), "another kernel")
	d.comesUp("root")
	if err := d.do(Options{Override: "updated by hand, forgot to enrol"}); err != nil {
		t.Fatalf("%v\n%s%s", err, &d.out, &d.errs)
	}
	entries := d.entries()
	if len(entries) != 1 || !entries[0].Rotate || entries[0].Why != "updated by hand, forgot to enrol" || entries[0].Verdict != "suspicious" {
		t.Errorf("%+v", entries)
	}
	if !strings.Contains(d.errs.String(), "have to be replaced") {
		t.Error(d.errs.String())
	}
}
