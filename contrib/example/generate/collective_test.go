package main

import (
	"os"
	"strings"
	"testing"

	"rplan/lib/directory"
	"rplan/lib/source"
)

var network = directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}

// read makes the snapshot of an LDIF file, which is to be faultless.
func read(t *testing.T, path string) *directory.Snapshot {
	t.Helper()
	settings := source.Defaults()
	settings.URLs, settings.Base = []string{"ldif:" + path}, base
	s, err := source.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.Read(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range result.Problems {
		t.Error(p)
	}
	return result.Snapshot
}

// The collective made by hand shows everything there is.
func TestCollective(t *testing.T) {
	text, err := os.ReadFile("../collective.ldif")
	if err != nil {
		t.Fatal(err)
	}
	s := read(t, "../collective.ldif")
	seen := map[string]bool{}
	for i := range s.Mailboxes {
		seen[map[directory.Status]string{directory.Active: "active", directory.Suspended: "suspended"}[s.Mailboxes[i].Status]] = true
		seen[map[directory.Delivery]string{directory.Both: "both", directory.One: "one"}[s.Mailboxes[i].Delivery]] = true
	}
	for i := range s.Sites {
		seen[s.Sites[i].Mode.String()] = true
	}
	for i := range s.Lists {
		seen[s.Lists[i].Manager.String()] = true
	}
	for i := range s.Nodes {
		for _, role := range strings.Fields(s.Nodes[i].Roles.String()) {
			seen["role "+role] = true
		}
	}
	for _, name := range []string{"active", "suspended", "both", "one", "redirect", "proxy", "everywhere", "mirror", "application",
		"mlmmj", "mailman3", "role mx", "role imap", "role web", "role lists", "role dns", "role mirror"} {
		if !seen[name] {
			t.Errorf("nothing is %s", name)
		}
	}
	if len(s.Nodes) != 5 || len(s.Domains) < 5 || len(s.Mailboxes) < 12 || len(s.Forwards) < 5 || len(s.Sites) < 8 || len(s.Lists) < 4 {
		t.Errorf("%d nodes, %d domains, %d mailboxes, %d forwards, %d sites, %d lists",
			len(s.Nodes), len(s.Domains), len(s.Mailboxes), len(s.Forwards), len(s.Sites), len(s.Lists))
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "userPassword") && value != " {REPLACE-ME}\n" {
			t.Errorf("a password: %q", line)
		}
	}
}
