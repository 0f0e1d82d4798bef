package merge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// A mail program that moves or edits a message by uploading it leaves the delivery id in
// it, and will remove the other one: both would be lost if the new one had been taken for a
// double of that. Postfix delivers the same bytes again, and not after so long; most programs put a
// line of their own into what they upload, or change the text.

// tellUploads marks them. Where several messages have one delivery id, it asks for their sizes and dates. If
// one of those is not where it was any more, nothing is marked.
func (l local) tellUploads(ctx context.Context, messages []Message) (still bool, err error) {
	in := map[string][]uint32{}
	several := namesakes(messages)
	for _, m := range several {
		in[m.Folder] = append(in[m.Folder], m.UID)
	}
	origins := map[place]origin{}
	for _, folder := range slices.Sorted(maps.Keys(in)) {
		slices.Sort(in[folder])
		for some := range slices.Chunk(in[folder], mostUIDs) {
			if err := l.origins(ctx, folder, some, origins); err != nil {
				return false, err
			}
		}
	}
	if slices.ContainsFunc(several, func(m *Message) bool { _, known := origins[m.place()]; return !known }) {
		return false, nil
	}
	markUploads(several, origins)
	return true, nil
}

// origin is what is known of where a message comes from, and stays the same when it is moved.
type origin struct {
	size     int64 // in bytes, with CR and LF
	received int64 // its INTERNALDATE (RFC 3501 section 2.3.3), in seconds since 1970
}

// origins notes those of some messages of a folder; of one that cannot be read it notes an empty one, of one that is gone none.
func (l local) origins(ctx context.Context, folder string, uids []uint32, origins map[place]origin) error {
	result, err := run.Run(ctx, run.Cmd{
		Argv:    []string{"doveadm", "-f", "json", "fetch", "-u", l.address, "uid size.virtual date.received.unixtime", "mailbox-guid", folder, "uid", ranges(uids)},
		Timeout: doveadmTimeout,
	})
	switch damaged := result.ExitCode == int(diag.TryAgain); {
	case damaged && len(uids) > 1: // one of them is
		for _, uid := range uids {
			if err := l.origins(ctx, folder, []uint32{uid}, origins); err != nil {
				return err
			}
		}
		return nil
	case damaged:
		origins[place{folder, uids[0]}] = origin{}
		return nil
	case err != nil:
		return failed(err, result.ExitCode)
	case len(bytes.TrimSpace(result.Stdout)) == 0:
		return nil
	}
	var rows []struct {
		UID      string `json:"uid"`
		Size     string `json:"size.virtual"`
		Received string `json:"date.received.unixtime"`
	}
	if err := json.Unmarshal(result.Stdout, &rows); err != nil {
		return diag.BadData.Errorf("what doveadm fetch printed of %q cannot be read: %w", l.address, err)
	}
	for _, r := range rows {
		uid, err1 := strconv.ParseUint(r.UID, 10, 32)
		size, err2 := strconv.ParseInt(r.Size, 10, 64)
		received, err3 := strconv.ParseInt(r.Received, 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			origins[place{folder, uint32(uid)}] = origin{size, received}
		}
	}
	return nil
}

// namesakes are the messages whose delivery id another message has, too.
func namesakes(messages []Message) (all []*Message) {
	byID := map[string][]*Message{}
	for i := range messages {
		if m := &messages[i]; m.ID != "" {
			byID[m.ID] = append(byID[m.ID], m)
		}
	}
	for _, same := range byID {
		if slices.ContainsFunc(same, func(m *Message) bool { return m.GUID != same[0].GUID }) {
			all = append(all, same...)
		}
	}
	return all
}

// markUploads marks those of namesakes that are not what was delivered first, nor can be that once more. It rather
// leaves two of one than none.
func markUploads(several []*Message, origins map[place]origin) {
	received := func(m *Message) int64 {
		if of := origins[m.place()]; of.size > 0 {
			return of.received
		}
		return math.MaxInt64
	}
	first := map[string]*Message{}
	for _, m := range several {
		if f := first[m.ID]; f == nil || cmp.Or(cmp.Compare(received(m), received(f)), cmp.Compare(m.Saved, f.Saved), cmp.Compare(m.GUID, f.GUID)) < 0 {
			first[m.ID] = m
		}
	}
	for _, m := range several {
		f := first[m.ID]
		its, was := origins[m.place()], origins[f.place()]
		m.Upload = m.GUID != f.GUID && (its.size == 0 || its.size != was.size || m.Saved-was.received > int64(remembered/time.Second))
	}
}

// unmark takes the mark from copies that this node adopted, long after they came.
func (r *record) unmark(messages []Message) {
	for i := range messages {
		if m := &messages[i]; m.Upload && r.Took[m.ID].GUID == m.GUID {
			m.Upload = false
		}
	}
}
