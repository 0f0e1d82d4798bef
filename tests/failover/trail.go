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

const recorded = "/var/log/doveadm-calls"

// record makes nodes write down what merges do.
func record(ctx context.Context, nodes []*lab.Node) error {
	for _, n := range nodes {
		if _, err := n.RunInput(ctx, recorder, "/bin/sh", "-ec", `cat >"$1"; chmod 755 "$1"`, "sh", "/usr/local/bin/doveadm"); err != nil {
			return err
		}
	}
	return nil
}

// unrecorded undoes record where doveadm is to be killed, by its name: the script has the same.
func (w *world) unrecorded() {
	w.Helper()
	for _, n := range w.Nodes {
		_, err := n.Run(w.ctx, "rm", "-f", "/usr/local/bin/doveadm")
		w.ok(err)
	}
}

// trail is what was done to a user's mailbox on all nodes.
func (w *world) trail(user string) string {
	var all []string
	for _, n := range w.Nodes {
		text, err := n.Read(recorded)
		if err != nil {
			all = append(all, fmt.Sprintf("%s: %v\n", n.Name, err))
		}
		for line := range strings.Lines(text) {
			if at, call, ok := strings.Cut(line, " "); ok && strings.HasPrefix(call, user+" ") {
				all = append(all, at+" "+n.Name+": "+call)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}
