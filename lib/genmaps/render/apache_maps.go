package render

import (
	"net/netip"
	"strings"

	"rplan/lib/directory"
)

const (
	// anyWeb is the key of the first live web node, for sites without a placement. No placement can be called so.
	anyWeb = "@web"
	// dbmRows is where a DBM file begins to pay: Apache reads a text from its start for each new key.
	dbmRows = 2000
	// maxMapLine is the longest line, end and all, that Apache reads of a text map (mod_rewrite.c, REWRITE_MAX_TXT_MAP_LINE).
	maxMapLine = 1023
)

// apacheSitesMap is the map from each host name to MODE/PLACEMENT/SITE, with the
// name that RewriteMap knows it by.
func apacheSitesMap(s *directory.Snapshot) (file File, name string) {
	rows := map[string]string{}
	for i := range s.Sites {
		site := &s.Sites[i]
		value := site.Mode.String() + "/" + placementKey(site) + "/" + site.Name
		for _, host := range site.Hosts() {
			if len(host)+len(" \n")+len(value) <= maxMapLine {
				rows[host] = value
			}
		}
	}
	file = File{Service: "apache", Name: "sites", Format: TextMap, Rows: sortedRows(rows), Guarded: true}
	if len(rows) > dbmRows {
		file.Format = DBM
		return file, "dbm=db:${RPLAN_MAPS}/sites.db"
	}
	return file, "txt:${RPLAN_MAPS}/sites"
}

// placementKey is the key of a site in the map placements.
func placementKey(s *directory.Site) string {
	if s.Placement == nil {
		return anyWeb
	}
	return s.Placement.Name
}

// apachePlacements are the rows of the map placements: for each placement of
// a site its active node, for each node of an application's placement that
// node, for each web node itself. What is not live has no row.
func apachePlacements(s *directory.Snapshot) map[string]string {
	rows := map[string]string{}
	put := func(key string, n *directory.Node) {
		if n != nil && n.State.Serves() {
			rows[key] = n.Name + "/" + urlHost(n.VPN)
		}
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Roles.Has(directory.Web) {
			put(n.Name, n)
		}
	}
	if web := s.Live(directory.Web); len(web) > 0 {
		put(anyWeb, web[0])
	}
	for i := range s.Sites {
		p := s.Sites[i].Placement
		if p == nil {
			continue
		}
		put(p.Name, s.ActiveNode(p))
		if s.Sites[i].Mode != directory.Application {
			continue
		}
		for _, name := range p.Nodes {
			put(p.Name+"/"+name, s.Node(name))
		}
	}
	return rows
}

// apacheMirrors is one row, of which Apache's rnd: draws a part at each request.
func apacheMirrors(s *directory.Snapshot) map[string]string {
	var live []string
	for _, n := range s.Live(directory.Mirror) {
		if n.State.Serves() {
			live = append(live, n.Name)
		}
	}
	if live == nil {
		return nil
	}
	return map[string]string{"live": strings.Join(live, "|")}
}

// urlHost is an address as a URL has it (RFC 3986 section 3.2.2).
func urlHost(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
