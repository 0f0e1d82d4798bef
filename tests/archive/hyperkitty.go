package archive

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rplan/tests/need"
)

//go:embed export.py
var exportScript []byte

// HyperKitty imports the mbox into a new database of Debian's HyperKitty below dir, by its own hyperkitty_import, and
// returns the path of what its export view serves for dev@lists.example.org, an mbox.gz. It takes about two seconds and
// 20 ms a mail, and leaves no process.
//
// An export of HyperKitty 1.3.7 is no copy of what went in (measured by the test):
//   - Each message begins "From ADDRESS DATE", with one space, and ends with two empty lines; "From " in texts is ">From ".
//   - The header is From, To (the list), Subject, Date, Message-ID, In-Reply-To; Received and all else is gone.
//   - Message-ID is kept, up to a space in it. Mails without one get one that ends in ".generated@localhost". Of several
//     mails with one Message-ID only the first is there, whatever the others say.
//   - Date is the same instant; where Python cannot read it (30 Feb, foreign months, asctime, none) it is that of the From_ line.
//   - The text is the first part of a multipart/mixed, always; "@" in it is "(a)", NUL bytes are gone.
//   - Attachments come back byte for byte, HTML and messages too, but for empty ones, which are gone, and texts without a
//     charset, whose bytes beyond ASCII are U+FFFD.
func HyperKitty(t testing.TB, dir, mbox string) (export string) {
	t.Helper()
	need.Program(t, "/usr/bin/python3")
	need.File(t, "/usr/lib/python3/dist-packages/hyperkitty")
	script := filepath.Join(dir, "export.py")
	export = filepath.Join(dir, List+".mbox.gz")
	if err := os.WriteFile(script, exportScript, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	output(t, exec.CommandContext(ctx, "/usr/bin/python3", "-B", script, filepath.Join(dir, "db.sqlite3"), mbox, List, export))
	return export
}
