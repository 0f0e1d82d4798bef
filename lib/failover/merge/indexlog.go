package merge

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
)

// Dovecot's log of a folder's index says which messages left it, by UID and mostly by
// GUID, for as long as the log lives: it is begun anew when it is large enough, and the one
// before is kept for a while (mail_index_log2_max_age). What doveadm sync removes is in it
// like what users remove. The format is that of Dovecot's mail-transaction-log.h, version 1,
// which doveadm-dump(1) prints as text.

// trace is what a side's logs have of one message that left a folder.
type trace struct {
	Folder string `json:"n"`           // directory of the folder, below the mailbox
	UID    uint32 `json:"u"`           //
	GUID   string `json:"g"`           // as in logs, see logGUID, or unnamed
	Old    bool   `json:"o,omitempty"` // it had left when both sides were last equal
	New    bool   `json:"w,omitempty"` // it was there, and left since; neither where that is not known
}

// unnamed is the GUID of a message of which Dovecot did not have it at hand.
var unnamed = strings.Repeat("0", 32)

// logGUID is a message's GUID as logs have it: 128 bits, which are the end of the SHA-1 of
// what is no such number itself, as Maildir's names of files.
func logGUID(guid string) string {
	if isGUID(guid) {
		return guid
	}
	sum := sha1.Sum([]byte(guid))
	return hex.EncodeToString(sum[len(sum)-16:])
}

// logEnd is where a folder's log ended.
type logEnd struct {
	File uint64 `json:"f"` // inode
	Size int    `json:"s"`
}

// ends are where the logs of a mailbox end, by the directory of the folder, below the mailbox.
func (s Store) ends(address string) (map[string]logEnd, error) {
	below := filepath.Join(s.home(address), s.Mail)
	all := map[string]logEnd{}
	return all, folderLogs(below, 0, func(dir string) error {
		info, err := os.Lstat(filepath.Join(dir, logNames[0]))
		if gone(err) {
			return nil
		}
		if err == nil {
			all[dir[len(below):]] = endOf(info)
		}
		return err
	})
}

func endOf(info fs.FileInfo) logEnd {
	var file uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		file = stat.Ino
	}
	return logEnd{file, int(info.Size())}
}

// traces are those of some messages, and of unnamed ones, in all folders of a mailbox. ends are where
// the logs ended when both sides were last equal, nil if that is not known.
func (s Store) traces(address string, guids []string, ends map[string]logEnd) ([]trace, error) {
	below := filepath.Join(s.home(address), s.Mail)
	var all []trace
	err := folderLogs(below, 0, func(dir string) error {
		found, err := readLogs(dir, guids, ends != nil, ends[dir[len(below):]])
		if err != nil && !errors.Is(err, errLog) { // nothing is known of a folder whose log cannot be understood
			return err
		}
		for _, t := range found.left {
			t.Folder = dir[len(below):]
			all = append(all, t)
		}
		return nil
	})
	if err != nil {
		return nil, diag.Failed.Errorf("looking at the logs of the mailbox of %q: %w", address, err)
	}
	return all, nil
}

// inboxes are where the inbox is, below a mailbox: that of a dbox, and of a Maildir.
var inboxes = []string{"/mailboxes/INBOX/dbox-Mails", ""}

// arrived is how many messages came to the inbox of a mailbox since its logs ended there, and whether that is known.
func (s Store) arrived(address string, ends map[string]logEnd) (count int, known bool) {
	for _, inbox := range inboxes {
		end, there := ends[inbox]
		if !there {
			continue
		}
		found, err := readLogs(filepath.Join(s.home(address), s.Mail)+inbox, nil, true, end)
		if err != nil || !found.dated {
			return 0, false
		}
		for _, since := range found.brief {
			if since {
				count++
			}
		}
		return count, true
	}
	return 0, false
}

// logNames are a log, and the one before it.
var logNames = [2]string{"dovecot.index.log", "dovecot.index.log.2"}

// readLogs reads those of one folder, which ended at end before; what was that, if dated says that it is known.
func readLogs(dir string, guids []string, dated bool, end logEnd) (l logged, err error) {
	var logs [2]indexLog
	for i, name := range logNames { // in this order a new beginning between the two hides nothing
		if logs[i], err = readLog(filepath.Join(dir, name)); err != nil {
			return l, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	first := slices.IndexFunc(logs[:], func(l indexLog) bool { return l.file == end.File && len(l.text) >= end.Size }) // a number may be used again
	l = logged{wanted: guids, dated: dated && first >= 0 && end.File != 0, brief: map[uint32]bool{}}
	for i := len(logs) - 1; i >= 0; i-- {
		l.since = 0
		if i > first {
			l.since = len(logs[i].text)
		} else if i == first {
			l.since = end.Size
		}
		if err := l.read(logs[i].text); err != nil {
			return logged{}, err
		}
	}
	return l, nil
}

// folderLogs finds the directories that have the log of a folder.
func folderLogs(dir string, depth int, use func(dir string) error) error {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil
	}
	if err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == logNames[0] }) {
		err = use(dir)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case err != nil:
			return err
		case !entry.IsDir():
		case entry.Name() == "dbox-Mails":
			err = use(path)
		case !leaves[entry.Name()] && depth < maxDepth:
			err = folderLogs(path, depth+1, use)
		}
	}
	return err
}

// mostLog is how much is read of a log. Dovecot begins a new one after 1 MiB (mail_index_log_rotate_max_size).
const mostLog = 16 << 20

type indexLog struct {
	text []byte
	file uint64
}

// readLog reads a regular file, if there is one: its directory is its user's.
func readLog(path string) (indexLog, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if gone(err) {
		return indexLog{}, nil
	}
	if errors.Is(err, unix.ELOOP) {
		return indexLog{}, errLog
	}
	if err != nil {
		return indexLog{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return indexLog{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostLog {
		return indexLog{}, errLog
	}
	text, err := io.ReadAll(io.LimitReader(f, mostLog))
	return indexLog{text, endOf(info).File}, err
}

// logged is what is found in the logs of one folder, of which the older one is read first.
type logged struct {
	wanted []string        // GUIDs as logs have them
	dated  bool            // since is known
	since  int             // where in the log that is read now the news begin
	brief  map[uint32]bool // UIDs of messages that came only since
	left   []trace
}

// Kinds of records.
const (
	logAppend  = 0x2
	logExpunge = 0x2000 | 0xcd90 // with GUIDs, and what keeps a damaged record from being taken for it
	logKind    = 0x0fffffff
	logDone    = 0x10000000 // it was removed; the request for it, which comes before, has the GUID
)

var errLog = errors.New("this is no log of Dovecot's that is known")

// read reads one log. What Dovecot is writing just now is not in it.
func (l *logged) read(log []byte) error {
	const header, little = 40, 1
	if len(log) == 0 {
		return nil
	}
	if len(log) < header || log[0] != 1 || log[32]&little == 0 {
		return errLog
	}
	at := int(binary.LittleEndian.Uint16(log[2:]))
	if at < header {
		return errLog
	}
	for at+8 <= len(log) {
		size := logSize(log[at:])
		if size == 0 || at+size > len(log) {
			return nil
		}
		if size < 8 {
			return errLog
		}
		if err := l.record(binary.LittleEndian.Uint32(log[at+4:]), log[at+8:at+size], at+size > l.since); err != nil {
			return err
		}
		at += size
	}
	return nil
}

// logSize is a number of 28 bits, which is 0 until all of the record is written, in words of 4 bytes.
func logSize(b []byte) (size int) {
	for _, c := range b[:4] {
		if c < 0x80 {
			return 0
		}
		size = size<<7 | int(c&0x7f)
	}
	return size << 2
}

func (l *logged) record(kind uint32, body []byte, since bool) error {
	const message, expunge = 8, 20
	switch {
	case kind&logKind == logAppend:
		if len(body)%message != 0 {
			return errLog
		}
		for r := range slices.Chunk(body, message) {
			l.brief[binary.LittleEndian.Uint32(r)] = since
		}
	case kind&logKind == logExpunge && kind&logDone == 0:
		if len(body)%expunge != 0 {
			return errLog
		}
		for r := range slices.Chunk(body, expunge) {
			t := trace{UID: binary.LittleEndian.Uint32(r), GUID: hex.EncodeToString(r[4:])}
			if t.UID > 0 && (t.GUID == unnamed || slices.Contains(l.wanted, t.GUID)) {
				t.Old, t.New = l.dated && !since, l.dated && since && !l.brief[t.UID]
				l.left = append(l.left, t)
			}
		}
	}
	return nil
}

// valid says whether another node's trace is one of what was asked for.
func (t *trace) valid(asked []string) bool {
	return t.UID > 0 && (t.GUID == unnamed || slices.Contains(asked, t.GUID)) && !(t.Old && t.New) && len(t.Folder) <= 4096
}
