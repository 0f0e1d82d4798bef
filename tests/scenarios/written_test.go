package scenarios

import (
	"slices"
	"strings"
	"testing"

	"rplan/tests/lab"
)

// Whatever a visitor does, no server of no node writes their address into any file. (While a message is in the queue
// its file does hold it, as contrib/postfix says; here the queues are empty.)
func TestNobodyWritesDownWhoCame(t *testing.T) {
	l, ctx := collective(t)
	alice := "alice@" + lab.Domain
	stranger := l.From(lab.OtherAddress)
	const planted = "/tmp/planted"
	onEach(t, l.Nodes, func(n *lab.Node) error {
		if s, err := stranger.Login(ctx, n, alice, "wrong"); err == nil {
			s.Close()
			t.Errorf("%s let a stranger in", n.Name)
		}
		if _, err := stranger.SendMail(ctx, n, sender, []string{"nobody@" + lab.Domain}, ""); err != nil {
			return err
		}
		if _, err := stranger.Dig(ctx, n, lab.Domain, "MX"); err != nil {
			return err
		}
		return n.Write(planted, lab.VisitorAddress.String()) // to see that the search finds it
	})
	for _, n := range l.Nodes {
		for _, url := range []string{"http://proxy." + lab.Domain + "/none", "https://application." + lab.Domain + "/", "http://nobody.example/"} {
			get(t, ctx, n, url, "X-Forwarded-For", lab.VisitorAddress.String())
		}
	}
	stillServes(t, ctx, "for a visitor")
	onEach(t, l.Nodes, func(n *lab.Node) error {
		out, err := n.Run(ctx, "grep", "-rlF", "--devices=skip", "-e", lab.VisitorAddress.String(), "-e", lab.OtherAddress.String(),
			"/etc", "/run", "/srv", "/tmp", "/var")
		if files := strings.Fields(out); err == nil && !slices.Equal(files, []string{planted}) {
			t.Errorf("on %s a visitor's address is in %q", n.Name, files)
		}
		return err
	})
}
