package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build makes the rp-* programs in dir, for Config.Programs.
func Build(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "rplan/cmd/...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building rplan: %w: %s", err, out)
	}
	return nil
}

// installPrograms puts rplan itself in place.
func (n *Node) installPrograms(context.Context) error {
	programs, err := filepath.Glob(filepath.Join(n.lab.config.Programs, "rp-*"))
	if err != nil {
		return err
	}
	for _, program := range programs {
		text, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.Path("/usr/local/bin/"+filepath.Base(program)), text, 0o755); err != nil {
			return err
		}
	}
	config := fmt.Sprintf(`node = %q

[network]
nodes-domain   = %q
contact-domain = %q

[directory]
urls = ["ldapi:///"]
base = %q

[genmaps.ssh]
command = "/usr/local/bin/rp-failover"

[genmaps.dns]
server  = "knot"
contact = "hostmaster@%s"
`, n.Name, NodesDomain, ContactDomain, BaseDN, Domain)
	return errors.Join(n.Write("/etc/rplan/rplan.toml", config), n.Write(firstConfig, config+`
[genmaps.reload]
postfix = []
dovecot = []
apache  = []
dns     = []
`))
}

// firstConfig is for the maps that the servers need to start: none runs yet to be told of them.
const firstConfig = "/etc/rplan/first.toml"

func (n *Node) firstMaps(ctx context.Context) error {
	_, err := n.Genmaps(ctx, "--config", firstConfig)
	return err
}

// Genmaps runs rp-genmaps on the node and returns what it printed.
func (n *Node) Genmaps(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, append([]string{"rp-genmaps"}, args...)...)
}
