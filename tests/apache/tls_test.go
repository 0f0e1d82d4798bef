package apache

import (
	"fmt"
	"strings"
	"testing"
)

func TestTLS(t *testing.T) {
	w := newWorld(t, allModes(), func(w *world) {
		w.certify(t, "n1."+nodesDomain, "n1")
		w.certify(t, "n2."+nodesDomain, "n2")
		for _, site := range []string{"red.example", "pro.example", "app.example"} {
			w.certify(t, site, "n1", "n2", "n3")
		}
	})
	port := w.settings.Apache.HTTPSPort
	for _, name := range nodeNames {
		a := w.secure(t, name, "red.example", "/a%2Fb?c")
		if a.shown != "red.example" {
			t.Errorf("%s shows the certificate of %s", name, a.shown)
		}
		if to := fmt.Sprintf("https://red.example.n1.%s:%d/a%%2Fb?c", nodesDomain, port); name != "n1" && a.location != to {
			t.Errorf("by %s: %v, want %s", name, a, to)
		}
		served(t, w.secure(t, name, "pro.example", "/"), "pro.example", "n1")

		// The node that makes this redirect sees no TLS.
		for _, host := range []string{"pro.example", "www.pro.example"} {
			a = w.secure(t, name, host, "/dir")
			if to := fmt.Sprintf("https://%s:%d/dir/", host, port); a.status != 301 || a.location != to {
				t.Errorf("by %s: %v, want %s", name, a, to)
			}
		}
		a = w.secure(t, name, "app.example", "/")
		served(t, a, "app.example", "n1")
		if got := a.header.Values("Set-Cookie"); len(got) != 1 || got[0] != "rplan-node=n1; Path=/; Secure; HttpOnly; SameSite=Lax" {
			t.Errorf("cookies %q", got)
		}

		// Names of nobody, and of a site without a certificate here.
		shown := name + "." + nodesDomain
		if name == "n3" {
			shown = "app.example" // the first it has
		}
		for _, host := range []string{"unknown.example", "n1." + nodesDomain} {
			if a := w.secure(t, name, host, "/"); a.shown != shown || a.status != 404 {
				t.Errorf("%s by %s: certificate of %s, %v", host, name, a.shown, a)
			}
		}
		a = w.secure(t, name, "all.example", "/")
		if a.status == 200 && !strings.HasPrefix(a.body, "all.example") {
			t.Errorf("another site for all.example by %s: %v", name, a)
		}
	}
}
