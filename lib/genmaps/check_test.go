package genmaps

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// checked makes the collective use the services' real checkers.
func checked(t *testing.T, c *collective) {
	need.Program(t, "postmap", "doveconf", "apache2ctl", "kzonecheck")
	c.config = "[genmaps.reload]\npostfix = []\ndovecot = []\napache = []\ndns = []\n"
}

func TestRealCheckersAcceptTheMaps(t *testing.T) {
	for server, program := range map[string]string{"knot": "kzonecheck", "bind": "named-checkzone", "nsd": "nsd-checkzone"} {
		t.Run(server, func(t *testing.T) {
			need.Program(t, program)
			c := newCollective(t)
			checked(t, c)
			c.config += "[genmaps.dns]\nserver = \"" + server + "\"\n"
			c.mustRun(c.options())
		})
	}
}

// What a checker refuses is not published, and its words are shown.
func TestRefusedByTheChecker(t *testing.T) {
	for service, disturb := range map[string]func(*collective) string{
		"dns": func(c *collective) string {
			os.MkdirAll(c.path("zones"), 0o755)
			c.write("zones/example.org", "www IN A not-an-address\n")
			return "invalid address"
		},
		"dovecot": func(c *collective) string {
			c.config += "[genmaps.check]\ndovecot = [\"doveconf\", \"-n\", \"-c\", \"{maps}/absent.conf\"]\n"
			c.setState("n2", "out")
			return "absent.conf"
		},
		"apache": func(c *collective) string {
			c.config += "[genmaps.check]\napache = [\"apache2ctl\", \"-t\", \"-c\", \"NoSuchDirective {maps}\"]\n"
			c.edit("all.example.org", "every.example.org")
			return "NoSuchDirective"
		},
		"postfix": func(c *collective) string {
			c.config += "[genmaps.check]\npostfix = [\"false\"]\n"
			c.edit("alias007@", "seven@")
			return "false"
		},
	} {
		t.Run(service, func(t *testing.T) {
			c := newCollective(t)
			checked(t, c)
			c.mustRun(c.options())
			before := c.published()
			words := disturb(c)
			_, _, err := c.run(c.options())
			if diag.KindOf(err) != diag.Refused || !strings.Contains(err.Error(), service+"'s checker refuses") || !strings.Contains(err.Error(), words) {
				t.Errorf("got %v, want the words %q", err, words)
			}
			for _, name := range differing(before, c.published()) {
				if strings.HasPrefix(name, service+"/") {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}

func TestAMissingChecker(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.check]\npostfix = []", "[genmaps.check]\npostfix = [\"no-such-postmap\"]", 1)
	_, _, err := c.run(c.options())
	if diag.KindOf(err) != diag.Unavailable || !strings.Contains(diag.HintOf(err), "genmaps.check.postfix = []") {
		t.Errorf("got %v, hint %q", err, diag.HintOf(err))
	}
	o := c.options()
	o.Output = c.path("preview")
	_, stderr := c.mustRun(o)
	if !strings.Contains(stderr, "postfix's maps are not checked") {
		t.Errorf("a preview said %q", stderr)
	}
}

// Each format is what Postfix's own postmap reads; the publisher asks it for sampled keys.
func TestFormats(t *testing.T) {
	postmap := need.Program(t, "postmap")
	need.File(t, "/etc/postfix/main.cf")
	for format, table := range map[string]string{"cdb": "cdb:", "texthash": "texthash:", "hash": "hash:", "lmdb": "lmdb:"} {
		t.Run(format, func(t *testing.T) {
			c := newCollective(t)
			checked(t, c)
			c.config += "[genmaps.postfix]\nformat = \"" + format + "\"\nsmall-format = \"" + format + "\"\n"
			c.mustRun(c.options())
			for _, q := range [][3]string{
				{"mailboxes", "user003@example.org", "n2_n1"},
				{"aliases", "alias003@example.org", "user003@example.org"},
				{"placements", "n2_n1", "lmtp:inet:[10.77.0.2]:24"},
			} {
				out, err := exec.Command(postmap, "-q", q[1], table+c.path("maps/postfix/"+q[0])).CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != q[2] {
					t.Errorf("%s of %s: %q, %v", q[1], q[0], out, err)
				}
			}
			c.setState("n2", "out")
			c.run(c.options())
			out, _ := exec.Command(postmap, "-q", "n2_n1", table+c.path("maps/postfix/placements")).CombinedOutput()
			if strings.TrimSpace(string(out)) != "lmtp:inet:[10.77.0.1]:24" {
				t.Errorf("after a change: %q", out)
			}
		})
	}
}

func TestAFailedReloadIsTriedAgain(t *testing.T) {
	c := newCollective(t)
	c.config = strings.Replace(c.config, "[genmaps.reload]\npostfix = []", "[genmaps.reload]\npostfix = [[\"test\", \"-e\", \""+c.path("running")+"\"]]", 1)
	for range 2 {
		_, _, err := c.run(c.options())
		if diag.KindOf(err) != diag.Failed || !strings.Contains(err.Error(), "the new maps are in place, but postfix was not told") {
			t.Errorf("got %v", err)
		}
	}
	if c.published()["postfix/placements.cdb"] == "" {
		t.Error("the maps are not in place")
	}
	c.write("running", "")
	c.mustRun(c.options())
	o := c.options()
	o.JSON = true
	if stdout, _ := c.mustRun(o); !strings.Contains(stdout, `"unchanged": true`) {
		t.Errorf("it is told again and again: %s", stdout)
	}
}

func TestReloadsOnlyWhatNeedsOne(t *testing.T) {
	c := newCollective(t)
	told := "[[\"sh\", \"-c\", \"echo $0 >>" + c.path("told") + "\", "
	c.config = strings.Split(c.config, "[genmaps.reload]")[0] + "[genmaps.reload]\n"
	for _, service := range services() {
		c.config += service + " = " + told + "\"" + service + "\"]]\n"
	}
	toldAfter := func() string {
		os.Remove(c.path("told"))
		c.run(c.options())
		text, _ := os.ReadFile(c.path("told"))
		return strings.Join(strings.Fields(string(text)), " ")
	}
	if got := toldAfter(); got != "apache dns dovecot postfix" {
		t.Errorf("first run told %q", got)
	}
	c.edit("alias007@", "seven@")
	if got := toldAfter(); got != "" {
		t.Errorf("new rows in a table that Postfix watches: told %q", got)
	}
	c.setState("n2", "out")
	if got := toldAfter(); got != "postfix dns" { // Postfix before the users are read
		t.Errorf("a node out: told %q", got)
	}
}
