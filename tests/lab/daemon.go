package lab

import (
	"context"
	"fmt"
	"strings"
)

// Daemon is one of the servers that a node runs.
type Daemon struct {
	Name    string
	pidFile string // of its first process, which leads the session of all others
	start   step
}

// The servers of a node. Connections that SSHD has let in are no part of it: they outlive it, as everywhere.
var (
	Slapd   = Daemon{"slapd", "/run/slapd/slapd.pid", (*Node).startSlapd}
	Postfix = Daemon{"postfix", "/var/spool/postfix/pid/master.pid", (*Node).startPostfix}
	Dovecot = Daemon{"dovecot", "/run/dovecot/master.pid", (*Node).startDovecot}
	Apache  = Daemon{"apache2", "/run/apache2/apache2.pid", (*Node).startApache}
	Knot    = Daemon{"knotd", "/run/knot/knot.pid", (*Node).startKnot}
	SSHD    = Daemon{"sshd", "/run/sshd.pid", (*Node).startSSHD}
)

// PID is the process id, on the node, of the daemon's first process.
func (n *Node) PID(d Daemon) (string, error) {
	text, err := n.Read(d.pidFile)
	return strings.TrimSpace(text), err
}

// Start starts a daemon that was killed, and returns when it answers.
func (n *Node) Start(ctx context.Context, d Daemon) error { return d.start(n, ctx) }

// Kill ends all processes of a daemon without warning, as a crash does, and returns when they are gone.
func (n *Node) Kill(ctx context.Context, d Daemon) error {
	pid, err := n.signal(ctx, d, "-KILL")
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		if left, err := n.Run(ctx, "pgrep", "--list-name", "--session", pid); err == nil {
			return fmt.Errorf("of %s on %s there is still %q", d.Name, n.Name, left)
		}
		return nil
	})
}

// Pause makes a daemon deaf without closing anything, as a hanging machine does.
func (n *Node) Pause(ctx context.Context, d Daemon) error {
	_, err := n.signal(ctx, d, "-STOP")
	return err
}

// Resume ends a Pause.
func (n *Node) Resume(ctx context.Context, d Daemon) error {
	_, err := n.signal(ctx, d, "-CONT")
	return err
}

func (n *Node) signal(ctx context.Context, d Daemon, signal string) (pid string, err error) {
	if pid, err = n.PID(d); err != nil {
		return "", err
	}
	_, err = n.Run(ctx, "pkill", signal, "--session", pid)
	return pid, err
}
