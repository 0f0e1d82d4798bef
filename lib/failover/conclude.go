package failover

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rplan/lib/diag"
)

// conclude says what an admin has to know at the end, and nothing if all is well.
func (c *change) conclude() error {
	o := &c.outcome
	if c.Verb == "evict" {
		o.Checklist = checklist(c.Node)
	}
	if !c.JSON && !c.DryRun {
		fmt.Fprint(c.env.Stdout, c.words())
	}
	var left []string
	for _, node := range slices.Sorted(maps.Keys(o.Silent)) {
		left = append(left, fmt.Sprintf("node %q has not published maps made from the new state: %s", node, o.Silent[node]))
	}
	for _, node := range slices.Sorted(maps.Keys(o.Left)) {
		text := fmt.Sprintf("%s on node %q not merged yet", verbFor(o.Left[node], "mailbox", "is", "are"), node)
		if c.away() {
			text = fmt.Sprintf("what users of %s did since the last merge may be on node %q only", plural(o.Left[node], "mailbox"), node)
		}
		left = append(left, text)
	}
	if len(o.Warnings) > 0 {
		left = append(left, plural(len(o.Warnings), "warning")+" above")
	}
	if len(left) == 0 {
		return nil
	}
	err := diag.Partial.Errorf("node %q is %s, but:\n%s", c.Node, o.State, strings.Join(left, "\n"))
	if len(o.Silent) > 0 {
		return err.WithHint("such a node goes on by its old maps until its rp-genmaps has run; rp-failover status shows when it has")
	}
	if c.away() && len(o.Warnings) == 0 {
		return err.WithHint("what only node %[1]q had is merged when it comes back: rp-failover in %[1]s", c.Node)
	}
	return err.WithHint("rp-failover sync, which cron runs, goes on with mailboxes that were not merged")
}

// words are the results.
func (c *change) words() string {
	o, all := &c.outcome, ""
	merged := c.journal.Merged
	switch {
	case c.Verb == "in" && merged.Merged+merged.Adopted > 0:
		all = fmt.Sprintf("node %s is up; %s brought up to date\n", c.Node, verbFor(merged.Merged, "mailbox", "was", "were"))
		if merged.Recovered > 0 {
			all += fmt.Sprintf("%s recovered that only node %s had\n", verbFor(merged.Recovered, "message", "was", "were"), c.Node)
		}
		if merged.Adopted > 0 {
			all += fmt.Sprintf("%s recovered from second copies\n", verbFor(merged.Adopted, "message", "was", "were"))
		}
	case c.Lost && merged.Adopted > 0:
		all = fmt.Sprintf("%s recovered from second copies\n", verbFor(merged.Adopted, "message", "was", "were"))
	}
	if c.Lost && c.plan.Single > 0 {
		all += fmt.Sprintf("%s one copy of new mail only (delivery one): what was not merged before is on the disk of node %s,\n"+
			"and comes back with it\n", verbFor(c.plan.Single, "mailbox", "keeps", "keep"), c.Node)
	}
	if o.Queue > 0 {
		all += fmt.Sprintf("%s in the queue of node %s; leave its Postfix running until they have left\n", verbFor(o.Queue, "message", "is", "are"), c.Node)
	}
	if c.Verb == "admit" {
		all += fmt.Sprintf("node %[1]s is out, and trusted by the keys and the password of its entry; set it up as a new consumer (contrib/ldap),\n"+
			"then: rp-failover in %[1]s\n", c.Node)
	}
	for i, line := range o.Checklist {
		if i == 0 {
			all += fmt.Sprintf("node %s is evicted. Whoever has it has what was on it; replace:\n", c.Node)
		}
		all += "[ ] " + line + "\n"
	}
	return all
}

// checklist is what rp-rekey replaces after a node was taken away.
func checklist(node string) []string {
	return []string{
		"the node's password in the directory (userPassword of " + node + "), and what it could read: with ring 0, all users' hashes",
		"its VPN key: no other node may accept it (rplanVpnKey)",
		"its SSH host key, by which it reached the others (rplanSshKey)",
		"TLS keys: of its web sites, of IMAP and SMTP, of its slapd; revoke the certificates",
		"DKIM keys that it signed with, and their records in DNS",
		"passphrases of its disks, and of others' that were written on it",
		"passwords of Dovecot's doveadm and of databases that it used",
		"sessions and remembered logins of the sites it served",
		"keys and passwords of the admins that were in anybody's home on it",
	}
}
