// Package crypt makes LUKS files and passphrases for tests.
package crypt

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"rplan/lib/secret"
	"rplan/tests/need"
)

// Cheap are the options of cryptsetup(8) for a keyslot that costs no time.
var Cheap = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

// LUKS makes a file of this version, luks1 or luks2, whose passphrase is "first".
func LUKS(t testing.TB, path, version string) {
	t.Helper()
	need.Program(t, "cryptsetup")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 20<<20); err != nil {
		t.Fatal(err)
	}
	Cryptsetup(t, "first", append([]string{"luksFormat", "-q", "--type", version, "--key-file=-", path}, Cheap...)...)
}

// Cryptsetup runs cryptsetup(8), which is to succeed, and returns what it said.
func Cryptsetup(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("cryptsetup", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// Secret holds a text as a passphrase, of up to 600 bytes.
func Secret(t testing.TB, text string) *secret.Secret {
	t.Helper()
	s, err := secret.New(600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wipe)
	if _, err := s.ReadFrom(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return s
}
