package archive

import (
	"context"
	"html"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/need"
)

// MHonArcOptions say how MHonArc is called.
type MHonArcOptions struct {
	Named bool // attachments are msgNNNNN/NAME by the names that they have in the mail, in place of random names in the directory
}

// MHonArcTree is what MHonArc made in a directory.
type MHonArcTree struct {
	Pages map[string]string // file, such as "msg00003.html" -> the Message-ID that it shows
	Files []string          // attachments
	Other []string          // maillist.html, threads.html, .mhonarc.db
}

var shownID = regexp.MustCompile(`(?m)^<!--X-Message-Id: (.*) -->$`)

// MHonArc makes pages of the mbox in the directory out by Debian's mhonarc, with its defaults otherwise, which are one flat directory.
// It takes a quarter of a second and 1.5 ms a mail.
//
// What MHonArc 2.6.19 does (measured by the test):
//   - Of several mails with one Message-ID it shows the first only. A mail without one is shown under MD5@NO-ID-FOUND.mhonarc.org.
//   - Like go-mbox and Python it begins a message at each line "From ", address and date or not, empty line before it or not. The
//     rest of the mail is a page of its own then, without ID, author or date. Its resource MSGSEP, '^From ', can be stricter.
//   - The Message-ID is in a comment at the top, with "-" and "&" as &#45; and &#38;. Pages keep NUL bytes.
//   - Attachments are decoded, byte for byte; an empty one is an empty file. HTML and messages become part of the page.
//   - Made again, pages and indexes are the same bytes if there is no attachment; those have other names each time. With Named the
//     pages are the same with attachments too, but two of one name in a mail become one file: the last.
//   - .mhonarc.db lists the same in another order each time, unless PERL_HASH_SEED is 0.
func MHonArc(t testing.TB, mbox, out string, o MHonArcOptions) *MHonArcTree {
	t.Helper()
	program := need.Program(t, "mhonarc")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"-quiet", "-umask", "022", "-outdir", out}
	if o.Named {
		resources := filepath.Join(t.TempDir(), "named.mrc")
		if err := os.WriteFile(resources, []byte("<MIMEArgs>\nm2h_external::filter; subdir usename\n</MIMEArgs>\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-rcfile", resources)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	output(t, exec.CommandContext(ctx, program, append(args, mbox)...))
	tree := &MHonArcTree{Pages: map[string]string{}}
	err := filepath.WalkDir(out, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(out, name)
		switch {
		case strings.HasPrefix(rel, "msg") && strings.HasSuffix(rel, ".html"):
			b, err := os.ReadFile(name)
			if m := shownID.FindSubmatch(b); m != nil {
				tree.Pages[rel] = html.UnescapeString(string(m[1]))
			}
			return err
		case slices.Contains([]string{"maillist.html", "threads.html", ".mhonarc.db"}, rel):
			tree.Other = append(tree.Other, rel)
		default:
			tree.Files = append(tree.Files, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
