package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// SSH between the nodes, from contrib/ssh.

// hostKey is what a node's sshd shows, and what the node shows to others.
const hostKey = "/etc/ssh/ssh_host_ed25519_key"

// makeHostKey gives a node a host key of its own in place of the machine's.
func (n *Node) makeHostKey(ctx context.Context) error {
	_, err := n.Run(ctx, "/bin/sh", "-ec", "mkdir -p /etc/ssh; rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f "+hostKey)
	return err
}

// hostKeys are the public host keys of all nodes, in their order.
func (l *Lab) hostKeys() ([]string, error) {
	var keys []string
	for _, n := range l.Nodes {
		text, err := n.Read(hostKey + ".pub")
		if err != nil {
			return nil, err
		}
		keys = append(keys, strings.TrimSpace(text))
	}
	return keys, nil
}

// installSSH adds contrib/ssh to Debian's sshd_config. The home of root is
// emptied of what whoever runs the lab has in it: their shell's start would be
// part of each command, and their keys would open the nodes.
func (n *Node) installSSH(ctx context.Context) error {
	_, err := n.Run(ctx, "/bin/sh", "-ec", "rm -rf /root/.ssh /etc/ssh/sshd_config.d; : >/root/.bashrc; : >/root/.profile")
	return errors.Join(err, n.install("ssh/rplan.conf", "/etc/ssh/sshd_config.d/rplan.conf", nil),
		n.Write("/etc/ssh/sshd_config.d/lab.conf", fmt.Sprintf("ListenAddress %s\n", n.VPN)))
}

func (n *Node) startSSHD(ctx context.Context) error {
	if _, err := n.Run(ctx, "/bin/sh", "-ec", "mkdir -p -m 755 /run/sshd; exec /usr/sbin/sshd"); err != nil {
		return err
	}
	return n.await(ctx, n.VPN, "22")
}
