package archive

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-mbox"

	"rplan/tests/need"
)

// goMbox counts messages as go-mbox does.
func goMbox(t testing.TB, r io.Reader) (n int) {
	t.Helper()
	for reader := mbox.NewReader(r); ; n++ {
		m, err := reader.NextMessage()
		if err == io.EOF {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, m); err != nil {
			t.Fatal(err)
		}
	}
}

// python runs a script with arguments, and reads the JSON that it prints into out.
func python(t testing.TB, out any, script string, args ...string) {
	t.Helper()
	cmd := exec.Command(need.Program(t, "/usr/bin/python3"), append([]string{"-c", script}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
}

const pythonCount = `
import mailbox, json, sys
print(json.dumps(len(mailbox.mbox(sys.argv[1], create=False))))`

func write(t testing.TB, mails []Mail, q Quoting) (path string, starts []int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "mbox")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	starts, err = WriteMbox(f, slices.Values(mails), q)
	if err != nil {
		t.Fatal(err)
	}
	return path, starts
}

// Where the mbox is mangled, go-mbox and Python's mailbox count right. Where it is not, both take each line that begins
// with "From " for a new message, whether it has an address and a date or not, and with or without an empty line before it.
func TestCounts(t *testing.T) {
	mails := collect(t, Make{Seed: 4, N: all})
	lines := 0 // in bodies, "From "
	for _, m := range mails {
		lines += strings.Count("\n"+string(m.Raw), "\nFrom ")
	}
	if lines < 4 {
		t.Fatalf("only %d lines begin with From", lines)
	}
	for _, x := range []struct {
		name   string
		q      Quoting
		counts int
	}{{"mangled", Mangled, all}, {"mboxrd", Mboxrd, all}, {"unmangled", Unmangled, all + lines}} {
		path, starts := write(t, mails, x.q)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range starts {
			if want := mails[i].FromLine(); !bytes.HasPrefix(b[at:], []byte(want)) {
				t.Errorf("%s: at %d is no %q", x.name, at, want)
			}
		}
		if n := goMbox(t, bytes.NewReader(b)); n != x.counts {
			t.Errorf("%s: go-mbox counts %d, and used to count %d", x.name, n, x.counts)
		}
		var n int
		if python(t, &n, pythonCount, path); n != x.counts {
			t.Errorf("%s: Python counts %d, and used to count %d", x.name, n, x.counts)
		}
	}
}

func TestEmptyMbox(t *testing.T) {
	path, starts := write(t, nil, Mangled)
	if info, err := os.Stat(path); err != nil || info.Size() != 0 || starts != nil {
		t.Errorf("%v, %v, %v", info, err, starts)
	}
}

// Cut off anywhere, an mbox is fine by both: neither tells of a message that lacks its end.
func TestTruncatedMboxIsNoErrorToOthers(t *testing.T) {
	path, starts := write(t, collect(t, Make{Seed: 5, N: 20, Plain: true}), Mangled)
	if err := os.Truncate(path, starts[19]+400); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var n int
	if python(t, &n, pythonCount, path); n != 20 || goMbox(t, f) != 20 {
		t.Errorf("Python counts %d", n)
	}
}

// The dates that pages are filed by are Python's.
func TestPythonReadsDatesSo(t *testing.T) {
	var fields []string
	want := map[string]int64{}
	for _, m := range collect(t, Make{Seed: 6, N: all}) {
		fields = append(fields, m.DateField)
		if want[m.DateField] = -1; !m.lenient.IsZero() {
			want[m.DateField] = m.lenient.Unix()
		}
	}
	got := map[string]int64{}
	python(t, &got, `
import json, sys
from email.utils import parsedate_tz, mktime_tz
def read(field):
	parsed = parsedate_tz(field)
	return -1 if parsed is None else mktime_tz(parsed)
print(json.dumps({field: read(field) for field in sys.argv[1:]}))`, fields...)
	for field, at := range want {
		if got[field] != at {
			t.Errorf("Python reads %q as %v, not %v", field, time.Unix(got[field], 0).UTC(), time.Unix(at, 0).UTC())
		}
	}
}

// counter is a writer that keeps nothing.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// 100,000 mails are made one after the other, and a large one is as large as asked.
func TestSizes(t *testing.T) {
	var c counter
	peak, n := uint64(0), 0
	mails := func(yield func(Mail) bool) {
		for m := range (Make{Seed: 9, N: 100_000, Text: 200, Bare: true, Lean: true}).Mails() {
			if n++; n%10_000 == 0 {
				var s runtime.MemStats
				runtime.ReadMemStats(&s)
				peak = max(peak, s.HeapInuse)
			}
			if !yield(m) {
				return
			}
		}
	}
	starts, err := WriteMbox(&c, mails, Mangled)
	if err != nil || len(starts) != 100_000 || c < 60<<20 || peak > 64<<20 {
		t.Errorf("%d messages, %d MB, %d MB of memory, %v", len(starts), c>>20, peak>>20, err)
	}
	size := 0
	for m := range (Make{Seed: 9, N: 3, Big: 73 << 20}).Mails() {
		size = max(size, len(m.Raw))
	}
	if size < 100_000_000 {
		t.Errorf("the large one has %d bytes", size)
	}
	t.Logf("%d MB of mbox with %d MB of memory", c>>20, peak>>20)
}
