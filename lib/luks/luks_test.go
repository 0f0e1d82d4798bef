package luks

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/lib/secret"
	"rplan/tests/need"
)

var cheap = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

func passphrase(t *testing.T, text string) *secret.Secret {
	t.Helper()
	s, err := secret.New(600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFrom(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

// header is a LUKS2 file with the passphrase "first".
func header(t *testing.T) *Device {
	t.Helper()
	need.Program(t, "cryptsetup")
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 20<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cryptsetup", append([]string{"luksFormat", "-q", "--type", "luks2", "--key-file=-"}, append(cheap, path)...)...)
	cmd.Stdin = strings.NewReader("first")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &Device{Path: path, PBKDF: cheap}
}

func TestAdd(t *testing.T) {
	d, ctx := header(t), context.Background()
	opens := func(text string, want bool) {
		t.Helper()
		if got, err := d.Opens(ctx, passphrase(t, text)); err != nil || got != want {
			t.Errorf("%q opens it: %v, %v", text, got, err)
		}
	}
	second := " a b'\"$x\\" + strings.Repeat("y", 500)
	opens("first", true)
	opens(second, false)
	opens("first\n", false) // a line's end is part of a passphrase
	if err := d.Add(ctx, passphrase(t, "first"), passphrase(t, second)); err != nil {
		t.Fatal(err)
	}
	opens("first", true)
	opens(second, true)
	if err := d.Add(ctx, passphrase(t, "wrong"), passphrase(t, "third")); diag.KindOf(err) != diag.Refused {
		t.Error(err)
	}
	opens("third", false)
	for _, long := range []string{"", strings.Repeat("z", longest+1)} {
		if err := d.Add(ctx, passphrase(t, "first"), passphrase(t, long)); diag.KindOf(err) != diag.BadData {
			t.Error(err)
		}
	}
	d.Via = []string{"env", "LC_ALL=C"}
	opens("first", true)
}

func TestNoDevice(t *testing.T) {
	d, ctx := header(t), context.Background()
	for path, word := range map[string]string{d.Path + "x": "is not there", os.Args[0]: "not a valid LUKS device"} {
		d := &Device{Path: path}
		opens, err := d.Opens(ctx, passphrase(t, "first"))
		if opens || err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, %v", path, opens, err)
		}
		if err := d.Add(ctx, passphrase(t, "first"), passphrase(t, "second")); err == nil || diag.KindOf(err) == diag.Refused {
			t.Errorf("%q: %v", path, err)
		}
	}
}
