package genmaps

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/app"
)

// collective is a directory as an LDIF file, a configuration for it and a maps directory, all for one node.
type collective struct {
	t      testing.TB
	dir    string
	config string // further lines of rplan.toml
	ldif   string
	now    time.Time
}

// newCollective has three nodes, a hundred mailboxes and one or two of everything else.
func newCollective(t testing.TB) *collective {
	var b strings.Builder
	entry := func(ou, class string, lines ...string) {
		fmt.Fprintf(&b, "dn: %s,ou=%s,dc=example\nobjectClass: %s\n%s\n\n",
			strings.Replace(lines[0], ": ", "=", 1), ou, class, strings.Join(lines, "\n"))
	}
	for i := 1; i <= 3; i++ {
		entry("nodes", "rplanNode", fmt.Sprintf("rplanNodeName: n%d", i), "rplanState: up", fmt.Sprintf("rplanVpnAddress: 10.77.0.%d", i),
			fmt.Sprintf("rplanPublicAddress: 192.0.2.%d", i), "rplanRole: mx", "rplanRole: imap", "rplanRole: web", "rplanRole: lists", "rplanRole: dns")
	}
	entry("domains", "rplanDomain", "rplanDomainName: example.org")
	entry("domains", "rplanDomain", "rplanDomainName: example.net")
	placements := []string{"n1_n2", "n2_n3", "n3_n1", "n2_n1"}
	for i := range 100 {
		entry("mailboxes", "rplanMailbox", fmt.Sprintf("rplanAddress: user%03d@example.org", i), fmt.Sprintf("rplanAlias: alias%03d@example.org", i),
			"rplanPlacement: "+placements[i%len(placements)])
	}
	entry("mailboxes", "rplanMailbox", "rplanAddress: gone@example.org", "rplanPlacement: n1_n2", "rplanStatus: suspended")
	entry("forwards", "rplanForward", "rplanAddress: board@example.org", "rplanTarget: user001@example.org", "rplanTarget: far@far.example")
	entry("sites", "rplanSite", "rplanSiteName: cafe.example.org", "rplanSiteAlias: www.cafe.example.org", "rplanSiteMode: proxy", "rplanPlacement: n2_n1", "rplanContact: user002@example.org")
	entry("sites", "rplanSite", "rplanSiteName: all.example.org", "rplanSiteMode: everywhere")
	entry("lists", "rplanList", "rplanAddress: news@example.org", "rplanListManager: mlmmj", "rplanActiveNode: n1")
	entry("lists", "rplanList", "rplanAddress: talk@example.org", "rplanListManager: mailman3", "rplanActiveNode: n2")
	c := &collective{t: t, dir: t.TempDir(), ldif: b.String(), now: time.Unix(1_800_000_000, 0)}
	// Without the services' programs unless a test wants them.
	c.config = "[genmaps.check]\npostfix = []\ndovecot = []\napache = []\ndns = []\n" +
		"[genmaps.reload]\npostfix = []\ndovecot = []\napache = []\ndns = []\n"
	return c
}

func (c *collective) path(name string) string { return filepath.Join(c.dir, name) }

func (c *collective) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// edit replaces text in the directory, which must be there.
func (c *collective) edit(old, with string) {
	c.t.Helper()
	if !strings.Contains(c.ldif, old) {
		c.t.Fatalf("the directory has no %q", old)
	}
	c.ldif = strings.ReplaceAll(c.ldif, old, with)
}

// setState changes the state of a node.
func (c *collective) setState(node, state string) {
	c.t.Helper()
	head := "rplanNodeName: " + node + "\nrplanState: "
	i := strings.Index(c.ldif, head) + len(head)
	end := i + strings.IndexByte(c.ldif[i:], '\n')
	c.ldif = c.ldif[:i] + state + c.ldif[end:]
}

// options writes the files and are what a run with them needs.
func (c *collective) options() Options {
	c.t.Helper()
	c.write("directory.ldif", c.ldif)
	c.write("rplan.toml", fmt.Sprintf("node = \"n1\"\n[network]\nnodes-domain = \"nodes.example.net\"\ncontact-domain = \"contact.example.net\"\n"+
		"[directory]\nurls = [\"ldif:%s\"]\nbase = \"dc=example\"\n[genmaps]\noutput = %q\nzone-extras = %q\n%s",
		c.path("directory.ldif"), c.path("maps"), c.path("zones"), c.config))
	return Options{Config: c.path("rplan.toml")}
}

// run runs rp-genmaps and returns what it printed.
func (c *collective) run(o Options) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	env := &app.Env{Stdout: &out, Stderr: &errs, Now: func() time.Time { return c.now }}
	err = Run(context.Background(), env, o)
	return out.String(), errs.String(), err
}

func (c *collective) mustRun(o Options) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, err := c.run(o)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, stderr)
	}
	return stdout, stderr
}

// published are the contents of all files below the maps directory but rplan's own.
func (c *collective) published() map[string]string { return contents(c.t, c.path("maps")) }

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || slices.Contains([]string{".lock", ".state.json", ".outline.json", ".checked"}, name) {
			return err
		}
		text, err := os.ReadFile(path)
		files[name] = strings.ReplaceAll(string(text), dir, "MAPS")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// differing are the names whose contents differ.
func differing(a, b map[string]string) (names []string) {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, inA := a[name]
		is, inB := b[name]
		if inA != inB || was != is {
			names = append(names, name)
		}
	}
	return names
}
