package render

// Settings are the parts of rplan.toml's [genmaps] that shape files. The
// keys are documented in rplan.toml(5).
type Settings struct {
	LMTPPort int             `toml:"lmtp-port"` // of Dovecot, on each node's VPN address
	Postfix  PostfixSettings `toml:"postfix"`
	Dovecot  DovecotSettings `toml:"dovecot"`
	Apache   ApacheSettings  `toml:"apache"`
	DNS      DNSSettings     `toml:"dns"`
	SSH      SSHSettings     `toml:"ssh"`
}

// PostfixSettings say how Postfix finds its maps and the others.
type PostfixSettings struct {
	Format       string `toml:"format"`        // of the big maps: cdb, lmdb, hash or texthash
	SmallFormat  string `toml:"small-format"`  // of those that change with a node's state
	MlmmjPort    int    `toml:"mlmmj-port"`    // of the Postfix listener that feeds mlmmj
	Mailman3Port int    `toml:"mailman3-port"` // of Mailman's LMTP server
}

// DovecotSettings are the ports that Dovecot has on the node's VPN address, and its dialect.
type DovecotSettings struct {
	IMAPPort   int    `toml:"imap-port"`   // logins handed over by other nodes
	CopiesPort int    `toml:"copies-port"` // second copies of mail
	Version    string `toml:"version"`     // whose configuration node.conf is in: 2.3 or 2.4
}

// ApacheSettings are the places of Apache on each node.
type ApacheSettings struct {
	Root         string `toml:"root"`         // document roots of the sites lie below it
	Certificates string `toml:"certificates"` // DIR/NAME/fullchain.pem and privkey.pem
	Challenges   string `toml:"challenges"`   // DIR/TOKEN: ACME http-01 answers
	HTTPPort     int    `toml:"http-port"`
	HTTPSPort    int    `toml:"https-port"`
	VPNPort      int    `toml:"vpn-port"` // on the VPN address: requests handed over by other nodes
}

// DNSSettings shape the zones.
type DNSSettings struct {
	Server  string `toml:"server"` // knot, bind or nsd: whose configuration lists the zones
	Whole   bool   `toml:"whole"`  // whole zones; else only the records, for the admin's own zones to include
	TTL     int    `toml:"ttl"`    // seconds
	Contact string `toml:"contact"`
}

// SSHSettings say how a node runs a command on another.
type SSHSettings struct {
	Command string `toml:"command"` // the program that sshd runs for other nodes, whatever they ask for
	Port    int    `toml:"port"`    // of sshd, on each node's VPN address
}

// Defaults are the settings of a node whose rplan.toml says nothing of them.
func Defaults() Settings {
	return Settings{
		LMTPPort: 24,
		Postfix:  PostfixSettings{Format: "cdb", SmallFormat: "cdb", MlmmjPort: 10026, Mailman3Port: 8024},
		Dovecot:  DovecotSettings{IMAPPort: 10143, CopiesPort: 10024, Version: "2.3"},
		Apache: ApacheSettings{
			Root: "/srv/www", Certificates: "/etc/letsencrypt/live", Challenges: "/var/lib/rplan/acme",
			HTTPPort: 80, HTTPSPort: 443, VPNPort: 8080,
		},
		DNS: DNSSettings{Server: "knot", Whole: true, TTL: 120},
		SSH: SSHSettings{Command: "/usr/sbin/rp-failover", Port: 22},
	}
}
