package unlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"rplan/lib/run"
	"rplan/lib/secret"
)

// Outcome is how it ended to hand over the passphrase of one disk.
type Outcome string

// The outcomes. What was sent is known for each.
const (
	Opened     Outcome = "open"                           // the node said so
	Nothing    Outcome = "nothing asked for"              // no disk is locked, as far as it says; nothing sent
	Wrong      Outcome = "wrong passphrase"               // sent whole, one try spent
	LastTry    Outcome = "wrong passphrase, no try left"  // likewise; the node asks anew after a while
	Unknown    Outcome = "prompt for an unknown disk"     // nothing sent
	Busy       Outcome = "somebody else is at it"         // nothing sent: no prompt came; or nothing used: they answered it
	Early      Outcome = "not ready to ask yet"           // nothing sent
	LostBefore Outcome = "session lost before the prompt" // nothing sent
	LostDuring Outcome = "session lost while sending"     // a part may have arrived: one try may be spent
	LostAfter  Outcome = "session lost after sending"     // only a look at the booted system tells
	Slow       Outcome = "no answer in time"              // sent whole; it may open yet
	GaveUp     Outcome = "the node gave it up"            // sent whole; it asks no more
)

// hand is one conversation with a node that waits in its initramfs, about one disk: the
// node says which, takes a passphrase from its standard input, and says what came of it.
type hand struct {
	argv   []string                                 // reaches the node, and runs there what takes the passphrase
	asks   *asker                                   // what that is
	open   func(disk string) *secret.Secret         // is asked once the prompt is there; nil: nobody knows such a disk
	prompt time.Duration                            // how long to wait for the prompt, and
	answer time.Duration                            // for the answer
	write  func(w io.Writer, b []byte) (int, error) // for faults; nil writes
}

// asker is a program that takes passphrases in an initramfs.
type asker struct {
	end    string                                    // of a passphrase, before the end of the input
	before func(code int, text, said string) Outcome // what it means that the conversation ended without a prompt
	after  func(code int, said string) Outcome       // what came of a passphrase that was sent whole; code -2: it did not end
}

// promptWords begin the line that names the disk, of every asker.
const promptWords = "Please unlock disk "

// maxSaid is what is listened to of what the node says, in bytes.
const maxSaid = 8 << 10

// give goes through the conversation. disk is what the prompt named, "" if there was
// none; said is what the node said, made harmless.
func (h *hand) give(ctx context.Context) (disk string, out Outcome, said string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.argv[0], h.argv[1:]...)
	cmd.Env = append(run.Environment(), run.Desk()...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", LostBefore, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", LostBefore, "", err
	}
	stderr := &limited{max: maxSaid}
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", LostBefore, "", fmt.Errorf("%q: %w", h.argv[0], err)
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(io.LimitReader(stdout, maxSaid))
		text, _ := r.ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, stdout)
	}()
	ended := make(chan error, 1)
	end := func() (int, string) {
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			return exitOf(err), harmless(stderr.kept)
		case <-time.After(h.answer):
			cancel()
			<-ended
			return -2, harmless(stderr.kept)
		case <-ctx.Done():
			<-ended
			return -1, harmless(stderr.kept)
		}
	}
	stop := func(disk string, out Outcome) (string, Outcome, string, error) {
		cancel()
		_ = cmd.Wait()
		return disk, out, harmless(stderr.kept), nil
	}
	var text string
	select {
	case text = <-line:
	case <-time.After(h.prompt):
		return stop("", Busy)
	case <-ctx.Done():
		_ = cmd.Wait()
		return "", LostBefore, "", context.Cause(ctx)
	}
	name, ok := strings.CutPrefix(strings.TrimRight(text, "\r\n"), promptWords)
	if !ok || !strings.HasSuffix(text, "\n") {
		// Nothing on standard input but its end: after a prompt that would be a try.
		code, said := end()
		return "", h.asks.before(code, text, said), said, nil
	}
	passphrase := h.open(name)
	if passphrase == nil {
		return stop(harmless([]byte(name)), Unknown) // cryptroot-unlock takes even that for the end of an empty passphrase: a try is spent
	}
	write := h.write
	if write == nil {
		write = io.Writer.Write
	}
	if _, err = write(stdin, passphrase.Bytes()); err == nil {
		if _, err = io.WriteString(stdin, h.asks.end); err == nil {
			err = stdin.Close()
		}
	}
	if err != nil {
		return stop(name, LostDuring)
	}
	code, said := end()
	return name, h.asks.after(code, said), said, nil
}

func exitOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// limited keeps the first bytes that are written to it.
type limited struct {
	max  int
	kept []byte
}

func (l *limited) Write(b []byte) (int, error) {
	l.kept = append(l.kept, b[:min(len(b), l.max-len(l.kept))]...)
	return len(b), nil
}

// harmless is what a node said, as one line that steers no terminal.
func harmless(text []byte) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, string(text))), " ")
}
