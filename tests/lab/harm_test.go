package lab

import (
	"net"
	"strings"
	"testing"
)

// What befalls a node happens to it alone, and ends.
func TestHarm(t *testing.T) {
	ctx, l := t.Context(), Start(t, Config{Nodes: 2, DirectoryOnly: true})
	n, other := l.Node("n2"), l.Node("n1")
	run := func(argv ...string) string {
		t.Helper()
		out, err := n.Run(ctx, argv...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	do(n.Write("/srv/dir/file", "x"))
	do(n.Empty(ctx, "/srv"))
	if left := run("ls", "-A", "/srv"); left != "" {
		t.Errorf("left: %q", left)
	}

	do(n.OwnDisk(ctx, "/srv"))
	do(n.Write("/srv/kept", "x"))
	do(n.Stuff(ctx, "/srv", 8))
	if err := n.Write("/srv/large", strings.Repeat("x", 20_000)); err == nil {
		t.Error("there is room on a full disk")
	}
	do(n.Unstuff(ctx, "/srv"))
	do(n.Write("/srv/large", strings.Repeat("x", 20_000)))
	if text, err := n.Read("/srv/kept"); text != "x" {
		t.Errorf("what was on the disk is %q: %v", text, err)
	}

	// The program is where sshd looks for it, and says when it is.
	do(n.Write("/usr/local/bin/rp-failover", "#!/bin/sh\necho '{\"node\": \"n2\", \"time\": \"2026-01-02T03:04:05.5Z\"}'\nexit 3\n"))
	run("chmod", "755", "/usr/local/bin/rp-failover")
	says := func() string {
		return run("/bin/sh", "-c", "SSH_ORIGINAL_COMMAND=status rp-failover serve n1; echo $?")
	}
	do(n.WrongClock(ctx, "+1 hour"))
	do(n.WrongClock(ctx, "+1 hour")) // no more than an hour
	if got := says(); !strings.Contains(got, "2026-01-02T04:04:05.500000000Z") || !strings.HasSuffix(got, "3") {
		t.Errorf("with a wrong clock it says %q", got)
	}
	do(n.RightClock(ctx))
	if got := says(); !strings.Contains(got, "2026-01-02T03:04:05.5Z") {
		t.Errorf("with a right clock it says %q", got)
	}

	do(n.SaveDirectory(ctx))
	do(n.Kill(ctx, Slapd))
	do(other.SetState("out"))
	do(n.RestoreDirectory(ctx))
	do(n.Start(ctx, Slapd))
	do(l.WaitReplicated(ctx))
	if state := stateAt(t, n, "n1"); state != "out" {
		t.Errorf("the restored directory says that n1 is %q", state)
	}

	reaches := func(port string) bool {
		t.Helper()
		conn, err := n.Dial(ctx, "tcp", net.JoinHostPort(other.VPN.String(), port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	listener, err := other.Listen(other.VPN.String() + ":1")
	do(err)
	defer listener.Close()
	for _, c := range []struct {
		what      string
		do        func() error
		slapd, it bool
	}{
		{"at first", func() error { return nil }, true, true},
		{"deaf", func() error { return n.Deafen(ctx) }, false, true},
		{"no more deaf", func() error { return n.Undeafen(ctx) }, true, true},
		{"parted", func() error { return other.Part(ctx, n) }, false, false},
		{"joined", func() error { return n.Join(ctx, other) }, true, true},
	} {
		do(c.do())
		if slapd, it := reaches("389"), reaches("1"); slapd != c.slapd || it != c.it {
			t.Errorf("%s: slapd is reached: %v, the machine: %v", c.what, slapd, it)
		}
	}

	if _, err := n.Run(ctx, "/bin/sh", "-c", "cp /bin/sleep /tmp/sleeper; /tmp/sleeper 60 & cp /bin/sleep /tmp/dreamer; /tmp/dreamer 60 &"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} { // then there is none any more
		if killed, err := n.KillProgram(ctx, "sleeper"); killed != want || err != nil {
			t.Errorf("sleepers were killed: %v %v, want %v", killed, err, want)
		}
	}
	if got := run("pgrep", "-lx", "sleeper|dreamer"); !strings.Contains(got, "dreamer") || strings.Contains(got, "sleeper") {
		t.Errorf("after the sleeper was killed there is %q", got)
	}
}
