package archive

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"time"
)

// Quoting is what an mbox does with lines of a message that begin with "From ".
type Quoting int

const (
	Mangled   Quoting = iota // ">From ", and ">From " stays as it is: mboxo, as Python and Mailman 2 and 3 write it
	Unmangled                // as they are: what old Mailmans and careless scripts wrote
	Mboxrd                   // one ">" more, also before ">From "
)

// FromLine is the line that begins m in an mbox, as Postfix and Mailman 2 write it, with its newline.
func (m Mail) FromLine() string {
	return fmt.Sprintf("From %s  %s\n", m.Sender, m.Arrived.UTC().Format(time.ANSIC))
}

// WriteMbox appends the mails as Mailman 2.1 does (Mailman/Mailbox.py, AppendMessage): a From_ line, the message as it is,
// one newline. So after a message without a final newline the next From_ line follows with no empty line between.
// It returns the offset of each From_ line from the first byte written.
func WriteMbox(w io.Writer, mails iter.Seq[Mail], q Quoting) (starts []int64, err error) {
	b := bufio.NewWriterSize(w, 1<<18)
	var at int64
	for m := range mails {
		starts = append(starts, at)
		for _, part := range [][]byte{[]byte(m.FromLine()), Quote(m.Raw, q), []byte("\n")} {
			n, err := b.Write(part)
			if at += int64(n); err != nil {
				return starts, err
			}
		}
	}
	return starts, b.Flush()
}

// Quote is raw with its lines as q has them in an mbox.
func Quote(raw []byte, q Quoting) []byte {
	if q == Unmangled || !bytes.Contains(raw, []byte("From ")) {
		return raw
	}
	var out []byte
	for line := range bytes.Lines(raw) {
		bare := line
		if q == Mboxrd {
			bare = bytes.TrimLeft(line, ">")
		}
		if bytes.HasPrefix(bare, []byte("From ")) {
			out = append(out, '>')
		}
		out = append(out, line...)
	}
	return out
}
