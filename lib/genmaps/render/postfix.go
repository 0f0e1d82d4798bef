package render

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"rplan/lib/directory"
)

// Texts that people read: in a bounce, in a mail log, in a queue listing.
const (
	textSuspended = "550 5.2.1 This mailbox is suspended"
	textNoNode    = "4.3.2 No node of this placement is in service; the mail waits"
	textNoList    = "4.3.2 The node of this list is not in service; the mail waits"
)

// Postfix makes the tables that contrib/postfix names: all but placements are keyed by user, site or
// list and stay as they are when a node changes its state.
//
// They are swapped in this order, so that between two swaps mail waits rather than bounces: the ways
// first, so that no copy is sent on a way that is not there; the copies, so that no mail arrives without its
// own; an alias before its mailbox, since an alias without a mailbox waits in noroute and the other
// way round an address that becomes an alias would be refused; and the domains last, since addresses
// of a domain that is not ours yet are refused as before, those of one whose mailboxes are not there
// yet would be refused as unknown.
func Postfix(in *Input) []File {
	s := in.Snapshot
	return []File{
		placements(in),
		table(in, "copyroutes", sortedRows(copyRoutes(in))),
		guarded(table(in, "copies", copyRows(in))),
		guarded(table(in, "aliases", recipientRows(s, aliasRow))),
		guarded(table(in, "mailboxes", recipientRows(s, mailboxRow))),
		guarded(table(in, "lists", recipientRows(s, listRow))),
		guarded(table(in, "contacts", sortedRows(contactRows(in)))),
		guarded(table(in, "senders", recipientRows(s, senderRow))),
		table(in, "access", recipientRows(s, accessRow)),
		guarded(table(in, "domains", sortedRows(domainRows(in)))),
	}
}

// formats are the values of [genmaps.postfix] format and small-format.
var formats = map[string]Format{"cdb": CDB, "lmdb": LMDB, "hash": Hash, "texthash": TextMap}

// table is a big table. Postfix looks every few seconds whether one has been replaced, but for texthash.
func table(in *Input, name string, rows iter.Seq2[string, string]) File {
	format := formats[in.Settings.Postfix.Format]
	return File{Service: "postfix", Name: name, Format: format, Rows: rows, Reload: format == TextMap}
}

func guarded(f File) File {
	f.Guarded = true
	return f
}

// placements is the small table: what each placement, its copies and each list's node mean now. It is to take
// effect at once. Postfix sees that in an lmdb, and would notice another replaced table only after some seconds.
func placements(in *Input) File {
	format := formats[in.Settings.Postfix.SmallFormat]
	return File{Service: "postfix", Name: "placements", Format: format, Rows: sortedRows(placementRows(in)), Reload: format != LMDB, Urgent: true}
}

func placementRows(in *Input) map[string]string {
	s, ports := in.Snapshot, in.Settings.Postfix
	rows := map[string]string{}
	for _, p := range s.Placements() {
		rows[p.Name] = "noroute:" + textNoNode
		if node := s.ActiveNode(p); node != nil {
			rows[p.Name] = "lmtp:inet:" + hostPort(node.VPN, in.Settings.LMTPPort)
		}
	}
	for i := range s.Lists {
		l := &s.Lists[i]
		node := s.ListNode(l)
		switch {
		case node == nil:
			rows[listKey(l)] = "noroute:" + textNoList
		case l.Manager == directory.Mailman3:
			rows[listKey(l)] = "lmtp:inet:" + hostPort(node.VPN, ports.Mailman3Port)
		default:
			rows[listKey(l)] = "mlmmj-relay:" + hostPort(node.VPN, ports.MlmmjPort)
		}
	}
	copyTargets(in, rows)
	return rows
}

// hostPort is an address and port as transport(5) wants them; the brackets are for IPv4 too, and mean "no MX lookup".
func hostPort(ip netip.Addr, port int) string { return fmt.Sprintf("[%s]:%d", ip, port) }

// listKey names a list's manager and node, as in "mlmmj.n1". It is a key of placements that no
// placement has, as those hold no ".". A list without a node has the key "mlmmj.".
func listKey(l *directory.List) string { return l.Manager.String() + "." + l.Node }

func mailboxRow(r directory.Recipient) string {
	if r.Use != directory.UseMailbox {
		return ""
	}
	return r.Mailbox.Placement.Name
}

func aliasRow(r directory.Recipient) string {
	switch r.Use {
	case directory.UseAlias:
		return r.Mailbox.Address
	case directory.UseForward:
		return strings.Join(r.Forward.Targets, ",")
	}
	return ""
}

func listRow(r directory.Recipient) string {
	if r.List == nil {
		return ""
	}
	return listKey(r.List)
}

func senderRow(r directory.Recipient) string {
	if r.Mailbox == nil || r.Mailbox.Status != directory.Active {
		return ""
	}
	return r.Mailbox.Address
}

func accessRow(r directory.Recipient) string {
	switch {
	case r.Mailbox != nil && r.Mailbox.Status == directory.Suspended:
		return textSuspended
	case tagged(r.Address):
		return "DUNNO" // else user+tag@ would be refused with another's user@
	}
	return ""
}

// tagged says whether Postfix, where a table has no row for the address, takes it for a tag of another.
func tagged(address string) bool {
	local, _, _ := strings.Cut(address, "@")
	return strings.Contains(local, "+")
}

func domainRows(in *Input) map[string]string {
	rows := map[string]string{}
	for i := range in.Snapshot.Domains {
		if d := &in.Snapshot.Domains[i]; d.Mail {
			rows[d.Name] = "mail"
		}
	}
	if contact := in.Network.ContactDomain; contact != "" {
		rows[contact] = "mail"
	}
	return rows
}

func contactRows(in *Input) map[string]string {
	rows := map[string]string{}
	if in.Network.ContactDomain == "" {
		return rows
	}
	for i := range in.Snapshot.Sites {
		if site := &in.Snapshot.Sites[i]; site.Contact != "" {
			rows[site.Name+"@"+in.Network.ContactDomain] = site.Contact
		}
	}
	return rows
}

// recipientRows yields a row for each address for which of has a value. They
// are made while they are read: a million of them cost no memory.
func recipientRows(s *directory.Snapshot, of func(directory.Recipient) string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for r := range s.Recipients() {
			if value := of(r); value != "" && !yield(r.Address, value) {
				return
			}
		}
	}
}

// sortedRows yields the rows of a small table in order.
func sortedRows(rows map[string]string) iter.Seq2[string, string] {
	keys := slices.Sorted(maps.Keys(rows))
	return func(yield func(string, string) bool) {
		for _, key := range keys {
			if !yield(key, rows[key]) {
				return
			}
		}
	}
}
