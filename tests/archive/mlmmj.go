package archive

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"rplan/tests/need"
)

// listUser is who Debian's list managers run as.
func listUser(t testing.TB) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup("list")
	if err == nil {
		uid, err = strconv.Atoi(u.Uid)
	}
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// AsList makes cmd run with the rights of Debian's list managers.
func AsList(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	need.Root(t)
	uid, gid := listUser(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	cmd.Env = append(os.Environ(), "HOME=/nonexistent")
	cmd.Dir = "/"
	return cmd
}

// GiveToList makes dir the list managers' own, and lets them come to it.
func GiveToList(t testing.TB, dir string) {
	t.Helper()
	uid, gid := listUser(t)
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if info, err := os.Stat(up); err != nil || info.Mode()&0o001 == 0 {
			if err := os.Chmod(up, 0o711); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func output(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, &stderr)
	}
	return out
}

// Mlmmj makes the list dev@lists.example.org in the directory spool/dev by mlmmj's own program, posts the mails through
// mlmmj-receive, and returns the list's directory; mail i is in archive/i+1. Mlmmj 1.3 has no daemon: when the last mail
// is in the archive, nothing runs. The list has no members, so nothing is sent.
//
// A mail in the archive is as it was posted but for what Mlmmjed says.
func Mlmmj(t testing.TB, spool string, mails iter.Seq[Mail]) (list string) {
	t.Helper()
	need.Root(t)
	need.Program(t, "/usr/bin/mlmmj-make-ml", "/usr/bin/mlmmj-receive", "/usr/bin/mlmmj-process", "/usr/bin/mlmmj-send")
	if err := os.MkdirAll(spool, 0o755); err != nil {
		t.Fatal(err)
	}
	GiveToList(t, spool)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	makes := AsList(t, exec.CommandContext(ctx, "/usr/bin/mlmmj-make-ml", "-L", "dev", "-s", spool))
	makes.Stdin = bytes.NewReader([]byte(Domain + "\nalice@example.org\nen\nn\n")) // domain, owner, language, no aliases
	output(t, makes)
	list = filepath.Join(spool, "dev")
	MlmmjPost(t, list, 1, mails)
	return list
}

// MlmmjPost posts mails to a list of mlmmj, and waits until they are in its archive as the files first, first+1 and so on.
func MlmmjPost(t testing.TB, list string, first int, mails iter.Seq[Mail]) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	for m := range mails {
		post := AsList(t, exec.CommandContext(ctx, "/usr/bin/mlmmj-receive", "-F", "-L", list))
		post.Stdin = bytes.NewReader(fmt.Appendf(nil, "Return-Path: <%s>\n%s", m.Sender, m.Raw)) // without it mlmmj discards in silence
		output(t, post)
		file := filepath.Join(list, "archive", strconv.Itoa(first))
		for _, err := os.Stat(file); err != nil; _, err = os.Stat(file) {
			if ctx.Err() != nil {
				t.Fatalf("a mail, %q, did not come into the archive as %d", m.Wart, first)
			}
			time.Sleep(time.Millisecond)
		}
		first++
	}
}

// Mlmmjed is m as mlmmj stores it: with an empty line after the header even if there is no body, and that line as LF even
// in a mail with CRLF. Return-Path goes; all else stays, NUL bytes and a missing final newline too.
func Mlmmjed(m Mail) []byte {
	for line := range bytes.Lines(m.Raw) {
		if len(bytes.TrimSpace(line)) == 0 {
			return bytes.Replace(m.Raw, []byte("\r\n\r\n"), []byte("\r\n\n"), 1)
		}
	}
	return append(bytes.Clone(m.Raw), '\n')
}
