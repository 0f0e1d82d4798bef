package mbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// pieces reads text and then, so many times each, the others.
type pieces struct {
	rest []piece
	at   int
}

type piece struct {
	text  string
	times int
}

func (p *pieces) Read(b []byte) (n int, err error) {
	for n < len(b) && len(p.rest) > 0 {
		first := &p.rest[0]
		got := copy(b[n:], first.text[p.at:])
		n, p.at = n+got, p.at+got
		if p.at == len(first.text) {
			p.at = 0
			if first.times--; first.times == 0 {
				p.rest = p.rest[1:]
			}
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// huge are mboxes that nobody wants to store.
var huge = map[string]struct {
	pieces []piece
	want   string // messages, undated, doubtful
}{
	"a message of 100 MB":      {[]piece{{from + header + "\n", 1}, {strings.Repeat("x", 63) + "\n", 100 << 14}, {"\n" + from + header + "\n", 1}}, "2 2 0"},
	"a line of 1 GB":           {[]piece{{from + header + "\n", 1}, {strings.Repeat("x", 1<<16), 1 << 14}, {"\n\n" + from + header + "\n", 1}}, "2 2 0"},
	"a header line of 1 GB":    {[]piece{{from + "Date: ", 1}, {strings.Repeat("x", 1<<16), 1 << 14}, {"\n\n" + from + header + "\n", 1}}, "2 2 1"},
	"a header of 1 GB":         {[]piece{{from, 1}, {"Received: " + strings.Repeat("x", 53) + "\n", 1 << 24}, {"\n" + from + header + "\n", 1}}, "2 2 1"},
	"a folded ID without end":  {[]piece{{from + "Message-ID:", 1}, {" " + strings.Repeat("x", 62) + "\n", 1 << 22}}, "1 1 1"},
	"a million messages":       {[]piece{{from + "Date: Thu, 1 Jan 2009 15:04:05 +0000\nMessage-ID: <a@b>\n\ntext\n\n", 1_000_000}}, "1000000 0 0"},
	"a body of escaped Froms":  {[]piece{{from + header + "\n", 1}, {">From x\n", 1 << 24}}, "1 1 0"},
	"a body of unescaped ones": {[]piece{{from + header + "\n", 1}, {"From x\n\n", 1 << 22}}, "1 1 0"},
}

const (
	hugeName = "MBOX_TEST_HUGE" // environment: one of huge, or the path of a file
	limit    = 32 << 10         // KiB
)

// TestMemory scans each in a process by itself: the most memory that was resident is what counts.
func TestMemory(t *testing.T) {
	if name := os.Getenv(hugeName); name != "" {
		scanHuge(t, name)
		return
	}
	for name, h := range huge {
		t.Run(name, func(t *testing.T) { checkMemory(t, name, h.want) })
	}
	t.Run("a zstd file with the largest window", func(t *testing.T) {
		text := ordinary(100_000) + from + header + "\n" + strings.Repeat(warts(), 10)
		path := filepath.Join(t.TempDir(), "list.mbox.zst")
		if err := os.WriteFile(path, compress(t, text, "zstd", "--long=23"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := NewScanner(strings.NewReader(text), today)
		if _, err := all(t, s); err != nil {
			t.Fatal(err)
		}
		c := s.Census()
		checkMemory(t, path, fmt.Sprint(c.Messages, c.Undated, c.Doubtful))
	})
}

func scanHuge(t *testing.T, name string) {
	var r io.Reader = &pieces{rest: huge[name].pieces}
	if f, err := os.Open(name); err == nil {
		if r, err = Open(f); err != nil {
			t.Fatal(err)
		}
	}
	s := NewScanner(r, today)
	for {
		if _, err := s.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	c := s.Census()
	fmt.Printf("%s KiB: %d %d %d\n", strings.Fields(peak)[0], c.Messages, c.Undated, c.Doubtful)
}

func checkMemory(t *testing.T, name, want string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$")
	cmd.Env = append(os.Environ(), hugeName+"="+name)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	before, got, _ := strings.Cut(line, " KiB: ")
	peak, err := strconv.Atoi(before)
	if err != nil || peak > limit || got != want {
		t.Errorf("%s, %v: want at most %d KiB: %s", line, err, limit, want)
	}
	t.Log(line)
}
