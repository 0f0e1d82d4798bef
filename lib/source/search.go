package source

import (
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
)

// search is a search request (RFC 4511 section 4.5.1). The filter is encoded.
type search struct {
	base       string
	scope      byte
	filter     []byte
	attributes []string
}

// found is an entry, valid until the next.
type found struct {
	dn         []byte
	attributes []byte // a PartialAttributeList, not yet checked
	whole      bool   // if not, the entry is too large, and has no attributes here
}

func (q search) request() []byte {
	var names []byte
	for _, a := range q.attributes {
		names = append(names, element(tagString, a)...)
	}
	return element(opSearch,
		element(tagString, q.base),
		number(tagEnumerated, int32(q.scope)),
		number(tagEnumerated, ldap.NeverDerefAliases),
		number(tagInteger, 0), // no size limit of ours
		number(tagInteger, 0), // nor a time limit: the connection has one
		element(tagBoolean, "\x00"),
		q.filter,
		element(tagSequence, names))
}

// search gives each entry to use. Its error is use's, a *resultError if the
// server's answer is not the whole, or one of the connection.
func (s *session) search(q search, use func(found) error) error {
	if err := s.send(q.request()); err != nil {
		return err
	}
	for {
		m, err := s.receive()
		if err != nil {
			return err
		}
		switch m.op {
		case opSearchEntry:
			f := found{whole: m.whole}
			var ok bool
			if f.dn, f.attributes, ok = cutTag(m.body, tagString); !ok {
				return errProtocol
			}
			if err := use(f); err != nil {
				return err
			}
		case opSearchReference:
			return referral(m.body)
		case opIntermediate:
		case opSearchDone:
			r := parseResult(m.body)
			if r == nil {
				return errProtocol
			}
			return r.orNil()
		default:
			return errProtocol
		}
	}
}

// fill puts the attributes that the plan wants into e.
func (e *entry) fill(f found, p *plan) error {
	e.reset()
	e.dn = f.dn
	list, _, ok := cutTag(f.attributes, tagSequence)
	for ok && len(list) > 0 {
		var attribute, name, values []byte
		if attribute, list, ok = cutTag(list, tagSequence); !ok {
			break
		}
		if name, values, ok = cutTag(attribute, tagString); !ok {
			break
		}
		i := p.lookup(name)
		if i < 0 {
			continue
		}
		values, _, ok = cutTag(values, tagSet)
		for ok && len(values) > 0 {
			var v []byte
			if v, values, ok = cutTag(values, tagString); ok {
				e.values[i] = append(e.values[i], v)
			}
		}
	}
	if !ok {
		return errProtocol
	}
	return nil
}

// version reads contextCSN, which is in the entry at the top of a database:
// base, or one above it.
func (s *session) version(base string) (Version, error) {
	v, err := s.contextCSN(base)
	if err != nil || v != "" {
		return v, err
	}
	tops, err := s.values("", "namingContexts")
	if err != nil {
		return "", err
	}
	canonical, above := canonicalDN(nil, base), ""
	for _, top := range tops {
		if t := canonicalDN(nil, top); len(top) > len(above) && len(t) < len(canonical) && inScope(canonical, t, scopeSub) {
			above = string(top)
		}
	}
	if above == "" {
		return "", nil
	}
	v, err = s.contextCSN(above)
	if _, ok := err.(*resultError); ok {
		return "", nil // it is there, but not for us
	}
	return v, err
}

func (s *session) contextCSN(dn string) (Version, error) {
	csns, err := s.values(dn, "contextCSN")
	return newVersion(csns), err
}

// values reads one attribute of one entry.
func (s *session) values(dn, attribute string) (values [][]byte, err error) {
	present := element(0x87, "objectClass")
	p := &plan{numbers: map[string]int{}}
	p.number(attribute)
	e := p.newEntry()
	err = s.search(search{dn, scopeBase, present, []string{attribute}}, func(f found) error {
		if err := e.fill(f, p); err != nil {
			return err
		}
		for _, v := range e.values[0] {
			values = append(values, append([]byte(nil), v...))
		}
		return nil
	})
	return values, err
}

// resultError is an LDAPResult (RFC 4511 section 4.1.9) other than success.
type resultError struct {
	code int
	text string // the server's
}

func (r *resultError) Error() string {
	name := strings.ToLower(ldap.LDAPResultCodeMap[uint16(r.code)])
	if name == "" {
		name = fmt.Sprintf("LDAP result %d", r.code)
	}
	if r.text == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, quote(r.text))
}

func (r *resultError) orNil() error {
	if r.code == ldap.LDAPResultSuccess {
		return nil
	}
	return r
}

// parseResult is nil if b is not an LDAPResult.
func parseResult(b []byte) *resultError {
	code, b, ok := cutTag(b, tagEnumerated)
	if !ok {
		return nil
	}
	_, b, ok = cutTag(b, tagString)
	if !ok {
		return nil
	}
	text, b, ok := cutTag(b, tagString)
	n, okCode := parseInteger(code)
	if !ok || !okCode || n > 1<<15 {
		return nil
	}
	if n == ldap.LDAPResultReferral {
		if urls, _, ok := cutTag(b, tagResponseReferral); ok {
			return referral(urls)
		}
	}
	return &resultError{n, string(text)}
}

// referral is the result that says to look elsewhere; urls are the places.
func referral(urls []byte) *resultError {
	url, _, _ := cutTag(urls, tagString)
	return &resultError{ldap.LDAPResultReferral, string(url)}
}

// kind says whether trying again may help, and what else may.
func (r *resultError) kind() (diag.Kind, string) {
	switch r.code {
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		return diag.TryAgain, "let the bind DN read everything: \"limits\" in slapd.conf(5)"
	case ldap.LDAPResultReferral:
		return diag.TryAgain, "the server has only a part; add one that has all to directory.urls"
	case ldap.LDAPResultInvalidCredentials:
		return diag.Config, "check bind-dn in [directory] and the password in password-file"
	case ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultStrongAuthRequired:
		return diag.Config, "set starttls = true in [directory], or use ldaps:// or ldapi://"
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultAuthMethodNotSupported:
		return diag.Config, "check bind-dn in [directory] and what the server lets it do"
	case ldap.LDAPResultInvalidDNSyntax:
		return diag.Config, "check the DNs in [directory]"
	}
	return diag.TryAgain, ""
}
