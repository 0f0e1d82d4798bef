package cdb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/tests/need"
)

// output runs a program and returns what it wrote on stdout.
func output(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", argv, err, stderr.Bytes())
	}
	return string(out)
}

// lines joins the rows as a program prints them.
func (r rows) lines(format string) string {
	var b strings.Builder
	for i := 0; i < len(r); i += 2 {
		fmt.Fprintf(&b, format, r[i], r[i+1])
	}
	return b.String()
}

// postmap returns a postmap(1) command with a configuration that needs no
// network. It is dated back, because Postfix reads a main.cf again and again
// for two seconds in case its author is not done.
func postmap(t *testing.T) []string {
	t.Helper()
	program := need.Program(t, "postmap")
	need.File(t, "/usr/lib/postfix/postfix-cdb.so")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.cf":        "compatibility_level = 3.6\ninet_interfaces = 127.0.0.1\n",
		"dynamicmaps.cf": "cdb postfix-cdb.so dict_cdb_open mkmap_cdb_open\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "main.cf"), past, past); err != nil {
		t.Fatal(err)
	}
	return []string{program, "-c", dir}
}

func TestPostfixReadsOurs(t *testing.T) {
	r, postmap := numbered(5000), postmap(t)
	table := "cdb:" + strings.TrimSuffix(r.file(t), ".cdb")
	if got := output(t, "", append(postmap, "-q", r[0], table)...); got != r[1]+"\n" {
		t.Errorf("postmap -q %s prints %q, want %q", r[0], got, r[1])
	}
	var keys strings.Builder
	for i := 0; i < len(r); i += 2 {
		fmt.Fprintf(&keys, "%s\nabsent%d@example.org\n", r[i], i)
	}
	if got := output(t, keys.String(), append(postmap, "-q", "-", table)...); got != r.lines("%s\t%s\n") {
		t.Errorf("postmap -q - prints %d bytes that are not our rows", len(got))
	}
}

func TestWeReadPostfix(t *testing.T) {
	r, postmap := numbered(5000), postmap(t)
	path := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(path, []byte(r.lines("%s %s\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "", append(postmap, "cdb:"+path)...)
	r.check(t, open(t, path+".cdb"))
}

func TestTinycdbReadsOurs(t *testing.T) {
	r := append(numbered(5000), "", "empty key", "empty value", "", "a\x00b", "\n->+1,1:")
	cdb, path := need.Program(t, "cdb"), r.file(t)
	if got := output(t, "", cdb, "-d", path); got != r.native() {
		t.Errorf("cdb -d prints %d bytes that are not our rows", len(got))
	}
	if got := output(t, "", cdb, "-q", path, r[2]); got != r[3] {
		t.Errorf("cdb -q %s prints %q, want %q", r[2], got, r[3])
	}
}

// From the same rows tinycdb makes the same bytes.
func TestTinycdbWritesTheSame(t *testing.T) {
	cdb := need.Program(t, "cdb")
	for _, n := range []int{0, 1, 7, 50_000} {
		r, path := numbered(n), filepath.Join(t.TempDir(), "their.cdb")
		output(t, r.native(), cdb, "-c", path)
		theirs, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(r.file(t))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%d rows: the files differ (%d bytes, tinycdb: %d)", n, len(ours), len(theirs))
		}
		r.check(t, open(t, path))
	}
}

// native writes the rows in cdb(1)'s own notation.
func (r rows) native() string {
	var b strings.Builder
	for i := 0; i < len(r); i += 2 {
		fmt.Fprintf(&b, "+%d,%d:%s->%s\n", len(r[i]), len(r[i+1]), r[i], r[i+1])
	}
	return b.String() + "\n"
}
