package failover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
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

// answerKick ends sessions of the users that stdin names: those that end on
// this node, and those that are handed over to another, which would otherwise
// hang for minutes on a node that is gone.
func (s *server) answerKick(ctx context.Context, q asked) error {
	users := map[string]bool{}
	lines := bufio.NewScanner(q.stdin)
	for lines.Scan() {
		if !login().MatchString(lines.Text()) {
			return diag.BadData.Errorf("kick: %q is not the address of a mailbox", lines.Text())
		}
		users[lines.Text()] = true
	}
	if err := lines.Err(); err != nil {
		return diag.BadData.Errorf("kick: %w", err)
	}
	served, err1 := s.sessions(ctx, users, "kick", "who")
	handedOver, err2 := s.sessions(ctx, users, "proxy kick", "proxy", "list")
	all := slices.Concat(served, handedOver)
	slices.Sort(all)
	return errors.Join(json.NewEncoder(q.stdout).Encode(kicked{len(slices.Compact(all))}), err1, err2)
}

// sessions lists who has sessions of a kind, and ends those of the users. It
// asks first, as a doveadm for each of thousands of users takes minutes.
func (s *server) sessions(ctx context.Context, users map[string]bool, kick string, list ...string) (ended []string, err error) {
	result, err := s.run(ctx, run.Cmd{Argv: append([]string{"doveadm", "-f", "tab"}, list...)})
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil // a node without mailboxes
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(result.Stdout)) {
		user, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !users[user] || seen[user] {
			continue
		}
		seen[user] = true
		switch failed := s.end(ctx, kick, user); {
		case failed == nil:
			ended = append(ended, user)
		case exitCode(failed) != noUser:
			err = errors.Join(err, failed)
		}
	}
	return ended, err
}

// end ends one user's sessions. A login process that ends in the same moment
// makes doveadm fail (75), and is no reason not to ask the others.
func (s *server) end(ctx context.Context, kick, user string) (err error) {
	const tries = 3
	for range tries {
		_, err = s.run(ctx, run.Cmd{Argv: append(append([]string{"doveadm"}, strings.Fields(kick)...), user)})
		if exitCode(err) != int(diag.TryAgain) {
			return err
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
