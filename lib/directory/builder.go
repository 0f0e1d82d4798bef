package directory

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Network is what the nodes have in common and no entry says.
type Network struct {
	NodesDomain   string // node n1's public name is n1.NodesDomain
	ContactDomain string // site S's contact address is S@ContactDomain; "" for none
}

// Check says which of the names is not a host name.
func (n Network) Check() error {
	for key, name := range map[string]string{"nodes-domain": n.NodesDomain, "contact-domain": n.ContactDomain} {
		if name == "" {
			continue
		}
		if err := checkHost(name); err != nil {
			return fmt.Errorf("network.%s %s: %w", key, show(name), err)
		}
	}
	return nil
}

// isContact says whether an address is, or would be, the contact address of a site.
func (n Network) isContact(address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	return n.ContactDomain != "" && domain == n.ContactDomain
}

// ErrNode is the cause of Snapshot's error when a node's entry cannot be used.
// Leaving one node out would move all its users, so nothing is made instead.
var ErrNode = errors.New("a node's entry cannot be used")

const maxDN = 1024 // bytes

// Builder collects records into a Snapshot. The zero value is not usable; see NewBuilder.
type Builder struct {
	network    Network
	snap       Snapshot
	problems   []Problem
	nodeErr    error
	placements map[string]*Placement
	text       text
}

// NewBuilder starts an empty snapshot.
func NewBuilder(network Network) *Builder {
	return &Builder{network: network, placements: map[string]*Placement{}}
}

// Add takes over one record. A record that cannot be used becomes a Problem,
// and so does a single value of a field that may have several.
func (b *Builder) Add(r *Record) {
	if len(r.DN) > maxDN {
		if r.Kind == KindNode {
			b.nodeErr = errors.Join(b.nodeErr, fmt.Errorf("%s: the DN is longer than %d bytes", show(r.DN), maxDN))
			return
		}
		b.report(string(r.DN[:maxDN]), nil, "the DN is longer than %d bytes; left out", maxDN)
		return
	}
	e := &entry{Record: r, b: b}
	switch r.Kind {
	case KindNode:
		b.addNode(e)
	case KindDomain:
		b.addDomain(e)
	case KindMailbox:
		b.addMailbox(e)
	case KindForward:
		b.addForward(e)
	case KindSite:
		b.addSite(e)
	case KindList:
		b.addList(e)
	}
}

// entry reads the fields of one record; the first field that makes it unusable is kept in err.
type entry struct {
	*Record
	b   *Builder
	dn  string
	err error
}

func (e *entry) fail(f Field, v []byte, err error) {
	if e.err == nil {
		e.err = fmt.Errorf("%s %s: %w", fieldNames[e.Kind][f], show(v), err)
	}
}

// report reports what is wrong with the entry, or with some of its values.
func (e *entry) report(values [][]byte, format string, args ...any) {
	var keys []string
	for _, v := range append(e.Values[0][:len(e.Values[0]):len(e.Values[0])], values...) { // the first field is the name
		if len(v) <= maxLocal+1+maxHost {
			keys = append(keys, lower(v))
		}
	}
	e.b.report(e.name(), keys, format, args...)
}

// name is the DN as a string, made once.
func (e *entry) name() string {
	if e.dn == "" {
		e.dn = keep(&e.b.text, e.DN)
	}
	return e.dn
}

// single reads a field that has at most one value; present is false when there is none or it is bad.
func single[T any](e *entry, f Field, parse func([]byte) (T, error)) (value T, present bool) {
	values := e.Values[f]
	if len(values) == 0 {
		return value, false
	}
	if len(values) > 1 {
		e.fail(f, values[0], fmt.Errorf("has %d values where one is expected", len(values)))
		return value, false
	}
	value, err := parse(values[0])
	if err != nil {
		e.fail(f, values[0], err)
	}
	return value, err == nil
}

// remark is single for what is only said to people: a bad value is left out
// with a notice, since no node may be lost for its sake. The entry is usable.
func remark[T any](e *entry, f Field, parse func([]byte) (T, error)) T {
	value, _ := single(e, f, parse)
	if e.err != nil {
		e.b.notice([]string{e.name()}, []string{lower(e.Values[0][0])}, "%v; it is not shown", e.err)
		e.err = nil
	}
	return value
}

// keeping is single for how long a list's archive is kept. A bad value costs no
// list its mail, and no archive a message: it is Unreadable, with a notice.
func (e *entry) keeping(f Field) string {
	value, present := single(e, f, parseKeep)
	switch {
	case e.err != nil:
		e.b.notice([]string{e.name()}, []string{lower(e.Values[0][0])}, "%v; nothing of the list's archive is removed", e.err)
		e.err = nil
		return Unreadable
	case present:
		return keep(&e.b.text, value)
	}
	return ""
}

// required is single for a field that must be there.
func required[T any](e *entry, f Field, parse func([]byte) (T, error)) T {
	value, present := single(e, f, parse)
	if !present && e.err == nil {
		e.err = fmt.Errorf("%s is missing", fieldNames[e.Kind][f])
	}
	return value
}

// several reads a field with any number of values, sorted, none twice; bad ones are reported and left out.
func several[T any](e *entry, f Field, parse func([]byte) (T, error), cmp func(a, b T) int) []T {
	var out []T
	for i, v := range e.Values[f] {
		if i == maxValues {
			e.report(nil, "%s has %d values; all after the first %d are left out", fieldNames[e.Kind][f], len(e.Values[f]), maxValues)
			break
		}
		value, err := parse(v)
		if err != nil {
			e.report([][]byte{v}, "%s %s: %v; the value is left out", fieldNames[e.Kind][f], show(v), err)
			continue
		}
		out = append(out, value)
	}
	slices.SortFunc(out, cmp)
	return slices.CompactFunc(out, func(a, b T) bool { return cmp(a, b) == 0 })
}

// maxValues bounds what one entry can put into the maps.
const maxValues = 200

// unusable reports the entry if a field made it so.
func (e *entry) unusable() bool {
	if e.err != nil {
		e.report(nil, "%v; the %s is left out", e.err, e.Kind)
	}
	return e.err != nil
}

// enum reads an enumeration; absent means its first constant.
func enum[T ~uint8](e *entry, f Field, names []string) T {
	value, _ := single(e, f, func(v []byte) (uint8, error) { return parseEnum(v, names) })
	return T(value)
}

// flags reads the values of an enumeration into a set of bits.
func flags(e *entry, f Field, names []string) (set uint8) {
	bits := several(e, f, func(v []byte) (uint8, error) { return parseEnum(v, names) }, func(a, b uint8) int { return int(a) - int(b) })
	for _, bit := range bits {
		set |= 1 << bit
	}
	return set
}

func (b *Builder) addNode(e *entry) {
	n := Node{
		Name:    required(e, NodeName, parseLabel),
		State:   State(required(e, NodeState, func(v []byte) (uint8, error) { return parseEnum(v, stateNames) })),
		VPN:     required(e, NodeVPN, parseAddr),
		Public:  several(e, NodePublic, parseAddr, netip.Addr.Compare),
		Roles:   Roles(flags(e, NodeRoles, roleNames)),
		VPNKeys: several(e, NodeVPNKeys, parseKey, strings.Compare),
		SSHKeys: several(e, NodeSSHKeys, parseSSHKey, strings.Compare),
	}
	ring, _ := single(e, NodeRing, func(v []byte) (int64, error) { return parseNumber(v, 9) })
	n.Ring = int(ring)
	n.Class, _ = single(e, NodeClass, parseLabel)
	if e.err != nil {
		b.nodeErr = errors.Join(b.nodeErr, fmt.Errorf("%s: %w", show(e.name()), e.err))
		return
	}
	n.Since = remark(e, NodeSince, parseMoment)
	n.Reason = remark(e, NodeReason, parseWords)
	n.By = remark(e, NodeBy, parseWords)
	n.DN = e.name()
	b.snap.Nodes = append(b.snap.Nodes, n)
}

func (b *Builder) addDomain(e *entry) {
	d := Domain{Name: required(e, DomainName, parseDomain)}
	services := flags(e, DomainServices, []string{"mail", "dns"})
	if len(e.Values[DomainServices]) == 0 {
		services = 3
	}
	if e.unusable() {
		return
	}
	d.DN, d.Mail, d.DNS = e.name(), services&1 != 0, services&2 != 0
	b.snap.Domains = append(b.snap.Domains, d)
}

func (b *Builder) addMailbox(e *entry) {
	m := Mailbox{
		Address:   required(e, MailboxAddress, parseBoxAddress),
		Placement: required(e, MailboxPlacement, b.placement),
		Status:    enum[Status](e, MailboxStatus, statusNames),
		Delivery:  enum[Delivery](e, MailboxDelivery, deliveryNames),
		created:   e.Created,
	}
	if e.unusable() {
		return
	}
	m.Aliases = e.addresses(MailboxAliases, parseAlias)
	m.DN, m.Address = shareDN(e, m.Address)
	b.snap.Mailboxes = append(b.snap.Mailboxes, m)
}

func (b *Builder) addForward(e *entry) {
	f := Forward{Address: required(e, ForwardAddress, parseAddress), created: e.Created}
	if e.unusable() {
		return
	}
	f.Targets = e.addresses(ForwardTargets, e.b.target)
	f.DN, f.Address = shareDN(e, f.Address)
	b.snap.Forwards = append(b.snap.Forwards, f)
}

func (b *Builder) addSite(e *entry) {
	s := Site{Name: required(e, SiteName, b.siteName), Mode: enum[Mode](e, SiteMode, modeNames), created: e.Created}
	if s.Mode != Everywhere && s.Mode != Mirrored {
		s.Placement = required(e, SitePlacement, b.placement)
	}
	s.Contact, _ = single(e, SiteContact, parseAddress)
	root, present := single(e, SiteRoot, parsePath)
	if s.Root = root; !present {
		s.Root = s.Name
	}
	if e.unusable() {
		return
	}
	s.Aliases = several(e, SiteAliases, b.siteName, strings.Compare)
	s.Aliases = slices.DeleteFunc(s.Aliases, func(a string) bool { return a == s.Name })
	s.DN = e.name()
	b.snap.Sites = append(b.snap.Sites, s)
}

func (b *Builder) addList(e *entry) {
	l := List{Address: required(e, ListAddress, parseBoxAddress), Manager: enum[Manager](e, ListManager, managerNames), created: e.Created}
	l.Node, _ = single(e, ListNode, parseLabel)
	l.Epoch, _ = single(e, ListEpoch, func(v []byte) (int64, error) { return parseNumber(v, math.MaxInt64) })
	if e.unusable() {
		return
	}
	l.KeepHTML, l.KeepMbox = e.keeping(ListKeepHTML), e.keeping(ListKeepMbox)
	l.Candidates = several(e, ListCandidates, parseLabel, strings.Compare)
	l.Owners = e.addresses(ListOwners, parseAddress)
	l.DN, l.Address = shareDN(e, l.Address)
	b.snap.Lists = append(b.snap.Lists, l)
}

// placement parses and interns: users share the few placements there are.
func (b *Builder) placement(v []byte) (*Placement, error) {
	if p := b.placements[string(v)]; p != nil {
		return p, nil
	}
	p, err := parsePlacement(v)
	if err != nil {
		return nil, err
	}
	if first := b.placements[p.Name]; first != nil {
		return first, nil
	}
	b.placements[p.Name] = p
	return p, nil
}

// maxDomain leaves room for the names that are made below a domain and for file names made of it.
const maxDomain = 180

func parseDomain(v []byte) (string, error) {
	if len(v) > maxDomain {
		return "", fmt.Errorf("a domain has at most %d characters", maxDomain)
	}
	return parseHost(v)
}

// target refuses contact addresses of sites: Postfix copies to a site's owner
// what came for it by name, and drops what is only sent on to it.
func (b *Builder) target(v []byte) (string, error) {
	address, err := parseAddress(v)
	if err == nil && b.network.isContact(address) {
		return "", fmt.Errorf("nothing can be sent on to contact addresses of sites, which %s is kept for", show(b.network.ContactDomain))
	}
	return address, err
}

// parseBoxAddress leaves out "+": what follows it is a tag of the user's or a
// command to a list, and is cut off before the mailbox or list is looked for.
func parseBoxAddress(v []byte) (string, error) {
	if bytes.IndexByte(v, '+') >= 0 {
		return "", errors.New("the address of a mailbox or list has no \"+\", which separates a tag")
	}
	return parseAddress(v)
}

// shareDN gives the address the DN's memory where the DN spells it alike, as it usually does.
func shareDN(e *entry, address string) (dn, shared string) {
	dn = e.name()
	if i := strings.Index(dn, address); i >= 0 {
		return dn, dn[i : i+len(address)]
	}
	return dn, keep(&e.b.text, address)
}

// addresses is several for mail addresses.
func (e *entry) addresses(f Field, parse func([]byte) (string, error)) []string {
	all := several(e, f, parse, strings.Compare)
	for i := range all {
		all[i] = keep(&e.b.text, all[i])
	}
	return all
}
