package mbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"rplan/lib/diag"
)

func cutString(t *testing.T, text string, cut ...Range) string {
	t.Helper()
	var out strings.Builder
	if err := Cut(&out, strings.NewReader(text), int64(len(text)), cut); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCut(t *testing.T) {
	const text = "0123456789"
	for _, c := range []struct {
		cut  []Range
		want string
	}{
		{nil, text},
		{[]Range{{0, 10}}, ""},
		{[]Range{{0, 3}, {3, 3}, {5, 6}}, "346789"},
		{[]Range{{9, 10}}, "012345678"},
		{[]Range{{0, 0}, {10, 10}}, text},
	} {
		if got := cutString(t, text, c.cut...); got != c.want {
			t.Errorf("without %v there is %q, want %q", c.cut, got, c.want)
		}
	}
	if got := cutString(t, ""); got != "" {
		t.Errorf("of nothing there is %q", got)
	}
	long := strings.Repeat(text, copyBlock/2)
	if got := cutString(t, long, Range{copyBlock - 1, copyBlock + 1}); got != long[:copyBlock-1]+long[copyBlock+1:] {
		t.Error("at the bounds of a block something is wrong")
	}
}

func TestCutWrongRanges(t *testing.T) {
	for _, cut := range [][]Range{
		{{-1, 2}}, {{3, 2}}, {{0, 11}}, {{11, 11}}, {{0, 4}, {3, 5}}, {{5, 6}, {0, 1}},
	} {
		var out strings.Builder
		if err := Cut(&out, strings.NewReader("0123456789"), 10, cut); err == nil || out.Len() > 0 {
			t.Errorf("%v: error %v, and %q is written", cut, err, &out)
		}
	}
}

// failing is a file that cannot be read.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is broken") }

// full is a disk with no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestCutErrors(t *testing.T) {
	err := Cut(io.Discard, strings.NewReader("0123"), 10, []Range{{1, 2}})
	if diag.KindOf(err) != diag.TryAgain || err.Error() != "the mbox ends at 4, and was longer: something else changes it" {
		t.Errorf("a file that got shorter: %v", err)
	}
	if err := Cut(io.Discard, failing{}, 10, nil); err == nil || err.Error() != "reading the mbox at 0: the disk is broken" {
		t.Errorf("a broken disk: %v", err)
	}
	if err := Cut(full{}, strings.NewReader("0123"), 4, nil); err == nil || err.Error() != "no space left on device" {
		t.Errorf("a full disk: %v", err)
	}
}

// ranges makes any list of ranges of the bytes of spec.
func ranges(spec []byte) (list []Range) {
	for ; len(spec) >= 4; spec = spec[4:] {
		list = append(list, Range{int64(int16(binary.LittleEndian.Uint16(spec))), int64(int16(binary.LittleEndian.Uint16(spec[2:])))})
	}
	return list
}

// What is kept and what is cut are the file, byte for byte, or nothing is written.
func FuzzCut(f *testing.F) {
	f.Add([]byte("From a\n\nb\n"), []byte{0, 0, 3, 0, 5, 0, 6, 0})
	f.Add([]byte("0123456789"), []byte{0, 0, 3, 0, 2, 0, 6, 0})
	f.Add([]byte{}, []byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, text, spec []byte) {
		cut := ranges(spec)
		var out bytes.Buffer
		if err := Cut(&out, bytes.NewReader(text), int64(len(text)), cut); err != nil {
			at := int64(0)
			for _, r := range cut {
				if r.Start < at || r.End < r.Start || r.End > int64(len(text)) {
					if out.Len() > 0 {
						t.Fatalf("%q is written before the ranges are seen to be wrong", &out)
					}
					return
				}
				at = r.End
			}
			t.Fatalf("%v is right, and yet: %v", cut, err)
		}
		kept, whole, at := out.Bytes(), []byte(nil), int64(0)
		for _, r := range slices.Concat(cut, []Range{{int64(len(text)), int64(len(text))}}) {
			n := r.Start - at
			whole = append(append(whole, kept[:n]...), text[r.Start:r.End]...)
			kept, at = kept[n:], r.End
		}
		if !bytes.Equal(whole, text) || len(kept) > 0 {
			t.Fatalf("together they are %q, the file is %q", whole, text)
		}
	})
}
