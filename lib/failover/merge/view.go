package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Message is one message of a mailbox, as a node has it.
type Message struct {
	Folder string `json:"b,omitempty"` // GUID of the folder it lies in; "" in copies and deleted, which have one folder each
	UID    uint32 `json:"u"`           // in its folder
	GUID   string `json:"g,omitempty"` // the same on both nodes once doveadm sync has carried it over
	Flags  string `json:"f,omitempty"` // and keywords, sorted, joined by blanks; without \Recent, which is no property of a message
	ID     string `json:"i,omitempty"` // delivery id; "" for what no Postfix of ours delivered
	Saved  int64  `json:"s,omitempty"` // when it was stored in its folder, in seconds since 1970
	Upload bool   `json:"p,omitempty"` // a mail program put it there: its delivery id says nothing of how it came
}

// deleted is the mark of a message that its user is going to remove.
const deleted = `\Deleted`

func (m Message) marked() bool { return slices.Contains(strings.Fields(m.Flags), deleted) }

// View is what one node has of a mailbox.
type View struct {
	Real    []Message          // in the folders that the user sees
	Copies  []Message          // blind copies that arrived here, not yet known to be in a folder
	Deleted []Message          // what the user deleted since the last pass
	Dropped []string           // GUIDs of folders that were deleted, also long ago
	Inbox   string             // GUID of the inbox; "" where nobody needs to know
	Left    map[string][]int64 // what the side's record has of it, see there
}

// ids are the delivery ids of the messages.
func ids(messages []Message) map[string]bool {
	all := map[string]bool{}
	for _, m := range messages {
		if m.ID != "" {
			all[m.ID] = true
		}
	}
	return all
}

// guids are those of the messages.
func guids(messages []Message) map[string]bool {
	all := map[string]bool{}
	for _, m := range messages {
		all[m.GUID] = true
	}
	return all
}

// difference is one in what the user sees on the two sides, or "".
func difference(a, b *View) string {
	at := make(map[place]Message, len(a.Real))
	for _, m := range a.Real {
		at[m.place()] = m
	}
	for _, m := range b.Real {
		was, ok := at[m.place()]
		switch {
		case !ok:
			return fmt.Sprintf("UID %d of folder %s is on the standby side only", m.UID, m.Folder)
		case was.GUID != m.GUID:
			return fmt.Sprintf("UID %d of folder %s is another message on each side", m.UID, m.Folder)
		case !sameFlags(was.Flags, m.Flags):
			return fmt.Sprintf("UID %d of folder %s has the flags %q and %q", m.UID, m.Folder, was.Flags, m.Flags)
		}
		delete(at, m.place())
	}
	for where := range at {
		return fmt.Sprintf("UID %d of folder %s is on the active side only", where.uid, where.folder)
	}
	return ""
}

// sameFlags compares them as Dovecot does, where a keyword is the same in any case; a folder has it as it came there first.
func sameFlags(a, b string) bool {
	return a == b || canonical(strings.ToLower(a)) == canonical(strings.ToLower(b))
}

// cased says whether equal sides have a keyword in two cases.
func cased(a, b *View) bool {
	at := make(map[place]string, len(a.Real))
	for _, m := range a.Real {
		at[m.place()] = m.Flags
	}
	return slices.ContainsFunc(b.Real, func(m Message) bool { return at[m.place()] != m.Flags })
}

// fields are what is asked of each message; see doveadm-fetch(1).
const fields = "mailbox-guid uid guid flags date.saved.unixtime hdr.x-rplan-id"

// row is a message as doveadm -f json prints it.
type row struct {
	Folder string `json:"mailbox-guid"`
	UID    string `json:"uid"`
	GUID   string `json:"guid"`
	Flags  string `json:"flags"`
	Saved  string `json:"date.saved.unixtime"`
	Header string `json:"hdr.x-rplan-id"`
}

// parse reads what doveadm -f json fetch printed. What users wrote into a
// header is in it, and is taken for a delivery id only if it looks like one.
func parse(out []byte) ([]Message, error) {
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(out))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("doveadm fetch printed no list: %.60q", out)
	}
	var all []Message
	for d.More() {
		var r row
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("what doveadm fetch printed cannot be read: %w", err)
		}
		m, err := r.message()
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("what doveadm fetch printed is cut off: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("doveadm fetch printed more than one list")
	}
	return all, nil
}

func (r *row) message() (Message, error) {
	uid, err := strconv.ParseUint(r.UID, 10, 32)
	if err != nil || uid == 0 {
		return Message{}, fmt.Errorf("doveadm fetch printed the UID %.20q", r.UID)
	}
	if !isGUID(r.Folder) || r.GUID == "" || len(r.GUID) > maxGUID {
		return Message{}, fmt.Errorf("doveadm fetch printed the GUIDs %.80q and %.80q", r.Folder, r.GUID)
	}
	saved, _ := strconv.ParseInt(r.Saved, 10, 64)
	return Message{Folder: r.Folder, UID: uint32(uid), GUID: r.GUID, Flags: canonical(r.Flags), ID: deliveryID(r.Header), Saved: saved}, nil
}

// maxGUID bounds a message's GUID. Maildir's is the file's name.
const maxGUID = 255

// isGUID says whether s is the GUID of a folder, 128 bits in hexadecimal.
func isGUID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// canonical sorts flags and leaves out \Recent.
func canonical(flags string) string {
	list := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` })
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// deliveryID is QUEUEID.HOST from the header X-RPlan-ID, or "" if it is none.
// Where there are several such headers the first is Postfix's: what came with
// the message lies below it.
func deliveryID(header string) string {
	first, _, _ := strings.Cut(header, "\n")
	id := strings.TrimSuffix(first, "\r")
	queue, host, ok := strings.Cut(id, ".")
	if !ok || queue == "" || host == "" || len(id) > maxID {
		return ""
	}
	for i := range len(id) {
		c := id[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return ""
		}
	}
	return id
}

const maxID = 300
