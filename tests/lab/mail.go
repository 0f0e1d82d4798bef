package lab

import (
	"context"
	"strings"
)

// Mail, from contrib/postfix and contrib/dovecot.

// installMail puts the configuration of Postfix and Dovecot in place.
func (n *Node) installMail(ctx context.Context) error {
	const first = "n1." + NodesDomain // whom the shipped files are for
	for _, file := range []struct {
		name, to string
		edit     *strings.Replacer
	}{
		{"postfix/main.cf", "/etc/postfix/main.cf", strings.NewReplacer(first, n.host())},
		{"postfix/master.cf", "/etc/postfix/master.cf", strings.NewReplacer(nodeVPN(0).String(), n.VPN.String())},
		{"dovecot/dovecot.conf", "/etc/dovecot/dovecot.conf", nil},
		{"dovecot/rplan-ldap.conf.ext", "/etc/dovecot/rplan-ldap.conf.ext", strings.NewReplacer(NodeDN("n1"), NodeDN(n.Name), "REPLACE-ME", Password(n.Name))},
	} {
		if err := n.install(file.name, file.to, file.edit); err != nil {
			return err
		}
	}
	_, err := n.Run(ctx, "/bin/sh", "-ec", `
		chmod 600 /etc/dovecot/rplan-ldap.conf.ext
		id vmail >/dev/null 2>&1 || useradd --system --home-dir /var/vmail --shell /usr/sbin/nologin vmail
		install -d -o vmail -g vmail -m 700 /var/vmail
		install -d -o list -g list /var/spool/mlmmj
		postfix post-install create-missing`)
	return err
}

func (n *Node) startDovecot(ctx context.Context) error {
	if _, err := n.Run(ctx, "dovecot"); err != nil {
		return err
	}
	return n.await(ctx, n.Public[0], "993")
}

func (n *Node) startPostfix(ctx context.Context) error {
	if _, err := n.Run(ctx, "postfix", "start"); err != nil {
		return err
	}
	return n.await(ctx, n.Public[0], "25")
}
