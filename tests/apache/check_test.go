package apache

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/tests/need"
)

// What rp-genmaps runs before it publishes, on Debian's configuration with contrib's file in it.
func TestStagedFilesAreChecked(t *testing.T) {
	need.Program(t, "apache2ctl", "a2enmod")
	w := newWorld(t, allModes(), func(w *world) { w.certify(t, "pro.example", "n1", "n2") })
	debian := w.path("apache2-rplan")
	if out, err := exec.Command("cp", "-a", "/etc/apache2", debian).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for link, target := range map[string]string{
		"conf-enabled/zz-rplan.conf":      Contrib("rplan.conf"),
		"mods-enabled/rewrite.load":       "../mods-available/rewrite.load",
		"mods-enabled/proxy.load":         "../mods-available/proxy.load",
		"mods-enabled/proxy_http.load":    "../mods-available/proxy_http.load",
		"mods-enabled/headers.load":       "../mods-available/headers.load",
		"mods-enabled/ssl.load":           "../mods-available/ssl.load",
		"mods-enabled/socache_shmcb.load": "../mods-available/socache_shmcb.load",
	} {
		if err := os.Symlink(target, filepath.Join(debian, link)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	envvars := filepath.Join(debian, "envvars")
	text, err := os.ReadFile(envvars)
	if err != nil {
		t.Fatal(err)
	}
	write(t, envvars, string(text)+fmt.Sprintf("\nexport APACHE_RUN_DIR=%[1]s APACHE_LOCK_DIR=%[1]s APACHE_LOG_DIR=%[1]s APACHE_PID_FILE=%[1]s/pid\n", w.path("run")))
	mkdir(t, w.path("run", "socks"))
	check := func(maps string) string {
		cmd := exec.Command("apache2ctl", "-t", "-C", "Define RPLAN_MAPS "+maps)
		cmd.Env = append(os.Environ(), "APACHE_CONFDIR="+debian)
		if out, err := cmd.CombinedOutput(); err != nil {
			return string(out)
		}
		return ""
	}
	if said := check(w.nodes["n1"].maps); said != "" {
		t.Fatalf("good files are refused: %s", said)
	}
	staged := w.path("staged")
	for _, c := range []struct{ file, text, want string }{
		{"vhosts.conf", "<VirtualHost *:80>\n", "vhosts.conf"},
		{"vhosts.conf", "Nonsense\n", "Nonsense"},
		{"route.conf", "RewriteCond\n", "route.conf"},
		{"rplan.conf", "\xff\n", "rplan.conf"},
		{"rplan.conf", "-", "rplan.conf"},
		{"privacy.conf", "-", "privacy.conf"},
		{"placements", "-", "placements"},
		{"mirrors", "-", "mirrors"},
		{"sites", "-", "sites"},
	} {
		if out, err := exec.Command("cp", "-rT", w.nodes["n1"].maps, staged).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if c.text == "-" {
			rename(t, filepath.Join(staged, c.file), filepath.Join(staged, "away"))
		} else {
			write(t, filepath.Join(staged, c.file), c.text)
		}
		if said := check(staged); !strings.Contains(said, c.want) {
			t.Errorf("%q as %s: apache2ctl says %q, want it to name %s", c.text, c.file, said, c.want)
		}
	}
}

// A module that is missing is named, with what to do.
func TestMissingModule(t *testing.T) {
	w := newWorld(t, allModes())
	conf, err := os.ReadFile(w.nodes["n1"].ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"rewrite", "proxy_http", "headers"} {
		without := strings.ReplaceAll(string(conf), "Include mods-available/"+module+".load\n", "")
		write(t, w.nodes["n1"].ConfigPath(), without)
		if err := w.nodes["n1"].Check(""); err == nil || !strings.Contains(err.Error(), "run a2enmod "+module) {
			t.Errorf("without %s: %v", module, err)
		}
	}
}

// The longest names that a directory entry may have do not stop Apache for all others.
func TestLongNames(t *testing.T) {
	label := strings.Repeat("x", 63)
	host := strings.Join([]string{label, label, label, label[:50], "example"}, ".")
	records := append(allModes(), site(host, "", "proxy", "n1_n2"), site("y"+host[1:], "", "redirect", "n1_n2"))
	for i := range 200 {
		alias := fmt.Sprintf("%03d%s", i, host[3:])
		records[len(records)-2].Values[1] = append(records[len(records)-2].Values[1], []byte(alias))
	}
	w := newWorld(t, records)
	for _, name := range nodeNames {
		served(t, w.get(t, name, host, "/"), host, "n1")
		served(t, w.get(t, name, "199"+host[3:], "/"), host, "n1")
		served(t, w.get(t, name, "pro.example", "/"), "pro.example", "n1")
	}
}

// The map of many sites is of another type.
func TestManySites(t *testing.T) {
	records := allModes()
	for i := range 2500 {
		records = append(records, site(fmt.Sprintf("s%d.example", i), "", "redirect", "n1", fmt.Sprintf("many/%d", i)))
	}
	w := newWorld(t, records)
	if _, err := os.Stat(filepath.Join(w.nodes["n3"].maps, "sites.db")); err != nil {
		t.Fatal(err)
	}
	redirected(t, w.get(t, "n3", "s0.example", "/"), w.base("s0.example", "n1")+"/")
	redirected(t, w.get(t, "n3", "S2499.example.", "/x"), w.base("s2499.example", "n1")+"/x")
	if a := w.get(t, "n3", "s2500.example", "/"); a.status != 404 {
		t.Errorf("got %v", a)
	}
}

// The command that rplan.conf gives for watching Apache decide shows its decisions.
func TestWatching(t *testing.T) {
	w := newWorld(t, allModes())
	n := w.nodes["n3"]
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	rplanConf, err := os.ReadFile(filepath.Join(n.maps, "rplan.conf"))
	if err != nil {
		t.Fatal(err)
	}
	const hint = "\n#   apache2ctl -X -c 'ErrorLog /dev/stderr' -c 'LogLevel emerg rewrite:trace5'\n"
	if !strings.Contains(string(rplanConf), hint) {
		t.Errorf("rplan.conf does not say %s", hint)
	}
	if err := n.Start("-X", "-c", "ErrorLog /dev/stderr", "-c", "LogLevel emerg rewrite:trace5"); err != nil {
		t.Fatal(err)
	}
	redirected(t, w.get(t, "n3", "red.example", "/"), w.base("red.example", "n1")+"/")
	said, err := os.ReadFile(n.Output())
	if want := "map lookup OK: map=placements[txt] key=n1_n2 -> val=n1/127.0.1.1"; err != nil || !strings.Contains(string(said), want) {
		t.Errorf("Apache says %q, want it to say %s: %v", said, want, err)
	}
}
