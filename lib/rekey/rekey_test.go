package rekey

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/tests/crypt"
	"rplan/tests/need"
	"rplan/tests/terminal"
)

// desk is the machine of an admin; both share the store.
type desk struct {
	*testing.T
	dir, store string
	admin      string
	out, errs  bytes.Buffer
	env        app.Env
}

func newDesk(t *testing.T, admin, store string) *desk {
	t.Helper()
	need.Program(t, "ssh-keygen", "age-keygen", "age", "cryptsetup")
	d := &desk{T: t, dir: t.TempDir(), store: store, admin: admin}
	d.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", d.path("key"))
	d.run("age-keygen", "-o", d.path("identity"))
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) run(argv ...string) string {
	d.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		d.Fatalf("%q: %v", argv, err)
	}
	return string(out)
}

func (d *desk) recipient() string {
	return strings.TrimSpace(d.run("age-keygen", "-y", d.path("identity")))
}

// do runs a verb with what the configuration of the admin would say.
func (d *desk) do(verb string, o Options, args ...string) error {
	d.Helper()
	config := d.path("rplan.toml")
	text := "[store]\ndir = \"" + d.store + "\"\nadmin = \"" + d.admin + "\"\nsigning-key = \"" + d.path("key") + "\"\nidentities = [\"" + d.path("identity") + "\"]\nstate = \"" + d.path("state") + "\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	d.out.Reset()
	d.errs.Reset()
	o.Verb, o.Args, o.Config, o.pbkdf = verb, args, config, crypt.Cheap
	d.env.Stdout, d.env.Stderr, d.env.Now = &d.out, &d.errs, time.Now
	return Run(context.Background(), &d.env, o)
}

func (d *desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatalf("%v\nhint: %s\n%s", err, diag.HintOf(err), &d.errs)
	}
}

func (d *desk) refused(err error, kind diag.Kind, words ...string) {
	d.Helper()
	if err == nil || diag.KindOf(err) != kind {
		d.Errorf("error is %v, of kind %d, want %d with %q", err, diag.KindOf(err), kind, words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+diag.HintOf(err), word) {
			d.Errorf("%q is not in %v, %s", word, err, diag.HintOf(err))
		}
	}
}

func (d *desk) says(words ...string) {
	d.Helper()
	for _, word := range words {
		if !strings.Contains(d.out.String()+d.errs.String(), word) {
			d.Errorf("%q is not in\n%s%s", word, &d.out, &d.errs)
		}
	}
}

func (d *desk) write(name, text string) string {
	d.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	return name
}

func (d *desk) read(name string) string {
	d.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		d.Fatal(err)
	}
	return string(text)
}

// node is a description of n1 with one disk of these admins.
func (d *desk) node(admins string) string {
	key := strings.TrimSpace(d.read(d.path("key.pub")))
	return "[system]\nhost = \"192.0.2.1\"\nhost-keys = [\"" + key + "\"]\n[initramfs]\nhost = \"192.0.2.1\"\nport = 2222\nhost-keys = [\"" + key + "\"]\n" +
		"[[disk]]\nname = \"root\"\nadmins = [" + admins + "]\n"
}

// header is a LUKS file with the passphrase "first".
func (d *desk) header() string {
	d.Helper()
	path := d.path("disk")
	crypt.LUKS(d, path, "luks2")
	return path
}

// opens says whether what age(1) decrypts with this desk's identity opens the device.
func (d *desk) opens(device string) bool {
	d.Helper()
	sealed := filepath.Join(d.store, "passphrases", "n1", "root.age")
	cmd := exec.Command("sh", "-ec", `age -d -i "$1" "$2" | head -n 1 | tr -d '\n' | cryptsetup open --test-passphrase --key-file=- "$3"`, "sh", d.path("identity"), sealed, device)
	return cmd.Run() == nil
}

// asked types answers at a terminal while a verb runs.
func (d *desk) asked(verb string, o Options, args []string, questions ...[2]string) error {
	d.Helper()
	x := terminal.New(d)
	d.env.TTY = x.TTY
	defer func() { d.env.TTY = "" }()
	done := x.Answer(d, questions...)
	err := d.do(verb, o, args...)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		d.Errorf("not all was asked: %q", questions)
	}
	return err
}

// TestFirstSteps goes from nothing to a disk that either of two admins can open.
func TestFirstSteps(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	ada, bob := newDesk(t, "ada", store), newDesk(t, "bob", store)
	ada.refused(ada.do("status", Options{}), diag.Config, "there is no store", "rp-rekey init")
	ada.refused(ada.do("init", Options{}), diag.Usage, "needs a --recipient", "age-keygen")
	ada.must(ada.do("init", Options{Recipients: []string{ada.recipient()}, DryRun: true}))
	ada.refused(ada.do("status", Options{}), diag.Config, "there is no store")
	ada.must(ada.do("init", Options{Recipients: []string{ada.recipient()}}))
	print := strings.Fields(ada.run("ssh-keygen", "-l", "-f", ada.path("key.pub")))[1]
	ada.says(print)
	ada.refused(ada.do("init", Options{Recipients: []string{ada.recipient()}}), diag.CantCreate, "there is a store", "rp-rekey trust")

	bob.refused(bob.do("status", Options{}), diag.Config, "never seen the store", "rp-rekey trust")
	bob.refused(bob.do("trust", Options{}), diag.Usage, "no terminal", "--fingerprint")
	bob.says(print)
	bob.refused(bob.do("trust", Options{Fingerprint: "SHA256:other"}), diag.Refused, "another key than", "SHA256:other")
	bob.env.Interactive, bob.env.Stdin = true, strings.NewReader("yes\n")
	bob.refused(bob.do("trust", Options{}), diag.Refused, "not trusted")
	bob.env.Stdin = strings.NewReader("trust\n")
	bob.must(bob.do("trust", Options{}))
	bob.refused(bob.do("add-admin", Options{Recipients: []string{bob.recipient()}}, "bob"), diag.Refused, `"bob" may not sign this store`)

	signer := bob.path("key.pub")
	for _, c := range []struct {
		name string
		o    Options
		word string
	}{
		{"Bob", Options{Recipients: []string{bob.recipient()}}, "no name of an admin"},
		{"bob", Options{}, "needs a --recipient"},
		{"bob", Options{Recipients: []string{"age1"}}, `recipient "age1"`},
		{"bob", Options{Recipients: []string{bob.path("identity")}}, "a secret identity"},
		{"bob", Options{Recipients: []string{"AGE-SECRET-KEY-1X"}}, "a secret identity"},
		{"bob", Options{Recipients: []string{bob.path("key")}}, "recipient"},
		{"bob", Options{Recipients: []string{bob.path("nothing")}}, "no file"},
		{"bob", Options{Recipients: []string{bob.recipient()}, Signer: bob.path("key")}, "no public SSH key"},
	} {
		ada.refused(ada.do("add-admin", c.o, c.name), diag.Usage, c.word)
	}
	ada.must(ada.do("add-admin", Options{Recipients: []string{bob.recipient()}, Signer: signer}, "bob"))
	ada.says(`epoch 2: added admin "bob"`, "nothing is sealed for bob yet")
	ada.refused(ada.do("add-admin", Options{Recipients: []string{bob.recipient()}}, "bob"), diag.Refused, "already")

	file := bob.write(bob.path("n1.toml"), "# in the cellar\n"+bob.node(`"ada"`))
	bob.refused(bob.do("add-node", Options{}, "n1"), diag.Usage, "--file")
	bob.says(`"bob" may sign now`)
	bob.refused(bob.do("add-node", Options{File: bob.write(bob.path("x"), bob.node(`"zoe"`))}, "n1"), diag.BadData, `nodes/n1.toml: disk "root": there is no admin "zoe"`)
	bob.must(bob.do("add-node", Options{File: file}, "n1"))
	bob.says("next: rp-rekey seal n1 root")
	if got := bob.read(filepath.Join(store, "nodes/n1.toml")); got != bob.read(file) {
		t.Errorf("the node's file is %s", got)
	}
	bob.refused(bob.do("add-node", Options{File: file}, "n1"), diag.Refused, "already")

	device := ada.header()
	ada.refused(ada.do("seal", Options{}, "n2", "root"), diag.Usage, `no node "n2"`)
	ada.refused(ada.do("seal", Options{}, "n1", "data"), diag.Usage, `no disk "data"`, "root")
	ada.must(ada.do("seal", Options{DryRun: true}, "n1", "root"))
	ada.must(ada.do("seal", Options{}, "n1", "root"))
	ada.says(`sealed disk "root" of node "n1" for ada`)
	if ada.opens(device) {
		t.Error("it opens a device that it was not given to")
	}
	question := "a passphrase that \"" + device + "\" has: "
	ada.refused(ada.asked("seal", Options{Device: device}, []string{"n1", "root"}, [2]string{question, "wrong"}), diag.Refused, "that is no passphrase of")
	ada.must(ada.asked("seal", Options{Device: device}, []string{"n1", "root"}, [2]string{question, "first"}))
	if !ada.opens(device) || bob.opens(device) {
		t.Error("ada cannot open it, or bob can")
	}
	ada.must(ada.do("seal", Options{Device: device}, "n1", "root"))
	ada.says("opens with it")

	// And then for bob too: the same passphrase.
	ada.write(filepath.Join(store, "nodes/n1.toml"), bob.node(`"ada", "bob"`))
	ada.refused(ada.do("seal", Options{}, "n1", "root"), diag.Refused, `changed: "nodes/n1.toml"`, "rp-rekey sign")
	ada.refused(ada.do("sign", Options{}), diag.Usage, "no terminal", "--yes")
	ada.must(ada.do("sign", Options{DryRun: true}))
	ada.must(ada.do("sign", Options{Yes: true, Reason: "bob too"}))
	ada.must(ada.do("sign", Options{}))
	ada.says("nothing to sign")
	ada.must(ada.do("status", Options{}))
	ada.says("not for all")
	bob.refused(bob.do("seal", Options{}, "n1", "root"), diag.Refused, "none of your identities")
	ada.must(ada.do("seal", Options{}, "n1", "root"))
	if !ada.opens(device) || !bob.opens(device) {
		t.Error("one of them cannot open it")
	}
	bob.must(bob.do("status", Options{JSON: true}))
	var r Report
	if err := json.Unmarshal(bob.out.Bytes(), &r); err != nil || len(r.Disks) != 1 || r.Disks[0].State != isSealed || !slices.Equal(r.Disks[0].Admins, []string{"ada", "bob"}) || r.Epoch != 6 || r.Admins[0].Fingerprint != print {
		t.Errorf("%v: %+v", err, r)
	}
	ada.must(ada.do("status", Options{}))
	ada.says("ada", "SHA256:", "n1    root  sealed      no        ada bob")
}

// TestTyped seals a passphrase that a disk has already.
func TestTyped(t *testing.T) {
	ada := newDesk(t, "ada", filepath.Join(t.TempDir(), "store"))
	ada.must(ada.do("init", Options{Recipients: []string{ada.recipient()}}))
	ada.must(ada.do("add-node", Options{File: ada.write(ada.path("n1.toml"), ada.node(`"ada"`))}, "n1"))
	device := ada.header()
	first, again := `passphrase of disk "root" of node "n1": `, "and once more: "
	ada.refused(ada.asked("seal", Options{Typed: true}, []string{"n1", "root"}, [2]string{first, "first"}, [2]string{again, "other"}), diag.Usage, "two different passphrases")
	ada.refused(ada.asked("seal", Options{Typed: true}, []string{"n1", "root"}, [2]string{first, ""}, [2]string{again, ""}), diag.BadData, "empty")
	ada.must(ada.asked("seal", Options{Typed: true, Device: device}, []string{"n1", "root"}, [2]string{first, "first"}, [2]string{again, "first"}))
	if !ada.opens(device) {
		t.Error("it does not open the disk")
	}
	ada.must(ada.do("seal", Options{Typed: true, Device: device}, "n1", "root")) // once more, with the same words
	ada.says("nothing is asked", "opens with it")
	other := ada.header()
	ada.must(ada.do("seal", Options{DryRun: true, Device: other}, "n1", "root"))
	if slots := ada.run("cryptsetup", "luksDump", "--dump-json-metadata", other); strings.Contains(slots, `"1":{"type":"luks2"`) {
		t.Error("a dry run added a keyslot")
	}
	ada.refused(ada.do("seal", Options{Device: device, Remote: true}, "n1", "root"), diag.Usage, "not both")
	ada.refused(ada.do("seal", Options{Remote: true}, "n1", "root"), diag.Config, "no device and no UUID")
}

// TestConfiguration: what is missing is said, with the next step.
func TestConfiguration(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	env := &app.Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Now: time.Now}
	d := &desk{T: t}
	d.refused(Run(context.Background(), env, Options{Verb: "status"}), diag.Config, "no store is named", "--store DIR")
	d.refused(Run(context.Background(), env, Options{Verb: "init", Store: "s"}), diag.Config, "nobody says who you are", "--as")
	d.refused(Run(context.Background(), env, Options{Verb: "init", Store: "s", As: "Ada"}), diag.Config, "no name of an admin")
	d.refused(Run(context.Background(), env, Options{Verb: "init", Store: "s", As: "ada"}), diag.Config, "no key to sign with", "--key")
	d.refused(Run(context.Background(), env, Options{Verb: "init", Store: "s", As: "ada", Key: "nothing"}), diag.Config, "nothing.pub", "ssh-keygen")
	d.refused(Run(context.Background(), env, Options{Verb: "status", Config: "nothing.toml"}), diag.Config, "nothing.toml")
}
