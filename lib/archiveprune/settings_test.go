package archiveprune

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"rplan/lib/diag"
)

func load(t *testing.T, text string) (*Configuration, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rplan.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestAnEmptyFileIsEnough(t *testing.T) {
	c, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Lists = map[string]ListSettings{}
	if !reflect.DeepEqual(c.Settings, want) || c.from != nil {
		t.Errorf("%+v", c)
	}
	if s := c.Settings; s.KeepMbox != Forever || s.TrashDays == 0 || s.Compress != NoCompression || s.ScrubAddresses || s.Undated != UndatedKeep {
		t.Errorf("who says nothing would lose something: %+v", s)
	}
}

func TestSettingsAccepted(t *testing.T) {
	c, err := load(t, `[archive]
trees = ["/srv/lists", "/srv/lists2"]
layout = "mhonarc"
keep-html = "8w"
keep-mbox = "5y"
undated = "received"
compress = "zstd"
compress-after = "0"
scrub-addresses = true
trash-days = 0
mailman-locks = "/run/mailman"
[archive.lists."Dev@Lists.example.org"]
keep-html = "forever"
[archive.lists.news]
address = "News@example.org"
keep-mbox = "18M"
undated = "keep"
`)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Settings
	if s.Trees[1] != "/srv/lists2" || s.KeepHTML != mustKeep("8w") || s.KeepMbox != mustKeep("5y") || s.Undated != UndatedReceived || s.Compress != Zstd ||
		s.CompressAfter != mustKeep("0") || !s.ScrubAddresses || s.TrashDays != 0 || s.MailmanLocks != "/run/mailman" || s.Layout != "mhonarc" {
		t.Errorf("%+v", s)
	}
	dev, news := s.Lists["dev@lists.example.org"], s.Lists["news"]
	if len(s.Lists) != 2 || *dev.KeepHTML != Forever || dev.KeepMbox != nil || dev.Undated != "" ||
		news.Address != "news@example.org" || *news.KeepMbox != mustKeep("18m") || news.KeepHTML != nil || news.Undated != UndatedKeep {
		t.Errorf("%+v", s.Lists)
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`trees = []`, `archive.trees: there is none`},
		{`trees = ["lists"]`, `archive.trees: "lists" is not the absolute path of a directory`},
		{`trees = ["/"]`, `archive.trees: "/" is not`},
		{`trees = ["/srv/../etc"]`, `archive.trees: "/srv/../etc" is not`},
		{`trees = ["/srv/lists/"]`, `archive.trees: "/srv/lists/" is not`},
		{`trees = ["/srv/lists", "/srv/lists/dev"]`, `archive.trees: "/srv/lists" and "/srv/lists/dev": one is in the other`},
		{`trees = ["/srv/lists/dev", "/srv/lists"]`, `one is in the other`},
		{`trees = ["/srv/lists", "/srv/lists"]`, `one is in the other`},
		{`layout = "maildir"`, `archive.layout "maildir" is not one of pipermail, mlmmj, mailman3, mhonarc`},
		{`keep-html = "90"`, `not a time to keep something such as 90d`},
		{`keep-mbox = 90`, `keep-mbox`},
		{`keep-mbox = "30d"`, `archive: keep-html "90d" can be longer than keep-mbox "30d": pages would show messages that are gone`},
		{`undated = "drop"`, `archive.undated "drop" is not one of keep, received`},
		{`undated = ""`, `archive.undated "" is not one of`},
		{`compress = "xz"`, `archive.compress "xz" is not one of none, gzip, zstd`},
		{`trash-days = -1`, `archive.trash-days -1 is not a number from 0 to 3650`},
		{`trash-days = 3651`, `archive.trash-days 3651 is not`},
		{`mailman-locks = "locks"`, `archive.mailman-locks "locks" is not an absolute path`},
		{`keep = "1d"`, `unknown key "archive.keep"`},
		{`lists.dev.keep = "1d"`, `unknown key "archive.lists.dev.keep"`},
		{`lists.dev.keep-html = "1 year"`, `not a time to keep something`},
		{`lists.dev = {keep-html = "1y", keep-mbox = "90d"}`, `archive.lists."dev": keep-html "1y" can be longer than keep-mbox "90d"`},
		{`lists.dev.undated = "drop"`, `archive.lists."dev".undated "drop" is not`},
		{`lists.dev.address = "dev"`, `archive.lists."dev".address "dev" is not an address`},
		{`lists.dev.address = "d ev@example.org"`, `archive.lists."dev".address "d ev@example.org" is not an address`},
		{`lists."dev@a.org".address = "dev@b.org"`, `archive.lists."dev@a.org".address is "dev@b.org"`},
		{`lists."../dev".keep-html = "1d"`, `archive.lists."../dev": that is no name of a list`},
		{`lists."".keep-html = "1d"`, `archive.lists."": that is no name of a list`},
		{"lists.dev.keep-html = \"1d\"\nlists.DEV.keep-html = \"2d\"", `is there twice, in upper and in lower case`},
	} {
		_, err := load(t, "[archive]\n"+c.line+"\n")
		if diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "rplan.toml:") {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml")); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
	// Who has a directory has to say where, however little is asked of it.
	if _, err := load(t, "[directory]\n"); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), "network.nodes-domain is missing") {
		t.Error(err)
	}
}
