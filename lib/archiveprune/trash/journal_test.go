package trash

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// samples are a record of each kind, with the path that may be a trap.
func samples(p string) []record {
	id := identity{12, -34, 56, false}
	return []record{
		{verb: magic, at: began, path: p}, {verb: "dir", path: p}, {verb: "sift", path: p}, {verb: "file", identity: id, path: p}, {verb: "link", identity: identity{id.size, id.mtime, id.inode, true}, path: p},
		{verb: "begun", files: 1, bytes: 2}, {verb: "exchange", path: p}, {verb: "replace", identity: id, new: content{78, sha256.Sum256(nil), 9}, path: p},
		{verb: "copy", identity: id, path: p}, {verb: "late", identity: identity{size: 90}, new: content{size: 80}, path: p}, {verb: "grown", identity: id, path: p}, {verb: "ended", files: 1, bytes: 2}, {verb: "undo"}, {verb: "restored", identity: identity{inode: 7}, path: p}, {verb: "empty"},
	}
}

func TestRecordsAreReadAsWritten(t *testing.T) {
	for _, p := range []string{"a", "a/b c", "new\nline", "quo\"te\\", "latin-\xe4", "\xff/\xfe", "ü", "\x1b\x00"[:1], ".rplanx/a", "..."} {
		for _, r := range samples(p) {
			line := string(r.append(nil))
			got, err := parse(strings.TrimSuffix(line, "\n"))
			if err != nil || got != r || strings.Count(line, "\n") != 1 {
				t.Errorf("%q is read as %+v, %v", line, got, err)
			}
		}
	}
}

func TestTrapsAreNoRecords(t *testing.T) {
	for _, p := range []string{"", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "./a", "a/", "a\x00b", ours, ours + "/lock", ours + "/trash/x", strings.Repeat("a", 5000)} {
		for _, r := range samples(p) {
			line := strings.TrimSuffix(string(r.append(nil)), "\n")
			if got, err := parse(line); err == nil && fields[r.verb].path {
				t.Errorf("%.200q is read as %.200v", line, got)
			}
		}
	}
	for _, line := range []string{"", "file", "file 1 2 3", "file 1 2 \"a\"", "file -1 2 3 \"a\"", "file 1 2 -3 \"a\"", "file 1 2 3 a", "file 1 2 3 'a'", "file 1 2 3 `a`", "file 1 2 3 \"a\" \"b\"",
		"file 1 2 3 \"a", "file 99999999999999999999 2 3 \"a\"", "undo now", "undo \"a\"", "begun 1", "begun 1 2 3", "begun 1 -2", "remove \"a\"", "rplan-trash 1", "rplan-trash 1 today \"l\"", "rplan-trash 2 2026-11-26T18:25:33Z \"l\"",
		"replace 1 2 3 4 00 5 \"a\"", "restored \"a\""} {
		if got, err := parse(line); err == nil {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

// FuzzRecord: what is taken for a record is written back as one that says the same, and names nothing outside the tree.
func FuzzRecord(f *testing.F) {
	for _, r := range samples("dev/l\xe4tin\n.html") {
		f.Add(strings.TrimSuffix(string(r.append(nil)), "\n"))
	}
	f.Add("file 1 2 3 \"../../etc/passwd\"")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parse(line)
		if err != nil {
			return
		}
		again, err := parse(strings.TrimSuffix(string(r.append(nil)), "\n"))
		if !again.at.Equal(utc(r.at)) {
			t.Errorf("%q: %v, then %v", line, r.at, again.at)
		}
		again.at, r.at = time.Time{}, time.Time{}
		if err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", line, r, again, err)
		}
		if fields[r.verb].path {
			if root, err := filepath.Rel("/tree", filepath.Join("/tree", r.path)); err != nil || root != r.path || root == ".." || strings.HasPrefix(root, "../") ||
				strings.ContainsRune(r.path, 0) || root == ours || strings.HasPrefix(root, ours+"/") || root == "." {
				t.Errorf("%q names %q", line, r.path)
			}
		}
	})
}

// FuzzJournal: whatever is in a journal, and in the trash by its side, nothing outside of both changes but what the undo brings.
func FuzzJournal(f *testing.F) {
	head := string(record{verb: magic, at: began, path: list}.append(nil))
	all := head
	for _, r := range samples("dev/index.html")[1:] {
		all += string(r.append(nil))
		f.Add(head + string(r.append(nil)))
	}
	f.Add(all)
	f.Add(all + "torn \"li")
	f.Add(head + "file 1 2 3 \"../../../../outside\"\n")
	f.Add("")
	s := &scene{TB: f, dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, journal string) {
		s.TB = t
		s.put("outside/file", "outside")
		s.put("outside/tree/dev/index.html", "index")
		s.put("outside/tree/dev/stays.html", "stays")
		run := "outside/tree/.rplan/trash/run/"
		s.put(run+"files/dev/index.html", "older")
		s.put(run+"files/dev/gone.html", "gone")
		s.put(run+"old/dev/index.html", "oldest")
		s.put(run+"sift/index.html", "sifted")
		s.put(run+"journal", journal)
		s.ok(os.Chmod(s.at("outside/tree/.rplan/trash"), 0o700))
		tree, err := Open(s.at("outside/tree"))
		s.ok(err)
		_, _ = tree.Lock(t.Context())
		_, _ = tree.Undo(t.Context(), each)
		_, _ = tree.Empty(t.Context(), began.Add(1), anyRun, nil)
		tree.Close()
		if s.read("outside/file") != "outside" || s.read("outside/tree/dev/stays.html") != "stays" || s.read("outside/tree/dev/index.html") != "index" {
			t.Error("what was there is another")
		}
		s.ok(filepath.WalkDir(s.at("outside"), func(at string, e fs.DirEntry, err error) error {
			p, _ := filepath.Rel(s.at("outside"), at)
			if err == nil && !e.IsDir() && p != "file" && !strings.HasPrefix(p, "tree/dev/") && !strings.HasPrefix(p, "tree/.rplan/") {
				t.Errorf("%s is there", p)
			}
			return err
		}))
		s.ok(os.RemoveAll(s.at("outside")))
	})
}

// A line of which a killed run wrote only half is none.
func TestTornLine(t *testing.T) {
	s := quickScene(t)
	s.run()
	p := ".rplan/trash/20261126T182533Z-" + list + "/journal"
	s.append(p, `replace 1 2 3 4 "dev.mb`)
	s.undo()
	s.is(s.before)
}
