package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// provider is a connection to the server that takes writes.
type provider struct {
	w    *Writer
	url  string
	conn *ldap.Conn
	ctx  context.Context
	end  context.CancelFunc
}

// open connects to the provider by the first of the URLs that answers.
func (w *Writer) open(ctx context.Context) (*provider, error) {
	var errs []error
	for _, srv := range w.servers {
		s, err := w.find(ctx, srv)
		if err == nil {
			return s, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			return nil, err
		}
	}
	src := Source{}
	for _, srv := range w.servers {
		src.places = append(src.places, srv)
	}
	err := src.joined(errs)
	if e, ok := errors.AsType[*diag.Error](err); ok && e.Kind == diag.TryAgain {
		err = e.Kind.Errorf("%w", err).WithHint("%s", strings.TrimPrefix(diag.HintOf(err)+"; "+ifLost, "; "))
	}
	return nil, err
}

// ifLost is what an admin has to know who cannot reach the provider.
const ifLost = `if that machine is lost: /usr/share/doc/rplan/contrib/ldap/README.md, "The provider is lost"`

// find connects to a server. One that keeps a copy only says who takes the
// writes, and is followed once.
func (w *Writer) find(ctx context.Context, srv *server) (*provider, error) {
	s, err := w.connect(ctx, srv)
	if err != nil {
		return nil, err
	}
	other, err := s.probe()
	if err == nil && other == "" {
		return s, nil
	}
	s.close()
	if err != nil {
		return nil, err
	}
	if srv.bindDN == "" {
		return nil, diag.Config.Errorf("%s keeps a copy only; %s takes the writes", srv.url, other).
			WithHint("run this on that machine as root, or set admin-dn and admin-password-file in [failover]; %s", ifLost)
	}
	settings := w.settings
	settings.URLs = []string{other}
	next, err := newServer(other, &settings)
	if err != nil {
		return nil, forWriting(err)
	}
	next.password = w.password
	if s, err = w.connect(ctx, next); err != nil {
		return nil, err
	}
	if other, err = s.probe(); err == nil && other != "" {
		err = diag.Config.Errorf("%s sends writes to %s, which sends them on to %s", srv.url, next.url, other).
			WithHint("write-urls in [failover] names the provider; updateref of the replicas must, too")
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// connect logs in as the admin, and gives the connection to go-ldap.
func (w *Writer) connect(ctx context.Context, srv *server) (*provider, error) {
	ctx, end := context.WithTimeoutCause(ctx, w.settings.Timeout, fmt.Errorf("timed out (%s)", w.settings.Timeout))
	session, _, err := srv.open(ctx)
	if err != nil {
		end()
		return nil, forWriting(err)
	}
	conn := ldap.NewConn(session.conn, true)
	conn.Start()
	return &provider{url: srv.url, w: w, conn: conn, end: end, ctx: ctx}, nil
}

func (p *provider) close() {
	p.conn.Close()
	p.end()
}

// probe asks for a change that its condition never allows, to which only a
// provider has that to say: a replica names the server that takes writes.
func (p *provider) probe() (provider string, err error) {
	never, err := assertion("(!(objectClass=*))")
	if err != nil {
		return "", err
	}
	request := ldap.NewModifyRequest(p.w.settings.Base, []ldap.Control{never})
	request.Delete(p.w.settings.Node.Attributes["state"], nil)
	result, err := p.conn.ModifyWithResult(request)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultAssertionFailed):
		return "", nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultReferral):
		return p.referred(result)
	case err == nil:
		return "", diag.Failed.Errorf("%s: allows what it was told not to: it does not know the assertion control (RFC 4528)", p.url)
	}
	return "", p.fail("", err)
}

// referred is the server that a referral names, without what follows it.
func (p *provider) referred(result *ldap.ModifyResult) (string, error) {
	if result != nil {
		if u, err := url.Parse(result.Referral); err == nil && u.Host != "" {
			return u.Scheme + "://" + u.Host, nil
		}
	}
	return "", diag.Config.Errorf("%s keeps a copy only, and does not say which server takes writes", p.url).
		WithHint("set updateref there, or name the provider in write-urls in [failover]")
}

// states is Writer.States.
func (p *provider) states() ([]NodeState, Version, error) {
	version, err := p.version()
	if err != nil {
		return nil, "", err
	}
	k := &p.w.plan.kinds[0]
	request := ldap.NewSearchRequest(k.base, int(k.scope), ldap.NeverDerefAliases, 0, 0, false, k.filter, append(k.attributes, "entryCSN"), nil)
	result, err := p.conn.Search(request)
	if err != nil {
		return nil, "", p.fail(" at reading the nodes", err)
	}
	builder := directory.NewBuilder(directory.Network{})
	raw := map[string]NodeState{}
	e := p.w.plan.newEntry()
	var record directory.Record
	for _, entry := range result.Entries {
		e.reset()
		e.dn = []byte(entry.DN)
		for _, a := range entry.Attributes {
			if i := p.w.plan.lookup([]byte(a.Name)); i >= 0 {
				e.values[i] = a.ByteValues
			}
		}
		k.record(e, &record)
		builder.Add(&record)
		raw[entry.DN] = NodeState{
			csn: entry.GetAttributeValue("entryCSN"), state: p.raw(entry, "state"), since: p.raw(entry, "since"),
		}
	}
	snapshot, _, err := builder.Snapshot()
	if err != nil {
		return nil, "", diag.BadData.Errorf("%s: %w", p.url, err)
	}
	var states []NodeState
	for _, node := range snapshot.Nodes {
		state := raw[node.DN]
		state.Node = node
		states = append(states, state)
	}
	return states, version, nil
}

// raw is the value of a node's field as the server has it, or nil.
func (p *provider) raw(entry *ldap.Entry, field string) []byte {
	if name := p.w.settings.Node.Attributes[field]; name != "" {
		if values := entry.GetEqualFoldRawAttributeValues(name); len(values) > 0 {
			return values[0]
		}
	}
	return nil
}

// write is Writer.Write.
func (p *provider) write(was NodeState, to Change) (Version, error) {
	unchanged, err := assertion(p.unchanged(was))
	if err != nil {
		return "", err
	}
	request := ldap.NewModifyRequest(was.DN, []ldap.Control{unchanged})
	p.replace(request, "state", p.w.theirs(to.State))
	p.replace(request, "reason", to.Reason)
	since := ""
	if !to.Since.IsZero() {
		since = to.Since.UTC().Format(time.RFC3339)
	}
	p.replace(request, "since", since)
	p.replace(request, "by", to.By)
	err = p.conn.Modify(request)
	if ldap.IsErrorWithCode(err, ldap.LDAPResultAssertionFailed) {
		return "", p.changed(was)
	}
	if err != nil {
		return "", p.fail(fmt.Sprintf(" at writing that node %q is %s", was.Name, to.State), err)
	}
	return p.version()
}

func (p *provider) replace(request *ldap.ModifyRequest, field, value string) {
	name := p.w.settings.Node.Attributes[field]
	switch {
	case name == "":
	case value == "":
		request.Replace(name, nil)
	default:
		request.Replace(name, []string{value})
	}
}

// unchanged is the condition that state and time are those that were read. An
// entry that is no node fulfils it too: slapd's syncprov writes its contextCSN into
// the suffix's entry under the condition of the write that it is for (OpenLDAP
// 2.5, syncprov_checkpoint), and a killed provider would come back without it.
func (p *provider) unchanged(was NodeState) string {
	filter := "(|(!" + p.w.plan.kinds[0].filter + ")(&"
	for field, value := range map[string][]byte{"state": was.state, "since": was.since} {
		name := p.w.settings.Node.Attributes[field]
		switch {
		case name == "":
		case value == nil:
			filter += "(!(" + name + "=*))"
		default:
			filter += "(" + name + "=" + ldap.EscapeFilter(string(value)) + ")"
		}
	}
	return filter + "))"
}

func (p *provider) changed(was NodeState) error {
	states, _, err := p.states()
	if err != nil {
		return errors.Join(diag.Refused.Errorf("node %q was changed meanwhile", was.Name), err)
	}
	for _, now := range states {
		if now.Name == was.Name {
			return diag.Refused.Errorf("%w", &Changed{now}).WithHint("nothing was written; look at the state of all nodes before you try again")
		}
	}
	return diag.Refused.Errorf("there is no node %q any more", was.Name)
}

// version is the provider's contextCSN.
func (p *provider) version() (Version, error) {
	base := p.w.settings.Base
	for {
		request := ldap.NewSearchRequest(base, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"contextCSN"}, nil)
		result, err := p.conn.Search(request)
		if err != nil && base == p.w.settings.Base {
			return "", p.fail(" at reading contextCSN", err)
		}
		if err == nil && len(result.Entries) > 0 {
			if v := newVersion(result.Entries[0].GetRawAttributeValues("contextCSN")); v != "" {
				return v, nil
			}
		}
		above, err := ldap.ParseDN(base)
		if err != nil || len(above.RDNs) < 2 {
			return "", nil // a provider without syncprov does not say
		}
		above.RDNs = above.RDNs[1:]
		base = above.String()
	}
}

// assertion is the control of RFC 4528, critical.
func assertion(filter string) (ldap.Control, error) {
	encoded, err := compileFilter(filter)
	if err != nil {
		return nil, diag.Failed.Errorf("%q: %w", filter, err)
	}
	return ldap.NewControlString("1.3.6.1.1.12", true, string(encoded)), nil
}

// fail is the kind and the next step of an error of go-ldap's.
func (p *provider) fail(where string, err error) error {
	if e, ok := errors.AsType[*ldap.Error](err); ok && e.ResultCode < ldap.ErrorNetwork {
		err = &resultError{int(e.ResultCode), fmt.Sprint(e.Err)}
	} else if ok {
		err = fmt.Errorf("connection lost: %w", e.Err)
	}
	failed := (&server{url: p.url}).fail(p.ctx, where, err)
	if code, ok := errors.AsType[*resultError](failed); ok && code.code == ldap.LDAPResultInsufficientAccessRights {
		failed.Hint = "states are written by root of the provider, or by an admin of cn=admins: admin-dn in [failover]"
	}
	return failed
}
