package mbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/tests/need"
)

var formats = []Format{Gzip, Zstd}

// unpack is what the format's own program reads in a file.
func unpack(t *testing.T, path string, f Format) string {
	t.Helper()
	cmd := exec.Command(need.Program(t, string(f)), "-dc", path)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", f, err, &stderr)
	}
	return out.String()
}

// packAt is Pack for a path.
func packAt(path string, mode fs.FileMode, f Format, src io.ReaderAt, ranges []Range) (Packed, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return Packed{}, err
	}
	defer dir.Close()
	return Pack(dir, filepath.Base(path), Like{mode, os.Geteuid(), os.Getegid()}, f, src, ranges)
}

func pack(t *testing.T, path string, f Format, src string, ranges ...Range) Packed {
	t.Helper()
	p, err := packAt(path, 0o640, f, strings.NewReader(src), ranges)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || p.After != info.Size() || p.Messages != len(ranges) || p.Path != path {
		t.Errorf("%+v, and the file is %v, %v", p, info, err)
	}
	return p
}

func TestPack(t *testing.T) {
	const a, b, c = "From a\n\nfirst\n\n", "From b\n\nsecond\r\n\r\n", "From c\n\nthird, without end"
	const src = a + b + c
	ra, rb, rc := Range{0, int64(len(a))}, Range{int64(len(a)), int64(len(a + b))}, Range{int64(len(a + b)), int64(len(src))}
	for _, f := range formats {
		path := filepath.Join(t.TempDir(), "2020-01.mbox"+f.Ext())
		steps := []struct {
			ranges []Range
			want   string
		}{
			{[]Range{ra, rc}, a + c},
			{[]Range{rb}, a + c + "\n\n" + b},
			{[]Range{ra, ra}, a + c + "\n\n" + b + a + a},
			{[]Range{rc, ra}, a + c + "\n\n" + b + a + a + c + "\n\n" + a},
		}
		before := int64(0)
		for _, s := range steps {
			p := pack(t, path, f, src, s.ranges...)
			if got := unpack(t, path, f); got != s.want || p.Before != before || p.Already {
				t.Errorf("%s %v: %q, want %q; %+v", f, s.ranges, got, s.want, p)
			}
			before = p.After
			// An interrupted run does it again.
			if p := pack(t, path, f, src, s.ranges...); !p.Already || p.Before != before || p.After != before {
				t.Errorf("%s %v: the second time it is %+v", f, s.ranges, p)
			}
		}
		pack(t, path, f, src)
		if got := unpack(t, path, f); got != steps[3].want {
			t.Errorf("%s: after nothing was added: %q", f, got)
		}
	}
}

func TestPackMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gz")
	pack(t, path, Gzip, "a", Range{0, 1})
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Errorf("the mode is %v", info.Mode())
	}
	os.Chmod(path, 0o600)
	pack(t, path, Gzip, "b", Range{0, 1})
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("the mode became %v", info.Mode())
	}
}

// What the formats' own programs wrote is added to, and what is damaged stays as it is.
func TestPackOldFile(t *testing.T) {
	for _, f := range formats {
		dir := t.TempDir()
		text, path := filepath.Join(dir, "m"), filepath.Join(dir, "m"+f.Ext())
		if err := os.WriteFile(text, []byte("From x\n\nold\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(need.Program(t, string(f)), text).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pack(t, path, f, "From y\n", Range{0, 7})
		if got := unpack(t, path, f); got != "From x\n\nold\n\nFrom y\n" {
			t.Errorf("%s: %q", f, got)
		}
		added, _ := os.ReadFile(path)
		if !bytes.HasPrefix(added, whole) {
			t.Errorf("%s: what was there is written anew", f)
		}
		for name, damaged := range map[string][]byte{
			"truncated": whole[:len(whole)-3],
			"foreign":   []byte("no such thing"),
			"followed":  append(bytes.Clone(whole), "rubbish"...),
		} {
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := packAt(path, 0o640, f, strings.NewReader("From y\n"), []Range{{0, 7}})
			want := fmt.Sprintf("cannot add to %q: ", path)
			if diag.KindOf(err) != diag.BadData || !strings.HasPrefix(err.Error(), want) || diag.HintOf(err) == "" {
				t.Errorf("%s, %s: %v", f, name, err)
			}
			if now, _ := os.ReadFile(path); !bytes.Equal(now, damaged) {
				t.Errorf("%s, %s: it was changed", f, name)
			}
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		pack(t, path, f, "From y\n", Range{0, 7})
		if got := unpack(t, path, f); got != "From y\n" {
			t.Errorf("%s: to an empty file: %q", f, got)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o644), os.Symlink("theirs", link), os.Mkdir(filepath.Join(dir, "dir"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]diag.Kind{
		link:                      diag.CantCreate,
		filepath.Join(dir, "dir"): diag.CantCreate,
	} {
		if _, err := packAt(path, 0o640, Gzip, strings.NewReader("a"), []Range{{0, 1}}); diag.KindOf(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	path := filepath.Join(dir, "m")
	if _, err := packAt(path, 0o640, "lzma", strings.NewReader("a"), []Range{{0, 1}}); diag.KindOf(err) != diag.Config {
		t.Errorf("an unknown format: %v", err)
	}
	if _, err := packAt(path, 0o640, Gzip, strings.NewReader("a"), []Range{{0, 2}}); diag.KindOf(err) != diag.TryAgain {
		t.Errorf("an mbox that got shorter: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file all the same")
	}
}

// Ten years of months, each with mail that was in the file before.
func TestPackAll(t *testing.T) {
	const months = 120
	dir, src := t.TempDir(), strings.Repeat("From a\n\n0123456789\n\n", months)
	size := int64(len(src) / months)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, f := range formats {
		files := map[string][]Range{}
		for i := range int64(months) {
			name := fmt.Sprintf("%d-%02d.mbox%s", 1990+i/12, i%12+1, f.Ext())
			files[name] = []Range{{i * size, (i + 1) * size}}
		}
		for range 2 {
			done, err := PackAll(root, files, Like{0o640, os.Geteuid(), os.Getegid()}, f, strings.NewReader(src))
			if err != nil || len(done) != months {
				t.Fatalf("%s: %d are packed, %v", f, len(done), err)
			}
		}
		last := filepath.Join(dir, "1999-12.mbox"+f.Ext())
		if got := unpack(t, last, f); got != src[:size] {
			t.Errorf("%s: the last month is %q", f, got)
		}
		if err := os.Mkdir(filepath.Join(dir, "0"+f.Ext()), 0o755); err != nil {
			t.Fatal(err)
		}
		files["0"+f.Ext()] = []Range{{0, 1}}
		if done, err := PackAll(root, files, Like{0o640, os.Geteuid(), os.Getegid()}, f, strings.NewReader(src)); err == nil || len(done) != 0 {
			t.Errorf("%s: with one that cannot be packed: %d, %v", f, len(done), err)
		}
	}
}

// Whatever the ranges are, what is packed is what was there, then they, and between them what keeps them apart.
func FuzzPack(f *testing.F) {
	f.Add([]byte("From a\n\nb\n"), []byte{0, 0, 3, 0, 5, 0, 6, 0}, uint8(4))
	f.Add([]byte("\n\n\r\n\n"), []byte{0, 0, 1, 0, 1, 0, 3, 0, 2, 0, 5, 0}, uint8(8))
	f.Fuzz(func(t *testing.T, src, spec []byte, first uint8) {
		n := int64(len(src))
		var list []Range
		for _, r := range ranges(spec) {
			if r.Start >= 0 && r.Start <= r.End && r.End <= n && len(list) < 20 {
				list = append(list, r)
			}
		}
		for _, format := range formats {
			path := filepath.Join(t.TempDir(), "m")
			half := min(int(first), len(list))
			var want []byte
			for _, part := range [][]Range{list[:half], list[half:]} {
				p, err := packAt(path, 0o640, format, bytes.NewReader(src), part)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range part[len(part)-p.Messages:] { // the first may have been there
					if !p.Already && p.Bytes > 0 {
						want = append(append(want, gap(want)...), src[r.Start:r.End]...)
					}
				}
			}
			got := readAll(t, path, format)
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: %q, want %q", format, got, want)
			}
		}
	})
}

func readAll(t *testing.T, path string, f Format) []byte {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	z, err := decompress(bytes.NewReader(b), f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What an interrupted run has left is not added again, also if more has come since, or addresses were taken out there.
func TestPackAfterAnInterruptedRun(t *testing.T) {
	message := func(id, received, end string) string {
		return "From a@example.org  Thu Jan  1 00:00:00 2015\nReceived: from [" + received + "] by mx.example.org\nMessage-ID: <" + id + ">\n\n" + id + end
	}
	const ip = "198.51.100.7"
	a, b, c := message("a", ip, "\n\n"), message("b", ip, "\n"), message("c", ip, "\n\n")
	scrubbed := message("b", Scrubbed, "\n\n")
	for name, x := range map[string]struct {
		there string
		come  []string
		want  string
		added int
	}{
		"nothing came":        {a + b, []string{a, b}, a + b, 0},
		"one came":            {a + b, []string{a, b, c}, a + b + "\n" + c, 1},
		"the first is older":  {a + b, []string{b, c}, a + b + "\n" + c, 1},
		"scrubbed there":      {a + scrubbed, []string{b, c}, a + scrubbed + c, 1},
		"scrubbed since":      {a + b, []string{scrubbed, c}, a + b + "\n" + c, 1},
		"other ones":          {a + b, []string{c, a}, a + b + "\n" + c + a, 2},
		"only the first":      {a + b, []string{a, c}, a + b + "\n" + a + c, 2},
		"the second of two":   {a + a, []string{a, a, b}, a + a + b, 1},
		"more than there are": {a, []string{a, a}, a + a, 1},
	} {
		for _, f := range []Format{Gzip, Zstd} {
			path := filepath.Join(t.TempDir(), "month")
			pack(t, path, f, x.there, Range{0, int64(len(x.there))})
			src, ranges := "", []Range(nil)
			for _, m := range x.come {
				ranges = append(ranges, Range{int64(len(src)), int64(len(src) + len(m))})
				src += m
			}
			p, err := packAt(path, 0o640, f, strings.NewReader(src), ranges)
			if got := string(readAll(t, path, f)); err != nil || got != x.want {
				t.Errorf("%s, %s: %v, %q, not %q", name, f, err, got, x.want)
			}
			if n := p.Messages; !p.Already && n != x.added || p.Already != (x.added == 0) {
				t.Errorf("%s, %s: %+v, not %d added", name, f, p, x.added)
			}
		}
	}
}

// A new file is as it is told to be.
func TestPackGivesFiles(t *testing.T) {
	need.Root(t)
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := Pack(root, "month", Like{0o664, 38, 39}, Zstd, strings.NewReader("From a\n"), []Range{{0, 7}}); err != nil {
		t.Fatal(err)
	}
	info, err := root.Stat("month")
	if err != nil || LikeFile(info) != (Like{0o664, 38, 39}) {
		t.Errorf("%+v, %v", LikeFile(info), err)
	}
}
