// Package apache starts real Apache servers for tests, each in a directory of
// its own, with Debian's modules and contrib/apache.
package apache

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/need"
)

// patience is how long Apache may take to listen after its start, and to end
// after SIGTERM.
const patience = 20 * time.Second

// modules are those that Debian enables and that matter here, and those that contrib/apache asks for.
var modules = []string{
	"mpm_event", "authz_core", "authz_host", "access_compat", "alias", "autoindex", "dir", "env", "mime", "negotiation",
	"reqtimeout", "setenvif", "status", "rewrite", "proxy", "proxy_http", "proxy_fcgi", "headers", "socache_shmcb", "ssl", "cgi",
}

// Options say what a server is like.
type Options struct {
	// Maps is what rp-genmaps made for the node: RPLAN_MAPS. Without, contrib's rplan.conf is left out.
	Maps string
	// Sites holds the sites' own files: RPLAN_SITES.
	Sites string
	// Listen are the public addresses, as IP:PORT. The one on the VPN is in Maps.
	Listen []string
	// Config are further lines, before those of contrib/apache.
	Config string
}

// Server is one Apache, its configuration and all that it writes, in Dir.
type Server struct {
	// Dir holds apache2.conf, the pid file, the log directory, and Output.
	Dir string

	options Options
	cmd     *exec.Cmd
	ended   chan struct{}
}

// Contrib is the path of a file of contrib/apache.
func Contrib(name string) string {
	_, source, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(source), "..", "..", "contrib", "apache", name)
}

// Run starts a server for a test, which skips without Apache or root, and ends it with the test.
func Run(t testing.TB, o Options) *Server {
	t.Helper()
	need.Root(t) // children run as www-data
	need.Program(t, "apache2")
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New writes a configuration and starts Apache. The caller ends it with Close.
func New(o Options) (*Server, error) {
	dir, err := os.MkdirTemp("", "apache")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, options: o}
	err = errors.Join(
		os.Chmod(dir, 0o755), // for www-data
		os.MkdirAll(filepath.Join(dir, "log"), 0o755),
		os.WriteFile(s.ConfigPath(), []byte(s.config()), 0o644),
	)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// config is Debian's apache2.conf in short: the same modules, the same logs, and in conf-enabled what
// a2enconf puts there. rplan has to make it silent.
func (s *Server) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ServerRoot /etc/apache2\nDefaultRuntimeDir %s\nPidFile %s/pid\nMutex file:%s\n", s.Dir, s.Dir, s.Dir)
	fmt.Fprintf(&b, "User www-data\nGroup www-data\nErrorLog %s/log/error.log\nLogLevel warn\n", s.Dir)
	for _, m := range modules {
		fmt.Fprintf(&b, "Include mods-available/%s.load\nIncludeOptional mods-available/%s.conf\n", m, m)
	}
	for _, address := range s.options.Listen {
		fmt.Fprintf(&b, "Listen %s\n", address)
	}
	b.WriteString("<Directory />\n\tOptions FollowSymLinks\n\tAllowOverride None\n\tRequire all denied\n</Directory>\n")
	b.WriteString(`LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O" vhost_combined` + "\n")
	b.WriteString("Include conf-available/other-vhosts-access-log.conf\nInclude conf-available/security.conf\n")
	b.WriteString(s.options.Config)
	if s.options.Maps != "" {
		fmt.Fprintf(&b, "\nInclude %q\n", Contrib("rplan.conf"))
	}
	return b.String()
}

// command is an apache2 with this server's configuration and further arguments.
func (s *Server) command(args ...string) *exec.Cmd {
	argv := []string{"-f", s.ConfigPath(), "-C", "Define RPLAN_MAPS " + s.options.Maps}
	if s.options.Sites != "" {
		argv = append(argv, "-C", "Define RPLAN_SITES "+s.options.Sites)
	}
	cmd := exec.Command("/usr/sbin/apache2", append(argv, args...)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "APACHE_RUN_DIR="+s.Dir, "APACHE_LOG_DIR="+filepath.Join(s.Dir, "log"), "APACHE_LOCK_DIR="+s.Dir, "LANG=C")
	return cmd
}

// Check is apache2 -t, with other maps in place of the server's when maps is not empty.
func (s *Server) Check(maps string) error {
	other := *s
	if maps != "" {
		other.options.Maps = maps
	}
	if out, err := other.command("-t").CombinedOutput(); err != nil {
		return fmt.Errorf("apache2 -t: %w: %s", err, out)
	}
	return nil
}

// Start starts a stopped or killed server again, with further arguments, and returns when it listens.
func (s *Server) Start(args ...string) error {
	if s.running() {
		return fmt.Errorf("apache in %q runs already", s.Dir)
	}
	out, err := os.OpenFile(s.Output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = s.command(append([]string{"-DFOREGROUND"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	// A terminal's interrupt is for the program that runs the server, which then ends it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(s.cmd, s.ended)
	return s.await()
}

// await returns when Apache has written its pid file, which it does when it listens, or has ended.
func (s *Server) await() error {
	deadline := time.Now().Add(patience)
	for {
		pid, err := os.ReadFile(filepath.Join(s.Dir, "pid"))
		if err == nil && strings.TrimSpace(string(pid)) == fmt.Sprint(s.cmd.Process.Pid) {
			return nil
		}
		select {
		case <-s.ended:
			said, _ := os.ReadFile(s.Output())
			s.cmd = nil
			return fmt.Errorf("apache in %q did not start: %s", s.Dir, said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("apache in %q does not listen", s.Dir), s.end(syscall.SIGKILL))
		}
	}
}

// Reload makes Apache read its configuration again, as apache2ctl graceful does, and returns when the
// new one is in use: when fresh, a request of the caller's, says so.
func (s *Server) Reload(fresh func() bool) error {
	if !s.running() {
		return fmt.Errorf("apache in %q does not run", s.Dir)
	}
	if err := s.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); !fresh(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("apache in %q did not take over its new configuration", s.Dir)
		}
	}
	return nil
}

// ConfigPath is the apache2.conf the server runs with.
func (s *Server) ConfigPath() string { return filepath.Join(s.Dir, "apache2.conf") }

// Output is the file with what Apache said on stdout and stderr.
func (s *Server) Output() string { return filepath.Join(s.Dir, "output") }

// PID is the process id of the parent, 0 when the server does not run.
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

// Stop ends Apache with SIGTERM and waits.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Server) end(signal syscall.Signal) error {
	if !s.running() {
		s.cmd = nil
		return nil
	}
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.ended:
		s.cmd = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("apache in %q does not end", s.Dir)
	}
}

// Close ends Apache and removes its directory.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.Dir))
}
