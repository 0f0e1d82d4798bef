package scenarios

import (
	"context"
	"strings"
	"testing"

	"rplan/lib/ssh"
	"rplan/tests/lab"
)

// A node runs its one command on another, and is let in nowhere from the moment that the others' maps say that it is evicted.
func TestNodesReachEachOther(t *testing.T) {
	l, ctx := collective(t)
	n1, n2, n3 := l.Node("n1"), l.Node("n2"), l.Node("n3")
	standIn(t, ctx, n2)
	t.Cleanup(func() { restore(t, n3) })
	ask := func(from, to *lab.Node, want string) {
		t.Helper()
		client := ssh.Client{Key: "/etc/ssh/ssh_host_ed25519_key", KnownHosts: "/var/lib/rplan/maps/ssh/known_hosts"}
		if got, err := from.Run(ctx, client.Argv(to.VPN, "sync", "x&y@example.org")...); !strings.Contains(got, want) {
			t.Errorf("from %s to %s: %q, want %q; %v", from.Name, to.Name, got, want, err)
		}
	}
	ask(n1, n2, "serve n1: sync x%26y@example.org\n")
	ask(n3, n2, "serve n3: sync x%26y@example.org\n")
	ask(n2, n2, "Permission denied (publickey")
	if listening, err := n2.Run(ctx, "ss", "-Hltn", "sport", "=", "22"); err != nil || !strings.Contains(listening, n2.VPN.String()+":22") || strings.Count(listening, "\n") != 1 {
		t.Errorf("sshd of n2 listens at %q, %v", listening, err)
	}

	if err := n3.SetState("evicted"); err != nil {
		t.Fatal(err)
	}
	if err := l.WaitReplicated(ctx, n1, n2); err != nil { // n3 may not see it any more
		t.Fatal(err)
	}
	if out, err := n2.Genmaps(ctx); err != nil {
		t.Fatal(out, err)
	}
	ask(n3, n2, "Permission denied (publickey")
	ask(n2, n3, "Host key verification failed")
	ask(n1, n2, "serve n1: sync")
}

// standIn puts a program that says how it was called in the place of rp-failover on a node, until the end of the test.
func standIn(t *testing.T, ctx context.Context, n *lab.Node) {
	t.Helper()
	const config, program = "/etc/rplan/rplan.toml", "/usr/local/bin/stand-in"
	was, err := n.Read(config)
	if err == nil {
		err = n.Write(program, "#!/bin/sh\necho \"$@: $SSH_ORIGINAL_COMMAND\"\n")
	}
	if err == nil {
		_, err = n.Run(ctx, "chmod", "755", program)
	}
	if err != nil {
		t.Fatal(err)
	}
	write := func(ctx context.Context, text string) {
		if err := n.Write(config, text); err != nil {
			t.Fatal(err)
		}
		if out, err := n.Genmaps(ctx); err != nil {
			t.Fatal(out, err)
		}
	}
	is := strings.Replace(was, "/usr/local/bin/rp-failover", program, 1)
	if is == was {
		t.Fatalf("the configuration does not name rp-failover:\n%s", was)
	}
	t.Cleanup(func() { write(context.WithoutCancel(ctx), was) })
	write(ctx, is)
}
