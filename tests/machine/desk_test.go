package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/store"
	"rplan/lib/unlock"
	"rplan/tests/crypt"
)

// desk is an admin's machine: a store with the node n1, and rp-unlock.
type desk struct {
	*testing.T
	dir    string // store, state and rplan.toml
	keys   string // what all desks have in common
	binary string
}

// newDesk makes a store whose passphrases are these, by disk.
func newDesk(t *testing.T, dir string, passphrases map[string]string) *desk {
	t.Helper()
	d := &desk{T: t, dir: filepath.Join(dir, "desk"), keys: filepath.Join(dir, "ssh"), binary: filepath.Join(dir, "rp-unlock")}
	must(t, os.MkdirAll(d.dir, 0o700))
	must(t, os.MkdirAll(d.keys, 0o700))
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", d.binary, "rplan/cmd/rp-unlock")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	for _, name := range []string{"admin", "probe", "initramfs", "system", "other"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", d.key(name))
	}
	run(t, "age-keygen", "-o", d.key("identity"))
	d.agent()
	d.configure()

	ctx, by := context.Background(), d.keyring()
	admin := &store.Admin{Name: "ada", Recipients: []string{d.recipient()}, Signer: d.public("admin")}
	s, err := d.place().Init(ctx, by, admin, strings.Repeat("ab", 16))
	must(t, err)
	change, _, err := s.NodeChange("n1", d.node("4h"))
	must(t, err)
	_, err = s.Commit(ctx, by, change)
	must(t, err)
	for disk, passphrase := range passphrases {
		d.seal(disk, passphrase)
	}
	return d
}

// copy is another desk with the same store.
func (d *desk) copy(t *testing.T, dir string) *desk {
	t.Helper()
	other := &desk{t, filepath.Join(dir, "desk"), d.keys, d.binary}
	run(t, "cp", "-a", d.dir, other.dir)
	other.configure()
	return other
}

func (d *desk) key(name string) string { return filepath.Join(d.keys, name) }

func (d *desk) public(name string) string {
	d.Helper()
	text, err := os.ReadFile(d.key(name + ".pub"))
	must(d, err)
	return strings.TrimSpace(string(text))
}

// recipient is that of the admin's identity.
func (d *desk) recipient() string {
	d.Helper()
	out, err := exec.Command("age-keygen", "-y", d.key("identity")).Output()
	must(d, err)
	return strings.TrimSpace(string(out))
}

func (d *desk) configure() {
	d.Helper()
	text := fmt.Sprintf("[store]\ndir = %q\nadmin = \"ada\"\nsigning-key = %q\nidentities = [%q]\nstate = %q\n[unlock]\nprobe-key = %q\n",
		filepath.Join(d.dir, "store"), d.key("admin"), d.key("identity"), filepath.Join(d.dir, "state"), d.key("probe"))
	must(d, os.WriteFile(filepath.Join(d.dir, "rplan.toml"), []byte(text), 0o600))
}

// agent is where ssh(1) finds the admin's key.
func (d *desk) agent() {
	d.Helper()
	cmd := exec.Command("ssh-agent", "-D", "-a", d.key("agent"))
	must(d, cmd.Start())
	d.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		add := exec.Command("ssh-add", "-q", d.key("admin"))
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+d.key("agent"))
		out, err := add.CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			d.Fatalf("ssh-add: %v: %s", err, out)
		}
	}
}

func (d *desk) place() *store.Place {
	return &store.Place{Dir: filepath.Join(d.dir, "store"), State: filepath.Join(d.dir, "state"), Now: time.Now}
}

func (d *desk) keyring() *store.Keyring { return &store.Keyring{Admin: "ada", File: d.key("admin")} }

// node is nodes/n1.toml: both of its systems are at the same address and port, and differ in their host keys.
func (d *desk) node(maxOff string) []byte {
	d.Helper()
	text := fmt.Sprintf("[policy]\nmax-off = %q\n[initramfs]\nhost = %q\nhost-keys = [%q]\n[system]\nhost = %q\nhost-keys = [%q]\n",
		maxOff, Address, d.public("initramfs"), Address, d.public("system"))
	for _, disk := range []string{RootDisk, DataDisk} {
		text += fmt.Sprintf("[[disk]]\nname = %q\nadmins = [\"ada\"]\n", disk)
	}
	text += fmt.Sprintf("[[disk]]\nname = %q\nwhere = \"system\"\ndevice = \"/dev/ubde\"\nuuid = %q\nmount = \"/srv\"\nadmins = [\"ada\"]\n", MailDisk, mailUUID)
	return []byte(text)
}

// maxOff changes the policy of the node, by hand.
func (d *desk) maxOff(length string) {
	d.Helper()
	ctx := context.Background()
	must(d, os.WriteFile(filepath.Join(d.place().Dir, "nodes/n1.toml"), d.node(length), 0o600))
	s, _, err := d.place().Edited(ctx)
	must(d, err)
	_, err = s.Sign(ctx, d.keyring(), "another policy")
	must(d, err)
}

// seal puts a disk's passphrase into the store.
func (d *desk) seal(disk, passphrase string) {
	d.Helper()
	ctx, to := context.Background(), []string{d.recipient()}
	s, err := d.place().Open(ctx)
	must(d, err)
	sealed, err := store.Seal(crypt.Secret(d, passphrase), to, nil)
	must(d, err)
	_, err = s.Commit(ctx, d.keyring(), store.SealedChange("sealed "+disk, "n1", disk, sealed, to))
	must(d, err)
}

// last is the newest entry of the journal.
func (d *desk) last() store.Entry {
	d.Helper()
	s, err := d.place().Open(context.Background())
	must(d, err)
	all, wrong, err := s.Journal(context.Background(), "n1")
	if err != nil || len(wrong) > 0 || len(all) == 0 {
		d.Fatalf("journal: %d entries, %q, %v", len(all), wrong, err)
	}
	return all[len(all)-1]
}

// said is how a call of rp-unlock ended.
type said struct {
	code      int
	out, errs string
}

// calls runs rp-unlock with these arguments, and wants an exit code and words that it says.
func (d *desk) calls(m *Machine, code int, words []string, args ...string) said {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := m.Command(ctx, append([]string{d.binary, "--config", filepath.Join(d.dir, "rplan.toml")}, args...)...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+d.key("agent"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.Fatalf("rp-unlock %q: %v", args, err)
	}
	s := said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	d.Logf("rp-unlock %q: %d, %.1f s", args, s.code, time.Since(start).Seconds())
	if s.code != code {
		d.Fatalf("rp-unlock %q ends with %d, want %d\n%s%s", args, s.code, code, s.out, s.errs)
	}
	for _, word := range words {
		if !strings.Contains(s.out+s.errs, word) {
			d.Errorf("rp-unlock %q does not say %q but\n%s%s", args, word, s.out, s.errs)
		}
	}
	return s
}

// judges runs rp-unlock with these arguments, and wants that it finds this in that system of the machine: the
// verdict, and what is grave.
func (d *desk) judges(m *Machine, where string, verdict unlock.Verdict, grave []string, args ...string) {
	d.Helper()
	code := 0
	if verdict == unlock.Suspicious {
		code = 4
	}
	s := d.calls(m, code, nil, append([]string{"--json"}, args...)...)
	var r unlock.Report
	if err := json.Unmarshal([]byte(s.out), &r); err != nil {
		d.Fatalf("%v: %s%s", err, s.out, s.errs)
	}
	var seen []string
	for _, o := range r.Observations {
		if o.Weight == unlock.Grave {
			seen = append(seen, o.What)
		}
	}
	if r.Where != where || r.Verdict != verdict || !slices.Equal(seen, grave) {
		d.Errorf("in its %s, %s, for %q; want in its %s, %s, for %q\n%s", r.Where, r.Verdict, seen, where, verdict, grave, s.out)
	}
}
