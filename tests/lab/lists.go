package lab

import (
	"context"
	"path"
	"strings"
)

// installLists makes the mlmmj lists that are active on the node, with carol as their only member.
func (n *Node) installLists(ctx context.Context) error {
	for _, list := range lists {
		if list.Manager != "mlmmj" || list.Active != n.Name {
			continue
		}
		local, domain, _ := strings.Cut(list.Address, "@")
		spool := path.Join("/var/spool/mlmmj", domain)
		if _, err := n.RunInput(ctx, domain+"\nalice@"+Domain+"\nen\nn\n",
			"setpriv", "--reuid=list", "--regid=list", "--clear-groups", "/usr/bin/mlmmj-make-ml", "-L", local, "-s", spool); err != nil {
			return err
		}
		if _, err := n.Run(ctx, "setpriv", "--reuid=list", "--regid=list", "--clear-groups",
			"/usr/bin/mlmmj-sub", "-L", path.Join(spool, local), "-a", "carol@"+Domain, "-s"); err != nil {
			return err
		}
	}
	return nil
}
