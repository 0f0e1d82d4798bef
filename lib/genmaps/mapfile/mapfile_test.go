package mapfile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rplan/lib/genmaps/render"
)

func sorted(m map[string]string) Rows {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// publish writes rows as a file of the format and opens it again.
func publish(t *testing.T, format render.Format, rows Rows) *Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), Names("table", format)[0])
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Write(f, format, rows); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, format)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var formats = []render.Format{render.CDB, render.TextMap, render.PasswdMap}

// Compare is checked against the obvious way to do it, on random tables.
func TestCompareAgainstMaps(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		old, now := map[string]string{}, map[string]string{}
		for range random.IntN(30) {
			old[fmt.Sprint("k", random.IntN(20))] = fmt.Sprint(random.IntN(3))
		}
		for range random.IntN(30) {
			now[fmt.Sprint("k", random.IntN(20))] = fmt.Sprint(random.IntN(3))
		}
		want := map[string]string{}
		for k, v := range old {
			if n, ok := now[k]; !ok {
				want[k] = "-" + v
			} else if n != v {
				want[k] = "~" + v + ">" + n
			}
		}
		for k, v := range now {
			if _, ok := old[k]; !ok {
				want[k] = "+" + v
			}
		}
		for _, format := range formats {
			got := map[string]string{}
			d, err := Compare(publish(t, format, sorted(old)), sorted(now), func(op Op, key, was, is string) {
				switch op {
				case Add:
					got[key] = "+" + is
				case Remove:
					got[key] = "-" + was
				case Alter:
					got[key] = "~" + was + ">" + is
				}
			})
			if err != nil || !maps.Equal(got, want) || d.Total != len(now) || d.Added+d.Removed+d.Changed != len(want) || d.None() != (len(want) == 0) {
				t.Fatalf("format %d: %v to %v: got %v, %+v, %v, want %v", format, old, now, got, d, err, want)
			}
		}
	}
}

func TestNothingBefore(t *testing.T) {
	d, err := Compare(nil, sorted(map[string]string{"a": "1", "b": "2"}), func(Op, string, string, string) {})
	if err != nil || d != (Difference{Total: 2, Added: 2}) {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestADamagedFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	for format, text := range map[render.Format]string{render.TextMap: "a 1\nb\n", render.CDB: "not a cdb", render.PasswdMap: "a:b\n"} {
		path := filepath.Join(dir, Names("damaged", format)[0])
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, format)
		if err == nil {
			_, err = Compare(r, sorted(map[string]string{"a": "1", "b": "1", "c": "1"}), func(Op, string, string, string) {})
			r.Close()
		}
		if err == nil {
			t.Errorf("format %d: no error", format)
		}
	}
}
