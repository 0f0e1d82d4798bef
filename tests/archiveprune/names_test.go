package archiveprune

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rplan/tests/archive"
	"rplan/tests/slapd"
)

// twoTrees have a list called dev each, and one called ops.
func twoTrees(t *testing.T) *node {
	n := newNode(t, "", "a/archives/private", "b/archives/private")
	for i, tree := range []string{"a", "b"} {
		for _, list := range []string{"dev", "ops"} {
			mails := archive.Make{Seed: uint64(60 + i), N: 50, Start: time.Now().Add(-150 * day), Every: 72 * time.Hour, Plain: true}.Mails()
			_, err := archive.Pipermail(n.path(tree), list, mails, archive.PipermailOptions{})
			n.must(err)
		}
	}
	return n
}

// changed names the lists that are not as they were, as TREE/LIST.
func (n *node) changed(before map[string]map[string]string) string {
	n.Helper()
	var names []string
	for _, tree := range []string{"a", "b"} {
		now := n.files(tree, "archives/private")
		for _, list := range []string{"dev", "ops"} {
			if fmt.Sprint(of(before[tree], list)) != fmt.Sprint(of(now, list)) {
				names = append(names, tree+"/"+list)
			}
		}
	}
	return strings.Join(names, " ")
}

// Two trees may have lists of one name, and a section of rplan.toml says which list is which.
func TestListsOfOneName(t *testing.T) {
	t.Parallel()
	n := twoTrees(t)
	trees := []string{"a/archives/private", "b/archives/private"}
	before := map[string]map[string]string{"a": n.files(trees[0]), "b": n.files(trees[1])}
	a, b := n.path(trees[0]), n.path(trees[1])
	sections := fmt.Sprintf("[archive.lists.\"dev@a.example\"]\ntree = %q\nkeep-html = \"60d\"\n[archive.lists.\"dev@b.example\"]\ntree = %q\nkeep-mbox = \"60d\"\n", a, b)
	for _, c := range []struct {
		toml string
		args []string
		want string
	}{
		{"", []string{"dev"}, "a/dev b/dev"}, // nobody says that they are not the same
		{fmt.Sprintf("[archive.lists.dev]\ntree = %q\naddress = \"dev@a.example\"\n", a), []string{"dev@a.example"}, "a/dev"},
		{fmt.Sprintf("[archive.lists.dev]\ntree = %q\naddress = \"dev@b.example\"\n", b), []string{"dev@b.example"}, "b/dev"},
		{sections, []string{"dev@a.example"}, "a/dev"},
		{sections, []string{"DEV@B.example"}, "b/dev"},
		{sections, []string{"dev@a.example", "dev@b.example"}, "a/dev b/dev"},
		{sections, []string{"dev", "ops"}, "a/dev a/ops b/dev b/ops"},
	} {
		n.configure(c.toml, trees...)
		n.apply(c.args...)
		if got := n.changed(before); got != c.want {
			t.Errorf("%s--apply %q changes %q, want %q", c.toml, c.args, got, c.want)
		}
		n.prune(0, "", append([]string{"--undo"}, c.args...)...)
		if got := n.changed(before); got != "" {
			t.Errorf("%s--undo %q leaves %q changed", c.toml, c.args, got)
		}
	}
	// Each is kept as its own section says.
	n.apply("--keep-html", "30d", "dev@a.example")
	n.checkAges("dev", before["a"], n.files(trees[0]), 30, 0)
	n.apply("dev@b.example")
	n.checkAges("dev", before["b"], n.files(trees[1]), 60, 60)

	n.prune(64, `no tree has an archive of the list "dev@c.example"`, "--apply", "dev@c.example")
	n.configure("[archive.lists.\"dev@a.example\"]\n[archive.lists.\"dev@b.example\"]\n", trees...)
	n.prune(2, `can both be about it`, "--apply", "dev")
	n.configure("[archive.lists.dev]\ntree = \"/srv/none\"\n", trees...)
	n.prune(78, `is not one of archive.trees`, "--apply", "dev")
}

// The directory knows two lists of one name, of which one is active here.
func TestListsOfOneNameInTheDirectory(t *testing.T) {
	t.Parallel()
	n := twoTrees(t)
	trees := []string{"a/archives/private", "b/archives/private"}
	before := map[string]map[string]string{"a": n.files(trees[0]), "b": n.files(trees[1])}
	ldif := strings.NewReplacer("dev@example.org", "dev@a.example", "ops@example.org", "dev@b.example", "rplanDomainName: example.org", "rplanDomainName: a.example", "rplanDomainName=example.org", "rplanDomainName=a.example").Replace(collective) +
		"\ndn: rplanDomainName=b.example,ou=domains,dc=example,dc=net\nobjectClass: rplanDomain\nrplanDomainName: b.example\n"
	n.write("directory.ldif", ldif)
	directory := fmt.Sprintf("[archive.x]\n[directory]\nurls = [\"ldif:%s\"]\nbase = %q\n[network]\nnodes-domain = \"nodes.example.net\"\ncontact-domain = \"contact.example.net\"\n", n.path("directory.ldif"), slapd.Suffix)
	configure := func(lists string) {
		n.configure(lists, trees...)
		n.write("rplan.toml", "node = \"n1\"\n"+n.read("rplan.toml")+strings.TrimPrefix(directory, "[archive.x]\n"))
	}
	for _, c := range []struct {
		lists, words string
	}{
		{"", `list "dev": the directory has dev@a.example and dev@b.example`},
		{"[archive.lists.dev]\naddress = \"dev@a.example\"\n", `the directory has two, and each of 2 trees may have either`},
	} {
		configure(c.lists)
		n.prune(2, c.words, "--apply", "dev")
		if got := n.changed(before); got != "" {
			t.Errorf("%q was changed", got)
		}
	}
	configure(fmt.Sprintf("[archive.lists.\"dev@a.example\"]\ntree = %q\n[archive.lists.\"dev@b.example\"]\ntree = %q\n", n.path(trees[0]), n.path(trees[1])))
	n.prune(3, `is active on node "n2"`, "--apply", "dev")
	if got := n.changed(before); got != "a/dev" {
		t.Errorf("%q was changed, want a/dev", got)
	}
	n.prune(2, `is active on node "n2"`, "--apply", "dev@b.example")
}
