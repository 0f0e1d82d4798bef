package store

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"rplan/lib/diag"
)

// The test binary run with these makes a change, or the store, and kills itself at
// the step of this number; called as a plugin of age it is one.
const (
	killAt  = "RPLAN_TEST_KILL_AT"
	killDir = "RPLAN_TEST_KILL_DIR"
)

func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "age-plugin-") {
		os.Exit(asPlugin())
	}
	if dir := os.Getenv(killDir); dir != "" {
		os.Exit(victim(dir, len(os.Getenv(killAt))))
	}
	os.Exit(m.Run())
}

func victim(dir string, at int) int {
	steps := 0
	p := &Place{Dir: filepath.Join(dir, "store"), State: filepath.Join(dir, "ada", "state"), Now: time.Now, step: func(string) {
		if steps++; steps == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
	}}
	k := &Keyring{"ada", filepath.Join(dir, "ada", "key")}
	text, err := os.ReadFile(filepath.Join(dir, "change"))
	if err == nil && len(text) == 0 {
		public, _ := os.ReadFile(k.File + ".pub")
		identity, _ := age.GenerateX25519Identity()
		_, err = p.Init(ctx, k, &Admin{Name: "ada", Recipients: []string{identity.Recipient().String()}, Signer: strings.TrimSpace(string(public))}, storeID)
	} else if err == nil {
		var s *Store
		if s, err = p.Open(ctx); err == nil {
			_, err = s.Commit(ctx, k, Change{What: "much", Files: map[string][]byte{
				nodePath("n1"): text, baselinePath("n1"): []byte("{}\n"), SealedPath("n1", "root"): nil}})
		}
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return diag.ExitCode(err)
	}
	return 0
}

// dies runs a victim that is killed at a step, from 1; it says whether there was one.
func (w *team) dies(at int, change []byte) bool {
	w.Helper()
	w.ok(os.WriteFile(filepath.Join(w.dir, "change"), change, 0o600))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), killDir+"="+w.dir, killAt+"="+strings.Repeat("x", at))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		return true
	}
	if err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	return false
}

// TestKilledAtEachStep: a change is made or it is not, whenever its maker was killed.
func TestKilledAtEachStep(t *testing.T) {
	w := newTeam(t)
	n := w.node()
	n.Disks[0].Mount = "/"
	change := encode(n)
	before := w.snapshot()
	at := 1
	made := 0
	for ; ; at++ {
		w.restore(before)
		w.ok(os.Remove(trustPath(w.place("ada").State, storeID)))
		w.introduce("ada")
		killed := w.dies(at, change)
		s := w.open("ada")
		_, sealed := s.files[SealedPath("n1", "root")]
		switch {
		case s.Epoch == 4 && sealed && bytes.Equal(s.files[nodePath("n1")], w.readFrom(before, nodePath("n1"))):
		case s.Epoch == 5 && !sealed && bytes.Equal(s.files[nodePath("n1")], change) && s.Baseline("n1") != nil:
			made++
		default:
			t.Errorf("step %d: epoch %d, sealed %v", at, s.Epoch, sealed)
		}
		if left, _ := filepath.Glob(w.path(pendingDir)); len(left) > 0 {
			t.Errorf("step %d: %q is left", at, left)
		}
		w.change(s, "ada", Change{What: "life goes on"})
		if !killed {
			break
		}
	}
	if at < 8 || made < 4 {
		t.Errorf("there were %d steps, after %d of which the change was made", at, made)
	}
}

func (w *team) readFrom(snapshot, name string) []byte {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(snapshot, filepath.FromSlash(name)))
	w.ok(err)
	return text
}

// TestInitKilledAtEachStep: the store is there, or can be made by the same command.
func TestInitKilledAtEachStep(t *testing.T) {
	w := newTeam(t)
	for at := 1; ; at++ {
		w.ok(os.RemoveAll(w.store))
		w.ok(os.RemoveAll(w.place("ada").State))
		killed := w.dies(at, nil)
		s, err := w.place("ada").Open(ctx)
		if diag.KindOf(err) == diag.Config {
			s, err = w.place("ada").Init(ctx, w.keyring("ada"), w.admin("ada"), storeID)
		}
		w.ok(err)
		if s.Epoch != 1 || len(s.Admins) != 1 {
			t.Errorf("step %d: %+v", at, s)
		}
		if !killed {
			if at < 5 {
				t.Errorf("there were %d steps", at)
			}
			return
		}
	}
}

// asPlugin stands in for hardware: what names its keys is the keys.
func asPlugin() int {
	p, err := plugin.New(strings.TrimPrefix(filepath.Base(os.Args[0]), "age-plugin-"))
	if err != nil {
		return 1
	}
	p.HandleIdentity(func(data []byte) (age.Identity, error) { return age.ParseX25519Identity(string(data)) })
	p.HandleRecipient(func(data []byte) (age.Recipient, error) { return age.ParseX25519Recipient(string(data)) })
	return p.Main()
}
