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
	Key     string        `json:"key"`
	Served  bool          `json:"served"` // mail to it is taken, or visitors are answered, now
	Steps   []string      `json:"steps"`
	Targets []explanation `json:"targets,omitempty"` // where a forward leads
}

// lines are the explanation as text, each target below what leads to it.
func (e explanation) lines(indent string) string {
	text := indent + e.Key + ": " + strings.Join(e.Steps, "; ") + "\n"
	for _, target := range e.Targets {
		text += target.lines(indent + "  ")
	}
	return text
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
		if err := r.env.PrintJSON(found); err != nil {
			return err
		}
	} else {
		fmt.Fprint(r.env.Stdout, found.lines(""))
	}
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
	site, domain := e.s.SiteOf(key), e.s.Domain(key)
	switch {
	case strings.Contains(key, "@"):
		return e.address(key, nil)
	case e.s.Node(key) != nil:
		out.Steps, out.Served = e.node(e.s.Node(key)), true
	case site != nil:
		out.Steps, out.Served = e.site(key, site)
	case domain != nil:
		out.Served = true
	default:
		out.Steps = []string{"no address, site, domain or node of the directory has this name"}
		for _, p := range e.s.Placements() {
			if p.Name == key {
				story, node := e.placement(p)
				out.Steps, out.Served = []string{"a placement", story}, node != nil
			}
		}
	}
	if domain != nil {
		out.Steps = append(out.Steps, e.domain(domain)...)
	}
	return out
}

// address follows mail; through are the forwards that led here.
func (e explainer) address(address string, through []string) explanation {
	out := explanation{Key: address}
	r, ok := e.s.Resolve(address)
	switch {
	case !ok:
		e.stranger(&out)
	case r.Forward != nil:
		out.Steps = []string{"forward"}
		for _, target := range r.Forward.Targets {
			if !slices.Contains(through, target) {
				then := e.address(target, append(through, address))
				out.Targets = append(out.Targets, then)
				out.Served = out.Served || then.Served
			}
		}
	case r.List != nil:
		out.Steps, out.Served = e.list(r)
	default:
		out.Steps, out.Served = e.mailbox(r)
	}
	if ok && r.Address != address {
		out.Steps = append([]string{"read as " + r.Address}, out.Steps...)
	}
	return out
}

func (e explainer) mailbox(r directory.Recipient) (steps []string, served bool) {
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
func (e explainer) stranger(out *explanation) {
	local, domain, _ := strings.Cut(out.Key, "@")
	site := e.s.SiteOf(local)
	switch d := e.s.Domain(domain); {
	case domain == e.config.network.ContactDomain && (site == nil || site.Name != local || site.Contact == ""):
		out.Steps = []string{"no site " + strconv.Quote(local) + " has a contact: refused"}
	case domain == e.config.network.ContactDomain:
		then := e.address(site.Contact, nil)
		out.Steps = []string{"contact of the site " + site.Name, "sent on to its owner, whom the sender is not shown"}
		out.Targets, out.Served = []explanation{then}, then.Served
	case d == nil || !d.Mail:
		out.Steps, out.Served = []string{"not a mail domain of this directory: mail goes out to the world"}, true
	default:
		out.Steps = []string{"no mailbox, alias, forward or list has this address: refused"}
	}
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
