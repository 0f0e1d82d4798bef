package published

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/source"
)

func csn(second string) source.Version {
	return source.Version("csn:202601010000" + second + ".000000Z#000000#001#000000")
}

func TestVersion(t *testing.T) {
	const first, second = "sha256:11", "sha256:22"
	made := func(v source.Version) *ServiceState { return &ServiceState{Version: v} }
	twoProviders := func(one, two string) source.Version {
		return csn(one) + source.Version(",202601010000"+two+".000000Z#000000#002#000000")
	}
	for name, c := range map[string]struct {
		services map[string]*ServiceState
		want     source.Version
	}{
		"none":                   {nil, ""},
		"equal":                  {map[string]*ServiceState{"a": made(csn("10")), "b": made(csn("10"))}, csn("10")},
		"the first is older":     {map[string]*ServiceState{"a": made(csn("10")), "b": made(csn("20"))}, csn("10")},
		"the second is older":    {map[string]*ServiceState{"a": made(csn("20")), "b": made(csn("10"))}, csn("10")},
		"one is missing":         {map[string]*ServiceState{"a": made(csn("20"))}, ""},
		"the first is missing":   {map[string]*ServiceState{"b": made(csn("20"))}, ""},
		"one is unsettled":       {map[string]*ServiceState{"a": made(csn("20")), "b": {Version: csn("20"), Unsettled: true}}, ""},
		"one was refused always": {map[string]*ServiceState{"a": made(csn("20")), "b": made("")}, ""},
		"one is not wanted":      {map[string]*ServiceState{"a": made(csn("20")), "b": made(csn("20")), "c": made(csn("10"))}, csn("20")},
		"the same file":          {map[string]*ServiceState{"a": made(first), "b": made(first)}, first},
		"another file":           {map[string]*ServiceState{"a": made(first), "b": made(second)}, ""},
		"one provider is behind": {map[string]*ServiceState{"a": made(twoProviders("10", "10")), "b": made(twoProviders("10", "20"))}, twoProviders("10", "10")},
		"each has something":     {map[string]*ServiceState{"a": made(twoProviders("10", "20")), "b": made(twoProviders("20", "10"))}, ""},
	} {
		s := &State{Wanted: []string{"a", "b"}, Services: c.services}
		if got := s.Version(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := (&State{Services: map[string]*ServiceState{"a": made(csn("10"))}}).Version(); got != "" {
		t.Errorf("where nothing is wanted: %q", got)
	}
}

func TestLoadAndSave(t *testing.T) {
	maps := t.TempDir()
	s, err := Load(maps)
	if err != nil || s.Node != "" || s.Services == nil {
		t.Fatalf("of nothing: %+v, %v", s, err)
	}
	file := filepath.Join(maps, "table")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	stamp, err := Stamp(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Node, s.Wanted = "n1", []string{"a"}
	s.Services["a"] = &ServiceState{Version: csn("10"), Inputs: "i", Files: map[string]string{"table": stamp}}
	if err := s.Save(maps); err != nil {
		t.Fatal(err)
	}
	if s, err = Load(maps); err != nil || s.Node != "n1" || s.Version() != csn("10") {
		t.Fatalf("%+v, %v", s, err)
	}
	a := s.Services["a"]
	if !a.Current(maps, csn("10"), "i") || a.Current(maps, csn("20"), "i") || a.Current(maps, csn("10"), "j") || s.Services["b"].Current(maps, csn("10"), "i") {
		t.Error("what is current is wrong")
	}
	if err := os.WriteFile(file, []byte("xy"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a.Intact(maps, "table") || a.Current(maps, csn("10"), "i") || a.Intact(maps, "another") {
		t.Error("a touched file is intact")
	}
}

// A damaged file is told from none, and from one that may not be read; all are safe to use.
func TestLoadOfWhatIsNone(t *testing.T) {
	for text, kind := range map[string]diag.Kind{
		"{": diag.BadData, "": diag.BadData, "[]": diag.BadData, `{"services": 1}`: diag.BadData,
		"null": 0, "{}": 0, `{"services": {"a": null, "b": {}}, "wanted": ["a", "b"]}`: 0,
	} {
		maps := t.TempDir()
		if err := os.WriteFile(Path(maps), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Load(maps)
		if err == nil != (kind == 0) || err != nil && diag.KindOf(err) != kind {
			t.Errorf("%q: %v", text, err)
		}
		if s.Services == nil || s.Services["a"] != nil || s.Version() != "" {
			t.Errorf("%q: %+v", text, s)
		}
		if b := s.Services["b"]; b != nil && b.Files == nil {
			t.Errorf("%q: no files may be added", text)
		}
	}
	maps := t.TempDir()
	if err := os.Mkdir(Path(maps), 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(maps); diag.KindOf(err) != diag.CantCreate || s == nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestCheck(t *testing.T) {
	maps := t.TempDir()
	if at, err := Checked(maps); err != nil || !at.IsZero() {
		t.Errorf("before the first: %v, %v", at, err)
	}
	for _, now := range []time.Time{time.Unix(1_800_000_000, 123456789), time.Unix(1_700_000_000, 0)} {
		if err := Check(maps, now); err != nil {
			t.Fatal(err)
		}
		if at, err := Checked(maps); err != nil || !at.Equal(now) {
			t.Errorf("%v, %v, want %v", at, err, now)
		}
	}
	if err := Check(filepath.Join(maps, "absent"), time.Now()); diag.KindOf(err) != diag.CantCreate {
		t.Errorf("no directory: %v", err)
	}
}
