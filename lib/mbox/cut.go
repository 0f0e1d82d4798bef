package mbox

import (
	"errors"
	"io"

	"rplan/lib/diag"
)

// copyBlock is how much is read and written at once, in bytes.
const copyBlock = 1 << 20

// Kept is what is left of size bytes without the ranges of cut, which must be
// sorted, apart from each other and within the size. Together the ranges of
// both are the whole, each byte in one of them; none that is returned is empty.
func Kept(size int64, cut []Range) ([]Range, error) {
	var keep []Range
	at := int64(0)
	for _, r := range cut {
		if r.Start < at || r.End < r.Start || r.End > size {
			return nil, diag.Failed.Errorf("the range %d-%d does not follow %d within %d bytes", r.Start, r.End, at, size)
		}
		if r.Start > at {
			keep = append(keep, Range{at, r.Start})
		}
		at = r.End
	}
	if at < size {
		keep = append(keep, Range{at, size})
	}
	return keep, nil
}

// Cut copies the first size bytes of src to w, without the ranges of cut, as
// Kept has them. Nothing is written if the ranges are wrong. The error of a
// file that is shorter than size is of kind diag.TryAgain: something else is
// at work on it, and what was written so far is not to be used.
func Cut(w io.Writer, src io.ReaderAt, size int64, cut []Range) error {
	keep, err := Kept(size, cut)
	if err != nil {
		return err
	}
	buf := make([]byte, copyBlock)
	for _, r := range keep {
		if err := copyRange(w, src, r, buf); err != nil {
			return err
		}
	}
	return nil
}

// copyRange writes the bytes of the range, all of them or with an error.
func copyRange(w io.Writer, src io.ReaderAt, r Range, buf []byte) error {
	for at := r.Start; at < r.End; {
		part := buf[:min(int64(len(buf)), r.End-at)]
		if err := fill(src, part, at); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

// fill fills b from an offset of the file.
func fill(src io.ReaderAt, b []byte, at int64) error {
	n, err := src.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return diag.TryAgain.Errorf("the mbox ends at %d, and was longer: something else changes it", at+int64(n))
	}
	return diag.Failed.Errorf("reading the mbox at %d: %w", at, err)
}
