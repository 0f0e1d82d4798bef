package archive

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rplan/tests/need"
)

//go:embed mailman3.py
var mailman3Script []byte

// Mailman3Tree is the archive of a list of Mailman 3.
type Mailman3Tree struct {
	Var   string         // var_dir of the instance, all its own
	Dir   string         // the maildir: VAR/archives/prototype/dev@lists.example.org
	Files map[int]string // mail -> name of its file in Dir/new; those that Mailman refused have none
}

// Mailman3 makes an instance of Debian's Mailman 3 below dir with the prototype archiver, the list dev@lists.example.org,
// and posts the mails as if all had been approved: Mailman's own pipeline and archive runners take each one, in one process
// that ends, about four seconds for 70 mails. No master, no LMTP, no web service runs. With the dir of an instance it posts to that.
//
// What Mailman 3.3.8 stores of a mail (measured by the test):
//   - Without Message-ID it is refused, as LMTP does. A repeated Message-ID is stored again.
//   - Subject gets "[Dev] " before it; Message-ID-Hash, X-Message-ID-Hash, X-Mailman-Version, Precedence and List-* are added.
//   - The body stays, byte for byte, with all attachments, lines "From " and NUL bytes; only CRLF becomes LF.
//   - With clobber, which is Mailman's default ("maybe"), a Date field more than five days from now is replaced by the time of
//     archiving, and kept as X-Original-Date. Without clobber the Date field stays; an absent one is added all the same.
func Mailman3(t testing.TB, dir string, mails iter.Seq[Mail], clobber bool) *Mailman3Tree {
	t.Helper()
	need.Root(t)
	need.Program(t, "mailman")
	posts := filepath.Join(dir, "posts")
	if err := errors.Join(os.RemoveAll(posts), os.MkdirAll(posts, 0o755)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range mails {
		if err := os.WriteFile(filepath.Join(posts, fmt.Sprintf("%08d", n)), m.Raw, 0o644); err != nil {
			t.Fatal(err)
		}
		n++
	}
	how := "never"
	if clobber {
		how = "maybe"
	}
	for name, text := range map[string]string{"mailman3.py": string(mailman3Script), "mailman.cfg": fmt.Sprintf(mailman3Config, dir, how)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	GiveToList(t, dir)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	cmd := AsList(t, exec.CommandContext(ctx, need.Program(t, "mailman"), "-C", filepath.Join(dir, "mailman.cfg"), "shell", "--run", "mailman3.post", List, posts))
	cmd.Env = append(cmd.Env, "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	var names map[string]string
	if out := output(t, cmd); json.Unmarshal(out, &names) != nil {
		t.Fatalf("mailman says %q", out)
	}
	tree := &Mailman3Tree{Var: filepath.Join(dir, "var"), Files: map[int]string{}}
	tree.Dir = filepath.Join(tree.Var, "archives/prototype", List)
	for name, file := range names {
		i, err := strconv.Atoi(name)
		if err != nil {
			t.Fatal(err)
		}
		tree.Files[i] = file
	}
	return tree
}

// mailman3Config is for an instance below the directory %[1]s; %[2]s is clobber_date.
const mailman3Config = `[mailman]
site_owner: postmaster@example.org
layout: test
[paths.test]
var_dir: %[1]s/var
etc_dir: %[1]s
bin_dir: /usr/lib/mailman3/bin
pid_file: %[1]s/var/master.pid
[mta]
incoming: mailman.mta.null.NullMTA
[database]
url: sqlite:///%[1]s/var/mailman.db
[archiver.prototype]
enable: yes
clobber_date: %[2]s
[archiver.hyperkitty]
enable: no
[archiver.mhonarc]
enable: no
[archiver.mail_archive]
enable: no
`
