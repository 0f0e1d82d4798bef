package archiveprune

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rplan/lib/diag"
)

var nothing = &Options{TrashDays: AsConfigured}

// said is a policy in a few words.
func said(p *Policy) string {
	return p.KeepHTML.String() + " by " + p.HTMLFrom + ", " + p.KeepMbox.String() + " by " + p.MboxFrom
}

func TestPolicyOfWhoSaysMost(t *testing.T) {
	c, s := standing(t, `[archive]
keep-html = "60d"
keep-mbox = "9y"
[archive.lists."dev@a.org"]
keep-html = "2y"
[archive.lists.nobody]
keep-mbox = "3y"
`)
	flags := &Options{TrashDays: AsConfigured, KeepHTML: "1d", KeepMbox: "7y"}
	for _, x := range []struct {
		o             *Options
		name, address string
		want          string
	}{
		{nothing, "news@a.org", "news@a.org", "60d by [archive], 9y by [archive]"},
		{nothing, "Dev", "dev@a.org", `2y by [archive.lists."dev@a.org"], 5y by the directory`},
		{flags, "dev", "dev@a.org", "1d by --keep-html, 7y by --keep-mbox"},
		{&Options{TrashDays: AsConfigured, KeepMbox: "30d"}, "dev", "dev@a.org", "30d by keep-mbox of --keep-mbox, 30d by --keep-mbox"},
		{nothing, "nobody", "", `60d by [archive], 3y by [archive.lists."nobody"]`},
		{nothing, "quick", "quick@a.org", "30d by keep-mbox of the directory, 30d by the directory"},
	} {
		p, err := c.Policy(x.o, x.name, s)
		if err != nil || said(p) != x.want || p.Address != x.address || p.List != strings.ToLower(x.name) {
			t.Errorf("%s: %q, %q, %v; want %q", x.name, said(p), p.Address, err, x.want)
		}
	}
}

// TestPolicyOfRefused: what is not known to be this node's to prune keeps all.
func TestPolicyOfRefused(t *testing.T) {
	c, s := standing(t, "[archive]\nkeep-html = \"1d\"\nkeep-mbox = \"1y\"\n")
	for name, want := range standings {
		p, err := c.Policy(nothing, name, s)
		if (want == "") != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrUnlisted) {
			if said(p) != "1d by [archive], 1y by [archive]" {
				t.Errorf("%s: %s: a report would not say what it could", name, said(p))
			}
		} else if err != nil && (p.KeepHTML != Forever || p.KeepMbox != Forever) {
			t.Errorf("%s is refused, and loses something: %s", name, said(p))
		}
	}
	for name, want := range map[string]string{
		"wrong":   `list "wrong": keep-html of the directory cannot be read`,
		"twisted": `list "twisted": keep-html "5y" of its entry can be longer than keep-mbox "1y"`,
	} {
		p, err := c.Policy(nothing, name, s)
		if diag.KindOf(err) != diag.Refused || !strings.HasPrefix(err.Error(), want) || p.KeepHTML != Forever || p.KeepMbox != Forever {
			t.Errorf("%s: %v, %s", name, err, said(p))
		}
	}
	// Who says it himself does not need the entry.
	if p, err := c.Policy(&Options{TrashDays: AsConfigured, KeepHTML: "2d"}, "wrong", s); err != nil || said(p) != "2d by --keep-html, 5y by the directory" {
		t.Errorf("%v, %s", err, said(p))
	}
}

func TestPolicyOfAnAddressInTheSettings(t *testing.T) {
	c, s := standing(t, `[archive.lists.news]
address = "news@a.org"
keep-mbox = "4y"
[archive.lists."half@a.org"]
[archive.lists.dev]
[archive.lists."dev@a.org"]
[archive.lists.far]
keep-mbox = "4y"
[archive.lists."stray@c.org"]
[archive.lists.misspelt]
keep-mbox = "forever"
`)
	p, err := c.Policy(nothing, "news", s)
	if err != nil || p.Address != "news@a.org" || p.Table != "news" || p.KeepMbox != mustKeep("4y") {
		t.Errorf("%+v, %v", p, err)
	}
	used := []*Policy{p}
	for name, want := range map[string]string{
		"dev":         `list "dev": [archive.lists."dev"] and [archive.lists."dev@a.org"] can both be about it`,
		"half":        `list "half": the directory may have it, in an entry that cannot be used`,
		"far":         `list "far" is active on node "n2"`, // to name it makes it nobody's less
		"stray@c.org": `list "stray@c.org": the directory may have it`,
	} {
		p, err := c.Policy(nothing, name, s)
		if diag.KindOf(err) != diag.Refused || !strings.HasPrefix(err.Error(), want) || p.KeepHTML != Forever || p.KeepMbox != Forever {
			t.Errorf("%s: %v, %s", name, err, said(p))
		}
		used = append(used, p)
	}
	if p, err := c.Policy(nothing, "half@a.org", s); err != nil || p.Table != "half@a.org" {
		t.Errorf("%+v, %v", p, err)
	}
	if unused := c.Unused(used); !slices.Contains(unused, "misspelt") || slices.Contains(unused, "news") || slices.Contains(unused, "far") {
		t.Errorf("%q", unused)
	}
}

func TestPolicyWithoutADirectory(t *testing.T) {
	c, err := load(t, `[archive]
undated = "received"
[archive.lists."dev@a.org"]
keep-mbox = "4y"
undated = "keep"
[archive.lists."news@a.org"]
[archive.lists."news@b.org"]
[archive.lists.other]
keep-html = "3d"
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, table, address, html, refused string }{
		{"dev", "dev@a.org", "dev@a.org", "90d", ""},
		{"dev@a.org", "dev@a.org", "dev@a.org", "90d", ""},
		{"dev@b.org", "", "dev@b.org", "90d", ""},
		{"news", "", "", "forever", `list "news": [archive.lists."news@a.org"] and [archive.lists."news@b.org"] can both be about it`},
		{"other", "other", "", "3d", ""},
		{"other@a.org", "", "other@a.org", "90d", ""}, // a name is that of one tree, not of a domain's list
		{"third", "", "", "90d", ""},
	} {
		p, err := c.Policy(nothing, x.name, nil)
		if p.Table != x.table || p.Address != x.address || p.KeepHTML.String() != x.html || (err != nil) != (x.refused != "") || err != nil && err.Error() != x.refused {
			t.Errorf("%s: %+v, %v", x.name, p, err)
		}
		want := UndatedReceived
		if x.table == "dev@a.org" {
			want = UndatedKeep
		}
		if err == nil && p.Undated != want {
			t.Errorf("%s: undated %s", x.name, p.Undated)
		}
	}
	if p, _ := c.Policy(&Options{TrashDays: AsConfigured, Undated: "received"}, "dev", nil); p.Undated != UndatedReceived {
		t.Errorf("%+v", p)
	}
}

func TestOverride(t *testing.T) {
	s := Defaults()
	s.ScrubAddresses = true
	s.Override(nothing)
	if s.TrashDays != 14 || s.Layout != "" || s.Compress != NoCompression || !s.ScrubAddresses {
		t.Errorf("%+v", s)
	}
	s.Override(&Options{TrashDays: 0, Layout: "mlmmj", Compress: "gzip"})
	if s.TrashDays != 0 || s.Layout != "mlmmj" || s.Compress != Gzip || !s.ScrubAddresses {
		t.Errorf("%+v", s)
	}
}
