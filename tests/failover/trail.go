package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rplan/tests/lab"
)

// recorder stands before doveadm(1) on a node. It writes each call down, so that a finding can be traced to
// what a merge did, whoever asked for that; and of what leaves a folder, which messages it is.
const recorder = `#!/bin/sh
echo recorder >/proc/$$/comm # what is to kill doveadm by its name means another
user= last=
for word; do
	[ "$last" != -u ] || user=$word
	last=$word
done
messages() {
	/usr/bin/doveadm -f tab fetch -u "$user" 'guid hdr.x-rplan-id date.saved.unixtime' "$@" 2>&1 | tail -n +2 | tr '\t\n' ' ;'
}
said=
case "$*" in
move*) said=$(shift 4; messages "$@") ;;
expunge*rplan-*) ;;
expunge*) said=$(shift 3; messages "$@") ;;
esac
printf '%s %s %.300s %s\n' "$(date -u +%T.%3N)" "$user" "$*" "$said" >>` + recorded + `
exec /usr/bin/doveadm "$@"
`

const (
	recorded = "/var/log/doveadm-calls"
	errorLog = "/var/log/dovecot-errors"
)

// record makes nodes write down what merges do, and what Dovecot says of what fails, such as a login that
// another node does not answer.
func record(ctx context.Context, nodes []*lab.Node) error {
	for _, n := range nodes {
		if _, err := n.RunInput(ctx, recorder, "/bin/sh", "-ec", `cat >"$1"; chmod 755 "$1"`, "sh", "/usr/local/bin/doveadm"); err != nil {
			return err
		}
		if _, err := n.Run(ctx, "/bin/sh", "-ec", `sed -i "s|^log_path.*|log_path = $1|" /etc/dovecot/dovecot.conf; doveadm reload`, "sh", errorLog); err != nil {
			return err
		}
	}
	return nil
}

// trail is what was done to a user's mailbox on all nodes, without the questions.
func (w *world) trail(user string) string {
	var all []string
	for _, n := range w.Nodes {
		text, err := n.Read(recorded)
		if err != nil {
			all = append(all, fmt.Sprintf("%s: %v\n", n.Name, err))
		}
		for line := range strings.Lines(text) {
			at, call, _ := strings.Cut(line, " ")
			call, is := strings.CutPrefix(call, user+" ")
			if is && !strings.Contains(call, " fetch -u ") {
				all = append(all, at+" "+n.Name+": "+call)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// errors are the last that Dovecot said on all nodes, but for the sessions that were ended.
func (w *world) errors() string {
	var all strings.Builder
	for _, n := range w.Nodes {
		text, err := n.Run(w.ctx, "/bin/sh", "-c", `[ ! -e "$1" ] || grep -v 'Killed with signal 15' "$1" | tail -n 10`, "sh", errorLog)
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(&all, "%s:\n%s\n", n.Name, text)
	}
	return all.String()
}
