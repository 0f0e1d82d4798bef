package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strings"
)

// What befalls a node besides a lost network and dead servers.

// KillProgram ends all processes of a program without warning, returns
// when they are gone, and says whether there were any.
func (n *Node) KillProgram(ctx context.Context, name string) (killed bool, err error) {
	err = poll(ctx, func() error {
		_, err := n.Run(ctx, "pkill", "-KILL", "-x", name)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return nil // there was none
		}
		if err == nil {
			killed, err = true, fmt.Errorf("there was a %q on %s until now", name, n.Name)
		}
		return err
	})
	return killed, err
}

// Empty removes all that directories hold, as a new disk does.
func (n *Node) Empty(ctx context.Context, dirs ...string) error {
	_, err := n.Run(ctx, append([]string{"find"}, append(dirs, "-mindepth", "1", "-delete")...)...)
	return err
}

// OwnDisk gives an empty directory a disk of its own, which Stuff fills.
func (n *Node) OwnDisk(ctx context.Context, dir string) error {
	_, err := n.Run(ctx, "/bin/sh", "-ec", `mount -t tmpfs -o "mode=$(stat -c %a "$1"),uid=$(stat -c %u "$1"),gid=$(stat -c %g "$1"),size=1g" disk "$1"`, "sh", dir)
	return err
}

// Stuff leaves some kilobytes of room on an own disk. Unstuff makes room again.
// A disk that has become fuller meanwhile cannot be made so small.
func (n *Node) Stuff(ctx context.Context, dir string, kilobytes int) error {
	_, err := n.Run(ctx, "/bin/sh", "-c", `
		for try in 1 2 3 4 5 6 7 8 9 10; do
			used=$(df -k --output=used "$1" | tail -n 1)
			mount -o "remount,size=$((used + $2))k" "$1" && exit
		done
		exit 1`, "sh", dir, fmt.Sprint(kilobytes))
	return err
}

// Unstuff undoes Stuff.
func (n *Node) Unstuff(ctx context.Context, dir string) error {
	_, err := n.Run(ctx, "mount", "-o", "remount,size=1g", dir)
	return err
}

const savedDirectory = "/root/ldap.tar"

// SaveDirectory keeps a copy of the node's replica, for RestoreDirectory.
func (n *Node) SaveDirectory(ctx context.Context) error {
	if err := n.Kill(ctx, Slapd); err != nil {
		return err
	}
	if _, err := n.Run(ctx, "tar", "-C", "/var/lib/ldap", "-cf", savedDirectory, "."); err != nil {
		return err
	}
	return n.Start(ctx, Slapd)
}

// RestoreDirectory puts the copy in the replica's place, as one does from a backup. slapd must have been killed.
func (n *Node) RestoreDirectory(ctx context.Context) error {
	if err := n.Empty(ctx, "/var/lib/ldap"); err != nil {
		return err
	}
	_, err := n.Run(ctx, "tar", "-C", "/var/lib/ldap", "-xpf", savedDirectory)
	return err
}

// wrongClock stands for a program of ours on a machine whose clock is off.
// There is no clock of a node's own to set: a time namespace has those that
// count from the start of the machine only (time_namespaces(7)), and what
// faketime(1) preloads means nothing to programs without libc. So the times
// that the program prints to other nodes are moved.
const wrongClock = `#!/bin/bash
case $SSH_ORIGINAL_COMMAND in
status | maps)
	"$0.right" "$@" | while IFS= read -r line; do
		[[ $line =~ \"time\":\ ?\"([^\"]*)\" ]] &&
			line=${line/"${BASH_REMATCH[1]}"/$(date -u -d "${BASH_REMATCH[1]} %s" +%%Y-%%m-%%dT%%H:%%M:%%S.%%NZ)}
		printf '%%s\n' "$line"
	done
	exit "${PIPESTATUS[0]}"
	;;
esac
exec "$0.right" "$@"
`

// programDirs are where a node may have programs of ours.
var programDirs = []string{"/usr/local/bin", "/usr/local/sbin", "/usr/sbin"}

// WrongClock makes the node tell others a time that is off by what date(1)
// understands, such as "+1 hour". RightClock undoes it.
func (n *Node) WrongClock(ctx context.Context, off string) error {
	return n.eachProgram(ctx, `[ -e "$1.right" ] || mv "$1" "$1.right"; cat >"$1"; chmod 755 "$1"`, fmt.Sprintf(wrongClock, off))
}

// RightClock undoes WrongClock.
func (n *Node) RightClock(ctx context.Context) error {
	return n.eachProgram(ctx, `[ ! -e "$1.right" ] || mv "$1.right" "$1"`, "")
}

func (n *Node) eachProgram(ctx context.Context, script, input string) error {
	for _, dir := range programDirs {
		program := path.Join(dir, "rp-failover")
		if _, err := n.RunInput(ctx, input, "/bin/sh", "-ec", `[ -e "$1" ] || exit 0; `+script, "sh", program); err != nil {
			return err
		}
	}
	return nil
}

// Configure adds to the node's rplan.toml.
func (n *Node) Configure(text string) error {
	for _, file := range []string{"/etc/rplan/rplan.toml", firstConfig} {
		old, err := n.Read(file)
		if err != nil {
			return err
		}
		if err := n.Write(file, strings.TrimRight(old, "\n")+"\n\n"+text); err != nil {
			return err
		}
	}
	return nil
}

// FirstMaps makes the maps of a node that has none, whose servers do not run.
func (n *Node) FirstMaps(ctx context.Context) error { return n.firstMaps(ctx) }
