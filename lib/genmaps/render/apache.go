package render

import (
	"bytes"
	"embed"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"rplan/lib/directory"
)

// The configuration is written as templates, so that it can be read as what it is.
//
//go:embed apache/*.conf
var apacheFiles embed.FS

var apacheTemplates = template.Must(template.ParseFS(apacheFiles, "apache/*.conf"))

// Apache makes the configuration of this node's Apache and the maps that it
// asks at each request. A node's state is in no other file than placements
// and mirrors.
//
// The files refer to each other by ${RPLAN_MAPS}, which contrib/apache/rplan.conf
// defines unless the command line has done so. Staged files are therefore
// checked by
//
//	apache2ctl -t -C "Define RPLAN_MAPS STAGED"
//
// which notices a missing file or map and every error of syntax, though not a
// DBM file of garbage. A missing document root is only a warning on stderr.
func Apache(in *Input) []File {
	c := newApacheConf(in)
	return []File{
		c.sitesMap,
		{Service: "apache", Name: "placements", Format: TextMap, Rows: sortedRows(apachePlacements(in.Snapshot)), Urgent: true},
		{Service: "apache", Name: "mirrors", Format: TextMap, Rows: sortedRows(apacheMirrors(in.Snapshot)), Urgent: true},
		c.document("privacy.conf"),
		c.document("visitor.conf"),
		c.document("handover.conf"),
		c.document("route.conf"),
		c.document("vhosts.conf"),
		c.document("rplan.conf"),
	}
}

// apacheConf is what the templates are filled with.
type apacheConf struct {
	Node                string // this node
	PublicName          string // this node's name to the world
	NodesDomain         string
	Root, Challenges    string
	VPN                 netip.AddrPort
	VPNPort             int
	TLS                 bool   // there is a certificate here
	CertificateStamp    string // changes when one is renewed
	FallbackCertificate string // directory of the one for host names that have none
	NodeNames           string // those of all web nodes, joined with "|"
	Sorry               string // what a visitor reads when no node is usable
	SitesMap            string // type and file, as RewriteMap wants it
	Others              []apacheNode
	Sites               []apacheSite
	HTTP, HTTPS         apachePort

	sitesMap File
}

type apacheNode struct {
	Name string
	VPN  netip.AddrPort
}

// apachePort is where visitors by one scheme come in.
type apachePort struct {
	Port   int
	scheme int // the port of URLs that name none
}

// PortSuffix is ":PORT" where a URL needs it.
func (p apachePort) PortSuffix() string {
	if p.Port == p.scheme {
		return ""
	}
	return ":" + strconv.Itoa(p.Port)
}

// NodesPattern is a regular expression for NodesDomain.
func (c *apacheConf) NodesPattern() string { return regexp.QuoteMeta(c.NodesDomain) }

// PublicPattern is a regular expression for PublicName.
func (c *apacheConf) PublicPattern() string { return regexp.QuoteMeta(c.PublicName) }

func newApacheConf(in *Input) *apacheConf {
	settings := in.Settings.Apache
	port := uint16(settings.VPNPort)
	c := &apacheConf{
		Node:        in.Self.Name,
		PublicName:  in.Self.Name + "." + in.Network.NodesDomain,
		NodesDomain: in.Network.NodesDomain,
		Root:        settings.Root,
		Challenges:  settings.Challenges,
		VPN:         netip.AddrPortFrom(in.Self.VPN, port),
		VPNPort:     settings.VPNPort,
		Sorry:       "This site is out of service for the moment. Please try again in a few minutes.",
	}
	var names []string
	for _, n := range in.Snapshot.Nodes {
		if !servesWeb(&n) {
			continue
		}
		names = append(names, n.Name)
		if n.Name != c.Node {
			c.Others = append(c.Others, apacheNode{n.Name, netip.AddrPortFrom(n.VPN, port)})
		}
	}
	c.NodeNames = strings.Join(names, "|")
	c.Sites = apacheSites(in)
	c.FallbackCertificate = fallbackCertificate(in, c)
	c.TLS = c.FallbackCertificate != ""
	c.CertificateStamp = in.Local.CertificateStamp
	c.HTTP = apachePort{settings.HTTPPort, 80}
	c.HTTPS = apachePort{settings.HTTPSPort, 443}
	c.sitesMap, c.SitesMap = apacheSitesMap(in.Snapshot)
	return c
}

// fallbackCertificate is shown to visitors of host names without one: the
// node's own, or else that of any site, because without such a virtual host
// they would be shown that site.
func fallbackCertificate(in *Input, c *apacheConf) string {
	if in.Local.Certificates[c.PublicName] {
		return in.Settings.Apache.Certificates + "/" + c.PublicName
	}
	for _, site := range c.Sites {
		if site.Certificate != "" {
			return site.Certificate
		}
	}
	return ""
}

// servesWeb says whether Apache runs on a node.
func servesWeb(n *directory.Node) bool {
	return n.Roles.Has(directory.Web) || n.Roles.Has(directory.Mirror)
}

func (c *apacheConf) document(name string) File {
	var text bytes.Buffer
	if err := apacheTemplates.ExecuteTemplate(&text, name, c); err != nil {
		panic(err) // a template that does not fit the types above
	}
	numbered := bytes.NewBufferString(numberSkips(text.String()))
	return document("apache", name, numbered)
}

// numberSkips replaces each REST in a flag S=REST by the number of rules below it.
func numberSkips(conf string) string {
	const rule, skip = "\nRewriteRule ", "S=REST"
	for {
		before, after, found := strings.Cut(conf, skip)
		if !found {
			return conf
		}
		conf = before + "S=" + strconv.Itoa(strings.Count(after, rule)) + after
	}
}

// apacheSite is a site with a virtual host on this node.
type apacheSite struct {
	Name        string
	Mode        directory.Mode
	Aliases     string // host names beside Name, with blanks between them
	Hosts       []string
	Placement   string // key in the map placements
	Nodes       string // for the reader
	Root        string // absolute
	Here        bool   // its files are on this node
	HandedOver  bool   // other nodes send visitors' requests for it here
	Certificate string // directory, or ""
}

func apacheSites(in *Input) []apacheSite {
	var sites []apacheSite
	for i := range in.Snapshot.Sites {
		s := &in.Snapshot.Sites[i]
		site := apacheSite{
			Name:       s.Name,
			Mode:       s.Mode,
			Hosts:      s.Hosts(),
			Placement:  placementKey(s),
			Root:       in.Settings.Apache.Root + "/" + s.Root,
			Here:       keepsSite(in.Self, s),
			HandedOver: s.Mode == directory.Proxy || s.Mode == directory.Application || s.Mode == directory.Everywhere,
		}
		if s.Placement != nil {
			site.Nodes = s.Placement.Name
		}
		if in.Local.Certificates[s.Name] {
			site.Certificate = in.Settings.Apache.Certificates + "/" + s.Name
		}
		if !site.Here && site.Certificate == "" {
			continue
		}
		aliases := s.Aliases
		if site.Here && !site.HandedOver {
			aliases = append(slices.Clone(aliases), s.Name+"."+in.Self.Name+"."+in.Network.NodesDomain)
		}
		site.Aliases = strings.Join(aliases, " ")
		sites = append(sites, site)
	}
	return sites
}

// keepsSite says whether the files of a site are on a node.
func keepsSite(n *directory.Node, s *directory.Site) bool {
	switch s.Mode {
	case directory.Everywhere:
		return n.Roles.Has(directory.Web)
	case directory.Mirrored:
		return n.Roles.Has(directory.Mirror)
	default:
		return slices.Contains(s.Placement.Nodes, n.Name)
	}
}
