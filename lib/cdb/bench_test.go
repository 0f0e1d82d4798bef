package cdb

import (
	"os"
	"path/filepath"
	"testing"
)

const million = 1_000_000

func BenchmarkWrite1M(b *testing.B) {
	r := numbered(million)
	path := filepath.Join(b.TempDir(), "t.cdb")
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		r.writeTo(b, f)
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRows1M(b *testing.B) {
	r := open(b, numbered(million).file(b))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range r.Rows() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != million {
			b.Fatalf("%d rows", n)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	keys := numbered(million)
	r := open(b, keys.file(b))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, found, err := r.Get(keys[i]); !found || err != nil {
			b.Fatalf("%q: %v, %v", keys[i], found, err)
		}
		i = (i + 7919*2) % len(keys)
	}
}
