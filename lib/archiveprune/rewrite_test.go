package archiveprune

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/tests/archive"
)

// shelf is a tree with an archive of the list dev, whose truth is known.
type shelf struct {
	t     *testing.T
	top   string // the tree
	conf  string
	now   time.Time
	mails []archive.Mail
	whole []byte  // the mbox as it was
	start []int64 // of each mail in it
	mbox  string  // its path
}

// shelfNow is today in these tests, but for those that need the real one.
var shelfNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// tenYears makes ordinary mails, and each wart once in so many rounds, over ten years up to 2025.
func tenYears(seed uint64, rounds int) archive.Make {
	n := 2 * rounds * len(archive.Warts())
	return archive.Make{Seed: seed, N: n, Text: 300, Start: time.Date(2015, 1, 3, 10, 0, 0, 0, time.UTC), Every: 3900 * 24 * time.Hour / time.Duration(n)}
}

// newShelf is a tree of Mailman 2.
func newShelf(t *testing.T, m archive.Make, o archive.PipermailOptions) *shelf {
	t.Helper()
	dir := t.TempDir()
	mails := slices.Collect(m.Mails())
	tree, err := archive.Pipermail(dir, "dev", slices.Values(mails), o)
	if err != nil {
		t.Fatal(err)
	}
	s := bareShelf(t, filepath.Join(dir, "archives/private"))
	s.mails, s.mbox = mails, filepath.Join(dir, tree.Mbox)
	var b bytes.Buffer
	if s.start, err = archive.WriteMbox(&b, slices.Values(mails), o.Quoting); err != nil {
		t.Fatal(err)
	}
	if s.whole = b.Bytes(); !bytes.Equal(s.whole, s.read(s.mbox)) {
		t.Fatal("the mbox is not of these mails")
	}
	return s
}

// bareShelf is a tree that something else makes.
func bareShelf(t *testing.T, top string) *shelf {
	s := &shelf{t: t, top: top, conf: filepath.Join(t.TempDir(), "rplan.toml"), now: shelfNow}
	s.configure()
	return s
}

// configure writes rplan.toml: pages are kept, as far as a test does not say otherwise.
func (s *shelf) configure(lines ...string) {
	s.t.Helper()
	text := fmt.Sprintf("[archive]\ntrees = [%q]\nkeep-html = \"forever\"\n%s\n", s.top, strings.Join(lines, "\n"))
	if err := os.WriteFile(s.conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run is one call of the command.
func (s *shelf) run(o Options) (stdout, stderr string, err error) {
	s.t.Helper()
	var out, errs bytes.Buffer
	env := &app.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return s.now }}
	o.Config = s.conf
	if o.TrashDays == 0 && !o.Undo && !o.Rebuild {
		o.TrashDays = AsConfigured
	}
	err = Run(context.Background(), env, o)
	return out.String(), errs.String(), err
}

// do is a call that has to go well, and what it reports with --json.
func (s *shelf) do(o Options) *Result {
	s.t.Helper()
	r, err := s.attempt(o)
	if err != nil {
		s.t.Fatalf("%+v: %v", o, err)
	}
	return r
}

// attempt is do of what may fail.
func (s *shelf) attempt(o Options) (*Result, error) {
	s.t.Helper()
	o.JSON = true
	stdout, stderr, failed := s.run(o)
	if stderr != "" {
		s.t.Fatalf("%+v: %v\n%s", o, failed, stderr)
	}
	var all []*Result
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all) != 1 {
		s.t.Fatalf("%v: %s", err, stdout)
	}
	return all[0], failed
}

func (s *shelf) undo() {
	s.t.Helper()
	if _, stderr, err := s.run(Options{Undo: true, TrashDays: AsConfigured}); err != nil || stderr != "" {
		s.t.Fatalf("undo: %v\n%s", err, stderr)
	}
}

// read is the content of a file, decompressed.
func (s *shelf) read(p string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(p)
	if err == nil && path.Ext(p) == ".zst" {
		d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		b, err = d.DecodeAll(b, nil)
		d.Close()
	} else if err == nil && path.Ext(p) == ".gz" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			b, err = io.ReadAll(z)
		}
	}
	if err != nil {
		s.t.Fatalf("%s: %v", p, err)
	}
	return b
}

// bytesOf are those of mail i in the mbox.
func (s *shelf) bytesOf(i int) []byte {
	if i+1 < len(s.start) {
		return s.whole[s.start[i]:s.start[i+1]]
	}
	return s.whole[s.start[i]:]
}

// dated is when mail i was written, as far as it says. RFC 5322 does not have the form of asctime(3), and it is read.
func (s *shelf) dated(i int) (time.Time, bool) {
	m := s.mails[i]
	if m.Wart == "asctime date" {
		return m.Arrived, true
	}
	return m.Date, !m.Date.IsZero() && m.Date.Before(s.now.AddDate(0, 0, 1))
}

// sure says whether nobody can doubt where mail i begins and ends: Mailman 2 leaves no empty line after a mail without a final newline.
func (s *shelf) sure(i int) bool {
	cut := func(i int) bool { return i >= 0 && !bytes.HasSuffix(s.mails[i].Raw, []byte("\n")) }
	return !cut(i) && !cut(i-1)
}

// olderThan are the mails that may go, as they are older than a moment.
func (s *shelf) olderThan(moment time.Time) map[int]bool {
	old := map[int]bool{}
	for i := range s.mails {
		if at, ok := s.dated(i); ok && s.sure(i) && at.Before(moment) {
			old[i] = true
		}
	}
	return old
}

// without are the bytes of the mbox but for those of some mails.
func (s *shelf) without(gone map[int]bool) []byte {
	var b []byte
	for i := range s.mails {
		if !gone[i] {
			b = append(b, s.bytesOf(i)...)
		}
	}
	return b
}

// same fails unless a file has exactly these bytes.
func (s *shelf) same(what, file string, want []byte) {
	s.t.Helper()
	got := s.read(file)
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	s.t.Fatalf("%s: %s has %d bytes instead of %d; at %d it has %.80q instead of %.80q", what, filepath.Base(file), len(got), len(want), at, got[at:], want[at:])
}

// state are all files of the tree but rplan's own, with their content and age.
func (s *shelf) state() map[string]string {
	s.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(s.top, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == ".rplan" {
			return filepath.SkipDir
		}
		if e.Type().IsRegular() {
			info, err := e.Info()
			if err != nil {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(s.top, p)
			files[rel] = fmt.Sprintf("%x %s", sha256.Sum256(b), info.ModTime())
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// names are the files of a state, sorted.
func names(state map[string]string) (list []string) {
	for name := range state {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// errand is what a victim is to do.
type errand struct {
	Options
	Now                time.Time
	LockWait, Settling time.Duration // 0 is as usual
}

// In this process nobody waits long for an mbox that has changed, so nothing comes late to one. A victim takes the time that the command takes.
func init() {
	if os.Getenv("REWRITE_ERRAND") == "" {
		settling = 10 * time.Millisecond
	}
}

// TestRewriteVictim is the process that is killed, or that runs beside others: it is one call of the command.
func TestRewriteVictim(t *testing.T) {
	text := os.Getenv("REWRITE_ERRAND")
	if text == "" {
		return // an ordinary run
	}
	runtime.LockOSThread()
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	if e.LockWait > 0 {
		lockWait = e.LockWait
	}
	if e.Settling > 0 {
		settling = e.Settling
	}
	env := &app.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: func() time.Time { return e.Now }}
	err := Run(context.Background(), env, e.Options)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\nhint: %s\n", err, diag.HintOf(err))
	}
	os.Exit(diag.ExitCode(err))
}

// victim is a call of the command as a process, perhaps under another program.
func (s *shelf) victim(e errand, under ...string) *exec.Cmd {
	s.t.Helper()
	e.Config, e.Now = s.conf, s.now
	if e.TrashDays == 0 {
		e.TrashDays = AsConfigured
	}
	text, err := json.Marshal(e)
	if err != nil {
		s.t.Fatal(err)
	}
	args := append(slices.Clone(under), os.Args[0], "-test.run=^TestRewriteVictim$")
	cmd := exec.Command(args[0], args[1:]...)
	// Without httxt2dbm, which would take the most time.
	cmd.Env = append(os.Environ(), "REWRITE_ERRAND="+string(text), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1", "PATH=/nowhere")
	return cmd
}
