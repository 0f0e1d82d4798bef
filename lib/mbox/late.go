package mbox

import (
	"errors"
	"io"
	"os"

	"rplan/lib/diag"
)

// Late adds to live, the mbox, what is past from in old, the file whose place it took: mail of a writer
// that had opened the old file, and got its lock when that was not the mbox any more. Python's mailbox module
// does so, and Postfix if it takes no dotlocks and the old file has one name (see lib/maillock). Both files have to
// be locked as the writers lock them, and live be open for reading and writing.
//
// It returns the size of old of which nothing is missing now: the next from, as such a writer may come later
// still. After an error, live is as it was. Killed in the middle, it leaves a message that is not whole, and
// the next call with the same from adds it again.
func Late(live, old *os.File, from int64) (size int64, err error) {
	info, err := old.Stat()
	if err != nil {
		return from, diag.Failed.Errorf("reading %q: %w", old.Name(), errors.Unwrap(err))
	}
	if info.Size() <= from {
		return from, nil
	}
	end, err := live.Seek(0, io.SeekEnd)
	if err != nil {
		return from, diag.CantCreate.Errorf("cannot write to %q: %w", live.Name(), errors.Unwrap(err))
	}
	if err := appendTo(live, end, old, Range{from, info.Size()}); err != nil {
		live.Truncate(end)
		return from, diag.CantCreate.Errorf("cannot add to %q what came late to %q: %w", live.Name(), old.Name(), err)
	}
	return info.Size(), nil
}

func appendTo(live *os.File, end int64, old io.ReaderAt, r Range) error {
	last := make(tail, min(end, 3))
	if err := fill(live, last, end-int64(len(last))); err != nil {
		return err
	}
	// In one piece, if it is no more than a block.
	buf := make([]byte, 0, copyBlock)
	buf = append(buf, gap(last)...)
	n := min(int64(cap(buf)-len(buf)), r.Size())
	buf = buf[:len(buf)+int(n)]
	if err := fill(old, buf[len(buf)-int(n):], r.Start); err != nil {
		return err
	}
	if _, err := live.Write(buf); err != nil {
		return err
	}
	if err := copyRange(live, old, Range{r.Start + n, r.End}, buf[:cap(buf)]); err != nil {
		return err
	}
	return live.Sync()
}
