package genmaps

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// explanation says how a key is served, step by step.
type explanation struct {
	Key    string   `json:"key"`
	Served bool     `json:"served"` // mail to it is taken, or visitors are answered, now
	Steps  []string `json:"steps"`
}

// explain answers --explain on standard output.
func (r *runner) explain(ctx context.Context) error {
	result, err := r.source.Read(ctx, r.config.network)
	if err != nil {
		return err
	}
	e := explainer{s: result.Snapshot, config: r.config}
	found := e.explain(strings.ToLower(strings.TrimSuffix(r.Explain, ".")))
	for _, p := range result.Problems {
		if line := p.String(); strings.Contains(line, found.Key) {
			found.Steps = append(found.Steps, "warning: "+line)
		}
	}
	if r.JSON {
		return r.env.PrintJSON(found)
	}
	fmt.Fprintf(r.env.Stdout, "%s: %s\n", found.Key, strings.Join(found.Steps, "; "))
	if !found.Served {
		return diag.Failed.Errorf("%q is not served", found.Key)
	}
	return nil
}

// explainer follows a key through the snapshot, as the servers do through the maps.
type explainer struct {
	s      *directory.Snapshot
	config *configuration
}

func (e explainer) explain(key string) explanation {
	out := explanation{Key: key}
	switch {
	case strings.Contains(key, "@"):
		out.Steps, out.Served = e.address(key, nil)
	case e.s.Node(key) != nil:
		out.Steps, out.Served = e.node(e.s.Node(key)), true
	case e.s.SiteOf(key) != nil:
		out.Steps, out.Served = e.site(key, e.s.SiteOf(key))
	case e.s.Domain(key) != nil:
		out.Steps, out.Served = e.domain(e.s.Domain(key)), true
	default:
		out.Steps = []string{"no address, site, domain or node of the directory has this name"}
		for _, p := range e.s.Placements() {
			if p.Name == key {
				story, node := e.placement(p)
				out.Steps, out.Served = []string{"a placement", story}, node != nil
			}
		}
	}
	return out
}

// address follows mail; through are the forwards that led here.
func (e explainer) address(address string, through []string) (steps []string, served bool) {
	r, ok := e.s.Resolve(address)
	if !ok {
		return e.stranger(address)
	}
	if r.Address != address {
		steps = append(steps, "read as "+r.Address)
	}
	switch {
	case r.Forward != nil:
		steps = append(steps, "forwards to "+strings.Join(r.Forward.Targets, ", "))
		for _, target := range r.Forward.Targets {
			if slices.Contains(through, target) {
				continue
			}
			more, arrives := e.address(target, append(through, address))
			steps = append(steps, target+": "+strings.Join(more, "; "))
			served = served || arrives
		}
		return steps, served
	case r.List != nil:
		more, arrives := e.list(r)
		return append(steps, more...), arrives
	}
	m := r.Mailbox
	if r.Use == directory.UseAlias {
		steps = append(steps, "alias of "+m.Address)
	}
	steps = append(steps, "mailbox on "+m.Placement.Name)
	if m.Status == directory.Suspended {
		return append(steps, "suspended: mail, login and sending are refused"), false
	}
	story, node := e.placement(m.Placement)
	steps = append(steps, story)
	if node == nil {
		return append(steps, "mail waits in the queue"), false
	}
	return append(steps, "lmtp "+e.at(node, e.config.genmaps.LMTPPort)), true
}

// stranger explains an address that no entry of the model claims.
func (e explainer) stranger(address string) ([]string, bool) {
	local, domain, _ := strings.Cut(address, "@")
	if domain == e.config.network.ContactDomain && domain != "" {
		site := e.s.SiteOf(local)
		if site == nil || site.Name != local || site.Contact == "" {
			return []string{"no site " + strconv.Quote(local) + " with a contact: refused"}, false
		}
		steps, served := e.address(site.Contact, nil)
		return append([]string{"contact of the site " + site.Name, "sent on to its owner, whom the sender is not shown"}, steps...), served
	}
	if d := e.s.Domain(domain); d == nil || !d.Mail {
		return []string{"not a mail domain of this directory: mail goes out to the world"}, len(domain) > 0
	}
	return []string{"no mailbox, alias, forward or list has this address: refused"}, false
}

func (e explainer) list(r directory.Recipient) (steps []string, served bool) {
	l := r.List
	if r.Use == directory.UseService {
		steps = append(steps, "service address of "+l.Address)
	}
	steps = append(steps, "list run by "+l.Manager.String())
	node := e.s.Node(l.Node)
	switch {
	case l.Node == "":
		return append(steps, "active on no node: mail waits in the queue"), false
	case node == nil:
		return append(steps, "active on "+l.Node+", which is no node: mail waits in the queue"), false
	case !node.State.Serves():
		return append(steps, fmt.Sprintf("active on %s, which is %s: mail waits in the queue", l.Node, node.State)), false
	}
	port, protocol := e.config.genmaps.Postfix.MlmmjPort, "smtp"
	if l.Manager == directory.Mailman3 {
		port, protocol = e.config.genmaps.Postfix.Mailman3Port, "lmtp"
	}
	return append(steps, "active on "+l.Node, protocol+" "+e.at(node, port)), true
}

func (e explainer) site(host string, s *directory.Site) (steps []string, served bool) {
	if host != s.Name {
		steps = append(steps, "name of the site "+s.Name)
	}
	steps = append(steps, "mode "+s.Mode.String())
	if s.Placement == nil {
		role, what := directory.Web, "kept by every web node"
		if s.Mode == directory.Mirrored {
			role, what = directory.Mirror, "kept by every mirror"
		}
		live := e.s.Live(role)
		var names []string
		for _, n := range live {
			names = append(names, n.Name)
			served = served || n.State.Serves()
		}
		return append(steps, what, "live: "+strings.Join(names, " ")), served
	}
	story, node := e.placement(s.Placement)
	steps = append(steps, "placement "+s.Placement.Name, story)
	if node == nil {
		return append(steps, "visitors are told to come back later"), false
	}
	if s.Mode == directory.Redirect {
		return append(steps, "others send visitors to "+s.Name+"."+node.Name+"."+e.config.network.NodesDomain), true
	}
	return append(steps, "others fetch from http "+e.at(node, e.config.genmaps.Apache.VPNPort)), true
}

func (e explainer) domain(d *directory.Domain) []string {
	var steps []string
	if d.Mail {
		steps = append(steps, "mail domain, MX "+nodeNames(e.s.Live(directory.MX)))
	}
	if d.DNS {
		steps = append(steps, "zone served by "+nodeNames(e.s.Live(directory.DNS)))
	}
	return steps
}

func (e explainer) node(n *directory.Node) []string {
	steps := []string{"node, " + n.State.String(), "roles " + n.Roles.String(), "VPN " + n.VPN.String(), fmt.Sprintf("ring %d", n.Ring)}
	primary, standby, active := 0, 0, 0
	for i := range e.s.Mailboxes {
		p := e.s.Mailboxes[i].Placement
		switch slices.Index(p.Nodes, n.Name) {
		case -1:
			continue
		case 0:
			primary++
		default:
			standby++
		}
		if p.Active(e.s.StateOf) == n.Name {
			active++
		}
	}
	return append(steps, fmt.Sprintf("mailboxes: primary of %d, standby of %d, active for %d", primary, standby, active))
}

// placement tells which node of p serves, and why not an earlier one.
func (e explainer) placement(p *directory.Placement) (string, *directory.Node) {
	active := e.s.ActiveNode(p)
	var story []string
	for _, name := range p.Nodes {
		state, known := e.s.StateOf(name)
		switch {
		case active != nil && name == active.Name:
			if story == nil {
				return fmt.Sprintf("%s is %s", name, state), active
			}
			return strings.Join(story, ", ") + ", so " + name, active
		case !known:
			story = append(story, name+" is no node")
		default:
			story = append(story, fmt.Sprintf("%s is %s", name, state))
		}
	}
	return strings.Join(story, ", ") + ", so no node serves", nil
}

func (e explainer) at(n *directory.Node, port int) string {
	return net.JoinHostPort(n.VPN.String(), strconv.Itoa(port))
}

func nodeNames(nodes []*directory.Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, " ")
}
