package genmaps

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"rplan/lib/conf"
	"rplan/lib/diag"
	"rplan/lib/genmaps/render"
	"rplan/lib/source"
)

// Settings are the keys of rplan.toml's [genmaps].
type Settings struct {
	Output      string                `toml:"output"`        // the maps directory
	MaxLoss     conf.Percent          `toml:"max-loss"`      // share of a map's rows that a run may remove
	MaxLossRows int                   `toml:"max-loss-rows"` // and how many are always allowed
	ZoneExtras  string                `toml:"zone-extras"`   // DIR/DOMAIN: records kept by hand
	Reload      map[string][][]string `toml:"reload"`        // commands by service, each an argv
	Check       map[string][]string   `toml:"check"`         // argv by service; {maps}, {zone}, {file} are filled in
	Group       map[string]string     `toml:"group"`         // who may read a service's maps, by service
	render.Settings
}

func defaults() Settings {
	return Settings{
		Output:      "/var/lib/rplan/maps",
		MaxLoss:     10,
		MaxLossRows: 10,
		ZoneExtras:  "/etc/rplan/zones",
		Settings:    render.Defaults(),
	}
}

// byServer are the commands of the DNS servers that rplan knows.
var byServer = map[string]struct {
	check  []string
	reload [][]string
	group  string
}{
	"knot": {[]string{"kzonecheck", "-v", "-o", "{zone}", "{file}"}, [][]string{{"knotc", "reload"}}, "knot"},
	"bind": {[]string{"named-checkzone", "-i", "local", "{zone}", "{file}"}, [][]string{{"rndc", "reload"}}, "bind"},
	"nsd":  {[]string{"nsd-checkzone", "{zone}", "{file}"}, [][]string{{"nsd-control", "reconfig"}, {"nsd-control", "reload"}}, "nsd"},
}

// complete fills in the commands that the file left out and checks what no type does.
func (s *Settings) complete() error {
	dns, known := byServer[s.DNS.Server]
	if !known {
		return diag.Config.Errorf("genmaps.dns.server %q is not one of bind, knot, nsd", s.DNS.Server)
	}
	for _, format := range []string{s.Postfix.Format, s.Postfix.SmallFormat} {
		if !slices.Contains([]string{"cdb", "lmdb", "hash", "texthash"}, format) {
			return diag.Config.Errorf("genmaps.postfix: format %q is not one of cdb, hash, lmdb, texthash", format)
		}
	}
	if !slices.Contains([]string{"2.3", "2.4"}, s.Dovecot.Version) {
		return diag.Config.Errorf("genmaps.dovecot.version %q is not one of 2.3, 2.4", s.Dovecot.Version)
	}
	for key, path := range map[string]string{
		"output": s.Output, "zone-extras": s.ZoneExtras, "apache.root": s.Apache.Root,
		"apache.certificates": s.Apache.Certificates, "apache.challenges": s.Apache.Challenges,
	} {
		if !usablePath(path) {
			return diag.Config.Errorf("genmaps.%s %q is not an absolute path without blanks, quotes and signs", key, path)
		}
	}
	if !plainPath.MatchString(s.SSH.Command) {
		return diag.Config.Errorf("genmaps.ssh.command %q is not an absolute path of letters, digits and / . _ + -", s.SSH.Command)
	}
	s.Check = over(map[string][]string{
		"postfix": {"postmap"},
		"dovecot": {"doveconf", "-n", "-c", "{maps}/node.conf"},
		"apache":  {"apache2ctl", "-t", "-C", "Define RPLAN_MAPS {maps}"},
		"dns":     dns.check,
	}, s.Check)
	if !s.DNS.Whole && s.DNS.Server == "knot" {
		dns.reload = [][]string{{"knotc", "zone-reload"}} // reload does not look into included files
	}
	s.Reload = over(map[string][][]string{
		"postfix": {{"postfix", "reload"}},
		"dovecot": {{"doveadm", "reload"}},
		"apache":  {{"systemctl", "try-reload-or-restart", "apache2"}}, // apache2ctl graceful would start it
		"dns":     dns.reload,
	}, s.Reload)
	s.Group = over(map[string]string{"postfix": "postfix", "dovecot": "dovecot", "apache": "www-data", "dns": dns.group, "ssh": "root"}, s.Group)
	named := slices.Concat(slices.Collect(maps.Keys(s.Check)), slices.Collect(maps.Keys(s.Reload)), slices.Collect(maps.Keys(s.Group)))
	for _, service := range slices.Sorted(slices.Values(named)) {
		if !slices.Contains(services(), service) {
			return diag.Config.Errorf("genmaps: %q is not a service; they are %s", service, strings.Join(services(), ", "))
		}
	}
	for service, commands := range s.Reload {
		if slices.ContainsFunc(commands, func(argv []string) bool { return len(argv) == 0 }) {
			return diag.Config.Errorf("genmaps.reload.%s has an empty command", service).WithHint("[] is no command at all")
		}
	}
	return s.checkNumbers()
}

// plainPath is one that a shell takes for nothing else: sshd gives its command to one.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+-]+$`)

// usablePath says whether a path can be written into the services' configurations.
func usablePath(path string) bool {
	return filepath.IsAbs(path) && !strings.ContainsAny(path, "\x00\t\r\n \"'\\$%{};#")
}

func (s *Settings) checkNumbers() error {
	for key, port := range map[string]int{
		"lmtp-port": s.LMTPPort, "postfix.mlmmj-port": s.Postfix.MlmmjPort, "postfix.mailman3-port": s.Postfix.Mailman3Port,
		"dovecot.imap-port": s.Dovecot.IMAPPort, "dovecot.copies-port": s.Dovecot.CopiesPort, "apache.http-port": s.Apache.HTTPPort,
		"apache.https-port": s.Apache.HTTPSPort, "apache.vpn-port": s.Apache.VPNPort, "ssh.port": s.SSH.Port,
	} {
		if port < 1 || port > 65535 {
			return diag.Config.Errorf("genmaps.%s %d is not a port, 1 to 65535", key, port)
		}
	}
	if s.DNS.TTL < 1 || s.DNS.TTL > 86400 {
		return diag.Config.Errorf("genmaps.dns.ttl %d is not a number of seconds, 1 to 86400", s.DNS.TTL)
	}
	if s.MaxLossRows < 0 {
		return diag.Config.Errorf("genmaps.max-loss-rows %d is less than none", s.MaxLossRows)
	}
	return nil
}

func over[V any](base, given map[string]V) map[string]V {
	for service, value := range given {
		base[service] = value
	}
	return base
}

func services() []string {
	var all []string
	for _, r := range render.All {
		all = append(all, r.Service)
	}
	return all
}

// configuration is all that a run takes from rplan.toml.
type configuration struct {
	*source.Configuration
	genmaps Settings
}

func loadConfiguration(path string) (*configuration, error) {
	c := &configuration{genmaps: defaults()}
	var err error
	if c.Configuration, err = source.Configure(path, map[string]any{"genmaps": &c.genmaps}); err != nil {
		return nil, err
	}
	if err := c.genmaps.complete(); err != nil {
		return nil, diag.Config.Errorf("%s: %w", path, err)
	}
	return c, nil
}
