package failover

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

const minimal = `node = "n1"
[network]
nodes-domain = "Nodes.example.net"
[directory]
base = "dc=example,dc=net"
`

func load(t *testing.T, text string) (*configuration, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rplan.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfiguration(path)
	return c, path, err
}

func TestEverySettingHasADefault(t *testing.T) {
	c, _, err := load(t, minimal)
	if err != nil {
		t.Fatal(err)
	}
	if f := c.failover; f.MinInterval != 10*time.Minute || f.Overlap != 10*time.Minute || f.MinFree != 10 || f.Jobs != 4 || f.WriteURLs[0] != "ldapi:///" ||
		c.Node != "n1" || c.Network.NodesDomain != "nodes.example.net" {
		t.Errorf("%+v", c)
	}
}

func TestSettingsAccepted(t *testing.T) {
	c, path, err := load(t, strings.Replace(minimal, "[directory]\n", "[directory]\nurls = [\"ldif:here.ldif\"]\n", 1)+`[genmaps]
max-loss = "5%"
[failover]
write-urls = ["ldif:there.ldif", "ldaps://n1.nodes.example.net"]
admin-dn = "cn=admin"
admin-password-file = "/etc/rplan/admin"
hooks = "/srv/hooks"
home = "/srv/mail/%u"
mail = "Mail/box"
mounts = ["/var/vmail", "/srv"]
min-interval = "0s"
overlap = "2m"
max-lag = "90s"
max-clock = "200ms"
min-free = "2.5%"
jobs = 1
ssh-port = 2222
genmaps = "/usr/local/sbin/rp-genmaps"
`)
	if err != nil {
		t.Fatal(err)
	}
	f, dir := c.failover, filepath.Dir(path)
	if f.MinFree != 2.5 || f.MaxClock != 200*time.Millisecond || f.MinInterval != 0 || f.Overlap != 2*time.Minute || f.State != "/var/lib/rplan/failover" ||
		f.WriteURLs[0] != "ldif:"+dir+"/there.ldif" || c.Directory.URLs[0] != "ldif:"+dir+"/here.ldif" {
		t.Errorf("%+v", c)
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`write-urls = []`, `failover.write-urls: there is none`},
		{`write-urls = ["http://n1"]`, `failover.write-urls: "http://n1" is no URL of a directory`},
		{`admin-password-file = "/etc/x"`, `failover.admin-password-file: it is of no use without failover.admin-dn`},
		{`hooks = "failover.d"`, `failover.hooks "failover.d" is not an absolute path`},
		{`state = ""`, `failover.state "" is not an absolute path`},
		{`ssh-key = "/etc/my key"`, `failover.ssh-key "/etc/my key" is not`},
		{`mounts = ["/srv", "vmail"]`, `failover.mounts: "vmail" is not`},
		{`home = "/var/vmail"`, `failover.home "/var/vmail" is not one directory for each address`},
		{`home = "/var/vmail/%n"`, `is not one directory for each address`},
		{`home = "/var/vmail/%d"`, `is not one directory for each address`},
		{`home = "/var/vmail/%u/%h"`, `is not one directory for each address`},
		{`home = "/var/vmail/%u%"`, `is not one directory for each address`},
		{`home = "%u"`, `is not one directory for each address`},
		{`mail = "../mail"`, `failover.mail "../mail" is not a directory below home`},
		{`mail = "/mail"`, `is not a directory below home`},
		{`mail = ""`, `is not a directory below home`},
		{`min-interval = "-1s"`, `failover.min-interval "-1s" is less than 0s`},
		{`overlap = "-1s"`, `failover.overlap "-1s" is less than 0s`},
		{`max-lag = "0s"`, `failover.max-lag "0s" is less than 1s`},
		{`max-clock = "0s"`, `failover.max-clock "0s" is less than 1ms`},
		{`min-free = "101%"`, `not a percentage`},
		{`min-free = 10`, `rplan.toml:7: `},
		{`jobs = 0`, `failover.jobs 0 is not a number from 1 to 256`},
		{`jobs = 257`, `failover.jobs 257 is not`},
		{`ssh-port = 65536`, `failover.ssh-port 65536 is not a port, 1 to 65535`},
		{`genmaps = ""`, `failover.genmaps "" is neither`},
		{`genmaps = "bin/rp-genmaps"`, `failover.genmaps "bin/rp-genmaps" is neither`},
		{`genmaps = "rp-genmaps --force"`, `is neither a program's name nor its absolute path`},
		{`job = 4`, `rplan.toml:7: unknown key "failover.job"`},
	} {
		_, path, err := load(t, minimal+"[failover]\n"+c.line+"\n")
		if diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
	}
	if _, _, err := load(t, "[directory]\nbase = \"dc=x\"\n"); diag.KindOf(err) != diag.Config || !strings.Contains(err.Error(), "network.nodes-domain is missing") {
		t.Errorf("got %v", err)
	}
}

// What is wrong in rp-genmaps's section is for it to say.
func TestMapsDir(t *testing.T) {
	for text, want := range map[string]string{
		"": "/var/lib/rplan/maps",
		"[genmaps]\noutput = \"/srv/maps\"\n[genmaps.ssh]\ncommand = \"x\"\n":        "/srv/maps",
		"[genmaps]\noutput = \"/srv/maps\"\nno-such-key = 1\n[genmaps.x.y]\nz = 2\n": "/srv/maps",
	} {
		c, _, err := load(t, minimal+text)
		if err != nil || c.mapsDir() != want {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}
