package apache

import (
	"fmt"
	"io"
	"net/http"
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
