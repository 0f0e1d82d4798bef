package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The two networks of a lab: each is a bridge on the machine hub, and an
// interface of the same name on the machines that it joins.
const (
	vpn    = "vpn"
	public = "public"
)

// plug joins a machine to a network, by a cable whose other end the hub has.
// The addresses have no prefix length: all else is one hop away.
func (m *Machine) plug(ctx context.Context, hub *Machine, network string, addrs ...netip.Addr) error {
	far := m.Name + "-" + network
	err := host(ctx, "ip", "link", "add", far, "netns", fmt.Sprint(hub.pid), "type", "veth",
		"peer", "name", network, "netns", fmt.Sprint(m.pid))
	if err != nil {
		return err
	}
	if _, err := hub.RunInput(ctx, fmt.Sprintf("link set %s master %s up\n", far, network), "ip", "-batch", "-"); err != nil {
		return err
	}
	var batch strings.Builder
	fmt.Fprintf(&batch, "link set %s up\n", network)
	for _, addr := range addrs {
		fmt.Fprintf(&batch, "address add %s dev %s %s\n", addr, network, map[bool]string{true: "nodad"}[addr.Is6()])
	}
	if network == vpn {
		fmt.Fprintf(&batch, "route add %s dev %s\n", vpnPrefix, network)
	} else {
		fmt.Fprintf(&batch, "route add default dev %[1]s\nroute add ::/0 dev %[1]s\n", network)
	}
	_, err = m.RunInput(ctx, batch.String(), "ip", "-batch", "-")
	return err
}

// newHub makes the machine with the bridges. It has no address itself.
func newHub(ctx context.Context, lab string) (*Machine, error) {
	hub, err := newMachine(lab, "hub")
	if err != nil {
		return nil, err
	}
	var batch strings.Builder
	for _, network := range []string{vpn, public} {
		fmt.Fprintf(&batch, "link add %[1]s type bridge\nlink set %[1]s up\n", network)
	}
	if _, err := hub.RunInput(ctx, batch.String(), "ip", "-batch", "-"); err != nil {
		hub.Close()
		return nil, err
	}
	return hub, nil
}

// Cut takes the node off all networks, as a cut cable does.
func (n *Node) Cut(ctx context.Context) error { return n.cables(ctx, "down") }

// Mend undoes Cut. Who asked for the node just before must ask anew: an answer that the
// kernel is still waiting for (ARP, three tries in three seconds) counts as none.
func (n *Node) Mend(ctx context.Context) error {
	errs := []error{n.cables(ctx, "up")}
	for _, m := range n.lab.Nodes {
		_, err := m.Run(ctx, "ip", "neigh", "flush", "dev", vpn, "nud", "all")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Part breaks the link between two nodes, which others still reach; Join mends it.
func (n *Node) Part(ctx context.Context, other *Node) error { return n.link(ctx, other, "add") }

// Join undoes Part.
func (n *Node) Join(ctx context.Context, other *Node) error { return n.link(ctx, other, "del") }

func (n *Node) link(ctx context.Context, other *Node, verb string) error {
	_, err1 := n.Run(ctx, "ip", "route", verb, "unreachable", other.VPN.String())
	_, err2 := other.Run(ctx, "ip", "route", verb, "unreachable", n.VPN.String())
	return errors.Join(err1, err2)
}

// Deafen lets the node's slapd reach the provider's no more, when it starts the next time; all else reaches the provider.
func (n *Node) Deafen(ctx context.Context) error { return n.hearing(ctx, "add") }

// Undeafen undoes Deafen.
func (n *Node) Undeafen(ctx context.Context) error { return n.hearing(ctx, "del") }

func (n *Node) hearing(ctx context.Context, verb string) error {
	_, err := n.Run(ctx, "ip", "rule", verb, "to", n.lab.Provider().VPN.String(), "ipproto", "tcp", "dport", "389", "type", "unreachable")
	return err
}

func (n *Node) cables(ctx context.Context, state string) error {
	var errs []error
	for _, network := range []string{vpn, public} {
		_, err := n.lab.hub.Run(ctx, "ip", "link", "set", n.Name+"-"+network, state)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
