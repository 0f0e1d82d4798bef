package failover

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/conf"
	"rplan/lib/diag"
	"rplan/lib/source"
)

// Settings are the keys of rplan.toml's [failover].
type Settings struct {
	WriteURLs         []string      `toml:"write-urls"`          // where the provider is
	AdminDN           string        `toml:"admin-dn"`            // who writes; "" is SASL EXTERNAL as root on ldapi
	AdminPasswordFile string        `toml:"admin-password-file"` // without it the password is asked for
	Hooks             string        `toml:"hooks"`               // executables that are run around each change
	State             string        `toml:"state"`               // what rp-failover remembers
	Home              string        `toml:"home"`                // of a mailbox, with Dovecot's %u, %n and %d
	Mail              string        `toml:"mail"`                // Dovecot's mail directory below home
	Mounts            []string      `toml:"mounts"`              // must be mount points on a node that comes in
	MinInterval       time.Duration `toml:"min-interval"`        // between two changes of one node
	Overlap           time.Duration `toml:"overlap"`             // after a change of state, in which users may be at work on two nodes
	MaxLag            time.Duration `toml:"max-lag"`             // of a node's replica
	MaxClock          time.Duration `toml:"max-clock"`           // difference between two nodes' clocks
	MinFree           conf.Percent  `toml:"min-free"`            // of the disks of who takes over
	Jobs              int           `toml:"jobs"`                // mailboxes that are merged at a time
	SSHKey            string        `toml:"ssh-key"`             // this node's identity to other nodes
	SSHPort           int           `toml:"ssh-port"`            // of their sshd
	Genmaps           string        `toml:"genmaps"`             // what "serve maps" runs
}

// Defaults are the settings of an rplan.toml without [failover].
func Defaults() Settings {
	return Settings{
		WriteURLs:   []string{"ldapi:///"},
		Hooks:       "/etc/rplan/failover.d",
		State:       "/var/lib/rplan/failover",
		Home:        "/var/vmail/%d/%n",
		Mail:        "mail",
		MinInterval: 10 * time.Minute,
		Overlap:     10 * time.Minute,
		MaxLag:      time.Minute,
		MaxClock:    5 * time.Second,
		MinFree:     10,
		Jobs:        4,
		SSHKey:      "/etc/ssh/ssh_host_ed25519_key",
		SSHPort:     22,
		Genmaps:     "rp-genmaps",
	}
}

// maxJobs is more merges at a time than any node can bear.
const maxJobs = 256

// complete checks what no type does.
func (s *Settings) complete() error {
	if len(s.WriteURLs) == 0 {
		return diag.Config.Errorf("failover.write-urls: there is none").WithHint("the slapd of this machine is \"ldapi:///\"")
	}
	for _, url := range s.WriteURLs {
		if !slices.ContainsFunc([]string{"ldapi://", "ldap://", "ldaps://", "ldif:"}, func(p string) bool { return strings.HasPrefix(url, p) }) {
			return diag.Config.Errorf("failover.write-urls: %q is no URL of a directory", url).
				WithHint("ldapi:///, ldaps://HOST[:PORT] or ldap://HOST[:PORT]")
		}
	}
	if s.AdminPasswordFile != "" && s.AdminDN == "" {
		return diag.Config.Errorf("failover.admin-password-file: it is of no use without failover.admin-dn")
	}
	if s.Jobs < 1 || s.Jobs > maxJobs {
		return diag.Config.Errorf("failover.jobs %d is not a number from 1 to %d", s.Jobs, maxJobs)
	}
	if s.SSHPort < 1 || s.SSHPort > 65535 {
		return diag.Config.Errorf("failover.ssh-port %d is not a port, 1 to 65535", s.SSHPort)
	}
	return errors.Join(s.checkPaths(), s.checkTimes())
}

func (s *Settings) checkPaths() error {
	for _, p := range []struct{ key, path string }{{"hooks", s.Hooks}, {"state", s.State}, {"ssh-key", s.SSHKey}} {
		if !plainPath(p.path) {
			return diag.Config.Errorf("failover.%s %q is not an absolute path without blanks and control characters", p.key, p.path)
		}
	}
	for _, path := range s.Mounts {
		if !plainPath(path) {
			return diag.Config.Errorf("failover.mounts: %q is not an absolute path without blanks and control characters", path)
		}
	}
	if strings.Contains(s.Genmaps, "/") && !plainPath(s.Genmaps) || !inPath.MatchString(s.Genmaps) {
		return diag.Config.Errorf("failover.genmaps %q is neither a program's name nor its absolute path", s.Genmaps)
	}
	if !plainPath(s.Home) || !ofOneUser(s.Home) {
		return diag.Config.Errorf("failover.home %q is not one directory for each address", s.Home).
			WithHint("write %%u for the address, or %%n and %%d for what is before and behind its @, as in Dovecot's mail_home")
	}
	if s.Mail == "" || !filepath.IsLocal(s.Mail) || !inPath.MatchString(s.Mail) {
		return diag.Config.Errorf("failover.mail %q is not a directory below home", s.Mail)
	}
	return nil
}

func (s *Settings) checkTimes() error {
	for _, t := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{{"min-interval", s.MinInterval, 0}, {"overlap", s.Overlap, 0}, {"max-lag", s.MaxLag, time.Second}, {"max-clock", s.MaxClock, time.Millisecond}} {
		if t.value < t.least {
			return diag.Config.Errorf("failover.%s %q is less than %s", t.key, t.value, t.least)
		}
	}
	return nil
}

// inPath is what a path may hold that other programs are given.
var inPath = regexp.MustCompile(`^[!#-&(-~]+$`)

func plainPath(path string) bool {
	return filepath.IsAbs(path) && inPath.MatchString(path)
}

// ofOneUser says whether a home, filled in, differs between any two addresses.
func ofOneUser(home string) bool {
	letters := map[string]bool{}
	for rest := home; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		if after == "" || !strings.ContainsAny(after[:1], "und") {
			return false
		}
		letters[after[:1]] = true
		rest = after[1:]
	}
	return letters["u"] || letters["n"] && letters["d"]
}

// configuration is all that a run takes from rplan.toml.
type configuration struct {
	*source.Configuration
	path     string
	failover Settings
	genmaps  map[string]any // of rp-genmaps
}

// makeState makes the state directory. What is above it other services pass through, to the maps.
func (c *configuration) makeState() error {
	if err := atomicfile.MkdirAll(c.failover.State, 0o700); err != nil {
		return fmt.Errorf("making failover.state: %w", err)
	}
	return nil
}

func loadConfiguration(path string) (*configuration, error) {
	c := &configuration{path: path, failover: Defaults(), genmaps: map[string]any{"output": "/var/lib/rplan/maps"}}
	var err error
	if c.Configuration, err = source.Configure(path, map[string]any{"failover": &c.failover}); err != nil {
		return nil, err
	}
	_ = conf.Load(path, map[string]any{"genmaps": &c.genmaps}) // is not this program's to judge
	source.Beside(path, c.failover.WriteURLs)
	if err := c.failover.complete(); err != nil {
		return nil, diag.Config.Errorf("%s: %w", path, err)
	}
	return c, nil
}
