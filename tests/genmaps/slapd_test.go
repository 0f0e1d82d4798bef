package genmaps

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/tests/need"
	"rplan/tests/slapd"
)

// node is a node whose directory is a real slapd with the reference collective.
type node struct {
	*testing.T
	dir    string
	server *slapd.Server
	extra  string // of [directory]
}

func newNode(t *testing.T, mailboxes int, options slapd.Options) *node {
	need.Program(t, "slapd", "slapadd", "slapcat")
	n := &node{T: t, dir: t.TempDir()}
	ldif := filepath.Join(n.dir, "directory.ldif")
	out, err := exec.Command("go", "run", "rplan/contrib/example/generate", "-mailboxes", fmt.Sprint(mailboxes), "-sites", "20", "-lists", "20").Output()
	if err == nil {
		err = os.WriteFile(ldif, out, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	options.LDIF, options.Provider, options.NoSync = []string{ldif}, true, true
	if options.SizeLimit == 0 {
		options.SizeLimit = -1
	}
	n.server = slapd.Run(t, options)
	n.setState("n3", "up") // the first write gives the directory its contextCSN
	return n
}

func (n *node) setState(name, state string) {
	n.Helper()
	conn, err := n.server.Bind(n.server.RootDN, n.server.RootPassword)
	if err != nil {
		n.Fatal(err)
	}
	defer conn.Close()
	m := ldap.NewModifyRequest("rplanNodeName="+name+",ou=nodes,"+n.server.BaseDN, nil)
	m.Replace("rplanState", []string{state})
	if err := conn.Modify(m); err != nil {
		n.Fatal(err)
	}
}

// genmaps runs rp-genmaps as node n1 and returns its exit code and standard error.
func (n *node) genmaps(args ...string) (code int, stderr string) {
	n.Helper()
	n.write("rplan.toml", fmt.Sprintf(`node = "n1"
[network]
nodes-domain = "nodes.example.net"
contact-domain = "contact.example.net"
[directory]
urls = [%q]
base = %q
bind-dn = %q
password-file = %q
%s
[genmaps]
output = %q
[genmaps.check]
postfix = []
dovecot = []
apache = []
dns = []
[genmaps.reload]
postfix = []
dovecot = []
apache = []
dns = []
`, n.server.LDAPI(), n.server.BaseDN, n.server.RootDN, n.path("password"), n.extra, n.path("maps")))
	n.write("password", n.server.RootPassword)
	cmd := exec.Command(binary, append([]string{"--config", n.path("rplan.toml")}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		n.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

func (n *node) write(name, text string) {
	n.Helper()
	if err := os.WriteFile(n.path(name), []byte(text), 0o600); err != nil {
		n.Fatal(err)
	}
}

func (n *node) published() map[string]string {
	n.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(n.path("maps"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		n.Fatal(err)
	}
	return files
}

func (n *node) want(code int, words string, args ...string) {
	n.Helper()
	if got, stderr := n.genmaps(args...); got != code || !strings.Contains(stderr, words) {
		n.Errorf("exit code %d, want %d; standard error %q, want %q", got, code, stderr, words)
	}
}

// searches is how often slapd was asked for the mailboxes, by its log.
func (n *node) searches() int {
	log, err := os.ReadFile(n.server.LogPath())
	if err != nil {
		n.Error(err)
	}
	return strings.Count(string(log), "objectClass=rplanMailbox")
}

// usersOwn are the files that no node's state is in.
func usersOwn(files map[string]string) map[string]string {
	own := maps.Clone(files)
	maps.DeleteFunc(own, func(path, _ string) bool {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		return slices.Contains([]string{"placements", "proxied", "mirrors"}, name) || filepath.Base(filepath.Dir(path)) == "ssh"
	})
	return own
}

// slapd stops, or is killed, while the users are being read: what follows the
// nodes' states is there already, nothing else is written, and the next run makes what was asked for.
func TestSlapdStopsInMidSearch(t *testing.T) {
	for name, disturb := range map[string]func(*slapd.Server) error{
		"hangs":     (*slapd.Server).Pause,
		"is killed": (*slapd.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 20000, slapd.Options{LogLevel: "stats"})
			n.extra = `timeout = "2s"`
			n.want(0, "")
			before := n.published()
			n.setState("n3", "out")
			searched := n.searches()
			disturbed := make(chan error)
			go func() {
				// slapd logs a search when it begins; the mailboxes take it some 200 ms.
				for range 5000 {
					if n.searches() > searched {
						break
					}
					time.Sleep(time.Millisecond)
				}
				disturbed <- disturb(n.server)
			}()
			n.want(75, n.server.LDAPI())
			if err := <-disturbed; err != nil {
				t.Fatal(err)
			}
			after := n.published()
			if !maps.Equal(usersOwn(before), usersOwn(after)) {
				t.Error("users' maps were changed")
			}
			if maps.Equal(before, after) {
				t.Error("the new state had to wait")
			}
			if name == "hangs" {
				if err := n.server.Resume(); err != nil {
					t.Fatal(err)
				}
			} else if err := n.server.Start(); err != nil {
				t.Fatal(err)
			}
			n.extra = ""
			n.want(0, "")
			if maps.Equal(after, n.published()) {
				t.Error("the next run made nothing")
			}
		})
	}
}

// A directory that was restored from a backup has less than the maps in use were made from.
func TestRestoredDirectory(t *testing.T) {
	n := newNode(t, 50, slapd.Options{})
	n.want(0, "")
	backup, err := exec.Command(need.Program(t, "slapcat"), "-f", n.server.ConfigPath(), "-b", n.server.BaseDN).Output()
	if err != nil {
		t.Fatal(err)
	}
	n.setState("n3", "out")
	n.want(0, "note: ")
	n.want(0, "")
	before := n.published()

	n.write("backup.ldif", string(backup))
	restored, err := slapd.New(slapd.Options{LDIF: []string{n.path("backup.ldif")}, Provider: true, NoSync: true, SizeLimit: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { restored.Close() })
	n.server = restored
	n.want(2, "the directory went backwards: it is at csn:")
	n.want(2, "hint: was the server restored from a backup?", "--force")
	if !maps.Equal(before, n.published()) {
		t.Error("maps were changed")
	}
	n.want(0, "", "--allow-older")
	if maps.Equal(before, n.published()) {
		t.Error("nothing was made although it was allowed")
	}
	n.want(0, "")
}

// A change in the directory is seen by its contextCSN; without one nothing is read.
func TestNothingToDoAsksForTheVersionOnly(t *testing.T) {
	n := newNode(t, 50, slapd.Options{LogLevel: "stats"})
	n.want(0, "")
	read := n.searches()
	n.want(0, "nothing changed since the last run", "--verbose")
	if n.searches() != read || read == 0 {
		t.Errorf("the mailboxes were searched %d times, and then %d", read, n.searches())
	}
	n.setState("n3", "draining")
	n.want(0, "")
	if n.searches() == read {
		t.Error("the change was not read")
	}
}
