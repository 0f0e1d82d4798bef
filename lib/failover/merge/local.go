package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// local is this node's side of a mailbox, by doveadm(1).
type local struct {
	store   Store
	address string
}

// Where the hidden namespaces of contrib/dovecot keep their messages.
const (
	copiesFolder  = "rplan-copies/INBOX"
	deletedFolder = "rplan-deleted/INBOX"
)

// doveadmTimeout bounds one call. doveadm sync may take much longer, the first
// time, but gives up on a node that says nothing for silence.
const (
	doveadmTimeout = 10 * time.Minute
	syncTimeout    = 12 * time.Hour
	silence        = time.Minute
)

func (l local) stamp(context.Context) (Stamp, error) { return l.store.stamp(l.address) }

func (l local) ends() (map[string]logEnd, error) { return l.store.ends(l.address) }

// list asks for all messages. The hidden stores are only asked for what is in
// them. First comes what was deleted: what then is in a folder in spite of that
// is there again, and was not deleted between two questions.
func (l local) list(ctx context.Context) (*View, error) {
	st, err := l.store.stamp(l.address)
	if err != nil {
		return nil, err
	}
	v := &View{}
	if st.Deleted > 0 {
		if v.Deleted, err = l.fetch(ctx, deletedFolder); err != nil {
			return nil, err
		}
	}
	if st.Real != "" {
		if v.Real, err = l.real(ctx); err != nil {
			return nil, err
		}
	}
	if st.Copies > 0 {
		if v.Copies, err = l.fetch(ctx, copiesFolder); err != nil {
			return nil, err
		}
	}
	v.Dropped, err = l.store.dropped(l.address)
	return v, err
}

// real is what is in the folders that the user sees. Of what they move or remove just then nobody
// can tell whether it is an upload: it is asked for again.
func (l local) real(ctx context.Context) ([]Message, error) {
	const tries = 5
	for range tries {
		messages, err := l.fetch(ctx, "*")
		if err != nil {
			return nil, err
		}
		if still, err := l.tellUploads(ctx, messages); still || err != nil {
			return messages, err
		}
	}
	return nil, errMoving
}

// fetch lists a folder, or all for "*". Where Dovecot finds an index to be wrong it mends that, as after a doveadm sync that was
// disturbed, and has it right the second time.
func (l local) fetch(ctx context.Context, folder string) ([]Message, error) {
	const most = 1 << 30 // some millions of messages
	list := run.Cmd{
		Argv:    []string{"doveadm", "-f", "json", "fetch", "-u", l.address, fields, "mailbox", folder, "all"},
		Timeout: doveadmTimeout, MaxOutput: most,
	}
	result, err := run.Run(ctx, list)
	if result.ExitCode == int(diag.TryAgain) && ctx.Err() == nil && !errors.Is(err, run.ErrTimeout) {
		result, err = run.Run(ctx, list)
	}
	if err != nil {
		return nil, failed(err, result.ExitCode)
	}
	messages, err := parse(result.Stdout)
	if err != nil {
		return nil, diag.BadData.Errorf("%s in %q: %w", folder, l.address, err)
	}
	for i := range messages {
		if folder != "*" {
			messages[i].Folder = ""
		}
	}
	return messages, nil
}

// folders are the GUIDs of all folders by name.
func (l local) folders(ctx context.Context) (map[string]string, error) {
	st, err := l.store.stamp(l.address)
	if err != nil || st.Real == "" {
		return nil, err
	}
	result, err := run.Run(ctx, run.Cmd{
		Argv: []string{"doveadm", "-f", "json", "mailbox", "status", "-u", l.address, "guid", "*"}, Timeout: doveadmTimeout,
	})
	if err != nil {
		return nil, failed(err, result.ExitCode)
	}
	var rows []struct{ Mailbox, GUID string }
	if err := json.Unmarshal(result.Stdout, &rows); err != nil {
		return nil, diag.BadData.Errorf("what doveadm mailbox status printed of %q cannot be read: %w", l.address, err)
	}
	all := map[string]string{}
	for _, r := range rows {
		if isFolder(r.Mailbox) && isGUID(r.GUID) {
			all[r.Mailbox] = r.GUID
		}
	}
	return all, nil
}

// do carries a step out. Done a second time it does nothing: the UIDs are gone.
func (l local) do(ctx context.Context, s step) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Op == aside {
		if err := l.ensureCopies(ctx); err != nil {
			return err
		}
	}
	if s.Op == name {
		return l.doveadm(ctx, "mailbox", "update", "-u", l.address, "--mailbox-guid", s.Folder, "--", s.Name)
	}
	return l.doveadm(ctx, l.command(s, ranges(s.UIDs))...)
}

// command is the doveadm command of a step.
func (l local) command(s step, uids string) []string {
	switch s.Op {
	case aside:
		return []string{"move", "-u", l.address, copiesFolder, "mailbox-guid", s.Folder, "uid", uids}
	case flag:
		return []string{"flags", "add", "-u", l.address, "--", s.Flags, "mailbox-guid", s.Folder, "uid", uids}
	case adopt:
		return []string{"move", "-u", l.address, "INBOX", "mailbox", copiesFolder, "uid", uids}
	case drop:
		return []string{"expunge", "-u", l.address, "mailbox-guid", s.Folder, "uid", uids}
	case purge:
		return []string{"expunge", "-u", l.address, "mailbox", copiesFolder, "uid", uids}
	default:
		return []string{"expunge", "-u", l.address, "mailbox", deletedFolder, "uid", uids}
	}
}

// check refuses what no plan has in it: a step may come from another node.
func (s step) check() error {
	known := slices.Contains([]op{aside, flag, drop, adopt, purge, forget, name}, s.Op)
	folder := s.Op == aside || s.Op == flag || s.Op == drop || s.Op == name
	if !known || folder != isGUID(s.Folder) || folder == (s.Folder == "") || (s.Op != flag && s.Flags != "") ||
		(s.Op == name) != (len(s.UIDs) == 0) || (s.Op == name) != isFolder(s.Name) || (s.Op != name && s.Name != "") {
		return diag.BadData.Errorf("no step of a merge: %.20q on folder %.40q", s.Op, s.Folder)
	}
	if len(s.UIDs) > mostUIDs || slices.Contains(s.UIDs, 0) {
		return diag.BadData.Errorf("no UIDs of a step: %d of them", len(s.UIDs))
	}
	for f := range strings.SplitSeq(s.Flags, " ") {
		if s.Op == flag && !isFlag(f) {
			return diag.BadData.Errorf("no flag of a message: %.40q", f)
		}
	}
	return nil
}

// isFolder says whether a text can be the name of a folder.
func isFolder(s string) bool {
	return s != "" && len(s) <= 4096 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isFlag says whether f is a flag or keyword (RFC 3501 section 9, flag): an
// atom, of a system flag with a backslash before it.
func isFlag(f string) bool {
	name := strings.TrimPrefix(f, `\`)
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return name != "" && len(f) < 256
}

// ensureCopies makes the folder of the copies, which no copy may have come to yet.
func (l local) ensureCopies(ctx context.Context) error {
	const exists = 65 // EX_DATAERR: there is one already
	result, err := run.Run(ctx, run.Cmd{Argv: []string{"doveadm", "mailbox", "create", "-u", l.address, copiesFolder}, Timeout: doveadmTimeout})
	if err != nil && result.ExitCode != exists {
		return failed(err, result.ExitCode)
	}
	return nil
}

func (l local) doveadm(ctx context.Context, args ...string) error {
	result, err := run.Run(ctx, run.Cmd{Argv: append([]string{"doveadm"}, args...), Timeout: doveadmTimeout})
	return failed(err, result.ExitCode)
}

// errAgain is what doveadm sync says when something changed while it ran: it
// joined most, and wants to be called again (doveadm-sync(1), exit code 2).
var errAgain = errors.New("changed meanwhile")

// sync joins this side with another node's, to whose dsync-server argv leads, a program
// that gets these files as its descriptors 3 and up. With the state that the last one
// ended with, only what changed since then on either side is looked at. It returns the
// new state, "" for none (doveadm-sync(1), -s).
func (l local) sync(ctx context.Context, argv []string, state string, files ...*os.File) (string, error) {
	const again = 2
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	how := []string{"doveadm", "sync", "-s", state}
	if state == "" {
		how = append(how, "-f")
	}
	args := append(append(how, "-l", seconds(lockWait), "-T", seconds(silence), "-u", l.address), argv...)
	result, err := run.Run(ctx, run.Cmd{Argv: args, Timeout: syncTimeout, Files: files, Data: true})
	switch {
	case result.ExitCode == again:
		return "", errAgain
	case err != nil:
		return "", failed(err, result.ExitCode)
	}
	if state = strings.TrimSpace(string(result.Stdout)); len(state) > mostState {
		state = ""
	}
	return state, nil
}

// mostState bounds a state, some bytes for each folder: Linux takes no argument of 128 KiB (execve(2)).
const mostState = 100 << 10

// lockWait is how long doveadm sync waits for another one of the same mailbox.
const lockWait = 10 * time.Second

// failed says what an exit code of doveadm means; it has those of sysexits(3), and one for
// what is not there (DOVEADM_EX_NOTFOUND in doveadm.h): its user gave a folder another name meanwhile, or deleted it.
func failed(err error, code int) error {
	const notFound = 68
	switch {
	case err == nil:
		return nil
	case diag.KindOf(err) == diag.Unavailable, code == int(diag.TryAgain), code == notFound:
		return diag.TryAgain.Errorf("%w", err)
	}
	return err
}

// ranges is a set of UIDs in ascending order as IMAP writes it: "1:3,7".
func ranges(uids []uint32) string {
	var b bytes.Buffer
	for i := 0; i < len(uids); {
		end := i
		for end+1 < len(uids) && uids[end+1] == uids[end]+1 {
			end++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, uids[i])
		if end > i {
			fmt.Fprint(&b, ":", uids[end])
		}
		i = end + 1
	}
	return b.String()
}
