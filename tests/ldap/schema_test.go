package ldap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/slapd"
)

// published are the definitions of rplan that a server tells its clients.
func published(t *testing.T, s *slapd.Server) []string {
	t.Helper()
	conn, err := s.Bind("", "")
	must(t, err)
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest("cn=Subschema", ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=*)", []string{"attributeTypes", "objectClasses"}, nil))
	must(t, err)
	var found []string
	for _, attribute := range result.Entries[0].Attributes {
		for _, definition := range attribute.Values {
			if strings.Contains(definition, "NAME 'rplan") {
				found = append(found, attribute.Name+": "+definition)
			}
		}
	}
	slices.Sort(found)
	return found
}

// rplan.schema and rplan-schema.ldif define the same, under the arc of rplan.
func TestSchemaFormsAgree(t *testing.T) {
	conf := published(t, slapd.Run(t, slapd.Options{}))
	server, _ := debian(t, "provider")
	ldif := published(t, server)
	if !slices.Equal(conf, ldif) {
		t.Errorf("rplan.schema defines\n%s\nrplan-schema.ldif\n%s", strings.Join(conf, "\n"), strings.Join(ldif, "\n"))
	}
	if len(conf) != 38 {
		t.Errorf("%d definitions, want 32 attributes and 6 classes", len(conf))
	}
	for _, definition := range conf {
		if !strings.Contains(definition, "( 2.25.239019012096490190344537194143092318027.") || !strings.Contains(definition, "DESC '") {
			t.Errorf("%q: want an OID of rplan and a description", definition)
		}
	}
}

// What the schema refuses and what it takes.
func TestSchemaRules(t *testing.T) {
	s := slapd.Run(t, slapd.Options{LDIF: directory(t), NoSync: true})
	root := bind(t, s, s.RootDN)
	for _, c := range []struct {
		dn, attribute string
		values        []string
		code          uint16
	}{
		{node("n1"), "rplanState", []string{"up", "out"}, ldap.LDAPResultConstraintViolation},
		{node("n1"), "rplanState", nil, ldap.LDAPResultObjectClassViolation},
		{node("n1"), "rplanRing", []string{"one"}, ldap.LDAPResultInvalidAttributeSyntax},
		{node("n1"), "rplanNodeName", []string{"n9"}, ldap.LDAPResultNamingViolation},
		{mailbox("bob"), "rplanPlacement", []string{"n1_n2", "n2_n1"}, ldap.LDAPResultConstraintViolation},
		{mailbox("bob"), "rplanAlias", []string{"b\u00f6b@example.org"}, ldap.LDAPResultInvalidAttributeSyntax},
		{mailbox("bob"), "rplanRing", []string{"0"}, ldap.LDAPResultObjectClassViolation},
		{mailbox("bob"), "rplanAlias", []string{"a@example.org", "A@example.org"}, ldap.LDAPResultAttributeOrValueExists},
		{node("n1"), "rplanStateReason", []string{"Platte kaputt, größer bestellt"}, ldap.LDAPResultSuccess},
		{node("n1"), "rplanRole", []string{"mx", "imap"}, ldap.LDAPResultSuccess},
	} {
		err := modify(root, c.dn, c.attribute, c.values...)
		if c.code == ldap.LDAPResultSuccess && err != nil || c.code != ldap.LDAPResultSuccess && !ldap.IsErrorWithCode(err, c.code) {
			t.Errorf("%s: %s = %q: %v, want code %d", c.dn, c.attribute, c.values, err, c.code)
		}
	}
	for filter, want := range map[string]int{
		"(rplanAddress=BOB@EXAMPLE.ORG)": 1, "(rplanAlias=AL@*)": 1, "(rplanRing>=2)": 4, "(rplanRole=dns)": 3,
	} {
		result, err := root.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
			0, 0, false, filter, []string{"1.1"}, nil))
		if err != nil || len(result.Entries) != want {
			t.Errorf("%s finds %v, %v; want %d", filter, fmt.Sprint(result), err, want)
		}
	}
}
