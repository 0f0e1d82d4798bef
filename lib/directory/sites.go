package directory

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// siteClaims is what the sites that stand have taken: host names, and
// directories below the web root, which they share with no other.
type siteClaims struct {
	hosts map[string]*Site // by main name and alias
	roots map[string]*Site // by document root
	above map[string]*Site // by each directory above one
}

// checkSites gives each host name and each document root to one site, that of
// the oldest entry that claims it. A site without its main name or its root is
// left out whole, with all else that it claims.
func (b *Builder) checkSites() {
	s := &b.snap
	slices.SortFunc(s.Sites, func(x, y Site) int {
		return cmp.Or(compareRights(x.right(), y.right()), strings.Compare(x.Name, y.Name))
	})
	c := siteClaims{map[string]*Site{}, map[string]*Site{}, map[string]*Site{}}
	kept := make([]Site, 0, len(s.Sites)) // of this capacity, so that pointers into it stay good
	for i := range s.Sites {
		if b.siteStands(&s.Sites[i], c) {
			kept = append(kept, s.Sites[i])
			b.claimSite(&kept[len(kept)-1], c)
		}
	}
	slices.SortFunc(kept, func(x, y Site) int { return strings.Compare(x.Name, y.Name) })
	s.Sites = kept
	known := map[string]ends{}
	for i := range s.Sites {
		b.checkContact(&s.Sites[i], known)
	}
}

// siteStands reports a site whose main name or document root an older one has.
func (b *Builder) siteStands(site *Site, c siteClaims) bool {
	if first := c.hosts[site.Name]; first != nil {
		text := "host name %s is claimed by both: %s keeps it, and the other, of which it is the main name, is left out"
		if first.Name == site.Name {
			text = "site %s has two entries: %s keeps it, the other is left out"
		}
		b.conflict(site.Name, first.DN, site.DN, text, show(site.Name), show(first.DN))
		return false
	}
	if first := c.overlap(site.Root); first != nil {
		b.conflict(site.Name, first.DN, site.DN, "document root %s of site %s lies in, on or above %s of another: %s keeps its files to itself, the other is left out",
			show(site.Root), show(site.Name), show(first.Root), show(first.DN))
		return false
	}
	return true
}

// claimSite takes the names and the document root of a site that stands, and from it the aliases that older ones have.
func (b *Builder) claimSite(site *Site, c siteClaims) {
	c.hosts[site.Name], c.roots[site.Root] = site, site
	for dir := range directoriesAbove(site.Root) {
		if c.above[dir] == nil {
			c.above[dir] = site
		}
	}
	site.Aliases = slices.DeleteFunc(site.Aliases, func(alias string) bool {
		first := c.hosts[alias]
		if first == nil {
			c.hosts[alias] = site
			return false
		}
		b.conflict(alias, first.DN, site.DN, "host name %s is claimed by both: %s keeps it", show(alias), show(first.DN))
		return true
	})
}

// overlap is a site whose document root is root, or lies above or below it; nil if none does.
func (c siteClaims) overlap(root string) *Site {
	if first := cmp.Or(c.roots[root], c.above[root]); first != nil {
		return first
	}
	for dir := range directoriesAbove(root) {
		if first := c.roots[dir]; first != nil {
			return first
		}
	}
	return nil
}

// directoriesAbove yields "a" and "a/b" for "a/b/c".
func directoriesAbove(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(path) {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}

// checkContact leaves a site without a contact address where mail to it would
// not arrive, which nobody would learn of, since such mail makes no bounces
// (they would name the owner), or where a list's manager would answer the sender.
func (b *Builder) checkContact(site *Site, known map[string]ends) {
	if site.Contact == "" {
		return
	}
	r, ok := b.snap.Resolve(site.Contact)
	lead := b.snap.ends(site.Contact, known)
	var why string
	switch {
	case b.network.isContact(site.Contact):
		// Postfix makes no copy of a copy, and drops what is sent to a contact address itself.
		why = "is a contact address itself"
	case ok && r.Mailbox != nil && r.Mailbox.Status == Suspended:
		b.notice([]string{site.DN}, []string{site.Name, site.Contact}, "contact %s is suspended; the site has no contact address for now", show(site.Contact))
		site.Contact = ""
		return
	case !b.snap.exists(site.Contact):
		why = "does not exist here"
	case lead.list:
		why = "leads to a mailing list, which may answer the sender and be named; a contact address must end in a mailbox here"
	case !lead.mailbox:
		why = "leads elsewhere only, where mail may be refused without a word to anybody; a contact address must end in a mailbox here"
	default:
		return
	}
	b.report(site.DN, []string{site.Name, site.Contact}, "contact %s %s; the site has no contact address", show(site.Contact), why)
	site.Contact = ""
}

// ends is what mail for an address comes to in the end, here.
type ends struct{ mailbox, list bool }

// ends follows forwards, which make no loops any more; known is what it found of them so far.
func (s *Snapshot) ends(address string, known map[string]ends) (all ends) {
	r, _ := s.Resolve(address)
	if r.Forward == nil {
		return ends{mailbox: r.Mailbox != nil, list: r.List != nil}
	}
	if found, ok := known[r.Address]; ok {
		return found
	}
	for _, target := range r.Forward.Targets {
		found := s.ends(target, known)
		all.mailbox, all.list = all.mailbox || found.mailbox, all.list || found.list
	}
	known[r.Address] = all
	return all
}

// siteName refuses names that browsers take for an IP address, as 10.1 and 0x7f.0x1, and
// those at and below the nodes' own domain: both would draw visitors of other sites.
func (b *Builder) siteName(v []byte) (string, error) {
	name, err := parseHost(v)
	if err != nil {
		return "", err
	}
	if c := name[strings.LastIndexByte(name, '.')+1]; '0' <= c && c <= '9' {
		return "", errors.New("the last label of a site's name begins with no digit, as IP addresses do")
	}
	if own := b.network.NodesDomain; own != "" && (name == own || strings.HasSuffix(name, "."+own)) {
		return "", fmt.Errorf("names in %s belong to the nodes", own)
	}
	return name, nil
}
