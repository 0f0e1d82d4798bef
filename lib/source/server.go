package source

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// server is an LDAP server as a place to read.
type server struct {
	url      string
	network  string // of net.Dial: unix or tcp
	address  string
	host     string // that its certificate is for
	tls      bool   // from the first byte
	startTLS bool
	external bool // log in by SASL EXTERNAL

	base, bindDN, passwordFile, caFile string
	password                           []byte // of bindDN, where there is no file
}

// socket is where Debian's slapd listens for ldapi:///.
const socket = "/var/run/slapd/ldapi"

// patience is how long a server may take until it has said what its version
// is. A server that hangs must not use up the time of those after it.
const patience = 10 * time.Second

func newServer(text string, s *Settings) (*server, error) {
	srv := &server{url: text, base: s.Base, bindDN: s.BindDN, passwordFile: s.PasswordFile, caFile: s.CAFile}
	if path, ok := strings.CutPrefix(text, "ldapi://"); ok {
		path, err := url.PathUnescape(strings.TrimSuffix(path, "/"))
		if err != nil || strings.HasSuffix(path, "/") {
			return nil, badURL(text)
		}
		if path == "" {
			path = socket
		}
		srv.network, srv.address, srv.external = "unix", path, s.BindDN == ""
		return srv, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, badURL(text)
	}
	srv.network, srv.host = "tcp", u.Hostname()
	port := u.Port()
	if srv.tls = u.Scheme == "ldaps"; srv.tls {
		port = cmp.Or(port, "636")
	} else {
		port, srv.startTLS = cmp.Or(port, "389"), s.StartTLS
	}
	srv.address = net.JoinHostPort(srv.host, port)
	if ip := net.ParseIP(srv.host); !srv.tls && !srv.startTLS && s.BindDN != "" && srv.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, diag.Config.Errorf("directory.urls: the password would cross the network in the clear to %q", text).
			WithHint("set starttls = true, or use ldaps://")
	}
	return srv, nil
}

func badURL(text string) error {
	return diag.Config.Errorf("directory.urls: %q is no URL of a directory", text).
		WithHint("ldapi:///, ldapi://%%2Fpath%%2Fof%%2Fsocket, ldap://HOST[:PORT], ldaps://HOST[:PORT], or ldif:FILE")
}

func (srv *server) String() string { return srv.url }

func (srv *server) version(ctx context.Context) (Version, error) {
	s, v, err := srv.open(ctx)
	if err != nil {
		return "", err
	}
	s.close()
	return v, nil
}

func (srv *server) read(ctx context.Context, p *plan, add func(*directory.Record)) (Version, []directory.Problem, error) {
	s, v, err := srv.open(ctx)
	if err != nil {
		return "", nil, err
	}
	defer s.close()
	var problems []directory.Problem
	e := p.newEntry()
	for i := range p.kinds {
		more, err := srv.readKind(ctx, s, p, &p.kinds[i], e, add)
		if err != nil {
			return "", nil, err
		}
		problems = append(problems, more...)
	}
	return v, problems, nil
}

// readKind searches the entries of one kind. A base that does not exist has no
// entries, but without the nodes' nothing else can mean anything.
func (srv *server) readKind(ctx context.Context, s *session, p *plan, k *kindPlan, e *entry, add func(*directory.Record)) ([]directory.Problem, error) {
	var problems []directory.Problem
	var record directory.Record
	n := 0
	err := s.search(search{k.base, k.scope, k.request, k.attributes}, func(f found) error {
		n++
		if !f.whole {
			problem, err := tooLarge(k.kind, f.dn)
			problems = append(problems, problem)
			return err
		}
		if err := e.fill(f, p); err != nil {
			return err
		}
		k.record(e, &record)
		add(&record)
		return nil
	})
	if code, ok := errors.AsType[*resultError](err); ok && code.code == ldap.LDAPResultNoSuchObject {
		if k.kind != directory.KindNode {
			return nil, nil
		}
		return nil, srv.missing(k.base, "base in [directory.node]")
	}
	if err != nil {
		return nil, srv.fail(ctx, fmt.Sprintf(" after %d %s", n, plural(k.kind, n)), err)
	}
	return problems, nil
}

func plural(k directory.Kind, n int) string {
	switch {
	case n == 1:
		return k.String()
	case k == directory.KindMailbox:
		return "mailboxes"
	}
	return k.String() + "s"
}

func (srv *server) missing(dn, key string) error {
	return diag.Config.Errorf("%s: there is no %q", srv.url, dn).
		WithHint("check %s; a new replica is empty at first, and what the bind DN may not see does not exist for it", key)
}

// open connects, logs in and asks for the version. The session ends with ctx.
func (srv *server) open(ctx context.Context) (*session, Version, error) {
	password := srv.password
	if srv.bindDN != "" && srv.passwordFile != "" {
		var err error
		if password, err = readPassword(srv.passwordFile); err != nil {
			return nil, "", err
		}
	}
	config, err := srv.tlsConfig()
	if err != nil {
		return nil, "", err
	}
	begin, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer (%s)", patience))
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(begin, srv.network, srv.address)
	if err != nil {
		e := srv.fail(begin, "", err)
		e.Hint = "is slapd running, and does it listen there? (SLAPD_SERVICES in /etc/default/slapd)"
		return nil, "", e
	}
	s := newSession(conn)
	free := s.endWith(begin)
	v, err := srv.login(begin, s, config, password)
	if free(); err != nil {
		s.conn.Close()
		return nil, "", err
	}
	s.endWith(ctx)
	return s, v, nil
}

func (srv *server) login(ctx context.Context, s *session, config *tls.Config, password []byte) (Version, error) {
	if srv.startTLS {
		err := s.startTLS()
		if code, ok := errors.AsType[*resultError](err); ok {
			return "", diag.Config.Errorf("%s: %w at StartTLS", srv.url, code).
				WithHint("set up TLS in slapd; on a loopback or VPN address starttls = false in [directory] does without")
		}
		if err != nil {
			return "", srv.fail(ctx, " at StartTLS", err)
		}
	}
	if srv.tls || srv.startTLS {
		if err := s.encrypt(ctx, config); err != nil {
			return "", srv.fail(ctx, " at the TLS handshake", err)
		}
	}
	var err error
	switch {
	case srv.bindDN != "":
		err = s.bind(srv.bindDN, element(tagSimplePassword, password))
	case srv.external:
		err = s.bind("", element(tagSASL, element(tagString, "EXTERNAL"), element(tagString, "")))
	}
	if err != nil {
		return "", srv.fail(ctx, " at login", err)
	}
	v, err := s.version(srv.base)
	if code, ok := errors.AsType[*resultError](err); ok && code.code == ldap.LDAPResultNoSuchObject {
		return "", srv.missing(srv.base, "base in [directory]")
	}
	if err != nil {
		return "", srv.fail(ctx, " at reading contextCSN", err)
	}
	return v, nil
}

func (srv *server) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{ServerName: srv.host, MinVersion: tls.VersionTLS12}
	if srv.caFile == "" || !srv.tls && !srv.startTLS {
		return config, nil
	}
	text, err := os.ReadFile(srv.caFile)
	if err != nil {
		return nil, diag.Config.Errorf("directory.ca-file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, diag.Config.Errorf("directory.ca-file: %q has no certificate in PEM", srv.caFile)
	}
	return config, nil
}

// fail says at which server and where on the way it went wrong, and what kind of failure it is.
func (srv *server) fail(ctx context.Context, where string, err error) *diag.Error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if e, ok := errors.AsType[*diag.Error](err); ok {
		return e
	}
	kind, hint := diag.TryAgain, ""
	if code, ok := errors.AsType[*resultError](err); ok {
		kind, hint = code.kind()
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		kind, hint = diag.Config, "ca-file in [directory] must have the CA of the server's certificate, and the URL a name that the certificate is for"
	}
	e := kind.Errorf("%s: %w%s", srv.url, err, where)
	e.Hint = hint
	return e
}
