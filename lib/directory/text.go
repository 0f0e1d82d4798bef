package directory

import "strings"

// text keeps many small strings in few large blocks: a million users' names
// then cost neither a million allocations nor a mark of each by the collector.
type text struct{ block *strings.Builder }

const blockSize = 64 << 10

// keep returns v as a string in the current block.
func keep[T string | []byte](t *text, v T) string {
	if t.block == nil || t.block.Cap()-t.block.Len() < len(v) {
		t.block = &strings.Builder{}
		t.block.Grow(max(blockSize, len(v)))
	}
	start := t.block.Len()
	t.block.WriteString(string(v)) // within its capacity, so what was kept stays where it is
	return t.block.String()[start:]
}
