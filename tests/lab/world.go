package lab

import (
	"context"
	"fmt"
	"net/netip"
)

// Elsewhere is a mail domain that is no domain of the collective. Its mail
// server is at ElsewhereAddress, where a test may start a Sink.
const Elsewhere = "elsewhere.example"

var (
	// VisitorAddress is where all clients in a lab come from. Nothing in the lab's configuration
	// has it: where it is found, a server wrote down who its client was.
	VisitorAddress = netip.MustParseAddr("203.0.113.7")
	// OtherAddress is where clients come from who misbehave: servers are slow to answer such an address later.
	OtherAddress = netip.MustParseAddr("203.0.113.8")
	// ElsewhereAddress is where the visitor's servers are.
	ElsewhereAddress = netip.MustParseAddr("203.0.113.25")
)

// startWorld gives the visitor a DNS server, which all machines ask: it knows
// Elsewhere, and refuses everything else at once.
func (l *Lab) startWorld(ctx context.Context) error {
	v := l.Visitor
	if err := v.Write("/etc/knot/knot.conf", fmt.Sprintf(`server:
    rundir: "/run/knot"
    user: knot:knot
    listen: %s@53
database:
    storage: "/var/lib/knot"
zone:
  - domain: %s
    file: "/etc/knot/zone"
    zonefile-sync: -1
`, ElsewhereAddress, Elsewhere)); err != nil {
		return err
	}
	if err := v.Write("/etc/knot/zone", fmt.Sprintf("$TTL 60\n@ SOA @ h 1 60 60 60 60\n@ NS @\n@ A %s\n", ElsewhereAddress)); err != nil {
		return err
	}
	if _, err := v.Run(ctx, "/bin/sh", "-ec", "install -d -o knot /run/knot; knotd -d"); err != nil {
		return err
	}
	return v.await(ctx, ElsewhereAddress, "53")
}
