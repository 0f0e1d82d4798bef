package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

func TestStore(t *testing.T) {
	w := newTeam(t)
	s := w.open("bob")
	if s.Epoch != 4 || s.By != "ada" || len(s.Admins) != 2 || s.Nodes["n1"].Disk("root") == nil || s.Nodes["n1"].System.Unlock != Running || s.Baseline("n1") != nil {
		t.Errorf("%+v", s)
	}
	file, to := s.Sealed("n1", "root")
	if len(to) != 2 || !slices.Contains(to, w.identity("bob").Recipient().String()) {
		t.Errorf("sealed for %q", to)
	}
	p, err := Unseal(file, ids(w.identity("bob")))
	w.ok(err)
	if string(p.Bytes()) != "correct horse battery staple" {
		t.Errorf("%q", p.Bytes())
	}
	s = w.change(s, "bob", Change{What: "n1\nis \x1b[31mwell", Files: map[string][]byte{baselinePath("n1"): []byte("{}\n")}})
	if s.Epoch != 5 || s.By != "bob" || string(s.Baseline("n1")) != "{}\n" || !strings.Contains(string(w.read("manifests/000005")), "\nwhat n1 is [31mwell\n") {
		t.Errorf("%+v: %s", s, w.read("manifests/000005"))
	}
	s = w.open("ada") // who knew epoch 4
	s = w.change(s, "ada", Change{What: "removed it", Files: map[string][]byte{baselinePath("n1"): nil}})
	if _, err := os.Stat(w.path(baselinePath("n1"))); !errors.Is(err, fs.ErrNotExist) || s.Baseline("n1") != nil {
		t.Error("the baseline is still there")
	}
	if left, _ := filepath.Glob(w.path(".rplan-p*")); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
	if info, err := os.Stat(w.path(SealedPath("n1", "root"))); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestByHand does what the store's README says, with no rplan.
func TestByHand(t *testing.T) {
	need.Program(t, "age", "sha256sum")
	w := newTeam(t)
	sh := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir = w.store
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	w.ok(os.WriteFile(filepath.Join(w.dir, "allowed_signers"), []byte("ada "+w.public("ada")+"\n"), 0o600))
	w.ok(os.WriteFile(filepath.Join(w.dir, "identity"), []byte(w.identity("ada").String()+"\n"), 0o600))
	if said := sh("ssh-keygen -Y verify -n rplan-store -I ada -f ../allowed_signers -s manifests/000004.ada.sig <manifests/000004"); !strings.HasPrefix(said, "Good ") {
		t.Error(said)
	}
	sh("sha256sum -c --quiet manifests/000004")
	if got := sh("age -d -i ../identity passphrases/n1/root.age | head -n 1"); got != "correct horse battery staple\n" {
		t.Errorf("%q", got)
	}
	for _, command := range []string{"ssh-keygen -Y verify -n rplan-store", "sha256sum -c --quiet manifests/EPOCH", "age -d -i IDENTITY passphrases/NODE/DISK.age"} {
		if !strings.Contains(string(w.read("README")), command) {
			t.Errorf("the README has no %q", command)
		}
	}
}

// TestTampering: whatever somebody does who can write the store but signs nothing valid, is refused, and said.
func TestTampering(t *testing.T) {
	w := newTeam(t)
	w.ok(os.MkdirAll(filepath.Join(w.dir, "mallory"), 0o700))
	older := w.snapshot()
	s := w.open("ada")
	w.change(s, "ada", w.sealing("n1", "root", "another one", "ada", "bob"))
	w.open("bob")
	newest := w.snapshot()
	last := func() (*manifest, []byte) {
		text := w.read("manifests/000005")
		m, err := parseManifest("x", text)
		w.ok(err)
		return m, text
	}
	forge := func(who string, m *manifest) {
		name := fmt.Sprintf("manifests/%06d", m.Epoch)
		w.write(name, m.text())
		sig, err := w.keyring(who).Sign(ctx, ForManifest, m.text())
		w.ok(err)
		w.write(name+"."+m.By+".sig", sig)
	}
	for name, c := range map[string]struct {
		do    func()
		kind  diag.Kind
		words []string
	}{
		"a file swapped": {func() { w.write(SealedPath("n1", "root"), []byte("other")) }, diag.Refused,
			[]string{`not what "ada" signed as epoch 5`, `changed: "passphrases/n1/root.age"`, "rp-rekey sign"}},
		"a file added":      {func() { w.write(nodePath("n2"), encode(w.node())) }, diag.Refused, []string{`added: "nodes/n2.toml"`}},
		"a file taken away": {func() { w.ok(os.Remove(w.path(nodePath("n1")))) }, diag.Refused, []string{`missing: "nodes/n1.toml"`}},
		"a recipient slipped": {func() {
			a := w.admin("bob")
			a.Recipients = append(a.Recipients, w.identity("mallory").Recipient().String())
			w.write(adminPath("bob"), encode(a))
		}, diag.Refused, []string{`changed: "admins/bob.toml"`}},
		"an older state": {func() { w.restore(older) }, diag.Refused, []string{"epoch 4, and this machine has seen epoch 5", "an older state was put back"}},
		"a signature taken away": {func() { w.ok(os.Remove(w.path("manifests/000005.ada.sig"))) }, diag.Refused,
			[]string{"epoch 5 has no signature"}},
		"signed by a stranger": {func() { m, _ := last(); m.By = "mallory"; m.Epoch, m.Previous = 6, sum(m0(w)); forge("mallory", m) }, diag.Refused,
			[]string{`epoch 6 is signed by "mallory", who may not`, "ada, bob"}},
		"signed in another's name": {func() { m, text := last(); m.Epoch, m.Previous = 6, sum(text); forge("mallory", m) }, diag.Refused,
			[]string{`epoch 6: no valid signature by "ada"`}},
		"another purpose": {func() {
			_, text := last()
			sig, err := w.keyring("ada").Sign(ctx, ForJournal, text)
			w.ok(err)
			w.write("manifests/000005.ada.sig", sig)
		}, diag.Refused, []string{`no valid signature by "ada"`}},
		"another history":   {func() { m, _ := last(); m.What = "something else"; forge("ada", m) }, diag.Refused, []string{"epoch 5 is another one", "history was replaced"}},
		"an epoch left out": {func() { m, text := last(); m.Epoch, m.Previous = 7, sum(text); forge("ada", m) }, diag.Refused, []string{"epoch 7 does not follow that of epoch 5"}},
		"that which is known is missing": {func() {
			m, text := last()
			m.Epoch, m.Previous = 6, sum(text)
			forge("ada", m)
			w.ok(os.Remove(w.path("manifests/000005")))
		}, diag.Refused, []string{"epoch 5, which this machine has seen, is missing"}},
		"another store": {func() {
			m, text := last()
			m.ID, m.Epoch, m.Previous = strings.Repeat("f", 32), 6, sum(text)
			forge("ada", m)
		}, diag.Config, []string{"never seen the store", "rp-rekey trust"}},
		"a manifest in other words": {func() {
			_, text := last()
			w.write("manifests/000005", bytes.Replace(text, []byte("\n\n"), []byte("\n\n\n"), 1))
		}, diag.BadData, []string{"manifests/000005"}},
		"a link instead of a file": {func() {
			w.ok(os.Rename(w.path(nodePath("n1")), filepath.Join(w.dir, "n1.toml")))
			w.ok(os.Symlink(filepath.Join(w.dir, "n1.toml"), w.path(nodePath("n1"))))
		}, diag.Refused, []string{`unreadable: "nodes/n1.toml"`}},
		"a device instead of a file": {func() { w.ok(os.Remove(w.path(nodePath("n1")))); w.ok(syscall.Mkfifo(w.path(nodePath("n1")), 0o600)) }, diag.Refused, []string{`unreadable: "nodes/n1.toml"`}},
		"a plan that leads out":      {func() { w.write(".rplan-pending/plan.json", []byte(`{"move":["../key"]}`)) }, diag.Refused, []string{`would write "../key"`}},
		"a plan that removes":        {func() { w.write(".rplan-pending/plan.json", []byte(`{"move":[],"remove":["README"]}`)) }, diag.Refused, []string{`would remove "README"`}},
		"a plan of one's own": {func() {
			w.write(".rplan-pending/admins/eve.toml", encode(w.admin("mallory")))
			w.write(".rplan-pending/plan.json", []byte(`{"move":["admins/eve.toml"]}`))
		}, diag.Refused, []string{`added: "admins/eve.toml"`}},
		"nothing left": {func() { w.ok(os.RemoveAll(w.path("manifests"))) }, diag.Config, []string{"there is no store", "rp-rekey init"}},
		// By somebody who may sign.
		"a newer format": {func() {
			m, text := last()
			w.sign(m, text, settingsFile, []byte("format = 2\nid = \""+storeID+"\"\nsignatures = 1\n"))
		}, diag.BadData, []string{"format 2"}},
		"two signatures needed": {func() {
			m, text := last()
			w.sign(m, text, settingsFile, []byte("format = 1\nid = \""+storeID+"\"\nsignatures = 2\n"))
		}, diag.BadData, []string{"with 2 signatures"}},
		"sealed for nobody": {func() { m, text := last(); m.Sealed = nil; w.sign(m, text, "", nil) }, diag.Refused, []string{"does not say for whom"}},
		"signers in no file": {func() {
			m, text := last()
			m.Signers = append(m.Signers, Signer{"mallory", w.public("mallory")})
			w.sign(m, text, "", nil)
		}, diag.Refused,
			[]string{"signers of the manifest are not those", `"mallory" may sign now`}},
		"an unknown key": {func() {
			m, text := last()
			w.sign(m, text, nodePath("n1"), append(encode(w.node()), "[x]\ny = 1\n"...))
		}, diag.BadData, []string{"nodes/n1.toml:", "unknown key"}},
		"a disk of nobody": {func() {
			m, text := last()
			n := w.node()
			n.Disks[0].Admins = []string{"zoe"}
			w.sign(m, text, nodePath("n1"), encode(n))
		}, diag.BadData, []string{`nodes/n1.toml: disk "root": there is no admin "zoe"`}},
	} {
		w.restore(newest)
		remembered, err := os.ReadFile(trustPath(w.place("bob").State, storeID))
		w.ok(err)
		c.do()
		t.Run(name, func(t *testing.T) {
			_, err := w.place("bob").Open(ctx)
			refused(t, err, c.kind, c.words...)
		})
		if after, _ := os.ReadFile(trustPath(w.place("bob").State, storeID)); !bytes.Equal(after, remembered) {
			t.Errorf("%s: it is remembered: %s", name, after)
		}
	}
	w.restore(newest)
	w.open("bob")
}

func m0(w *team) []byte { return w.read("manifests/000005") }

// sign makes an epoch 6 that ada signs, with a file that is another one.
func (w *team) sign(m *manifest, before []byte, name string, text []byte) {
	w.Helper()
	m.Epoch, m.Previous = 6, sum(before)
	if name != "" {
		w.write(name, text)
		m.Files[name] = sum(text)
	}
	w.write(manifestPath(6), m.text())
	sig, err := w.keyring("ada").Sign(ctx, ForManifest, m.text())
	w.ok(err)
	w.write(signaturePath(6, "ada"), sig)
}

// TestAdminsComeAndGo: a machine that has not seen the store for a while follows who may sign.
func TestAdminsComeAndGo(t *testing.T) {
	w := newTeam(t)
	w.change(w.open("ada"), "ada", Change{What: "added carol", Files: map[string][]byte{adminPath("carol"): encode(w.admin("carol"))}})
	w.introduce("carol")
	s := w.open("carol")
	n := w.node()
	n.Disks[0].Admins = []string{"bob", "carol"}
	c := w.sealing("n1", "root", "another one", "bob", "carol")
	c.Files[nodePath("n1")], c.Files[adminPath("ada")] = encode(n), nil
	s = w.change(s, "carol", c)
	bob := w.open("bob") // who knew ada and bob
	if bob.Epoch != 6 || len(bob.News) != 2 || !strings.Contains(bob.News[0], `"carol" may sign now, with SHA256:`) || !strings.Contains(bob.News[1], `"ada" may not sign any more`) {
		t.Errorf("%d, %q", bob.Epoch, bob.News)
	}
	if again := w.open("bob"); len(again.News) > 0 {
		t.Errorf("news once more: %q", again.News)
	}
	_, err := s.Commit(ctx, w.keyring("ada"), Change{What: "once more"})
	refused(t, err, diag.Refused, `"ada" may not sign this store`, "bob, carol")
	_, err = s.Commit(ctx, &Keyring{"bob", w.keyring("ada").File}, Change{What: "in another's name"})
	refused(t, err, diag.Config, `is not that of "bob"`)
	_, err = s.Commit(ctx, w.keyring("bob"), Change{What: "outside", Files: map[string][]byte{"nodes/../../x": nil, "../y": {}}})
	refused(t, err, diag.BadData, "has no place")
	if s := w.open("bob"); s.Epoch != 6 {
		t.Errorf("epoch %d", s.Epoch)
	}
}

// TestOwnKey: who changes or gives up their own key locks nobody out, not even themselves.
func TestOwnKey(t *testing.T) {
	w := newTeam(t)
	s := w.open("ada")
	a := w.admin("ada")
	a.Signer = w.public("ada-new")
	w.change(s, "ada", Change{What: "a new key", Files: map[string][]byte{adminPath("ada"): encode(a)}})
	s = w.open("ada")
	w.open("bob")
	if _, err := s.Commit(ctx, w.keyring("ada"), Change{What: "with the old one"}); diag.KindOf(err) != diag.Config {
		t.Error(err)
	}
	s, err := s.Commit(ctx, &Keyring{"ada", w.keyring("ada-new").File}, Change{What: "with the new one"})
	w.ok(err)
	n := w.node()
	n.Disks[0].Admins = []string{"bob"}
	c := w.sealing("n1", "root", "another one", "bob")
	c.Files[nodePath("n1")], c.Files[adminPath("ada")] = encode(n), nil
	_, err = s.Commit(ctx, &Keyring{"ada", w.keyring("ada-new").File}, c)
	w.ok(err)
	for _, who := range []string{"ada", "bob"} {
		if s := w.open(who); s.Epoch != 7 || s.Admins["ada"] != nil {
			t.Errorf("%+v", s)
		}
	}
	w.introduce("carol")
	met, known, err := w.place("carol").Meet(ctx)
	w.ok(err)
	if known != 7 || met.SignedWith() != (Signer{"ada", w.public("ada-new")}) {
		t.Errorf("%d, %+v", known, met.SignedWith())
	}
}

// TestOldRecipient: an admin replaces their own recipient; what is sealed for the old one still opens with that.
func TestOldRecipient(t *testing.T) {
	w := newTeam(t)
	s := w.open("bob")
	b := w.admin("bob")
	b.Recipients = []string{w.identity("bob-new").Recipient().String()}
	s = w.change(s, "bob", Change{What: "a new identity", Files: map[string][]byte{adminPath("bob"): encode(b)}})
	if _, to := s.Sealed("n1", "root"); !slices.Contains(to, w.identity("bob").Recipient().String()) {
		t.Errorf("%q", to)
	}
}

func TestTwoAtOnce(t *testing.T) {
	w := newTeam(t)
	ada, bob := w.open("ada"), w.open("bob")
	var errs [2]error
	var both sync.WaitGroup
	for i, s := range []*Store{ada, bob} {
		who := []string{"ada", "bob"}[i]
		k := w.keyring(who)
		both.Go(func() {
			_, errs[i] = s.Commit(ctx, k, Change{What: "by " + who, Files: map[string][]byte{baselinePath("n1"): []byte(who)}})
		})
	}
	both.Wait()
	first, second := errs[0], errs[1]
	if first != nil {
		first, second = second, first
	}
	if first != nil {
		t.Fatal(first)
	}
	refused(t, second, diag.TryAgain, "changed the store meanwhile: by ")
	if s := w.open("ada"); s.Epoch != 5 || !slices.Contains([]string{"ada", "bob"}, string(s.Baseline("n1"))) {
		t.Errorf("%+v", s)
	}
}

// TestEdited: an admin edits files, and signs.
func TestEdited(t *testing.T) {
	w := newTeam(t)
	n := w.node()
	n.Policy.MaxOff = Duration(time.Hour)
	w.write(nodePath("n1"), encode(n))
	w.write("notes.txt", []byte("not of rplan's concern"))
	s, differs, err := w.place("bob").Edited(ctx)
	w.ok(err)
	if !slices.Equal(differs, []string{`changed: "nodes/n1.toml"`}) {
		t.Errorf("%q", differs)
	}
	s, err = s.Sign(ctx, w.keyring("bob"), "longer")
	w.ok(err)
	if s.Epoch != 5 || s.Nodes["n1"].Policy.MaxOff != Duration(time.Hour) {
		t.Errorf("%+v", s)
	}
	if _, to := s.Sealed("n1", "root"); len(to) != 2 {
		t.Errorf("the passphrase is sealed for %q now", to)
	}
	s, _, err = w.place("bob").Edited(ctx)
	w.ok(err)
	_, err = s.Sign(ctx, w.keyring("bob"), "nothing")
	refused(t, err, diag.Usage, "nothing to sign")

	// What cannot be read is neither signed nor taken away.
	w.ok(os.Symlink("nowhere", w.path(nodePath("n2"))))
	w.write("nodes/n3.txt", nil)
	s, differs, err = w.place("bob").Edited(ctx)
	w.ok(err)
	if len(differs) != 2 || !strings.HasPrefix(differs[0], "unreadable: ") || !strings.HasPrefix(differs[1], "out of place: ") {
		t.Errorf("%q", differs)
	}
	_, err = s.Sign(ctx, w.keyring("bob"), "links")
	refused(t, err, diag.Refused, "nodes/n2.toml, nodes/n3.txt")
	w.ok(os.Remove(w.path(nodePath("n2"))))
	w.ok(os.Remove(w.path("nodes/n3.txt")))

	w.write(SealedPath("n1", "root"), []byte("whatever"))
	s, _, err = w.place("bob").Edited(ctx)
	w.ok(err)
	_, err = s.Sign(ctx, w.keyring("bob"), "sealed by hand")
	refused(t, err, diag.Refused, "no signed manifest says for whom", "rp-rekey seal")
	w.write(nodePath("n1"), encode(w.node()))
	_, err = s.Sign(ctx, w.keyring("bob"), "another thing")
	refused(t, err, diag.TryAgain, "once more meanwhile")
}

// TestMerging: two admins made the same epoch on two machines, one of them takes
// the other's and adds what was theirs, as rplan-store(5) says.
func TestMerging(t *testing.T) {
	w := newTeam(t)
	base := w.snapshot()
	w.change(w.open("ada"), "ada", Change{What: "n1 is well", Files: map[string][]byte{baselinePath("n1"): []byte("{}\n")}})
	adas := w.snapshot()
	w.restore(base)
	w.change(w.open("bob"), "bob", w.sealing("n1", "root", "bob's new one", "ada", "bob"))
	bobs := w.snapshot()
	sealed, mine, sig := w.read(SealedPath("n1", "root")), w.read("manifests/000005"), w.read("manifests/000005.bob.sig")

	w.restore(adas)
	_, err := w.place("bob").Open(ctx)
	refused(t, err, diag.Refused, "history was replaced", "MERGING")
	w.introduce("bob")
	w.write("manifests/000005-bob", mine)
	w.write("manifests/000005-bob.bob.sig", sig)
	w.write("manifests/000005.bob.sig", sig)
	w.write(SealedPath("n1", "root"), sealed)
	s, _, err := w.place("bob").Edited(ctx)
	w.ok(err)
	s, err = s.Sign(ctx, w.keyring("bob"), "merged")
	w.ok(err)
	file, to := s.Sealed("n1", "root")
	if s.Epoch != 6 || len(to) != 2 || s.Baseline("n1") == nil {
		t.Errorf("%+v", s)
	}
	p, err := Unseal(file, ids(w.identity("ada")))
	w.ok(err)
	if string(p.Bytes()) != "bob's new one" {
		t.Errorf("%q", p.Bytes())
	}
	w.open("ada") // who notices nothing
	_ = bobs
}
