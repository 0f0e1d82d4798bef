// Package secret holds passphrases where they leave as few traces as a program
// can see to: in memory outside Go's heap that is not swapped out and is in no
// core dump, wiped after use, and printed by no formatting verb.
//
// What it cannot do: the kernel, a debugger of root's and whatever hands the
// secret in or takes it out have it too. Package age decrypts in buffers of its own.
package secret

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Secret is a passphrase of up to a fixed number of bytes. It is not for
// use by several goroutines at a time. Whoever has it last wipes it: no finalizer
// does, which may run while a program is still being given its Bytes.
type Secret struct {
	memory []byte // whole pages
	size   int    // of the memory that may be used
	used   int
}

// New makes room for size bytes. That the memory cannot be locked, for want of
// RLIMIT_MEMLOCK (getrlimit(2)), is no error.
func New(size int) (*Secret, error) {
	page := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory for a passphrase: %w", err)
	}
	_ = unix.Mlock(memory)
	// Neither a core dump nor a child that is forked gets a copy (madvise(2)).
	err = errors.Join(unix.Madvise(memory, unix.MADV_DONTDUMP), unix.Madvise(memory, unix.MADV_DONTFORK))
	s := &Secret{memory: memory, size: size}
	if err != nil {
		s.Wipe()
		return nil, fmt.Errorf("memory for a passphrase: %w", err)
	}
	return s, nil
}

// Bytes are the secret itself, in the memory that Wipe clears and takes away.
func (s *Secret) Bytes() []byte { return s.memory[:s.used:s.used] }

// Set makes the first n bytes of what fill wrote the secret. fill is given all
// the room there is.
func (s *Secret) Set(fill func(room []byte) (n int, err error)) error {
	n, err := fill(s.memory[:s.size:s.size])
	if err != nil {
		clear(s.memory)
		s.used = 0
		return err
	}
	s.used = n
	clear(s.memory[n:])
	return nil
}

// ReadFrom makes all that r has the secret, which must not be more than fits.
func (s *Secret) ReadFrom(r io.Reader) (int64, error) {
	err := s.Set(func(room []byte) (int, error) {
		n, err := io.ReadFull(r, room)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		var more [1]byte
		if m, err := io.ReadFull(r, more[:]); m > 0 {
			return 0, fmt.Errorf("more than %d bytes", s.size)
		} else if !errors.Is(err, io.EOF) {
			return 0, err
		}
		return n, nil
	})
	return int64(s.used), err
}

// Wipe clears the memory and gives it back. A second call does nothing.
func (s *Secret) Wipe() {
	if s.memory == nil {
		return
	}
	clear(s.memory)
	_ = unix.Munmap(s.memory)
	s.memory, s.used = nil, 0
}

const hidden = "[secret]"

// Format prints no secret, whatever the verb.
func (s *Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText neither.
func (s *Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Harden keeps this process's memory out of core dumps, and away from
// debuggers of the same user (PR_SET_DUMPABLE in prctl(2)). Its children make no
// core dumps either.
func Harden() error {
	err := errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	if err != nil {
		return fmt.Errorf("keeping secrets out of core dumps: %w", err)
	}
	return nil
}
