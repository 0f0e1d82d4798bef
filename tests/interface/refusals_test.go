package interface_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

// trial is rp-genmaps on the example collective, in a directory of its own
// with a configuration whose only checker is content, and that reloads nothing.
type trial struct {
	*testing.T
	dir, ldif, config string
}

// refusals bring each refusal about, by the first words of its row in REFUSALS.
var refusals = map[string]func(*trial) result{
	"the directory has 0 nodes": func(r *trial) result {
		r.ldif, _, _ = strings.Cut(r.ldif, "\ndn: ou=nodes,")
		return r.run()
	},
	"NAME would lose": func(r *trial) result {
		r.first()
		r.ldif = strings.ReplaceAll(r.ldif, "objectClass: rplanMailbox\n", "")
		return r.run()
	},
	"the zones would lose": func(r *trial) result {
		r.first()
		r.ldif = strings.ReplaceAll(r.ldif, "objectClass: rplanDomain\n", "")
		return r.run()
	},
	"the directory does not say": func(r *trial) result {
		r.slapd(slapd.Options{SizeLimit: -1})
		return r.run()
	},
	"the directory went backwards": func(r *trial) result {
		r.slapd(slapd.Options{Provider: true, SizeLimit: -1})
		r.first()
		state := r.path("maps/.state.json")
		text, err := os.ReadFile(state)
		if err != nil {
			r.Fatal(err)
		}
		// As if the first run had met a server that is a thousand years ahead.
		r.write("maps/.state.json", strings.ReplaceAll(string(text), `"csn:2`, `"csn:3`))
		return r.run()
	},
	"SERVICE's checker refuses": func(r *trial) result { return r.run(`["true"]`, `["false"]`) },
	"DIR holds the maps": func(r *trial) result {
		r.first()
		return r.run(`node = "n1"`, `node = "n2"`)
	},
	"a node's entry cannot be used": func(r *trial) result {
		r.ldif = strings.Replace(r.ldif, "\nrplanState: up", "\nrplanState: upside", 1)
		return r.run()
	},
	"FILE:LINE: ...": func(r *trial) result {
		r.ldif += "what is this"
		return r.run()
	},
	"SERVICE's new maps cannot": func(r *trial) result { return r.run(`["true"]`, `["rplan-no-such-program"]`) },
	"FILE is locked by": func(r *trial) result {
		r.first()
		f, err := os.Open(r.path("maps/.lock"))
		if err != nil {
			r.Fatal(err)
		}
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			r.Fatal(err)
		}
		return r.run()
	},
	"URL: ... after N mailboxes": func(r *trial) result {
		r.slapd(slapd.Options{Provider: true, SizeLimit: 7}) // more than there are nodes
		return r.run()
	},
	"the directory has no node NAME": func(r *trial) result { return r.run(`node = "n1"`, `node = "n77"`) },
	"FILE:LINE: unknown key":         func(r *trial) result { return r.run("[genmaps]\n", "[genmaps]\nmax-los = 1\n") },
	"directory.password-file: others can": func(r *trial) result {
		r.write("password", "secret")
		if err := os.Chmod(r.path("password"), 0o644); err != nil {
			r.Fatal(err)
		}
		return r.run(`urls = ["ldif:directory.ldif"]`, `urls = ["ldaps://127.0.0.1"]
bind-dn = "cn=n1"
password-file = "`+r.path("password")+`"`)
	},
}

const configuration = `node = "n1"
[network]
nodes-domain = "nodes.example.net"
contact-domain = "contact.example.net"
[directory]
urls = ["ldif:directory.ldif"]
base = "dc=example,dc=net"
[genmaps]
output = "MAPS"
[genmaps.check]
postfix = []
dovecot = ["true"]
apache = []
dns = []
[genmaps.reload]
postfix = []
dovecot = []
apache = []
dns = []
`

func (r *trial) path(name string) string { return filepath.Join(r.dir, name) }

func (r *trial) write(name, text string) {
	r.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// run runs it after a change of the configuration: what, into what.
func (r *trial) run(change ...string) result {
	r.Helper()
	r.write("directory.ldif", r.ldif)
	r.write("rplan.toml", strings.NewReplacer(change...).Replace(r.config))
	cmd := exec.Command(filepath.Join(scratch, "rp-genmaps"), "--config", r.path("rplan.toml"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		r.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// first is a run that goes well, for the one that is refused.
func (r *trial) first() {
	r.Helper()
	if got := r.run(); got.code != 0 {
		r.Fatalf("the first run: %+v", got)
	}
}

// slapd makes a real server the directory.
func (r *trial) slapd(o slapd.Options) {
	r.Helper()
	need.Program(r, "slapd", "slapadd")
	r.write("directory.ldif", r.ldif)
	o.LDIF, o.NoSync = []string{r.path("directory.ldif")}, true
	server := slapd.Run(r, o)
	r.config = strings.Replace(r.config, "ldif:directory.ldif", server.LDAPI(), 1)
}

// TestRefusals compares the exit codes and words of REFUSALS with what happens.
func TestRefusals(t *testing.T) {
	page := section(t, read(t, "man", "rp-genmaps.8"), "REFUSALS")
	rows := regexp.MustCompile(`(?m)^\.It Sy (.*) Pq (\d+)$`).FindAllStringSubmatch(page, -1)
	if len(rows) != len(refusals) {
		t.Errorf("%d refusals are explained, %d are tried", len(rows), len(refusals))
	}
	for _, row := range rows {
		t.Run(row[1], func(t *testing.T) {
			r := &trial{T: t, dir: t.TempDir(), ldif: read(t, "contrib", "example", "collective.ldif")}
			r.config = strings.Replace(configuration, "MAPS", r.path("maps"), 1)
			for head, try := range refusals {
				if !strings.HasPrefix(row[1], head) {
					continue
				}
				got := try(r)
				if strconv.Itoa(got.code) != row[2] || got.stdout != "" {
					t.Errorf("exit %d, stdout %q, want %s; stderr:\n%s", got.code, got.stdout, row[2], got.stderr)
				}
				for _, words := range fixedWords(row[1]) {
					if !strings.Contains(got.stderr, words) {
						t.Errorf("stderr lacks %q:\n%s", words, got.stderr)
					}
				}
				return
			}
			t.Error("nobody tries it")
		})
	}
}
