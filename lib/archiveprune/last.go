package archiveprune

import (
	"path"
	"regexp"

	"rplan/lib/archiveprune/layout"
)

// pageNumber is what MHonArc numbers: all of a page's path before it, and it.
var pageNumber = regexp.MustCompile(`^(.*?)(\d{5,})\.html?$`)

// keepLast lets the page of the highest number stay where MHonArc may add pages: its database has that number, but
// MHonArc believes it only while the page is there, and else numbers on from the highest page that is (get_last_msg_num
// in mhdysub.pl). A page whose message is not to be kept any longer goes all the same.
func (p *planner) keepLast() {
	last, stays := map[string]int{}, map[string]bool{p.archive.Dir: true}
	numberOf := func(i int) (prefix, number string) {
		if m := pageNumber.FindStringSubmatch(p.verdicts[i].file.Path); m != nil {
			prefix, number = m[1], m[2]
		}
		return prefix, number
	}
	remembers := map[string]bool{}
	for i := range p.verdicts {
		v := &p.verdicts[i]
		switch v.file.Kind {
		case layout.Database:
			remembers[v.file.Of] = p.archive.Layout == layout.MHonArc
		case layout.Page:
			prefix, number := numberOf(i)
			_, highest := numberOf(last[prefix])
			if _, any := last[prefix]; !any || len(number) > len(highest) || len(number) == len(highest) && number > highest {
				last[prefix] = i
			}
			stays[path.Dir(v.file.Path)] = stays[path.Dir(v.file.Path)] || !v.goes()
		}
	}
	for _, i := range last {
		v := &p.verdicts[i]
		if dir := path.Dir(v.file.Path); v.goes() && !v.expired && remembers[dir] && stays[dir] {
			v.why = whyNumbers
		}
	}
}
