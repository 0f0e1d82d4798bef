package apache

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rplan/lib/directory"
	"rplan/lib/genmaps/render"
	"rplan/tests/need"
)

const (
	nodesDomain = "nodes.example.net"
	visitor     = "127.9.8.7" // the address that must be nowhere
)

var nodeNames = []string{"n1", "n2", "n3"}

// world is three nodes on this machine, on loopback addresses, and their sites.
type world struct {
	dir      string
	states   map[string]string
	records  []*directory.Record
	settings render.Settings
	nodes    map[string]*node
}

type node struct {
	*Server
	name, address, maps string
	certificates        map[string]bool
}

// record makes a record of one value a field; values of one field are joined with ",".
func record(kind directory.Kind, fields ...string) *directory.Record {
	r := &directory.Record{}
	r.Reset(kind)
	r.DN = []byte("rplan=" + fields[0])
	for i, field := range fields {
		for value := range strings.SplitSeq(field, ",") {
			if value != "" {
				r.Values[i] = append(r.Values[i], []byte(value))
			}
		}
	}
	return r
}

// site is NAME, ALIASES, MODE, PLACEMENT, ROOT.
func site(fields ...string) *directory.Record { return record(directory.KindSite, fields...) }

// allModes are a site of each mode; n1 is the active node where there is one.
func allModes() []*directory.Record {
	return []*directory.Record{
		site("red.example", "www.red.example", "redirect", "n1_n2"),
		site("pro.example", "www.pro.example", "proxy", "n1_n2"),
		site("all.example", "", "everywhere"),
		site("mir.example", "", "mirror"),
		site("app.example", "", "application", "n1_n2"),
		site("two.example", "", "proxy", "n2_n3"),
		site("gone.example", "", "proxy", "n9"),
	}
}

// newWorld starts the nodes; n2 and n3 are mirrors. change may alter the world before.
func newWorld(t *testing.T, records []*directory.Record, change ...func(*world)) *world {
	t.Helper()
	need.Root(t)
	need.Program(t, "apache2", "httxt2dbm")
	w := &world{dir: t.TempDir(), states: map[string]string{}, records: records, nodes: map[string]*node{}, settings: render.Defaults()}
	if err := os.Chmod(filepath.Dir(w.dir), 0o755); err != nil { // www-data reads maps and pages
		t.Fatal(err)
	}
	var addresses []string
	for i, name := range nodeNames {
		address := fmt.Sprintf("127.0.%d.1", i+1)
		addresses = append(addresses, address)
		w.nodes[name] = &node{name: name, address: address, maps: w.path(name, "maps"), certificates: map[string]bool{}}
	}
	a := &w.settings.Apache
	for _, port := range []*int{&a.HTTPPort, &a.HTTPSPort, &a.VPNPort} {
		*port = freePort(t, addresses, a.HTTPPort, a.HTTPSPort)
	}
	for _, f := range change {
		f(w)
	}
	for _, name := range nodeNames {
		n := w.nodes[name]
		w.publish(t, name)
		n.Server = Run(t, Options{
			Maps: n.maps, Sites: w.path(name, "sites"),
			Listen: []string{fmt.Sprintf("%s:%d", n.address, a.HTTPPort), fmt.Sprintf("%s:%d", n.address, a.HTTPSPort)},
		})
	}
	return w
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// input is what the renderer sees on a node, with the paths that belong to it.
func (w *world) input(t *testing.T, self string) *render.Input {
	t.Helper()
	network := directory.Network{NodesDomain: nodesDomain}
	b := directory.NewBuilder(network)
	for _, name := range nodeNames {
		state, roles := w.states[name], "web"
		if state == "" {
			state = "up"
		}
		if name != "n1" {
			roles = "web,mirror"
		}
		b.Add(record(directory.KindNode, name, state, w.nodes[name].address, "", roles))
	}
	for _, r := range w.records {
		b.Add(r)
	}
	s, _, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	settings := w.settings
	settings.Apache.Root = w.path(self, "www")
	settings.Apache.Certificates = w.path(self, "certificates")
	settings.Apache.Challenges = w.path(self, "acme")
	return &render.Input{Snapshot: s, Self: s.Node(self), Network: network, Settings: settings,
		Local: render.Local{Certificates: w.nodes[self].certificates}}
}

// publish writes a node's maps and content, and returns the names of the files that changed.
func (w *world) publish(t *testing.T, self string) []string {
	t.Helper()
	in := w.input(t, self)
	for _, dir := range []string{"maps", "sites", "www", "acme"} {
		mkdir(t, w.path(self, dir))
	}
	for i := range in.Snapshot.Sites {
		root := filepath.Join(in.Settings.Apache.Root, in.Snapshot.Sites[i].Root)
		mkdir(t, filepath.Join(root, "dir"))
		who := in.Snapshot.Sites[i].Name + " on " + self
		write(t, filepath.Join(root, "index.html"), who)
		write(t, filepath.Join(root, "dir", "index.html"), who+", dir")
	}
	var changed []string
	for _, f := range render.Apache(in) {
		if writeFile(t, w.nodes[self].maps, f) {
			changed = append(changed, f.Name)
		}
	}
	return changed
}

// publishAll is publish on all nodes, with the states that are new.
func (w *world) publishAll(t *testing.T, states map[string]string) {
	t.Helper()
	w.states = states
	for _, name := range nodeNames {
		for _, f := range w.publish(t, name) {
			if f != "placements" && f != "mirrors" {
				t.Errorf("%s: states %v change %s", name, states, f)
			}
		}
	}
}

// writeFile replaces a file by rename, as rp-genmaps does, if it differs.
func writeFile(t *testing.T, dir string, f render.File) bool {
	t.Helper()
	text := f.Text
	if f.Rows != nil {
		var rows bytes.Buffer
		for key, value := range f.Rows {
			fmt.Fprintf(&rows, "%s %s\n", key, value)
		}
		text = rows.Bytes()
	}
	path := filepath.Join(dir, f.Name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return false
	}
	write(t, path+".new", string(text))
	if f.Format == render.DBM {
		if out, err := exec.Command("httxt2dbm", "-f", "DB", "-i", path+".new", "-o", path+".db.new").CombinedOutput(); err != nil {
			t.Fatalf("httxt2dbm: %v: %s", err, out)
		}
		rename(t, path+".db.new", path+".db")
	}
	rename(t, path+".new", path)
	return true
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// certify gives nodes a certificate of this name, as certbot lays it out.
func (w *world) certify(t *testing.T, name string, nodes ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		dir := w.path(n, "certificates", name)
		mkdir(t, dir)
		write(t, filepath.Join(dir, "fullchain.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write(t, filepath.Join(dir, "privkey.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))
		w.nodes[n].certificates[name] = true
	}
}

// answer is what a visitor gets.
type answer struct {
	status   int
	header   http.Header
	body     string
	shown    string // the name in the certificate
	location string
}

func (a answer) String() string { return fmt.Sprintf("%d %v %q", a.status, a.header, a.body) }

// raw sends bytes to a port of a node, from the visitor's address, and reads the answer; %n is "\r\n".
func (w *world) raw(t *testing.T, name string, port int, text string) answer {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitor)}, Timeout: 5 * time.Second}
	conn, err := from.Dial("tcp", net.JoinHostPort(w.nodes[name].address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var a answer
	if port == w.settings.Apache.HTTPSPort {
		sni, _, _ := strings.Cut(text[strings.Index(text, "Host: ")+6:], "\r\n")
		sni, _, _ = strings.Cut(sni, ":")
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: strings.TrimSuffix(sni, ".")})
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		a.shown, conn = secure.ConnectionState().PeerCertificates[0].DNSNames[0], secure
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q to %s: %v", text, name, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.status, a.header, a.body, a.location = response.StatusCode, response.Header, string(body), response.Header.Get("Location")
	return a
}

// get asks a node for a path of a host by http, with further header lines.
func (w *world) get(t *testing.T, name, host, path string, header ...string) answer {
	t.Helper()
	return w.raw(t, name, w.settings.Apache.HTTPPort, w.request(host, w.settings.Apache.HTTPPort, path, header))
}

// secure is get by https.
func (w *world) secure(t *testing.T, name, host, path string, header ...string) answer {
	t.Helper()
	return w.raw(t, name, w.settings.Apache.HTTPSPort, w.request(host, w.settings.Apache.HTTPSPort, path, header))
}

func (w *world) request(host string, port int, path string, header []string) string {
	lines := append([]string{"GET " + path + " HTTP/1.1", fmt.Sprintf("Host: %s:%d", host, port), "Connection: close"}, header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// served fails unless a is the page of a site on a node.
func served(t *testing.T, a answer, site, node string) {
	t.Helper()
	if a.status != http.StatusOK || a.body != site+" on "+node {
		t.Errorf("got %v, want %s on %s", a, site, node)
	}
}

func freePort(t *testing.T, addresses []string, except ...int) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", addresses[0]+":0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		free := port != except[0] && port != except[1]
		for _, a := range addresses[1:] {
			if other, err := net.Listen("tcp", fmt.Sprintf("%s:%d", a, port)); err != nil {
				free = false
			} else {
				other.Close()
			}
		}
		l.Close()
		if free {
			return port
		}
	}
	t.Fatalf("no port is free on all of %v", addresses)
	return 0
}
