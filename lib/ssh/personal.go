package ssh

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// Personal reaches a host as the admin at this machine does: with their
// configuration, agent, jump hosts and security keys, and asking them what needs to
// be asked. But only these host keys are believed, and nothing of this machine is lent to the host.
type Personal struct {
	Host     string
	Port     int
	User     string
	HostKeys []string // public ones, "TYPE BASE64"
	Only     string   // file of a private key: no other key is tried, whatever their configuration and agent have; "" is all they have
	Batch    bool     // nothing is asked
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
	if p.Only != "" {
		way, err := p.way()
		if err != nil {
			done()
			return nil, nil, err
		}
		argv = withOptions(append(argv, "-F", "none"), way...)
		argv = withOptions(argv, "IdentityFile="+p.Only, "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey")
	}
	if p.Batch {
		argv = withOptions(argv, "BatchMode=yes")
	}
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

// way are the options of the admin's configuration that say how the host is reached. The
// rest of it cannot be used where one key is to be tried: ssh(1) tries those of the
// configuration after it.
func (p Personal) way() ([]string, error) {
	result, err := run.Run(context.Background(), run.Cmd{Argv: []string{"ssh", "-G", "-l", p.User, "-p", strconv.Itoa(p.Port), "--", p.Host}})
	if err != nil {
		return nil, diag.Config.Errorf("your configuration of ssh: %w", err)
	}
	var options []string
	for line := range strings.Lines(string(result.Stdout)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case value == "none":
		case slices.Contains([]string{"hostname", "addressfamily", "bindaddress", "bindinterface", "proxycommand", "connecttimeout"}, name):
			options = append(options, name+"="+value)
		case name == "proxyjump":
			command, err := jump(value)
			if err != nil {
				return nil, err
			}
			options = append(options, "ProxyCommand="+command)
		}
	}
	return options, nil
}

// jump is the command that ssh(1) makes of ProxyJump: with the admin's configuration of the hosts in between.
func jump(hops string) (string, error) {
	if strings.Trim(hops, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:/[],%+=") != "" {
		return "", diag.Config.Errorf("ProxyJump %.200q of your configuration of ssh cannot be used here", hops).WithHint("ProxyCommand can")
	}
	command := "ssh -W '[%h]:%p'"
	all := strings.Split(hops, ",")
	last := all[len(all)-1]
	if before := all[:len(all)-1]; len(before) > 0 {
		command += " -J " + strings.Join(before, ",")
	}
	if !strings.Contains(last, "://") {
		last = "ssh://" + last
	}
	return command + " -- " + strings.ReplaceAll(last, "%", "%%"), nil
}
