package render

import (
	"bytes"
	"fmt"

	"rplan/lib/directory"
)

// Dovecot makes the files that contrib/dovecot includes. The two tables say
// where a login goes by the placement of its mailbox: placements for logins
// of users, proxied for those that another node hands over. A node never
// hands on what was handed to it, so stale tables cannot make a loop, and it
// serves a mailbox only while it is the active node by its own tables too.
func Dovecot(in *Input) []File {
	return []File{
		logins(in, "placements", func(active *directory.Node) string {
			return fmt.Sprintf("proxy=y host=%s port=%d ssl=any-cert proxy_not_trusted=y", active.VPN, in.Settings.Dovecot.IMAPPort)
		}),
		logins(in, "proxied", func(*directory.Node) string { return nowhere }),
		document("dovecot", "node.conf", listeners(in)),
		mailboxPlacements(in),
	}
}

// mailboxPlacements is the one table here that Dovecot does not read: by it rp-failover knows which mailboxes
// there are to merge with which node. It saves a reading of the whole directory every other minute.
func mailboxPlacements(in *Input) File {
	return guarded(File{Service: "dovecot", Name: "mailboxes", Format: CDB, Rows: recipientRows(in.Snapshot, mailboxRow)})
}

// nowhere is a proxy without a host: Dovecot answers at once, after the
// password was found right, "NO [UNAVAILABLE] Account is temporarily
// unavailable" (RFC 5530), on which mail programs try again later; another
// refusal would make them ask for a new password.
const nowhere = "proxy=y"

// logins is a passwd-file keyed by placement. A row without fields means that
// the user is served here; Dovecot reads a changed file at the next login.
func logins(in *Input, name string, elsewhere func(active *directory.Node) string) File {
	rows := map[string]string{}
	for _, p := range in.Snapshot.Placements() {
		switch active := in.Snapshot.ActiveNode(p); {
		case active == nil:
			rows[p.Name] = nowhere
		case active.Name == in.Self.Name:
			rows[p.Name] = ""
		default:
			rows[p.Name] = elsewhere(active)
		}
	}
	return File{Service: "dovecot", Name: name, Format: PasswdMap, Rows: sortedRows(rows), Urgent: true}
}

// versions stand before all else in each file that Dovecot 2.4 reads by itself, as its checker does this one.
const versions = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"

// listeners is the part of the configuration that has this node's address in it.
func listeners(in *Input) *bytes.Buffer {
	var b bytes.Buffer
	address := "address"
	if in.Settings.Dovecot.Version == "2.4" {
		b.WriteString(versions)
		address = "listen"
	}
	listener := func(name string, port int, more string) {
		fmt.Fprintf(&b, "  inet_listener %s {\n    %s = %s\n    port = %d\n%s  }\n", name, address, in.Self.VPN, port, more)
	}
	b.WriteString("# Where other nodes reach this one: mail and second copies of mail from any Postfix, logins from any Dovecot.\nservice lmtp {\n")
	listener("rplan", in.Settings.LMTPPort, "")
	listener("copies", in.Settings.Dovecot.CopiesPort, "")
	b.WriteString("}\nservice imap-login {\n")
	listener("rplan", in.Settings.Dovecot.IMAPPort, "    ssl = yes\n")
	b.WriteString("}\n")
	return &b
}
