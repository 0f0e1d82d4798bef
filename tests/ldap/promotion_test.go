package ldap

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rplan/lib/source"
	"rplan/tests/need"
	"rplan/tests/slapd"
)

// machine is a server with the files of contrib/ldap in a directory, on which
// a test does what README.md says to do in /etc/ldap/rplan.
type machine struct {
	*slapd.Server
	dir   string
	moved []string // names in README.md and the files, and what is meant here, as for strings.NewReplacer
}

// newMachine makes a provider or a consumer, with cn=config or slapd.conf.
func newMachine(t *testing.T, form, role string, cert *slapd.Certificate, names ...string) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir()}
	if form == "slapd.conf" {
		m.Server = slapd.Run(t, slapd.Options{})
		must(t, m.Stop())
		m.dir = m.Dir
	}
	m.moved = slices.Concat(names, []string{
		"/etc/ldap/tls/ca.pem", cert.CA, "/etc/ldap/tls/cert.pem", cert.Cert, "/etc/ldap/tls/key.pem", cert.Key,
		"dc=your,dc=base", base, `"REPLACE-ME"`, password}, places(t, m.dir),
		[]string{"/etc/ldap/rplan", m.dir, "/etc/ldap/slapd.d", filepath.Join(m.dir, "config")})
	m.equip(t)
	if form == "cn=config" {
		m.Server, _ = debianIn(t, m.dir, role, m.moved)
		if role == "provider" {
			fill(t, m.Server)
		} else { // the base that Debian made is another entry than the provider's
			m.follow(t, []string{"systemctl stop slapd", "rm /var/lib/ldap/*.mdb", "systemctl start slapd"})
		}
		return m
	}
	if role == "consumer" { // the other of the last two lines
		m.sh(t, "sed -i -e '/consumer[.]conf/s/^#*//' -e '/provider[.]conf/s/^#*/#/' slapd.conf")
	} else {
		for _, file := range directory(t) {
			run(t, need.Program(t, "slapadd"), "-w", "-f", m.ConfigPath(), "-b", base, "-l", file)
		}
	}
	must(t, m.Start())
	return m
}

// equip copies contrib/ldap to the machine.
func (m *machine) equip(t *testing.T, names ...string) {
	t.Helper()
	files, err := filepath.Glob(slapd.Contrib("*"))
	must(t, err)
	for _, file := range files {
		write(t, filepath.Join(m.dir, filepath.Base(file)), strings.NewReplacer(append(names, m.moved...)...).Replace(read(t, file)))
	}
}

func (m *machine) sh(t *testing.T, script string) {
	t.Helper()
	run(t, need.Program(t, "sh"), "-ec", "cd "+m.dir+"\n"+script)
}

// follow does what a block of README.md says; systemctl is Stop and Start.
func (m *machine) follow(t *testing.T, lines []string, names ...string) {
	t.Helper()
	replacer := strings.NewReplacer(slices.Concat(names, m.moved, []string{"runuser -u openldap -- ", "",
		"config -", "ldapmodify -Q -Y EXTERNAL -H " + m.LDAPI() + " -", "ldapi:///", m.LDAPI()})...)
	script := ""
	for _, line := range append(lines, "systemctl") {
		if !strings.HasPrefix(line, "systemctl") {
			script += replacer.Replace(line) + "\n"
			continue
		}
		m.sh(t, script)
		script = ""
		if strings.Contains(line, "stop slapd") {
			must(t, m.Stop())
		}
		if strings.Contains(line, "start slapd") {
			must(t, m.Start())
		}
	}
}

// block is the first indented block of README.md after all these words.
func block(t *testing.T, words ...string) []string {
	t.Helper()
	text := read(t, slapd.Contrib("README.md"))
	for _, word := range words {
		_, rest, found := strings.Cut(text, word)
		if !found {
			t.Fatalf("README.md lacks %q", word)
		}
		text = rest
	}
	return strings.Split(strings.ReplaceAll(regexp.MustCompile(`(?m)^    .*\n(?:    .*\n)*`).FindString(text), "    ", ""), "\n")
}

// certificate is the one that README.md makes, but for the host.
func certificate(t *testing.T) *slapd.Certificate {
	t.Helper()
	dir := t.TempDir()
	script := strings.Join(block(t, "openldap key.pem"), "\n")
	run(t, need.Program(t, "sh"), "-ec", "cd "+dir+"\n"+strings.ReplaceAll(script, "IP:10.77.0.1", "IP:127.0.0.1"))
	return &slapd.Certificate{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

// version is what rp-genmaps compares from run to run.
func version(t *testing.T, m *machine) source.Version {
	t.Helper()
	settings := source.Defaults()
	settings.URLs, settings.Base = []string{m.LDAPI()}, base
	src, err := source.New(settings)
	must(t, err)
	v, err := src.Version(context.Background())
	must(t, err)
	return v
}

// state is that of a node, as root of the machine reads it.
func state(t *testing.T, m *machine, name string) string {
	t.Helper()
	return fmt.Sprint(whole(t, m)[node(name)])
}

// whole is all that the machine holds, with what replication compares.
func whole(t *testing.T, m *machine) map[string][]string {
	t.Helper()
	local, err := m.Bind("", "")
	must(t, err)
	defer local.Close()
	must(t, local.ExternalBind())
	return view(t, local, base, "entryUUID", "entryCSN")
}

// The provider is killed; a consumer takes its place, another follows it, and
// the old one comes back as a consumer, all by the words of README.md.
func TestTheProviderIsLost(t *testing.T) {
	need.Root(t)
	cert := certificate(t)
	for _, form := range []string{"cn=config", "slapd.conf"} {
		t.Run(form, func(t *testing.T) {
			const lost = "## The provider is lost"
			at := map[string]string{"cn=config": "With cn=config", "slapd.conf": "With slapd.conf"}[form]
			as := func(name string) []string {
				return []string{"rplanNodeName=n2,ou=nodes", "rplanNodeName=" + name + ",ou=nodes"}
			}
			host := func(m *machine) string {
				u, err := url.Parse(m.URL())
				must(t, err)
				return u.Host
			}
			n1 := newMachine(t, form, "provider", cert)
			first := []string{"n1.example.net", host(n1), "n1[.]example[.]net", host(n1)}
			n2 := newMachine(t, form, "consumer", cert, append(as("n2"), first...)...)
			mx1 := newMachine(t, form, "consumer", cert, append(as("mx1"), first...)...)
			takeOut := block(t, "## Take a node out")
			n1.follow(t, takeOut, as("imap1")...)
			eventually(t, "the consumers hold what the provider does", func() bool {
				return reflect.DeepEqual(whole(t, n2), whole(t, n1)) && strings.Contains(state(t, mx1, "imap1"), "rplanState: out")
			})
			before := version(t, n1)
			must(t, mx1.Stop()) // it catches up with another provider than it left
			n1.follow(t, takeOut, as("web2")...)
			eventually(t, "the last write has travelled", func() bool { return version(t, n2).Same(version(t, n1)) })
			must(t, n1.Kill())

			n2.follow(t, block(t, lost, at))
			promoted := version(t, n2)
			n2.follow(t, takeOut, as("n1")...)
			must(t, mx1.Start())
			second := []string{"n2.example.net", host(n2)}
			follow := block(t, lost, "On each other consumer")
			if form == "slapd.conf" {
				follow = []string{follow[0], "systemctl stop slapd", "systemctl start slapd"}
			}
			mx1.follow(t, follow, second...)
			for _, name := range []string{"n1", "web2"} {
				eventually(t, "the other consumer hears from the new provider that "+name+" is out", func() bool {
					return strings.Contains(state(t, mx1, name), "rplanState: out")
				})
			}
			eventually(t, "the other consumer is where the new provider is", func() bool { return version(t, mx1).Same(version(t, n2)) })
			after := version(t, mx1)
			if !before.Older(promoted) || !promoted.Older(after) || promoted.Older(before) || after.Older(promoted) || after.Older(before) {
				t.Errorf("versions go from %q by %q to %q", before, promoted, after)
			}
			if strings.Contains(string(after), ",") {
				t.Errorf("more than one server id in %q", after)
			}

			n1.equip(t, append(as("n1"), "n1.example.net", host(n2))...)
			n1.follow(t, block(t, lost, "When the old provider returns", at))
			eventually(t, "the old provider holds what the new one does", func() bool {
				return reflect.DeepEqual(whole(t, n1), whole(t, n2))
			})
			n2.follow(t, takeOut, as("dns2")...)
			eventually(t, "the old provider follows", func() bool { return strings.Contains(state(t, n1, "dns2"), "rplanState: out") })
		})
	}
}
