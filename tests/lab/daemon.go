package lab

import (
	"context"
	"strings"
	"syscall"
)

// Daemon is one of the servers that a node runs.
type Daemon struct {
	Name    string
	pidFile string // of its first process, which leads the session of all others
}

// The servers of a node.
var (
	Slapd   = Daemon{"slapd", "/run/slapd/slapd.pid"}
	Postfix = Daemon{"postfix", "/var/spool/postfix/pid/master.pid"}
	Dovecot = Daemon{"dovecot", "/run/dovecot/master.pid"}
	Apache  = Daemon{"apache2", "/run/apache2/apache2.pid"}
	Knot    = Daemon{"knotd", "/run/knot/knot.pid"}
)

// PID is the process id, on the node, of the daemon's first process.
func (n *Node) PID(d Daemon) (string, error) {
	text, err := n.Read(d.pidFile)
	return strings.TrimSpace(text), err
}

// Kill ends all processes of a daemon without warning, as a crash does.
func (n *Node) Kill(ctx context.Context, d Daemon) error { return n.signal(ctx, d, syscall.SIGKILL) }

// Pause makes a daemon deaf without closing anything, as a hanging machine does.
func (n *Node) Pause(ctx context.Context, d Daemon) error { return n.signal(ctx, d, syscall.SIGSTOP) }

// Resume ends a Pause.
func (n *Node) Resume(ctx context.Context, d Daemon) error {
	return n.signal(ctx, d, syscall.SIGCONT)
}

func (n *Node) signal(ctx context.Context, d Daemon, sig syscall.Signal) error {
	pid, err := n.PID(d)
	if err != nil {
		return err
	}
	number := map[syscall.Signal]string{syscall.SIGKILL: "-KILL", syscall.SIGSTOP: "-STOP", syscall.SIGCONT: "-CONT"}[sig]
	_, err = n.Run(ctx, "pkill", number, "--session", pid)
	return err
}
