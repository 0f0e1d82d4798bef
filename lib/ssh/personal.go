package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rplan/lib/diag"
)

// Personal reaches a host as the admin at this machine does: with their
// configuration, agent, jump hosts and security keys, and asking them what needs to
// be asked. But only these host keys are believed, and nothing of this machine is lent to the host.
type Personal struct {
	Host     string
	Port     int
	User     string
	HostKeys []string // public ones, "TYPE BASE64"
	Options  []string // more of ssh_config(5)'s, "NAME=value", which come first
}

// alias is the host's name in the file of host keys: whatever its address is, only these are its.
const alias = "rplan"

// Via is the command line to which the words of a command are to be added, each of
// which the host's shell sees as it is. done removes the file of host keys.
func (p Personal) Via() (argv []string, done func(), err error) {
	dir, err := os.MkdirTemp("", "rplan-ssh-")
	if err != nil {
		return nil, nil, diag.CantCreate.Errorf("a directory for host keys: %w", err)
	}
	done = func() { os.RemoveAll(dir) }
	var lines strings.Builder
	for _, key := range p.HostKeys {
		fmt.Fprintf(&lines, "%s %s\n", alias, key)
	}
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(lines.String()), 0o600); err != nil {
		done()
		return nil, nil, diag.CantCreate.Errorf("host keys: %w", err)
	}
	argv = []string{"ssh", "-T", "-a", "-x", "-k", "-l", p.User, "-p", strconv.Itoa(p.Port)}
	argv = withOptions(argv, p.Options...)
	argv = withOptions(argv, strict(known)...)
	argv = withOptions(argv,
		"HostKeyAlias="+alias,
		"KnownHostsCommand=none",
		"VerifyHostKeyDNS=no",
		"CheckHostIP=no",
		"ControlMaster=no", "ControlPath=none", // no other program's connection
		"Tunnel=no",
		"RemoteCommand=none",
		"SessionType=default",
		"StdinNull=no", // else it is the end of an empty passphrase
		"ForkAfterAuthentication=no",
		"RequestTTY=no")
	return append(argv, "--", p.Host), done, nil
}
