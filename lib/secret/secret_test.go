package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const canary = "correct horse battery staple"

func TestSecret(t *testing.T) {
	s, err := New(64)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.ReadFrom(iotest.OneByteReader(strings.NewReader(canary))); n != int64(len(canary)) || err != nil || string(s.Bytes()) != canary {
		t.Errorf("%d, %v, %q", n, err, s.Bytes())
	}
	text, err := json.Marshal(map[string]any{"a": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{fmt.Sprint(s), fmt.Sprintf("%s %q %v %+v %#v %d %x", s, s, s, s, s, s, s), string(text)} {
		if strings.Contains(said, "correct") || !strings.Contains(said, "[secret]") {
			t.Error(said)
		}
	}
	room := s.memory[:s.size]
	if err := s.Set(func(b []byte) (int, error) { return copy(b, "ab"), nil }); err != nil || string(s.Bytes()) != "ab" {
		t.Error(err)
	}
	if !bytes.Equal(room[2:], make([]byte, 62)) {
		t.Errorf("there is still %q", room)
	}
	s.Wipe()
	s.Wipe()
}

// TestBytesStay: what is being given to a program stays, whether or not the Secret itself is looked at again.
func TestBytesStay(t *testing.T) {
	s, err := New(64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFrom(strings.NewReader("correct horse")); err != nil {
		t.Fatal(err)
	}
	b := s.Bytes()
	wipe := s.memory
	s = nil
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // finalizers run in a goroutine of their own
	}
	if string(b) != "correct horse" {
		t.Errorf("%q is left", b)
	}
	(&Secret{memory: wipe}).Wipe()
}

func TestFits(t *testing.T) {
	s, err := New(4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wipe()
	for text, fits := range map[string]bool{"": true, "abcd": true, "abcde": false} {
		if _, err := s.ReadFrom(strings.NewReader(text)); (err == nil) != fits {
			t.Errorf("%q: %v", text, err)
		}
	}
	broken := errors.New("broken")
	if _, err := s.ReadFrom(io.MultiReader(strings.NewReader("abcd"), iotest.ErrReader(broken))); !errors.Is(err, broken) || len(s.Bytes()) != 0 {
		t.Errorf("%v, %q is left", err, s.Bytes())
	}
}

// TestHarden: in a process of its own, whose children inherit the limit.
func TestHarden(t *testing.T) {
	if os.Getenv("HARDEN") != "" {
		s, err := New(64)
		if err == nil {
			err = Harden()
		}
		if err != nil {
			t.Fatal(err)
		}
		limits, err := exec.Command("cat", "/proc/self/limits").Output()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(limits))
		maps, err := os.ReadFile("/proc/self/smaps")
		if err != nil && !errors.Is(err, os.ErrPermission) { // as nobody but root may look
			t.Fatal(err)
		}
		fmt.Println(string(maps))
		s.Wipe()
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestHarden$")
	cmd.Env = append(os.Environ(), "HARDEN=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if text := strings.Join(strings.Fields(string(out)), " "); !strings.Contains(text, "Max core file size 0 0 bytes") {
		t.Errorf("children may dump core: %s", text)
	}
	if os.Getuid() != 0 {
		return
	}
	for line := range strings.Lines(string(out)) {
		flags := strings.Fields(line)
		if slices.Contains(flags, "lo") && slices.Contains(flags, "dc") && slices.Contains(flags, "dd") { // proc_pid_smaps(5)
			return
		}
	}
	t.Error("no memory is locked and kept from core dumps and children")
}
