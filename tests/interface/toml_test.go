package interface_test

import (
	"encoding"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"rplan/lib/archiveprune"
	"rplan/lib/directory"
	"rplan/lib/failover"
	"rplan/lib/genmaps"
	"rplan/lib/genmaps/render"
	"rplan/lib/source"
	"rplan/lib/store"
	"rplan/lib/unlock"
)

// documented are the keys of rplan.toml(5), "section.key", with the default as
// TOML, or "" where the page has none.
func documented(t *testing.T) map[string]string {
	t.Helper()
	return keysOf(read(t, "man", "rplan.toml.5"), regexp.MustCompile(`\[(\S+)\]`))
}

// keysOf are the keys that a page explains; section finds the names of sections in the title of theirs.
func keysOf(page string, section *regexp.Regexp) map[string]string {
	head := regexp.MustCompile(`^\.It Cm (\S+) No = (Li|Ar) (.*)$`)
	keys := map[string]string{}
	sections := []string{""}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, ".Ss ") {
			sections = found1(section, line)
		}
		m := head.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, section := range sections {
			value := ""
			if m[2] == "Li" {
				value = strings.ReplaceAll(m[3], `\(dq`, `"`)
			}
			keys[strings.TrimPrefix(section+"."+m[1], ".")] = value
		}
	}
	return keys
}

// settings are the values that rplan.toml is read into, by section, with the
// defaults of those that tell them.
func settings() map[string]any {
	from := source.Defaults()
	ofStore, err := store.LoadSettings(os.DevNull, nil)
	if err != nil {
		panic(err) // of an empty file
	}
	return map[string]any{
		"directory": from, "failover": failover.Defaults(), "store": *ofStore, "unlock": unlock.Settings{}, "genmaps": genmaps.Settings{}, "genmaps.postfix": render.Defaults().Postfix,
		"genmaps.dovecot": render.Defaults().Dovecot, "genmaps.apache": render.Defaults().Apache, "genmaps.dns": render.Defaults().DNS,
		"genmaps.ssh": render.Defaults().SSH,
		"archive":     archiveprune.Defaults(), "archive.lists.NAME": archiveprune.ListSettings{},
		"directory.node": from.Node, "directory.domain": from.Domain, "directory.mailbox": from.Mailbox,
		"directory.forward": from.Forward, "directory.site": from.Site, "directory.list": from.List,
	}
}

// fields calls visit with each key of a settings struct.
func fields(v reflect.Value, visit func(key string, f reflect.StructField, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fields(v.Field(i), visit)
		} else {
			visit(f.Tag.Get("toml"), f, v.Field(i))
		}
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	page := documented(t)
	want := []string{"node", "network.nodes-domain", "network.contact-domain"}
	known := settings()
	for section, value := range known {
		fields(reflect.ValueOf(value), func(key string, f reflect.StructField, _ reflect.Value) {
			name := section + "." + key
			switch {
			case known[name] != nil, known[name+".NAME"] != nil:
			case f.Type.Kind() == reflect.Struct && !reflect.PointerTo(f.Type).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
				t.Errorf("%s is a section that this test does not know", name)
			case f.Type.Kind() == reflect.Map && section == "genmaps":
				for _, r := range render.All {
					want = append(want, name+"."+r.Service)
				}
			default:
				want = append(want, name)
			}
		})
	}
	var got []string
	for key := range page {
		got = append(got, key)
	}
	same(t, "rplan.toml(5)", sorted(got), sorted(want))
}

// TestNoKeyIsUnknownToTheProgram gives each documented key to the program.
func TestNoKeyIsUnknownToTheProgram(t *testing.T) {
	for key := range documented(t) {
		runs := []result{load(t, key+" = []\n", "--node", "n1"), with(t, "rp-failover", key+" = []\n", "status"), with(t, "rp-rekey", key+" = []\n", "status"), with(t, "rp-unlock", key+" = []\n", "n1")}
		if strings.HasPrefix(key, "archive.") { // without a directory it reads no other
			runs = append(runs, with(t, "rp-archive-prune", key+" = []\n"))
		}
		for _, r := range runs {
			if r.code != 78 || strings.Contains(r.stderr, "unknown key") {
				t.Errorf("%s: %+v", key, r)
			}
		}
	}
	if r := with(t, "rp-failover", "failover.job = 1\n", "status"); r.code != 78 || !strings.Contains(r.stderr, `rplan.toml:1: unknown key "failover.job"`) {
		t.Errorf("got %+v", r)
	}
	if r := with(t, "rp-rekey", "store.dri = 1\n", "status"); r.code != 78 || !strings.Contains(r.stderr, `rplan.toml:1: unknown key "store.dri"`) {
		t.Errorf("got %+v", r)
	}
	if r := with(t, "rp-archive-prune", "archive.lists.dev.keep = 1\n"); r.code != 78 || !strings.Contains(r.stderr, `rplan.toml:1: unknown key "archive.lists.dev.keep"`) {
		t.Errorf("got %+v", r)
	}
	if r := load(t, "genmaps.apache.rot = 1\n"); r.code != 78 || !strings.Contains(r.stderr, `rplan.toml:1: unknown key "genmaps.apache.rot"`) {
		t.Errorf("got %+v", r)
	}
}

func TestDocumentedDefaults(t *testing.T) {
	page := documented(t)
	checked := 0
	for section, value := range settings() {
		fields(reflect.ValueOf(value), func(key string, _ reflect.StructField, v reflect.Value) {
			text := page[section+"."+key]
			if text == "" || section == "genmaps" && key != "lmtp-port" {
				return
			}
			if key == "lmtp-port" {
				v = reflect.ValueOf(render.Defaults().LMTPPort)
			}
			got := reflect.New(v.Type())
			if err := decode(text, got.Interface()); err != nil {
				t.Errorf("%s.%s = %s: %v", section, key, text, err)
			} else if fmt.Sprint(got.Elem()) != fmt.Sprint(v) {
				t.Errorf("%s.%s: the page says %s, the program %v", section, key, text, v)
			}
			checked++
		})
	}
	if checked < 25 {
		t.Errorf("only %d defaults were compared", checked)
	}
}

// decode reads one value of TOML into what to points to.
func decode(text string, to any) error {
	holder := map[string]toml.Primitive{}
	meta, err := toml.Decode("key = "+text, &holder)
	if err != nil {
		return err
	}
	return meta.PrimitiveDecode(holder["key"], to)
}

// TestDocumentedCommands finds the lists of arguments of the page, and the
// defaults of [genmaps] itself, in the source, which tells them to nobody.
func TestDocumentedCommands(t *testing.T) {
	code := read(t, "lib", "genmaps", "settings.go")
	page := strings.ReplaceAll(read(t, "man", "rplan.toml.5"), `\(dq`, `"`)
	page, _, _ = strings.Cut(page, "\n.Sh FAILOVER")
	_, page, _ = strings.Cut(page, "\n.Ss [genmaps.check]")
	lists := found1(regexp.MustCompile(`(?m)Li (\[.*"\]+)( ,)?$`), page)
	if len(lists) != 13 {
		t.Errorf("the page has %d commands", len(lists))
	}
	asInGo := strings.NewReplacer("[", "{", "]", "}")
	for _, list := range lists {
		if !strings.Contains(code, asInGo.Replace(list)) {
			t.Errorf("nothing is %s by default", list)
		}
	}
	documented := documented(t)
	fields(reflect.ValueOf(genmaps.Settings{}), func(key string, f reflect.StructField, _ reflect.Value) {
		text := strings.Replace(documented["genmaps."+key], `%"`, "", 1)
		if text == "" || key == "lmtp-port" {
			return
		}
		if text != documented["genmaps."+key] {
			text = strings.TrimPrefix(text, `"`)
		}
		if !regexp.MustCompile(`\b` + f.Name + `:\s+` + regexp.QuoteMeta(text) + `,\n`).MatchString(code) {
			t.Errorf("genmaps.%s is not %s by default", key, text)
		}
	})
	for service, group := range map[string]string{"ssh": "root", "postfix": "postfix", "dovecot": "dovecot", "apache": "www-data"} {
		if documented["genmaps.group."+service] != `"`+group+`"` || !strings.Contains(code, `"`+service+`": "`+group+`"`) {
			t.Errorf("the group of %s is %s in the page, or another in the program", service, documented["genmaps.group."+service])
		}
	}
}

// TestDocumentedFields compares the table of fields with the model and the default mapping.
func TestDocumentedFields(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "man", "rplan.toml.5"), "\n.Ss FIELDS\n")
	table, _, _ = strings.Cut(table, "\n.El\n")
	from := source.Defaults()
	mappings := [directory.NumKinds]source.Mapping{from.Node, from.Domain, from.Mailbox, from.Forward, from.Site, from.List}
	var want []string
	for kind := range directory.NumKinds {
		want = append(want, kind.String())
		for _, field := range kind.Fields() {
			want = append(want, field+" "+mappings[kind].Attributes[field])
		}
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\.It (?:Sy (\w+)|(\S+) Ta (\S+))`).FindAllStringSubmatch(table, -1) {
		got = append(got, strings.TrimSpace(m[1]+m[2]+" "+m[3]))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("the page has\n%s\nthe program\n%s", g, w)
	}
}

// load runs rp-genmaps with this configuration, far from any service.
func load(t *testing.T, config string, args ...string) result {
	t.Helper()
	return with(t, "rp-genmaps", config, args...)
}

// with runs a command with this configuration; the verb comes first in args, where it has one.
func with(t *testing.T, name, config string, args ...string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rplan.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if c.name == name {
			verb := min(len(c.verbs(t)), 1)
			return c.run(t, slices.Concat(args[:verb], []string{"--config", path}, args[verb:])...)
		}
	}
	t.Fatalf("there is no %s", name)
	return result{}
}

// examples are the configurations that the page shows.
func examples(t *testing.T) []string {
	t.Helper()
	all := found1(regexp.MustCompile(`(?s)\n\.Bd -literal -offset indent\n(.*?)\n\.Ed`), section(t, read(t, "man", "rplan.toml.5"), "EXAMPLES"))
	if len(all) != 3 {
		t.Fatalf("the page has %d examples", len(all))
	}
	return all
}

// TestExamplesAreRead: each reaches the directory, where n1 is.
func TestExamplesAreRead(t *testing.T) {
	ldif, err := filepath.Abs(filepath.Join(root, "contrib/example/collective.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples(t) {
		if r := load(t, example, "--directory", "ldif:"+ldif, "--explain", "n1"); r.code != 0 {
			t.Errorf("%s\n%+v", example, r)
		}
	}
}

func TestTheQmailExample(t *testing.T) {
	ldif, err := filepath.Abs("testdata/qmail.ldif")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  string
		code int
		want string
	}{
		{"alice@example.org", 0, "alice@example.org: alias of al@example.org; mailbox on n1_n2; n1 is out, so n2; lmtp 10.77.0.2:24; no copy: no other node of n1_n2 is in service\n"},
		{"bob@example.org", 1, "bob@example.org: mailbox on n2_n1; suspended: mail, login and sending are refused\n"},
		{"carol@example.org", 0, "carol@example.org: mailbox on n1_n2; n1 is out, so n2; lmtp 10.77.0.2:24; no copy: no other node of n1_n2 is in service\n"},
		{"dan@example.org", 0, "dan@example.org: forward\n  dan@elsewhere.example: not a mail domain of this directory: mail goes out to the world\n"},
	} {
		if r := load(t, examples(t)[1], "--directory", "ldif:"+ldif, "--explain", c.key); r.code != c.code || r.stdout != c.want {
			t.Errorf("%s: %+v, want %d, %s", c.key, r, c.code, c.want)
		}
	}
}
