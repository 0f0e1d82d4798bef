package archiveprune

import (
	"bytes"
	"io"

	"rplan/lib/diag"
	"rplan/lib/mbox"
)

// aHole is how many zero bytes in a row no mail has: file systems leave whole sectors of them where
// a machine crashed before what was written was on the disk.
const aHole = 512

// witness looks for damage in an mbox while it is read, that no message shows by itself.
type witness struct {
	io.Reader
	size  int64
	end   []byte // the last bytes
	zeros int64  // in a row, up to here
	hole  int64  // where the first hole is; -1 for none
}

func newWitness(r io.Reader) *witness { return &witness{Reader: r, hole: -1} }

func (w *witness) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.saw(b[:n])
	return n, err
}

func (w *witness) saw(b []byte) {
	const enough = len("\n\r\n")
	for rest := b; len(rest) > 0; {
		if i := bytes.IndexByte(rest, 0); i != 0 {
			if i < 0 {
				w.zeros = 0
				break
			}
			rest, w.zeros = rest[i:], 0
		}
		run := len(rest) - len(bytes.TrimLeft(rest, "\x00"))
		w.zeros += int64(run)
		rest = rest[run:]
		if w.zeros >= aHole && w.hole < 0 {
			w.hole = w.size + int64(len(b)-len(rest)) - w.zeros
		}
	}
	w.size += int64(len(b))
	w.end = append(w.end, b[max(0, len(b)-enough):]...)
	w.end = w.end[max(0, len(w.end)-enough):]
}

// damage is what is wrong with an mbox that was read to its end, in which this message was the last, if there is any.
func (w *witness) damage(last *mbox.Message) error {
	switch {
	case w.hole >= 0:
		return diag.BadData.Errorf("at offset %d: %d zero bytes or more, as a crash leaves them", w.hole, aHole)
	case w.size > 0 && !bytes.HasSuffix(w.end, []byte("\n")):
		return diag.BadData.Errorf("at offset %d: it is cut off in the middle of a line", w.size)
	case last.Size() > 0 && last.Body == last.End && !w.emptyLine():
		return diag.BadData.Errorf("at offset %d: it is cut off in the header of a message", w.size)
	}
	return nil
}

// emptyLine says whether the mbox ends with one, as it does after every whole message that has a final newline.
func (w *witness) emptyLine() bool {
	return bytes.HasSuffix(w.end, []byte("\n\n")) || bytes.HasSuffix(w.end, []byte("\n\r\n"))
}
