package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"testing"
)

// What an admin writes for one site comes after what rplan decides, whatever it catches.
func TestSiteFile(t *testing.T) {
	const acme = "/.well-known/acme-challenge/token"
	application := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf("%s %v", r.URL, r.Header)
		if strings.Contains(text, visitor) {
			t.Errorf("the application is told the visitor's address: %s", text)
		}
		_, _ = io.WriteString(out, r.URL.Path)
	}))
	defer application.Close()
	w := newWorld(t, allModes(), func(w *world) {
		for _, name := range nodeNames {
			mkdir(t, w.path(name, "sites"))
			mkdir(t, w.path(name, "acme"))
			for _, site := range []string{"red.example", "pro.example", "app.example"} {
				write(t, w.path(name, "sites", site+".conf"), fmt.Sprintf("ProxyPass / %s/%s/\n", application.URL, name))
			}
			write(t, w.path(name, "sites", "two.example.conf"), "RewriteEngine On\nRewriteRule ^ /index.html\n")
			write(t, w.path(name, "sites", "all.example.conf"), "RewriteEngine On\nRewriteRule ^/old /index.html\nRewriteRule ^/gone - [G]\n")
			write(t, w.path(name, "sites", "mir.example.conf"), "RewriteEngine On\nRewriteRule ^ /index.html\n")
		}
	})
	for _, active := range []string{"n1", "n2"} {
		if active == "n2" {
			w.publishAll(t, map[string]string{"n1": "out"})
		}
		write(t, w.path(active, "acme", "token"), "proof by "+active)
		for _, name := range nodeNames {
			for _, site := range []string{"pro.example", "app.example"} {
				if a := w.get(t, name, site, "/x"); a.status != 200 || a.body != "/"+active+"/x" {
					t.Errorf("%s by %s: %v, want the application on %s", site, name, a, active)
				}
			}
			if name == active {
				if a := w.get(t, name, "red.example", "/x"); a.body != "/"+active+"/x" {
					t.Errorf("red.example by %s: %v", name, a)
				}
			} else {
				redirected(t, w.get(t, name, "red.example", "/x"), w.base("red.example", active)+"/x")
			}
			for _, site := range []string{"pro.example", "app.example", "red.example", "mir.example", "all.example"} {
				if a := w.get(t, name, site, acme); a.body != "proof by "+active {
					t.Errorf("challenge for %s by %s: %v", site, name, a)
				}
			}
		}
		rename(t, w.path(active, "acme", "token"), w.path(active, "acme", "over"))
	}
	w.publishAll(t, nil)
	write(t, w.path("n2", "acme", "token"), "proof by n2")
	for _, name := range nodeNames {
		served(t, w.get(t, name, "two.example", "/x"), "two.example", "n2")
		if a := w.get(t, name, "two.example", acme); a.body != "proof by n2" {
			t.Errorf("challenge for two.example by %s: %v", name, a)
		}
	}
	served(t, w.get(t, "n2", "all.example", "/old/page"), "all.example", "n2")
	if a := w.get(t, "n2", "all.example", "/gone"); a.status != http.StatusGone {
		t.Errorf("gone: %v", a)
	}
	served(t, w.get(t, "n2", "mir.example.n2."+nodesDomain, "/any"), "mir.example", "n2")
	if a := w.get(t, "n1", "mir.example", "/any"); a.status != http.StatusFound {
		t.Errorf("not redirected: %v", a)
	}
	// A returning node's own rules do not catch what it hands over.
	w.publishAll(t, map[string]string{"n2": "returning"})
	served(t, w.get(t, "n2", "all.example", "/old"), "all.example", "n1")
}

// An application is told nothing of who visits, by HTTP or FastCGI, where the visitor came to or where the site is.
func TestApplicationsDoNotKnowTheVisitor(t *testing.T) {
	requests := http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		environment := fcgi.ProcessEnv(r)
		fmt.Fprint(out, r.RemoteAddr, r.Header, environment)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { _ = fcgi.Serve(listener, requests) }()
	plain := httptest.NewServer(requests)
	defer plain.Close()
	w := newWorld(t, allModes(), func(w *world) {
		for _, name := range nodeNames {
			mkdir(t, w.path(name, "sites"))
			write(t, w.path(name, "sites", "pro.example.conf"), fmt.Sprintf("<Location />\nSetHandler proxy:fcgi://%s\n</Location>\n", listener.Addr()))
			write(t, w.path(name, "sites", "app.example.conf"), fmt.Sprintf("ProxyPass / %s/\n", plain.URL))
		}
	})
	var claims []string
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Client-IP", "X-Client-IP", "True-Client-IP", "Via"} {
		claims = append(claims, name+": "+visitor)
	}
	for _, site := range []string{"pro.example", "app.example"} {
		for _, name := range nodeNames {
			if a := w.get(t, name, site, "/", claims...); a.status != 200 || strings.Contains(a.body, visitor) {
				t.Errorf("the application %s, visited at %s, is told %v", site, name, a)
			} else if site == "pro.example" && !strings.HasPrefix(a.body, "0.0.0.0:0map") {
				t.Errorf("by FastCGI at %s it is told %v", name, a)
			}
		}
	}
}
