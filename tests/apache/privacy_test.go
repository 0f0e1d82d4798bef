package apache

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Nothing that Apache writes has the visitor's address in it, with Debian's own logs switched on and
// whatever goes wrong.
func TestNoVisitorOnDisk(t *testing.T) {
	w := newWorld(t, allModes(), func(w *world) { w.certify(t, "pro.example", "n1", "n2", "n3") })
	port := w.settings.Apache.HTTPPort
	if err := w.nodes["n2"].Stop(); err != nil {
		t.Fatal(err)
	}
	w.publishAll(t, map[string]string{"n1": "out"}) // and so everything is handed over to n2, which is dead
	for _, name := range []string{"n1", "n3"} {
		unavailable(t, w.get(t, name, "pro.example", "/"))
		unavailable(t, w.get(t, name, "app.example", "/", "Cookie: rplan-node=n1"))
		unavailable(t, w.secure(t, name, "pro.example", "/"))
		for _, host := range []string{"red.example", "all.example", "mir.example", "unknown.example"} {
			for _, path := range []string{"/", "/dir", "/none", "/.htaccess", "/%2e%2e/x", "/\x01", "/%", "/" + strings.Repeat("x", 9000), "/.well-known/acme-challenge/none"} {
				w.get(t, name, host, path, "X-Forwarded-For: "+visitor, "Referer: http://"+visitor+"/")
			}
		}
		for _, bad := range []string{"\r\n\r\n", "GET\r\n\r\n", "BREW / HTCPCP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", "POST / HTTP/1.1\r\nHost: all.example\r\nContent-Length: x\r\n\r\n", "\x16\x03\x01\x02\x00",
			"GET / HTTP/1.1\r\nHost: all.example\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n", "TRACE / HTTP/1.1\r\nHost: all.example\r\n\r\n",
			"CONNECT evil.example:25 HTTP/1.1\r\nHost: evil.example\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: all.example\r\n\r\n", "GET / HTTP/1.1\r\nHost: pro.exam"} {
			w.shout(t, name, port, bad)
		}
		w.shout(t, name, w.settings.Apache.HTTPSPort, "GET / HTTP/1.1\r\nHost: pro.example\r\n\r\n") // no TLS
	}
	if err := w.nodes["n2"].Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for w.get(t, "n3", "pro.example", "/").status != 200 { // found again without help
		if time.Now().After(deadline) {
			t.Fatal("a node that is back is not asked")
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, name := range nodeNames {
		if err := w.nodes[name].Stop(); err != nil {
			t.Fatal(err)
		}
		searchFor(t, w.nodes[name].Dir, visitor)
		if logs, err := filepath.Glob(filepath.Join(w.nodes[name].Dir, "log", "*")); err != nil || len(logs) == 0 {
			t.Errorf("no log of %s was looked at: %v", name, err)
		}
	}
	searchFor(t, w.dir, visitor)
}

// shout sends bytes and takes whatever comes back.
func (w *world) shout(t *testing.T, name string, port int, text string) {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitor)}}
	conn, err := from.Dial("tcp", net.JoinHostPort(w.nodes[name].address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(conn)
	if first, _, _ := strings.Cut(answer.String(), "\r\n"); strings.Contains(first, " 200 ") && !strings.HasPrefix(text, "OPTIONS") {
		t.Errorf("%.60q: %s", text, first)
	}
}

// searchFor fails for each file below dir that has these bytes in it.
func searchFor(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s has %s in it:\n%.500s", path, text, content)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The search above would find an address: without rplan's files, the same configuration writes it.
func TestSearchFindsVisitors(t *testing.T) {
	w := newWorld(t, allModes())
	write(t, w.nodes["n1"].maps+"/privacy.conf", "")
	for _, f := range []string{"visitor.conf", "rplan.conf"} {
		text, err := os.ReadFile(filepath.Join(w.nodes["n1"].maps, f))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(w.nodes["n1"].maps, f), strings.ReplaceAll(string(text), "CustomLog", "# CustomLog"))
	}
	log := filepath.Join(w.nodes["n1"].Dir, "log", "other_vhosts_access.log")
	err := w.nodes["n1"].Reload(func() bool {
		w.get(t, "n1", "red.example", "/")
		content, _ := os.ReadFile(log)
		return bytes.Contains(content, []byte(visitor))
	})
	if err != nil {
		t.Error(err)
	}
}
