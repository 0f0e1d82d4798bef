package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestMlmmj(t *testing.T) {
	mails := collect(t, Make{Seed: 20, N: all})
	list := Mlmmj(t, filepath.Join(t.TempDir(), "spool"), slices.Values(mails))
	entries, err := os.ReadDir(filepath.Join(list, "archive"))
	if err != nil || len(entries) != len(mails) {
		t.Errorf("%d files of %d mails, %v", len(entries), len(mails), err)
	}
	for i, m := range mails {
		if got, want := read(t, list, "archive", strconv.Itoa(i+1)), Mlmmjed(m); !bytes.Equal(got, want) {
			t.Errorf("archive/%d, %q: it is\n%q, not\n%q", i+1, m.Wart, got, want)
		}
	}
	if index := bytes.TrimSpace(read(t, list, "index")); string(index) != strconv.Itoa(len(mails)) {
		t.Errorf("the index is %q", index)
	}
	nobodyRuns(t, list)
}

// nobodyRuns waits until no process has arg in its command line.
func nobodyRuns(t *testing.T, arg string) {
	t.Helper()
	var who []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		who = nil
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, line := range lines {
			if b, err := os.ReadFile(line); err == nil && bytes.Contains(b, []byte(arg)) {
				who = append(who, string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
			}
		}
		if who == nil {
			return
		}
	}
	t.Errorf("still running: %q", who)
}
