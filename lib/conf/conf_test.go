package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

type section struct {
	Count int           `toml:"count"`
	Share Percent       `toml:"share"`
	Wait  time.Duration `toml:"wait"`
	Words []string      `toml:"words"`
	Inner struct {
		Path string `toml:"path"`
	} `toml:"inner"`
}

func load(text string) (string, section, error) {
	node, s := "default", section{Count: 7, Share: 10}
	err := Decode("rplan.toml", []byte(text), map[string]any{"node": &node, "genmaps": &s})
	return node, s, err
}

func TestDefaultsStayUnlessSet(t *testing.T) {
	node, s, err := load("[genmaps]\nwait = \"2m\"\nshare = \"2.5%\"\n[genmaps.inner]\npath = \"/x\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if node != "default" || s.Count != 7 || s.Share != 2.5 || s.Wait != 2*time.Minute || s.Inner.Path != "/x" {
		t.Errorf("got %q %+v", node, s)
	}
}

// Other commands' sections are theirs to check.
func TestSectionsOfOthersAreLeftAlone(t *testing.T) {
	if _, _, err := load("[directory]\nanything = 1\n"); err != nil {
		t.Error(err)
	}
}

func TestBadConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"nod = \"n1\"\n":                                    `rplan.toml:1: unknown key "nod"`,
		"[genmaps]\ncount = 1\nfoo = 2\n":                   `rplan.toml:3: unknown key "genmaps.foo"`,
		"[genmaps]\nwords = [\n\"a\",\n]\n\n[genmaps.innr]": `rplan.toml:6: unknown key "genmaps.innr"`,
		"[genmaps]\ncount = \"x\"\n":                        `rplan.toml:2: key "genmaps.count": incompatible types`,
		"[genmaps]\nshare = \"10\"\n":                       `rplan.toml:2: key "genmaps.share": "10" is not a percentage`,
		"[genmaps]\nwait = \"soon\"\n":                      `rplan.toml:2: key "genmaps.wait": invalid duration`,
		"node = \"n1\nx = 1\n":                              `rplan.toml:1: key "node": `,
		"node =\n":                                          `rplan.toml:1: key "node": expected value`,
		"[genmaps]\ncount = 1\ncount = 2\n":                 `rplan.toml:3: key "genmaps.count": `,
		"[genmaps":                                          `rplan.toml:1: `,
		"\x00":                                              `rplan.toml`,
	} {
		_, _, err := load(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", text, err, want)
		} else if diag.KindOf(err) != diag.Config {
			t.Errorf("%q: kind %d, want 78", text, diag.KindOf(err))
		}
	}
}

func TestMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	err := Load(path, nil)
	if diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), path) || diag.HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, diag.HintOf(err))
	}
	if err := Load(filepath.Dir(path), nil); diag.KindOf(err) != diag.Config || diag.HintOf(err) != "name another with --config" {
		t.Errorf("of a directory: %v, hint %q", err, diag.HintOf(err))
	}
	if err := os.WriteFile(path, []byte("node = \"n1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var node string
	if err := Load(path, map[string]any{"node": &node}); err != nil || node != "n1" {
		t.Errorf("got %q, %v", node, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("node = \"n1\"\n[genmaps]\ncount = 1\nx = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var node string
		if err := Decode("f", text, map[string]any{"node": &node, "genmaps": &section{}}); err != nil && diag.KindOf(err) != diag.Config {
			t.Errorf("kind %d", diag.KindOf(err))
		}
	})
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]Percent{"0%": 0, "10%": 10, "2.5%": 2.5, "100%": 100} {
		var p Percent
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "%", "10", "10 %", "10%%", "-1%", "100.1%", "NaN%", "nan%", "Inf%", "-Inf%", "1e999%", "x%"} {
		p := Percent(7)
		if err := p.UnmarshalText([]byte(text)); err == nil || p != 7 {
			t.Errorf("%q is taken for %v", text, p)
		}
	}
}
