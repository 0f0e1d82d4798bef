package merge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"

	"rplan/lib/diag"
)

// What two nodes say to each other about mailboxes, over the standard input and
// output of "rp-failover serve": one JSON object a line. The asking node sends
// a request, the other answers with any number of items and then an end. One
// request is under way at a time.

// request asks for something about one mailbox, the one that was opened last,
// but for "stamps", which is about all or some.
type request struct {
	Do      string    `json:"do"`                // stamps, open, list, folders, step, note, deleted, traces, equal, dsync, stamp, close
	Address string    `json:"address,omitempty"` // of open
	Step    *step     `json:"step,omitempty"`
	Only    []string  `json:"only,omitempty"` // of stamps: addresses, for some instead of all
	Gone    deletions `json:"gone,omitempty"` // of note: what the user deleted
	IDs     []string  `json:"ids,omitempty"`  // deliveries; of note: what is set aside; of traces: GUIDs as logs have them
}

// answer is an item, or, if End is set, the end of an answer.
type answer struct {
	Address string   `json:"a,omitempty"`  // of stamps
	Stamp   *Stamp   `json:"t,omitempty"`  // of stamps and stamp
	Store   string   `json:"in,omitempty"` // of list: real, copies, deleted; or dropped, with a GUID; or left, with a GUID and a time
	Message *Message `json:"m,omitempty"`
	Folder  string   `json:"n,omitempty"`  // of folders: the name
	GUID    string   `json:"g,omitempty"`  // likewise, or of a folder that was deleted, or of a message
	ID      string   `json:"i,omitempty"`  // of deleted: a delivery
	At      int64    `json:"at,omitempty"` // likewise: when it was, in seconds since 1970
	Trace   *trace   `json:"x,omitempty"`  // of traces
	End     bool     `json:"end,omitempty"`
	Error   string   `json:"error,omitempty"`
	Kind    int      `json:"kind,omitempty"` // of diag
}

// maxLine bounds a line. A message's flags are the largest part of one.
const maxLine = 1 << 20

// mostIDs is how many delivery ids of a kind fit into one.
const mostIDs = 1000

var errProtocol = errors.New("the other node does not speak rp-failover's language; is rplan there of the same version?")

// mostAnswer bounds an answer: that is more than a million messages.
const mostAnswer = 1 << 28

// lines reads objects.
type lines struct {
	in   *bufio.Reader
	left int // bytes that may still come
}

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, 1<<16), mostAnswer} }

// next reads one object. Its error is io.EOF at the end.
func (l *lines) next(v any) error {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if l.left -= len(part); len(line)+len(part) > maxLine || l.left < 0 {
			return errProtocol
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if err == io.EOF && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errProtocol
	}
	return nil
}

// err is the error that an end reports.
func (a *answer) err() error {
	if a.Error == "" {
		return nil
	}
	kind := diag.Kind(a.Kind)
	if kind != diag.TryAgain && kind != diag.Refused && kind != diag.BadData {
		kind = diag.Failed
	}
	return kind.Errorf("%s", printable(a.Error))
}

// printable is another node's text, so that nothing in it can steer a terminal.
func printable(s string) string {
	const longest = 2000
	var b []rune
	for _, r := range s[:min(len(s), longest)] {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			r = ' '
		}
		b = append(b, r)
	}
	return string(b)
}

// items are what a view is sent as.
func (v *View) items(send func(*answer) error) error {
	for _, part := range []struct {
		store    string
		messages []Message
	}{{"real", v.Real}, {"copies", v.Copies}, {"deleted", v.Deleted}} {
		for i := range part.messages {
			if err := send(&answer{Store: part.store, Message: &part.messages[i]}); err != nil {
				return err
			}
		}
	}
	for _, guid := range v.Dropped {
		if err := send(&answer{Store: "dropped", GUID: guid}); err != nil {
			return err
		}
	}
	for _, guid := range slices.Sorted(maps.Keys(v.Left)) {
		for _, at := range v.Left[guid] {
			if err := send(&answer{Store: "left", GUID: guid, At: at}); err != nil {
				return err
			}
		}
	}
	return nil
}

// add takes one of them.
func (v *View) add(a *answer) error {
	if a.Store == "left" && a.GUID != "" && len(a.GUID) <= maxGUID && a.At >= 0 {
		if v.Left == nil {
			v.Left = map[string][]int64{}
		}
		v.Left[a.GUID] = append(v.Left[a.GUID], a.At)
		return nil
	}
	if a.Store == "dropped" && isGUID(a.GUID) {
		v.Dropped = append(v.Dropped, a.GUID)
		return nil
	}
	m := a.Message
	if m == nil || m.UID == 0 || m.GUID == "" || len(m.GUID) > maxGUID || m.ID != deliveryID(m.ID) || m.Flags != canonical(m.Flags) ||
		(a.Store == "real") != isGUID(m.Folder) || m.Saved < 0 {
		return errProtocol
	}
	switch a.Store {
	case "real":
		v.Real = append(v.Real, *m)
	case "copies":
		v.Copies = append(v.Copies, *m)
	case "deleted":
		v.Deleted = append(v.Deleted, *m)
	default:
		return errProtocol
	}
	return nil
}
