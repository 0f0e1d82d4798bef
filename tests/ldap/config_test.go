package ldap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

// Every shipped file is good to slaptest(8) as it is, but for the paths.
func TestSlaptest(t *testing.T) {
	for _, role := range []string{"provider", "consumer"} {
		if _, found := convert(t, role)["olcDatabase={1}mdb,cn=config"]; !found {
			t.Errorf("a %s has no database", role)
		}
	}
}

// convert is what slapd makes of the shipped .conf files in cn=config.
func convert(t *testing.T, role string) map[string][]string {
	t.Helper()
	need.Program(t, "slaptest")
	dir := t.TempDir()
	moved := strings.NewReplacer(append(places(t, dir), "/etc/ldap/rplan/", dir+"/")...)
	for _, name := range []string{"slapd.conf", "acl.conf", "provider.conf", "consumer.conf", "rplan.schema"} {
		text := read(t, slapd.Contrib(name))
		if role == "consumer" { // the other of the two lines
			text = strings.Replace(text, "include /etc/ldap/rplan/provider.conf\n#include", "include", 1)
		}
		write(t, filepath.Join(dir, name), moved.Replace(text))
	}
	config := filepath.Join(dir, "config")
	must(t, os.Mkdir(config, 0o700))
	conf := filepath.Join(dir, "slapd.conf")
	for _, suffix := range map[string][]string{"provider": {base, "cn=log"}, "consumer": {base}}[role] {
		run(t, need.Program(t, "slapadd"), "-f", conf, "-b", suffix, "-l", os.DevNull) // slaptest opens what is there
	}
	if out := run(t, need.Program(t, "slaptest"), "-f", conf, "-F", config); out != "config file testing succeeded\n" {
		t.Errorf("slaptest of a %s: %s", role, out)
	}
	return dump(t, config)
}

// places are the paths of the shipped files, moved to a directory.
func places(t *testing.T, dir string) []string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "db", "accesslog"), 0o700))
	cert, err := slapd.NewCertificate(dir)
	must(t, err)
	return []string{"/var/lib/ldap", filepath.Join(dir, "db"), "/run/slapd", dir, "/var/run/slapd", dir,
		"/etc/ldap/tls/ca.pem", cert.CA, "/etc/ldap/tls/cert.pem", cert.Cert, "/etc/ldap/tls/key.pem", cert.Key}
}

// debian is a server as Debian's package makes it, with cn=config, to which
// the LDIF files have been given as README.md says.
func debian(t *testing.T, role string) (*slapd.Server, map[string][]string) {
	t.Helper()
	dir := t.TempDir()
	return debianIn(t, dir, role, places(t, dir))
}

// debianIn keeps its configuration and data in dir, with other names in the
// files, as for strings.NewReplacer.
func debianIn(t *testing.T, dir, role string, moved []string) (*slapd.Server, map[string][]string) {
	t.Helper()
	need.Root(t) // EXTERNAL of root is what may write cn=config
	need.Program(t, "slapd", "slapadd", "ldapmodify", "ldapadd")
	initial := "/usr/share/slapd/slapd.init.ldif"
	need.File(t, initial)
	config := filepath.Join(dir, "config")
	must(t, os.Mkdir(config, 0o700))
	ldif := filepath.Join(dir, "init.ldif")
	write(t, ldif, strings.NewReplacer(append(moved, "@SUFFIX@", base, "@PASSWORD@", password)...).Replace(read(t, initial)))
	run(t, need.Program(t, "slapadd"), "-n0", "-F", config, "-l", ldif)
	write(t, ldif, "dn: "+base+"\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example.net\n")
	run(t, need.Program(t, "slapadd"), "-n1", "-F", config, "-l", ldif)
	s := slapd.Run(t, slapd.Options{ConfigDir: config})
	for _, file := range []string{"/etc/ldap/schema/dyngroup.ldif", slapd.Contrib("rplan-schema.ldif")} {
		run(t, need.Program(t, "ldapadd"), "-Q", "-Y", "EXTERNAL", "-H", s.LDAPI(), "-f", file)
	}
	for _, name := range []string{"slapd.ldif", "acl.ldif", role + ".ldif"} {
		run(t, need.Program(t, "ldapmodify"), "-Q", "-Y", "EXTERNAL", "-H", s.LDAPI(), "-f", shipped(t, name, moved...))
	}
	if role == "provider" {
		must(t, s.Stop())
		run(t, need.Program(t, "slapmodify"), "-n0", "-F", config, "-l", slapd.Contrib("sessionlog.ldif"))
		must(t, s.Start())
	}
	return s, dump(t, config)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// dump is a cn=config directory: for each DN the lines "attribute: value".
func dump(t *testing.T, config string) map[string][]string {
	t.Helper()
	entries := map[string][]string{}
	text := run(t, need.Program(t, "slapcat"), "-n0", "-F", config, "-o", "ldif-wrap=no")
	for record := range strings.SplitSeq(text, "\n\n") {
		dn, rest, _ := strings.Cut(strings.TrimSpace(record), "\n")
		entries[strings.TrimPrefix(dn, "dn: ")] = strings.Split(rest, "\n")
	}
	return entries
}

// The two forms of the configuration are one configuration.
func TestFormsAgree(t *testing.T) {
	const main, log, frontend, global = "olcDatabase={1}mdb,cn=config", "olcDatabase={2}mdb,cn=config",
		"olcDatabase={-1}frontend,cn=config", "cn=config"
	all := map[string][]string{
		main:                               {"olcAccess", "olcLimits", "olcDbIndex", "olcDbMaxSize", "olcSuffix", "olcRootDN", "olcSyncrepl", "olcUpdateRef"},
		log:                                {"olcAccess", "olcLimits", "olcDbIndex", "olcDbMaxSize", "olcSuffix", "olcRootDN"},
		frontend:                           {"olcPasswordHash"},
		global:                             {"olcPasswordCryptSaltFormat", "olcSecurity", "olcLocalSSF"},
		"olcOverlay={0}syncprov," + main:   {"olcSpCheckpoint", "olcSpSessionlogSource", "olcSpNoPresent", "olcSpReloadHint"},
		"olcOverlay={0}syncprov," + log:    {"olcSpCheckpoint", "olcSpSessionlogSource", "olcSpNoPresent", "olcSpReloadHint"},
		"olcOverlay={1}constraint," + main: {"olcConstraintAttribute"},
		"olcOverlay={2}accesslog," + main:  {"olcAccessLogDB", "olcAccessLogOps", "olcAccessLogSuccess", "olcAccessLogPurge"},
	}
	for role, least := range map[string]int{"provider": 42, "consumer": 25} {
		conf := convert(t, role)
		_, ldif := debian(t, role)
		compared := 0
		for dn, attributes := range all {
			got, want := normal(keep(ldif[dn], attributes)), normal(keep(conf[dn], attributes))
			compared += len(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: the .ldif files make\n%s\nand the .conf files\n%s", role, dn, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		if compared < least {
			t.Errorf("%s: only %d values compared", role, compared)
		}
	}
}

// spellings are what slapd writes in another way than it was told.
var spellings = strings.NewReplacer(`"`, "", "dn.exact", "dn.base", "dn.onelevel", "dn.one", "set.exact=", "set=",
	"/groupOfNames/member", "", "* +0 break", "* break", "=xw", "=wx", "{0}rid", "rid")

// defaults are what slapd adds to a syncrepl line.
var defaults = regexp.MustCompile(`^(filter=\(objectclass=\*\)|schemachecking=off|scope=sub|tcp-user-timeout=0|timeout=0|tls_cert=.*|tls_key=.*|tls_reqsan=allow)$`)

// normal is lines of cn=config in one spelling: one index a line, no
// directories, which differ.
func normal(lines []string) []string {
	out := []string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(spellings.Replace(line), ": ")
		words := strings.Fields(value)
		switch name {
		case "olcDbIndex":
			for attribute := range strings.SplitSeq(words[0], ",") {
				out = append(out, fmt.Sprint(name, attribute, words[1:]))
			}
			continue
		case "olcSyncrepl":
			words = slices.DeleteFunc(words, defaults.MatchString)
			slices.Sort(words)
			for i, word := range words {
				if path, ok := strings.CutPrefix(word, "tls_cacert="); ok {
					words[i] = "tls_cacert=" + filepath.Base(path)
				}
			}
		}
		out = append(out, name+": "+strings.Join(words, " "))
	}
	slices.Sort(out)
	return out
}

// filled loads the tree into Debian's form as README.md says. Debian has made
// the base, which is why ldapadd goes on after an error.
func filled(t *testing.T) *slapd.Server {
	t.Helper()
	s, _ := debian(t, "provider")
	fill(t, s)
	return s
}

func fill(t *testing.T, s *slapd.Server) {
	t.Helper()
	for _, file := range directory(t) {
		out, err := exec.Command(need.Program(t, "ldapadd"), "-c", "-Q", "-Y", "EXTERNAL", "-H", s.LDAPI(), "-f", file).CombinedOutput()
		if err != nil && strings.Count(string(out), "ldap_add:") != 1 || strings.Contains(file, "tree.ldif") != strings.Contains(string(out), "Already exists (68)") {
			t.Fatalf("ldapadd of %q: %v: %s", file, err, out)
		}
	}
}

// The rules hold in Debian's form too.
func TestDebianForm(t *testing.T) {
	from := filled(t)
	local := bind(t, from, "")
	must(t, local.ExternalBind())
	whole := view(t, local, base)
	checkSight(t, bind(t, from, node("n1")), whole, everything)
	checkSight(t, bind(t, from, node("mx1")), whole, mx)
	checkSight(t, bind(t, from, ""), whole, sight{})
	if seen := view(t, bind(t, from, node("n1")), "cn=config"); len(seen) > 0 {
		t.Errorf("a node reads the configuration: %q", seen)
	}
	plain, err := ldap.DialURL(from.URL())
	must(t, err)
	defer plain.Close()
	if err := plain.Bind(node("n1"), password); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("a password in the clear: %v, want confidentiality required", err)
	}
}
