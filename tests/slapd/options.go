package slapd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Suffix is the base of the example tree, and the default of Options.Suffix.
const Suffix = "dc=example,dc=net"

// Options say what a server is like. The zero value is a server of an empty
// tree below Suffix with rplan's schema, readable by everybody.
type Options struct {
	// Suffix is the base DN, by default dc=example,dc=net.
	Suffix string
	// RootDN and RootPassword pass every rule; by default cn=admin below the
	// suffix, and "secret".
	RootDN, RootPassword string
	// LDIF are files loaded by slapadd before the first start.
	LDIF []string
	// Schema are schema files after core, cosine, inetorgperson and rplan.
	Schema []string

	// ACL includes contrib/ldap/acl.conf: access and limits.
	ACL bool
	// Provider includes contrib/ldap/provider.conf: content sync and its log.
	Provider bool
	// Consumer, when set, includes contrib/ldap/consumer.conf.
	Consumer *Consumer

	// URLs are what to listen on, beside the local socket; by default a free
	// port of 127.0.0.1, and a second one for ldaps:// when TLS is set.
	URLs []string
	// TLS offers StartTLS and ldaps.
	TLS *Certificate

	// SizeLimit bounds the entries of an answer; 0 is slapd's 500, -1 none.
	SizeLimit int
	// MaxSize is the most the data may take, in bytes; 0 is the shipped 8 GiB.
	MaxSize int64
	// NoSync does not wait for the disk.
	NoSync bool
	// Global and Database are further lines of slapd.conf, before the first
	// database and at the end of the main one.
	Global, Database string
	// ConfigDir is a cn=config directory to run as it is, instead of a
	// slapd.conf made from the options above.
	ConfigDir string
	// LogLevel is slapd -d; by default "none", which is errors only.
	LogLevel string
	// Via is an argv put before slapd's, such as ip netns exec NAME. It must
	// end in an exec, so that the process id stays.
	Via []string
	// Detach lets slapd go on when the program that started it ends; without
	// it, it is told to end even when the program crashes.
	Detach bool
}

// Consumer says whom a server follows, and as whom.
type Consumer struct {
	// Provider is the URL of the provider.
	Provider string
	// BindDN and Password are a node's.
	BindDN, Password string
	// CA is the file that verifies the provider by StartTLS; empty is no TLS.
	CA string
}

// Contrib is the path of a file of contrib/ldap, beside the source of this
// package.
func Contrib(name string) string {
	_, source, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(source), "..", "..", "contrib", "ldap", name)
}

func (o Options) withDefaults() Options {
	if o.Suffix == "" {
		o.Suffix = Suffix
	}
	if o.RootDN == "" {
		o.RootDN = "cn=admin," + o.Suffix
	}
	if o.RootPassword == "" {
		o.RootPassword = "secret"
	}
	if o.LogLevel == "" {
		o.LogLevel = "none"
	}
	return o
}

// listeners are the URLs to listen on.
func (o Options) listeners() ([]string, error) {
	if len(o.URLs) > 0 {
		return o.URLs, nil
	}
	urls := []string{"ldap://"}
	if o.TLS != nil {
		urls = append(urls, "ldaps://")
	}
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only at the end, so that the ports differ
		urls[i] += l.Addr().String()
	}
	return urls, nil
}

var (
	tlsLine      = regexp.MustCompile(`(?m)^(TLS|security ).*\n`)
	syncreplTLS  = regexp.MustCompile(`(?m)^\t(starttls|tls_).*\n`)
	includeLine  = regexp.MustCompile(`(?m)^#?include /etc/ldap/rplan/(acl|provider|consumer)\.conf\n`)
	databaseLine = regexp.MustCompile(`(?m)^database `)
)

// config is the slapd.conf of contrib/ldap, moved to dir and filled in.
func (o Options) config(dir string) (string, error) {
	conf, err := o.shipped("slapd.conf", dir)
	if err != nil {
		return "", err
	}
	if o.TLS == nil {
		conf = tlsLine.ReplaceAllString(conf, "")
	}
	// slapadd -q -w of 2.5.13 with one thread breaks its heap, about every fourth time, once it has loaded all.
	global := o.Global + "\ntool-threads 2\n"
	for _, file := range o.Schema {
		global += fmt.Sprintf("include %q\n", file)
	}
	at := databaseLine.FindStringIndex(conf)[0]
	conf = conf[:at] + global + conf[at:]
	conf = includeLine.ReplaceAllString(conf, "") + o.database()

	for _, part := range []struct {
		wanted bool
		name   string
	}{{o.ACL, "acl.conf"}, {o.Consumer != nil, "consumer.conf"}, {o.Provider, "provider.conf"}} {
		if !part.wanted {
			continue
		}
		text, err := o.shipped(part.name, dir)
		if err != nil {
			return "", err
		}
		conf += "\n" + text
	}
	return conf, nil
}

// database are the lines of the main database that no shipped file has.
func (o Options) database() string {
	lines := fmt.Sprintf("\nrootdn %q\nrootpw %q\n", o.RootDN, o.RootPassword)
	if o.MaxSize > 0 {
		lines += fmt.Sprintf("maxsize %d\n", o.MaxSize)
	}
	if o.NoSync {
		lines += "dbnosync\n"
	}
	if o.SizeLimit != 0 {
		lines += fmt.Sprintf("sizelimit %d\n", o.SizeLimit)
	}
	return lines + o.Database + "\n"
}

// shipped is a file of contrib/ldap with this server's names in it.
func (o Options) shipped(name, dir string) (string, error) {
	text, err := os.ReadFile(Contrib(name))
	if err != nil {
		return "", err
	}
	pairs := []string{
		Suffix, o.Suffix,
		"/var/lib/ldap", filepath.Join(dir, "db"),
		"/etc/ldap/rplan/rplan.schema", Contrib("rplan.schema"),
		"/run/slapd/", dir + "/",
	}
	if o.TLS != nil {
		pairs = append(pairs, "/etc/ldap/tls/ca.pem", o.TLS.CA,
			"/etc/ldap/tls/cert.pem", o.TLS.Cert, "/etc/ldap/tls/key.pem", o.TLS.Key)
	}
	if name != "consumer.conf" {
		return strings.NewReplacer(pairs...).Replace(string(text)), nil
	}
	c := *o.Consumer
	conf := string(text)
	if c.CA == "" {
		conf = syncreplTLS.ReplaceAllString(conf, "")
	}
	// First here, so that the bind DN is replaced whole and not its suffix.
	pairs = append([]string{"rplanNodeName=n2,ou=nodes," + Suffix, c.BindDN, "ldap://n1.example.net", c.Provider,
		"REPLACE-ME", c.Password, "/etc/ldap/tls/ca.pem", c.CA}, pairs...)
	return strings.NewReplacer(pairs...).Replace(conf), nil
}
