package render

import (
	"bytes"
	"fmt"
	"path/filepath"
)

// zoneEntries are how each server's configuration names a zone and its file.
var zoneEntries = map[string]string{
	// The server never writes the file: what it adds, such as signatures, stays in its journal.
	"knot": "  - domain: %s\n    file: %q\n    zonefile-sync: -1\n",
	"bind": "zone %q { type primary; file %q; };\n",
	// NSD has no defaults for zones: what they share is the pattern, which the admin keeps.
	"nsd": "zone:\n\tname: %s\n\tzonefile: %q\n\tinclude-pattern: \"rplan\"\n",
}

// zoneList is the list of the zones in the syntax of knot.conf(5), named.conf(5) or nsd.conf(5).
func zoneList(in *Input) File {
	var b bytes.Buffer
	comment := "#"
	if in.Settings.DNS.Server == "bind" {
		comment = "//"
	}
	fmt.Fprintf(&b, "%s Made by rp-genmaps from the directory. What is changed here is lost.\n", comment)
	if in.Settings.DNS.Server == "knot" {
		fmt.Fprintf(&b, "zone:\n")
	}
	for i := range in.Snapshot.Domains {
		if d := &in.Snapshot.Domains[i]; d.DNS {
			fmt.Fprintf(&b, zoneEntries[in.Settings.DNS.Server], d.Name, filepath.Join(in.Maps, "dns", zoneFile(d.Name)))
		}
	}
	return document("dns", "zones.conf", &b)
}
