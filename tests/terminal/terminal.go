// Package terminal makes terminals at which a test sits.
package terminal

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Terminal is one whose keys and screen the test has.
type Terminal struct {
	Keys *os.File // what is written here is typed
	TTY  string   // path
	Seen chan byte
}

// New makes one, or skips the test.
func New(t testing.TB) *Terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal can be made: %v", err)
	}
	var unlocked, number uint32
	for request, arg := range map[uintptr]*uint32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keys.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	term := &Terminal{Keys: keys, TTY: fmt.Sprintf("/dev/pts/%d", number), Seen: make(chan byte, 1<<16)}
	// One end stays open, or the screen ends when the program closes the other.
	held := term.Open(t)
	go func() {
		for b := make([]byte, 1); ; {
			if _, err := keys.Read(b); err != nil {
				return
			}
			term.Seen <- b[0]
		}
	}()
	t.Cleanup(func() { held.Close(); keys.Close() })
	return term
}

// Open opens its other end, as a program does.
func (x *Terminal) Open(t testing.TB) *os.File {
	t.Helper()
	f, err := os.OpenFile(x.TTY, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Until waits for words on the screen, and returns what was shown up to them.
func (x *Terminal) Until(t testing.TB, words string) string {
	t.Helper()
	var shown strings.Builder
	for deadline := time.After(5 * time.Second); !strings.HasSuffix(shown.String(), words); {
		select {
		case b := <-x.Seen:
			shown.WriteByte(b)
		case <-deadline:
			t.Fatalf("shown %q, not %q", shown.String(), words)
		}
	}
	return shown.String()
}

// Echoes types something to see whether it is shown.
func (x *Terminal) Echoes(t testing.TB) bool {
	t.Helper()
	f := x.Open(t)
	defer f.Close()
	fmt.Fprint(x.Keys, "#")
	time.Sleep(50 * time.Millisecond)
	select {
	case b := <-x.Seen:
		return b == '#'
	default:
		return false
	}
}

// Answer types an answer to each question, one after the other. done says that all were asked.
func (x *Terminal) Answer(t testing.TB, questions ...[2]string) (done <-chan struct{}) {
	all := make(chan struct{})
	go func() {
		defer close(all)
		for _, q := range questions {
			var shown strings.Builder
			for !strings.HasSuffix(shown.String(), q[0]) {
				b, ok := <-x.Seen
				if !ok {
					return
				}
				shown.WriteByte(b)
			}
			fmt.Fprint(x.Keys, q[1]+"\n")
		}
	}()
	return all
}
