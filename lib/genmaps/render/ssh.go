package render

import (
	"bytes"
	"fmt"
	"strconv"

	"rplan/lib/directory"
)

// SSH makes what the nodes know each other by when one runs a command on
// another: sshd and ssh(1) read both files at each login. Each node's host key
// is also what it shows when it comes to others, so its line says from which
// address and for which one command. Who is evicted is in neither file.
func SSH(in *Input) []File {
	var known, authorized bytes.Buffer
	for _, b := range []*bytes.Buffer{&known, &authorized} {
		fmt.Fprintf(b, "# Made by rp-genmaps from the directory. What is changed here is lost.\n")
	}
	for i := range in.Snapshot.Nodes {
		n := &in.Snapshot.Nodes[i]
		for _, key := range UsableSSHKeys(in.Snapshot, n) {
			fmt.Fprintf(&known, "%s %s %s\n", knownHost(n, in.Settings.SSH.Port), key, n.Name)
			if n.Name != in.Self.Name {
				fmt.Fprintf(&authorized, "restrict,from=\"%s\",command=\"%s serve %s\" %s %s\n", n.VPN, in.Settings.SSH.Command, n.Name, key, n.Name)
			}
		}
	}
	return []File{
		{Service: "ssh", Name: "authorized_keys", Format: Document, Text: authorized.Bytes(), Urgent: true},
		{Service: "ssh", Name: "known_hosts", Format: Document, Text: known.Bytes(), Urgent: true},
	}
}

// UsableSSHKeys are the keys by which the others know a node: none of one that
// is evicted, and none that an evicted one had too.
func UsableSSHKeys(s *directory.Snapshot, n *directory.Node) []string {
	lost := map[string]bool{}
	for i := range s.Nodes {
		if s.Nodes[i].State == directory.Evicted {
			for _, key := range s.Nodes[i].SSHKeys {
				lost[key] = true
			}
		}
	}
	var keys []string
	for _, key := range n.SSHKeys {
		if !lost[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// knownHost is a node as known_hosts names it, sshd(8).
func knownHost(n *directory.Node, port int) string {
	if port == 22 {
		return n.VPN.String()
	}
	return "[" + n.VPN.String() + "]:" + strconv.Itoa(port)
}
