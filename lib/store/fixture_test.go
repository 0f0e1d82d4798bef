package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"rplan/lib/diag"
	"rplan/tests/crypt"
	"rplan/tests/need"
)

// team is some admins, each on a machine of their own, with one store.
type team struct {
	*testing.T
	dir   string // of everything
	store string
	ids   map[string]*age.X25519Identity
}

var ctx = context.Background()

const storeID = "0123456789abcdef0123456789abcdef"

// newTeam has a store that ada made, with bob, the node n1 and its disk.
func newTeam(t *testing.T) *team {
	t.Helper()
	need.Program(t, "ssh-keygen")
	dir := t.TempDir()
	w := &team{t, dir, filepath.Join(dir, "store"), map[string]*age.X25519Identity{}}
	s, err := w.place("ada").Init(ctx, w.keyring("ada"), w.admin("ada"), storeID)
	w.ok(err)
	s = w.change(s, "ada", Change{What: "added bob", Files: map[string][]byte{adminPath("bob"): encode(w.admin("bob"))}})
	s = w.change(s, "ada", Change{What: "added n1", Files: map[string][]byte{nodePath("n1"): encode(w.node())}})
	w.change(s, "ada", w.sealing("n1", "root", "correct horse battery staple", "ada", "bob"))
	w.introduce("bob")
	return w
}

func (w *team) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *team) place(who string) *Place {
	return &Place{Dir: w.store, State: filepath.Join(w.dir, who, "state"), Now: func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }}
}

// keyring makes the admin's SSH key where there is none.
func (w *team) keyring(who string) *Keyring {
	w.Helper()
	file := filepath.Join(w.dir, who, "key")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		w.ok(os.MkdirAll(filepath.Dir(file), 0o700))
		w.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", file)
	}
	return &Keyring{who, file}
}

func (w *team) run(argv ...string) string {
	w.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("%q: %v: %s", argv, err, &stderr)
	}
	return string(out)
}

func (w *team) public(who string) string {
	w.Helper()
	text, err := os.ReadFile(w.keyring(who).File + ".pub")
	w.ok(err)
	key, err := plainKey(string(text))
	w.ok(err)
	return key
}

func (w *team) identity(who string) *age.X25519Identity {
	w.Helper()
	if w.ids[who] == nil {
		i, err := age.GenerateX25519Identity()
		w.ok(err)
		w.ids[who] = i
	}
	return w.ids[who]
}

func (w *team) admin(who string) *Admin {
	return &Admin{Name: who, Recipients: []string{w.identity(who).Recipient().String()}, Signer: w.public(who)}
}

func (w *team) node() *Node {
	return &Node{Name: "n1", Initramfs: &Target{Host: "192.0.2.1", Port: 2222, HostKeys: []string{w.public("n1-boot")}},
		System: Target{Host: "n1.example.net", HostKeys: []string{w.public("n1")}},
		Disks:  []Disk{{Name: "root", Admins: []string{"ada", "bob"}}}}
}

func (w *team) sealing(node, name, passphrase string, admins ...string) Change {
	w.Helper()
	var to []string
	for _, a := range admins {
		to = append(to, w.identity(a).Recipient().String())
	}
	text, err := Seal(crypt.Secret(w, passphrase), to, nil)
	w.ok(err)
	path := SealedPath(node, name)
	return Change{What: fmt.Sprintf("sealed %q of %q", name, node), Files: map[string][]byte{path: text}, Sealed: map[string][]string{path: to}}
}

func (w *team) change(s *Store, who string, c Change) *Store {
	w.Helper()
	next, err := s.Commit(ctx, w.keyring(who), c)
	w.ok(err)
	return next
}

// introduce makes the store known on an admin's machine.
func (w *team) introduce(who string) {
	w.Helper()
	s, _, err := w.place(who).Meet(ctx)
	w.ok(err)
	w.ok(s.Trust())
}

func (w *team) open(who string) *Store {
	w.Helper()
	s, err := w.place(who).Open(ctx)
	w.ok(err)
	return s
}

func (w *team) path(name string) string { return filepath.Join(w.store, filepath.FromSlash(name)) }

func (w *team) read(name string) []byte {
	w.Helper()
	text, err := os.ReadFile(w.path(name))
	w.ok(err)
	return text
}

func (w *team) write(name string, text []byte) {
	w.Helper()
	w.ok(os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
	w.ok(os.WriteFile(w.path(name), text, 0o600))
}

// snapshot copies the store as it is now, for restore to put back.
func (w *team) snapshot() string {
	w.Helper()
	to, err := os.MkdirTemp(w.dir, "snapshot")
	w.ok(err)
	w.ok(os.CopyFS(filepath.Join(to, "store"), os.DirFS(w.store)))
	return filepath.Join(to, "store")
}

func (w *team) restore(from string) {
	w.Helper()
	w.ok(os.RemoveAll(w.store))
	w.ok(os.CopyFS(w.store, os.DirFS(from)))
}

// refused checks an error's kind and that it says all of these words.
func refused(t *testing.T, err error, kind diag.Kind, words ...string) {
	t.Helper()
	if err == nil || diag.KindOf(err) != kind {
		t.Errorf("the error is %v, of kind %d, want one of kind %d with %q", err, diag.KindOf(err), kind, words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+diag.HintOf(err), word) {
			t.Errorf("%q is not in: %v\nhint: %s", word, err, diag.HintOf(err))
		}
	}
}

func ids(all ...age.Identity) []age.Identity { return all }
