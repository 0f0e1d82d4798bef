package source

import (
	"maps"
	"os"
	"path/filepath"
	"strings"

	"rplan/lib/conf"
	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Configuration is what all commands take from rplan.toml.
type Configuration struct {
	Node      string // that this machine is, in lower case
	Network   directory.Network
	Directory Settings
}

// Configure reads it from the file at path, together with the sections that are
// one command's own, as conf.Load takes them. Its errors are of kind diag.Config.
func Configure(path string, own map[string]any) (*Configuration, error) {
	c := &Configuration{Directory: Defaults()}
	var network struct {
		NodesDomain   string `toml:"nodes-domain"`
		ContactDomain string `toml:"contact-domain"`
	}
	sections := map[string]any{"node": &c.Node, "network": &network, "directory": &c.Directory}
	maps.Copy(sections, own)
	if err := conf.Load(path, sections); err != nil {
		return nil, err
	}
	if network.NodesDomain == "" {
		return nil, diag.Config.Errorf("%s: network.nodes-domain is missing", path).
			WithHint("it is the domain of the nodes' public names: with \"nodes.example.net\", node n1 is n1.nodes.example.net")
	}
	c.Network = directory.Network{NodesDomain: strings.ToLower(network.NodesDomain), ContactDomain: strings.ToLower(network.ContactDomain)}
	if err := c.Network.Check(); err != nil {
		return nil, diag.Config.Errorf("%s: %w", path, err)
	}
	Beside(path, c.Directory.URLs)
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, diag.Config.Errorf("finding this node's name: %w", err).WithHint("set node in rplan.toml")
		}
		c.Node, _, _ = strings.Cut(host, ".")
	}
	c.Node = strings.ToLower(c.Node)
	return c, nil
}

// Beside lets ldif: files among the URLs begin at the directory that the configuration is in.
func Beside(path string, urls []string) {
	for i, url := range urls {
		if file, ok := strings.CutPrefix(url, "ldif:"); ok && file != "" && !filepath.IsAbs(file) {
			urls[i] = "ldif:" + filepath.Join(filepath.Dir(path), file)
		}
	}
}
