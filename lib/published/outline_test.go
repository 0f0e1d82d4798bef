package published

import (
	"os"
	"testing"
	"time"

	"rplan/lib/directory"
)

func TestOutline(t *testing.T) {
	maps := t.TempDir()
	if o, err := LoadOutline(maps); o != nil || err != nil {
		t.Fatalf("of nothing: %+v, %v", o, err)
	}
	kept := Outline{Version: csn("10"), Outline: directory.Outline{
		Nodes: []directory.Node{{Name: "n1"}}, Mailboxes: map[string]directory.Count{"n1": {All: 2, Single: 1}},
	}}
	if err := kept.Save(maps); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(outlinePath(maps))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	o, err := LoadOutline(maps)
	if err != nil || o == nil || o.Version != csn("10") || o.Mailboxes["n1"].All != 2 || o.With(kept.Nodes) == nil || time.Since(o.At).Abs() > time.Minute {
		t.Errorf("%+v, %v", o, err)
	}
	// What another version left, or half of it, is as if it were not there.
	for _, text := range []string{"", "{", "null", "[]", `{"version":"csn:"}`, `{"Nodes":[],"Placements":[]}`, `{"Mailboxes":{"n1":{"All":1}},"Nodes":1}`} {
		if err := os.WriteFile(outlinePath(maps), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := LoadOutline(maps); o != nil || err != nil {
			t.Errorf("of %q: %+v, %v", text, o, err)
		}
	}
}
