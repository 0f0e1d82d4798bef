package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"rplan/lib/directory"
)

var network = directory.Network{NodesDomain: "nodes.example.net", ContactDomain: "contact.example.net"}

// attributes are those of the schema, in the order of the fields of directory.
var attributes = map[string]struct {
	kind  directory.Kind
	names []string
}{
	"rplanNode": {directory.KindNode, []string{"rplanNodeName", "rplanState", "rplanVpnAddress", "rplanPublicAddress",
		"rplanRole", "rplanRing", "rplanClass", "rplanVpnKey", "rplanSshKey"}},
	"rplanDomain":  {directory.KindDomain, []string{"rplanDomainName", "rplanDomainService"}},
	"rplanMailbox": {directory.KindMailbox, []string{"rplanAddress", "rplanAlias", "rplanPlacement", "rplanStatus", "rplanDelivery"}},
	"rplanForward": {directory.KindForward, []string{"rplanAddress", "rplanTarget"}},
	"rplanSite": {directory.KindSite, []string{"rplanSiteName", "rplanSiteAlias", "rplanSiteMode", "rplanPlacement",
		"rplanDocumentRoot", "rplanContact"}},
	"rplanList": {directory.KindList, []string{"rplanAddress", "rplanListManager", "rplanListCandidate", "rplanActiveNode",
		"rplanListOwner", "rplanEpoch"}},
}

// snapshot reads LDIF without folded lines and wants it to be faultless.
func snapshot(t *testing.T, r io.Reader) *directory.Snapshot {
	t.Helper()
	b := directory.NewBuilder(network)
	entry := map[string][]string{}
	flush := func() {
		for class, a := range attributes {
			if !slices.Contains(entry["objectClass"], class) {
				continue
			}
			var record directory.Record
			record.Reset(a.kind)
			record.DN = []byte(entry["dn"][0])
			for i, name := range a.names {
				for _, value := range entry[name] {
					record.Values[i] = append(record.Values[i], []byte(value))
				}
			}
			b.Add(&record)
		}
		clear(entry)
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		switch {
		case strings.HasPrefix(name, "#"):
			continue
		case !ok:
			flush()
			continue
		case strings.HasPrefix(value, ":"):
			text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value[1:]))
			if err != nil {
				t.Fatal(err)
			}
			value = string(text)
		}
		entry[name] = append(entry[name], strings.TrimPrefix(value, " "))
	}
	flush()
	s, problems, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return s
}

// The collective made by hand shows everything there is.
func TestCollective(t *testing.T) {
	text, err := os.ReadFile("../collective.ldif")
	if err != nil {
		t.Fatal(err)
	}
	s := snapshot(t, bytes.NewReader(text))
	seen := map[string]bool{}
	for i := range s.Mailboxes {
		seen[s.Mailboxes[i].Status.String()] = true
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
