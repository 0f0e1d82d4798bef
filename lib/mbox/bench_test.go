package mbox

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkSmall scans messages of 300 bytes, where headers are what takes time.
func BenchmarkSmall(b *testing.B) {
	text := ordinary(100_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s := NewScanner(strings.NewReader(text), today)
		for {
			if _, err := s.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
