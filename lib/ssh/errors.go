package ssh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"unicode"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// What may be in the way of a command, in the error of Run.
var (
	// ErrHostKey: the host's key is unknown, or another than the one that is known. Of kind diag.Config.
	ErrHostKey = errors.New("its host key is not the one that is expected")
	// ErrDenied: the host does not let this node in. Of kind diag.Config.
	ErrDenied = errors.New("it does not let this node in")
	// ErrUnreachable: no answer, or none any more. Of kind diag.TryAgain.
	ErrUnreachable = errors.New("it cannot be reached")
)

// ExitError is the failure of a command that ran on the host.
type ExitError struct {
	Host netip.Addr
	Verb string // the first word of the command
	Code int    // its exit code, 1 to 254
	Said string // the end of its standard error, made harmless
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%q on %s: exit status %d%s", e.Verb, e.Host, e.Code, after(e.Said))
}

// ExitFailed is the exit code of ssh(1) that says that it failed itself (EXIT STATUS). A
// command that exits so cannot be told from that; rplan's do not.
const ExitFailed = 255

// explain says what err of ssh(1) means. The standard output of the command,
// which is data, is in no error.
func (c *Client) explain(ctx context.Context, host netip.Addr, words []string, result run.Result, err error) error {
	said := harmless(result.Stderr)
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, run.ErrTimeout):
		return diag.TryAgain.Errorf("%s: %w: %w%s", host, ErrUnreachable, run.ErrTimeout, after(said))
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", host, context.Cause(ctx))
	case !exited:
		return fmt.Errorf("%s: %w", host, err)
	case exit.ExitCode() == ExitFailed:
		return c.failed(host, said)
	case exit.ExitCode() < 0:
		return fmt.Errorf("%s: \"ssh\": %w%s", host, exit, after(said))
	}
	e := &ExitError{Host: host, Code: exit.ExitCode(), Said: said}
	if len(words) > 0 {
		e.Verb = words[0]
	}
	return e
}

// failed says why ssh(1) itself failed, by its own words.
func (c *Client) failed(host netip.Addr, said string) error {
	has := func(texts ...string) bool {
		for _, text := range texts {
			if strings.Contains(said, text) {
				return true
			}
		}
		return false
	}
	switch {
	case has("REMOTE HOST IDENTIFICATION HAS CHANGED", "DIFFERENT IP ADDRESS"):
		return diag.Config.Errorf("%s: %w, but another%s", host, ErrHostKey, after(said)).
			WithHint("was it installed anew? compare its /etc/ssh/ssh_host_*_key.pub with rplanSshKey of its entry; if they are the same, it is somebody else who answers")
	case has("Host key verification failed", "no matching host key"):
		return diag.Config.Errorf("%s: %w: %q has none of its keys%s", host, ErrHostKey, c.KnownHosts, after(said)).
			WithHint("its entry needs the text of its /etc/ssh/ssh_host_ed25519_key.pub as rplanSshKey; rp-genmaps then makes the file")
	case has("Permission denied", "Too many authentication failures", "UNPROTECTED PRIVATE KEY", "bad permissions"):
		return diag.Config.Errorf("%s: %w%s", host, ErrDenied, after(said)).
			WithHint("its sshd needs contrib/ssh's rplan.conf and rplanSshKey of this node, which is %s.pub, in its maps; an evicted node is let in nowhere", c.Key)
	}
	return diag.TryAgain.Errorf("%s: %w%s", host, ErrUnreachable, after(said))
}

// harmless is what a program said, without what may steer a terminal.
func harmless(text []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(string(text), "?"), "\r\n", "\n")))
}

// after is text for the end of an error.
func after(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
