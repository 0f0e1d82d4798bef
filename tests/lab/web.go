package lab

import (
	"context"
	"fmt"
	"os"
	"path"
)

// The web and DNS servers, from contrib/apache and contrib/dns.

// certificates is where rp-genmaps looks for them, in certbot's layout.
const certificates = "/etc/letsencrypt/live"

// installWeb puts Apache's configuration and the pages and certificates of all sites on the node.
func (n *Node) installWeb(ctx context.Context) error {
	if err := n.install("apache/rplan.conf", "/etc/apache2/conf-available/zz-rplan.conf", nil); err != nil {
		return err
	}
	names := []string{n.host()}
	for _, site := range Sites() {
		names = append(names, site.Host)
		// Each page says which node has served it, which in a real collective it would not.
		for _, page := range []string{"index.html", "page"} {
			text := fmt.Sprintf("%s of %s on %s\n", page, site.Host, n.Name)
			if err := n.Write(path.Join("/srv/www", site.Host, page), text); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := n.certify(path.Join(certificates, name)); err != nil {
			return err
		}
	}
	_, err := n.Run(ctx, "/bin/sh", "-ec", `
		a2enmod -q rewrite proxy_http headers ssl
		a2dismod -qf status
		a2dissite -q 000-default
		a2disconf -q other-vhosts-access-log
		a2enconf -q zz-rplan
		mkdir -p /var/lib/rplan/acme /etc/rplan/apache`)
	return err
}

// certify copies the lab's certificate to a directory of certbot's layout.
func (n *Node) certify(dir string) error {
	if err := os.MkdirAll(n.Path(dir), 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{"cert.pem": "fullchain.pem", "key.pem": "privkey.pem"} {
		text, err := n.Read(tlsDir + from)
		if err == nil {
			err = n.Write(path.Join(dir, to), text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) startApache(ctx context.Context) error {
	if _, err := n.Run(ctx, "apachectl", "start"); err != nil {
		return err
	}
	return n.await(ctx, n.Public[0], "80", "443")
}

// installDNS adds what contrib/dns says to Debian's knot.conf.
func (n *Node) installDNS(ctx context.Context) error {
	if err := n.install("dns/knot.conf", "/etc/knot/rplan.conf", nil); err != nil {
		return err
	}
	_, err := n.Run(ctx, "/bin/sh", "-ec", `
		cd /etc/knot
		sed -i 's/^#* *listen: .*/    listen: [ 0.0.0.0@53, ::@53 ]/' knot.conf
		cat rplan.conf >>knot.conf
		install -d -o knot -g knot /run/knot`)
	return err
}

func (n *Node) startKnot(ctx context.Context) error {
	if _, err := n.Run(ctx, "knotd", "-d"); err != nil {
		return err
	}
	return poll(ctx, func() error { // it takes commands last
		_, err := n.Run(ctx, "knotc", "status")
		return err
	})
}
