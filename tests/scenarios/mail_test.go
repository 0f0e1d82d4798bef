package scenarios

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"rplan/tests/lab"
)

const (
	sender  = "sender@" + lab.Elsewhere
	contact = "redirect." + lab.Domain + "@" + lab.ContactDomain
)

// letter is a message with things in it that servers like to change.
func letter(subject, to string) string {
	return "From: A Sender <" + sender + ">\nTo: " + to + "\nSubject: " + subject + "\n" +
		"Date: Mon, 02 Mar 2026 12:00:00 +0000\nMessage-ID: <" + strings.ReplaceAll(subject, " ", "-") + "@" + lab.Elsewhere + ">\n" +
		"X-Folded: one\n\ttwo\n\n.a dot first\nFrom here on\n\ttabs and trailing space \n"
}

// Mail for each user, handed to each node, lands once, on the active node, as it was sent.
func TestMailReachesTheActiveNode(t *testing.T) {
	l, ctx := collective(t)
	onEach(t, l.Nodes, func(n *lab.Node) error {
		for _, u := range activeUsers() {
			if err := send(ctx, l, n, sender, u.Address, letter("mail by "+n.Name+" for "+u.Address, u.Address)); err != nil {
				return err
			}
		}
		return nil
	})
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	for _, u := range activeUsers() {
		byNode, err := kept(ctx, l.Nodes, u.Address, "mail by ")
		if err != nil {
			t.Fatal(err)
		}
		for node, messages := range byNode {
			if node != u.Active() {
				t.Errorf("%s, who lives on %s, has %d messages on %s", u.Address, u.Active(), len(messages), node)
			}
		}
		var want []string
		for _, n := range l.Nodes {
			want = append(want, letter("mail by "+n.Name+" for "+u.Address, u.Address))
		}
		var got []string
		for _, message := range byNode[u.Active()] {
			got = append(got, asSent(t, message))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s got\n%s\nwant\n%s", u.Address, strings.Join(got, "--\n"), strings.Join(want, "--\n"))
		}
	}
}

// send hands in a message for one recipient and expects that it is taken.
func send(ctx context.Context, l *lab.Lab, n *lab.Node, from, to, message string) error {
	replies, err := l.SendMail(ctx, n, from, []string{to}, message)
	if err != nil {
		return err
	}
	if last := replies[len(replies)-1]; !last.Accepted() {
		return fmt.Errorf("mail for %s at %s: %s", to, n.Name, last)
	}
	return nil
}

// asSent is a delivered message without what the last server puts before it (RFC 5321 section 4.4, and the delivery id).
func asSent(t *testing.T, message string) string {
	t.Helper()
	message = strings.ReplaceAll(message, "\r\n", "\n")
	rest, ok := strings.CutPrefix(message, "Return-Path: <"+sender+">\nX-RPlan-ID: ")
	if _, trace, found := strings.Cut(rest, "\n"); !ok || !found || !strings.HasPrefix(trace, "Received: by ") {
		t.Errorf("a message begins with %.200q", message)
	}
	from := strings.Index(rest, "\nFrom: ")
	if from < 0 {
		return message
	}
	if trace := rest[:from]; strings.Contains(trace, lab.VisitorAddress.String()) || strings.Count(trace, "\n") > 3 {
		t.Errorf("the trace is %q", trace)
	}
	return rest[from+1:]
}

// Who does not exist, is suspended or is no concern of ours is refused before the message, on every node.
func TestMailIsRefusedAtTheDoor(t *testing.T) {
	l, ctx := collective(t)
	refused := []struct {
		to   string
		code int
	}{
		{"nobody@" + lab.Domain, 550},
		{"alice.nobody@" + lab.Domain, 550},
		{"nobody@" + lab.ContactDomain, 550},
		{"sid@" + lab.Domain, 550},
		{"sid.alias@" + lab.Domain, 550},
		{"someone@" + lab.Elsewhere, 554},
		{"n1_n2", 550}, // a row's value is no address
		{"alice@" + lab.Domain + "@" + lab.Elsewhere, 554},
	}
	var to []string
	for _, r := range refused {
		to = append(to, r.to)
	}
	onEach(t, l.Nodes, func(n *lab.Node) error {
		replies, err := l.SendMail(ctx, n, sender, to, "")
		if err != nil {
			return err
		}
		for i, r := range refused {
			if replies[i].Code != r.code {
				t.Errorf("mail for %s at %s: %s, want %d", r.to, n.Name, replies[i], r.code)
			}
		}
		return nil
	})
}

// Aliases, tags, forwards here and abroad, and the contact address of a site lead where they should, by every node.
func TestAddressesThatLeadElsewhere(t *testing.T) {
	l, ctx := collective(t)
	abroad, err := lab.NewSink(l.Visitor, net.JoinHostPort(lab.ElsewhereAddress.String(), "25"))
	if err != nil {
		t.Fatal(err)
	}
	defer abroad.Close()
	alice, bob, judy := "alice@"+lab.Domain, "bob@"+lab.Domain, "judy@"+lab.Domain
	leads := map[string][]string{
		"judy.alias@" + lab.Domain: {judy},
		"judy+tag@" + lab.Domain:   {judy},
		"JUDY@" + lab.Domain:       {judy},
		"team@" + lab.Domain:       {alice, bob},
		contact:                    {alice},
		"away@" + lab.Domain:       nil,
	}
	onEach(t, l.Nodes, func(n *lab.Node) error {
		for address := range leads {
			if err := send(ctx, l, n, sender, address, letter("by way of "+address+" "+n.Name, address)); err != nil {
				return err
			}
		}
		return nil
	})
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	for address, users := range leads {
		for _, u := range activeUsers() {
			want := 0
			if slices.Contains(users, u.Address) {
				want = len(l.Nodes)
			}
			byNode, err := kept(ctx, []*lab.Node{l.Node(u.Active())}, u.Address, "Subject: by way of "+address+" n")
			if err != nil {
				t.Fatal(err)
			}
			if got := len(byNode[u.Active()]); got != want {
				t.Errorf("%s got %d messages to %s, want %d", u.Address, got, address, want)
			}
		}
	}
	if got := abroad.Got("someone@" + lab.Elsewhere); len(got) != len(l.Nodes) || got[0].From != sender {
		t.Errorf("abroad arrived %+v, want one from %s by each node", got, sender)
	}
	if bounces := abroad.Got(sender); len(bounces) > 0 {
		t.Errorf("the sender was told %+v", bounces)
	}
}

// What is sent to a list reaches its program on its node, by every node, and the members once.
func TestLists(t *testing.T) {
	l, ctx := collective(t)
	mailman, err := lab.NewSink(l.Node("n2").Machine, net.JoinHostPort(l.Node("n2").VPN.String(), "8024"))
	if err != nil {
		t.Fatal(err)
	}
	defer mailman.Close()
	carol, news := "carol@"+lab.Domain, "news@"+lab.Domain
	onEach(t, l.Nodes, func(n *lab.Node) error {
		for _, to := range []string{"talk@" + lab.Domain, "talk-request@" + lab.Domain} {
			if err := send(ctx, l, n, sender, to, letter("for a list by "+n.Name, to)); err != nil {
				return err
			}
		}
		post := "From: " + carol + "\nTo: " + news + "\nSubject: post by " + n.Name + "\n\nhello\n"
		return send(ctx, l, n, carol, news, post)
	})
	eventually(t, ctx, func() error { return emptyQueues(ctx, l.Nodes) })
	for _, to := range []string{"talk@" + lab.Domain, "talk-request@" + lab.Domain} {
		if got := mailman.Got(to); len(got) != len(l.Nodes) {
			t.Errorf("Mailman got %d messages for %s, want one by each node", len(got), to)
		}
	}
	for _, n := range l.Nodes {
		eventually(t, ctx, func() error { // mlmmj works by itself, after it took the message
			byNode, err := kept(ctx, l.Nodes, carol, "Subject: post by "+n.Name+"\n")
			if got := byNode["n3"]; err == nil && len(got) != 1 {
				err = fmt.Errorf("carol has %q, want one post by %s", got, n.Name)
			}
			return err
		})
	}
}
