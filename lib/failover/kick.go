package failover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// kicked is the answer to kick.
type kicked struct {
	Kicked int `json:"kicked"` // users who had sessions
}

// login is what can be a mailbox's address: nothing that is a pattern for doveadm.
// To compile it takes a millisecond, which most runs of the program can do without.
var login = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9_][a-z0-9._+=~&-]{0,63}@[a-z0-9.-]{3,253}$`)
})

// answerKick ends those sessions of the users that stdin names which are with
// the wrong node since the state of another changed: with that one, if it does
// not serve any more, or else with any but that one. Sessions are those that
// this node serves, and those that it handed over, which would otherwise hang
// for minutes with a node that is gone. Who came back already, to the right
// node, is left alone, unless they have another session in the wrong place.
func (s *server) answerKick(ctx context.Context, q asked) error {
	users := map[string]bool{}
	lines := bufio.NewScanner(q.stdin)
	for lines.Scan() {
		if !login().MatchString(lines.Text()) {
			return diag.BadData.Errorf("%s: %q is not the address of a mailbox", q.verb, lines.Text())
		}
		users[lines.Text()] = true
	}
	if err := lines.Err(); err != nil {
		return diag.BadData.Errorf("%s: %w", q.verb, err)
	}
	known, err := readNodes(ctx, s.config)
	if err != nil {
		return err
	}
	changed := known.Snapshot.Node(q.args[0])
	if changed == nil {
		return diag.BadData.Errorf("%s: there is no node %q", q.verb, q.args[0])
	}
	there, serves := changed.VPN.String(), changed.State.Serves()
	var dropped, served, handedOver []string
	var err1, err2, err3 error
	if q.verb == "drop" {
		dropped, err1 = s.drop(ctx, users, there)
	}
	if (s.self == changed.Name) != serves {
		served, err2 = s.sessions(ctx, func(user, _ string) bool { return users[user] }, "kick", "who")
	}
	// Where doveadm does not say where sessions went (2.4), all are in the wrong place.
	handedOver, err3 = s.sessions(ctx, func(user, to string) bool {
		return users[user] && (to == "" || (to == there) != serves)
	}, "proxy kick", "proxy", "list")
	all := slices.Concat(dropped, served, handedOver)
	slices.Sort(all)
	return errors.Join(json.NewEncoder(q.stdout).Encode(kicked{len(slices.Compact(all))}), err1, err2, err3)
}

// drop ends at once all that is handed over to a node that is gone, logins that
// wait for its answer among them, and says which users had any. It misses those
// that wait in a login process that has not handed over anybody so far.
func (s *server) drop(ctx context.Context, users map[string]bool, address string) (dropped []string, err error) {
	rows, err := s.list(ctx, "proxy", "list")
	for user, to := range rows {
		if users[user] && to == address {
			dropped = append(dropped, user)
		}
	}
	return dropped, errors.Join(err, s.kick(ctx, "proxy kick -h", address))
}

// sessions ends the sessions of a kind of who is in the wrong place. A doveadm
// for each of thousands of users takes minutes, so it asks first who has any,
// and again each second: most come back at once, and in the right place then.
// That it takes its time keeps thousands from coming back in the same moment.
func (s *server) sessions(ctx context.Context, wrong func(user, to string) bool, kick string, list ...string) (ended []string, err error) {
	tried := map[string]bool{}
	for {
		rows, failed := s.list(ctx, list...)
		err = errors.Join(err, failed)
		listed, before := s.now(), len(tried)
		for user, to := range rows {
			if tried[user] || !wrong(user, to) {
				continue
			}
			if ctx.Err() != nil || len(tried) > before && s.now().Sub(listed) > time.Second {
				break
			}
			tried[user] = true
			switch failed := s.kick(ctx, kick, user); {
			case failed == nil:
				ended = append(ended, user)
			case exitCode(failed) != noUser:
				err = errors.Join(err, failed)
			}
		}
		if len(tried) == before {
			return ended, errors.Join(err, ctx.Err())
		}
	}
}

// tries are made of what fails (75) because a login process ended in the same moment.
const tries = 3

// list is what doveadm lists, see rows; nothing on a node without mailboxes.
// That a list is not whole doveadm says, but with exit status 0.
func (s *server) list(ctx context.Context, what ...string) (iter.Seq2[string, string], error) {
	var result run.Result
	var err error
	for range tries {
		result, err = s.runIfThere(ctx, append([]string{"doveadm", "-f", "tab"}, what...)...)
		if err != nil || !bytes.Contains(result.Stderr, []byte("LIST-FULL failed")) {
			break
		}
		err = diag.TryAgain.Errorf("doveadm %s: %s", strings.Join(what, " "), bytes.TrimSpace(result.Stderr))
		sleep(ctx, 100*time.Millisecond)
	}
	return rows(string(result.Stdout)), err
}

// rows are the users of a list of doveadm's and the address of the node that each is handed
// over to, "" if the list has no such column. doveadm proxy list repeats its
// header for each login process, with names of its own.
func rows(table string) iter.Seq2[string, string] {
	return func(yield func(user, to string) bool) {
		column := -1
		for line := range strings.Lines(table) {
			fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
			if fields[0] == "username" {
				column = slices.IndexFunc(fields, func(f string) bool { return f == "dest-ip" || f == "dest ip" })
				continue
			}
			to := ""
			if column >= 0 && column < len(fields) {
				to = fields[column]
			}
			if !yield(fields[0], to) {
				return
			}
		}
	}
}

// kick ends the sessions of one user, or with one node.
func (s *server) kick(ctx context.Context, how, whom string) (err error) {
	for range tries {
		_, err = s.runIfThere(ctx, append(append([]string{"doveadm"}, strings.Fields(how)...), whom)...)
		if exitCode(err) != int(diag.TryAgain) {
			break
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return err
}

// exitCode is that of a program which ended with err, or -1.
func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// noUser is what doveadm kick exits with when the sessions ended by themselves meanwhile.
const noUser = 68
