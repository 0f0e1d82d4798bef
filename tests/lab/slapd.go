package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/slapd"
)

// The directory, from contrib/ldap: n1 is the provider, the others follow it.

// certify makes one certificate for all servers, on the first node, and copies it to the others.
func (l *Lab) certify() error {
	hosts := []string{"*." + NodesDomain, Domain, "*." + Domain}
	for _, n := range l.Nodes {
		hosts = append(hosts, n.host(), n.VPN.String())
	}
	first := l.Nodes[0]
	if err := os.MkdirAll(first.Path(tlsDir), 0o755); err != nil {
		return err
	}
	if _, err := slapd.NewCertificate(first.Path(tlsDir), hosts...); err != nil {
		return err
	}
	for _, n := range l.Nodes[1:] {
		for _, file := range []string{"ca.pem", "cert.pem", "key.pem"} {
			text, err := first.Read(tlsDir + file)
			if err == nil {
				err = n.Write(tlsDir+file, text)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// tlsDir is where contrib/ldap/slapd.conf looks for certificates.
const tlsDir = "/etc/ldap/tls/"

// installSlapd puts contrib/ldap in place on a node.
func (n *Node) installSlapd(ctx context.Context) error {
	const included = "include /etc/ldap/rplan/"
	var conf *strings.Replacer
	if n.lab.Provider() == n {
		conf = strings.NewReplacer()
	} else {
		conf = strings.NewReplacer(included+"provider.conf", "#"+included+"provider.conf",
			"#"+included+"consumer.conf", included+"consumer.conf")
	}
	// The shipped consumer is n2.
	consumer := strings.NewReplacer("n1.example.net", n.lab.Provider().host(), NodeDN("n2"), NodeDN(n.Name), "REPLACE-ME", Password(n.Name))
	for _, file := range []struct {
		name, to string
		edit     *strings.Replacer
	}{
		{"slapd.conf", "/etc/ldap/slapd.conf", conf},
		{"rplan.schema", "/etc/ldap/rplan/rplan.schema", nil},
		{"acl.conf", "/etc/ldap/rplan/acl.conf", nil},
		{"provider.conf", "/etc/ldap/rplan/provider.conf", nil},
		{"consumer.conf", "/etc/ldap/rplan/consumer.conf", consumer},
	} {
		if err := n.install("ldap/"+file.name, file.to, file.edit); err != nil {
			return err
		}
	}
	_, err := n.Run(ctx, "/bin/sh", "-ec", `
		cd /etc/ldap
		chgrp -R openldap slapd.conf rplan tls
		chmod 640 slapd.conf rplan/consumer.conf tls/key.pem
		install -d -o openldap -g openldap /run/slapd /var/lib/ldap /var/lib/ldap/accesslog`)
	return err
}

// loadDirectory fills the provider's database.
func (n *Node) loadDirectory(ctx context.Context) error {
	if n.lab.Provider() != n {
		return nil
	}
	keys, err := n.lab.hostKeys()
	if err != nil {
		return err
	}
	groups, err := os.ReadFile(slapd.Contrib("groups.ldif"))
	if err != nil {
		return err
	}
	tree := Collective(keys) + string(groups) + "\n" + n.lab.config.LDIF
	// With one thread slapadd breaks its heap now and then; see tests/slapd.
	const two = "/etc/ldap/slapadd.conf"
	conf, err := n.Read("/etc/ldap/slapd.conf")
	if err == nil {
		err = n.Write(two, strings.Replace(conf, "\nmoduleload", "\ntool-threads 2\nmoduleload", 1))
	}
	if err != nil {
		return err
	}
	_, err = n.RunInput(ctx, tree, "setpriv", "--reuid=openldap", "--regid=openldap", "--init-groups",
		"slapadd", "-q", "-w", "-f", two, "-b", BaseDN)
	return err
}

func (n *Node) startSlapd(ctx context.Context) error {
	_, err := n.Run(ctx, "slapd", "-f", "/etc/ldap/slapd.conf", "-u", "openldap", "-g", "openldap",
		"-h", "ldap://"+n.VPN.String()+" ldapi:///")
	if err != nil { // the reason goes to syslog only
		_, why := n.Run(ctx, "slaptest", "-u", "-f", "/etc/ldap/slapd.conf")
		return errors.Join(err, why)
	}
	return poll(ctx, func() error { // it detaches a moment before it listens
		_, err := n.contextCSN()
		if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
			return nil // a consumer that has nothing yet
		}
		return err
	})
}

// LDAP is a connection to the node's directory as the node's root, who may write on the provider.
func (n *Node) LDAP() (*ldap.Conn, error) {
	conn, err := ldap.DialURL("ldapi://" + strings.ReplaceAll(n.Path("/run/slapd/ldapi"), "/", "%2F"))
	if err != nil {
		return nil, fmt.Errorf("directory of %s: %w", n.Name, err)
	}
	conn.SetTimeout(20 * time.Second)
	if err := conn.ExternalBind(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("directory of %s: %w", n.Name, err)
	}
	return conn, nil
}

// SetState writes a node's state on the provider.
func (n *Node) SetState(state string) error {
	return n.lab.Modify(NodeDN(n.Name), "rplanState", state)
}

// Modify replaces an attribute of an entry on the provider.
func (l *Lab) Modify(dn, attribute string, values ...string) error {
	conn, err := l.Provider().LDAP()
	if err != nil {
		return err
	}
	defer conn.Close()
	request := ldap.NewModifyRequest(dn, nil)
	request.Replace(attribute, values)
	return conn.Modify(request)
}

// WaitReplicated returns when the directories of all nodes named, by default
// all, have what the provider has.
func (l *Lab) WaitReplicated(ctx context.Context, nodes ...*Node) error {
	want, err := l.Provider().contextCSN()
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		nodes = l.Nodes
	}
	for _, n := range nodes {
		err := poll(ctx, func() error {
			if have, err := n.contextCSN(); err != nil || have >= want {
				return err
			}
			return fmt.Errorf("the directory of %s lags behind the provider's", n.Name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// contextCSN is the newest change that the node's directory has (draft-ietf-ldup-infomod).
func (n *Node) contextCSN() (string, error) {
	conn, err := n.LDAP()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest(BaseDN, ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		1, 0, false, "(objectClass=*)", []string{"contextCSN"}, nil))
	if err != nil {
		return "", fmt.Errorf("directory of %s: %w", n.Name, err)
	}
	return result.Entries[0].GetAttributeValue("contextCSN"), nil
}

// poll calls f until it succeeds; when ctx ends, the error is f's last.
func poll(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
