package mbox

import (
	"bufio"
	"io"
	"time"
)

// ReadMessage reads the header of a file that is one message, size bytes long, as a maildir or
// mlmmj keeps it: Author, Subject and DateField are filled in. A From_ line that it begins with, as some
// programs leave one, is passed over. Received is zero.
func ReadMessage(r io.Reader, size int64, now time.Time) (Message, error) {
	m := Message{Range: Range{0, size}, Body: size}
	var f facts
	in := bufio.NewReaderSize(r, maxLine)
	at, midLine := int64(0), false
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return m, err
		}
		first := at == 0
		at += int64(len(line))
		switch {
		case len(line) > 0 && !midLine && emptyLine(line):
			m.Body = at
		case at > maxHeader:
			m.doubt("its header has more than %d KiB", maxHeader>>10)
		case len(line) > 0 && !(first && string(line[:min(len(line), len(fromWord))]) == fromWord):
			f.add(line, midLine, true)
		}
		midLine = err == bufio.ErrBufferFull
		if m.Body < size || m.Doubt != "" || err == io.EOF {
			f.tell(&m, now, true)
			return m, nil
		}
	}
}
