package merge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store says where the mailboxes of a node are, as contrib/dovecot has them.
type Store struct {
	Home string // of a mailbox: an absolute path with %u for the address, or %n and %d for what is before and behind its "@"
	Mail string // of Dovecot's mail_location below it; the stores "copies" and "deleted" lie beside
}

// home is the home directory of a mailbox. An address has no "/" and no part
// that is "..": the directory model lets none pass, and neither does isAddress.
func (s Store) home(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	return strings.NewReplacer("%u", address, "%d", domain, "%n", local).Replace(s.Home)
}

// Stamp is what can be seen of a mailbox without opening it. As long as it is
// the same, nothing has changed.
type Stamp struct {
	Real       string `json:"r,omitempty"` // digest; "" where there is no mailbox
	Tree       string `json:"-"`           // likewise, of the list of folders and subscriptions only
	Copies     int    `json:"c,omitempty"` // how many blind copies there are
	OldestCopy int64  `json:"o,omitempty"` // when the oldest of them came, in seconds since 1970
	Deleted    int    `json:"d,omitempty"`
}

// stamp looks at a mailbox's files.
func (s Store) stamp(address string) (Stamp, error) {
	home := s.home(address)
	var st Stamp
	files := &files{below: filepath.Join(home, s.Mail)}
	err := files.look(files.below, 0)
	if err == nil && files.await() {
		files.lines, files.tree = nil, nil
		err = files.look(files.below, 0)
	}
	if err == nil && len(files.lines) > 0 {
		st.Real, st.Tree = digest(files.lines), digest(files.tree)
	}
	if err == nil {
		st.Copies, st.OldestCopy, err = waiting(filepath.Join(home, "copies"))
	}
	if err == nil {
		st.Deleted, _, err = waiting(filepath.Join(home, "deleted"))
	}
	if err != nil {
		return Stamp{}, fmt.Errorf("looking at the mailbox of %q: %w", address, err)
	}
	return st, nil
}

func digest(lines []string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:12])
}

// tell are the files that Dovecot writes when something changes in a folder or
// in the list of folders; a doveadm sync that finds nothing to do leaves them
// as they are, which is not true of all others.
var tell = []string{"dovecot.index.log", "dovecot.index.log.2", "dovecot.mailbox.log", "subscriptions"}

// leaves are directories of messages, which can be many: in dbox-Mails the logs
// are enough, and of Maildir's cur and new the time is, which every change of a
// flag changes too. Maildir's logs do not count: to look into an empty folder
// writes to them.
var leaves = map[string]bool{"dbox-Mails": true, "cur": true, "new": true, "tmp": true, "storage": true, "dbox-alt-Mails": true}

// maxDepth is more than Dovecot lets folders nest.
const maxDepth = 64

// files are what there is to see of those, below a directory.
type files struct {
	below  string
	lines  []string
	tree   []string  // those of them that folders change, but no messages
	newest time.Time // of the directories of a Maildir
}

// await waits until a change would get a later time than all that there are: until then
// a Maildir can change a second time and look the same. Files get theirs from a clock
// with steps of up to 10 ms (clock_gettime(2), CLOCK_REALTIME_COARSE).
func (f *files) await() (waited bool) {
	const future = time.Second // of a clock that was wrong, which is not waited for
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
			return waited
		}
		if ahead := f.newest.Sub(time.Unix(now.Unix())); ahead < 0 || ahead > future {
			return waited
		}
		time.Sleep(time.Millisecond)
		waited = true
	}
}

func (f *files) look(dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	maildir := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "cur" && e.IsDir() })
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		switch {
		case !entry.IsDir():
			ofMessages := strings.HasPrefix(name, "dovecot.index.")
			if slices.Contains(tell, name) && !(maildir && ofMessages) {
				before := len(f.lines)
				_, err = f.add(path)
				if !ofMessages {
					f.tree = append(f.tree, f.lines[before:]...)
				}
			}
		case name == "cur" || name == "new":
			var at time.Time
			if at, err = f.add(path); at.After(f.newest) {
				f.newest = at
			}
		case leaves[name]:
			for _, file := range tell {
				_, failed := f.add(filepath.Join(path, file))
				err = errors.Join(err, failed)
			}
		case depth < maxDepth:
			f.lines = append(f.lines, path[len(f.below):])
			f.tree = append(f.tree, path[len(f.below):])
			err = f.look(path, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *files) add(path string) (time.Time, error) {
	info, err := os.Lstat(path)
	if gone(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	f.lines = append(f.lines, fmt.Sprint(path[len(f.below):], " ", info.Size(), " ", info.ModTime().UnixNano()))
	return info.ModTime(), nil
}

// gone is also a directory that a user removed while we looked.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// waiting counts the messages of a store with one folder.
func waiting(store string) (count int, oldest int64, err error) {
	entries, err := os.ReadDir(filepath.Join(store, "mailboxes", "INBOX", "dbox-Mails"))
	if gone(err) {
		return 0, 0, nil
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "u.") {
			continue
		}
		info, err := entry.Info()
		if gone(err) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if at := info.ModTime().Unix(); count == 0 || at < oldest {
			oldest = at
		}
		count++
	}
	return count, oldest, err
}

// isAddress says whether a text can be the address of a mailbox, that is, a part of a path and
// an argument of doveadm that means nothing else.
func isAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	plain := func(part, signs string) bool {
		for i := range len(part) {
			c := part[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(signs, c) < 0 {
				return false
			}
		}
		return part != "" && part[0] != '.' && part[0] != '-' && !strings.Contains(part, "..")
	}
	return ok && len(s) <= 320 && plain(local, "._-=~&") && plain(domain, ".-")
}
