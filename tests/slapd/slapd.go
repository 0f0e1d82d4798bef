// Package slapd starts real OpenLDAP servers for tests and the lab, each in a
// directory of its own, with the configuration that contrib/ldap ships.
package slapd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
)

// patience is how long slapd may take to answer after its start, and to end
// after SIGTERM.
const patience = 20 * time.Second

// Server is one slapd, its configuration and its data, in Dir.
type Server struct {
	// Dir holds slapd.conf, the data (db), the socket and the log.
	Dir string
	// BaseDN is the suffix of the data.
	BaseDN string
	// RootDN and RootPassword pass every access rule.
	RootDN, RootPassword string

	options Options
	urls    []string
	ldapi   string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// Run starts a server for a test, which skips without slapd, and ends it with
// the test. A failed test shows the server's log.
func Run(t testing.TB, o Options) *Server {
	t.Helper()
	need.Program(t, "slapd", "slapadd")
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, _ := os.ReadFile(s.LogPath()); t.Failed() && len(log) > 0 {
			t.Logf("log of slapd in %q:\n%s", s.Dir, tail(log))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New writes a configuration, loads o.LDIF and starts slapd. The caller ends
// it with Close.
func New(o Options) (*Server, error) {
	// Short, because the path of a socket may have 107 bytes.
	dir, err := os.MkdirTemp("", "slapd")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, options: o.withDefaults()}
	s.BaseDN, s.RootDN, s.RootPassword = s.options.Suffix, s.options.RootDN, s.options.RootPassword
	s.ldapi = "ldapi://" + strings.ReplaceAll(filepath.Join(dir, "ldapi"), "/", "%2F")
	if err = s.prepare(); err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) prepare() error {
	if s.options.ConfigDir != "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(s.Dir, "db", "accesslog"), 0o700); err != nil {
		return err
	}
	conf, err := s.options.config(s.Dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.ConfigPath(), []byte(conf), 0o600); err != nil {
		return err
	}
	for _, file := range s.options.LDIF {
		args := []string{"-q", "-f", s.ConfigPath(), "-b", s.BaseDN, "-l", file}
		if s.options.Provider {
			args = append(args, "-w") // contextCSN, which consumers compare
		}
		if out, err := exec.Command(program("slapadd"), args...).CombinedOutput(); err != nil {
			return fmt.Errorf("slapadd %q: %w: %s", file, err, tail(out))
		}
	}
	return nil
}

// Start starts a stopped or killed server again, on the same addresses, and
// returns when it answers.
func (s *Server) Start() error {
	if s.running() {
		return fmt.Errorf("slapd in %q runs already", s.Dir)
	}
	var err error
	for range 3 { // a free port may have been taken by someone else meanwhile
		if s.urls == nil {
			if s.urls, err = s.options.listeners(); err != nil {
				return err
			}
		}
		if err = s.launch(); err == nil {
			return nil
		}
		if !strings.Contains(err.Error(), "Address already in use") || len(s.options.URLs) > 0 {
			return err
		}
		s.urls = nil
	}
	return err
}

func (s *Server) launch() error {
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{}, s.options.Via...)
	config := []string{"-f", s.ConfigPath()}
	if s.options.ConfigDir != "" {
		config = []string{"-F", s.options.ConfigDir}
	}
	args = append(args, program("slapd"), "-d", s.options.LogLevel, "-h", strings.Join(append(s.urls, s.ldapi), " "))
	args = append(args, config...)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	// A terminal's interrupt is for the program that runs the server, which then ends it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !s.options.Detach {
		s.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(s.cmd, s.ended)
	return s.await()
}

// await returns when slapd answers on its socket, or has ended.
func (s *Server) await() error {
	deadline := time.Now().Add(patience)
	for {
		err := s.answers()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			s.cmd = nil
			log, _ := os.ReadFile(s.LogPath())
			return fmt.Errorf("slapd in %q did not start: %s", s.Dir, tail(log))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("slapd in %q does not answer: %w", s.Dir, err), s.Kill())
		}
	}
}

func (s *Server) answers() error {
	conn, err := ldap.DialURL(s.ldapi)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetTimeout(time.Second)
	_, err = conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		1, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
	return err
}

// URL is the first address clients connect to: ldap://127.0.0.1:PORT unless
// Options.URLs says otherwise.
func (s *Server) URL() string { return s.urls[0] }

// LDAPS is the ldaps:// address, empty without Options.TLS.
func (s *Server) LDAPS() string {
	for _, url := range s.urls {
		if strings.HasPrefix(url, "ldaps:") {
			return url
		}
	}
	return ""
}

// LDAPI is the address of the local socket, as a URL with %2F for each slash.
func (s *Server) LDAPI() string { return s.ldapi }

// ConfigPath is the slapd.conf the server runs with.
func (s *Server) ConfigPath() string { return filepath.Join(s.Dir, "slapd.conf") }

// LogPath is the file with what slapd said, of all its starts.
func (s *Server) LogPath() string { return filepath.Join(s.Dir, "log") }

// PID is the process id, 0 when the server does not run.
func (s *Server) PID() int {
	if !s.running() {
		return 0
	}
	return s.cmd.Process.Pid
}

func (s *Server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// Bind returns a connection over the local socket, bound as dn; an empty dn
// is anonymous. The caller closes it.
func (s *Server) Bind(dn, password string) (*ldap.Conn, error) {
	conn, err := ldap.DialURL(s.ldapi)
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(patience)
	if dn == "" {
		return conn, nil
	}
	if err := conn.Bind(dn, password); err != nil {
		conn.Close()
		return nil, fmt.Errorf("bind as %q: %w", dn, err)
	}
	return conn, nil
}

// Writes are the DNs that were written to, one for each write in the
// provider's log.
func (s *Server) Writes() ([]string, error) {
	conn, err := s.Bind(s.RootDN, s.RootPassword)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	result, err := conn.Search(ldap.NewSearchRequest("cn=log", ldap.ScopeSingleLevel, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=auditWriteObject)", []string{"reqDN"}, nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, nil // the log begins with the first write
	}
	if err != nil {
		return nil, err
	}
	var dns []string
	for _, e := range result.Entries {
		dns = append(dns, e.GetAttributeValue("reqDN"))
	}
	return dns, nil
}

// Stop ends slapd with SIGTERM, which lets it close its data, and waits.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends slapd with SIGKILL, as a crash does, and waits.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Pause makes slapd deaf without closing anything, as a hanging machine does.
func (s *Server) Pause() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal is sent, but each thread runs on until it sees it.
	for deadline := time.Now().Add(patience); !s.stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("slapd in %q does not pause", s.Dir)
		}
	}
	return nil
}

// stopped says whether every thread is in state T (proc(5)).
func (s *Server) stopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.PID()))
	for _, thread := range threads {
		if stat, err := os.ReadFile(thread); err == nil && !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return true
}

// Resume ends a Pause.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

// Close stops the server if it runs and removes its directory.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.Dir))
}

func (s *Server) signal(sig syscall.Signal) error {
	if !s.running() {
		return fmt.Errorf("slapd in %q does not run", s.Dir)
	}
	return s.cmd.Process.Signal(sig)
}

func (s *Server) end(sig syscall.Signal) error {
	if !s.running() {
		return nil
	}
	_ = s.signal(sig)
	_ = s.signal(syscall.SIGCONT) // a paused process gets SIGTERM only when it goes on
	select {
	case <-s.ended:
		return nil
	case <-time.After(patience):
	}
	_ = s.signal(syscall.SIGKILL)
	<-s.ended
	return fmt.Errorf("slapd in %q did not end within %s of %s and was killed", s.Dir, patience, sig)
}

// tail is the end of what a program said.
func tail(out []byte) string {
	const most = 4000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}

// program is the path of a slapd program, which a user's PATH may lack.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}
