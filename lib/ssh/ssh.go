// Package ssh runs commands on other nodes through Debian's ssh(1). It asks
// nobody anything, believes no host key but those of one file, and reads no
// one's configuration.
//
// The first call to a host leaves a process behind that keeps the connection
// open for those that follow, for persist seconds after the last of them or
// until Close. That process is no child of the caller's: it ends by itself also
// where the caller was killed. Whoever is let in stays so until then, so a
// server that wants to shut somebody out has to look at each command.
package ssh

import (
	"cmp"
	"context"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"rplan/lib/run"
)

const (
	// persist is how many seconds an unused connection stays open.
	persist = 15
	// A connection is given up when the other side was silent for alive times aliveMax seconds and a little.
	alive    = 5
	aliveMax = 3
)

// DefaultConnectTimeout is for a Client that sets none.
const DefaultConnectTimeout = 5 * time.Second

// Client says how other nodes are reached.
type Client struct {
	Key        string // file of the private key that this node shows
	KnownHosts string // file of the host keys that are believed, sshd(8)
	// ControlDir is a directory for the sockets of open connections, which is
	// made where there is none, mode 0700. A connection is used by all Clients
	// with this directory, whatever their other settings. Without it, each call
	// makes a connection of its own, which ends with it.
	ControlDir     string
	User           string        // to be on the other node; "" is root
	Port           int           // 0 is 22
	ConnectTimeout time.Duration // for the connection and the login; 0 is DefaultConnectTimeout
}

// Argv is the command line that runs a command on a host, for programs that
// run one themselves. It does not touch ControlDir, see Prepare. The words
// arrive as SSH_ORIGINAL_COMMAND, for Words to read.
func (c *Client) Argv(host netip.Addr, words ...string) []string {
	return append(c.argv(), "--", host.String(), command(words))
}

// argv is all that does not depend on host and command. The options are
// those of ssh_config(5).
func (c *Client) argv() []string {
	timeout := cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	seconds := int((timeout + time.Second - 1) / time.Second)
	argv := []string{
		"ssh",
		"-F", "/dev/null", // neither the system's nor the user's configuration
		"-T", "-a", "-x", // no terminal, agent, X11
		"-i", c.Key,
		"-l", cmp.Or(c.User, "root"),
		"-p", strconv.Itoa(cmp.Or(c.Port, 22)),
	}
	options := []string{
		"BatchMode=yes", // never ask
		"IdentitiesOnly=yes",
		"IdentityAgent=none",
		"PreferredAuthentications=publickey",
		"ConnectTimeout=" + strconv.Itoa(seconds),
	}
	if c.ControlDir == "" {
		options = append(options, "ControlMaster=no", "ControlPath=none")
	} else {
		// %C stands for this host's name and the other's address, port and user, in 40 characters.
		options = append(options, "ControlMaster=auto", "ControlPath="+filepath.Join(c.ControlDir, "%C"),
			"ControlPersist="+strconv.Itoa(persist))
	}
	return withOptions(withOptions(argv, strict(c.KnownHosts)...), options...)
}

// strict are the options of whoever believes no host keys but those of one file, lends
// nothing to the host and notices that it is gone.
func strict(known string) []string {
	return []string{
		"LogLevel=ERROR",
		"StrictHostKeyChecking=yes",
		"UserKnownHostsFile=" + known,
		"GlobalKnownHostsFile=/dev/null",
		"UpdateHostKeys=no", // we say which keys there are, not the host
		"ClearAllForwardings=yes",
		"PermitLocalCommand=no",
		"ServerAliveInterval=" + strconv.Itoa(alive),
		"ServerAliveCountMax=" + strconv.Itoa(aliveMax),
	}
}

// withOptions adds options to a command line of ssh(1), of which the first of a name counts.
func withOptions(argv []string, options ...string) []string {
	for _, option := range options {
		argv = append(argv, "-o", option)
	}
	return argv
}

// Run runs a command on a host, with at most maxOutput bytes of output, for at
// most timeout; 0 of either is lib/run's default. The words reach the host as
// those of Argv.
//
// Where the command itself fails, the error is an *ExitError. Otherwise it is
// ErrHostKey, ErrDenied or ErrUnreachable, or what run.Run says.
func (c *Client) Run(ctx context.Context, host netip.Addr, stdin []byte, maxOutput int, timeout time.Duration, words ...string) (run.Result, error) {
	if err := c.Prepare(); err != nil {
		return run.Result{ExitCode: -1}, err
	}
	result, err := run.Run(ctx, run.Cmd{Argv: c.Argv(host, words...), Stdin: stdin, MaxOutput: maxOutput, Timeout: timeout})
	return result, c.explain(ctx, host, words, result, err)
}

// Close ends the open connection to a host, if there is one, and with it the
// commands that run over it.
func (c *Client) Close(ctx context.Context, host netip.Addr) error {
	if c.ControlDir == "" {
		return nil
	}
	argv := append(c.argv(), "-O", "exit", "--", host.String())
	result, err := run.Run(ctx, run.Cmd{Argv: argv, Timeout: 10 * time.Second})
	if result.ExitCode == 255 {
		return nil // nobody listens at the socket
	}
	return err
}
