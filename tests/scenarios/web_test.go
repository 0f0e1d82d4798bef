package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"rplan/tests/lab"
)

// query is a path with things in it that servers like to decode.
const query = "/page?a=b%20c&d=%2F..%2F&u=http://x.example/"

// get asks a node for a page of a host, and fails the test without an answer.
func get(t *testing.T, ctx context.Context, n *lab.Node, url string, header ...string) *lab.Page {
	t.Helper()
	page, err := shared.lab.Get(ctx, n, url, header...)
	if err != nil {
		t.Fatalf("%s at %s: %v", url, n.Name, err)
	}
	return page
}

// servedBy fails the test unless the page is the host's and comes from node.
func servedBy(t *testing.T, page *lab.Page, host, node, where string) {
	t.Helper()
	if want := fmt.Sprintf("page of %s on %s\n", host, node); page.Status != http.StatusOK || page.Body != want {
		t.Errorf("%s: %d %q, want %q", where, page.Status, page.Body, want)
	}
}

// redirect: the active node serves, every other one sends the visitor there with path and query as they came.
func TestRedirect(t *testing.T) {
	l, ctx := collective(t)
	for _, scheme := range []string{"http", "https"} {
		for host, active := range map[string]string{"redirect." + lab.Domain: "n1", "redirect2." + lab.Domain: "n2"} {
			direct := host + "." + active + "." + lab.NodesDomain
			for _, n := range l.Nodes {
				for _, name := range []string{host, "www." + host} {
					url := scheme + "://" + name
					if scheme == "https" && name != host {
						continue // the certificates are for the main names
					}
					page := get(t, ctx, n, url+query)
					if n.Name == active {
						servedBy(t, page, host, active, url+" at "+n.Name)
						continue
					}
					if want := scheme + "://" + direct + query; page.Status != http.StatusFound || page.Header.Get("Location") != want {
						t.Errorf("%s at %s: %d to %q, want %q", url, n.Name, page.Status, page.Header.Get("Location"), want)
					}
				}
			}
			servedBy(t, get(t, ctx, l.Node(active), scheme+"://"+direct+query), host, active, direct)
		}
	}
}

// proxy: the visitor gets the page from whichever node was asked, and nothing tells which node keeps it.
func TestProxy(t *testing.T) {
	l, ctx := collective(t)
	for _, scheme := range []string{"http", "https"} {
		for host, active := range map[string]string{"proxy." + lab.Domain: "n1", "proxy2." + lab.Domain: "n2"} {
			headers := map[string][]string{}
			for _, n := range l.Nodes {
				page := get(t, ctx, n, scheme+"://"+host+query)
				servedBy(t, page, host, active, scheme+"://"+host+" at "+n.Name)
				page.Header.Del("Date")
				text := fmt.Sprint(page.Header)
				headers[text] = append(headers[text], n.Name)
			}
			if len(headers) != 1 {
				t.Errorf("%s: the headers tell nodes apart: %v", host, headers)
			}
		}
	}
}

// everywhere: each node serves it.
func TestEverywhere(t *testing.T) {
	l, ctx := collective(t)
	host := "everywhere." + lab.Domain
	for _, n := range l.Nodes {
		servedBy(t, get(t, ctx, n, "http://"+host+query), host, n.Name, host)
	}
}

// mirror: each node sends the visitor to a mirror drawn by lot, which serves.
func TestMirror(t *testing.T) {
	l, ctx := collective(t)
	host := "mirror." + lab.Domain
	drawn := map[string]bool{}
	for _, n := range l.Nodes {
		for range 20 {
			page := get(t, ctx, n, "http://"+host+query)
			to := page.Header.Get("Location")
			name, ok := strings.CutPrefix(to, "http://"+host+".")
			mirror, rest, _ := strings.Cut(name, ".")
			if !ok || l.Node(mirror) == nil || rest != lab.NodesDomain+query {
				t.Fatalf("%s at %s: %d to %q", host, n.Name, page.Status, to)
			}
			if !drawn[mirror] {
				servedBy(t, get(t, ctx, l.Node(mirror), to), host, mirror, to)
			}
			drawn[mirror] = true
		}
	}
	if len(drawn) != len(l.Nodes) {
		t.Errorf("of 60 visitors all were sent to %v", drawn)
	}
}

// application: a session begins on the active node and stays where it began, whichever nodes it passes.
func TestApplication(t *testing.T) {
	l, ctx := collective(t)
	host := "application." + lab.Domain
	for _, n := range l.Nodes {
		page := get(t, ctx, n, "http://"+host+query)
		servedBy(t, page, host, "n1", host+" at "+n.Name)
		cookie := page.Header.Get("Set-Cookie")
		if !strings.HasPrefix(cookie, "rplan-node=n1;") || !strings.Contains(cookie, "HttpOnly") {
			t.Errorf("%s at %s: cookie %q", host, n.Name, cookie)
		}
		for cookie, node := range map[string]string{
			"n1": "n1", "n2": "n2",
			"n3": "n1", "n9": "n1", "n2.evil": "n1", "": "n1", // not of the placement, or no node
		} {
			page := get(t, ctx, n, "http://"+host+query, "Cookie", "a=b; rplan-node="+cookie)
			servedBy(t, page, host, node, host+" at "+n.Name+" with cookie "+cookie)
		}
	}
}

// A host name of nobody is nobody's; the certificate authority's question is answered by every node.
func TestOtherRequests(t *testing.T) {
	l, ctx := collective(t)
	const path = "/.well-known/acme-challenge/token-1"
	if err := l.Node("n1").Write("/var/lib/rplan/acme/token-1", "answer"); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes {
		for _, host := range []string{"nobody." + lab.Domain, n.Public[0].String(), "n1_n2", "x." + lab.NodesDomain} {
			if page := get(t, ctx, n, "http://"+host+"/page"); page.Status != http.StatusNotFound {
				t.Errorf("%s at %s: %d %q", host, n.Name, page.Status, page.Body)
			}
		}
		for _, host := range []string{"redirect." + lab.Domain, "proxy." + lab.Domain, "application." + lab.Domain} {
			if page := get(t, ctx, n, "http://"+host+path); page.Body != "answer" {
				t.Errorf("%s%s at %s: %d %q", host, path, n.Name, page.Status, page.Body)
			}
		}
	}
}

// All nodes take mail and visitors, equally.
func TestDNS(t *testing.T) {
	l, ctx := collective(t)
	var mx, a, aaaa []string
	for _, n := range l.Nodes {
		mx = append(mx, "10 "+n.Name+"."+lab.NodesDomain+".")
		a = append(a, n.Public[0].String())
		aaaa = append(aaaa, n.Public[1].String())
	}
	slices.Sort(a)
	for _, n := range l.Nodes {
		for _, q := range []struct {
			name, kind string
			want       []string
		}{
			{lab.Domain, "MX", mx},
			{lab.ContactDomain, "MX", mx},
			{"proxy." + lab.Domain, "A", a},
			{"www.proxy." + lab.Domain, "AAAA", aaaa},
			{"n2." + lab.NodesDomain, "A", []string{l.Node("n2").Public[0].String()}},
			{"redirect." + lab.Domain + ".n2." + lab.NodesDomain, "A", []string{l.Node("n2").Public[0].String()}},
			{"nobody." + lab.Domain, "A", nil},
		} {
			got, err := l.Dig(ctx, n, q.name, q.kind)
			if err != nil || !slices.Equal(got, q.want) {
				t.Errorf("%s %s at %s: %q %v, want %q", q.name, q.kind, n.Name, got, err, q.want)
			}
		}
	}
}
