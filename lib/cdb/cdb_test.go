package cdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/lib/diag"
)

// rows are what a test puts: key, value, key, value.
type rows []string

// numbered makes n rows.
func numbered(n int) (r rows) {
	for i := range n {
		r = append(r, fmt.Sprintf("user%d@example.org", i), fmt.Sprintf("n%d_n%d", i%5, i%7))
	}
	return r
}

func (r rows) writeTo(t testing.TB, file io.WriteSeeker) {
	t.Helper()
	w := NewWriter(file)
	for i := 0; i < len(r); i += 2 {
		if err := w.Put(r[i], r[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// file makes a cdb of the rows and returns its path.
func (r rows) file(t testing.TB) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "t.cdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r.writeTo(t, f)
	return f.Name()
}

func open(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func openBytes(data []byte) (*Reader, error) {
	r := &Reader{name: "bytes", file: bytes.NewReader(data)}
	return r, r.readHeader(int64(len(data)))
}

func collect(r *Reader) (got rows, err error) {
	for row, err := range r.Rows() {
		if err != nil {
			return got, err
		}
		got = append(got, string(row.Key), string(row.Value))
	}
	return got, nil
}

// check reads the rows back, in order and by key.
func (r rows) check(t *testing.T, reader *Reader) {
	t.Helper()
	got, err := collect(reader)
	if err != nil || !slices.Equal(got, r) {
		t.Errorf("Rows gave %d strings and %v, want the %d that were put", len(got), err, len(r))
	}
	for i := 0; i < len(r); i += 2 {
		value, found, err := reader.Get(r[i])
		if err != nil || !found || string(value) != r[i+1] {
			t.Fatalf("Get(%q) = %q, %v, %v, want %q", r[i], value, found, err, r[i+1])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	big := strings.Repeat("x", 3*bufferSize)
	for name, r := range map[string]rows{
		"empty":       {},
		"one":         {"alice@example.org", "n1_n2"},
		"empty key":   {"", "v", "k", ""},
		"zero bytes":  {"a\x00", "\x00", "a", "b"},
		"equal hash":  {"bC", "1", "cb", "2"},
		"wraps round": wrapping(),
		"big":         {"a", big, big, "b", "c", "d"},
		"many":        numbered(20_000),
	} {
		t.Run(name, func(t *testing.T) { r.check(t, open(t, r.file(t))) })
	}
}

// wrapping makes rows that all want the last slot of one hash table.
func wrapping() (r rows) {
	for i := 0; len(r) < 8; i++ {
		key := fmt.Sprint(i)
		if h := hash(key); h%tables == 7 && h/tables%8 == 7 {
			r = append(r, key, "v")
		}
	}
	return r
}

func TestGetAbsent(t *testing.T) {
	r := open(t, append(numbered(1000), "bC", "1").file(t))
	for _, key := range []string{"", "absent", "user1@example.or", "user1@example.orgx", "USER1@example.org", "cb"} {
		if value, found, err := r.Get(key); found || err != nil {
			t.Errorf("Get(%q) = %q, %v, %v, want nothing", key, value, found, err)
		}
	}
}

func TestFirstOfEqualKeysIsFound(t *testing.T) {
	r := open(t, rows{"k", "first", "k", "second"}.file(t))
	if value, _, err := r.Get("k"); string(value) != "first" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

func TestRowsCanStop(t *testing.T) {
	n := 0
	for _, err := range open(t, numbered(10).file(t)).Rows() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d rows", n)
	}
}

// A row that is appended to must not run into its neighbour.
func TestRowsAreApart(t *testing.T) {
	for row := range open(t, rows{"key", "value"}.file(t)).Rows() {
		if _ = append(row.Key, "XX"...); string(row.Value) != "value" {
			t.Errorf("the value became %q", row.Value)
		}
	}
}

// sink takes what is written and fails once it has had limit bytes.
type sink struct{ size, limit int64 }

var errFull = errors.New("full")

func (s *sink) Seek(int64, int) (int64, error) { return 0, nil }

func (s *sink) Write(b []byte) (int, error) {
	if s.size += int64(len(b)); s.size > s.limit {
		return 0, errFull
	}
	return len(b), nil
}

func TestTooLarge(t *testing.T) {
	out := &sink{limit: 1 << 40}
	w := NewWriter(out)
	value := strings.Repeat("\x00", 8<<20)
	n := 0
	var err error
	for ; err == nil; n++ {
		err = w.Put(value[:1], value)
	}
	if n != 512 || err != ErrTooLarge {
		t.Errorf("row %d of 8 MiB: %v", n, err)
	}
	if err := w.Put("small", "row"); err != nil {
		t.Errorf("a row that fits: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const want = headerSize + 511*(8+1+8<<20) + 8 + 8 + 512*16
	if got := out.size - headerSize; got != want { // the header is written twice
		t.Errorf("the file has %d bytes, want %d", got, want)
	}
}

// The file's error is never lost, wherever it happens.
func TestWriteErrorIsReported(t *testing.T) {
	r := numbered(30_000)
	whole := &sink{limit: 1 << 30}
	r.writeTo(t, whole)
	for _, limit := range []int64{0, bufferSize, 3 * bufferSize, whole.size - headerSize - 1, whole.size - 1} {
		w := NewWriter(&sink{limit: limit})
		for i := 0; i < len(r); i += 2 {
			w.Put(r[i], r[i+1])
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("Close with room for %d of %d bytes: %v", limit, whole.size, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short.cdb")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string
		kind       diag.Kind
	}{
		{filepath.Join(dir, "absent.cdb"), "reading %q: no such file or directory", diag.Failed},
		{short, "%q is not a whole cdb: it has 5 bytes", diag.BadData},
	} {
		_, err := Open(c.path)
		if want := fmt.Sprintf(c.want, c.path); err == nil || err.Error() != want || diag.KindOf(err) != c.kind {
			t.Errorf("error is %v, of kind %d, want %s, of kind %d", err, diag.KindOf(err), want, c.kind)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent.cdb")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("that there is no such file is lost: %v", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory was opened")
	}
}

func TestEveryTruncationIsNoticed(t *testing.T) {
	whole, err := os.ReadFile(numbered(3).file(t))
	if err != nil {
		t.Fatal(err)
	}
	for size := range whole {
		if _, err := openBytes(whole[:size]); diag.KindOf(err) != diag.BadData {
			t.Fatalf("%d of %d bytes: %v", size, len(whole), err)
		}
	}
}

func TestTruncatedWhileOpen(t *testing.T) {
	path := numbered(100).file(t)
	r := open(t, path)
	if err := os.Truncate(path, headerSize+100); err != nil {
		t.Fatal(err)
	}
	if got, err := collect(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Rows gave %d strings and %v", len(got), err)
	}
	if _, _, err := r.Get("user1@example.org"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Get: %v", err)
	}
}

func TestDamage(t *testing.T) {
	whole, err := os.ReadFile(rows{"key", "value"}.file(t))
	if err != nil {
		t.Fatal(err)
	}
	end := headerSize + 8 + len("keyvalue")
	slot := end + 8*int(hash("key")/tables%2)
	for name, offset := range map[string]int{
		"key length":   headerSize + 3,
		"value length": headerSize + 7,
		"slot":         slot + 7,
		"first table":  3,
		"other table":  8*9 + 3,
	} {
		data := slices.Clone(whole)
		data[offset] = 0xff
		r, err := openBytes(data)
		if err == nil {
			_, _, err = r.Get("key")
		}
		if diag.KindOf(err) != diag.BadData {
			t.Errorf("%s: %v", name, err)
		}
	}
}
