package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"rplan/lib/diag"
)

// isTerminal says whether somebody sits at the file.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// width is how many columns the terminal has that the file is, 0 where it is none.
func width(f *os.File) int {
	if !isTerminal(f) {
		return 0
	}
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		return columns
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	return 80 // a serial line does not tell
}

// maxAnswer bounds what somebody types in one line, in bytes.
const maxAnswer = 4096

// Confirm asks on the terminal, and says whether the answer is the wanted
// word: one that has to be typed, as a "y" is typed before it is thought about.
// Where nobody can be asked the error says that --yes is needed.
func (e *Env) Confirm(ctx context.Context, prompt, want string) (bool, error) {
	if !e.Interactive {
		return false, diag.Usage.Errorf("there is no terminal to ask on").WithHint("--yes goes on without a question")
	}
	fmt.Fprint(e.Stderr, prompt)
	answer, err := answered(ctx, func() (string, error) { return readLine(e.Stdin) })
	if err != nil {
		fmt.Fprintln(e.Stderr) // the cursor is behind the prompt
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil && strings.TrimSpace(answer) == want, err
}

// Password asks for one on the process's terminal, whatever standard input is,
// and does not show what is typed.
func (e *Env) Password(ctx context.Context, prompt string) (string, error) {
	path := e.TTY
	if path == "" {
		path = "/dev/tty"
	}
	tty, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", diag.Unavailable.Errorf("there is no terminal to ask for a password on: %w", err)
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		tty.Close()
		return "", diag.Unavailable.Errorf("%s is no terminal to ask for a password on: %w", path, err)
	}
	fmt.Fprint(tty, prompt)
	password, err := answered(ctx, func() (string, error) {
		defer tty.Close() // not before the read has ended
		password, err := term.ReadPassword(fd)
		fmt.Fprintln(tty)
		return string(password), err
	})
	if ctx.Err() != nil {
		_ = term.Restore(fd, before) // who interrupts wants to see again what is typed
		return "", ctx.Err()
	}
	if err != nil {
		return "", diag.Failed.Errorf("reading the password: %w", err)
	}
	return password, nil
}

// answered waits for an answer, or for the end of ctx: a read from a terminal
// cannot be interrupted, and is left behind for the end of the process.
func answered(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// readLine reads one line and nothing behind it, for whoever asks next.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxAnswer; {
		n, err := r.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return string(line), nil
		case n == 1:
			line = append(line, one[0])
		case err != nil:
			return "", err
		}
	}
	return "", diag.Usage.Errorf("the answer has more than %d bytes", maxAnswer)
}
