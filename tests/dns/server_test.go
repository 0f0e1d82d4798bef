package dns

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/need"
)

// patience is how long a server may take to start, to see a change, and to end.
const patience = 20 * time.Second

// server is a name server that runs in a directory of its own, with the shipped lines in its configuration.
type server struct {
	kind    string // knot, bind or nsd
	dir     string
	port    int
	control int    // port for rndc
	secret  string // for rndc
}

// programs are the server and what controls it.
var programs = map[string][2]string{"knot": {"knotd", "knotc"}, "bind": {"named", "rndc"}, "nsd": {"nsd", "nsd-control"}}

// shipped names the file of contrib/dns.
var shipped = map[string]string{"knot": "knot.conf", "bind": "named.conf", "nsd": "nsd.conf"}

// configs are what is needed around the shipped lines to run without root beside other servers.
var configs = map[string]string{
	"knot": `
server:
    rundir: DIR
    listen: 127.0.0.1@PORT
log:
  - target: stderr
    any: info
database:
    storage: DIR
control:
    listen: DIR/control
`,
	"bind": `
key control { algorithm hmac-sha256; secret "SECRET"; };
controls { inet 127.0.0.1 port CONTROL allow { 127.0.0.1; } keys { control; }; };
`,
	"nsd": `
server:
	ip-address: 127.0.0.1@PORT
	username: ""
	zonesdir: "DIR"
	database: ""
	pidfile: "DIR/pid"
	zonelistfile: "DIR/zone.list"
	xfrdfile: "DIR/xfrd.state"
	xfrdir: "DIR"
remote-control:
	control-enable: yes
	control-interface: "DIR/control"
`,
}

// options is what has to be different in those of contrib/dns/named.conf.
var options = strings.NewReplacer(`directory "/var/cache/bind";`, `directory "DIR"; pid-file "DIR/pid"; session-keyfile "DIR/session"; lock-file none;`,
	"listen-on { any; };", "listen-on port PORT { 127.0.0.1; };", "listen-on-v6 { any; };", "listen-on-v6 { none; };")

// start runs a server on the zones of a maps directory; more is added before the shipped lines.
func start(t *testing.T, kind, maps, more string) *server {
	t.Helper()
	need.Program(t, programs[kind][0], programs[kind][1], "dig")
	dir, err := os.MkdirTemp("", "dns") // short, because the path of a socket may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	secret := make([]byte, 32)
	rand.Read(secret)
	s := &server{kind: kind, dir: dir, secret: base64.StdEncoding.EncodeToString(secret)}
	for range 3 { // a free port may have been taken by someone else meanwhile
		s.port, s.control = freePort(t), freePort(t)
		s.configure(t, maps, more)
		if s.launch(t) {
			return s
		}
	}
	log, _ := os.ReadFile(s.path("log"))
	t.Fatalf("%s does not start: %s", kind, log)
	return nil
}

// configure writes the configuration; where maps is empty, without the shipped lines.
func (s *server) configure(t *testing.T, maps, more string) {
	t.Helper()
	text := configs[s.kind] + more
	if maps != "" {
		lines, err := os.ReadFile(filepath.Join("../../contrib/dns", shipped[s.kind]))
		if err != nil {
			t.Fatal(err)
		}
		text += strings.ReplaceAll(options.Replace(string(lines)), "/var/lib/rplan/maps", maps)
	}
	text = strings.NewReplacer("DIR", s.dir, "PORT", fmt.Sprint(s.port), "CONTROL", fmt.Sprint(s.control), "SECRET", s.secret).Replace(text)
	write(t, s.path("conf"), text)
	write(t, s.path("rndc.conf"), fmt.Sprintf("key control { algorithm hmac-sha256; secret %q; };\n"+
		"options { default-server 127.0.0.1; default-port %d; default-key control; };\n", s.secret, s.control))
}

// launch starts the process, to be ended with the test, and says whether it came to answer.
func (s *server) launch(t *testing.T) bool {
	t.Helper()
	log, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := map[string][]string{"knot": {"-c", s.path("conf")}, "bind": {"-f", "-L", s.path("log"), "-c", s.path("conf")}, "nsd": {"-d", "-c", s.path("conf")}}
	cmd := exec.Command(need.Program(t, programs[s.kind][0]), args[s.kind]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		// NSD's first process ends before its children: wait for the whole group.
		for deadline := time.Now().Add(patience); syscall.Kill(-cmd.Process.Pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s did not end within %s and is killed", s.kind, patience)
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				break
			}
		}
		<-ended
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		if _, err := s.run("status"); err == nil && s.answers() {
			t.Cleanup(stop)
			return true
		}
	}
	stop()
	return false
}

// answers says whether the port gives any answer, if only a refusal.
func (s *server) answers() bool {
	return exec.Command("dig", "@127.0.0.1", "-p", fmt.Sprint(s.port), "+tries=1", "+time=1", ".", "SOA").Run() == nil
}

// run calls the program that controls the server.
func (s *server) run(args ...string) (string, error) {
	program := programs[s.kind][1]
	switch s.kind {
	case "knot":
		args = append([]string{"-s", s.path("control"), "-b"}, args...)
	case "bind":
		args = append([]string{"-c", s.path("rndc.conf")}, args...)
	case "nsd":
		args = append([]string{"-c", s.path("conf")}, args...)
	}
	out, err := exec.Command("/usr/sbin/"+program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %s", program, args, err, out)
	}
	return string(out), nil
}

// reload makes the server read the list of its zones and those that changed.
func (s *server) reload(t *testing.T) {
	t.Helper()
	commands := []string{"reload"}
	if s.kind == "nsd" {
		commands = []string{"reconfig", "reload"}
	}
	for _, command := range commands {
		if _, err := s.run(command); err != nil {
			t.Fatal(err)
		}
	}
}

// dig asks and returns the answer's records, or what +short and the like make of it.
func (s *server) dig(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"@127.0.0.1", "-p", fmt.Sprint(s.port), "+norecurse"}, args...)
	out, err := exec.Command("dig", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("dig %q: %v: %s", args, err, out)
	}
	return string(bytes.TrimSpace(out))
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

func freePort(t *testing.T) int {
	t.Helper()
	// Free for both UDP and TCP.
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
