package apache

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// base is where a redirect to a site on a node leads.
func (w *world) base(site, node string) string {
	return fmt.Sprintf("http://%s.%s.%s:%d", site, node, nodesDomain, w.settings.Apache.HTTPPort)
}

func redirected(t *testing.T, a answer, to string) {
	t.Helper()
	if a.status != http.StatusFound || a.location != to {
		t.Errorf("got %v, want a redirect to %s", a, to)
	}
}

func unavailable(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || len(a.header.Values("Retry-After")) != 1 || !strings.HasPrefix(a.body, "This site is out of service") {
		t.Errorf("got %v, want 503", a)
	}
}

func TestRedirect(t *testing.T) {
	w := newWorld(t, allModes())
	for _, states := range []map[string]string{{}, {"n1": "out"}, {"n1": "draining"}, {"n1": "returning", "n2": "draining"}} {
		w.publishAll(t, states)
		active := "n1"
		if s := states["n1"]; s == "out" || s == "returning" {
			active = "n2"
		}
		for _, name := range nodeNames {
			for _, host := range []string{"red.example", "www.red.example", "red.example." + name + "." + nodesDomain} {
				a := w.get(t, name, host, "/")
				if name == active {
					served(t, a, "red.example", active)
				} else {
					redirected(t, a, w.base("red.example", active)+"/")
				}
			}
		}
		served(t, w.get(t, active, "RED.example."+active+"."+nodesDomain+".", "/"), "red.example", active)
	}
	w.publishAll(t, map[string]string{"n1": "evicted", "n2": "out"})
	for _, name := range nodeNames {
		unavailable(t, w.get(t, name, "red.example", "/"))
	}
}

// Path and query arrive as the visitor sent them, byte by byte.
func TestRedirectKeepsThePath(t *testing.T) {
	w := newWorld(t, allModes())
	for _, path := range []string{
		"/", "/a/b.html", "/a%20b", "/a%2Fb", "/a%3Fb", "/a%3Fb?c%3Fd", "/%25", "/%2525", "/?q=1", "/x?a=b&c=%20+%2B&d=?", "/a%23b", "//evil.example/x",
		"/%0d%0aSet-Cookie:%20x=1", "/..%2f..", "/a;b=c,d", "/%C3%A4?%C3%A4=%E4", "/$1%1%{HTTP_HOST}${sites:red.example}", "/@evil.example", "/a|b", "/a\xe4",
		"/" + strings.Repeat("x", 4000) + "?" + strings.Repeat("y", 3000), "/?http://evil.example/",
	} {
		if strings.Contains(path, "%1%{") {
			path = strings.ReplaceAll(path, "%1%{", "%41$") // a stray percent sign is a bad request
		}
		want := w.base("red.example", "n1") + path
		redirected(t, w.get(t, "n2", "red.example", path), want)
		redirected(t, w.get(t, "n3", "www.red.example", path), want)
		absolute := fmt.Sprintf("GET http://red.example%s HTTP/1.1\r\nHost: red.example\r\nConnection: close\r\n\r\n", path)
		redirected(t, w.raw(t, "n3", w.settings.Apache.HTTPPort, absolute), want)
	}
}

func TestProxy(t *testing.T) {
	w := newWorld(t, allModes())
	vpn := fmt.Sprint(w.settings.Apache.VPNPort)
	hidden := func(a answer) {
		t.Helper()
		for _, secret := range []string{vpn, "127.0.", nodesDomain, "n1.", "n2."} {
			if text := fmt.Sprint(a.header); strings.Contains(text, secret) {
				t.Errorf("the header %s tells %q", text, secret)
			}
		}
	}
	for _, active := range []string{"n1", "n2"} {
		if active == "n2" {
			w.publishAll(t, map[string]string{"n1": "out"})
		}
		for _, name := range nodeNames {
			for _, host := range []string{"pro.example", "www.pro.example", "PRO.Example", "pro.example."} {
				a := w.get(t, name, host, "/")
				served(t, a, "pro.example", active)
				hidden(a)
				a = w.get(t, name, host, "/dir?a=b")
				if to := fmt.Sprintf("http://%s:%d/dir/?a=b", strings.ToLower(strings.TrimSuffix(host, ".")), w.settings.Apache.HTTPPort); a.status != 301 || a.location != to {
					t.Errorf("dir without slash by %s: %v, want %s", name, a, to)
				}
				hidden(a)
				// Without a port in Host, as with the real port 80.
				a = w.raw(t, name, w.settings.Apache.HTTPPort, "GET /dir HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
				hidden(a)
				a = w.get(t, name, host, "/none")
				if a.status != 404 {
					t.Errorf("none: %v", a)
				}
				hidden(a)
			}
		}
	}
	unavailable(t, w.get(t, "n3", "gone.example", "/"))
}

// What is behind the VPN sees the request as the visitor sent it, and nothing of the visitor.
func TestHandedOverAsItCame(t *testing.T) {
	w := newWorld(t, allModes(), func(w *world) {
		for _, name := range nodeNames {
			mkdir(t, w.path(name, "sites"))
			dir := w.path(name, "cgi")
			mkdir(t, dir)
			write(t, filepath.Join(dir, "echo"), "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\ncat\n")
			if err := os.Chmod(filepath.Join(dir, "echo"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, site := range []string{"pro.example", "app.example"} {
				write(t, w.path(name, "sites", site+".conf"), fmt.Sprintf("ScriptAlias /echo %s/echo\n<Directory %s>\nRequire all granted\n</Directory>\nAcceptPathInfo On\n", dir, dir))
			}
		}
	})
	for _, name := range nodeNames {
		for _, path := range []string{"/echo/a%2Fb%3Fc%20d?x=%20y&z=?", "/echo/%25%41?", "/echo//x/%C3%A4"} {
			a := w.get(t, name, "pro.example", path, "X-Forwarded-For: "+visitor, "Forwarded: for="+visitor, "X-Forwarded-Proto: https", "Client-IP: "+visitor)
			if a.status != 200 || !strings.Contains(a.body, "REQUEST_URI="+path+"\n") {
				t.Errorf("%s by %s: %v", path, name, a)
			}
			if name != "n1" && strings.Contains(a.body, visitor) {
				t.Errorf("the application sees the visitor by %s:\n%s", name, a.body)
			}
			if regexp.MustCompile(`(?m)^HTTP_(FORWARDED|X_FORWARDED_FOR|X_FORWARDED_HOST|CLIENT_IP)=`).MatchString(a.body) {
				t.Errorf("forwarding headers by %s:\n%s", name, a.body)
			}
			if !strings.Contains(a.body, "HTTP_X_FORWARDED_PROTO=http\n") || !strings.Contains(a.body, fmt.Sprintf("HTTP_HOST=pro.example:%d\n", w.settings.Apache.HTTPPort)) {
				t.Errorf("scheme or host by %s:\n%s", name, a.body)
			}
		}
	}
	body := strings.Repeat("x", 100_000)
	head := fmt.Sprintf("POST /echo/x HTTP/1.1\r\nHost: pro.example\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(body))
	if a := w.raw(t, "n3", w.settings.Apache.HTTPPort, head+body); !strings.HasSuffix(a.body, "\n"+body) || !strings.Contains(a.body, "REQUEST_METHOD=POST\n") {
		t.Errorf("POST: %d, %d bytes", a.status, len(a.body))
	}
}

func TestEverywhere(t *testing.T) {
	w := newWorld(t, allModes())
	for _, name := range nodeNames {
		served(t, w.get(t, name, "all.example", "/"), "all.example", name)
	}
	w.publishAll(t, map[string]string{"n1": "draining", "n2": "returning"})
	served(t, w.get(t, "n1", "all.example", "/"), "all.example", "n1")
	served(t, w.get(t, "n2", "all.example", "/"), "all.example", "n3") // what is on n2 may be old
	w.publishAll(t, map[string]string{"n1": "out", "n2": "out", "n3": "out"})
	served(t, w.get(t, "n2", "all.example", "/"), "all.example", "n2")
}

func TestMirror(t *testing.T) {
	w := newWorld(t, allModes())
	drawn := map[string]int{}
	for i := range 60 {
		a := w.get(t, nodeNames[i%3], "mir.example", "/dir/a%20b?c=%2F")
		if a.status != 302 || !strings.HasSuffix(a.location, "/dir/a%20b?c=%2F") {
			t.Fatal(a)
		}
		drawn[strings.TrimSuffix(a.location, "/dir/a%20b?c=%2F")]++
	}
	if n2, n3 := drawn[w.base("mir.example", "n2")], drawn[w.base("mir.example", "n3")]; n2 == 0 || n3 == 0 || n2+n3 != 60 {
		t.Errorf("drawn: %v", drawn)
	}
	for _, name := range []string{"n2", "n3"} {
		served(t, w.get(t, name, "mir.example."+name+"."+nodesDomain, "/"), "mir.example", name)
		if a := w.get(t, name, "mir.example."+name+"."+nodesDomain, "/dir/"); a.body != "mir.example on "+name+", dir" {
			t.Errorf("the index of a directory: %v", a)
		}
	}
	w.publishAll(t, map[string]string{"n2": "out"})
	for range 10 {
		redirected(t, w.get(t, "n2", "mir.example", "/"), w.base("mir.example", "n3")+"/")
	}
	w.publishAll(t, map[string]string{"n2": "out", "n3": "evicted"})
	unavailable(t, w.get(t, "n1", "mir.example", "/"))
}

func TestApplication(t *testing.T) {
	w := newWorld(t, allModes(), func(w *world) {
		for _, name := range nodeNames {
			mkdir(t, w.path(name, "sites"))
			// As applications do: a rule of their own, in a directory, which makes an internal redirect.
			write(t, w.path(name, "sites", "app.example.conf"), "<Directory "+w.path(name, "www", "app.example")+">\nRewriteEngine On\nRewriteRule ^go/ /index.html\n</Directory>\n")
		}
	})
	const attributes = "; Path=/; HttpOnly; SameSite=Lax"
	begun := func(a answer, node string) {
		t.Helper()
		served(t, a, "app.example", node)
		if got := a.header.Values("Set-Cookie"); len(got) != 1 || got[0] != "rplan-node="+node+attributes {
			t.Errorf("cookies %q, want one of %s", got, node)
		}
	}
	stays := func(a answer, node string) {
		t.Helper()
		served(t, a, "app.example", node)
		if got := a.header.Values("Set-Cookie"); got != nil {
			t.Errorf("cookies %q, want none", got)
		}
	}
	for _, name := range nodeNames {
		begun(w.get(t, name, "app.example", "/"), "n1")
		begun(w.get(t, name, "app.example", "/go/x"), "n1")
		stays(w.get(t, name, "app.example", "/", "Cookie: rplan-node=n1"), "n1")
		stays(w.get(t, name, "app.example", "/go/x", "Cookie: a=b; rplan-node=n2;c=d"), "n2")
		for _, bad := range []string{"n3", "n9", "", "n1_n2", "n2/10.77.0.2", "evil.example", "n1|n2", "n1%0d%0ax", "${sites:red.example}", "N2", "n2x", strings.Repeat("n", 3000), "@web"} {
			begun(w.get(t, name, "app.example", "/", "Cookie: rplan-node="+bad), "n1")
		}
		begun(w.get(t, name, "app.example", "/", "Cookie: xrplan-node=n2"), "n1")
	}
	w.publishAll(t, map[string]string{"n1": "out"})
	for _, name := range nodeNames {
		begun(w.get(t, name, "app.example", "/", "Cookie: rplan-node=n1"), "n2")
	}
	w.publishAll(t, nil)
	stays(w.get(t, "n3", "app.example", "/", "Cookie: rplan-node=n2"), "n2") // begun while n1 was out
	w.publishAll(t, map[string]string{"n1": "out", "n2": "returning"})
	unavailable(t, w.get(t, "n3", "app.example", "/", "Cookie: rplan-node=n2"))
}

func TestUnknownHosts(t *testing.T) {
	w := newWorld(t, allModes())
	port := w.settings.Apache.HTTPPort
	for _, name := range nodeNames {
		for _, host := range []string{"unknown.example", "n1." + nodesDomain, "127.0.1.1", "x.red.example", "red.example.evil.example", "gone.example.n1.evil.example", "all"} {
			if a := w.get(t, name, host, "/"); a.status != 404 || a.body != "There is no such page or site here." {
				t.Errorf("%s by %s: %v", host, name, a)
			}
		}
		if a := w.raw(t, name, port, "GET / HTTP/1.0\r\n\r\n"); a.status != 404 {
			t.Errorf("no host: %v", a)
		}
		// The request line says whose page it is, not the header (RFC 9112 section 3.2.2).
		if a := w.raw(t, name, port, "GET http://unknown.example/ HTTP/1.1\r\nHost: red.example\r\nConnection: close\r\n\r\n"); a.status == 200 {
			t.Errorf("two hosts: %v", a)
		}
		for _, bad := range []string{"red.example\r\nX: y", "red.example evil.example", "red.example/x", "%{HTTP_HOST}", "${lower:X}", "red.example\x00", "[", "\"red.example"} {
			a := w.raw(t, name, port, "GET /x HTTP/1.1\r\nHost: "+bad+"\r\nConnection: close\r\n\r\n")
			if a.status == 200 || strings.Contains(a.location, "evil") {
				t.Errorf("host %q: %v", bad, a)
			}
		}
	}
	// A handed-over request for a site that is not here is not handed on.
	a := w.raw(t, "n3", w.settings.Apache.VPNPort, "GET / HTTP/1.1\r\nHost: pro.example\r\nConnection: close\r\n\r\n")
	unavailable(t, a)
}

func TestACME(t *testing.T) {
	w := newWorld(t, allModes())
	const path = "/.well-known/acme-challenge/"
	hosts := []string{"red.example", "www.red.example", "pro.example", "all.example", "mir.example", "app.example", "red.example.n2." + nodesDomain}
	for active, states := range map[string]map[string]string{"n1": nil, "n2": {"n1": "out"}} {
		w.publishAll(t, states)
		write(t, w.path(active, "acme", "token_-1"), "proof by "+active)
		for _, name := range nodeNames {
			write(t, w.path(name, "acme", "own"), "own of "+name)
			for _, host := range append(hosts, "two.example") {
				if a := w.get(t, name, host, path+"token_-1"); host != "two.example" && (a.status != 200 || a.body != "proof by "+active) {
					t.Errorf("%s by %s: %v", host, name, a)
				}
				if a := w.get(t, name, host, path+"own"); a.body != "own of "+name {
					t.Errorf("own of %s for %s: %v", name, host, a)
				}
				for _, none := range []string{"none", "", "a/b", "..%2f..%2fx", "%2e%2e/red.example", "none%0a", "x?y"} {
					if a := w.get(t, name, host, path+none); a.status == 200 || strings.Contains(a.location, "https:") {
						t.Errorf("%s by %s: %v", none, name, a)
					}
				}
			}
		}
		rename(t, w.path(active, "acme", "token_-1"), w.path(active, "acme", "over"))
	}
	if a := w.get(t, "n1", "gone.example", path+"none"); a.status != 404 {
		t.Errorf("no usable node: %v", a)
	}
	if a := w.get(t, "n3", "n3."+nodesDomain, path+"own"); a.body != "own of n3" {
		t.Errorf("the node's own name: %v", a)
	}
}

// A site that Apache was not yet told of is not mistaken for another, and comes with the reload.
func TestNewSite(t *testing.T) {
	w := newWorld(t, allModes())
	w.records = append(w.records, site("new.example", "", "proxy", "n1_n2"), site("newer.example", "", "redirect", "n1"))
	for _, name := range nodeNames {
		w.publish(t, name)
	}
	for _, name := range nodeNames {
		unavailable(t, w.get(t, name, "new.example", "/"))
	}
	unavailable(t, w.get(t, "n1", "newer.example", "/")) // not redirected to itself
	for _, name := range []string{"n1", "n2"} {
		if err := w.nodes[name].Reload(func() bool { return w.get(t, name, "new.example", "/").status == 200 }); err != nil {
			t.Fatal(err)
		}
	}
	served(t, w.get(t, "n3", "new.example", "/"), "new.example", "n1")
}
