package luks

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/crypt"
)

// header is a LUKS2 file with the passphrase "first".
func header(t *testing.T) *Device {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	crypt.LUKS(t, path, "luks2")
	return &Device{Path: path, PBKDF: crypt.Cheap}
}

func TestAdd(t *testing.T) {
	d, ctx := header(t), context.Background()
	opens := func(text string, want bool) {
		t.Helper()
		if got, err := d.Opens(ctx, crypt.Secret(t, text)); err != nil || got != want {
			t.Errorf("%q opens it: %v, %v", text, got, err)
		}
	}
	second := " a b'\"$x\\" + strings.Repeat("y", 500)
	opens("first", true)
	opens(second, false)
	opens("first\n", false) // a line's end is part of a passphrase
	if err := d.Add(ctx, crypt.Secret(t, "first"), crypt.Secret(t, second)); err != nil {
		t.Fatal(err)
	}
	opens("first", true)
	opens(second, true)
	if err := d.Add(ctx, crypt.Secret(t, "wrong"), crypt.Secret(t, "third")); diag.KindOf(err) != diag.Refused {
		t.Error(err)
	}
	opens("third", false)
	for _, long := range []string{"", strings.Repeat("z", longest+1)} {
		if err := d.Add(ctx, crypt.Secret(t, "first"), crypt.Secret(t, long)); diag.KindOf(err) != diag.BadData {
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
		opens, err := d.Opens(ctx, crypt.Secret(t, "first"))
		if opens || err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, %v", path, opens, err)
		}
		if err := d.Add(ctx, crypt.Secret(t, "first"), crypt.Secret(t, "second")); err == nil || diag.KindOf(err) == diag.Refused {
			t.Errorf("%q: %v", path, err)
		}
	}
}
