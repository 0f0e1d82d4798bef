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
	"rplan/lib/genmaps/render"
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
	result, err := r.source.Read(ctx, r.config.Network)
	if err != nil {
		return err
	}
	e := newExplainer(result.Snapshot, r.config)
	found := e.explain(strings.ToLower(strings.TrimSuffix(r.Explain, ".")))
	names := e.names(found.Key)
	for _, p := range result.Problems {
		if p.IsAbout(names...) {
			found.Steps = append(found.Steps, p.Kind()+": "+p.String())
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
	told   map[string]bool // the addresses explained already, and whether they are served
	shown  int             // targets
}

// maxShown is how many targets are shown; those after them are only followed.
const maxShown = 200

func newExplainer(s *directory.Snapshot, config *configuration) *explainer {
	return &explainer{s: s, config: config, told: map[string]bool{}}
}

func (e *explainer) explain(key string) explanation {
	out := explanation{Key: key}
	site, domain := e.s.SiteOf(key), e.s.Domain(key)
	switch {
	case strings.Contains(key, "@"):
		return e.address(key)
	case e.s.Node(key) != nil:
		out.Steps, out.Served = e.node(e.s.Node(key)), e.s.Node(key).State.Serves()
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

// names are the key, and what the entry that answers for it and its placement are called.
func (e *explainer) names(key string) []string {
	names := []string{key}
	var p *directory.Placement
	if r, ok := e.s.Resolve(key); ok {
		names = append(names, r.Address)
		switch {
		case r.Mailbox != nil:
			names, p = append(names, r.Mailbox.Address), r.Mailbox.Placement
		case r.List != nil:
			names = append(names, r.List.Address)
		}
	} else if site := e.s.SiteOf(key); site != nil {
		names, p = append(names, site.Name), site.Placement
	}
	if p != nil {
		names = append(names, p.Name)
	}
	return names
}

// address follows mail.
func (e *explainer) address(address string) explanation {
	out := explanation{Key: address}
	if served, told := e.told[address]; told {
		out.Steps, out.Served = []string{"as told above"}, served
		return out
	}
	e.told[address] = false // until it is known; the model has no loops
	r, ok := e.s.Resolve(address)
	switch {
	case !ok:
		e.stranger(&out)
	case r.Forward != nil:
		out.Steps = []string{"forward"}
		e.follow(&out, r.Forward.Targets)
	case r.List != nil:
		out.Steps, out.Served = e.list(r)
	default:
		out.Steps, out.Served = e.mailbox(r)
	}
	if ok && r.Address != address {
		out.Steps = append([]string{"read as " + r.Address}, out.Steps...)
	}
	e.told[address] = out.Served
	return out
}

// follow explains where mail is sent on to, and that it is served if one of the targets is.
func (e *explainer) follow(out *explanation, targets []string) {
	hidden := 0
	for _, target := range targets {
		show := e.shown < maxShown
		e.shown++
		then := e.address(target)
		out.Served = out.Served || then.Served
		if show {
			out.Targets = append(out.Targets, then)
		} else {
			hidden++
		}
	}
	if hidden > 0 {
		out.Steps = append(out.Steps, fmt.Sprintf("%d more targets", hidden))
	}
}

func (e *explainer) mailbox(r directory.Recipient) (steps []string, served bool) {
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
	return append(steps, "lmtp "+e.at(node, e.config.genmaps.LMTPPort), e.copy(m)), true
}

// copy tells where the second copy of a mailbox's mail goes.
func (e *explainer) copy(m *directory.Mailbox) string {
	if copied, why := render.Copied(m); !copied {
		return "no copy: " + why
	}
	if standby := e.s.StandbyNode(m.Placement); standby != nil {
		return "copy to " + standby.Name + ", lmtp " + e.at(standby, e.config.genmaps.Dovecot.CopiesPort)
	}
	return "no copy: no other node of " + m.Placement.Name + " is in service"
}

// stranger explains an address that no entry of the model claims.
func (e *explainer) stranger(out *explanation) {
	local, domain, _ := strings.Cut(out.Key, "@")
	local, _, _ = strings.Cut(local, "+")
	site := e.s.SiteOf(local)
	switch d := e.s.Domain(domain); {
	case domain == e.config.Network.ContactDomain && (site == nil || site.Name != local || site.Contact == ""):
		out.Steps = []string{"no site " + strconv.Quote(local) + " has a contact: refused"}
	case domain == e.config.Network.ContactDomain:
		out.Steps = []string{"contact of the site " + site.Name, "sent on to its owner, whom the sender is not shown"}
		e.follow(out, []string{site.Contact})
	case d == nil || !d.Mail:
		out.Steps, out.Served = []string{"not a mail domain of this directory: mail goes out to the world"}, true
	default:
		out.Steps = []string{"no mailbox, alias, forward or list has this address: refused"}
	}
}

func (e *explainer) list(r directory.Recipient) (steps []string, served bool) {
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
	case !node.Roles.Has(directory.Lists):
		return append(steps, "active on "+l.Node+", which has not the role lists: mail waits in the queue"), false
	case e.s.ListNode(l) == nil:
		return append(steps, fmt.Sprintf("active on %s, which is %s: mail waits in the queue", l.Node, node.State)), false
	}
	port, protocol := e.config.genmaps.Postfix.MlmmjPort, "smtp"
	if l.Manager == directory.Mailman3 {
		port, protocol = e.config.genmaps.Postfix.Mailman3Port, "lmtp"
	}
	return append(steps, "active on "+l.Node, protocol+" "+e.at(node, port)), true
}

func (e *explainer) site(host string, s *directory.Site) (steps []string, served bool) {
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
		return append(steps, "others send visitors to "+s.Name+"."+node.Name+"."+e.config.Network.NodesDomain), true
	}
	return append(steps, "others fetch from http "+e.at(node, e.config.genmaps.Apache.VPNPort)), true
}

func (e *explainer) domain(d *directory.Domain) []string {
	var steps []string
	if d.Mail {
		steps = append(steps, "mail domain, MX "+nodeNames(e.s.Live(directory.MX)))
	}
	if d.DNS {
		steps = append(steps, "zone served by "+nodeNames(e.s.Live(directory.DNS)))
	}
	return steps
}

func (e *explainer) node(n *directory.Node) []string {
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
	steps = append(steps, fmt.Sprintf("mailboxes: primary of %d, standby of %d, active for %d", primary, standby, active))
	if len(render.UsableSSHKeys(e.s, n)) == 0 {
		steps = append(steps, "without an SSH key that others could know it by: no node runs a command on another for it")
	}
	return steps
}

// placement tells which node of p serves, and why not an earlier one.
func (e *explainer) placement(p *directory.Placement) (string, *directory.Node) {
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

func (e *explainer) at(n *directory.Node, port int) string {
	return net.JoinHostPort(n.VPN.String(), strconv.Itoa(port))
}

func nodeNames(nodes []*directory.Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return strings.Join(names, " ")
}
