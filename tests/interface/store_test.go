package interface_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"rplan/lib/store"
	"rplan/lib/unlock"
	"rplan/tests/need"
)

// TestEveryKeyOfTheStoreIsDocumented compares rplan-store(5) with what its files are read into.
func TestEveryKeyOfTheStoreIsDocumented(t *testing.T) {
	page := keysOf(read(t, "man", "rplan-store.5"), regexp.MustCompile(`(\[+\w+\]+|\S+\.toml)`))
	want := []string{"store.toml.format", "store.toml.id", "store.toml.signatures"}
	for section, v := range map[string]any{
		"admins/NAME.toml": store.Admin{}, "nodes/NAME.toml": store.Node{}, "[policy]": store.Policy{},
		"[initramfs]": store.Target{}, "[system]": store.Target{}, "[[disk]]": store.Disk{},
	} {
		fields(reflect.ValueOf(v), func(key string, f reflect.StructField, _ reflect.Value) {
			key, _, _ = strings.Cut(key, ",")
			kind := f.Type
			if kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
				kind = kind.Elem()
			}
			if key != "-" && kind.Kind() != reflect.Struct { // those are sections of their own
				want = append(want, section+"."+key)
			}
		})
	}
	var got []string
	for key := range page {
		got = append(got, key)
	}
	same(t, "rplan-store(5)", sorted(got), sorted(want))

	var target store.Target
	var off store.Duration
	if err := decode(page["[policy].max-off"], &off); err != nil || off != store.DefaultMaxOff {
		t.Errorf("the page has max-off %s, %v", page["[policy].max-off"], err)
	}
	var port int
	if err := decode(page["[system].port"], &port); err != nil || port != target.SSHPort() {
		t.Errorf("the page has port %s, %v", page["[system].port"], err)
	}
	if page["[system].user"] != `"`+target.Login()+`"` {
		t.Errorf("the page has user %s", page["[system].user"])
	}
}

// TestTheJournalIsDocumented does so with the entries of the journal.
func TestTheJournalIsDocumented(t *testing.T) {
	var want []string
	for i := range reflect.TypeFor[store.Entry]().NumField() {
		key, _, _ := strings.Cut(reflect.TypeFor[store.Entry]().Field(i).Tag.Get("json"), ",")
		want = append(want, key)
	}
	page := section(t, read(t, "man", "rplan-store.5"), "JOURNAL")
	same(t, "JOURNAL", found1(regexp.MustCompile(`(?m)^\.It Cm (\S+)$`), page), want)
}

// TestBaselinesAreDocumented does so with what a node says of itself.
func TestBaselinesAreDocumented(t *testing.T) {
	var want []string
	for _, v := range []any{unlock.Reading{}, unlock.Header{}, unlock.Drive{}} {
		for i := range reflect.TypeOf(v).NumField() {
			if key, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ","); key != "-" {
				want = append(want, key)
			}
		}
	}
	page := section(t, read(t, "man", "rplan-store.5"), "BASELINES")
	same(t, "BASELINES", found1(regexp.MustCompile(`(?m)^(?:\.It |\.)Cm (\S+)`), page), want)
}

// TestTheNodeOfThePage gives the example of rplan-store(5) to the program.
func TestTheNodeOfThePage(t *testing.T) {
	need.Program(t, "ssh-keygen")
	_, example, found := strings.Cut(read(t, "man", "rplan-store.5"), "\n.Ss Example of a node\n.Bd -literal -offset indent\n")
	example, _, ended := strings.Cut(example, "\n.Ed\n")
	if !found || !ended {
		t.Fatal("the page has no example of a node")
	}
	home := t.TempDir()
	at := func(name string) string { return filepath.Join(home, name) }
	keys := map[string]string{}
	for _, kind := range []string{"ed25519", "rsa"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", at(kind)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		public, err := os.ReadFile(at(kind + ".pub"))
		if err != nil {
			t.Fatal(err)
		}
		keys[kind] = strings.Join(strings.Fields(string(public))[:2], " ")
	}
	example = strings.NewReplacer("ssh-ed25519 AAAA...", keys["ed25519"], "ssh-rsa AAAA...", keys["rsa"]).Replace(example)
	rekey := func(verb string, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(scratch, "rp-rekey"), append([]string{verb, "--store", at("store"), "--as", "ada", "--key", at("ed25519")}, args...)...)
		cmd.Dir, cmd.Env, cmd.Stdin = home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "RPLAN_CONFIG=" + os.DevNull}, strings.NewReader(example+"\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", verb, err, out)
		}
		return string(out)
	}
	rekey("init", "--recipient", at("ed25519.pub"))
	rekey("add-admin", "--recipient", at("rsa.pub"), "bob")
	rekey("add-node", "--file", "-", "n1")
	if said := rekey("status"); !regexp.MustCompile(`(?m)^n1 +root +none +no +ada bob\nn1 +mail +none +no +ada bob$`).MatchString(said) {
		t.Errorf("status says\n%s", said)
	}
}
