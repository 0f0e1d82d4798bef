// Package sshd runs Debian's sshd for tests, as root, with its own keys, home
// directory and processes: nothing of the machine's SSH is read or changed.
package sshd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/need"
)

// Server is a running sshd.
type Server struct {
	// Dir is a directory of the test's, which the server knows as Seen. Its
	// default AuthorizedKeysFile is Seen/authorized_keys.
	Dir string
	// Port is where it listens, on the addresses that Start was told.
	Port int
	// HostKey is its public host key, type and base64.
	HostKey string

	t   testing.TB
	cmd *exec.Cmd
}

// Seen is what the server knows its Dir as: a path that StrictModes accepts,
// as /tmp, where tests have their files, is open to all.
const Seen = "/run/test"

// script becomes the server. Home and /run are its own, and empty.
const script = `set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 sshd /run
mkdir /run/sshd /run/test
mount --bind "$1" /run/test
mount -t tmpfs -o mode=700 sshd /root
mount -t proc proc /proc
exec /usr/sbin/sshd -D -f /run/test/sshd_config -E /run/test/log`

// Start starts a server on these addresses, by default 127.0.0.1, with further
// lines of configuration, and returns when it answers. It ends with the test.
func Start(t testing.TB, config string, addresses ...string) *Server {
	t.Helper()
	need.Root(t)
	need.Program(t, "nsenter", "ssh", "ssh-keygen", "/usr/sbin/sshd")
	if len(addresses) == 0 {
		addresses = []string{"127.0.0.1"}
	}
	s := &Server{t: t, Dir: t.TempDir(), Port: freePort(t, addresses)}
	s.HostKey = NewKey(t, filepath.Join(s.Dir, "host_key"), "ed25519")
	base := "HostKey " + Seen + "/host_key\nPidFile none\nUsePAM yes\nLogLevel DEBUG1\nPasswordAuthentication no\n" +
		"AuthorizedKeysFile " + Seen + "/authorized_keys\n"
	for _, address := range addresses {
		base += fmt.Sprintf("ListenAddress %s:%d\n", address, s.Port)
	}
	s.Write("sshd_config", base+config)
	s.start(fmt.Sprintf("%s:%d", addresses[0], s.Port))
	return s
}

func (s *Server) start(address string) {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script, "sshd", s.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	s.t.Cleanup(s.Stop)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%v: %s", err, said.String())
		}
	}
}

// Stop ends the server and all that it started, at once.
func (s *Server) Stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// Path is where a file of the server's is, such as one in its home directory.
func (s *Server) Path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "root", file)
}

// Run runs a program where the server runs, and returns what it printed.
func (s *Server) Run(argv ...string) string {
	s.t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(s.cmd.Process.Pid), "--mount", "--"}, argv...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%q: %v: %s", argv, err, out)
	}
	return string(out)
}

// Pause makes it deaf without closing anything: it takes connections and says nothing.
func (s *Server) Pause() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Write makes a file in Dir.
func (s *Server) Write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// Read is the text of a file in Dir; "log" has what the server says.
func (s *Server) Read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// NewKey makes a key pair of a type at path and path.pub, and returns the public one without its comment.
func NewKey(t testing.TB, path, kind string) string {
	t.Helper()
	need.Program(t, "ssh-keygen")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// freePort is one that nobody listens at on any of the addresses.
func freePort(t testing.TB, addresses []string) int {
	t.Helper()
	l, err := net.Listen("tcp", addresses[0]+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
