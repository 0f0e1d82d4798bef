package store

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"rplan/lib/diag"
	"rplan/tests/crypt"
	"rplan/tests/need"
)

// keys are one of each kind of identity that an admin may have: a file, and the recipient.
func (w *team) keys() map[string][2]string {
	w.Helper()
	all := map[string][2]string{}
	put := func(kind, text, recipient string) {
		file := filepath.Join(w.dir, "identity of "+kind)
		w.ok(os.WriteFile(file, []byte(text), 0o600))
		all[kind] = [2]string{file, recipient}
	}
	x := w.identity("ada")
	put("age", "# created: today\n# public key: "+x.Recipient().String()+"\n"+x.String()+"\n", x.Recipient().String())
	h, err := age.GenerateHybridIdentity()
	w.ok(err)
	put("post-quantum", h.String()+"\n", h.Recipient().String())
	for kind, passphrase := range map[string]string{"ssh-ed25519": "", "ssh-rsa": "", "ssh-ed25519 locked": "open sesame", "ssh-rsa locked": "open sesame"} {
		file := filepath.Join(w.dir, "id "+kind)
		w.run("ssh-keygen", "-q", "-t", strings.TrimPrefix(strings.Fields(kind)[0], "ssh-"), "-N", passphrase, "-f", file)
		public, err := os.ReadFile(file + ".pub")
		w.ok(err)
		all[kind] = [2]string{file, string(public)}
	}
	y, err := age.GenerateX25519Identity()
	w.ok(err)
	lock, err := age.NewScryptRecipient("open sesame")
	w.ok(err)
	lock.SetWorkFactor(10)
	for kind, wrapped := range map[string]bool{"age with a passphrase": false, "age with a passphrase, armored": true} {
		var sealed bytes.Buffer
		to := nopCloser{&sealed}
		a := armor.NewWriter(&sealed)
		var out interface {
			Write([]byte) (int, error)
			Close() error
		} = to
		if wrapped {
			out = a
		}
		e, err := age.Encrypt(out, lock)
		w.ok(err)
		_, err = e.Write([]byte(y.String() + "\n"))
		w.ok(err)
		w.ok(e.Close())
		w.ok(out.Close())
		put(kind, sealed.String(), y.Recipient().String())
	}
	p := plugin.EncodeRecipient("rplantest", []byte(y.Recipient().String()))
	put("plugin", "# recipient: "+p+"\n"+plugin.EncodeIdentity("rplantest", []byte(y.String()))+"\n", p)
	put("plugin that says nothing", plugin.EncodeIdentity("rplantest", []byte(y.String()))+"\n", p)
	return all
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

// hardware puts the test plugin on PATH.
func (w *team) hardware() {
	w.Helper()
	w.ok(os.MkdirAll(filepath.Join(w.dir, "bin"), 0o700))
	self, err := os.Executable()
	w.ok(err)
	w.ok(os.Symlink(self, filepath.Join(w.dir, "bin", "age-plugin-rplantest")))
	w.Setenv("PATH", filepath.Join(w.dir, "bin")+":"+os.Getenv("PATH"))
}

// bare is a team with no store.
func bare(t *testing.T) *team {
	need.Program(t, "ssh-keygen")
	return &team{T: t, dir: t.TempDir(), ids: map[string]*age.X25519Identity{}}
}

// TestIdentities: of each kind, what is sealed for it is opened by it, and by no other.
func TestIdentities(t *testing.T) {
	w := bare(t)
	w.hardware()
	keys := w.keys()
	ui := plugin.NewTerminalUI(t.Logf, t.Logf)
	for kind, k := range keys {
		asked := 0
		all, err := ReadIdentities(k[0], func(string) ([]byte, error) { asked++; return []byte("open sesame"), nil }, ui)
		if err != nil || len(all) != 1 || all[0].Source != k[0] {
			t.Errorf("%s: %v, %v", kind, all, err)
			continue
		}
		to, err := plainRecipient(k[1])
		w.ok(err)
		sealed, err := Seal(crypt.Secret(w, "secret of "+kind), []string{to}, ui)
		w.ok(err)
		if !all[0].Opens([]string{"age1other", to}) || all[0].Opens([]string{w.identity("stranger").Recipient().String()}) {
			t.Errorf("%s: opens %v", kind, all[0])
		}
		for range 2 {
			p, err := Unseal(sealed, ids(all[0]))
			if err != nil || string(p.Bytes()) != "secret of "+kind {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if locked := strings.Contains(kind, "locked") || strings.Contains(kind, "with a"); locked && asked != 1 || !locked && asked != 0 {
			t.Errorf("%s: asked %d times", kind, asked)
		}
		_, err = Unseal(sealed, ids(w.identity("stranger")))
		refused(t, err, diag.Refused, "no identity of yours opens it")
		if locked := strings.Contains(kind, "locked") || strings.Contains(kind, "with a"); locked {
			all, err := ReadIdentities(k[0], func(string) ([]byte, error) { return []byte("wrong"), nil }, ui)
			if err == nil {
				_, err = Unseal(sealed, ids(all[0]))
			}
			if err == nil || !strings.Contains(err.Error(), "that is not its passphrase") {
				t.Errorf("%s, with a wrong passphrase: %v", kind, err)
			}
			// Mistyped once: it is asked for again, and then no more.
			asked := 0
			wallet := &Wallet{Files: []string{k[0]}, UI: ui, Say: t.Logf, Ask: func(prompt string) ([]byte, error) {
				asked++
				return []byte(map[bool]string{true: "open sesame", false: "opne sesame"}[strings.Contains(prompt, "Try 2 of 3")]), nil
			}}
			for range 2 {
				if p, err := wallet.Open(sealed, []string{to}); err != nil || string(p.Bytes()) != "secret of "+kind {
					t.Errorf("%s, mistyped once: %v", kind, err)
				}
			}
			if asked != 2 {
				t.Errorf("%s, mistyped once: asked %d times", kind, asked)
			}
		}
	}
}

func TestIdentitiesRefused(t *testing.T) {
	w := bare(t)
	file := filepath.Join(w.dir, "f")
	secretKey := w.identity("ada").String()
	for text, word := range map[string]string{
		"":                                      "there is no identity in it",
		"# nothing\n\n":                         "there is no identity in it",
		secretKey[:40] + "x" + secretKey[40:]:   "line 1 is no identity",
		"\n" + secretKey + secretKey:            "line 2 is no identity",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n": "it is no SSH key",
		"-----BEGIN AGE ENCRYPTED FILE-----\n":  "",
		"AGE-PLUGIN-":                           "line 1 is no identity",
	} {
		w.ok(os.WriteFile(file, []byte(text), 0o600))
		_, err := ReadIdentities(file, func(string) ([]byte, error) { return []byte("x"), nil }, nil)
		refused(t, err, diag.Config, fmt.Sprintf("identity %q: %s", file, word))
		if err != nil && strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
	w.ok(os.Chmod(file, 0o640))
	_, err := ReadIdentities(file, nil, nil)
	refused(t, err, diag.Config, "can be read by others", "chmod 600")
	_, err = ReadIdentities(file+"x", nil, nil)
	refused(t, err, diag.Config, "no such file")
	w.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", filepath.Join(w.dir, "ecdsa"))
	_, err = ReadIdentities(filepath.Join(w.dir, "ecdsa"), nil, nil)
	refused(t, err, diag.Config, "no SSH key of type ed25519 or rsa")
}

// TestSealedSize: a file says nothing of its passphrase.
func TestSealedSize(t *testing.T) {
	w := bare(t)
	to := []string{w.identity("ada").Recipient().String()}
	size := 0
	for _, n := range []int{1, 40, MaxPassphrase} {
		sealed, err := Seal(crypt.Secret(w, strings.Repeat("p", n)), to, nil)
		w.ok(err)
		if size == 0 {
			size = len(sealed)
		}
		if len(sealed) != size || !bytes.HasPrefix(sealed, []byte(armor.Header)) {
			t.Errorf("%d: %d bytes, not %d", n, len(sealed), size)
		}
		p, err := Unseal(sealed, ids(w.identity("ada")))
		w.ok(err)
		if string(p.Bytes()) != strings.Repeat("p", n) {
			t.Errorf("%d: it comes back as another one", n)
		}
	}
}

func TestSealRefused(t *testing.T) {
	w := bare(t)
	to := []string{w.identity("ada").Recipient().String()}
	for _, text := range []string{"", "two\nlines", "newline\n", "\x1b[0m", "a\x00b", "a\x7f"} {
		_, err := Seal(crypt.Secret(w, text), to, nil)
		refused(t, err, diag.BadData, "a passphrase")
	}
	h, err := age.GenerateHybridIdentity()
	w.ok(err)
	_, err = Seal(crypt.Secret(w, "p"), append(to, h.Recipient().String()), nil)
	refused(t, err, diag.Refused, "1 of 2 recipients are post-quantum", "one kind")
	_, err = Seal(crypt.Secret(w, "p"), []string{"age1nothing"}, nil)
	refused(t, err, diag.BadData, "recipient")
	for _, secretKey := range []string{w.identity("ada").String(), "# mine\n" + w.identity("ada").String(), h.String()} {
		if _, err := plainRecipient(secretKey); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v", err)
		}
	}
	if _, err = Seal(crypt.Secret(w, "p"), nil, nil); err == nil {
		t.Error("sealed for nobody")
	}
}

// by is what age(1) encrypts, without Seal.
func (w *team) by(text string, to ...age.Recipient) []byte {
	w.Helper()
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	e, err := age.Encrypt(a, to...)
	w.ok(err)
	_, err = e.Write([]byte(text))
	w.ok(err)
	w.ok(e.Close())
	w.ok(a.Close())
	return b.Bytes()
}

func TestUnsealRefused(t *testing.T) {
	w := bare(t)
	me := w.identity("ada")
	for text, word := range map[string]string{
		"":                              "no line",
		"\n":                            "empty",
		"no end":                        "no line",
		"two\nlines\n":                  "more than one line",
		"escape \x1b[0m\n":              "control character",
		strings.Repeat("p", 2000):       "more than 1024 bytes",
		strings.Repeat("p", 600) + "\n": "more than 512",
	} {
		_, err := Unseal(w.by(text, me.Recipient()), ids(me))
		refused(t, err, diag.BadData, word)
	}
	p, err := Unseal(w.by("by hand\n", me.Recipient()), ids(me))
	if err != nil || string(p.Bytes()) != "by hand" {
		t.Errorf("%v", err)
	}
	whole := w.by("by hand\n", me.Recipient())
	for cut := range whole {
		if cut < len(whole)-2 { // without the last line break it is whole
			if _, err := Unseal(whole[:cut], ids(me)); err == nil {
				t.Errorf("the first %d of %d bytes are enough", cut, len(whole))
			}
		}
	}
}

// TestGenerate: letters that nobody mistakes, and none that is likelier.
func TestGenerate(t *testing.T) {
	count := map[byte]int{}
	for range 1000 {
		s, err := Generate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Bytes()) != groups*groupSize+groups-1 || isPassphrase(s.Bytes()) != nil {
			t.Fatalf("%q", s.Bytes())
		}
		for _, part := range strings.Split(string(s.Bytes()), "-") {
			if len(part) != groupSize || strings.Trim(part, letters) != "" {
				t.Fatalf("%q", s.Bytes())
			}
		}
		for _, c := range s.Bytes() {
			count[c]++
		}
		s.Wipe()
	}
	for c, n := range count {
		if want := 1000 * groups * groupSize / len(letters); c != '-' && math.Abs(float64(n-want)) > 7*math.Sqrt(float64(want)) {
			t.Errorf("%q was there %d times, not about %d", c, n, want)
		}
	}
	if bits := math.Log2(float64(len(letters))) * groups * groupSize; bits < 200 {
		t.Errorf("%f bits", bits)
	}
	if strings.ContainsAny(letters, "0O1lIoiyz") {
		t.Error("some letters can be mistaken")
	}
	if _, err := Generate(strings.NewReader("too short")); err == nil {
		t.Error("made without randomness")
	}
}

// TestAgeReads: what is sealed for each kind of key opens with age(1), as far as Debian's knows the kind.
func TestAgeReads(t *testing.T) {
	need.Program(t, "age")
	w := bare(t)
	for kind, k := range w.keys() {
		if kind != "age" && kind != "ssh-ed25519" && kind != "ssh-rsa" {
			continue
		}
		to, err := plainRecipient(k[1])
		w.ok(err)
		sealed, err := Seal(crypt.Secret(w, "by hand"), []string{to}, nil)
		w.ok(err)
		cmd := exec.Command("age", "-d", "-i", k[0])
		cmd.Stdin = bytes.NewReader(sealed)
		out, err := cmd.Output()
		if line, _, _ := strings.Cut(string(out), "\n"); err != nil || line != "by hand" || len(out) != sealedSize {
			t.Errorf("%s: %v, %q", kind, err, out)
		}
	}
}
