package unlock

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// What the admin's own machine does to it.

// recorder is a program that notes what it is given, and goes on as the real one.
const recorder = `#!/bin/sh
seen=%s/${0##*/}.$$
printf '%%s\n' "$0" "$@" >"$seen.argv"
env >"$seen.env"
tee "$seen.stdin" | %s "$@"
`

// TestWrapper: what comes first in PATH as ssh gets the passphrases, is told of, and gets nothing else.
func TestWrapper(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	d.enrolled()
	bin, seen := d.path("bin"), d.path("seen")
	d.ok(os.Mkdir(bin, 0o755))
	d.ok(os.Mkdir(seen, 0o700))
	for _, name := range []string{"ssh", "ssh-keygen"} {
		put(t, filepath.Join(bin, name), fmt.Sprintf(recorder, seen, need.Program(t, name)))
	}
	path := os.Getenv("PATH")

	// A directory that is not absolute is none.
	t.Chdir(bin)
	t.Setenv("PATH", ".:"+path)
	d.ok(d.do(Options{DryRun: true}))
	if all, _ := os.ReadDir(seen); len(all) > 0 || strings.Contains(d.errs.String(), "can replace") {
		t.Errorf("%v, %s", all, &d.errs)
	}

	t.Setenv("PATH", bin+":"+path)
	t.Setenv("RPLAN_TEST_OF_THE_USER", "theirs")
	d.comesUp("root", "data_1")
	d.ok(d.do(Options{}))
	d.says(fmt.Sprintf("ssh is %q, which others than root can replace: it gets the passphrases in clear", filepath.Join(bin, "ssh")),
		fmt.Sprintf("ssh-keygen is %q, which others than root can replace", filepath.Join(bin, "ssh-keygen")), "node n1 is up")
	all, _ := filepath.Glob(seen + "/*")
	given := map[string]int{}
	known := []string{"PATH", "HOME", "LANG", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "PWD", "OLDPWD", "SHLVL", "_"}
	for _, file := range all {
		text, err := os.ReadFile(file)
		d.ok(err)
		switch filepath.Ext(file) {
		case ".stdin":
			given[string(text)]++
			if ssh := strings.HasPrefix(filepath.Base(file), "ssh."); ssh && len(text) > 0 {
				argv, _ := os.ReadFile(strings.TrimSuffix(file, ".stdin") + ".argv")
				if !bytes.HasSuffix(argv, []byte("\n127.0.0.1\ncryptroot-unlock\n")) {
					t.Errorf("%q is given to %q", text, argv)
				}
				continue
			}
		case ".env":
			for line := range strings.Lines(string(text)) {
				if name, _, _ := strings.Cut(line, "="); !slices.Contains(known, name) {
					t.Errorf("%s: %s", file, line)
				}
			}
		}
		if bytes.Contains(text, []byte("secret of")) || bytes.Contains(text, []byte("AGE-SECRET-KEY")) {
			t.Errorf("%s has %q", file, text)
		}
	}
	signed, _ := filepath.Glob(seen + "/ssh-keygen.*.stdin")
	if given["secret of root"] != 1 || given["secret of data_1"] != 1 || len(signed) < 3 { // two epochs or more to check, and the journal to sign
		t.Errorf("the passphrases were given %v; ssh-keygen was called %d times", given, len(signed))
	}
}

// TestNoSSH: what is called ssh and is something else gets no passphrase unless it answers as the node would.
func TestNoSSH(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	bin := d.path("bin")
	d.ok(os.Mkdir(bin, 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	put(t, filepath.Join(bin, "ssh"), "#!/bin/sh\nexit 0\n")
	d.refused(d.do(Options{}), diag.Refused, "said nothing", "can replace", "No passphrase was sent")
	put(t, filepath.Join(bin, "ssh"), "#!/bin/sh\necho usage: ssh >&2\nexit 1\n")
	d.refused(d.do(Options{}), diag.Config, "exit status 1: usage: ssh", "can replace")
	d.untouched("root", 0)
}

// built is the program as it is shipped.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rp-unlock")
	cmd := exec.Command(need.Program(t, "go"), "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", path, "rplan/cmd/rp-unlock")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestOwnConfiguration: the admin's ~/.ssh/config says how the node is reached, and nothing of what would lend it
// something or let another connection be used.
func TestOwnConfiguration(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	program := built(t)
	busybox := need.Program(t, "busybox")
	d.ok(os.Mkdir(d.path("ssh"), 0o700))
	d.ok(os.WriteFile(d.path("ssh/config"), []byte(strings.NewReplacer("DIR", d.dir, "PORT", fmt.Sprint(port(t)), "BUSYBOX", busybox).Replace(`Host *
	ProxyCommand sh -c 'echo %p >>DIR/proxied; exec BUSYBOX nc %h %p'
	StrictHostKeyChecking no
	UserKnownHostsFile DIR/believed
	ControlMaster auto
	ControlPath DIR/mux-%p
	ControlPersist 100
	ForwardAgent yes
	ForwardX11 yes
	LocalForward PORT 127.0.0.1:1
	PermitLocalCommand yes
	LocalCommand echo %p >>DIR/locally
	RequestTTY force
	SendEnv *
`)), 0o600))
	// As the admin would call it, in whose home directory that is.
	at := func(argv ...string) (string, error) {
		said := d.path("said") // no pipe, which a connection that is kept would hold open
		out, err := os.Create(said)
		d.ok(err)
		defer out.Close()
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-ec", `mount --make-rprivate /
mount -t tmpfs none /root
cp -r "$1" /root/.ssh
shift
exec "$@"`, "sh", d.path("ssh")}, argv...)...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, out, out
		err = cmd.Run()
		return d.read("said"), err
	}
	there := func(name string) string { text, _ := os.ReadFile(d.path(name)); return string(text) }

	// The node notes what it is lent.
	d.ok(os.Rename(filepath.Join(d.root, "bin/cryptroot-unlock"), filepath.Join(d.root, "bin/real-unlock")))
	d.put("bin/cryptroot-unlock", "#!/bin/sh\nenv >>/etc/lent\nexec /bin/real-unlock\n")
	d.put("bin/lent", "#!/bin/sh\nenv >>/etc/lent\n")
	lent := func() string {
		text, _ := os.ReadFile(filepath.Join(d.root, "etc/lent"))
		_ = os.Remove(filepath.Join(d.root, "etc/lent"))
		return string(text)
	}

	// Somebody else answers, and the admin's own ssh believes them and keeps the connection.
	stop := d.listens("other", d.boot)
	mux := d.path(fmt.Sprintf("mux-%d", d.boot))
	t.Cleanup(func() { _ = exec.Command("ssh", "-F", "none", "-S", mux, "-O", "exit", "x").Run() })
	out, err := at("ssh", "-o", "RequestTTY=no", "-p", fmt.Sprint(d.boot), "127.0.0.1", "/bin/lent")
	if said := lent(); err != nil || !strings.Contains(said, "SSH_AUTH_SOCK=") || there("locally") == "" || there("believed") == "" || there("proxied") == "" {
		t.Fatalf("the configuration does not do what it is to do: %v: %s; the node is lent %s", err, out, said)
	}
	if _, err := os.Stat(mux); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(d.path("locally"))
	_ = os.Remove(d.path("proxied"))
	out, err = at(program, "--config", d.path("rplan.toml"), "n1")
	if err == nil || !strings.Contains(out, "another host key than the one in the store") || d.opened("root") {
		t.Errorf("%v: %s", err, out)
	}
	stop()
	d.listens("boot", d.boot)
	d.comesUp("root")
	out, err = at(program, "--config", d.path("rplan.toml"), "n1")
	if err != nil || !strings.Contains(out, "node n1 is up") {
		t.Errorf("%v: %s", err, out)
	}
	if said := lent(); said == "" || strings.Contains(said, "SSH_AUTH_SOCK") || strings.Contains(said, "DISPLAY") {
		t.Errorf("it is lent %s", said)
	}
	if all, _ := filepath.Glob(d.path("mux-*")); len(all) != 1 || there("locally") != "" {
		t.Errorf("connections are kept: %q, or done at this machine: %q", all, there("locally"))
	}
	if !strings.Contains(there("proxied"), fmt.Sprint(d.sys)) {
		t.Error("the way to the node is not the admin's")
	}
}
